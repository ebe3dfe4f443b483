// SPDX-License-Identifier: MIT OR Apache-2.0

//! What an `S` or a `D` of the lreproxy protocol asks of this relay.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZero;
use std::time::Duration;

use crate::addresses::Addresses;
use crate::call::{Media, Party};
use crate::protocol::lrkproxy::{Relay, Verdict};

/// Lowest relay port that is given to a client.
pub const PORT_MIN: u16 = 1024;

/// Which idle timeouts sessions get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Takes the place of what the client asks for.
    pub fixed: Option<Duration>,
    /// Shorter ones are raised to this.
    pub min: Duration,
    /// Longer ones are lowered to this.
    pub max: Duration,
}

impl Timeouts {
    fn of(&self, asked: Duration) -> Duration {
        self.fixed.unwrap_or(asked).clamp(self.min, self.max)
    }
}

/// Why an `S` installs nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The client has no configuration from us: it was started before we were there.
    ClientUnconfigured,
    /// The client left the SDP alone, its script asks for neither side.
    ClientWithoutFlags,
    /// A field cannot be read.
    BadField {
        /// Its name in the protocol.
        field: &'static str,
        /// Its text.
        text: Vec<u8>,
    },
    /// A party's address is no IPv4 address.
    NotIpv4 {
        /// The field's name in the protocol.
        field: &'static str,
        /// Its text.
        text: Vec<u8>,
    },
    /// A party's address is a multicast or broadcast one.
    NotUnicast {
        /// The field's name in the protocol.
        field: &'static str,
        /// The address.
        address: Ipv4Addr,
    },
    /// The relay address is none of ours.
    NotOurs {
        /// The field's name in the protocol.
        field: &'static str,
        /// The address.
        address: Ipv4Addr,
        /// What would be ours.
        ours: String,
    },
    /// The relay port is a privileged one, or has no next one for RTCP.
    BadPort {
        /// The field's name in the protocol.
        field: &'static str,
        /// The port.
        port: u16,
    },
    /// One side's RTCP port is the other side's RTP port.
    Overlap {
        /// DST_PORT.
        dst: u16,
        /// SNAT_PORT.
        snat: u16,
    },
    /// Both parties are faced at one address and port, and are the same themselves.
    Undecidable(SocketAddr),
    /// The client's set has no TSL.
    NoTsl {
        /// The number of the set.
        set: u32,
    },
    /// The call is new, and every TSL that could take it was disabled by its operator.
    Disabled {
        /// The number of the set.
        set: u32,
    },
    /// The call is new, and this controller is being drained.
    Draining,
    /// The call is new, and there are too many at once.
    TooMany {
        /// How many may come in a second.
        rate: NonZero<u32>,
    },
}

impl Refusal {
    /// What the client is told. Clients take both words for success; `OK` is kept for the cases
    /// in which the protocol knows nothing better.
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::ClientUnconfigured | Self::ClientWithoutFlags => Verdict::Ok,
            _ => Verdict::Error,
        }
    }

    /// Whether the relay asked for is another one.
    pub fn is_foreign(&self) -> bool {
        matches!(self, Self::NotOurs { .. })
    }

    /// Names the kind of refusal, for limiting how often it is logged.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::ClientUnconfigured => "client-unconfigured",
            Self::ClientWithoutFlags => "client-without-flags",
            Self::BadField { .. } => "bad-field",
            Self::NotIpv4 { .. } => "not-ipv4",
            Self::NotUnicast { .. } => "not-unicast",
            Self::NotOurs { .. } => "not-ours",
            Self::BadPort { .. } => "bad-port",
            Self::Overlap { .. } => "overlap",
            Self::Undecidable(_) => "undecidable",
            Self::NoTsl { .. } => "no-tsl",
            Self::Disabled { .. } => "disabled",
            Self::Draining => "draining",
            Self::TooMany { .. } => "session-rate",
        }
    }
}

