// SPDX-License-Identifier: MIT OR Apache-2.0

//! Packet capture through a packet socket (packet(7)).

use std::fs::File;
use std::io::{IoSliceMut, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockProtocol, SockType, setsockopt, socket, sockopt,
};
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};
use pcap_file::{DataLink, TsResolution};

use super::debug::patience;
use super::netns::Namespace;
use super::packet::{Checksum, Datagram};

/// One frame, as it was seen.
#[derive(Clone, Debug)]
pub struct Frame {
    /// When it arrived.
    pub at: SystemTime,
    /// The whole frame, from its Ethernet header on.
    pub bytes: Vec<u8>,
    /// Whether its transport checksum was left for the device to fill in (TP_STATUS_CSUMNOTREADY).
    pub partial: bool,
    /// The tag of its VLAN (IEEE 802.1Q: priority and number), which is not among the bytes.
    pub vlan: Option<u16>,
}

/// What arrives at one device, from the moment the capture was started.
///
/// What leaves through the device is not captured (PACKET_IGNORE_OUTGOING): a packet socket that
/// sees an outgoing packet makes a clone of it, and whether packets are cloned is for the test to
/// decide. [`Capture::start_everywhere`] is the exception.
#[derive(Clone)]
pub struct Capture {
    shared: Arc<Shared>,
    _stop: Arc<Stop>,
}

struct Shared {
    name: String,
    frames: Mutex<Vec<Frame>>,
    more: Condvar,
}

/// Ends the reading thread when the last handle of the capture is dropped.
struct Stop {
    event: Arc<EventFd>,
}

impl Drop for Stop {
    fn drop(&mut self) {
        // It can only fail when the counter overflows, which one write does not make it do.
        let _ = self.event.write(1);
    }
}

impl Capture {
    /// Starts to capture at a device of a namespace.
    pub fn start(namespace: &Namespace, device: &str) -> Result<Self> {
        Self::read_from(
            namespace.enter(|| open(device))?,
            format!("{}-{device}", namespace.name()),
        )
    }

    /// Starts to capture what passes all devices of a namespace, in the order in which it does:
    /// what arrives, what leaves, and what stays inside, which is seen to leave and to arrive.
    pub fn start_everywhere(namespace: &Namespace) -> Result<Self> {
        Self::read_from(
            namespace.enter(open_everywhere)?,
            format!("{}-any", namespace.name()),
        )
    }

    fn read_from(socket: OwnedFd, name: String) -> Result<Self> {
        let event = Arc::new(
            EventFd::from_flags(EfdFlags::EFD_CLOEXEC).context("cannot make an event counter")?,
        );
        let shared = Arc::new(Shared {
            name,
            frames: Mutex::default(),
            more: Condvar::new(),
        });
        let reader = Arc::clone(&shared);
        let stopped = Arc::clone(&event);
        thread::spawn(move || read(&socket, &stopped, &reader));
        Ok(Self {
            shared,
            _stop: Arc::new(Stop { event }),
        })
    }

    /// Namespace and device.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Everything captured so far.
    pub fn frames(&self) -> Vec<Frame> {
        self.shared.lock().clone()
    }

    /// Forgets everything captured so far.
    pub fn forget(&self) {
        self.shared.lock().clear();
    }

    /// The UDP datagrams captured so far, whole ones only, in their order.
    pub fn datagrams(&self) -> Vec<Datagram> {
        self.shared
            .lock()
            .iter()
            .filter_map(Datagram::parse)
            .collect()
    }

    /// Waits until as many datagrams fit as are wanted, and returns all that do.
    pub fn wait_for(
        &self,
        wanted: usize,
        limit: Duration,
        fits: impl Fn(&Datagram) -> bool,
    ) -> Result<Vec<Datagram>> {
        self.pick(wanted, limit, |frame| {
            Datagram::parse(frame).filter(|one| fits(one))
        })
    }

