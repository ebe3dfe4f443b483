//! Generator.

fn main() {}
