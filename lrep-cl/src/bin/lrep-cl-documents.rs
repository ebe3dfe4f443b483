// SPDX-License-Identifier: MIT OR Apache-2.0

//! `lrep-cl-documents DIR`: writes the manual pages and shell completions of `lrep-cl` below DIR,
//! as they are to be below /usr/share, and prints their paths. Not installed itself.

use std::io;
use std::path::Path;

fn main() -> io::Result<()> {
    let share = std::env::args_os()
        .nth(1)
        .ok_or_else(|| io::Error::other("usage: lrep-cl-documents DIR"))?;
    for path in lrep_cl::documents::install(Path::new(&share))? {
        println!("{path}");
    }
    Ok(())
}
