// SPDX-License-Identifier: GPL-2.0

//! A panic in the kernel is a BUG, so the compiler must have found every one impossible.

use std::{env, fs, path::Path, process::Command};

/// The packet path as assembler, compiled the way the kernel compiles modules: `KBUILD_RUSTFLAGS`
/// of its top `Makefile`, with `CONFIG_RUST_OVERFLOW_CHECKS`.
fn assembler(name: &str, extra: &[&str]) -> String {
    let output_path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let probe = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/probe/packet_path.rs");
    let output = Command::new(env::var_os("RUSTC").unwrap_or("rustc".into()))
        .args(["--edition=2021", "--crate-type=lib", "--emit=asm", "-o"])
        .arg(&output_path)
        .args(["-Copt-level=2", "-Coverflow-checks=y", "-Cpanic=abort"])
        .args(["-Cdebug-assertions=n", "-Ccodegen-units=1"])
        .args(["-Wmissing_docs", "-Wrust_2018_idioms", "-Wunreachable_pub"])
        .args(["-Csymbol-mangling-version=v0", "--check-cfg=cfg(can_panic)"])
        .args(extra)
        .arg(probe)
        .output()
        .expect("rustc runs");
    let messages = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{messages}");
    fs::read_to_string(output_path).expect("rustc wrote it")
}

/// What a function refers to outside of itself, by mangled name (of either scheme: `core` comes
/// as its distributor compiled it). Every way to panic is a function
/// of `core`, whatever its name: `panic_bounds_check`, `slice_end_index_len_fail`, ...
fn foreign_functions<'a>(code: &'a str, function: &str) -> Vec<&'a str> {
    let (_, body) = code
        .split_once(&format!("\n{function}:\n"))
        .unwrap_or_else(|| panic!("{function} has no code"));
    let (body, _) = body.split_once(".Lfunc_end").expect("the code ends");
    let is_mangled = |line: &&str| line.contains("_R") || line.contains("_ZN");
    body.lines().filter(is_mangled).collect()
}

#[test]
fn nothing_that_runs_for_a_packet_can_panic() {
    let code = assembler("packet_path.s", &[]);
    for function in ["first_look", "decide", "decide_direction", "rewrite"] {
        let foreign = foreign_functions(&code, function);
        assert!(foreign.is_empty(), "{function} calls {foreign:#?}");
    }
}

#[test]
fn a_way_to_panic_would_be_seen() {
    let code = assembler("can_panic.s", &["--cfg", "can_panic"]);
    assert_ne!(foreign_functions(&code, "outside"), Vec::<&str>::new());
}
