// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the parties of calls report of each other in RTCP (RFC 3550 section 6.4), and how long the
//! way to them and back takes.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use rtcp_types::{Compound, Packet, ReportBlock};

use crate::tsl::{Report, SessionId};

/// Sender reports that are remembered, since receivers refer to them later.
const REMEMBERED: usize = 65_536;

/// What one RTCP packet of a party tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Synchronisation source of the party.
    pub ssrc: u32,
    /// What it has sent so far; `None` when it is only a receiver.
    pub sent: Option<Sent>,
    /// What it says of those it receives.
    pub heard: Vec<Heard>,
}

/// What a party has sent since it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// RTP packets.
    pub packets: u32,
    /// Bytes of their payloads.
    pub octets: u32,
}

/// What a party says of a source it receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Synchronisation source of the other party.
    pub ssrc: u32,
    /// Part of the packets that were lost since the last report, in 256ths.
    pub fraction_lost: u8,
    /// Packets lost so far. Duplicates count against it, so it may be below 0.
    pub lost: i32,
    /// Interarrival jitter, in timestamp units.
    pub jitter: u32,
    /// From the relay to the party that reports, and back; `None` when the report refers to nothing
    /// that is known.
    pub round_trip: Option<Duration>,
}

/// A sender report, as receivers refer to it: session, source, the middle 32 bits of its NTP time.
type Reference = (SessionId, u32, u32);

/// Reads reports, and remembers when those of senders passed.
#[derive(Debug, Default)]
pub struct Reports {
    /// In nanoseconds of the relay's clock.
    passed: HashMap<Reference, u64>,
    order: VecDeque<Reference>,
}

impl Reports {
    /// What a packet tells, packet by packet of those it is made of. What is no report, or damaged,
    /// tells nothing.
    pub fn read(&mut self, report: &Report) -> Vec<Told> {
        let Ok(compound) = Compound::parse(whole_packets(&report.packet)) else {
            return Vec::new();
        };
        let mut told = Vec::new();
        for packet in compound.map_while(Result::ok) {
            match packet {
                Packet::Sr(sender) => {
                    // RFC 3550 section 6.4.1, LSR: the middle 32 bits.
                    let middle = (sender.ntp_timestamp() >> 16) as u32;
                    self.remember((report.session, sender.ssrc(), middle), report.arrived_ns);
                    told.push(Told {
                        ssrc: sender.ssrc(),
                        sent: Some(Sent {
                            packets: sender.packet_count(),
                            octets: sender.octet_count(),
                        }),
                        heard: self.heard(report, sender.report_blocks()),
                    });
                }
                Packet::Rr(receiver) => told.push(Told {
                    ssrc: receiver.ssrc(),
                    sent: None,
                    heard: self.heard(report, receiver.report_blocks()),
                }),
                _ => {}
            }
        }
        told
    }

    fn heard<'a>(
        &self,
        report: &Report,
        blocks: impl Iterator<Item = ReportBlock<'a>>,
    ) -> Vec<Heard> {
        blocks
            .map(|block| Heard {
                ssrc: block.ssrc(),
                fraction_lost: block.fraction_lost(),
                lost: signed_24_bits(block.cumulative_lost()),
                jitter: block.interarrival_jitter(),
                round_trip: self.round_trip(report, &block),
            })
            .collect()
    }

    /// As RFC 3550 section 6.4.1 computes it, with the relay in the place of the sender: the time from
    /// when the sender report passed until its receiver's answer did, less what the receiver says it
    /// took to answer.
    fn round_trip(&self, report: &Report, block: &ReportBlock<'_>) -> Option<Duration> {
        let reference = block.last_sender_report_timestamp();
        // Zero when no sender report was received; a sender without a clock has it for its time, too.
        if reference == 0 {
            return None;
        }
        let passed = self
            .passed
            .get(&(report.session, block.ssrc(), reference))?;
        let delay = u64::from(block.delay_since_last_sender_report_timestamp());
        // In 65,536ths of a second; 32 bits of them are no more than 2^47 nanoseconds.
        let delay = (delay * 1_000_000_000) >> 16;
        let both_ways = report.arrived_ns.checked_sub(*passed)?;
        both_ways.checked_sub(delay).map(Duration::from_nanos)
    }

    fn remember(&mut self, reference: Reference, arrived_ns: u64) {
        if self.passed.insert(reference, arrived_ns).is_none() {
            self.order.push_back(reference);
        }
        if self.order.len() > REMEMBERED {
            if let Some(oldest) = self.order.pop_front() {
                self.passed.remove(&oldest);
            }
        }
    }
}

/// The whole packets at the beginning of a compound that may have been cut off.
fn whole_packets(bytes: &[u8]) -> &[u8] {
    let mut end = 0;
    while let Some([_, _, high, low]) = bytes.get(end..end + 4) {
        // RFC 3550 section 6.4.1: 32-bit words minus one.
        let words = usize::from(u16::from_be_bytes([*high, *low])) + 1;
        if end + words * 4 > bytes.len() {
            break;
        }
        end += words * 4;
    }
    &bytes[..end]
}

