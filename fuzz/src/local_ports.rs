// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whatever the kernel says of the ports it gives away: what is then reserved keeps the relay's ports
//! from other sockets, and frees none.

use lrep_cl::ephemeral::Ephemeral;

/// The file ip_local_port_range, a line, and the file ip_local_reserved_ports.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let (given, reserved) = text.split_once('\n').unwrap_or((text, ""));
    let Some(before) = Ephemeral::parse(given, reserved) else {
        return;
    };
    let relay = [20_000..=20_007, 40_000..=40_000];
    let written = before.reserving(&relay);
    let after = Ephemeral::parse(given, &written).expect("as the kernel reads it");
    assert!(!after.meets(&relay));
    for port in [0, 1, 1023, 19_999, 20_000, 20_008, 32_768, 60_999, u16::MAX] {
        assert!(before.meets(&[port..=port]) || !after.meets(&[port..=port]));
    }
}
