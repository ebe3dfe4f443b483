// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is said about answers that are not as they should be.

use genl_proto::generated::{
    Command, EndReason, config, counters, drops, endpoint, port_range, session, stream, totals,
};
use genl_proto::{Answer, Counters, NewSession, Problem, Request, SessionState, Totals};

use crate::wire::{self, attribute, nest};

fn ended() -> Vec<Vec<u8>> {
    let state = SessionState {
        id: 1,
        label: b"x".to_vec(),
        owner: 0,
        timeout_ms: 1000,
        streams: vec![],
        age_ms: 2,
        idle_ms: 1,
    };
    wire::answer(&Answer::Ended(state, EndReason::Expired))
}

#[track_caller]
fn is_refused(command: Command, attributes: &[Vec<u8>], text: &str) {
    let error = Answer::decode(command, &attributes.concat()).unwrap_err();
    assert_eq!(error.to_string(), text);
}

#[test]
fn a_missing_attribute_is_named() {
    let names = [
        "id",
        "label",
        "owner",
        "timeout-ms",
        "age-ms",
        "idle-ms",
        "end-reason",
    ];
    let attributes = ended();
    assert_eq!(attributes.len(), names.len());
    for (index, name) in names.into_iter().enumerate() {
        let mut attributes = attributes.clone();
        attributes.remove(index);
        is_refused(
            Command::SessionEnded,
            &attributes,
            &format!("{name}: missing"),
        );
    }
}

#[test]
fn a_request_for_more_than_is_understood_is_refused_wherever_it_asks() {
    let unknown = attribute(999, &[]);
    let new = NewSession {
        label: b"x".to_vec(),
        owner: 1,
        timeout_ms: 1000,
        streams: vec![],
        replace: false,
    };
    let plain = wire::new_session(&new);
    let read = |attributes: &[Vec<u8>]| Request::decode(Command::SessionNew, &attributes.concat());
    assert_eq!(read(&plain), Ok(Request::SessionNew(new)));
    let mut attributes = plain.clone();
    attributes.push(unknown.clone());
    let text = read(&attributes).unwrap_err().to_string();
    assert_eq!(text, "attribute 999 is not known");
    let kind = attribute(stream::KIND, &0u32.to_ne_bytes());
    let a = nest(stream::A, &[unknown]);
    let mut attributes = plain;
    attributes.push(nest(session::STREAM, &[kind, a]));
    let text = read(&attributes).unwrap_err().to_string();
    assert_eq!(text, "stream: a: attribute 999 is not known");
}

#[test]
fn half_of_a_range_or_of_the_limits_is_not_passed_over() {
    let port = attribute(port_range::FIRST, &7u16.to_ne_bytes());
    let range = nest(config::PORT_RANGE, &[port]);
    let error = Request::decode(Command::ConfigSet, &range).unwrap_err();
    assert_eq!(error.to_string(), "port-range: last: missing");
    let limit = attribute(config::HALF_OPEN_MAX, &7u32.to_ne_bytes());
    let error = Request::decode(Command::ConfigSet, &limit).unwrap_err();
    assert_eq!(error.to_string(), "sessions-max: missing");
}

#[test]
fn what_is_told_is_no_request() {
    for command in [Command::SessionEnded, Command::Alarm, Command::Report] {
        let error = Request::decode(command, &[]).unwrap_err();
        assert_eq!(error.problem(), Problem::Command(command as u8));
    }
}

#[test]
fn an_attribute_is_named_with_the_nests_around_it() {
    let kind = attribute(stream::KIND, &0u32.to_ne_bytes());
    let address = attribute(endpoint::LOCAL_ADDRESS, &[192, 0, 2, 1]);
    let a = nest(stream::A, &[address]);
    let mut attributes = ended();
    attributes.push(nest(session::STREAM, &[kind, a]));
    is_refused(
        Command::SessionGet,
        &attributes,
        "stream: a: local-port: missing",
    );
}

#[test]
fn half_a_remote_is_refused() {
    let kind = attribute(stream::KIND, &0u32.to_ne_bytes());
    let half = [
        attribute(endpoint::LOCAL_ADDRESS, &[192, 0, 2, 1]),
        attribute(endpoint::LOCAL_PORT, &[1, 0]),
        attribute(endpoint::REMOTE_PORT, &[1, 0]),
    ];
    let mut attributes = ended();
    attributes.push(nest(session::STREAM, &[kind, nest(stream::A, &half)]));
    is_refused(
        Command::SessionGet,
        &attributes,
        "stream: a: remote-address: missing",
    );
}

