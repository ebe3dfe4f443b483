// SPDX-License-Identifier: MIT OR Apache-2.0

//! Signalling in words: what a captured datagram says, and to whom.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::guest::packet::Datagram;
use crate::guest::sip::{Message, PORT};
use crate::guest::topology::{CALLEE, CALLER, EAST, WEST};

/// The daemon's port on the relay host's loopback device.
const CONTROL: u16 = 22_333;

/// One step of the signalling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Who says it to whom.
    way: String,
    /// What is said, in the protocol's words.
    what: String,
    /// What that means.
    words: String,
}

impl fmt::Display for Step {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = format!("{:<19}  {:<11}  {}", self.way, self.what, self.words);
        to.write_str(line.trim_end())
    }
}

/// Puts a datagram into words; none when it is no SIP and orders no relay.
pub fn step(datagram: &Datagram) -> Option<Step> {
    if datagram.from.port() == PORT && datagram.to.port() == PORT {
        let message = Message::parse(&datagram.payload)?;
        let (from, to) = (datagram.from.ip(), datagram.to.ip());
        return Some(Step {
            way: format!("{from} → {to}"),
            what: name_of(&message),
            words: sip(&message, from),
        });
    }
    if datagram.to.port() == CONTROL {
        let order = Order::parse(&datagram.payload)?;
        return Some(Step {
            way: "Kamailio → lrep-cl".to_owned(),
            what: order.letter.to_string(),
            words: order.words(),
        });
    }
    if datagram.from.port() == CONTROL {
        // The answer is the order and a verdict of two letters.
        let (order, verdict) = datagram
            .payload
            .split_at_checked(datagram.payload.len().checked_sub(2)?)?;
        let order = Order::parse(order)?;
        let verdict = String::from_utf8_lossy(verdict);
        return Some(Step {
            way: "lrep-cl → Kamailio".to_owned(),
            words: order.outcome(&verdict),
            what: verdict.into_owned(),
        });
    }
    None
}

/// What a server learns from the daemon when it starts (the answer to G); none when the datagram is
/// anything else.
pub fn node(datagram: &Datagram) -> Option<String> {
    if datagram.from.port() != CONTROL {
        return None;
    }
    let cookie = datagram.payload.iter().position(|byte| *byte == b' ')?;
    let record = datagram.payload.get(cookie..)?.strip_prefix(b" G ")?;
    // Three numbers in the host's byte order, two addresses as text padded with zeros.
    let number = |at: usize| Some(u32::from_le_bytes(record.get(at..at + 4)?.try_into().ok()?));
    let address = |at: usize| {
        let text = String::from_utf8_lossy(record.get(at..at + 20)?).into_owned();
        text.trim_end_matches('\0').parse::<IpAddr>().ok()
    };
    Some(format!(
        "Kamailio asked lrep-cl: relay addresses {} and {}, ports {} to {}",
        address(12)?,
        address(32)?,
        number(0)?,
        number(4)?
    ))
}

/// Method of a request, status of an answer.
fn name_of(message: &Message) -> String {
    match message.line.strip_prefix("SIP/2.0 ") {
        // Kamailio's own reason is a whole sentence.
        Some(status) => status.split(" -- ").next().unwrap_or(status).to_owned(),
        None => method(&message.line).to_owned(),
    }
}

fn method(line: &str) -> &str {
    line.split(' ').next().unwrap_or(line)
}

fn sip(message: &Message, from: IpAddr) -> String {
    let Some(who) = party(from) else {
        return passed_on(message);
    };
    let of_invite = message.cseq.ends_with(" INVITE");
    let deed = match message.line.strip_prefix("SIP/2.0 ") {
        Some(status) if status.starts_with("18") => "rings",
        Some(status) if status.starts_with("200") && of_invite => "answers",
        Some(status) if status.starts_with("200") => "confirms",
        Some(_) => "replies",
        None => match method(&message.line) {
            "INVITE" => "calls",
            "ACK" => "has got the answer",
            "BYE" => "hangs up",
            _ => "asks",
        },
    };
    match message.media {
        Some(media) => format!("the {who} {deed}, and wants its audio sent to {media}"),
        None => format!("the {who} {deed}"),
    }
}

