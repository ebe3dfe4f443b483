// SPDX-License-Identifier: MIT OR Apache-2.0

//! The control protocol of Kamailio's `lreproxy` and `lrkproxy` modules: bytes in, values out.
//!
//! Four commands, each a single letter: `P` (are you alive), `G` (tell addresses and ports),
//! `S` (install a relay) and `D` (remove a relay). Over UDP a cookie and a space come first;
//! on a unix stream socket there is no cookie. Every answer starts with the request, byte for
//! byte, and the clients judge answers by their length alone.
//!
//! The clients are Kamailio's `src/modules/lreproxy` (up to 5.4) and `src/modules/lrkproxy`
//! (5.5 and later).

use std::net::Ipv4Addr;

/// Longest frame that a client can use, in bytes, cookie included.
///
/// Clients read at most 255 bytes of an answer, which is two bytes longer than its request.
/// A longer frame comes from a client whose buffers have run over, so that its fields
/// cannot be believed.
pub const FRAME_MAX: usize = 253;

/// Spaces in a whole `S` or `D` command, the final one included.
const SPACES: usize = 11;

/// Size of the record that answers `G`, in bytes.
pub const NODE_CONFIG_LEN: usize = 52;

/// How requests are told apart on a transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// One request per datagram, a cookie in front.
    Datagram,
    /// A byte stream without cookies.
    Stream,
}

/// A command of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// `P`: are you alive?
    Ping,
    /// `G`: which addresses and ports are yours?
    NodeConfig,
    /// `S`: install a relay.
    Set(Result<Relay<'a>, Malformed>),
    /// `D`: remove a relay.
    Delete(Result<Relay<'a>, Malformed>),
}

/// The ten fields of an `S` or a `D`, as they came; each may be empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relay<'a> {
    /// Media address of the offerer, from the offer's SDP.
    pub src_ip: &'a [u8],
    /// Relay address the answerer was told.
    pub dst_ip: &'a [u8],
    /// Relay address the offerer was told.
    pub snat_ip: &'a [u8],
    /// Media address of the answerer, from the answer's SDP.
    pub dnat_ip: &'a [u8],
    /// Media port of the offerer, the text of its `m=` line.
    pub src_port: &'a [u8],
    /// Relay port the answerer was told.
    pub dst_port: &'a [u8],
    /// Relay port the offerer was told.
    pub snat_port: &'a [u8],
    /// Media port of the answerer, the text of its `m=` line.
    pub dnat_port: &'a [u8],
    /// Idle life in seconds; clients always send 60.
    pub timeout: &'a [u8],
    /// SIP Call-ID, any bytes but spaces and NUL.
    pub call_id: &'a [u8],
}

/// The letter of a command that has fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Letter {
    /// `S`
    Set,
    /// `D`
    Delete,
}

impl Relay<'_> {
    /// The command as a client sends it, without a cookie.
    pub fn encode(&self, letter: Letter) -> Vec<u8> {
        let letter: &[u8] = match letter {
            Letter::Set => b"S",
            Letter::Delete => b"D",
        };
        let tokens: [&[u8]; SPACES] = [
            letter,
            self.src_ip,
            self.dst_ip,
            self.snat_ip,
            self.dnat_ip,
            self.src_port,
            self.dst_port,
            self.snat_port,
            self.dnat_port,
            self.timeout,
            self.call_id,
        ];
        tokens
            .iter()
            .flat_map(|token| [*token, b" "])
            .collect::<Vec<_>>()
            .concat()
    }
}

/// Why an `S` or a `D` is no whole command.
///
/// Such frames come from clients whose buffers have run over (a Call-ID of more than
/// 48 bytes is enough). They are answered all the same: a client without answer stalls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The frame does not have exactly 11 spaces, or does not end with one.
    #[error("it does not consist of 11 tokens with a space after each")]
    Tokens,
    /// The frame is longer than [`FRAME_MAX`].
    #[error("it is longer than {FRAME_MAX} bytes")]
    TooLong,
    /// The frame contains a NUL byte.
    #[error("it contains a NUL byte")]
    Nul,
    /// The Call-ID is empty.
    #[error("its Call-ID is empty")]
    NoCallId,
}

