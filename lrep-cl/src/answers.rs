// SPDX-License-Identifier: MIT OR Apache-2.0

//! Answers that a daemon leaves to the one that is started in its place: a request that is repeated
//! across the restart is answered alike, and not carried out twice.

use std::net::SocketAddr;
use std::time::Duration;

use prost::Message;

use crate::config::Listen;

/// A request over UDP that was answered, and may be repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// Where it came in.
    pub listener: Listen,
    /// Who sent it.
    pub peer: SocketAddr,
    /// All its bytes.
    pub request: Vec<u8>,
    /// All bytes of the answer.
    pub answer: Vec<u8>,
    /// How long ago it was answered.
    pub age: Duration,
}

/// The version of the form in which answers are left. Another form gets another one.
const VERSION: u32 = 1;

/// Why what was left is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// A program of another version left it.
    #[error("it was left by a lrep-cl that writes version {0} of it, this one reads {VERSION}")]
    Version(u32),
    /// It was written by something else.
    #[error("it is not what an earlier run left: {0}")]
    Unreadable(String),
}

/// What every version begins to read.
#[derive(Clone, PartialEq, Message)]
struct Head {
    #[prost(uint32, tag = "3")]
    version: u32,
}

#[derive(Clone, PartialEq, Message)]
struct Left {
    /// Milliseconds since the machine was started.
    #[prost(uint64, tag = "1")]
    at_ms: u64,
    /// Oldest first.
    #[prost(message, repeated, tag = "2")]
    answers: Vec<Entry>,
    /// See [`Head`].
    #[prost(uint32, tag = "3")]
    version: u32,
}

#[derive(Clone, PartialEq, Message)]
struct Entry {
    #[prost(string, tag = "1")]
    listener: String,
    #[prost(string, tag = "2")]
    peer: String,
    #[prost(bytes = "vec", tag = "3")]
    request: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    answer: Vec<u8>,
    #[prost(uint64, tag = "5")]
    age_ms: u64,
}

/// Writes answers down, oldest first, so long after the machine was started.
pub fn encode(answers: Vec<Answered>, uptime: Duration) -> Vec<u8> {
    let answers = answers.into_iter().map(|answered| Entry {
        listener: answered.listener.to_string(),
        peer: answered.peer.to_string(),
        request: answered.request,
        answer: answered.answer,
        age_ms: millis(answered.age),
    });
    let left = Left {
        at_ms: millis(uptime),
        answers: answers.collect(),
        version: VERSION,
    };
    left.encode_to_vec()
}

/// Reads what was written down, with the time that has passed since. Nothing is left when the machine
/// was started anew: the kernel's sessions have gone with it.
///
/// # Errors
///
/// [`Unusable`], when it was written by another version or by something else.
pub fn decode(bytes: &[u8], uptime: Duration) -> Result<Vec<Answered>, Unusable> {
    let garbled = |error: prost::DecodeError| Unusable::Unreadable(error.to_string());
    let Head { version } = Head::decode(bytes).map_err(garbled)?;
    if version != VERSION {
        return Err(Unusable::Version(version));
    }
    let left = Left::decode(bytes).map_err(garbled)?;
    let Some(passed) = uptime.checked_sub(Duration::from_millis(left.at_ms)) else {
        return Ok(Vec::new());
    };
    left.answers
        .into_iter()
        .map(|entry| {
            let peer = entry.peer.parse();
            Ok(Answered {
                listener: entry.listener.parse().map_err(Unusable::Unreadable)?,
                peer: peer
                    .map_err(|_| Unusable::Unreadable(format!("`{}` is no address", entry.peer)))?,
                request: entry.request,
                answer: entry.answer,
                age: Duration::from_millis(entry.age_ms).saturating_add(passed),
            })
        })
        .collect()
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn answered(request: &[u8], age: Duration) -> Answered {
        Answered {
            listener: "udp:127.0.0.1:22333".parse().expect("a listener"),
            peer: "192.0.2.1:5060".parse().expect("an address"),
            request: request.to_vec(),
            answer: [request, b"OK"].concat(),
            age,
        }
    }

    #[test]
    fn what_is_left_has_grown_older_meanwhile() {
        let left = vec![
            answered(b"1_0 G", Duration::from_secs(9)),
            answered(b"1_1 S \xff ", Duration::from_millis(1)),
        ];
        let older = |by: u64| {
            let grown = left.iter().cloned().map(|answered| Answered {
                age: answered.age + Duration::from_secs(by),
                ..answered
            });
            Ok(grown.collect::<Vec<_>>())
        };
        let bytes = encode(left.clone(), Duration::from_secs(1_000));
        assert_eq!(decode(&bytes, Duration::from_secs(1_000)), older(0));
        assert_eq!(decode(&bytes, Duration::from_secs(1_003)), older(3));
    }

    #[test]
    fn nothing_is_left_when_the_machine_was_started_anew() {
        let answers = vec![answered(b"1_0 G", Duration::ZERO)];
        let bytes = encode(answers, Duration::from_secs(1_000));
        assert_eq!(decode(&bytes, Duration::from_secs(999)), Ok(Vec::new()));
    }

    #[test]
    fn what_names_no_listener_or_peer_is_not_believed() {
        let spoilt = |spoil: fn(&mut Entry)| {
            let bytes = encode(vec![answered(b"1_0 G", Duration::ZERO)], Duration::ZERO);
            let mut left = Left::decode(bytes.as_slice()).expect("just encoded");
            spoil(&mut left.answers[0]);
            decode(&left.encode_to_vec(), Duration::ZERO)
        };
        assert!(spoilt(|_| ()).is_ok());
        for (spoil, named) in [
            (
                (|entry| entry.peer.push('x')) as fn(&mut Entry),
                "192.0.2.1:5060x",
            ),
            (|entry| entry.listener.clear(), "is no socket"),
        ] {
            let error = spoilt(spoil).expect_err("nobody's").to_string();
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn what_another_version_left_is_refused_whatever_its_form() {
        let answers = || vec![answered(b"1_0 G", Duration::ZERO)];
        let bytes = encode(answers(), Duration::ZERO);
        let left = Left::decode(bytes.as_slice()).expect("just encoded");
        for version in [0, VERSION + 1] {
            let other = Left {
                version,
                ..left.clone()
            };
            // Its first part is of another kind.
            let other = [&other.encode_to_vec()[..], &[(1 << 3) | 2, 0]].concat();
            assert_eq!(
                decode(&other, Duration::ZERO),
                Err(Unusable::Version(version))
            );
        }
        assert_eq!(decode(&bytes, Duration::ZERO), Ok(answers()));
    }

    proptest! {
        #[test]
        fn no_bytes_do_any_harm(bytes: Vec<u8>, uptime: Duration) {
            let _ = decode(&bytes, uptime);
        }
    }
}
