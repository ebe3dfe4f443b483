// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! Fixed places in a header. A place outside of it does not compile.

/// The `N` bytes at `AT`.
#[inline(always)]
pub(super) fn read<const AT: usize, const N: usize, const LEN: usize>(
    header: &[u8; LEN],
) -> [u8; N] {
    const { assert!(AT + N <= LEN) };
    let mut field = [0; N];
    field.copy_from_slice(&header[AT..AT + N]);
    field
}

/// Overwrites the `N` bytes at `AT`.
#[inline(always)]
pub(super) fn write<const AT: usize, const N: usize, const LEN: usize>(
    header: &mut [u8; LEN],
    field: [u8; N],
) {
    const { assert!(AT + N <= LEN) };
    header[AT..AT + N].copy_from_slice(&field);
}

/// One field after the other.
pub(super) fn concatenate<const A: usize, const B: usize, const LEN: usize>(
    first: &[u8; A],
    second: &[u8; B],
) -> [u8; LEN] {
    const { assert!(A + B == LEN) };
    let mut both = [0; LEN];
    both[..A].copy_from_slice(first);
    both[A..].copy_from_slice(second);
    both
}