fn passed_on(message: &Message) -> String {
    if message.line.starts_with("SIP/2.0 100") {
        return server(message).map_or_else(
            || "the server is at it".to_owned(),
            |server| format!("{server} is at it"),
        );
    }
    match message.media {
        Some(media) if party(media.ip()).is_none() => {
            format!("passed on, but audio is to be sent to the relay: {media}")
        }
        Some(media) => format!("passed on; audio is to be sent past the relay: {media}"),
        None => "passed on".to_owned(),
    }
}

/// Name and version, from the header `Server: kamailio (6.0.1 (x86_64/linux))`.
fn server(message: &Message) -> Option<String> {
    let header = message
        .text
        .lines()
        .find_map(|line| line.strip_prefix("Server: "))?;
    let mut words = header.split([' ', '(']).filter(|word| !word.is_empty());
    Some(format!("{} {}", words.next()?, words.next()?))
}

/// The party with this address; none when it is the relay host.
fn party(address: IpAddr) -> Option<&'static str> {
    match address {
        CALLER => Some("caller"),
        CALLEE => Some("callee"),
        WEST | EAST => None,
        _ => Some("stranger"),
    }
}

/// What Kamailio's lrkproxy module orders: `COOKIE S` or `D`, ten fields, each followed by a space.
struct Order<'a> {
    letter: char,
    fields: [&'a str; 10],
}

impl<'a> Order<'a> {
    fn parse(payload: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(payload).ok()?;
        let mut tokens = text.strip_suffix(' ')?.split(' ').skip(1);
        let letter = match tokens.next()? {
            "S" => 'S',
            "D" => 'D',
            _ => return None,
        };
        let fields: Vec<_> = tokens.collect();
        Some(Self {
            letter,
            fields: fields.try_into().ok()?,
        })
    }

    fn words(&self) -> String {
        let [
            offerer,
            at_answerer,
            at_offerer,
            answerer,
            offerer_port,
            at_answerer_port,
            at_offerer_port,
            answerer_port,
            ..,
        ] = self.fields;
        match self.letter {
            'S' => format!(
                "\"relay {offerer}:{offerer_port} at {at_offerer}:{at_offerer_port}, \
                 {answerer}:{answerer_port} at {at_answerer}:{at_answerer_port}\""
            ),
            _ => "\"end that relay\"".to_owned(),
        }
    }

    fn outcome(&self, verdict: &str) -> String {
        let deed = match self.letter {
            'S' => "installed in the kernel",
            _ => "ended in the kernel",
        };
        match verdict {
            "OK" => deed.to_owned(),
            // It may have been too late to say so.
            _ => format!("not {deed}, or not in time"),
        }
    }
}

