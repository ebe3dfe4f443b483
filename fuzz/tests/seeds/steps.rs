// SPDX-License-Identifier: MIT OR Apache-2.0

//! Histories, as the crate `arbitrary` reads them: numbers are little-endian, an element of a list
//! and an option that is there have a 1 before them, and of an enumeration the upper bits tell which
//! one it is.

use crate::Seeds;

/// Which one of an enumeration.
fn variant(number: u64, of: u64) -> Vec<u8> {
    let least = (number << 32).div_ceil(of);
    u32::try_from(least)
        .expect("one of these")
        .to_le_bytes()
        .to_vec()
}

/// A list and its end.
fn list(elements: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes: Vec<u8> = elements
        .iter()
        .flat_map(|element| [&[1], &element[..]].concat())
        .collect();
    bytes.push(0);
    bytes
}

fn option(value: Option<Vec<u8>>) -> Vec<u8> {
    value.map_or(vec![0], |value| [vec![1], value].concat())
}

fn number(number: u16) -> Vec<u8> {
    number.to_le_bytes().to_vec()
}

/// A host and a port.
fn source(host: u8, port: u16) -> Vec<u8> {
    [vec![host], number(port)].concat()
}

pub fn learning() -> Seeds {
    const EVENTS: u64 = 3;
    const RTP: u8 = 4;
    let policy = |is_nat: bool, is_rtcp: bool, media, signalling: Option<u8>, roam| {
        [
            vec![is_nat.into(), is_rtcp.into()],
            option(media),
            option(signalling.map(|host| vec![host])),
            // Any synchronisation source; three packets confirm.
            option(None),
            vec![3],
            number(2000),
            number(500),
            option(roam),
        ]
        .concat()
    };
    let packet = |host: u8, port: u8, class: u8, sequence: u16, is_own: bool| {
        let numbers = vec![host, port, class, 1];
        [
            variant(0, EVENTS),
            numbers,
            number(sequence),
            vec![is_own.into()],
        ]
        .concat()
    };
    let time = |ms| [variant(1, EVENTS), number(ms)].concat();
    let signalled = |media| [variant(2, EVENTS), option(media)].concat();
    let settling =
        |host, port| (0..4).map(move |sequence| packet(host, port, RTP, sequence, false));
    let seed = |policy: Vec<u8>, events: &[Vec<u8>]| [policy, list(events)].concat();
    let at_home = Some(source(0, 40));
    let nat = || policy(true, false, Some(source(0, 40)), None, None);
    let then = |host, port, more: Vec<Vec<u8>>| [settling(host, port).collect(), more].concat();
    vec![
        ("signalled", {
            let policy = policy(false, false, at_home.clone(), None, None);
            seed(policy, &then(0, 40, vec![packet(0, 41, RTP, 4, false)]))
        }),
        ("learned-behind-nat", seed(nat(), &then(0, 99, vec![]))),
        ("stranger-after-settling", {
            seed(nat(), &then(0, 99, vec![packet(1, 99, RTP, 4, false)]))
        }),
        ("neighbour-within-window", {
            seed(
                nat(),
                &then(8, 99, vec![time(100), packet(0, 40, RTP, 9, false)]),
            )
        }),
        ("neighbour-after-window", {
            seed(
                nat(),
                &then(8, 99, vec![time(3000), packet(0, 40, RTP, 9, false)]),
            )
        }),
        ("silent-before-settling", {
            let events = [
                packet(8, 1, RTP, 0, false),
                time(501),
                packet(16, 1, RTP, 1, false),
            ];
            seed(nat(), &events)
        }),
        ("roaming", {
            let roam = Some([number(1000), number(500)].concat());
            let moved = vec![
                time(2000),
                packet(8, 7, RTP, 10, false),
                packet(8, 7, RTP, 11, false),
            ];
            seed(
                policy(true, false, at_home.clone(), None, roam),
                &then(0, 99, moved),
            )
        }),
        ("roaming-too-far-ahead", {
            let roam = Some([number(1000), number(5)].concat());
            let moved = vec![time(2000), packet(8, 7, RTP, 900, false)];
            seed(
                policy(true, false, at_home.clone(), None, roam),
                &then(0, 99, moved),
            )
        }),
        ("own-address", seed(nat(), &[packet(0, 40, RTP, 0, true)])),
        ("signalled-again", {
            let moved = vec![signalled(Some(source(1, 50))), packet(1, 50, RTP, 5, false)];
            seed(nat(), &then(0, 99, moved))
        }),
        (
            "held",
            seed(
                nat(),
                &then(0, 99, vec![signalled(None), packet(0, 99, RTP, 5, false)]),
            ),
        ),
        ("by-signalling-address", {
            seed(
                policy(true, false, None, Some(2), None),
                &then(2, 99, vec![]),
            )
        }),
        ("rtcp", {
            let policy = policy(true, true, at_home.clone(), None, None);
            seed(
                policy,
                &[packet(0, 41, 0, 0, false), packet(0, 41, 0, 0, false)],
            )
        }),
        ("ipv6", {
            let policy = policy(true, false, Some(source(4, 40)), None, None);
            seed(policy, &then(12, 99, vec![packet(5, 99, RTP, 4, false)]))
        }),
        (
            "stun-and-dtls",
            seed(
                nat(),
                &[packet(0, 40, 1, 0, false), packet(0, 40, 2, 0, false)],
            ),
        ),
        ("nothing-happens", seed(nat(), &[])),
    ]
}

