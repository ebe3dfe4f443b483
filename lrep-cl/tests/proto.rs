// SPDX-License-Identifier: MIT OR Apache-2.0

//! The code generated from `proto/lreproxy.proto`.

use std::fs;
use std::path::Path;

#[test]
fn the_generated_code_is_that_of_the_proto_file() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    let descriptions = protox::compile(["lreproxy.proto"], [&folder]).expect("a good file");
    let made = tempfile::tempdir().expect("a directory");
    tonic_prost_build::configure()
        .build_transport(false)
        .out_dir(made.path())
        .compile_fds(descriptions)
        .expect("generated");
    let made = fs::read_to_string(made.path().join("lreproxy.v1.rs")).expect("one package");
    let made = format!("// SPDX-License-Identifier: MIT OR Apache-2.0\n{made}");
    let kept = folder.join("lreproxy.v1.rs");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&kept, &made).expect("written");
    }
    assert!(
        fs::read_to_string(&kept).unwrap_or_default() == made,
        "run UPDATE=1 cargo test -p lrep-cl --test proto"
    );
}
