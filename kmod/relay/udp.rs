// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! The UDP header (RFC 768): where its fields are.

/// Bytes of the header.
pub const HEADER: usize = 8;
/// Where the checksum is, from the start of the header.
pub const CHECKSUM: usize = 6;
/// UDP as an IP protocol or next header.
pub const PROTOCOL: u8 = 17;

/// Source and destination, as in the header.
pub(super) fn ports(source: u16, destination: u16) -> [u8; 4] {
    super::field::concatenate(&source.to_be_bytes(), &destination.to_be_bytes())
}
