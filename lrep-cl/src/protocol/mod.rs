// SPDX-License-Identifier: MIT OR Apache-2.0

//! What SIP servers say to the controller: one file per control protocol.

pub mod lrkproxy;