/// Where a party was told to send audio by a message that reached it.
pub fn told<'a>(
    messages: impl IntoIterator<Item = &'a (SocketAddr, Message)>,
    party: IpAddr,
) -> Option<SocketAddr> {
    messages
        .into_iter()
        .filter(|(to, _)| to.ip() == party)
        .find_map(|(_, message)| message.media)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::packet::Checksum;

    const INVITE: &str = "INVITE sip:bob@10.1.0.1:5060 SIP/2.0\r\nCall-ID: 1-7@10.1.0.2\r\n\
        CSeq: 1 INVITE\r\n\r\nv=0\r\nc=IN IP4 10.1.0.2\r\nm=audio 40000 RTP/AVP 0\r\n";
    const SET: &str = "9_2 S 10.1.0.2 10.2.0.1 10.1.0.1 10.2.0.2 40000 20000 20002 41000 60 1-7@a ";

    fn datagram(from: &str, to: &str, payload: &[u8]) -> Datagram {
        Datagram {
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
            ttl: 64,
            tos: 0,
            ip_checksum_is_right: true,
            checksum: Checksum::Right,
            payload: payload.to_vec(),
            flow_label: 0,
        }
    }

    fn line(from: &str, to: &str, payload: impl AsRef<[u8]>) -> Option<String> {
        step(&datagram(from, to, payload.as_ref())).map(|step| step.to_string())
    }

    #[test]
    fn a_party_s_message_says_who_does_what_and_where_its_audio_goes() {
        assert_eq!(
            line("10.1.0.2:5060", "10.1.0.1:5060", INVITE).unwrap(),
            "10.1.0.2 → 10.1.0.1  INVITE       the caller calls, and wants its audio sent to \
             10.1.0.2:40000"
        );
    }

    #[test]
    fn a_message_passed_on_says_whether_audio_goes_to_the_relay() {
        let rewritten = INVITE
            .replace("IP4 10.1.0.2", "IP4 10.2.0.1")
            .replace("40000", "20000");
        let good = line("10.2.0.1:5060", "10.2.0.2:5060", rewritten).unwrap();
        assert!(
            good.ends_with("sent to the relay: 10.2.0.1:20000"),
            "{good}"
        );
        let bad = line("10.2.0.1:5060", "10.2.0.2:5060", INVITE).unwrap();
        assert!(bad.ends_with("past the relay: 10.1.0.2:40000"), "{bad}");
    }

    #[test]
    fn the_server_tells_its_version() {
        let trying = "SIP/2.0 100 trying -- your call is important to us\r\nCSeq: 1 INVITE\r\n\
            Call-ID: a\r\nServer: kamailio (6.0.1 (x86_64/linux))\r\n\r\n";
        assert_eq!(
            line("10.1.0.1:5060", "10.1.0.2:5060", trying).unwrap(),
            "10.1.0.1 → 10.1.0.2  100 trying   kamailio 6.0.1 is at it"
        );
    }

    #[test]
    fn an_order_is_told_with_its_outcome() {
        let asked = line("127.0.0.1:999", "127.0.0.1:22333", SET).unwrap();
        assert_eq!(
            asked,
            "Kamailio → lrep-cl   S            \"relay 10.1.0.2:40000 at 10.1.0.1:20002, \
             10.2.0.2:41000 at 10.2.0.1:20000\""
        );
        let done = line("127.0.0.1:22333", "127.0.0.1:999", format!("{SET}OK")).unwrap();
        assert!(
            done.ends_with("OK           installed in the kernel"),
            "{done}"
        );
        let failed = line("127.0.0.1:22333", "127.0.0.1:999", format!("{SET}ER")).unwrap();
        assert!(
            failed.ends_with("ER           not installed in the kernel, or not in time"),
            "{failed}"
        );
    }

    #[test]
    fn other_datagrams_are_no_signalling() {
        assert_eq!(
            line("10.1.0.2:40000", "10.1.0.1:20000", [0x80, 0, 0, 1]),
            None
        );
        assert_eq!(line("127.0.0.1:999", "127.0.0.1:22333", "9_0 P"), None);
        assert_eq!(line("127.0.0.1:22333", "127.0.0.1:999", "9_0 P PONG"), None);
        assert_eq!(line("127.0.0.1:22333", "127.0.0.1:999", "x"), None);
    }

    #[test]
    fn the_answer_to_g_is_read() {
        let mut payload = b"9_1 G ".to_vec();
        for number in [20_000_u32, 29_999, 20_000] {
            payload.extend(number.to_le_bytes());
        }
        for address in ["10.1.0.1", "10.2.0.1"] {
            let mut field = address.as_bytes().to_vec();
            field.resize(20, 0);
            payload.extend(field);
        }
        assert_eq!(
            node(&datagram("127.0.0.1:22333", "127.0.0.1:999", &payload)).unwrap(),
            "Kamailio asked lrep-cl: relay addresses 10.1.0.1 and 10.2.0.1, ports 20000 to 29999"
        );
    }
}