/// Reads one request; `None` when it is to be left unanswered (no cookie on a datagram, or an
/// unknown letter).
pub fn decode(request: &[u8], framing: Framing) -> Option<Command<'_>> {
    let command = match framing {
        Framing::Stream => request,
        Framing::Datagram => {
            let cookie = request.iter().position(|&byte| byte == b' ')?;
            if cookie == 0 {
                return None;
            }
            request.get(cookie + 1..)?
        }
    };
    match command {
        b"P" => Some(Command::Ping),
        b"G" => Some(Command::NodeConfig),
        [b'S'] | [b'S', b' ', ..] => Some(Command::Set(relay(command, request.len()))),
        [b'D'] | [b'D', b' ', ..] => Some(Command::Delete(relay(command, request.len()))),
        _ => None,
    }
}

/// Splits an `S` or a `D` into its fields. Neighbouring spaces enclose an empty field.
fn relay(command: &[u8], frame_len: usize) -> Result<Relay<'_>, Malformed> {
    if frame_len > FRAME_MAX {
        return Err(Malformed::TooLong);
    }
    if command.contains(&0) {
        return Err(Malformed::Nul);
    }
    let mut tokens: [&[u8]; SPACES] = [&[]; SPACES];
    let mut rest = command;
    for token in &mut tokens {
        let space = rest
            .iter()
            .position(|&byte| byte == b' ')
            .ok_or(Malformed::Tokens)?;
        (*token, rest) = (&rest[..space], &rest[space + 1..]);
    }
    if !rest.is_empty() {
        return Err(Malformed::Tokens);
    }
    let [
        _letter,
        src_ip,
        dst_ip,
        snat_ip,
        dnat_ip,
        src_port,
        dst_port,
        snat_port,
        dnat_port,
        timeout,
        call_id,
    ] = tokens;
    if call_id.is_empty() {
        return Err(Malformed::NoCallId);
    }
    Ok(Relay {
        src_ip,
        dst_ip,
        snat_ip,
        dnat_ip,
        src_port,
        dst_port,
        snat_port,
        dnat_port,
        timeout,
        call_id,
    })
}

/// What the beginning of a stream holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A request of this many bytes.
    Complete(usize),
    /// The beginning of a request; more has to come.
    Partial,
    /// A request that has outgrown [`FRAME_MAX`]; its end cannot be found.
    TooLong,
    /// No request of this protocol; what follows cannot be told apart either.
    Unknown,
}

/// Finds the first request on a stream: `P` and `G` are one byte, `S` and `D` end with their
/// 11th space.
pub fn frame(stream: &[u8]) -> Frame {
    match stream {
        [] | [b'S' | b'D'] => Frame::Partial,
        [b'P' | b'G', ..] => Frame::Complete(1),
        [b'S' | b'D', b' ', ..] => {
            let bounded = &stream[..stream.len().min(FRAME_MAX)];
            let last = bounded
                .iter()
                .enumerate()
                .filter(|&(_, &byte)| byte == b' ')
                .nth(SPACES - 1);
            match last {
                Some((at, _)) => Frame::Complete(at + 1),
                None if stream.len() >= FRAME_MAX => Frame::TooLong,
                None => Frame::Partial,
            }
        }
        _ => Frame::Unknown,
    }
}

/// What `S` and `D` are answered with. Clients take both for success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// `OK`
    Ok,
    /// `ER`: suppresses the client's success log.
    Error,
}

/// The relay node as clients see it: the answer to `G`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeConfig {
    /// First port the client may hand out.
    pub start_port: u16,
    /// The client wraps to `start_port` after the first port at or above this one.
    pub end_port: u16,
    /// The port the client hands out next.
    pub current_port: u16,
    /// Relay address towards the inner network.
    pub internal_ip: Ipv4Addr,
    /// Relay address towards the outer network.
    pub external_ip: Ipv4Addr,
}

impl NodeConfig {
    /// The record on the wire: three 32-bit integers in the byte order of the host (clients
    /// copy them into a C structure; every machine this project runs on is little-endian), two
    /// addresses as NUL-padded text of 20 bytes each.
    pub fn encode(&self) -> [u8; NODE_CONFIG_LEN] {
        let mut record = [0; NODE_CONFIG_LEN];
        let ports = [self.start_port, self.end_port, self.current_port];
        for (slot, port) in record.chunks_exact_mut(4).zip(ports) {
            slot.copy_from_slice(&u32::from(port).to_le_bytes());
        }
        let addresses = [self.internal_ip, self.external_ip];
        for (slot, address) in record[12..].chunks_exact_mut(20).zip(addresses) {
            let text = address.to_string();
            slot[..text.len()].copy_from_slice(text.as_bytes());
        }
        record
    }

