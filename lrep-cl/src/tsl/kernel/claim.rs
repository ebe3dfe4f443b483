// SPDX-License-Identifier: MIT OR Apache-2.0

//! An owner number has one controller at a time.
//!
//! A controller ends the sessions that bear its number and that it does not know, so two with the
//! same number would end each other's calls. Whoever controls therefore holds a unix socket that has
//! the number in its name. The name is an abstract one: it is of the network namespace, as the
//! module's table is, and free again when its process ends, however that ends.

use std::future::poll_fn;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use nix::unistd::geteuid;
use parking_lot::Mutex;
use tokio::net::unix::UCred;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

use super::channel_error;
use crate::tsl::{Result, taken};

/// How often a name is asked for whose holder does not say who it is: it may just come or go.
const ATTEMPTS: usize = 5;

/// How long to wait in between, and after a failure.
const PAUSE: Duration = Duration::from_millis(20);

/// The users that systemd makes for services with `DynamicUser`, as ours are. No person is one.
const OF_SERVICES: RangeInclusive<u32> = 61_184..=65_519;

/// An owner number that is held. Free as soon as this is dropped.
#[derive(Debug)]
pub struct Claim {
    socket: Arc<Mutex<Option<UnixListener>>>,
    _answering: AbortOnDropHandle<()>,
}

impl Claim {
    /// Holds an owner number in the network namespace of this thread. None when somebody has its
    /// name who cannot be a controller: no user of this host can keep a controller from its work.
    ///
    /// # Errors
    ///
    /// ENOTUNIQ when another controller holds it.
    pub async fn take(owner: u32) -> Result<Option<Self>> {
        let name = format!("\0lreproxy/owner/{owner}");
        for _ in 0..ATTEMPTS {
            match UnixListener::bind(&name) {
                Ok(socket) => return Ok(Some(Self::hold(socket))),
                Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(channel_error(error)),
            }
            let met = UnixStream::connect(&name).await;
            match met.and_then(|holder| holder.peer_cred()) {
                Ok(holder) if may_control(holder.uid()) => {
                    let process = format!(" (process {} of its host)", process(&holder));
                    return Err(taken(owner, &process));
                }
                Ok(holder) => {
                    go_on(
                        owner,
                        &format!(
                            "process {} of user {}, which is no controller,",
                            process(&holder),
                            holder.uid()
                        ),
                    );
                    return Ok(None);
                }
                Err(_) => sleep(PAUSE).await,
            }
        }
        go_on(owner, "somebody who does not say who he is");
        Ok(None)
    }

    fn hold(socket: UnixListener) -> Self {
        let socket = Arc::new(Mutex::new(Some(socket)));
        let answering = tokio::spawn(answer(Arc::clone(&socket)));
        Self {
            socket,
            _answering: AbortOnDropHandle::new(answering),
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Here, since the task ends some time later, and the number may be wanted at once.
        drop(self.socket.lock().take());
    }
}

/// Accepts whoever wants to see who holds the name: those who are not would fill the socket's queue, and
/// then nobody could see it.
async fn answer(socket: Arc<Mutex<Option<UnixListener>>>) {
    let accept = || {
        poll_fn(|context| match &*socket.lock() {
            Some(socket) => socket.poll_accept(context).map(Some),
            None => Poll::Ready(None),
        })
    };
    while let Some(accepted) = accept().await {
        if accepted.is_err() {
            // As when there are too many open files.
            sleep(PAUSE).await;
        }
    }
}

/// Whether this user may be a controller's: one that works as root, as this one, or as a service.
fn may_control(user: u32) -> bool {
    user == 0 || user == geteuid().as_raw() || OF_SERVICES.contains(&user)
}

/// The number of a process; `?` when it is in another container.
fn process(holder: &UCred) -> String {
    let id = holder.pid().filter(|id| *id > 0);
    id.map_or_else(|| "?".to_owned(), |id| id.to_string())
}

fn go_on(owner: u32, holder: &str) {
    warn!(
        "{holder} has the unix socket @lreproxy/owner/{owner}, by which controllers with the same \
         `owner` see each other: goes on without it, and would not see another one; end that process \
         (`ss -xlp` names it), then restart lrep-cl"
    );
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;
    use tokio::net::UnixSocket;

    use super::*;

    /// A number that nobody else on this machine uses.
    fn owner(test: u32) -> u32 {
        std::process::id() * 16 + test
    }

    async fn refusal(owner: u32) -> String {
        let error = Claim::take(owner).await.expect_err("taken");
        assert!(error.is(Errno::ENOTUNIQ), "{error}");
        error.to_string()
    }

    #[tokio::test]
    async fn an_owner_is_held_once_and_free_as_soon_as_it_is_given_up() {
        let (this, other) = (owner(0), owner(1));
        for _ in 0..100 {
            let held = Claim::take(this).await.expect("free").expect("held");
            let text = refusal(this).await;
            for part in [
                format!("owner {this} belongs to another controller"),
                format!("process {} of its host", std::process::id()),
                "an `owner` of its own".to_owned(),
            ] {
                assert!(text.contains(&part), "{text}");
            }
            assert!(Claim::take(other).await.expect("free").is_some());
            drop(held);
        }
    }

    #[tokio::test]
    async fn who_holds_an_owner_can_be_seen_however_often_it_is_looked() {
        let owner = owner(2);
        let _held = Claim::take(owner).await.expect("free").expect("held");
        // More than may wait in the queue of a socket.
        for _ in 0..10_000 {
            refusal(owner).await;
        }
    }

    #[tokio::test]
    async fn who_does_not_say_who_he_is_holds_nobody_up() {
        let owner = owner(3);
        let name = format!("\0lreproxy/owner/{owner}");
        let stranger = UnixSocket::new_stream().expect("a socket");
        stranger.bind(&name).expect("free");
        assert!(Claim::take(owner).await.expect("goes on").is_none());
        drop(stranger);
        assert!(Claim::take(owner).await.expect("free").is_some());
    }

    #[test]
    fn people_are_no_controllers() {
        let own = geteuid().as_raw();
        assert!([0, own, 61_184, 65_519].into_iter().all(may_control));
        let people = [1000, 60_000, 65_534].into_iter();
        assert!(!people.filter(|user| *user != own).any(may_control));
    }
}
