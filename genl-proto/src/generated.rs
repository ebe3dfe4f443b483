// SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR MIT)
// Do not edit: generated from genl-proto/lreproxy.yaml by `make generate`.

/// Name of the generic netlink family.
pub const FAMILY_NAME: &str = "lreproxy";

/// Version of this protocol. Module and controller refuse to work together when
/// theirs differ.
pub const PROTOCOL_VERSION: u32 = 2;

/// Longest label of a session, in bytes.
pub const LABEL_MAX: u32 = 255;

/// Most streams one session can have.
pub const STREAMS_MAX: u32 = 16;

/// Most sessions or ids one bulk command can carry.
pub const BULK_MAX: u32 = 256;

/// Most local addresses one network namespace can relay on.
pub const LOCAL_ADDRESSES_MAX: u32 = 64;

/// Most ranges the ports of the relay can be in.
pub const PORT_RANGES_MAX: u32 = 8;

/// Shortest idle timeout, in milliseconds.
pub const TIMEOUT_MIN_MS: u32 = 1000;

/// Longest idle timeout, in milliseconds (seven days).
pub const TIMEOUT_MAX_MS: u32 = 604_800_000;

/// Packets a second to ports of the relay that no session owns, above which an
/// alarm is raised.
pub const FLOOD_RATE: u32 = 1000;

/// Most alarms that go on at the same time in one network namespace. Others are
/// counted only.
pub const ALARMS_MAX: u32 = 64;

/// How often an alarm that goes on is told again, in milliseconds.
pub const ALARM_INTERVAL_MS: u32 = 10000;

/// Packets it takes to tell an alarm: a few may come too late, or from where a
/// party has just been.
pub const ALARM_PACKETS: u32 = 10;

/// Bytes of an RTCP packet that are told at most.
pub const REPORT_MAX: u32 = 512;

/// Of the RTCP packets of one direction, one is told in this time at most, in
/// milliseconds.
pub const REPORT_INTERVAL_MS: u32 = 100;

/// Name of the multicast group `events`.
pub const GROUP_EVENTS: &str = "events";

/// Name of the multicast group `reports`.
pub const GROUP_REPORTS: &str = "reports";

/// What a stream carries, which decides what is admitted to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum StreamKind {
    /// RTP, and what shares its port: multiplexed RTCP (RFC 5761), STUN and
    /// DTLS.
    Rtp = 0,
    /// RTCP on a port of its own.
    Rtcp = 1,
    /// Any UDP payload, such as fax over UDPTL (T.38).
    Udp = 2,
}

impl StreamKind {
    /// Every value, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Rtp, Self::Rtcp, Self::Udp];

    /// The value of this number; none when there is no such value.
    pub const fn from_u32(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::Rtp),
            1 => Some(Self::Rtcp),
            2 => Some(Self::Udp),
            _ => None,
        }
    }

    /// Its name in the specification.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rtp => "rtp",
            Self::Rtcp => "rtcp",
            Self::Udp => "udp",
        }
    }
}

/// How much signalling is trusted to name an endpoint's party.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum LearningMode {
    /// Entirely. Packets go to the remote address and port, and only those from
    /// there are admitted.
    Signalled = 0,
    /// As far as the network: the party is behind NAT, and is learned from
    /// packets whose source is near to what was signalled.
    Nat = 1,
    /// Not at all: the party is learned from whoever sends, those near to what
    /// was signalled first. Strangers can take a call over. Only for networks
    /// without any.
    Open = 2,
}

impl LearningMode {
    /// Every value, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Signalled, Self::Nat, Self::Open];

    /// The value of this number; none when there is no such value.
    pub const fn from_u32(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::Signalled),
            1 => Some(Self::Nat),
            2 => Some(Self::Open),
            _ => None,
        }
    }

    /// Its name in the specification.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Signalled => "signalled",
            Self::Nat => "nat",
            Self::Open => "open",
        }
    }
}

/// Which way packets leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Output {
    /// Straight to the neighbour, past POST_ROUTING. The full way where the
    /// route asks for it: IPsec, tunnels, loopback, packets that have to be
    /// fragmented.
    Automatic = 0,
    /// Always as the packets the host forwards do, through POST_ROUTING, where
    /// rules can see and change them.
    Full = 1,
}

impl Output {
    /// Every value, in the order of their numbers.
    pub const ALL: [Self; 2] = [Self::Automatic, Self::Full];

    /// The value of this number; none when there is no such value.
    pub const fn from_u32(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::Automatic),
            1 => Some(Self::Full),
            _ => None,
        }
    }

    /// Its name in the specification.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Automatic => "automatic",
            Self::Full => "full",
        }
    }
}

/// Why a packet was not forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum DropReason {
    /// The port is one of the relay's and no session owns it. Counted in the
    /// totals only.
    NoSession = 0,
    /// The source is not the endpoint's remote address and port, and does not
    /// become it.
    ForeignSource = 1,
    /// The UDP length is wrong, or the payload is not what the stream carries.
    Malformed = 2,
    /// The opposite endpoint has no remote address (the call is on hold).
    Held = 3,
    /// The time to live ran out here; ICMP Time Exceeded went back to the
    /// sender.
    TtlExceeded = 4,
    /// The packet exceeds the path MTU and may not be fragmented; ICMP
    /// Fragmentation Needed went back to the sender.
    TooBig = 5,
    /// There is no route to the opposite endpoint's remote address.
    NoRoute = 6,
    /// The packet could not be made writable.
    NoMemory = 7,
    /// The RTP payload type is not one of the endpoint's payload-types.
    PayloadType = 8,
    /// The SSRC is not the one the endpoint is pinned to.
    ForeignSsrc = 9,
    /// The endpoint sends more than its packet-rate or byte-rate allows.
    Rate = 10,
    /// The source may become the remote of an endpoint that learns, but not by
    /// this packet: it is not what the stream carries, or not enough of them
    /// yet.
    Unconfirmed = 11,
    /// The source may become the remote of an endpoint that learns, but is an
    /// address of this host, of the relay or of no single host.
    UnusableSource = 12,
}

impl DropReason {
    /// Every value, in the order of their numbers.
    pub const ALL: [Self; 13] = [
        Self::NoSession,
        Self::ForeignSource,
        Self::Malformed,
        Self::Held,
        Self::TtlExceeded,
        Self::TooBig,
        Self::NoRoute,
        Self::NoMemory,
        Self::PayloadType,
        Self::ForeignSsrc,
        Self::Rate,
        Self::Unconfirmed,
        Self::UnusableSource,
    ];