    /// Waits until something could be picked out of as many frames as are wanted, and returns all of it.
    pub fn pick<T>(
        &self,
        wanted: usize,
        limit: Duration,
        pick: impl Fn(&Frame) -> Option<T>,
    ) -> Result<Vec<T>> {
        let limit = patience(limit);
        let end = Instant::now() + limit;
        let mut frames = self.shared.lock();
        let mut found = Vec::new();
        let mut looked_at = 0;
        loop {
            found.extend(frames.iter().skip(looked_at).filter_map(&pick));
            looked_at = frames.len();
            if found.len() >= wanted {
                return Ok(found);
            }
            let now = Instant::now();
            if now >= end {
                bail!(
                    "{} saw {} of {wanted} packets in {} s ({looked_at} frames of all kinds)",
                    self.name(),
                    found.len(),
                    limit.as_secs()
                );
            }
            frames = self
                .shared
                .more
                .wait_timeout(frames, end - now)
                .map_or_else(|poisoned| poisoned.into_inner().0, |woken| woken.0);
        }
    }

    /// Writes everything captured so far to a pcap file.
    pub fn write(&self, path: &Path) -> Result<()> {
        let cannot = || format!("cannot write {}", path.display());
        let mut file = File::create(path).with_context(cannot)?;
        file.write_all(&self.pcap()?).with_context(cannot)
    }

    fn pcap(&self) -> Result<Vec<u8>> {
        let header = PcapHeader {
            datalink: DataLink::ETHERNET,
            ts_resolution: TsResolution::NanoSecond,
            ..PcapHeader::default()
        };
        let mut writer =
            PcapWriter::with_header(Vec::new(), header).context("cannot begin a capture file")?;
        for frame in self.shared.lock().iter() {
            let at = frame.at.duration_since(UNIX_EPOCH).unwrap_or_default();
            let length = u32::try_from(frame.bytes.len()).context("a frame of 4 GiB")?;
            writer
                .write_packet(&PcapPacket::new(at, length, &frame.bytes))
                .context("cannot write a frame")?;
        }
        Ok(writer.into_writer())
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Frame>> {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(socket: &OwnedFd, stopped: &EventFd, shared: &Shared) {
    let mut buffer = vec![0; 65_600];
    loop {
        let mut either = [
            PollFd::new(socket.as_fd(), PollFlags::POLLIN),
            PollFd::new(stopped.as_fd(), PollFlags::POLLIN),
        ];
        if poll(&mut either, PollTimeout::NONE).is_err() {
            continue;
        }
        let readable = either[0].any().unwrap_or(false);
        let end = either[1].any().unwrap_or(false);
        if readable {
            // A few at a time: endless traffic must not keep them from being seen.
            let arrived = std::iter::from_fn(|| receive(socket, &mut buffer));
            let arrived: Vec<_> = arrived.take(64).collect();
            shared.lock().extend(arrived);
            shared.more.notify_all();
        }
        if end {
            return;
        }
    }
}

/// Makes a packet socket that sees every frame that arrives at the device.
fn open(device: &str) -> Result<OwnedFd> {
    let socket = packet_socket(None)?;
    set_packet_option(&socket, PACKET_IGNORE_OUTGOING)?;
    bind(&socket, device, libc::ETH_P_ALL as u16)?;
    Ok(socket)
}

/// Makes a packet socket that sees every frame of every device: one that has a protocol and is not
/// bound (packet(7)).
fn open_everywhere() -> Result<OwnedFd> {
    packet_socket(Some(SockProtocol::EthAll))
}

fn packet_socket(protocol: Option<SockProtocol>) -> Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Packet, SockType::Raw, flags, protocol)
        .context("cannot make a packet socket")?;
    setsockopt(&socket, sockopt::RcvBufForce, &(32 << 20)).context("cannot enlarge a buffer")?;
    set_packet_option(&socket, libc::PACKET_AUXDATA)?;
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true).context("cannot ask for times")?;
    Ok(socket)
}

