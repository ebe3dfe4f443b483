// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! A difference of sums does what summing everything anew does.

use crate::reference;
use proptest::prelude::*;
use relay::checksum::Delta;

/// A sum as it lies in memory, whatever the byte order of the machine.
fn in_memory(sum: u16) -> u16 {
    u16::from_ne_bytes(sum.to_be_bytes())
}

#[test]
fn the_example_of_rfc_1624_comes_out_as_it_says() {
    // RFC 1624 section 4: HC = 0xDD2F, m = 0x5555, m' = 0x3285, HC' = 0x0000.
    let delta = Delta::between(&[0x55, 0x55], &[0x32, 0x85]);
    assert_eq!(delta.subtract_from(in_memory(0xdd2f)), 0x0000);
}

#[test]
fn no_change_leaves_every_sum_and_every_checksum() {
    for word in crate::words() {
        let bytes = word.to_be_bytes();
        let none = Delta::between(&bytes, &bytes);
        for sum in [1, 2, 0x7fff, 0x8000, 0xfffe, 0xffff] {
            assert_eq!(none.add_to(sum), sum);
            assert_eq!(none.subtract_from(!sum), !sum);
        }
    }
}

#[test]
fn a_checksum_has_one_way_to_say_zero() {
    // 0xffff and 0x0000 are the two zeros of ones' complement: going from one to the other changes
    // no sum, and an IPv4 header's checksum only uses 0x0000.
    for (old, new) in [([0xff; 2], [0; 2]), ([0; 2], [0xff; 2]), ([0; 2], [0; 2])] {
        assert_eq!(Delta::between(&old, &new).subtract_from(0xffff), 0x0000);
    }
}

#[test]
fn no_sum_of_something_becomes_zero() {
    for word in crate::words() {
        let delta = Delta::between(&[0xff, 0xff], &word.to_be_bytes());
        let back = Delta::between(&word.to_be_bytes(), &[0, 0]);
        for sum in [1, word.max(1), (!word).max(1), 0xffff] {
            assert_ne!(delta.add_to(sum), 0);
            assert_ne!(back.add_to(sum), 0);
            assert_ne!((delta + back).add_to(sum), 0);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: crate::cases(5_000), ..Default::default() })]

    #[test]
    fn a_delta_replaces_a_new_sum(
        before in prop::collection::vec(any::<u8>(), 0..20),
        (old, new) in any::<([u8; 16], [u8; 16])>(),
        after in prop::collection::vec(any::<u8>(), 0..21),
    ) {
        // What changes is at an even place, and something that does not is not zero.
        let mut bytes = before;
        if bytes.len() % 2 == 1 {
            bytes.push(0);
        }
        bytes.extend([0x45, 0]);
        let mut changed = bytes.clone();
        bytes.extend(old.iter().chain(&after));
        changed.extend(new.iter().chain(&after));

        let (sum, wanted) = (reference::sum(&bytes), reference::sum(&changed));
        let delta = Delta::between(&old, &new);
        prop_assert_eq!(delta.add_to(in_memory(sum)), in_memory(wanted));
        prop_assert_eq!(delta.subtract_from(in_memory(!sum)), in_memory(!wanted));
        let back = Delta::between(&new, &old);
        prop_assert_eq!(back.add_to(delta.add_to(in_memory(sum))), in_memory(sum));
    }

    #[test]
    fn two_deltas_combine_to_one(
        (a, b, c) in any::<([u8; 8], [u8; 8], [u8; 8])>(),
        sum in 1..=u16::MAX,
    ) {
        let both = Delta::between(&a, &b) + Delta::between(&b, &c);
        prop_assert_eq!(both.add_to(sum), Delta::between(&a, &c).add_to(sum));
    }
}
