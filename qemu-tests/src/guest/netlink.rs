// SPDX-License-Identifier: MIT OR Apache-2.0

//! Generic netlink by hand: a socket, and messages as the bytes they are.
//!
//! The tests need messages no well-made library lets one send, and they need to see every byte of
//! an answer. Layouts: linux/netlink.h, linux/genetlink.h.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::os::fd::{AsRawFd, OwnedFd};

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send,
    setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;

use super::debug::patience;
use super::netns::Namespace;
use super::wait::LIMIT;

const HEADER: usize = 16;
const GENERIC_HEADER: usize = 4;

/// Attributes being put together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes(Vec<u8>);

impl Attributes {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one with these bytes as its value.
    pub fn bytes(mut self, id: u16, value: &[u8]) -> Self {
        self.0.extend_from_slice(&attribute(id, value));
        self
    }

    /// Adds a u16 in the machine's byte order.
    pub fn u16(self, id: u16, value: u16) -> Self {
        self.bytes(id, &value.to_ne_bytes())
    }

    /// Adds a u16 in network byte order.
    pub fn be16(self, id: u16, value: u16) -> Self {
        self.bytes(id, &value.to_be_bytes())
    }

    /// Adds a u32 in the machine's byte order.
    pub fn u32(self, id: u16, value: u32) -> Self {
        self.bytes(id, &value.to_ne_bytes())
    }

    /// Adds a variable-length unsigned integer, in its long form.
    pub fn uint(self, id: u16, value: u64) -> Self {
        self.bytes(id, &value.to_ne_bytes())
    }

    /// Adds attributes inside one of this id.
    pub fn nest(self, id: u16, inner: &Self) -> Self {
        self.bytes(id | libc::NLA_F_NESTED as u16, &inner.0)
    }

    /// The bytes, padded as they stand in a message.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Attributes {
    /// Any bytes, also such as are no attributes.
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

/// One attribute: header, value, padding.
fn attribute(id: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    let mut bytes = Vec::with_capacity(value.len() + 8);
    bytes.extend_from_slice(&length.to_ne_bytes());
    bytes.extend_from_slice(&id.to_ne_bytes());
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// Takes attributes apart into ids (without flags) and values.
pub fn parse(mut bytes: &[u8]) -> Result<Vec<(u16, &[u8])>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let length = usize::from(u16_at(bytes, 0).context("half an attribute")?);
        let id = u16_at(bytes, 2).context("half an attribute")? & libc::NLA_TYPE_MASK as u16;
        found.push((
            id,
            bytes
                .get(4..length)
                .context("an attribute of a wrong length")?,
        ));
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(found)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// The kernel's answer to a request it does not carry out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Error number.
    pub errno: Errno,
    /// Text of the extended acknowledgement, empty when there is none.
    pub text: String,
    /// Offset in the request of the attribute that is wrong (NLMSGERR_ATTR_OFFS).
    pub offset: Option<u32>,
    /// Id of the attribute that is missing (NLMSGERR_ATTR_MISS_TYPE).
    pub missing: Option<u32>,
}

/// What came of a request: the payloads of the answers (from their attributes on), or a refusal.
pub type Outcome = std::result::Result<Vec<Vec<u8>>, Refusal>;

/// A generic netlink socket bound to one family.
pub struct Netlink {
    socket: OwnedFd,
    family: u16,
    version: u32,
    groups: Vec<(String, u32)>,
    sequence: Cell<u32>,
    /// Events that have come with one that was asked for.
    events: RefCell<VecDeque<Event>>,
}

/// An event of a subscribed group: command and attributes.
pub type Event = (u8, Vec<u8>);

impl Netlink {
    /// Opens a socket inside a namespace and looks the family up.
    pub fn open(namespace: &Namespace, family: &str) -> Result<Self> {
        namespace.enter(|| Self::open_here(family))
    }