    /// Reads such a record; `None` when it is none, or names ports that there are not.
    pub fn decode(record: &[u8]) -> Option<Self> {
        let record: &[u8; NODE_CONFIG_LEN] = record.try_into().ok()?;
        let port = |slot: usize| {
            let number = record.get(4 * slot..)?.first_chunk()?;
            u16::try_from(i32::from_le_bytes(*number)).ok()
        };
        let address = |slot: usize| {
            let text = record.get(12 + 20 * slot..)?.get(..20)?;
            let end = text.iter().position(|byte| *byte == 0)?;
            std::str::from_utf8(&text[..end]).ok()?.parse().ok()
        };
        Some(Self {
            start_port: port(0)?,
            end_port: port(1)?,
            current_port: port(2)?,
            internal_ip: address(0)?,
            external_ip: address(1)?,
        })
    }
}

/// The answer to `P`.
pub fn pong(request: &[u8]) -> Vec<u8> {
    [request, b" PONG"].concat()
}

/// The answer to `G`.
pub fn node_config(request: &[u8], config: &NodeConfig) -> Vec<u8> {
    [request, b" ", &config.encode()].concat()
}

/// The answer to `S` and `D`, whole or malformed: always two bytes longer than the request.
pub fn verdict(request: &[u8], verdict: Verdict) -> Vec<u8> {
    let word: &[u8] = match verdict {
        Verdict::Ok => b"OK",
        Verdict::Error => b"ER",
    };
    [request, word].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SET: &[u8] = b"1041_2 S 192.0.2.10 203.0.113.5 10.0.0.5 10.0.0.20 4000 20000 20002 8000 60 a84b4c76e66710@pc33 ";

    fn fields(request: &[u8]) -> Result<Relay<'_>, Malformed> {
        match decode(request, Framing::Datagram) {
            Some(Command::Set(relay) | Command::Delete(relay)) => relay,
            other => panic!("neither S nor D: {other:?}"),
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_for_an_engine_is_what_an_engine_decodes(
            tokens in proptest::collection::vec("[!-~]{0,12}", 9),
            call_id in "[!-~]{1,48}",
            ports: [u16; 3],
            addresses: [[u8; 4]; 2],
        ) {
            let token = |index: usize| tokens[index].as_bytes();
            let relay = Relay {
                src_ip: token(0),
                dst_ip: token(1),
                snat_ip: token(2),
                dnat_ip: token(3),
                src_port: token(4),
                dst_port: token(5),
                snat_port: token(6),
                dnat_port: token(7),
                timeout: token(8),
                call_id: call_id.as_bytes(),
            };
            let (set, delete) = (relay.encode(Letter::Set), relay.encode(Letter::Delete));
            prop_assert_eq!(decode(&set, Framing::Stream), Some(Command::Set(Ok(relay))));
            prop_assert_eq!(decode(&delete, Framing::Stream), Some(Command::Delete(Ok(relay))));

            let [start_port, end_port, current_port] = ports;
            let [internal_ip, external_ip] = addresses.map(Ipv4Addr::from);
            let node = NodeConfig { start_port, end_port, current_port, internal_ip, external_ip };
            prop_assert_eq!(NodeConfig::decode(&node.encode()), Some(node));
        }

        #[test]
        fn no_record_does_any_harm(record in proptest::collection::vec(any::<u8>(), 0..60)) {
            let read = NodeConfig::decode(&record);
            prop_assert!(record.len() == NODE_CONFIG_LEN || read.is_none());
        }
    }

    #[test]
    fn a_record_with_a_port_that_there_is_not_is_none() {
        let mut record = [0; NODE_CONFIG_LEN];
        record[12..19].copy_from_slice(b"1.2.3.4");
        record[32..39].copy_from_slice(b"1.2.3.4");
        assert!(NodeConfig::decode(&record).is_some());
        for number in [-1_i32, 65_536] {
            record[4..8].copy_from_slice(&number.to_le_bytes());
            assert_eq!(NodeConfig::decode(&record), None, "{number}");
        }
    }

    #[test]
    fn a_ping_without_cookie_is_not_answered_over_udp() {
        assert_eq!(decode(b"P", Framing::Datagram), None);
        assert_eq!(decode(b" P", Framing::Datagram), None);
        assert_eq!(decode(b"", Framing::Datagram), None);
        assert_eq!(
            decode(b"-2147483648_4294967295 P", Framing::Datagram),
            Some(Command::Ping)
        );
        assert_eq!(decode(b"P", Framing::Stream), Some(Command::Ping));
    }

    #[test]
    fn unknown_letters_are_not_answered() {
        for request in [
            &b"1_0 X"[..],
            b"1_0 ",
            b"1_0 PING",
            b"1_0 p",
            b"1_0 SET a",
            b"1_0 S\0",
        ] {
            assert_eq!(decode(request, Framing::Datagram), None, "{request:?}");
        }
    }

    #[test]
    fn the_fields_of_a_set_come_in_the_order_of_the_sheet() {
        let relay = fields(SET).expect("whole");
        assert_eq!(relay.src_ip, b"192.0.2.10");
        assert_eq!(relay.dst_ip, b"203.0.113.5");
        assert_eq!(relay.snat_ip, b"10.0.0.5");
        assert_eq!(relay.dnat_ip, b"10.0.0.20");
        assert_eq!(relay.src_port, b"4000");
        assert_eq!(relay.dst_port, b"20000");
        assert_eq!(relay.snat_port, b"20002");
        assert_eq!(relay.dnat_port, b"8000");
        assert_eq!(relay.timeout, b"60");
        assert_eq!(relay.call_id, b"a84b4c76e66710@pc33");
        assert_eq!(verdict(SET, Verdict::Ok).len(), 98);
    }

    #[test]
    fn empty_tokens_stay_in_their_places() {
        let relay =
            fields(b"15728_2 D 127.0.0.11 127.0.0.21   40000 20000   60 1-15734@127.0.0.1 ")
                .expect("whole");
        assert_eq!(relay.dst_ip, b"127.0.0.21");
        assert_eq!((relay.snat_ip, relay.dnat_ip), (&b""[..], &b""[..]));
        assert_eq!(relay.dst_port, b"20000");
        assert_eq!((relay.snat_port, relay.dnat_port), (&b""[..], &b""[..]));
        assert_eq!(relay.call_id, b"1-15734@127.0.0.1");
    }

    #[test]
    fn overflowed_frames_are_malformed_but_still_commands() {
        let without_last_space = SET.strip_suffix(b" ").expect("ends with a space");
        assert_eq!(fields(without_last_space), Err(Malformed::Tokens));
        assert_eq!(fields(b"1_0 S"), Err(Malformed::Tokens));
        assert_eq!(fields(b"1_0 S 1 2 3 "), Err(Malformed::Tokens));
        assert_eq!(fields(&[SET, b"x "].concat()), Err(Malformed::Tokens));
        assert_eq!(
            fields(b"1_0 S 1 2 3 4 40000 20000 20002 41000 \x000 1-aaaa "),
            Err(Malformed::Nul)
        );
        assert_eq!(
            fields(b"1_0 S 1 2 3 4 5 6 7 8 60  "),
            Err(Malformed::NoCallId)
        );
        let long = [b"1_0 S 1 2 3 4 5 6 7 8 60 ", &[b'x'; 230][..], b" "].concat();
        assert_eq!(fields(&long), Err(Malformed::TooLong));
    }

    #[test]
    fn a_call_id_may_be_any_bytes() {
        let relay = fields(b"1_0 S 1 2 3 4 5 6 7 8 60 \xff\xfe(<:@>)\x80 ").expect("whole");
        assert_eq!(relay.call_id, b"\xff\xfe(<:@>)\x80");
    }

    #[test]
    fn a_frame_of_253_bytes_is_the_longest() {
        let frame = |len: usize| {
            let head = b"1_0 S 1 2 3 4 5 6 7 8 60 ";
            [&head[..], &vec![b'x'; len - head.len() - 1], b" "].concat()
        };
        assert!(fields(&frame(253)).is_ok());
        assert_eq!(fields(&frame(254)), Err(Malformed::TooLong));
    }

    #[test]
    fn the_node_record_is_that_of_the_sheet() {
        let config = NodeConfig {
            start_port: 20000,
            end_port: 30000,
            current_port: 20000,
            internal_ip: Ipv4Addr::new(10, 0, 0, 5),
            external_ip: Ipv4Addr::new(203, 0, 113, 5),
        };
        let expected = [
            0x20, 0x4e, 0x00, 0x00, 0x30, 0x75, 0x00, 0x00, 0x20, 0x4e, 0x00, 0x00, 0x31, 0x30,
            0x2e, 0x30, 0x2e, 0x30, 0x2e, 0x35, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
            0x00, 0x00, 0x00, 0x00, 0x32, 0x30, 0x33, 0x2e, 0x30, 0x2e, 0x31, 0x31, 0x33, 0x2e,
            0x35, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        ];
        assert_eq!(config.encode(), expected);
        assert_eq!(node_config(b"1041_1 G", &config).len(), 61);
    }

    #[test]
    fn the_longest_addresses_keep_a_nul_inside_their_field() {
        let config = NodeConfig {
            start_port: 65000,
            end_port: 65528,
            current_port: 65004,
            internal_ip: Ipv4Addr::BROADCAST,
            external_ip: Ipv4Addr::BROADCAST,
        };
        let record = config.encode();
        assert_eq!((record[31], record[51]), (0, 0));
    }

    #[test]
    fn a_stream_frame_ends_at_its_eleventh_space() {
        let set = &SET[7..];
        assert_eq!(frame(set), Frame::Complete(set.len()));
        assert_eq!(frame(&[set, b"P"].concat()), Frame::Complete(set.len()));
        for len in 0..set.len() {
            assert_eq!(frame(&set[..len]), Frame::Partial, "{len}");
        }
        assert_eq!(frame(b"PG"), Frame::Complete(1));
        assert_eq!(frame(b"G"), Frame::Complete(1));
        assert_eq!(frame(b"X"), Frame::Unknown);
        assert_eq!(frame(b"SX"), Frame::Unknown);
        assert_eq!(frame(&[b"S ", &[b'x'; 250][..]].concat()), Frame::Partial);
        assert_eq!(frame(&[b"S ", &[b'x'; 251][..]].concat()), Frame::TooLong);
        assert_eq!(frame(&[b"S ", &[b'x'; 4000][..]].concat()), Frame::TooLong);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_codec_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            decode(&bytes, Framing::Datagram);
            decode(&bytes, Framing::Stream);
            frame(&bytes);
        }

        #[test]
        fn fields_joined_by_spaces_come_back(
            cookie in "[!-~]{1,22}",
            fields in proptest::array::uniform9("[!-~]{0,18}"),
            call_id in "[!-~]{1,30}",
        ) {
            let text = format!("{cookie} S {} {call_id} ", fields.join(" "));
            prop_assume!(text.len() <= FRAME_MAX);
            let relay = match decode(text.as_bytes(), Framing::Datagram) {
                Some(Command::Set(Ok(relay))) => relay,
                other => return Err(TestCaseError::fail(format!("{other:?}"))),
            };
            let back = [
                relay.src_ip, relay.dst_ip, relay.snat_ip, relay.dnat_ip, relay.src_port,
                relay.dst_port, relay.snat_port, relay.dnat_port, relay.timeout,
            ];
            for (field, back) in fields.iter().zip(back) {
                prop_assert_eq!(field.as_bytes(), back);
            }
            prop_assert_eq!(relay.call_id, call_id.as_bytes());
        }

        #[test]
        fn a_stream_cut_anywhere_yields_the_same_frames(
            requests in proptest::collection::vec(
                prop_oneof![
                    Just(b"P".to_vec()),
                    Just(b"G".to_vec()),
                    Just(b"S 1 2 3 4 5 6 7 8 60 x ".to_vec()),
                    Just(b"D 1 2   5 6   60 x ".to_vec()),
                ],
                1..6,
            ),
            step in 1usize..9,
        ) {
            let stream = requests.concat();
            let (mut buffer, mut found) = (Vec::new(), Vec::new());
            for piece in stream.chunks(step) {
                buffer.extend_from_slice(piece);
                while let Frame::Complete(len) = frame(&buffer) {
                    found.push(buffer.drain(..len).collect::<Vec<u8>>());
                }
            }
            prop_assert_eq!(found, requests);
        }
    }
}
