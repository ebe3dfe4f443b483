// SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR MIT)
// Do not edit: generated from genl-proto/lreproxy.yaml by `make generate`.

/// Name of the generic netlink family.
pub const FAMILY_NAME: &str = "small";

/// Longest name.
pub const NAME_MAX: u32 = 100_000;

/// Highest speed.
pub const TOP_SPEED: u32 = 250;

/// Name of the multicast group `news`.
pub const GROUP_NEWS: &str = "news";

/// Name of the multicast group `secrets`.
pub const GROUP_SECRETS: &str = "secrets";

/// How to get there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ModeOfTravel {
    /// Walking.
    OnFoot = 0,
    /// Sailing.
    ByShip = 1,
}

impl ModeOfTravel {
    /// Every value, in the order of their numbers.
    pub const ALL: [Self; 2] = [Self::OnFoot, Self::ByShip];

    /// The value of this number; none when there is no such value.
    pub const fn from_u32(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::OnFoot),
            1 => Some(Self::ByShip),
            _ => None,
        }
    }

    /// Its name in the specification.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OnFoot => "on-foot",
            Self::ByShip => "by-ship",
        }
    }
}

/// The commands a controller sends and the events it receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Command {
    /// Plan a trip. EINVAL when there is none.
    PlanTrip = 1,
    /// A trip is over.
    TripOver = 2,
    /// Tell the trips.
    TripGet = 3,
}

impl Command {
    /// Every value, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::PlanTrip, Self::TripOver, Self::TripGet];

    /// The value of this number; none when there is no such value.
    pub const fn from_u8(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::PlanTrip),
            2 => Some(Self::TripOver),
            3 => Some(Self::TripGet),
            _ => None,
        }
    }

    /// Its name in the specification.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PlanTrip => "plan-trip",
            Self::TripOver => "trip-over",
            Self::TripGet => "trip-get",
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

/// Attribute set `leg`. A part of a trip.
pub mod leg {
    use super::{Attribute, Kind};

    /// How fast.
    pub const SPEED: u16 = 1;

    /// The largest number of an attribute of this set.
    pub const MAX: u16 = 1;

    /// Every attribute, in the order of their numbers.
    pub const ATTRS: [Attribute; 1] = [Attribute {
        id: SPEED,
        name: "speed",
        kind: Kind::U16 {
            big_endian: true,
            min: 0,
            max: super::TOP_SPEED as u16,
        },
        multi: false,
    }];
}

/// Attribute set `trip`. All of it.
pub mod trip {
    use super::{Attribute, Kind};

    /// Its parts.
    pub const LEGS: u16 = 1;

    /// How.
    pub const MODE: u16 = 2;

    /// What it costs in a currency nobody has agreed upon, so that this text
    /// takes two lines.
    pub const COST: u16 = 3;

    /// Anything.
    pub const NOTE: u16 = 4;

    /// What it is called.
    pub const TITLE: u16 = 5;

    /// How many.
    pub const STEPS: u16 = 6;

    /// Whether it is over.
    pub const DONE: u16 = 7;

    /// The largest number of an attribute of this set.
    pub const MAX: u16 = 7;

    /// Every attribute, in the order of their numbers.
    pub const ATTRS: [Attribute; 7] = [
        Attribute {
            id: LEGS,
            name: "legs",
            kind: Kind::Nest(&super::leg::ATTRS),
            multi: true,
        },
        Attribute {
            id: MODE,
            name: "mode",
            kind: Kind::U32 {
                min: 0,
                max: super::ModeOfTravel::ByShip as u32,
            },
            multi: false,
        },
        Attribute {
            id: COST,
            name: "cost",
            kind: Kind::U32 {
                min: 1,
                max: super::NAME_MAX,
            },
            multi: false,
        },
        Attribute {
            id: NOTE,
            name: "note",
            kind: Kind::Binary {
                min_len: 2,
                max_len: u16::MAX,
            },
            multi: false,
        },
        Attribute {
            id: TITLE,
            name: "title",
            kind: Kind::String,
            multi: false,
        },
        Attribute {
            id: STEPS,
            name: "steps",
            kind: Kind::Uint,
            multi: false,
        },
        Attribute {
            id: DONE,
            name: "done",
            kind: Kind::Flag,
            multi: false,
        },
    ];
}

/// Every command a controller can send, in the order of their numbers.
pub const OPERATIONS: [Operation; 2] = [
    Operation {
        command: Command::PlanTrip,
        name: "plan-trip",
        attributes: &trip::ATTRS,
        request: &[
            trip::LEGS,
            trip::MODE,
            trip::COST,
            trip::NOTE,
            trip::TITLE,
            trip::STEPS,
            trip::DONE,
        ],
        dump: false,
        admin: true,
    },
    Operation {
        command: Command::TripGet,
        name: "trip-get",
        attributes: &trip::ATTRS,
        request: &[trip::STEPS],
        dump: true,
        admin: false,
    },
];

/// Every multicast group, in the order of their registration.
pub const GROUPS: [Group; 2] = [
    Group {
        name: GROUP_NEWS,
        admin: false,
    },
    Group {
        name: GROUP_SECRETS,
        admin: true,
    },
];