fn signed_24_bits(bits: u32) -> i32 {
    ((bits << 8) as i32) >> 8
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtcp_types::{ReceiverReport, RtcpPacketWriterExt, SenderReport};

    const A: u32 = 0xaaaa_0001;
    const B: u32 = 0xbbbb_0002;
    const NTP: u64 = 0x1111_2222_3333_4444;
    const SECOND: u64 = 1_000_000_000;

    fn bytes(packet: impl RtcpPacketWriterExt) -> Vec<u8> {
        let mut bytes = vec![0; 1024];
        let length = packet.write_into(&mut bytes).expect("it fits");
        bytes.truncate(length);
        bytes
    }

    fn sender_report() -> Vec<u8> {
        bytes(
            SenderReport::builder(A)
                .ntp_timestamp(NTP)
                .packet_count(100)
                .octet_count(16_000),
        )
    }

    fn receiver_report(last_report: u32, delay: u32) -> Vec<u8> {
        let block = ReportBlock::builder(A)
            .fraction_lost(64)
            .cumulative_lost(0xff_ffff)
            .interarrival_jitter(34)
            .last_sender_report_timestamp(last_report)
            .delay_since_last_sender_report_timestamp(delay);
        bytes(ReceiverReport::builder(B).add_report_block(block))
    }

    fn at(session: SessionId, arrived_ns: u64, packet: Vec<u8>) -> Report {
        let address = "192.0.2.1:4001".parse().expect("valid");
        Report {
            session,
            local: address,
            source: address,
            arrived_ns,
            packet,
        }
    }

    #[test]
    fn the_round_trip_is_the_time_between_the_reports_less_the_delay_in_between() {
        let mut reports = Reports::default();
        let told = reports.read(&at(7, 10 * SECOND, sender_report()));
        let sent = Sent {
            packets: 100,
            octets: 16_000,
        };
        assert_eq!(
            told,
            [Told {
                ssrc: A,
                sent: Some(sent),
                heard: vec![]
            }]
        );
        // Answered after 2.5 s, 2.55 s after it passed.
        let answer = receiver_report(0x2222_3333, 5 << 15);
        let told = reports.read(&at(7, 12 * SECOND + SECOND * 55 / 100, answer));
        let heard = Heard {
            ssrc: A,
            fraction_lost: 64,
            lost: -1,
            jitter: 34,
            round_trip: Some(Duration::from_millis(50)),
        };
        assert_eq!(
            told,
            [Told {
                ssrc: B,
                sent: None,
                heard: vec![heard]
            }]
        );
    }

    #[test]
    fn a_report_that_refers_to_nothing_known_has_no_round_trip() {
        let mut reports = Reports::default();
        reports.read(&at(7, 10 * SECOND, sender_report()));
        for (session, last_report, delay, arrived) in [
            (7, 0, 0, 11),
            (7, 0x2222_3334, 0, 11),
            (8, 0x2222_3333, 0, 11),
            // Answered before it passed, or faster than the delay.
            (7, 0x2222_3333, 0, 9),
            (7, 0x2222_3333, 2 << 16, 11),
        ] {
            let answer = receiver_report(last_report, delay);
            let told = reports.read(&at(session, arrived * SECOND, answer));
            assert_eq!(told[0].heard[0].round_trip, None, "{session} {last_report}");
        }
    }

    #[test]
    fn who_received_no_sender_report_does_not_refer_to_one_without_a_clock() {
        let mut reports = Reports::default();
        let without_clock = SenderReport::builder(A).ntp_timestamp(0);
        reports.read(&at(7, 10 * SECOND, bytes(without_clock)));
        let told = reports.read(&at(7, 13 * SECOND, receiver_report(0, 0)));
        assert_eq!(told[0].heard[0].round_trip, None);
    }

    #[test]
    fn what_is_cut_off_is_left_out() {
        let mut packet = sender_report();
        packet.extend(receiver_report(0, 0));
        let mut reports = Reports::default();
        assert_eq!(reports.read(&at(1, 0, packet.clone())).len(), 2);
        packet.truncate(packet.len() - 1);
        assert_eq!(reports.read(&at(1, 0, packet.clone())).len(), 1);
        packet.truncate(10);
        assert_eq!(reports.read(&at(1, 0, packet)), []);
    }

    #[test]
    fn old_sender_reports_are_forgotten() {
        let mut reports = Reports::default();
        for session in 0..=REMEMBERED as u64 {
            reports.read(&at(session, SECOND, sender_report()));
        }
        assert_eq!(reports.passed.len(), REMEMBERED);
        assert_eq!(reports.order.len(), REMEMBERED);
        assert!(!reports.passed.contains_key(&(0, A, 0x2222_3333)));
    }
}