#[test]
fn a_value_of_the_wrong_length_is_refused() {
    for (id, length, name) in [
        (session::ID, 5, "id"),
        (session::OWNER, 0, "owner"),
        (session::OWNER, 8, "owner"),
        (session::AGE_MS, 2, "age-ms"),
    ] {
        let mut attributes = ended();
        attributes.push(attribute(id, &vec![0; length]));
        is_refused(
            Command::SessionGet,
            &attributes,
            &format!("{name}: a value of {length} bytes does not fit the type"),
        );
    }
}

#[test]
fn a_value_outside_its_enumeration_is_refused() {
    let mut attributes = ended();
    attributes.push(attribute(session::END_REASON, &99u32.to_ne_bytes()));
    is_refused(
        Command::SessionEnded,
        &attributes,
        "end-reason: 99 is not a known value",
    );

    let dropped = [
        attribute(drops::REASON, &99u32.to_ne_bytes()),
        attribute(drops::PACKETS, &1u32.to_ne_bytes()),
    ];
    let relayed = [
        attribute(counters::PACKETS, &0u32.to_ne_bytes()),
        attribute(counters::BYTES, &0u32.to_ne_bytes()),
        nest(counters::DROPS, &dropped),
    ];
    let mut attributes = wire::answer(&Answer::Totals(Totals::default()));
    attributes.push(nest(totals::RELAYED, &relayed));
    is_refused(
        Command::TotalsGet,
        &attributes,
        "relayed: drops: reason: 99 is not a known value",
    );
}

#[test]
fn a_version_that_is_no_text_is_refused() {
    let attributes = [
        attribute(1, &1u32.to_ne_bytes()),
        attribute(2, &[0xff, 0xfe, 0]),
    ];
    is_refused(Command::ConfigGet, &attributes, "module-version: not UTF-8");
}

#[test]
fn truncated_attributes_are_refused() {
    let whole = ended().concat();
    let error = Answer::decode(Command::SessionEnded, &whole[..whole.len() - 1]).unwrap_err();
    assert_eq!(error.problem(), Problem::Truncated);
    let too_short = [[3, 0, 1, 0].to_vec()]; // its own header does not fit
    is_refused(Command::SessionGet, &too_short, "truncated attribute");
    let mut attributes = ended();
    attributes.push(attribute(session::STREAM, &[9]));
    is_refused(
        Command::SessionGet,
        &attributes,
        "stream: truncated attribute",
    );
}

#[test]
fn unknown_attributes_are_skipped() {
    let plain = ended();
    let mut attributes = plain.clone();
    attributes.insert(0, attribute(session::MAX + 1, b"from a later module"));
    attributes.push(attribute(0, &[]));
    assert_eq!(
        Answer::decode(Command::SessionEnded, &attributes.concat()),
        Answer::decode(Command::SessionEnded, &plain.concat()),
    );
}

#[test]
fn the_last_of_two_values_counts() {
    let mut attributes = ended();
    attributes.push(attribute(session::OWNER, &42u32.to_ne_bytes()));
    let Ok(Answer::Session(state)) = Answer::decode(Command::SessionGet, &attributes.concat())
    else {
        panic!("not a session");
    };
    assert_eq!(state.owner, 42);
}

#[test]
fn commands_that_are_only_acknowledged_have_no_answer() {
    for command in [
        Command::SessionSet,
        Command::SessionBulkDel,
        Command::ConfigSet,
    ] {
        let number = command as u8;
        is_refused(
            command,
            &[],
            &format!("no such message has command {number}"),
        );
    }
}

#[test]
fn a_label_too_long_for_netlink_is_refused_before_it_is_sent() {
    let session = |length| NewSession {
        label: vec![b'x'; length],
        owner: 0,
        timeout_ms: 1000,
        streams: vec![],
        replace: false,
    };
    assert!(Request::SessionNew(session(65_531)).encode().is_ok());
    let error = Request::SessionNew(session(65_532)).encode().unwrap_err();
    assert_eq!(
        error.to_string(),
        "a netlink attribute holds 65531 bytes at most, not 65532"
    );
    assert!(
        Request::SessionBulkNew(vec![session(65_531)])
            .encode()
            .is_err()
    );
}

#[test]
fn drops_tell_only_reasons_that_were_met() {
    use genl_proto::generated::DropReason::{Held, NoRoute, TooBig};
    let drops = [(Held, 1), (NoRoute, 0), (Held, 2), (TooBig, u64::MAX)];
    let counters = Counters {
        drops: drops.into_iter().collect(),
        ..Counters::default()
    };
    let met: Vec<_> = counters.drops.iter().collect();
    assert_eq!(met, [(Held, 3), (TooBig, u64::MAX)]);
    assert_eq!(counters.drops.get(Held), 3);
    assert_eq!(counters.drops.get(NoRoute), 0);
    assert_eq!(counters.drops.total(), u64::MAX);
}