pub fn rtp_quality() -> Seeds {
    let packet = |source: u8, payload_type: u8, ahead: i8, jump: Option<u16>, after: u32| {
        let ahead = ahead.to_le_bytes()[0];
        [
            vec![source, payload_type, ahead],
            option(jump.map(number)),
            160_u32.to_le_bytes().to_vec(),
            after.to_le_bytes().to_vec(),
        ]
        .concat()
    };
    let run = |steps: &[i8]| -> Vec<Vec<u8>> {
        let packets = steps
            .iter()
            .map(|ahead| packet(1, 0, *ahead, None, 20_000_000));
        packets.collect()
    };
    let jumping = |jumps: &[u16]| -> Vec<Vec<u8>> {
        let packets = jumps
            .iter()
            .map(|to| packet(1, 8, 0, Some(*to), 20_000_000));
        packets.collect()
    };
    vec![
        ("in-order", list(&run(&[1; 10]))),
        ("lost", list(&run(&[1, 1, 3, 1, 5, 1]))),
        ("reordered", list(&run(&[1, 2, -1, 2, 1]))),
        ("duplicates", list(&run(&[1, 1, 0, 0, 1]))),
        ("wraps", list(&jumping(&[65_533, 65_534, 65_535, 0, 1, 2]))),
        ("jumps", list(&jumping(&[1, 2, 40_000, 3, 50_000, 4]))),
        ("restarts", list(&jumping(&[1, 2, 40_000, 40_001, 40_002]))),
        ("late-by-far", list(&jumping(&[1000, 1001, 1, 1002]))),
        ("another-source", {
            let of = |source| packet(source, 0, 1, None, 20_000_000);
            list(&[of(0), of(0), of(1), of(1), of(2), of(0)])
        }),
        ("another-payload-type", {
            let of = |payload_type| packet(1, payload_type, 1, None, 20_000_000);
            list(&[of(0), of(9), of(96), of(13), of(127), of(255)])
        }),
        ("all-at-once", list(&vec![packet(1, 0, 1, None, 0); 10])),
        (
            "far-apart",
            list(&vec![packet(1, 0, 1, None, u32::MAX); 10]),
        ),
    ]
}