    /// The value of this number; none when there is no such value.
    pub const fn from_u32(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::NoSession),
            1 => Some(Self::ForeignSource),
            2 => Some(Self::Malformed),
            3 => Some(Self::Held),
            4 => Some(Self::TtlExceeded),
            5 => Some(Self::TooBig),
            6 => Some(Self::NoRoute),
            7 => Some(Self::NoMemory),
            8 => Some(Self::PayloadType),
            9 => Some(Self::ForeignSsrc),
            10 => Some(Self::Rate),
            11 => Some(Self::Unconfirmed),
            12 => Some(Self::UnusableSource),
            _ => None,
        }
    }

    /// Its name in the specification.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoSession => "no-session",
            Self::ForeignSource => "foreign-source",
            Self::Malformed => "malformed",
            Self::Held => "held",
            Self::TtlExceeded => "ttl-exceeded",
            Self::TooBig => "too-big",
            Self::NoRoute => "no-route",
            Self::NoMemory => "no-memory",
            Self::PayloadType => "payload-type",
            Self::ForeignSsrc => "foreign-ssrc",
            Self::Rate => "rate",
            Self::Unconfirmed => "unconfirmed",
            Self::UnusableSource => "unusable-source",
        }
    }
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum EndReason {
    /// No packet was admitted for as long as its idle timeout.
    Expired = 0,
    /// A controller deleted it by its id.
    Deleted = 1,
    /// A controller flushed the table.
    Flushed = 2,
    /// A newer session took one of its local ports.
    Replaced = 3,
}

impl EndReason {
    /// Every value, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Expired, Self::Deleted, Self::Flushed, Self::Replaced];

    /// The value of this number; none when there is no such value.
    pub const fn from_u32(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::Expired),
            1 => Some(Self::Deleted),
            2 => Some(Self::Flushed),
            3 => Some(Self::Replaced),
            _ => None,
        }
    }

    /// Its name in the specification.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Deleted => "deleted",
            Self::Flushed => "flushed",
            Self::Replaced => "replaced",
        }
    }
}

/// What somebody should look into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum AlarmReason {
    /// Packets come from elsewhere than from an endpoint's remote, and are
    /// dropped.
    ForeignSource = 0,
    /// An endpoint sends more than its packet-rate or byte-rate allows; without
    /// a session, more packets than flood-rate a second go to ports that no
    /// session owns.
    Flood = 1,
    /// Packets go round: their time to live runs out here, or they come from a
    /// port of this relay.
    Loop = 2,
}

impl AlarmReason {
    /// Every value, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::ForeignSource, Self::Flood, Self::Loop];

    /// The value of this number; none when there is no such value.
    pub const fn from_u32(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::ForeignSource),
            1 => Some(Self::Flood),
            2 => Some(Self::Loop),
            _ => None,
        }
    }

    /// Its name in the specification.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ForeignSource => "foreign-source",
            Self::Flood => "flood",
            Self::Loop => "loop",
        }
    }
}

/// The commands a controller sends and the events it receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Command {
    /// Make a session. It forwards when the answer is sent. EEXIST when a local
    /// port is taken, EADDRNOTAVAIL when a local address is not configured;
    /// ENOSPC, EUSERS or EDQUOT when it would exceed sessions-max,
    /// half-open-max or memory-max.
    SessionNew = 1,
    /// Change a session. Streams are matched by their kind and local endpoints,
    /// must exist, and get the remotes and everything else as given; streams
    /// not named stay as they are. Counters go on. What a named stream has
    /// learned is kept if it is acceptable still, but has to be confirmed anew.
    /// ENOENT when there is no such session or stream, EDQUOT when it would
    /// exceed memory-max.
    SessionSet = 2,
    /// End a session and answer its final state. ENOENT when there is none.
    SessionDel = 3,
    /// Tell one session, or all of them in the order of their ids.
    SessionGet = 4,
    /// End all sessions, or those of one owner.
    SessionFlush = 5,
    /// Make several sessions, all of them or none.
    SessionBulkNew = 6,
    /// End several sessions, all of them or (when one does not exist) none.
    SessionBulkDel = 7,
    /// Tell the settings and the versions.
    ConfigGet = 8,
    /// Set the port ranges, the local addresses, what is measured, the limits;
    /// what is not given stays. The ranges and the addresses given replace the
    /// old ones. EBUSY when a session lives on an address that would go.
    ConfigSet = 9,
    /// Tell the counters of the whole network namespace.
    TotalsGet = 10,
    /// A session ended, with its final state. A datagram may hold several such
    /// messages.
    SessionEnded = 11,
    /// Something is wrong with packets that arrive.
    Alarm = 12,
    /// An RTCP packet has arrived. Only told while somebody listens.
    Report = 13,
}

impl Command {
    /// Every value, in the order of their numbers.
    pub const ALL: [Self; 13] = [
        Self::SessionNew,
        Self::SessionSet,
        Self::SessionDel,
        Self::SessionGet,
        Self::SessionFlush,
        Self::SessionBulkNew,
        Self::SessionBulkDel,
        Self::ConfigGet,
        Self::ConfigSet,
        Self::TotalsGet,
        Self::SessionEnded,
        Self::Alarm,
        Self::Report,
    ];

    /// The value of this number; none when there is no such value.
    pub const fn from_u8(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::SessionNew),
            2 => Some(Self::SessionSet),
            3 => Some(Self::SessionDel),
            4 => Some(Self::SessionGet),
            5 => Some(Self::SessionFlush),
            6 => Some(Self::SessionBulkNew),
            7 => Some(Self::SessionBulkDel),
            8 => Some(Self::ConfigGet),
            9 => Some(Self::ConfigSet),
            10 => Some(Self::TotalsGet),
            11 => Some(Self::SessionEnded),
            12 => Some(Self::Alarm),
            13 => Some(Self::Report),
            _ => None,
        }
    }

    /// Its name in the specification.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SessionNew => "session-new",
            Self::SessionSet => "session-set",
            Self::SessionDel => "session-del",
            Self::SessionGet => "session-get",
            Self::SessionFlush => "session-flush",
            Self::SessionBulkNew => "session-bulk-new",
            Self::SessionBulkDel => "session-bulk-del",
            Self::ConfigGet => "config-get",
            Self::ConfigSet => "config-set",
            Self::TotalsGet => "totals-get",
            Self::SessionEnded => "session-ended",
            Self::Alarm => "alarm",
            Self::Report => "report",
        }
    }
}