/// What happened, and what to do about it.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientUnconfigured => f.write_str(
                "the SIP server named no relay address, since lrep-cl was not there when it \
                 started: restart the SIP server now, and start lrep-cl before it from now on",
            ),
            Self::ClientWithoutFlags => f.write_str(
                "the SIP server named no relay address and left the SDP alone: call \
                 lreproxy_manage() without flags, or with `ie` or `ei`",
            ),
            Self::BadField { field, text } => {
                write!(f, "{field} cannot be read: `{}`", text.escape_ascii())
            }
            Self::NotIpv4 { field, text } => write!(
                f,
                "{field} `{}` is no IPv4 address, and only IPv4 is relayed: have the party put an \
                 IPv4 address into the c= line of its SDP",
                text.escape_ascii()
            ),
            Self::NotUnicast { field, address } => {
                write!(
                    f,
                    "{field} {address} is no address of a single host: nothing is sent there"
                )
            }
            Self::NotOurs {
                field,
                address,
                ours,
            } => write!(
                f,
                "{field} {address} is none of this relay's addresses ({ours}): restart the SIP \
                 server if the configuration of lrep-cl was changed, else add the address to it"
            ),
            Self::BadPort { field, port } => write!(
                f,
                "{field} {port} is not usable, it must be {PORT_MIN} to 65534: correct start_port \
                 and end_port of the SIP server's module"
            ),
            Self::Overlap { dst, snat } => write!(
                f,
                "DST_PORT {dst} and SNAT_PORT {snat} are neighbours, so RTP and RTCP of the two \
                 sides would meet on one port"
            ),
            Self::Undecidable(party) => write!(
                f,
                "both parties are {party} and share one relay port (gt=1), so no packet's \
                 direction can be told; what was relayed on this port before stays"
            ),
            Self::NoTsl { set } => write!(
                f,
                "set {set} has no TSL: name one in lreproxy_sock, or give the SIP server another \
                 set in `sets`"
            ),
            Self::Disabled { set } => write!(
                f,
                "every TSL of set {set} that has the addresses is disabled: `lrep-cl tsl enable` \
                 lets one have new calls"
            ),
            Self::Draining => f.write_str(
                "this controller is being drained: have the SIP server use another node, or take \
                 it back with `lrep-cl drain --cancel`",
            ),
            Self::TooMany { rate } => write!(
                f,
                "more than {rate} new calls a second: find out who begins so many, or raise \
                 session_rate"
            ),
        }
    }
}

/// The media an `S` asks for.
pub fn wanted(
    relay: &Relay<'_>,
    addresses: &Addresses,
    timeouts: &Timeouts,
) -> Result<Media, Refusal> {
    if relay.dst_ip.is_empty() || relay.snat_ip.is_empty() {
        return Err(if relay.dst_port.is_empty() {
            Refusal::ClientWithoutFlags
        } else {
            Refusal::ClientUnconfigured
        });
    }
    let media = Media {
        offerer: Party::new(
            ours(
                "SNAT_IP",
                relay.snat_ip,
                "SNAT_PORT",
                relay.snat_port,
                addresses,
            )?,
            theirs("SRC_IP", relay.src_ip, "SRC_PORT", relay.src_port)?,
        ),
        answerer: Party::new(
            ours(
                "DST_IP",
                relay.dst_ip,
                "DST_PORT",
                relay.dst_port,
                addresses,
            )?,
            theirs("DNAT_IP", relay.dnat_ip, "DNAT_PORT", relay.dnat_port)?,
        ),
        timeout: timeouts.of(Duration::from_secs(
            number::<u32>("TIMEOUT", relay.timeout)?.into(),
        )),
    };
    let (offerer, answerer) = (media.offerer, media.answerer);
    if offerer.local.ip() == answerer.local.ip()
        && offerer.local.port().abs_diff(answerer.local.port()) == 1
    {
        return Err(Refusal::Overlap {
            dst: answerer.local.port(),
            snat: offerer.local.port(),
        });
    }
    match offerer.remote {
        Some(party) if media.locals().is_shared() && offerer.remote == answerer.remote => {
            Err(Refusal::Undecidable(party))
        }
        _ => Ok(media),
    }
}

/// The relay address towards the answerer that a `D` names; `None` when it is none of ours.
pub fn named(relay: &Relay<'_>, addresses: &Addresses) -> Option<SocketAddr> {
    let address = addresses.local(text("DST_IP", relay.dst_ip).ok()?.parse().ok()?)?;
    let port = number("DST_PORT", relay.dst_port).ok()?;
    Some(SocketAddr::new(IpAddr::V4(address), port))
}

