// SPDX-License-Identifier: MIT OR Apache-2.0

//! The tests. Each is named for what it promises; each file holds the promises of one kind.

mod alarms;
mod call;
mod conformance;
mod control;
mod controllers;
mod controllers_apart;
mod cost;
mod crowd;
mod daemon;
mod datapath;
mod exact;
mod expiry;
mod faults;
mod fixture;
mod forwarding;
mod fuzz;
mod impaired;
mod learning;
mod lifecycle;
mod limits;
mod links;
mod many_calls;
mod media_hosts;
mod neighbours;
mod output;
mod path;
mod policy;
mod quality;
mod remote;
mod reports;
mod rtcp;
mod versions;
mod ynl;

use anyhow::Result;

use crate::guest::lab::Lab;

/// One test.
pub struct Test {
    /// The promise.
    pub name: &'static str,
    /// Succeeds when it is kept.
    pub run: fn(&Lab) -> Result<()>,
}

/// Lists functions as tests under their own names.
macro_rules! tests {
    ($($name:ident),+ $(,)?) => {
        &[$(crate::tests::Test { name: stringify!($name), run: $name }),+]
    };
}
use tests;

/// Lists functions that are told a [`path::Path`] as one test for each path named. Over IPv4 the
/// test has the function's own name, over others the path is part of it.
macro_rules! tests_on_paths {
    ($($name:ident: $($path:ident)+),+ $(,)?) => {
        &[$($(crate::tests::Test {
            name: crate::tests::name_on_path!($name $path),
            run: |lab| $name(lab, crate::tests::path::Path::$path),
        }),+),+]
    };
}
use tests_on_paths;

/// The name of a test on a path.
macro_rules! name_on_path {
    ($name:ident IPV4) => {
        stringify!($name)
    };
    ($name:ident IPV6) => {
        concat!(stringify!($name), "_over_ipv6")
    };
    ($name:ident IPV4_TO_IPV6) => {
        concat!(stringify!($name), "_from_ipv4_to_ipv6")
    };
    ($name:ident IPV6_TO_IPV4) => {
        concat!(stringify!($name), "_from_ipv6_to_ipv4")
    };
}
use name_on_path;

/// Lists functions as tests on every path.
macro_rules! tests_on_all_paths {
    ($($name:ident),+ $(,)?) => {
        crate::tests::tests_on_paths![$($name: IPV4 IPV6 IPV4_TO_IPV6 IPV6_TO_IPV4),+]
    };
}
use tests_on_all_paths;

/// All tests, in the order in which they run.
pub const TESTS: &[&[Test]] = &[
    forwarding::TESTS,
    datapath::ON_ALL_PATHS,
    datapath::ON_SOME_PATHS,
    exact::ON_ALL_PATHS,
    neighbours::ON_PATHS,
    links::ON_ALL_PATHS,
    links::ON_PATHS,
    links::TESTS,
    rtcp::ON_ALL_PATHS,
    output::ON_ALL_PATHS,
    output::ON_PATHS,
    output::TESTS,
    versions::TESTS,
    versions::ON_PATHS,
    policy::ON_PATHS,
    policy::TESTS,
    learning::ON_PATHS,
    learning::TESTS,
    quality::ON_PATHS,
    quality::TESTS,
    reports::ON_ALL_PATHS,
    reports::TESTS,
    alarms::ON_PATHS,
    alarms::TESTS,
    limits::TESTS,
    control::TESTS,
    conformance::TESTS,
    crowd::TESTS,
    ynl::TESTS,
    daemon::TESTS,
    media_hosts::TESTS,
    controllers::TESTS,
    controllers_apart::TESTS,
    remote::TESTS,
    call::TESTS,
    lifecycle::TESTS,
    fuzz::TESTS,
    fuzz::ON_PATHS,
];

/// Tests that take too long for every run: what others do a few times, often.
pub const LONG_TESTS: &[&[Test]] = &[
    learning::LONG,
    lifecycle::LONG,
    controllers::LONG,
    call::LONG,
];

/// Tests of what the relay does with time. They run in a guest whose clock counts instructions: one
/// that follows the host's leaps where a busy host stops a processor.
pub const TIMED_TESTS: &[&[Test]] = &[impaired::ON_PATHS, expiry::TESTS, lifecycle::TIMED];

/// Tests that count instructions: they run in the same guest.
pub const COUNTING_TESTS: &[&[Test]] = &[cost::TESTS];

/// Tests that need the debug kernel.
pub const DEBUG_TESTS: &[&[Test]] = &[faults::TESTS, faults::ON_ALL_PATHS];

/// Those of them that need the clock that counts instructions, too.
pub const TIMED_DEBUG_TESTS: &[&[Test]] = &[faults::TIMED];

/// The last test of every guest with the debug kernel.
pub static LAST_OF_DEBUG: &Test = &faults::NO_MEMORY_IS_LOST;

/// The test of this name.
pub fn find(name: &str) -> Option<&'static Test> {
    let lists = [
        TESTS,
        LONG_TESTS,
        TIMED_TESTS,
        COUNTING_TESTS,
        DEBUG_TESTS,
        TIMED_DEBUG_TESTS,
    ];
    let lists = lists.into_iter().flatten().copied();
    lists
        .flatten()
        .chain([LAST_OF_DEBUG])
        .find(|test| test.name == name)
}