/// What a value of an attribute is, and what the kernel validates of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// No value: it is there or not.
    Flag,
    /// A `u16`.
    U16 {
        /// In network byte order; in host byte order otherwise.
        big_endian: bool,
        /// Smallest value allowed.
        min: u16,
        /// Largest value allowed.
        max: u16,
    },
    /// A `u32` in host byte order.
    U32 {
        /// Smallest value allowed.
        min: u32,
        /// Largest value allowed.
        max: u32,
    },
    /// An unsigned integer of 4 or 8 bytes in host byte order.
    Uint,
    /// A string that ends with a zero byte.
    String,
    /// Bytes.
    Binary {
        /// Fewest bytes allowed.
        min_len: u16,
        /// Most bytes allowed.
        max_len: u16,
    },
    /// Attributes of another set.
    Nest(&'static [Attribute]),
}

/// One attribute of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// Its number in its set.
    pub id: u16,
    /// Its name in the specification.
    pub name: &'static str,
    /// What its value is.
    pub kind: Kind,
    /// Whether it can be there more than once.
    pub multi: bool,
}

/// One command that a controller can send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Its number.
    pub command: Command,
    /// Its name in the specification.
    pub name: &'static str,
    /// The attribute set of its requests and answers.
    pub attributes: &'static [Attribute],
    /// Numbers of the attributes that a request can carry.
    pub request: &'static [u16],
    /// Whether it can also be asked for with `NLM_F_DUMP`.
    pub dump: bool,
    /// Whether it takes `CAP_NET_ADMIN` in the user namespace of the network
    /// namespace.
    pub admin: bool,
}

/// One multicast group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name, by which a controller finds its number.
    pub name: &'static str,
    /// Whether joining takes `CAP_NET_ADMIN` in the user namespace of the
    /// network namespace.
    pub admin: bool,
}

/// Attribute set `sending`. How packets are sent to an endpoint's party.
pub mod sending {
    use super::{Attribute, Kind};

    /// Differentiated services code point (RFC 2474); as it arrived when not
    /// given. The ECN bits are kept in any case.
    pub const DSCP: u16 = 1;

    /// Time to live, or hop limit; one less than it arrived with when not
    /// given. A packet whose own has run out is dropped in any case. Between
    /// two relays that send to each other, and both set it, nothing ends what
    /// goes round.
    pub const HOP_LIMIT: u16 = 2;

    /// Mark (fwmark) of the packets and of their route look-up; 0 when not
    /// given.
    pub const MARK: u16 = 3;

    /// Index of the network device packets leave through, or of the VRF their
    /// route is looked up in; any when not given.
    pub const DEVICE: u16 = 4;

    /// Which way packets leave; automatic when not given.
    pub const OUTPUT: u16 = 5;

    /// The largest number of an attribute of this set.
    pub const MAX: u16 = 5;

    /// Every attribute, in the order of their numbers.
    pub const ATTRS: [Attribute; 5] = [
        Attribute {
            id: DSCP,
            name: "dscp",
            kind: Kind::U32 { min: 0, max: 63 },
            multi: false,
        },
        Attribute {
            id: HOP_LIMIT,
            name: "hop-limit",
            kind: Kind::U32 { min: 1, max: 255 },
            multi: false,
        },
        Attribute {
            id: MARK,
            name: "mark",
            kind: Kind::U32 {
                min: 0,
                max: u32::MAX,
            },
            multi: false,
        },
        Attribute {
            id: DEVICE,
            name: "device",
            kind: Kind::U32 {
                min: 1,
                max: 2_147_483_647,
            },
            multi: false,
        },
        Attribute {
            id: OUTPUT,
            name: "output",
            kind: Kind::U32 {
                min: 0,
                max: super::Output::Full as u32,
            },
            multi: false,
        },
    ];
}

/// Attribute set `receiving`. What is admitted from an endpoint's party, beside
/// what all of a stream's packets have to be.
pub mod receiving {
    use super::{Attribute, Kind};

    /// The RTP payload types that are admitted, 128 bits in 16 bytes, the
    /// lowest bit of the first byte for payload type 0; all when not given.
    pub const PAYLOAD_TYPES: u16 = 1;

    /// The only RTP synchronisation source that is admitted; any when not
    /// given.
    pub const SSRC: u16 = 2;

    /// Packets a second that are admitted in the long run; any number when not
    /// given.
    pub const PACKET_RATE: u16 = 3;

    /// UDP payload bytes a second that are admitted in the long run; any number
    /// when not given.
    pub const BYTE_RATE: u16 = 4;

    /// How much of the long run may come at once, in milliseconds of either
    /// rate; 1000 when not given.
    pub const BURST_MS: u16 = 5;

    /// Rate of the RTP timestamps in Hz, which jitter is measured by; when not
    /// given, that of the payload type (RFC 3551), 8000 for dynamic ones.
    pub const CLOCK_RATE: u16 = 6;

    /// The largest number of an attribute of this set.
    pub const MAX: u16 = 6;

    /// Every attribute, in the order of their numbers.
    pub const ATTRS: [Attribute; 6] = [
        Attribute {
            id: PAYLOAD_TYPES,
            name: "payload-types",
            kind: Kind::Binary {
                min_len: 16,
                max_len: 16,
            },
            multi: false,
        },
        Attribute {
            id: SSRC,
            name: "ssrc",
            kind: Kind::U32 {
                min: 0,
                max: u32::MAX,
            },
            multi: false,
        },
        Attribute {
            id: PACKET_RATE,
            name: "packet-rate",
            kind: Kind::U32 {
                min: 1,
                max: u32::MAX,
            },
            multi: false,
        },
        Attribute {
            id: BYTE_RATE,
            name: "byte-rate",
            kind: Kind::U32 {
                min: 1,
                max: u32::MAX,
            },
            multi: false,
        },
        Attribute {
            id: BURST_MS,
            name: "burst-ms",
            kind: Kind::U32 { min: 1, max: 60000 },
            multi: false,
        },
        Attribute {
            id: CLOCK_RATE,
            name: "clock-rate",
            kind: Kind::U32 {
                min: 1,
                max: 249_999_999,
            },
            multi: false,
        },
    ];
}

/// Attribute set `learning`. How the address and port of an endpoint's party
/// are found out. A source is acceptable by its rank: the remote address and
/// port; that address and another port; the signalling address; a neighbour of
/// either (the same /24 or /64); with the mode open, anything else. The first
/// acceptable one is adopted, a better one takes its place.
pub mod learning {
    use super::{Attribute, Kind};

    /// How much signalling is trusted; signalled when not given.
    pub const MODE: u16 = 1;

    /// Address the signalling message came from, if that is known, of 4 or 16
    /// bytes.
    pub const SIGNALLING_ADDRESS: u16 = 2;