fn ours(
    ip_field: &'static str,
    ip: &[u8],
    port_field: &'static str,
    port: &[u8],
    addresses: &Addresses,
) -> Result<SocketAddr, Refusal> {
    let named = ipv4(ip_field, ip)?;
    let local = addresses.local(named).ok_or_else(|| Refusal::NotOurs {
        field: ip_field,
        address: named,
        ours: addresses.to_string(),
    })?;
    let port = number(port_field, port)?;
    if !(PORT_MIN..u16::MAX).contains(&port) {
        return Err(Refusal::BadPort {
            field: port_field,
            port,
        });
    }
    Ok(SocketAddr::new(IpAddr::V4(local), port))
}

/// A party's address; `None` when nothing may be sent to it: 0.0.0.0 is a call on hold, port 0
/// a rejected media.
fn theirs(
    ip_field: &'static str,
    ip: &[u8],
    port_field: &'static str,
    port: &[u8],
) -> Result<Option<SocketAddr>, Refusal> {
    let address = ipv4(ip_field, ip)?;
    // `4000/2` counts the ports of a hierarchical encoding (RFC 4566, section 5.14); the first
    // one is this media's.
    let first = port.split(|&byte| byte == b'/').next().unwrap_or(port);
    let port = number(port_field, first)?;
    if address.is_multicast() || address.is_broadcast() {
        return Err(Refusal::NotUnicast {
            field: ip_field,
            address,
        });
    }
    let held = address.is_unspecified() || port == 0;
    Ok((!held).then_some(SocketAddr::new(IpAddr::V4(address), port)))
}

fn ipv4(field: &'static str, bytes: &[u8]) -> Result<Ipv4Addr, Refusal> {
    if let Some(octets) = octets(bytes) {
        return Ok(octets.into());
    }
    // It may be no text at all.
    let text = text(field, bytes)?;
    Err(Refusal::NotIpv4 {
        field,
        text: text.into(),
    })
}

/// The octets of an address in its usual form, as inet_pton(3) takes it: without leading zeros, which
/// some take for octal.
fn octets(bytes: &[u8]) -> Option<[u8; 4]> {
    let mut parts = bytes.split(|byte| *byte == b'.');
    let mut octets = [0; 4];
    for octet in &mut octets {
        let part = parts.next()?;
        if part.len() > 1 && part.starts_with(b"0") {
            return None;
        }
        *octet = decimal(part)?.try_into().ok()?;
    }
    parts.next().is_none().then_some(octets)
}

/// A number of digits only, one at least.
fn decimal(bytes: &[u8]) -> Option<u64> {
    let digit = |number: u64, byte: &u8| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    };
    let (first, rest) = bytes.split_first()?;
    rest.iter().try_fold(digit(0, first)?, digit)
}

fn number<T: TryFrom<u64>>(field: &'static str, bytes: &[u8]) -> Result<T, Refusal> {
    let bad = || Refusal::BadField {
        field,
        text: bytes.to_vec(),
    };
    let number = decimal(bytes).ok_or_else(bad)?;
    T::try_from(number).map_err(|_| bad())
}