/// linux/if_packet.h; the libc crate does not have it.
const PACKET_IGNORE_OUTGOING: libc::c_int = 23;

/// Switches an option of a packet socket on.
pub fn set_packet_option(socket: &OwnedFd, option: libc::c_int) -> Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: `on` lives across the call and its size is the one given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            option,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    nix::errno::Errno::result(result).context("cannot set an option of a packet socket")?;
    Ok(())
}

/// Binds a packet socket to a protocol (an Ethernet type; zero: none) of a device of the namespace
/// the caller is in.
pub fn bind(socket: &OwnedFd, device: &str, protocol: u16) -> Result<()> {
    let index = nix::net::if_::if_nametoindex(device)
        .with_context(|| format!("there is no device {device}"))?;
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as libc::c_ushort,
        sll_protocol: protocol.to_be(),
        sll_ifindex: index as libc::c_int,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    // SAFETY: `address` lives across the call and its size is the one given.
    let result = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            size_of_val(&address) as libc::socklen_t,
        )
    };
    nix::errno::Errno::result(result).with_context(|| format!("cannot bind to {device}"))?;
    Ok(())
}

fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> Option<Frame> {
    let mut parts = [IoSliceMut::new(buffer)];
    let mut control = [0_u64; 16];
    // SAFETY: an all-zero msghdr is a valid one, without any buffers.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = parts.as_mut_ptr().cast();
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = size_of_val(&control);
    // SAFETY: `header` points to buffers that live across the call, with their true sizes.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &mut header, 0) };
    let length = usize::try_from(length).ok()?;
    let about = about(&header);
    let data = about.auxiliary;
    let has = |data: &libc::tpacket_auxdata, flag| data.tp_status & flag != 0;
    Some(Frame {
        at: about.at.unwrap_or_else(SystemTime::now),
        bytes: buffer.get(..length)?.to_vec(),
        partial: data.is_some_and(|data| has(&data, libc::TP_STATUS_CSUMNOTREADY)),
        vlan: data
            .filter(|data| has(data, libc::TP_STATUS_VLAN_VALID))
            .map(|data| data.tp_vlan_tci),
    })
}

/// What the kernel says about a frame.
#[derive(Default)]
struct About {
    /// Its PACKET_AUXDATA.
    auxiliary: Option<libc::tpacket_auxdata>,
    /// When it arrived (SO_TIMESTAMPNS).
    at: Option<SystemTime>,
}

fn about(header: &libc::msghdr) -> About {
    let mut about = About::default();
    // SAFETY: `header` was filled in by recvmsg(2), and its control buffer is alive and aligned.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(header).as_ref() };
    while let Some(message) = next {
        // SAFETY: It is the data of this message.
        let data = unsafe { libc::CMSG_DATA(message) };
        match (message.cmsg_level, message.cmsg_type) {
            (libc::SOL_PACKET, libc::PACKET_AUXDATA) => {
                // SAFETY: A message of this type holds a tpacket_auxdata.
                let data = unsafe { data.cast::<libc::tpacket_auxdata>().read_unaligned() };
                about.auxiliary = Some(data);
            }
            (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                // SAFETY: A message of this type holds a timespec.
                let time = unsafe { data.cast::<libc::timespec>().read_unaligned() };
                let since = Duration::new(time.tv_sec as u64, time.tv_nsec as u32);
                about.at = Some(SystemTime::UNIX_EPOCH + since);
            }
            _ => {}
        }
        // SAFETY: As for the first one.
        next = unsafe { libc::CMSG_NXTHDR(header, message).as_ref() };
    }
    about
}

/// The ways a UDP checksum was found to be wrong, in words.
pub fn wrong_checksums(datagrams: &[Datagram]) -> Vec<String> {
    datagrams
        .iter()
        .filter(|one| !one.ip_checksum_is_right || one.checksum == Checksum::Wrong)
        .map(|one| format!("{one:?}"))
        .collect()
}