    /// Packets with one SSRC and rising sequence numbers after which the
    /// endpoint locks: 5 when not given, 2 for RTCP, which has no sequence
    /// numbers.
    pub const CONFIRMATIONS: u16 = 3;

    /// How long after a source was adopted a better one can take its place in
    /// spite of the lock, in milliseconds; 3000 when not given.
    pub const WINDOW_MS: u16 = 4;

    /// How long the source of an endpoint that is not locked must have been
    /// silent for any acceptable one to take its place, in milliseconds; 250
    /// when not given.
    pub const SILENCE_MS: u16 = 5;

    /// With roam-sequences: a locked endpoint of RTP follows its party to
    /// another acceptable source when the old one has been silent for this
    /// long, in milliseconds, and the new one goes on with the same SSRC. Not
    /// when quality is not measured.
    pub const ROAM_SILENCE_MS: u16 = 6;

    /// How far ahead of the last sequence number the new source's may be.
    pub const ROAM_SEQUENCES: u16 = 7;

    /// The largest number of an attribute of this set.
    pub const MAX: u16 = 7;

    /// Every attribute, in the order of their numbers.
    pub const ATTRS: [Attribute; 7] = [
        Attribute {
            id: MODE,
            name: "mode",
            kind: Kind::U32 {
                min: 0,
                max: super::LearningMode::Open as u32,
            },
            multi: false,
        },
        Attribute {
            id: SIGNALLING_ADDRESS,
            name: "signalling-address",
            kind: Kind::Binary {
                min_len: 4,
                max_len: 16,
            },
            multi: false,
        },
        Attribute {
            id: CONFIRMATIONS,
            name: "confirmations",
            kind: Kind::U32 { min: 1, max: 255 },
            multi: false,
        },
        Attribute {
            id: WINDOW_MS,
            name: "window-ms",
            kind: Kind::U32 { min: 0, max: 60000 },
            multi: false,
        },
        Attribute {
            id: SILENCE_MS,
            name: "silence-ms",
            kind: Kind::U32 { min: 0, max: 60000 },
            multi: false,
        },
        Attribute {
            id: ROAM_SILENCE_MS,
            name: "roam-silence-ms",
            kind: Kind::U32 { min: 1, max: 60000 },
            multi: false,
        },
        Attribute {
            id: ROAM_SEQUENCES,
            name: "roam-sequences",
            kind: Kind::U32 { min: 1, max: 32767 },
            multi: false,
        },
    ];
}

/// Attribute set `endpoint`. One side of a stream.
pub mod endpoint {
    use super::{Attribute, Kind};

    /// Address the relay receives on and sends from, in network byte order: 4
    /// bytes (IPv4) or 16 bytes (IPv6). One of the configured local addresses.
    pub const LOCAL_ADDRESS: u16 = 1;

    /// UDP port the relay receives on and sends from.
    pub const LOCAL_PORT: u16 = 2;

    /// Address of the party, of the same length as its own local address.
    /// Without it (and remote-port) nothing is sent to this endpoint, nothing
    /// from it is admitted and nothing learned: the call is on hold.
    pub const REMOTE_ADDRESS: u16 = 3;

    /// UDP port of the party.
    pub const REMOTE_PORT: u16 = 4;

    /// How packets are sent to the party.
    pub const SENDING: u16 = 5;

    /// What is admitted from the party.
    pub const RECEIVING: u16 = 6;

    /// How the party's address and port are found out; as signalled when not
    /// given.
    pub const LEARNING: u16 = 7;

    /// Address of the party that was learned. Answers and events only; when
    /// there is one.
    pub const LEARNED_ADDRESS: u16 = 8;

    /// UDP port of the party that was learned.
    pub const LEARNED_PORT: u16 = 9;

    /// What was learned is confirmed, and nobody else is listened to but as the
    /// learning attributes say. Answers and events only.
    pub const LOCKED: u16 = 10;

    /// The largest number of an attribute of this set.
    pub const MAX: u16 = 10;

    /// Every attribute, in the order of their numbers.
    pub const ATTRS: [Attribute; 10] = [
        Attribute {
            id: LOCAL_ADDRESS,
            name: "local-address",
            kind: Kind::Binary {
                min_len: 4,
                max_len: 16,
            },
            multi: false,
        },
        Attribute {
            id: LOCAL_PORT,
            name: "local-port",
            kind: Kind::U16 {
                big_endian: true,
                min: 1,
                max: u16::MAX,
            },
            multi: false,
        },
        Attribute {
            id: REMOTE_ADDRESS,
            name: "remote-address",
            kind: Kind::Binary {
                min_len: 4,
                max_len: 16,
            },
            multi: false,
        },
        Attribute {
            id: REMOTE_PORT,
            name: "remote-port",
            kind: Kind::U16 {
                big_endian: true,
                min: 1,
                max: u16::MAX,
            },
            multi: false,
        },
        Attribute {
            id: SENDING,
            name: "sending",
            kind: Kind::Nest(&super::sending::ATTRS),
            multi: false,
        },
        Attribute {
            id: RECEIVING,
            name: "receiving",
            kind: Kind::Nest(&super::receiving::ATTRS),
            multi: false,
        },
        Attribute {
            id: LEARNING,
            name: "learning",
            kind: Kind::Nest(&super::learning::ATTRS),
            multi: false,
        },
        Attribute {
            id: LEARNED_ADDRESS,
            name: "learned-address",
            kind: Kind::Binary {
                min_len: 4,
                max_len: 16,
            },
            multi: false,
        },
        Attribute {
            id: LEARNED_PORT,
            name: "learned-port",
            kind: Kind::U16 {
                big_endian: true,
                min: 0,
                max: u16::MAX,
            },
            multi: false,
        },
        Attribute {
            id: LOCKED,
            name: "locked",
            kind: Kind::Flag,
            multi: false,
        },
    ];
}

/// Attribute set `drops`. Packets not forwarded, by reason. Reasons never met
/// are left out.
pub mod drops {
    use super::{Attribute, Kind};

    /// Why.
    pub const REASON: u16 = 1;

    /// How many.
    pub const PACKETS: u16 = 2;

    /// The largest number of an attribute of this set.
    pub const MAX: u16 = 2;

    /// Every attribute, in the order of their numbers.
    pub const ATTRS: [Attribute; 2] = [
        Attribute {
            id: REASON,
            name: "reason",
            kind: Kind::U32 {
                min: 0,
                max: super::DropReason::UnusableSource as u32,
            },
            multi: false,
        },
        Attribute {
            id: PACKETS,
            name: "packets",
            kind: Kind::Uint,
            multi: false,
        },
    ];
}

