// SPDX-License-Identifier: MIT OR Apache-2.0

//! The least a relay in a process can be: a pair of connected sockets for each flow, whose packets
//! are received and sent many at a time. It counts nothing and checks no more than the kernel does
//! for connected sockets.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::ptr::null_mut;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, anyhow};
use nix::errno::Errno;
use nix::libc;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::resource::{Resource, setrlimit};

use super::flows::Flow;
use crate::guest::netns::Namespace;

/// Packets moved with one pair of system calls.
const BATCH: usize = 64;

/// Room for a packet, in bytes.
const SIZE: usize = 2048;

/// How often the thread looks whether it is to end, in milliseconds.
const LOOK: u16 = 100;

/// A thread that relays.
pub struct Userspace {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Userspace {
    /// Starts it in a namespace, for these flows.
    pub fn start(namespace: &Namespace, flows: &[Flow]) -> Result<Self> {
        let sockets = 4 * flows.len() as u64 + 1000;
        setrlimit(Resource::RLIMIT_NOFILE, sockets, sockets).context("cannot open many sockets")?;
        let pairs = namespace.enter(|| {
            let pair = |flow: &Flow| {
                let entering = connected(flow.entering.to, flow.entering.from)?;
                Ok((entering, connected(flow.leaving.from, flow.leaving.to)?))
            };
            flows.iter().map(pair).collect::<Result<Vec<_>>>()
        })?;
        let epoll = Epoll::new(EpollCreateFlags::empty())?;
        for (number, (entering, _)) in (0..).zip(&pairs) {
            epoll.add(entering, EpollEvent::new(EpollFlags::EPOLLIN, number))?;
        }
        let ended = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&ended);
        let thread = thread::spawn(move || {
            if let Err(error) = relay(&epoll, &pairs, &end) {
                // Its packets are missed then.
                eprintln!("the relay in a thread has ended: {error:#}");
            }
        });
        Ok(Self {
            ended,
            thread: Some(thread),
        })
    }
}

impl Drop for Userspace {
    fn drop(&mut self) {
        self.ended.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            // One that has panicked is missed already.
            let _ = thread.join();
        }
    }
}

fn connected(local: SocketAddr, remote: SocketAddr) -> Result<UdpSocket> {
    let socket = UdpSocket::bind(local).with_context(|| format!("cannot bind {local}"))?;
    socket.connect(remote)?;
    Ok(socket)
}

fn relay(epoll: &Epoll, pairs: &[(UdpSocket, UdpSocket)], end: &AtomicBool) -> Result<()> {
    let mut buffers = vec![[0_u8; SIZE]; BATCH];
    let mut parts: Vec<_> = buffers
        .iter_mut()
        .map(|buffer| libc::iovec {
            iov_base: buffer.as_mut_ptr().cast(),
            iov_len: SIZE,
        })
        .collect();
    let mut messages: Vec<_> = parts
        .iter_mut()
        .map(|part| libc::mmsghdr {
            msg_hdr: libc::msghdr {
                msg_name: null_mut(),
                msg_namelen: 0,
                msg_iov: part,
                msg_iovlen: 1,
                msg_control: null_mut(),
                msg_controllen: 0,
                msg_flags: 0,
            },
            msg_len: 0,
        })
        .collect();
    let mut events = vec![EpollEvent::empty(); BATCH];
    while !end.load(Relaxed) {
        let ready = match epoll.wait(&mut events, EpollTimeout::from(LOOK)) {
            Err(Errno::EINTR) => continue,
            ready => ready?,
        };
        for event in events.iter().take(ready) {
            let pair = usize::try_from(event.data()).ok();
            let (entering, leaving) = pair
                .and_then(|pair| pairs.get(pair))
                .ok_or_else(|| anyhow!("an event of no socket"))?;
            for part in &mut parts {
                part.iov_len = SIZE;
            }
            // SAFETY: Each message points to one part, each part to a buffer of its length, and all
            // of them outlive the call.
            let received = unsafe {
                libc::recvmmsg(
                    entering.as_raw_fd(),
                    messages.as_mut_ptr(),
                    BATCH as u32,
                    libc::MSG_DONTWAIT,
                    null_mut(),
                )
            };
            let received = match Errno::result(received) {
                Err(Errno::EAGAIN) => continue,
                received => received? as usize,
            };
            for (part, message) in parts.iter_mut().zip(&messages).take(received) {
                part.iov_len = message.msg_len as usize;
            }
            // SAFETY: As above; so many messages were received.
            Errno::result(unsafe {
                libc::sendmmsg(
                    leaving.as_raw_fd(),
                    messages.as_mut_ptr(),
                    received as u32,
                    0,
                )
            })?;
        }
    }
    Ok(())
}
