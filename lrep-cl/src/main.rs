//! Controller.

fn main() {}