/// Attribute set `counters`. What one direction of a stream, or the whole
/// namespace, has relayed.
pub mod counters {
    use super::{Attribute, Kind};

    /// Packets forwarded.
    pub const PACKETS: u16 = 1;

    /// UDP payload bytes forwarded.
    pub const BYTES: u16 = 2;

    /// Packets not forwarded, one entry for each reason met.
    pub const DROPS: u16 = 3;

    /// RTCP packets among those forwarded, also such that share a port with RTP
    /// (RFC 5761). Left out when there were none.
    pub const RTCP_PACKETS: u16 = 4;

    /// The largest number of an attribute of this set.
    pub const MAX: u16 = 4;

    /// Every attribute, in the order of their numbers.
    pub const ATTRS: [Attribute; 4] = [
        Attribute {
            id: PACKETS,
            name: "packets",
            kind: Kind::Uint,
            multi: false,
        },
        Attribute {
            id: BYTES,
            name: "bytes",
            kind: Kind::Uint,
            multi: false,
        },
        Attribute {
            id: DROPS,
            name: "drops",
            kind: Kind::Nest(&super::drops::ATTRS),
            multi: true,
        },
        Attribute {
            id: RTCP_PACKETS,
            name: "rtcp-packets",
            kind: Kind::Uint,
            multi: false,
        },
    ];
}

/// Attribute set `quality`. How well the RTP packets arrived at an endpoint,
/// before anything the relay did to them (RFC 3550 sections 6.4.1 and A.1 to
/// A.8).
pub mod quality {
    use super::{Attribute, Kind};

    /// Synchronisation source of the last run of packets.
    pub const SSRC: u16 = 1;

    /// Highest sequence number of the run, 16 bits.
    pub const HIGHEST_SEQUENCE: u16 = 2;

    /// Rate of the timestamps in Hz; left out when it is an uncommon one that
    /// was given.
    pub const CLOCK_RATE: u16 = 3;

    /// Interarrival jitter of the run, in timestamp units.
    pub const JITTER: u16 = 4;

    /// Packets of which no copy arrived. The cumulative number of RFC 3550 is
    /// this less the duplicates.
    pub const LOST: u16 = 5;

    /// Packets that arrived after a later one.
    pub const REORDERED: u16 = 6;

    /// Packets that had arrived before.
    pub const DUPLICATES: u16 = 7;

    /// Packets too far from the others in the sequence to belong to it.
    pub const JUMPS: u16 = 8;

    /// Times the sequence began anew, with the same source.
    pub const RESTARTS: u16 = 9;

    /// Times another source took the place of one.
    pub const SSRC_CHANGES: u16 = 10;

    /// Time since the last packet of any kind was admitted, in milliseconds.
    pub const LAST_MS: u16 = 11;

    /// The largest number of an attribute of this set.
    pub const MAX: u16 = 11;

    /// Every attribute, in the order of their numbers.
    pub const ATTRS: [Attribute; 11] = [
        Attribute {
            id: SSRC,
            name: "ssrc",
            kind: Kind::U32 {
                min: 0,
                max: u32::MAX,
            },
            multi: false,
        },
        Attribute {
            id: HIGHEST_SEQUENCE,
            name: "highest-sequence",
            kind: Kind::U32 {
                min: 0,
                max: u32::MAX,
            },
            multi: false,
        },
        Attribute {
            id: CLOCK_RATE,
            name: "clock-rate",
            kind: Kind::U32 {
                min: 0,
                max: u32::MAX,
            },
            multi: false,
        },
        Attribute {
            id: JITTER,
            name: "jitter",
            kind: Kind::U32 {
                min: 0,
                max: u32::MAX,
            },
            multi: false,
        },
        Attribute {
            id: LOST,
            name: "lost",
            kind: Kind::Uint,
            multi: false,
        },
        Attribute {
            id: REORDERED,
            name: "reordered",
            kind: Kind::Uint,
            multi: false,
        },
        Attribute {
            id: DUPLICATES,
            name: "duplicates",
            kind: Kind::Uint,
            multi: false,
        },
        Attribute {
            id: JUMPS,
            name: "jumps",
            kind: Kind::Uint,
            multi: false,
        },
        Attribute {
            id: RESTARTS,
            name: "restarts",
            kind: Kind::Uint,
            multi: false,
        },
        Attribute {
            id: SSRC_CHANGES,
            name: "ssrc-changes",
            kind: Kind::Uint,
            multi: false,
        },
        Attribute {
            id: LAST_MS,
            name: "last-ms",
            kind: Kind::Uint,
            multi: false,
        },
    ];
}

/// Attribute set `stream`. Two endpoints facing each other.
pub mod stream {
    use super::{Attribute, Kind};

    /// What the stream carries.
    pub const KIND: u16 = 1;

    /// One endpoint.
    pub const A: u16 = 2;

    /// The other endpoint. It may share a's local address and port; then the
    /// source of a packet tells its direction, and the two remotes must differ.
    pub const B: u16 = 3;

    /// What arrived at endpoint a. Answers and events only.
    pub const FROM_A: u16 = 4;

    /// What arrived at endpoint b. Answers and events only.
    pub const FROM_B: u16 = 5;

    /// How well RTP arrived at endpoint a. Answers and events only; when there
    /// was any.
    pub const QUALITY_A: u16 = 6;

    /// How well RTP arrived at endpoint b. Answers and events only; when there
    /// was any.
    pub const QUALITY_B: u16 = 7;

    /// The largest number of an attribute of this set.
    pub const MAX: u16 = 7;

    /// Every attribute, in the order of their numbers.
    pub const ATTRS: [Attribute; 7] = [
        Attribute {
            id: KIND,
            name: "kind",
            kind: Kind::U32 {
                min: 0,
                max: super::StreamKind::Udp as u32,
            },
            multi: false,
        },
        Attribute {
            id: A,
            name: "a",
            kind: Kind::Nest(&super::endpoint::ATTRS),
            multi: false,
        },
        Attribute {
            id: B,
            name: "b",
            kind: Kind::Nest(&super::endpoint::ATTRS),
            multi: false,
        },
        Attribute {
            id: FROM_A,
            name: "from-a",
            kind: Kind::Nest(&super::counters::ATTRS),
            multi: false,
        },
        Attribute {
            id: FROM_B,
            name: "from-b",
            kind: Kind::Nest(&super::counters::ATTRS),
            multi: false,
        },
        Attribute {
            id: QUALITY_A,
            name: "quality-a",
            kind: Kind::Nest(&super::quality::ATTRS),
            multi: false,
        },
        Attribute {
            id: QUALITY_B,
            name: "quality-b",
            kind: Kind::Nest(&super::quality::ATTRS),
            multi: false,
        },
    ];
}

