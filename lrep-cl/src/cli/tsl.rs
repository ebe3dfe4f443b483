// SPDX-License-Identifier: MIT OR Apache-2.0

//! `lrep-cl tsl`: serves this host's relay to controllers elsewhere, and what the daemon of this
//! host is to do with its TSLs.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};
use sd_notify::NotifyState;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::block_on;
use super::control::Control;
use super::exit::Failure;
use super::service::{Signals, notify, stop_on};
use super::status;
use crate::config::{LogFormat, LogLevel};
use crate::logging;
use crate::operator::{Answer, Request};
use crate::tls::{Files, Identity};
use crate::tsl::kernel::Kernel;
use crate::tsl::remote::address::Address;
use crate::tsl::serve::{Guard, Listener, serve};

/// Serve this host's relay to controllers on other machines, until SIGTERM or SIGINT
///
/// Controllers work with the kernel module of this host as if it were theirs, over gRPC and mutual
/// TLS: each side shows a certificate, and takes only certificates of the CA. `lrep-cl tls` makes
/// them. When the files change, connections made from then on use the new ones; a connection ends
/// when the certificate of its other side expires.
///
/// Living calls go on without this program: their sessions stay in the kernel.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Tsl {
    #[command(subcommand)]
    verb: Option<Verb>,

    #[command(flatten)]
    server: Option<Server>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the TSLs of the running daemon
    List {
        #[command(flatten)]
        control: Control,

        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Give a TSL of the running daemon no new calls, until it is enabled or the daemon restarted
    Disable {
        /// Its URL, as `lrep-cl tsl list` shows it
        tsl: String,

        #[command(flatten)]
        control: Control,

        /// Print the TSLs as JSON instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Give a TSL of the running daemon new calls again
    Enable {
        /// Its URL, as `lrep-cl tsl list` shows it
        tsl: String,

        #[command(flatten)]
        control: Control,

        /// Print the TSLs as JSON instead of a table
        #[arg(long)]
        json: bool,
    },
}

/// What serving needs to know.
#[derive(Args, Debug)]
struct Server {
    /// Where to listen: ADDRESS:PORT (IPv6 addresses in brackets; 22334 is the usual port), or
    /// unix:/PATH for controllers of the same user. Without certificates only on unix sockets,
    /// 127.0.0.1 and [::1], where every user of this host may then end every call.
    #[arg(long, value_name = "ADDRESS", env = "LREP_TSL_LISTEN")]
    listen: Address,

    /// The certificate of this host, a PEM file: `lrep-cl tls issue --role host`
    #[arg(long, value_name = "FILE", env = "LREP_TSL_CERT", requires_all = ["key", "ca"])]
    cert: Option<PathBuf>,

    /// The private key of the certificate, a PEM file
    #[arg(long, value_name = "FILE", env = "LREP_TSL_KEY", requires = "cert")]
    key: Option<PathBuf>,

    /// The certificates of the CAs whose controllers are let in, a PEM file
    #[arg(long, value_name = "FILE", env = "LREP_TSL_CA", requires = "cert")]
    ca: Option<PathBuf>,

    /// Names of the controllers that are let in, as their certificates have them; all controllers
    /// of the CAs when not given
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        env = "LREP_TSL_ALLOW_NAME",
        requires = "cert"
    )]
    allow_name: Vec<String>,

    /// How much is logged to standard error
    #[arg(
        long,
        value_name = "LEVEL",
        value_enum,
        default_value = "info",
        env = "LREP_LOG_LEVEL"
    )]
    log_level: LogLevel,

    /// How log lines look: for people (`text`) or for machines (`json`)
    #[arg(
        long,
        value_name = "FORMAT",
        value_enum,
        default_value = "text",
        env = "LREP_LOG_FORMAT"
    )]
    log_format: LogFormat,
}

impl Tsl {
    /// Serves until it is told to stop, or asks the daemon.
    pub fn run(self) -> Result<String, Failure> {
        let (control, request, json) = match (self.verb, self.server) {
            (None, None) => return Err(Failure::usage("say --listen, or list, disable or enable")),
            (None, Some(server)) => return server.run().map(|()| String::new()),
            (Some(Verb::List { control, json }), _) => (control, Request::Status, json),
            (Some(Verb::Disable { tsl, control, json }), _) => {
                (control, Request::Disable { tsl }, json)
            }
            (Some(Verb::Enable { tsl, control, json }), _) => {
                (control, Request::Enable { tsl }, json)
            }
        };
        match control.ask(&request)? {
            Answer::Status { status, .. } if json => Ok(format!("{}\n", json!(status.tsls))),
            Answer::Status { status, .. } => Ok(status::table(&status.tsls)),
            _ => Err(Failure::internal("the daemon answered something else")),
        }
    }
}

impl Server {
    fn run(self) -> Result<(), Failure> {
        let (_guard, _) = logging::start(self.log_level, self.log_format);
        block_on(self.serve())
    }

    async fn serve(self) -> Result<(), Failure> {
        let signals = Signals::catch()?;
        let guard = self.guard()?;
        let shown = match &guard {
            Some(guard) => format!(" as {}", guard.identity.current().certificate.name()),
            None => " without encryption".to_owned(),
        };
        let listener = Listener::bind(self.listen.clone(), guard).await?;
        let kernel = Kernel::connect().await?;
        let stop = CancellationToken::new();
        tokio::spawn(stop_on(signals, stop.clone()));
        info!(
            version = env!("CARGO_PKG_VERSION"),
            "ready, serving this host's relay on {}{shown}", self.listen
        );
        notify(&[NotifyState::Ready]);
        serve(Arc::new(kernel), listener, stop)
            .await
            .map_err(Failure::internal)?;
        info!("stopped; living calls go on in the kernel");
        Ok(())
    }

    fn guard(&self) -> Result<Option<Guard>, Failure> {
        // Clap has seen to it that there are all three or none.
        let (Some(certificate), Some(key), Some(authorities)) = (&self.cert, &self.key, &self.ca)
        else {
            return Ok(None);
        };
        let identity = Identity::load(Files {
            certificate: certificate.clone(),
            key: key.clone(),
            authorities: authorities.clone(),
        })?;
        Ok(Some(Guard {
            identity: Arc::new(identity),
            names: self.allow_name.clone(),
        }))
    }
}
