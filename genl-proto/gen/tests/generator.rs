// SPDX-License-Identifier: MIT OR Apache-2.0
//! The generator as it is run.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// What the generator makes of `small/lreproxy.yaml`. As a module it is also
/// compiled, and laid out as rustfmt wants it.
#[expect(dead_code, reason = "the tests look at a part")]
#[path = "small/generated.rs"]
mod small;

use small::{Kind, OPERATIONS};

const SMALL: &str = include_str!("small/lreproxy.yaml");
const CODE: &str = "genl-proto/src/generated.rs";
const PAGE: &str = "docs/protocol.md";

fn run(root: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_genl-gen"))
        .arg("--root")
        .arg(root)
        .args(arguments)
        .output()
        .expect("the generator runs")
}

/// A source tree that holds the small family and what is generated from it.
fn tree() -> tempfile::TempDir {
    let tree = tempfile::tempdir().expect("a directory for the test");
    fs::create_dir_all(tree.path().join("genl-proto/src")).unwrap();
    fs::create_dir(tree.path().join("docs")).unwrap();
    fs::write(tree.path().join("genl-proto/lreproxy.yaml"), SMALL).unwrap();
    let made = run(tree.path(), &[]);
    assert!(made.status.success(), "{made:?}");
    tree
}

#[test]
fn the_checked_in_files_are_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let checked = run(&root, &["--check"]);
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{said}");
}

#[test]
fn a_fresh_tree_passes_the_check() {
    let checked = run(tree().path(), &["--check"]);
    assert!(checked.status.success(), "{checked:?}");
    assert!(checked.stderr.is_empty(), "{checked:?}");
}

#[test]
fn the_check_names_the_stale_file_and_leaves_it() {
    for name in [CODE, PAGE] {
        let tree = tree();
        let path = tree.path().join(name);
        fs::write(&path, "edited").unwrap();
        let checked = run(tree.path(), &["--check"]);
        assert_eq!(checked.status.code(), Some(1));
        assert_eq!(
            String::from_utf8_lossy(&checked.stderr),
            format!("{name} is not up to date: run `make generate`\n")
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), "edited");

        fs::remove_file(&path).unwrap();
        let checked = run(tree.path(), &["--check"]);
        assert_eq!(checked.status.code(), Some(1));
    }
}

#[test]
fn a_wrong_specification_is_an_error_that_names_the_line() {
    let tree = tree();
    let wrong = SMALL.replacen("    type: const", "    typo: const", 1);
    fs::write(tree.path().join("genl-proto/lreproxy.yaml"), wrong).unwrap();
    let refused = run(tree.path(), &[]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success());
    assert!(said.contains("lreproxy.yaml"), "{said}");
    assert!(said.contains("unknown field `typo`"), "{said}");
    assert!(said.contains("line 11"), "{said}");
}

#[test]
fn a_small_family_is_written_as_this_file() {
    let made = fs::read_to_string(tree().path().join(CODE)).unwrap();
    assert_eq!(made, include_str!("small/generated.rs"));
}

#[test]
fn numbers_are_those_of_the_kernels_tools() {
    assert_eq!(small::FAMILY_NAME, "small");
    assert_eq!((small::NAME_MAX, small::TOP_SPEED), (100_000, 250));
    // Entries count from 0, attributes and operations from 1, events included.
    assert_eq!(small::ModeOfTravel::ByShip as u32, 1);
    assert_eq!((small::trip::LEGS, small::trip::DONE), (1, 7));
    assert_eq!(small::trip::MAX, 7);
    assert_eq!(small::Command::PlanTrip as u8, 1);
    assert_eq!(small::Command::TripOver as u8, 2);
    assert_eq!(small::Command::TripGet as u8, 3);
}

#[test]
fn enumerations_convert_both_ways() {
    use small::ModeOfTravel::{self, ByShip, OnFoot};
    assert_eq!(ModeOfTravel::ALL, [OnFoot, ByShip]);
    for mode in ModeOfTravel::ALL {
        assert_eq!(ModeOfTravel::from_u32(mode as u32), Some(mode));
    }
    assert_eq!(ModeOfTravel::from_u32(2), None);
    assert_eq!(ByShip.name(), "by-ship");
    assert_eq!(small::Command::from_u8(3), Some(small::Command::TripGet));
    assert_eq!(small::Command::from_u8(0), None);
}

#[test]
fn tables_hold_the_types_and_checks_of_attributes() {
    let kinds = small::trip::ATTRS.map(|attribute| attribute.kind);
    assert_eq!(
        kinds,
        [
            Kind::Nest(&small::leg::ATTRS),
            Kind::U32 { min: 0, max: 1 },
            Kind::U32 {
                min: 1,
                max: 100_000
            },
            Kind::Binary {
                min_len: 2,
                max_len: u16::MAX
            },
            Kind::String,
            Kind::Uint,
            Kind::Flag,
        ]
    );
    assert_eq!(
        small::leg::ATTRS[0].kind,
        Kind::U16 {
            big_endian: true,
            min: 0,
            max: 250
        }
    );
    let multi = small::trip::ATTRS.map(|attribute| attribute.multi);
    assert_eq!(multi, [true, false, false, false, false, false, false]);
}

#[test]
fn tables_hold_the_commands_and_groups() {
    let [plan, get] = OPERATIONS;
    assert_eq!(
        (plan.name, plan.dump, plan.admin),
        ("plan-trip", false, true)
    );
    assert_eq!(plan.request, [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!((get.name, get.dump, get.admin), ("trip-get", true, false));
    assert_eq!(get.attributes, small::trip::ATTRS);
    let groups = small::GROUPS.map(|group| (group.name, group.admin));
    assert_eq!(groups, [("news", false), ("secrets", true)]);
}

#[test]
fn the_page_tells_everything_of_the_family() {
    let page = fs::read_to_string(tree().path().join(PAGE)).unwrap();
    for line in [
        "# The netlink family `small`",
        "A family with one of everything.",
        "| 2 | [`trip-over`](#trip-over) | event | A trip is over |",
        "| 3 | [`trip-get`](#trip-get) | command, dump | Tell the trips |",
        "Plan a trip. EINVAL when there is none.",
        "- request: `legs`, `mode`, `cost`, `note`, `title`, `steps`, `done`",
        "- privilege: `CAP_NET_ADMIN`",
        "- multicast group: `news`",
        "- privilege to join: none",
        "### Set `leg`",
        "| 1 | `speed` | `u16`, network order, at most [`top-speed`](#limits) (250) | How fast. |",
        "| 1 | `legs` | nest of [`leg`](#set-leg), several | Its parts. |",
        "| 2 | `mode` | [`mode-of-travel`](#enumeration-mode-of-travel) | How. |",
        "| 4 | `note` | binary, at least 2 bytes | Anything. |",
        "| 1 | `by-ship` | Sailing. |",
        "| `name-max` | 100000 | Longest name. |",
    ] {
        assert!(page.lines().any(|found| found == line), "{line}\n\n{page}");
    }
    assert!(!page.contains('@'), "a mark of the template was left");
}