/// Attribute set `session`. What a call holds in the relay.
pub mod session {
    use super::{Attribute, Kind};

    /// Number the module gave the session. Never zero, never given twice while
    /// the module is loaded.
    pub const ID: u16 = 1;

    /// Name the controller gave it, usually the Call-ID. Any bytes.
    pub const LABEL: u16 = 2;

    /// Tag of the controller that owns the session; 0 when not given.
    pub const OWNER: u16 = 3;

    /// Idle timeout: the session ends when no packet was admitted for this
    /// long, in either direction of any stream. Milliseconds.
    pub const TIMEOUT_MS: u16 = 4;

    /// The streams, 1 to streams-max.
    pub const STREAM: u16 = 5;

    /// With session-new: sessions that own one of the local ports asked for are
    /// ended in the same step, instead of failing with EEXIST.
    pub const REPLACE: u16 = 6;

    /// Ids of the sessions that were ended by replace.
    pub const REPLACED: u16 = 7;

    /// Time since the session was made, in milliseconds.
    pub const AGE_MS: u16 = 8;

    /// Time since the last packet was admitted (or since the session was made),
    /// in milliseconds.
    pub const IDLE_MS: u16 = 9;

    /// Why the session ended. Events only.
    pub const END_REASON: u16 = 10;

    /// The largest number of an attribute of this set.
    pub const MAX: u16 = 10;

    /// Every attribute, in the order of their numbers.
    pub const ATTRS: [Attribute; 10] = [
        Attribute {
            id: ID,
            name: "id",
            kind: Kind::Uint,
            multi: false,
        },
        Attribute {
            id: LABEL,
            name: "label",
            kind: Kind::Binary {
                min_len: 0,
                max_len: super::LABEL_MAX as u16,
            },
            multi: false,
        },
        Attribute {
            id: OWNER,
            name: "owner",
            kind: Kind::U32 {
                min: 0,
                max: u32::MAX,
            },
            multi: false,
        },
        Attribute {
            id: TIMEOUT_MS,
            name: "timeout-ms",
            kind: Kind::U32 {
                min: super::TIMEOUT_MIN_MS,
                max: super::TIMEOUT_MAX_MS,
            },
            multi: false,
        },
        Attribute {
            id: STREAM,
            name: "stream",
            kind: Kind::Nest(&super::stream::ATTRS),
            multi: true,
        },
        Attribute {
            id: REPLACE,
            name: "replace",
            kind: Kind::Flag,
            multi: false,
        },
        Attribute {
            id: REPLACED,
            name: "replaced",
            kind: Kind::Uint,
            multi: true,
        },
        Attribute {
            id: AGE_MS,
            name: "age-ms",
            kind: Kind::Uint,
            multi: false,
        },
        Attribute {
            id: IDLE_MS,
            name: "idle-ms",
            kind: Kind::Uint,
            multi: false,
        },
        Attribute {
            id: END_REASON,
            name: "end-reason",
            kind: Kind::U32 {
                min: 0,
                max: super::EndReason::Replaced as u32,
            },
            multi: false,
        },
    ];
}

/// Attribute set `bulk`. Several sessions in one command.
pub mod bulk {
    use super::{Attribute, Kind};

    /// The sessions to make, as for session-new, in order.
    pub const SESSION: u16 = 1;

    /// Ids: of the sessions to delete, or of those made, in the order asked
    /// for.
    pub const ID: u16 = 2;

    /// Ids of the sessions that were ended by replace.
    pub const REPLACED: u16 = 3;

    /// The largest number of an attribute of this set.
    pub const MAX: u16 = 3;

    /// Every attribute, in the order of their numbers.
    pub const ATTRS: [Attribute; 3] = [
        Attribute {
            id: SESSION,
            name: "session",
            kind: Kind::Nest(&super::session::ATTRS),
            multi: true,
        },
        Attribute {
            id: ID,
            name: "id",
            kind: Kind::Uint,
            multi: true,
        },
        Attribute {
            id: REPLACED,
            name: "replaced",
            kind: Kind::Uint,
            multi: true,
        },
    ];
}

/// Attribute set `flush`. Which sessions to end.
pub mod flush {
    use super::{Attribute, Kind};

    /// Only the sessions with this tag; all sessions when not given.
    pub const OWNER: u16 = 1;

    /// How many were ended.
    pub const ENDED: u16 = 2;

    /// The largest number of an attribute of this set.
    pub const MAX: u16 = 2;

    /// Every attribute, in the order of their numbers.
    pub const ATTRS: [Attribute; 2] = [
        Attribute {
            id: OWNER,
            name: "owner",
            kind: Kind::U32 {
                min: 0,
                max: u32::MAX,
            },
            multi: false,
        },
        Attribute {
            id: ENDED,
            name: "ended",
            kind: Kind::Uint,
            multi: false,
        },
    ];
}

/// Attribute set `port-range`. Ports that follow each other.
pub mod port_range {
    use super::{Attribute, Kind};

    /// The first one.
    pub const FIRST: u16 = 1;

    /// The last one, not below the first.
    pub const LAST: u16 = 2;

    /// The largest number of an attribute of this set.
    pub const MAX: u16 = 2;

    /// Every attribute, in the order of their numbers.
    pub const ATTRS: [Attribute; 2] = [
        Attribute {
            id: FIRST,
            name: "first",
            kind: Kind::U16 {
                big_endian: false,
                min: 1,
                max: u16::MAX,
            },
            multi: false,
        },
        Attribute {
            id: LAST,
            name: "last",
            kind: Kind::U16 {
                big_endian: false,
                min: 1,
                max: u16::MAX,
            },
            multi: false,
        },
    ];
}

/// Attribute set `config`. Settings of the relay in this network namespace.
pub mod config {
    use super::{Attribute, Kind};

    /// Value of the protocol-version definition the module was built with.
    pub const PROTOCOL_VERSION: u16 = 1;

    /// Version of the module.
    pub const MODULE_VERSION: u16 = 2;

    /// The ports of the relay, up to port-ranges-max ranges that have no port
    /// in common; none while not configured. Ports between them are left to
    /// local sockets.
    pub const PORT_RANGE: u16 = 3;

    /// Addresses the relay receives on, in network byte order. A packet to one
    /// of them and to a port of the relay that no session owns is dropped.
    pub const LOCAL_ADDRESS: u16 = 4;