    /// Opens a socket in the namespace the caller is in and looks the family up.
    pub fn open_here(family: &str) -> Result<Self> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkGeneric,
        )
        .context("cannot make a netlink socket")?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))
            .context("cannot bind a netlink socket")?;
        let patience = TimeVal::new(patience(LIMIT).as_secs() as _, 0);
        setsockopt(&socket, sockopt::ReceiveTimeout, &patience).context("cannot set a timeout")?;
        setsockopt(&socket, sockopt::RcvBufForce, &(4 << 20)).ok();
        set_option(&socket, libc::NETLINK_EXT_ACK, 1)?;
        set_option(&socket, libc::NETLINK_CAP_ACK, 1)?;
        let mut netlink = Self {
            socket,
            family: libc::GENL_ID_CTRL as u16,
            version: 0,
            groups: Vec::new(),
            sequence: Cell::new(1),
            events: RefCell::default(),
        };
        netlink.look_up(family)?;
        Ok(netlink)
    }

    /// Version the family was registered with.
    pub fn version(&self) -> u32 {
        self.version
    }

    fn look_up(&mut self, family: &str) -> Result<()> {
        let mut name = family.as_bytes().to_vec();
        name.push(0);
        let request = Attributes::new().bytes(libc::CTRL_ATTR_FAMILY_NAME as u16, &name);
        let answers = self
            .call(libc::CTRL_CMD_GETFAMILY as u8, 0, &request)?
            .map_err(|refusal| anyhow!("there is no netlink family {family}: {refusal:?}"))?;
        let answer = answers.first().context("no answer about the family")?;
        let mut id = None;
        for (kind, value) in parse(answer)? {
            match i32::from(kind) {
                libc::CTRL_ATTR_FAMILY_ID => id = u16_at(value, 0),
                libc::CTRL_ATTR_VERSION => self.version = u32_at(value, 0).unwrap_or_default(),
                libc::CTRL_ATTR_MCAST_GROUPS => {
                    for (_, group) in parse(value)? {
                        self.groups.push(group_of(group)?);
                    }
                }
                _ => {}
            }
        }
        self.family = id.context("the family has no id")?;
        Ok(())
    }

    /// Subscribes to a multicast group of the family. A refusal is an error number.
    pub fn subscribe(&self, group: &str) -> Result<std::result::Result<(), Errno>> {
        let &(_, id) = self
            .groups
            .iter()
            .find(|(name, _)| name == group)
            .with_context(|| format!("the family has no group {group}"))?;
        let joined = set_option(
            &self.socket,
            libc::NETLINK_ADD_MEMBERSHIP,
            id as libc::c_int,
        );
        match joined.map_err(|error| error.downcast::<Errno>()) {
            Ok(()) => Ok(Ok(())),
            Err(Ok(errno)) => Ok(Err(errno)),
            Err(Err(other)) => Err(other),
        }
    }

    /// The next event of a subscribed group.
    pub fn event(&self) -> Result<Event> {
        if let Some(event) = self.events.borrow_mut().pop_front() {
            return Ok(event);
        }
        let mut events = VecDeque::from(self.events_together()?);
        let first = events.pop_front().context("a datagram without an event")?;
        self.events.replace(events);
        Ok(first)
    }

    /// All events of the next datagram.
    pub fn events_together(&self) -> Result<Vec<Event>> {
        let datagram = self.receive().context("waiting for an event")?;
        messages(&datagram)?
            .into_iter()
            .map(|message| {
                let payload = message.get(HEADER..).context("half an event")?;
                let command = *payload.first().context("an event without a command")?;
                let attributes = payload.get(GENERIC_HEADER..).unwrap_or_default();
                Ok((command, attributes.to_vec()))
            })
            .collect()
    }

    /// Whether no event waits.
    pub fn is_quiet(&self) -> bool {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_PEEK;
        self.events.borrow().is_empty()
            && recv(self.socket.as_raw_fd(), &mut [0; 16], flags) == Err(Errno::EAGAIN)
    }

    /// Sends one request and collects everything up to its acknowledgement.
    pub fn call(&self, command: u8, flags: i32, attributes: &Attributes) -> Result<Outcome> {
        let mut payload = vec![command, 1, 0, 0];
        payload.extend_from_slice(attributes.as_slice());
        self.call_raw(flags, &payload)
    }

    /// As [`Netlink::call`], with any bytes after the netlink header.
    pub fn call_raw(&self, flags: i32, payload: &[u8]) -> Result<Outcome> {
        let sequence = self
            .send_raw(flags, payload)?
            .context("cannot send a netlink request")?;
        self.answers(sequence)
    }

    /// Sends one request and returns its number, or why the kernel did not take it.
    pub fn send(
        &self,
        command: u8,
        flags: i32,
        attributes: &Attributes,
    ) -> Result<nix::Result<u32>> {
        let mut payload = vec![command, 1, 0, 0];
        payload.extend_from_slice(attributes.as_slice());
        self.send_raw(flags, &payload)
    }

    /// Sends several requests in one piece, whatever the kernel makes of them, and throws away
    /// what it has answered so far.
    pub fn throw(&self, requests: &[(i32, Vec<u8>)]) -> Result<()> {
        let mut all = Vec::new();
        for (flags, payload) in requests {
            all.extend(self.message(*flags, payload)?);
            all.resize(all.len().next_multiple_of(4), 0);
        }
        send(self.socket.as_raw_fd(), &all, MsgFlags::empty())
            .context("cannot send netlink requests")?;
        self.settle()
    }

    /// Throws away everything that waits to be received.
    pub fn settle(&self) -> Result<()> {
        let mut buffer = vec![0; 64 << 10];
        loop {
            match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                // More answers than the socket holds are lost.
                Ok(_) | Err(Errno::ENOBUFS) => {}
                Err(Errno::EAGAIN) => return Ok(()),
                Err(errno) => return Err(errno).context("cannot receive from a netlink socket"),
            }
        }
    }

    fn send_raw(&self, flags: i32, payload: &[u8]) -> Result<nix::Result<u32>> {
        let dump = flags & libc::NLM_F_DUMP != 0;
        let flags = flags | if dump { 0 } else { libc::NLM_F_ACK };
        let message = self.message(flags, payload)?;
        let sent = send(self.socket.as_raw_fd(), &message, MsgFlags::empty());
        Ok(sent.map(|_| self.sequence.get().wrapping_sub(1)))
    }

    /// A request with the next number.
    fn message(&self, flags: i32, payload: &[u8]) -> Result<Vec<u8>> {
        let sequence = self.sequence.get();
        self.sequence.set(sequence.wrapping_add(1));
        let flags = libc::NLM_F_REQUEST | flags;
        let length = u32::try_from(HEADER + payload.len()).context("a request of 4 GiB")?;
        let mut message = Vec::with_capacity(HEADER + payload.len());
        message.extend_from_slice(&length.to_ne_bytes());
        message.extend_from_slice(&self.family.to_ne_bytes());
        message.extend_from_slice(&(flags as u16).to_ne_bytes());
        message.extend_from_slice(&sequence.to_ne_bytes());
        message.extend_from_slice(&0_u32.to_ne_bytes());
        message.extend_from_slice(payload);
        Ok(message)
    }

    /// Collects everything up to the acknowledgement of the request with this number.
    pub fn answers(&self, sequence: u32) -> Result<Outcome> {
        let mut answers = Vec::new();
        loop {
            let datagram = self.receive().context("waiting for an answer")?;
            for message in messages(&datagram)? {
                // Events and late answers to requests given up on have other numbers.
                if u32_at(message, 8) != Some(sequence) {
                    continue;
                }
                let kind = u16_at(message, 4).context("half a netlink header")?;
                match i32::from(kind) {
                    libc::NLMSG_ERROR => return Ok(end(message, false)?.map(|()| answers)),
                    libc::NLMSG_DONE => return Ok(end(message, true)?.map(|()| answers)),
                    _ if kind == self.family => answers.push(
                        message
                            .get(HEADER + GENERIC_HEADER..)
                            .unwrap_or_default()
                            .to_vec(),
                    ),
                    other => bail!("an answer of type {other}"),
                }
            }
        }
    }

    fn receive(&self) -> Result<Vec<u8>> {
        let mut buffer = vec![0; 64 << 10];
        let length = recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty())
            .context("cannot receive from a netlink socket")?;
        buffer.truncate(length);
        Ok(buffer)
    }
}

