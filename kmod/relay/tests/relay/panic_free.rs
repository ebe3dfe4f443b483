// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

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

/// What a function, and every function of the relay that it calls, refers to outside of the
/// relay, by mangled name (of either scheme: `core` comes as its distributor compiled it). Every
/// way to panic is a function of `core`, whatever its name: `panic_bounds_check`,
/// `slice_end_index_len_fail`, ...
fn foreign_functions<'a>(code: &'a str, function: &'a str) -> Vec<&'a str> {
    let mut foreign = Vec::new();
    let mut known = vec![function];
    let mut next = 0;
    while let Some(function) = known.get(next) {
        let code_of = body(code, function);
        let lines = code_of.unwrap_or_else(|| panic!("{function} has no code"));
        for name in lines.lines().filter_map(mangled_name) {
            if body(code, name).is_none() {
                foreign.push(name);
            } else if !known.contains(&name) {
                known.push(name);
            }
        }
        next += 1;
    }
    foreign
}

fn body<'a>(code: &'a str, function: &str) -> Option<&'a str> {
    let (_, body) = code.split_once(&format!("\n{function}:\n"))?;
    let (body, _) = body.split_once(".Lfunc_end")?;
    Some(body)
}

fn mangled_name(line: &str) -> Option<&str> {
    let name = &line[line.find("_R").or(line.find("_ZN"))?..];
    let is_part = |c: char| c.is_ascii_alphanumeric() || "_$.".contains(c);
    Some(&name[..name.find(|c| !is_part(c)).unwrap_or(name.len())])
}

#[test]
fn nothing_that_runs_for_a_packet_can_panic() {
    let code = assembler("packet_path.s", &[]);
    for function in [
        "first_look",
        "first_look_6",
        "decide",
        "decide_6",
        "decide_direction",
        "rewrite",
        "rewrite_6",
        "translate_4_to_6",
        "translate_6_to_4",
        "pass",
        "take",
        "mark",
        "mark_6",
        "measure",
        "growth",
        "rank",
        "rank_6",
        "learn",
    ] {
        let foreign = foreign_functions(&code, function);
        assert!(foreign.is_empty(), "{function} calls {foreign:#?}");
    }
}

#[test]
fn a_way_to_panic_would_be_seen() {
    let code = assembler("can_panic.s", &["--cfg", "can_panic"]);
    assert_ne!(foreign_functions(&code, "outside"), Vec::<&str>::new());
}