    /// Whether loss, reordering and jitter are measured: 1, as in the
    /// beginning, or 0, which saves a few instructions a packet.
    pub const QUALITY: u16 = 5;

    /// Most sessions that live at the same time; 0, as in the beginning, for
    /// any number. Sessions above a limit that is lowered live on.
    pub const SESSIONS_MAX: u16 = 6;

    /// Most sessions that are half open: of which no stream has had both
    /// remotes yet, as before a call is answered. 0, as in the beginning, for
    /// any number.
    pub const HALF_OPEN_MAX: u16 = 7;

    /// Most memory that sessions hold at the same time, in bytes; 0, as in the
    /// beginning, for any amount. The port tables of the local addresses, 514
    /// KiB each at most, are not part of it.
    pub const MEMORY_MAX: u16 = 8;

    /// The largest number of an attribute of this set.
    pub const MAX: u16 = 8;

    /// Every attribute, in the order of their numbers.
    pub const ATTRS: [Attribute; 8] = [
        Attribute {
            id: PROTOCOL_VERSION,
            name: "protocol-version",
            kind: Kind::U32 {
                min: 0,
                max: u32::MAX,
            },
            multi: false,
        },
        Attribute {
            id: MODULE_VERSION,
            name: "module-version",
            kind: Kind::String,
            multi: false,
        },
        Attribute {
            id: PORT_RANGE,
            name: "port-range",
            kind: Kind::Nest(&super::port_range::ATTRS),
            multi: true,
        },
        Attribute {
            id: LOCAL_ADDRESS,
            name: "local-address",
            kind: Kind::Binary {
                min_len: 4,
                max_len: 16,
            },
            multi: true,
        },
        Attribute {
            id: QUALITY,
            name: "quality",
            kind: Kind::U32 { min: 0, max: 1 },
            multi: false,
        },
        Attribute {
            id: SESSIONS_MAX,
            name: "sessions-max",
            kind: Kind::U32 {
                min: 0,
                max: u32::MAX,
            },
            multi: false,
        },
        Attribute {
            id: HALF_OPEN_MAX,
            name: "half-open-max",
            kind: Kind::U32 {
                min: 0,
                max: u32::MAX,
            },
            multi: false,
        },
        Attribute {
            id: MEMORY_MAX,
            name: "memory-max",
            kind: Kind::Uint,
            multi: false,
        },
    ];
}

/// Attribute set `totals`. What the relay of this network namespace has done
/// since it was made.
pub mod totals {
    use super::{Attribute, Kind};

    /// Sessions alive.
    pub const SESSIONS: u16 = 1;

    /// Sessions ever made.
    pub const CREATED: u16 = 2;

    /// Sessions that ended by their idle timeout.
    pub const EXPIRED: u16 = 3;

    /// Sessions that a newer one replaced.
    pub const REPLACED: u16 = 4;

    /// All packets, those of ended sessions included.
    pub const RELAYED: u16 = 5;

    /// Sessions alive that are half open.
    pub const HALF_OPEN: u16 = 6;

    /// Bytes of memory the sessions alive hold.
    pub const MEMORY: u16 = 7;

    /// Commands refused because of sessions-max.
    pub const REFUSED_SESSIONS: u16 = 8;

    /// Commands refused because of half-open-max.
    pub const REFUSED_HALF_OPEN: u16 = 9;

    /// Commands refused because of memory-max.
    pub const REFUSED_MEMORY: u16 = 10;

    /// Times an alarm was told.
    pub const ALARMS: u16 = 11;

    /// Packets dropped for a reason of alarm while there were alarms-max of
    /// them.
    pub const ALARMS_MISSED: u16 = 12;

    /// The largest number of an attribute of this set.
    pub const MAX: u16 = 12;

    /// Every attribute, in the order of their numbers.
    pub const ATTRS: [Attribute; 12] = [
        Attribute {
            id: SESSIONS,
            name: "sessions",
            kind: Kind::Uint,
            multi: false,
        },
        Attribute {
            id: CREATED,
            name: "created",
            kind: Kind::Uint,
            multi: false,
        },
        Attribute {
            id: EXPIRED,
            name: "expired",
            kind: Kind::Uint,
            multi: false,
        },
        Attribute {
            id: REPLACED,
            name: "replaced",
            kind: Kind::Uint,
            multi: false,
        },
        Attribute {
            id: RELAYED,
            name: "relayed",
            kind: Kind::Nest(&super::counters::ATTRS),
            multi: false,
        },
        Attribute {
            id: HALF_OPEN,
            name: "half-open",
            kind: Kind::Uint,
            multi: false,
        },
        Attribute {
            id: MEMORY,
            name: "memory",
            kind: Kind::Uint,
            multi: false,
        },
        Attribute {
            id: REFUSED_SESSIONS,
            name: "refused-sessions",
            kind: Kind::Uint,
            multi: false,
        },
        Attribute {
            id: REFUSED_HALF_OPEN,
            name: "refused-half-open",
            kind: Kind::Uint,
            multi: false,
        },
        Attribute {
            id: REFUSED_MEMORY,
            name: "refused-memory",
            kind: Kind::Uint,
            multi: false,
        },
        Attribute {
            id: ALARMS,
            name: "alarms",
            kind: Kind::Uint,
            multi: false,
        },
        Attribute {
            id: ALARMS_MISSED,
            name: "alarms-missed",
            kind: Kind::Uint,
            multi: false,
        },
    ];
}

/// Attribute set `alarm`. Something is wrong with the packets that arrive at an
/// endpoint. It is told when it begins and again every alarm-interval-ms for as
/// long as it goes on, each time when there were at least alarm-packets of
/// them.
pub mod alarm {
    use super::{Attribute, Kind};

    /// What is wrong.
    pub const REASON: u16 = 1;

    /// The session's id; left out when the packets are to ports of no session.
    pub const SESSION: u16 = 2;

    /// The session's label.
    pub const LABEL: u16 = 3;

    /// Tag of the controller that owns the session.
    pub const OWNER: u16 = 4;

    /// Address the first of the packets was sent to.
    pub const LOCAL_ADDRESS: u16 = 5;

    /// UDP port the first of the packets was sent to.
    pub const LOCAL_PORT: u16 = 6;

    /// Address the first of the packets came from.
    pub const SOURCE_ADDRESS: u16 = 7;

    /// UDP port the first of the packets came from.
    pub const SOURCE_PORT: u16 = 8;

    /// Packets dropped for this reason since the alarm was told last, or began.
    pub const PACKETS: u16 = 9;

    /// The largest number of an attribute of this set.
    pub const MAX: u16 = 9;