/// The messages of a datagram, with their headers.
fn messages(datagram: &[u8]) -> Result<Vec<&[u8]>> {
    let mut messages = Vec::new();
    let mut rest = datagram;
    while !rest.is_empty() {
        let length = u32_at(rest, 0).context("half a netlink header")? as usize;
        messages.push(rest.get(..length).context("half a netlink message")?);
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(messages)
}

/// The verdict in an acknowledgement or at the end of a dump, with its extended attributes.
fn end(message: &[u8], done: bool) -> Result<std::result::Result<(), Refusal>> {
    let code = u32_at(message, HEADER).context("an acknowledgement without a code")? as i32;
    if code == 0 {
        return Ok(Ok(()));
    }
    // With NETLINK_CAP_ACK only the header of the request is repeated.
    let extended = if done {
        HEADER + 4
    } else {
        HEADER + 4 + HEADER
    };
    let mut refusal = Refusal {
        errno: Errno::from_raw(-code),
        text: String::new(),
        offset: None,
        missing: None,
    };
    for (kind, value) in parse(message.get(extended..).unwrap_or_default())? {
        match i32::from(kind) {
            ERROR_TEXT => {
                refusal.text =
                    String::from_utf8_lossy(value.strip_suffix(b"\0").unwrap_or(value)).into();
            }
            ERROR_OFFSET => refusal.offset = u32_at(value, 0),
            ERROR_MISSING => refusal.missing = u32_at(value, 0),
            _ => {}
        }
    }
    Ok(Err(refusal))
}

// NLMSGERR_ATTR_* of linux/netlink.h; the libc crate does not have them.
const ERROR_TEXT: i32 = 1;
const ERROR_OFFSET: i32 = 2;
const ERROR_MISSING: i32 = 5;

fn group_of(attributes: &[u8]) -> Result<(String, u32)> {
    let (mut name, mut id) = (None, None);
    for (kind, value) in parse(attributes)? {
        match i32::from(kind) {
            libc::CTRL_ATTR_MCAST_GRP_NAME => {
                let text = value.strip_suffix(b"\0").unwrap_or(value);
                name = Some(String::from_utf8_lossy(text).into_owned());
            }
            libc::CTRL_ATTR_MCAST_GRP_ID => id = u32_at(value, 0),
            _ => {}
        }
    }
    Ok((
        name.context("a group without a name")?,
        id.context("a group without an id")?,
    ))
}

fn set_option(socket: &OwnedFd, option: libc::c_int, value: libc::c_int) -> Result<()> {
    // SAFETY: `value` lives across the call and its size is the one given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_NETLINK,
            option,
            (&raw const value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    };
    Errno::result(result)?;
    Ok(())
}

/// A number of 4 or 8 bytes, as the kernel's `uint` attributes have it.
pub fn uint(value: &[u8]) -> Result<u64> {
    match value.len() {
        4 => Ok(u64::from(u32_at(value, 0).unwrap_or_default())),
        8 => Ok(u64::from_ne_bytes(value.try_into()?)),
        length => Err(anyhow!("a number of {length} bytes")),
    }
}

/// A u32 in the machine's byte order.
pub fn u32(value: &[u8]) -> Result<u32> {
    ensure!(value.len() == 4, "a u32 of {} bytes", value.len());
    u32_at(value, 0).context("a u32 without bytes")
}

/// A u16 in the machine's byte order.
pub fn u16(value: &[u8]) -> Result<u16> {
    ensure!(value.len() == 2, "a u16 of {} bytes", value.len());
    u16_at(value, 0).context("a u16 without bytes")
}