pub fn controller() -> Seeds {
    const STEPS: u64 = 9;
    let step = |number: u64, fields: &[u8]| [variant(number, STEPS), fields.to_vec()].concat();
    let ask = |delete: bool, call: u8, block: u8| step(0, &[delete.into(), call, block, 12]);
    let (set, delete) = (
        |call, block| ask(false, call, block),
        |call, block| ask(true, call, block),
    );
    let say = |is_unix: bool, text: &[u8]| {
        let bytes: Vec<_> = text.iter().map(|byte| vec![*byte]).collect();
        step(1, &[&[is_unix.into()][..], &list(&bytes)].concat())
    };
    let end = |fate: u8| step(2, &[0, fate]);
    let (done, full, lost, done_but_lost) = (end(7), end(0), end(1), end(2));
    let expire = |is_told: bool| step(3, &[0, 0, is_told.into()]);
    let deaf = |tsl: u8| step(4, &[tsl]);
    let wait = |ms: u16| step(5, &ms.to_le_bytes());
    let drain = |is_on: bool| step(6, &[is_on.into()]);
    let enable = |tsl: u8, is_on: bool| step(7, &[tsl, is_on.into()]);
    let reload = |sessions_max: u8| step(8, &[sessions_max]);
    // Both TSLs are opened, which takes a few commands each.
    let opened = |more: &[Vec<u8>]| list(&[&vec![done.clone(); 12][..], more].concat());
    let d = &done;
    vec![
        ("nothing-happens", list(&[])),
        ("opened", opened(&[])),
        (
            "call",
            opened(&[set(1, 0), d.clone(), delete(1, 0), d.clone()]),
        ),
        (
            "call-changed",
            opened(&[set(1, 0), d.clone(), set(1, 1), d.clone(), d.clone()]),
        ),
        (
            "asked-again",
            opened(&[set(1, 0), set(1, 0), d.clone(), set(1, 0)]),
        ),
        (
            "deleted-before-it-is-there",
            opened(&[set(1, 0), delete(1, 0), d.clone(), d.clone()]),
        ),
        (
            "deleted-twice",
            opened(&[set(1, 0), d.clone(), delete(1, 0), delete(1, 0), d.clone()]),
        ),
        (
            "port-taken-over",
            opened(&[set(1, 0), d.clone(), set(2, 0), d.clone()]),
        ),
        (
            "refused-for-room",
            opened(&[set(1, 0), full, set(2, 1), d.clone()]),
        ),
        (
            "no-answer",
            opened(&[set(1, 0), lost, wait(60_000), d.clone(), d.clone()]),
        ),
        (
            "done-without-answer",
            opened(&[set(1, 0), done_but_lost, wait(60_000), d.clone()]),
        ),
        (
            "expired",
            opened(&[set(1, 0), d.clone(), expire(true), delete(1, 0), d.clone()]),
        ),
        (
            "expired-unseen",
            opened(&[set(1, 0), d.clone(), expire(false), d.clone(), set(1, 0)]),
        ),
        (
            "events-end",
            opened(&[
                set(1, 0),
                d.clone(),
                deaf(0),
                wait(5000),
                d.clone(),
                d.clone(),
            ]),
        ),
        (
            "before-it-is-opened",
            list(&[set(1, 0), d.clone(), wait(1000), d.clone()]),
        ),
        (
            "drained",
            opened(&[
                set(1, 0),
                d.clone(),
                drain(true),
                set(2, 1),
                delete(1, 0),
                d.clone(),
            ]),
        ),
        (
            "disabled",
            opened(&[
                enable(0, false),
                set(1, 0),
                d.clone(),
                enable(1, false),
                set(2, 1),
            ]),
        ),
        (
            "reloaded",
            opened(&[
                set(1, 0),
                d.clone(),
                reload(1),
                d.clone(),
                set(2, 1),
                d.clone(),
            ]),
        ),
        (
            "words",
            opened(&[
                say(false, b"1_0 P"),
                say(true, b"G"),
                say(true, b"S 1 2"),
                say(false, b""),
            ]),
        ),
    ]
}
