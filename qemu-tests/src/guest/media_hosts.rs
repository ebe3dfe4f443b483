// SPDX-License-Identifier: MIT OR Apache-2.0

//! Media hosts beside the relay's, each in a namespace of its own.
//!
//! ```text
//!   namespace relay: bridge "media", 10.3.0.1
//!      |               |               |
//!   media1 10.3.0.11  media2 10.3.0.12  media3 10.3.0.13  ("wire" in each)
//! ```

use std::net::SocketAddr;

use anyhow::Result;
use nix::sys::signal::Signal;

use super::lab::Lab;
use super::media_host::{Certificates, MediaHost};
use super::netns::Namespace;
use super::process::Process;
use super::relay::Relay;
use super::topology::{Family, Topology};

/// The network they are in.
const NETWORK: u8 = 3;

/// A place at the bridge.
pub struct Seat {
    pub namespace: Namespace,
    /// The bridge's device towards it.
    device: String,
}

impl Seat {
    /// Makes one with this address of the network.
    pub fn new(net: &Topology, name: &str, number: u8) -> Result<Self> {
        let namespace = Namespace::new(name)?;
        net.relay.ip(&format!(
            "link add {name} type veth peer name wire netns {name}\n\
             link set {name} master media up\n"
        ))?;
        namespace.ip(&format!(
            "{}link set wire up\n{}",
            Family::Ipv4.add_address(NETWORK, number, "wire"),
            default_route()
        ))?;
        Ok(Self {
            namespace,
            device: name.to_owned(),
        })
    }

    /// Cuts it off.
    pub fn cut_off(&self) -> Result<()> {
        self.namespace.ip("link set wire down\n")
    }

    /// Puts it back.
    pub fn put_back(&self) -> Result<()> {
        // The route went with the link.
        self.namespace
            .ip(&format!("link set wire up\n{}", default_route()))
    }

    /// Delays what is sent to it by this (tc-netem(8)).
    pub fn slow_down(&self, net: &Topology, delay: &str) -> Result<()> {
        let add = [
            "qdisc",
            "add",
            "dev",
            &self.device,
            "root",
            "netem",
            "delay",
            delay,
        ];
        net.relay.run("tc", &add).map(drop)
    }
}

/// A media host that runs.
pub struct Host {
    pub seat: Seat,
    /// Its kernel's table.
    pub relay: Relay,
    program: MediaHost,
    served: Process,
}

impl Host {
    /// Starts so many, with one CA.
    pub fn start(lab: &Lab, net: &Topology, count: u8) -> Result<(Certificates, Vec<Self>)> {
        net.relay.ip(&format!(
            "link add media type bridge\n{}link set media up\n",
            Family::Ipv4.add_address(NETWORK, 1, "media")
        ))?;
        let names: Vec<_> = (1..=count)
            .map(|number| (format!("media{number}"), 10 + number))
            .collect();
        let addresses: Vec<_> = names
            .iter()
            .map(|(name, number)| (name.as_str(), Family::Ipv4.address(NETWORK, *number)))
            .collect();
        let certificates = Certificates::new(&addresses)?;
        let hosts = names.iter().map(|(name, number)| {
            let seat = Seat::new(net, name, *number)?;
            let address = Family::Ipv4.address(NETWORK, *number);
            let program = MediaHost::new(lab, &certificates, name, address)?;
            Ok(Self {
                relay: Relay::open(&seat.namespace)?,
                served: program.start(&seat.namespace)?,
                seat,
                program,
            })
        });
        let hosts = hosts.collect::<Result<_>>()?;
        Ok((certificates, hosts))
    }

    /// Where it serves its table.
    pub fn address(&self) -> Result<SocketAddr> {
        Ok(self.program.address().parse()?)
    }

    /// Freezes what serves its table.
    pub fn freeze(&self) -> Result<()> {
        self.served.signal(Signal::SIGSTOP)
    }

    /// Has it go on.
    pub fn thaw(&self) -> Result<()> {
        self.served.signal(Signal::SIGCONT)
    }

    /// Kills what serves its table.
    pub fn kill(&self) -> Result<()> {
        self.served.signal(Signal::SIGKILL)
    }

    /// Serves its table again.
    pub fn restart(&mut self) -> Result<()> {
        self.served = self.program.start(&self.seat.namespace)?;
        Ok(())
    }

    /// As [`Seat::cut_off`].
    pub fn cut_off(&self) -> Result<()> {
        self.seat.cut_off()
    }

    /// As [`Seat::put_back`].
    pub fn put_back(&self) -> Result<()> {
        self.seat.put_back()
    }

    /// As [`Seat::slow_down`].
    pub fn slow_down(&self, net: &Topology, delay: &str) -> Result<()> {
        self.seat.slow_down(net, delay)
    }
}

fn default_route() -> String {
    let gateway = Family::Ipv4.address(NETWORK, 1);
    format!("route add default via {gateway}\n")
}