    /// Every attribute, in the order of their numbers.
    pub const ATTRS: [Attribute; 9] = [
        Attribute {
            id: REASON,
            name: "reason",
            kind: Kind::U32 {
                min: 0,
                max: super::AlarmReason::Loop as u32,
            },
            multi: false,
        },
        Attribute {
            id: SESSION,
            name: "session",
            kind: Kind::Uint,
            multi: false,
        },
        Attribute {
            id: LABEL,
            name: "label",
            kind: Kind::Binary {
                min_len: 0,
                max_len: super::LABEL_MAX as u16,
            },
            multi: false,
        },
        Attribute {
            id: OWNER,
            name: "owner",
            kind: Kind::U32 {
                min: 0,
                max: u32::MAX,
            },
            multi: false,
        },
        Attribute {
            id: LOCAL_ADDRESS,
            name: "local-address",
            kind: Kind::Binary {
                min_len: 4,
                max_len: 16,
            },
            multi: false,
        },
        Attribute {
            id: LOCAL_PORT,
            name: "local-port",
            kind: Kind::U16 {
                big_endian: true,
                min: 0,
                max: u16::MAX,
            },
            multi: false,
        },
        Attribute {
            id: SOURCE_ADDRESS,
            name: "source-address",
            kind: Kind::Binary {
                min_len: 4,
                max_len: 16,
            },
            multi: false,
        },
        Attribute {
            id: SOURCE_PORT,
            name: "source-port",
            kind: Kind::U16 {
                big_endian: true,
                min: 0,
                max: u16::MAX,
            },
            multi: false,
        },
        Attribute {
            id: PACKETS,
            name: "packets",
            kind: Kind::Uint,
            multi: false,
        },
    ];
}

/// Attribute set `report`. An RTCP packet with a sender or receiver report, as
/// it arrived and was admitted (RFC 3550 section 6.4).
pub mod report {
    use super::{Attribute, Kind};

    /// The session's id.
    pub const SESSION: u16 = 1;

    /// Address it was sent to.
    pub const LOCAL_ADDRESS: u16 = 2;

    /// UDP port it was sent to.
    pub const LOCAL_PORT: u16 = 3;

    /// Address it came from.
    pub const SOURCE_ADDRESS: u16 = 4;

    /// UDP port it came from.
    pub const SOURCE_PORT: u16 = 5;

    /// When it arrived, in nanoseconds of CLOCK_MONOTONIC.
    pub const ARRIVED_NS: u16 = 6;

    /// The beginning of the packet, report-max bytes at most.
    pub const PACKET: u16 = 7;

    /// The largest number of an attribute of this set.
    pub const MAX: u16 = 7;

    /// Every attribute, in the order of their numbers.
    pub const ATTRS: [Attribute; 7] = [
        Attribute {
            id: SESSION,
            name: "session",
            kind: Kind::Uint,
            multi: false,
        },
        Attribute {
            id: LOCAL_ADDRESS,
            name: "local-address",
            kind: Kind::Binary {
                min_len: 4,
                max_len: 16,
            },
            multi: false,
        },
        Attribute {
            id: LOCAL_PORT,
            name: "local-port",
            kind: Kind::U16 {
                big_endian: true,
                min: 0,
                max: u16::MAX,
            },
            multi: false,
        },
        Attribute {
            id: SOURCE_ADDRESS,
            name: "source-address",
            kind: Kind::Binary {
                min_len: 4,
                max_len: 16,
            },
            multi: false,
        },
        Attribute {
            id: SOURCE_PORT,
            name: "source-port",
            kind: Kind::U16 {
                big_endian: true,
                min: 0,
                max: u16::MAX,
            },
            multi: false,
        },
        Attribute {
            id: ARRIVED_NS,
            name: "arrived-ns",
            kind: Kind::Uint,
            multi: false,
        },
        Attribute {
            id: PACKET,
            name: "packet",
            kind: Kind::Binary {
                min_len: 0,
                max_len: super::REPORT_MAX as u16,
            },
            multi: false,
        },
    ];
}

/// Every command a controller can send, in the order of their numbers.
pub const OPERATIONS: [Operation; 10] = [
    Operation {
        command: Command::SessionNew,
        name: "session-new",
        attributes: &session::ATTRS,
        request: &[
            session::LABEL,
            session::OWNER,
            session::TIMEOUT_MS,
            session::STREAM,
            session::REPLACE,
        ],
        dump: false,
        admin: true,
    },
    Operation {
        command: Command::SessionSet,
        name: "session-set",
        attributes: &session::ATTRS,
        request: &[
            session::ID,
            session::LABEL,
            session::OWNER,
            session::TIMEOUT_MS,
            session::STREAM,
        ],
        dump: false,
        admin: true,
    },
    Operation {
        command: Command::SessionDel,
        name: "session-del",
        attributes: &session::ATTRS,
        request: &[session::ID],
        dump: false,
        admin: true,
    },
    Operation {
        command: Command::SessionGet,
        name: "session-get",
        attributes: &session::ATTRS,
        request: &[session::ID],
        dump: true,
        admin: true,
    },
    Operation {
        command: Command::SessionFlush,
        name: "session-flush",
        attributes: &flush::ATTRS,
        request: &[flush::OWNER],
        dump: false,
        admin: true,
    },
    Operation {
        command: Command::SessionBulkNew,
        name: "session-bulk-new",
        attributes: &bulk::ATTRS,
        request: &[bulk::SESSION],
        dump: false,
        admin: true,
    },
    Operation {
        command: Command::SessionBulkDel,
        name: "session-bulk-del",
        attributes: &bulk::ATTRS,
        request: &[bulk::ID],
        dump: false,
        admin: true,
    },
    Operation {
        command: Command::ConfigGet,
        name: "config-get",
        attributes: &config::ATTRS,
        request: &[],
        dump: false,
        admin: true,
    },
    Operation {
        command: Command::ConfigSet,
        name: "config-set",
        attributes: &config::ATTRS,
        request: &[
            config::PORT_RANGE,
            config::LOCAL_ADDRESS,
            config::QUALITY,
            config::SESSIONS_MAX,
            config::HALF_OPEN_MAX,
            config::MEMORY_MAX,
        ],
        dump: false,
        admin: true,
    },
    Operation {
        command: Command::TotalsGet,
        name: "totals-get",
        attributes: &totals::ATTRS,
        request: &[],
        dump: false,
        admin: true,
    },
];

/// Every multicast group, in the order of their registration.
pub const GROUPS: [Group; 2] = [
    Group {
        name: GROUP_EVENTS,
        admin: true,
    },
    Group {
        name: GROUP_REPORTS,
        admin: true,
    },
];