fn text<'a>(field: &'static str, bytes: &'a [u8]) -> Result<&'a str, Refusal> {
    let bad = || Refusal::BadField {
        field,
        text: bytes.to_vec(),
    };
    if bytes.is_empty() {
        return Err(bad());
    }
    std::str::from_utf8(bytes).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::lrkproxy::{Command, Framing, decode};

    const TIMEOUTS: Timeouts = Timeouts {
        fixed: None,
        min: Duration::from_secs(5),
        max: Duration::from_secs(3600),
    };

    fn addresses() -> Addresses {
        Addresses {
            internal: Ipv4Addr::new(10, 0, 0, 5),
            external: Ipv4Addr::new(203, 0, 113, 5),
            mappings: vec!["198.51.100.7=10.0.0.7".parse().expect("a mapping")],
        }
    }

    fn relay(request: &str) -> Relay<'_> {
        match decode(request.as_bytes(), Framing::Stream) {
            Some(Command::Set(Ok(relay)) | Command::Delete(Ok(relay))) => relay,
            other => panic!("neither S nor D: {other:?}"),
        }
    }

    fn media(request: &str) -> Result<Media, Refusal> {
        wanted(&relay(request), &addresses(), &TIMEOUTS)
    }

    fn at(text: &str) -> SocketAddr {
        text.parse().expect("an address and a port")
    }

    #[test]
    fn each_party_is_faced_at_the_address_it_was_told() {
        let media =
            media("S 192.0.2.10 203.0.113.5 10.0.0.5 10.0.0.20 4000 20000 20002 8000 60 a@pc33 ")
                .expect("usable");
        assert_eq!(media.offerer.local, at("10.0.0.5:20002"));
        assert_eq!(media.offerer.remote, Some(at("192.0.2.10:4000")));
        assert_eq!(media.answerer.local, at("203.0.113.5:20000"));
        assert_eq!(media.answerer.remote, Some(at("10.0.0.20:8000")));
        assert_eq!(media.timeout, Duration::from_secs(60));
    }

    #[test]
    fn an_advertised_address_is_mapped_to_the_interfaces_own() {
        let request = "S 192.0.2.1 198.51.100.7 198.51.100.7 192.0.2.2 4000 20000 20002 8000 60 a ";
        let media = media(request).expect("usable");
        assert_eq!(media.offerer.local, at("10.0.0.7:20002"));
        assert_eq!(media.answerer.local, at("10.0.0.7:20000"));
        assert_eq!(
            named(&relay(request), &addresses()),
            Some(at("10.0.0.7:20000"))
        );
    }

    #[test]
    fn held_and_rejected_media_has_no_remote() {
        let held = media("S 0.0.0.0 10.0.0.5 10.0.0.5 192.0.2.2 4000 20000 20002 8000 60 a ")
            .expect("usable");
        assert_eq!(held.offerer.remote, None);
        let rejected = media("S 192.0.2.1 10.0.0.5 10.0.0.5 192.0.2.2 4000 20000 20002 0 60 a ")
            .expect("usable");
        assert_eq!(rejected.answerer.remote, None);
    }

    #[test]
    fn a_port_count_is_left_aside() {
        let media =
            media("S 192.0.2.1 10.0.0.5 10.0.0.5 192.0.2.2 4000/2 20000 20002 8000/1 60 a ")
                .expect("usable");
        assert_eq!(media.offerer.remote, Some(at("192.0.2.1:4000")));
        assert_eq!(media.answerer.remote, Some(at("192.0.2.2:8000")));
    }

    #[test]
    fn one_port_for_both_sides_is_shared_unless_the_parties_are_one() {
        let shared = media("S 192.0.2.1 10.0.0.5 10.0.0.5 192.0.2.2 4000 20000 20000 8000 60 a ")
            .expect("usable");
        assert!(shared.locals().is_shared());
        let same = "S 192.0.2.1 10.0.0.5 10.0.0.5 192.0.2.1 4000 20000 20000 4000 60 a ";
        assert_eq!(media(same), Err(Refusal::Undecidable(at("192.0.2.1:4000"))));
        // On ports of its own each direction is clear.
        let apart = "S 192.0.2.1 10.0.0.5 10.0.0.5 192.0.2.1 4000 20000 20002 4000 60 a ";
        assert!(media(apart).is_ok());
    }

    #[test]
    fn a_client_without_configuration_gets_ok_and_a_cure() {
        let refusal = media("S 127.0.0.11   127.0.0.12 40000 0 2 41000 60 1-16629@127.0.0.1 ")
            .expect_err("nothing to install");
        assert_eq!(refusal, Refusal::ClientUnconfigured);
        assert_eq!(refusal.verdict(), Verdict::Ok);
        assert!(refusal.to_string().contains("restart the SIP server"));
        let refusal = media("S 127.0.0.11   127.0.0.12 40000   41000 60 1-12478@127.0.0.1 ")
            .expect_err("nothing to install");
        assert_eq!(refusal, Refusal::ClientWithoutFlags);
        assert_eq!(refusal.verdict(), Verdict::Ok);
    }

    #[test]
    fn unusable_fields_are_answered_er() {
        let cases = [
            (
                "S ::1 10.0.0.5 10.0.0.5 192.0.2.2 4000 20000 20002 8000 60 a ",
                "not-ipv4",
            ),
            (
                "S host 10.0.0.5 10.0.0.5 192.0.2.2 4000 20000 20002 8000 60 a ",
                "not-ipv4",
            ),
            (
                "S 224.0.0.1 10.0.0.5 10.0.0.5 192.0.2.2 4000 20000 20002 8000 60 a ",
                "not-unicast",
            ),
            (
                "S  10.0.0.5 10.0.0.5 192.0.2.2 4000 20000 20002 8000 60 a ",
                "bad-field",
            ),
            (
                "S 192.0.2.1 10.0.0.9 10.0.0.5 192.0.2.2 4000 20000 20002 8000 60 a ",
                "not-ours",
            ),
            (
                "S 192.0.2.1 10.0.0.5 10.0.0.9 192.0.2.2 4000 20000 20002 8000 60 a ",
                "not-ours",
            ),
            (
                "S 192.0.2.1 10.0.0.5 10.0.0.5 192.0.2.2 4000 1000 20002 8000 60 a ",
                "bad-port",
            ),
            (
                "S 192.0.2.1 10.0.0.5 10.0.0.5 192.0.2.2 4000 20000 65535 8000 60 a ",
                "bad-port",
            ),
            (
                "S 192.0.2.1 10.0.0.5 10.0.0.5 192.0.2.2 x 20000 20002 8000 60 a ",
                "bad-field",
            ),
            (
                "S 192.0.2.1 10.0.0.5 10.0.0.5 192.0.2.2 +5 20000 20002 8000 60 a ",
                "bad-field",
            ),
            (
                "S 192.0.2.1 10.0.0.5 10.0.0.5 192.0.2.2 70000 20000 20002 8000 60 a ",
                "bad-field",
            ),
            (
                "S 192.0.2.1 10.0.0.5 10.0.0.5 192.0.2.2 4000 20000 20002 8000  a ",
                "bad-field",
            ),
            (
                "S 192.0.2.1 10.0.0.5 10.0.0.5 192.0.2.2 4000 20000 20001 8000 60 a ",
                "overlap",
            ),
        ];
        for (request, kind) in cases {
            let refusal = media(request).expect_err(request);
            assert_eq!(
                (refusal.kind(), refusal.verdict()),
                (kind, Verdict::Error),
                "{request}"
            );
        }
    }

    #[test]
    fn a_refused_address_names_the_configured_ones() {
        let text = media("S 192.0.2.1 10.9.9.9 10.0.0.5 192.0.2.2 4000 20000 20002 8000 60 a ")
            .expect_err("none of ours")
            .to_string();
        for part in [
            "10.9.9.9",
            "internal_ip 10.0.0.5",
            "external_ip 203.0.113.5",
            "198.51.100.7",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn timeouts_are_kept_within_bounds_or_fixed() {
        let request = "S 192.0.2.1 10.0.0.5 10.0.0.5 192.0.2.2 4000 20000 20002 8000 2 a ";
        assert_eq!(
            media(request).expect("usable").timeout,
            Duration::from_secs(5)
        );
        let fixed = Timeouts {
            fixed: Some(Duration::from_secs(30)),
            ..TIMEOUTS
        };
        let media = wanted(&relay(request), &addresses(), &fixed).expect("usable");
        assert_eq!(media.timeout, Duration::from_secs(30));
    }

    proptest! {
        #[test]
        fn an_address_is_what_the_standard_library_takes_for_one(
            text in "[0-9]{1,4}(\\.[0-9]{0,4}){2,4}|[0-9.]{0,16}|.{0,16}",
        ) {
            let wanted: Option<Ipv4Addr> = text.parse().ok();
            prop_assert_eq!(octets(text.as_bytes()).map(Ipv4Addr::from), wanted);
        }

        #[test]
        fn an_address_is_read_as_it_prints(address: Ipv4Addr) {
            let octets = octets(address.to_string().as_bytes());
            prop_assert_eq!(octets, Some(address.octets()));
        }
    }

    #[test]
    fn a_delete_needs_only_the_answerers_relay_address() {
        let deleted = relay("D 127.0.0.11 10.0.0.5   40000 20000   60 1-15734@127.0.0.1 ");
        assert_eq!(named(&deleted, &addresses()), Some(at("10.0.0.5:20000")));
        for nothing in [
            "D 127.0.0.11 10.0.0.9   40000 20000   60 a ",
            "D 127.0.0.11    40000 0   60 a ",
            "D 127.0.0.11 ::1   40000 20000   60 a ",
        ] {
            assert_eq!(named(&relay(nothing), &addresses()), None, "{nothing}");
        }
    }
}
