// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whatever parties report of each other: no more is read than there is, what was read is written
//! and read again as the same, and no round trip takes longer than the reports are apart.

use std::time::Duration;

use lrep_cl::rtcp::{Heard, Reports, Told};
use lrep_cl::tsl::Report;
use rtcp_types::{ReceiverReport, ReportBlock, RtcpPacketWriterExt, SenderReport};

/// Bytes of what a sender report says of its sender, of a report block, and of the header before
/// both (RFC 3550 section 6.4.1).
const SENDER: usize = 20;
const BLOCK: usize = 24;
const HEADER: usize = 8;

/// An RTCP packet as it arrived, perhaps cut off.
pub fn check(packet: &[u8]) {
    let mut reports = Reports::default();
    let told = reports.read(&at(1_000_000_000, packet));
    let bytes = told
        .iter()
        .map(|told| HEADER + told.sent.map_or(0, |_| SENDER) + BLOCK * told.heard.len());
    assert!(bytes.sum::<usize>() <= packet.len());
    // A second later the same refers to itself.
    let later = reports.read(&at(2_000_000_000, packet));
    assert_eq!(later.len(), told.len());
    for heard in later.iter().flat_map(|told| &told.heard) {
        let second = Duration::from_secs(1);
        assert!(heard.round_trip.is_none_or(|time| time <= second));
    }
    for told in told {
        let again = Reports::default().read(&at(0, &written(&told)));
        let blocks = told.heard.iter().map(|heard| Heard {
            round_trip: None,
            ..*heard
        });
        let told = Told {
            heard: blocks.collect(),
            ..told
        };
        assert_eq!(again, [told]);
    }
}

fn at(arrived_ns: u64, packet: &[u8]) -> Report {
    let address = "192.0.2.1:4001".parse().expect("an address");
    Report {
        session: 1,
        local: address,
        source: address,
        arrived_ns,
        packet: packet.to_vec(),
    }
}

fn written(told: &Told) -> Vec<u8> {
    let blocks = told.heard.iter().map(|heard| {
        ReportBlock::builder(heard.ssrc)
            .fraction_lost(heard.fraction_lost)
            .cumulative_lost(heard.lost as u32 & 0xff_ffff)
            .interarrival_jitter(heard.jitter)
    });
    match told.sent {
        Some(sent) => bytes(
            &blocks.fold(
                SenderReport::builder(told.ssrc)
                    .ntp_timestamp(1 << 16)
                    .packet_count(sent.packets)
                    .octet_count(sent.octets),
                |report, block| report.add_report_block(block),
            ),
        ),
        None => bytes(
            &blocks.fold(ReceiverReport::builder(told.ssrc), |report, block| {
                report.add_report_block(block)
            }),
        ),
    }
}

fn bytes(packet: &impl RtcpPacketWriterExt) -> Vec<u8> {
    let mut bytes = vec![0; 1024];
    let length = packet.write_into(&mut bytes).expect("it fits");
    bytes.truncate(length);
    bytes
}
