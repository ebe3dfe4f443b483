// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! The promises of the relay's pure decisions.

mod admission;
mod alarm;
mod checksum;
mod ipv4;
mod ipv6;
mod learning;
mod limits;
mod panic_free;
mod payload;
mod policy;
mod ports;
mod quality;
mod rate;
mod reference;
mod rewrite;
mod rtcp;
mod translate;
mod validate;

/// How many random cases a test tries: few under Miri, which is a thousand times slower.
const fn cases(number: u32) -> u32 {
    if cfg!(miri) {
        4
    } else {
        number
    }
}

/// How many events follow one another where all orders are tried: few under Miri.
const fn steps(number: usize) -> usize {
    if cfg!(miri) {
        2
    } else {
        number
    }
}

/// All 16-bit words, or some of them under Miri.
fn words() -> impl Iterator<Item = u16> {
    (0..=u16::MAX).step_by(if cfg!(miri) { 4099 } else { 1 })
}
