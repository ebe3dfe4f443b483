// SPDX-License-Identifier: MIT OR Apache-2.0

//! Makes a controller's connections to a host.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::address::Address;
use super::stream::{Stream, Watch};
use crate::tls::{self, Identity};

/// Why the last connection could not be made or broke.
#[derive(Debug, Default)]
pub struct Faults(Mutex<Option<String>>);

impl Faults {
    /// In words; `None` while nothing is known.
    pub fn last(&self) -> Option<String> {
        self.0.lock().clone()
    }

    fn forget(&self) {
        *self.0.lock() = None;
    }
}

impl Watch for Arc<Faults> {
    fn failed(&self, error: &io::Error) {
        let refusal = error
            .get_ref()
            .and_then(|error| error.downcast_ref::<rustls::Error>());
        let text = match refusal {
            Some(refusal) => tls::seen_by_controller(refusal),
            None => error.to_string(),
        };
        *self.0.lock() = Some(text);
    }
}

/// Connects to one host.
#[derive(Clone, Debug)]
pub struct Connector {
    pub address: Address,
    pub identity: Option<Arc<Identity>>,
    pub deadline: Duration,
    pub faults: Arc<Faults>,
}

impl Connector {
    /// Connects. Why that fails, or the connection breaks later, is told to `faults`.
    pub async fn connect(self) -> io::Result<TokioIo<Stream<Arc<Faults>>>> {
        self.faults.forget();
        let connected = timeout(self.deadline, self.reach()).await;
        connected
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map(TokioIo::new)
            .inspect_err(|error| self.faults.failed(error))
    }

    async fn reach(&self) -> io::Result<Stream<Arc<Faults>>> {
        match &self.address {
            Address::Unix(path) => {
                let bytes = UnixStream::connect(path).await?;
                Ok(Stream::plain(bytes, Arc::clone(&self.faults)))
            }
            Address::Tcp { host, port } => self.connect_tcp(host, *port).await,
        }
    }

    async fn connect_tcp(&self, host: &str, port: u16) -> io::Result<Stream<Arc<Faults>>> {
        let found: Vec<_> = lookup_host((host, port)).await?.collect();
        if self.identity.is_none() && !found.iter().all(|at| at.ip().is_loopback()) {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "hosts elsewhere are worked with over TLS only: give this controller a \
                 certificate, its key, and the CA's certificate",
            ));
        }
        let bytes = TcpStream::connect(found.as_slice()).await?;
        bytes.set_nodelay(true)?;
        let faults = Arc::clone(&self.faults);
        let Some(identity) = &self.identity else {
            return Ok(Stream::plain(bytes, faults));
        };
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let config = identity.current().for_controller();
        let config = Arc::new(config.map_err(io::Error::other)?);
        let bytes = TlsConnector::from(config).connect(name, bytes).await?;
        let (_, session) = bytes.get_ref();
        let shown = session.peer_certificates().map(<[_]>::to_vec);
        Ok(Stream::encrypted(bytes, shown.as_deref(), faults))
    }
}
