// SPDX-License-Identifier: MIT OR Apache-2.0

//! The kernel tree's own netlink client (tools/net/ynl) knows the family from its specification
//! alone.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::{Value, json};

use super::fixture::{
    CALLEE_RTP, CALLER_RTP, EAST_RTP, LOCALS, PORTS, WEST_RTP, expect, idle_relay, rtcp_of,
};
use super::{Test, tests};
use crate::guest::lab::Lab;
use crate::guest::netns::Namespace;
use crate::guest::process::Process;
use crate::guest::rtp::Party;
use crate::guest::wait::{LIMIT, until};

pub const TESTS: &[Test] = tests![the_kernels_own_client_drives_the_relay];

const SPECIFICATION: &str = include_str!("../../../genl-proto/lreproxy.yaml");

/// Where the guest's image keeps it (scripts/guest/make-image).
const CLIENT: &str = "/usr/share/ynl/tools/net/ynl/pyynl/cli.py";

/// What the kernel tree wants of a specification of a generic netlink family (JSON schema).
const SCHEMA: &str = "/usr/share/ynl/Documentation/netlink/genetlink.yaml";

/// The client in a namespace.
struct Ynl<'a> {
    lab: &'a Lab,
    namespace: &'a Namespace,
    specification: String,
}

impl Ynl<'_> {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.namespace.command("python3");
        command
            .args(["-u", CLIENT, "--output-json", "--spec"])
            .arg(&self.specification)
            .args(arguments);
        command
    }

    /// Runs it once and returns what it answered.
    fn ask(&self, arguments: &[&str]) -> Result<Value> {
        self.lab.step(arguments.join(" "));
        let text = crate::guest::shell::run(&mut self.command(arguments))?;
        serde_json::from_str(&text).with_context(|| format!("the client said {text}"))
    }

    fn run(&self, operation: &str, request: &Value) -> Result<Value> {
        let request = request.to_string();
        self.ask(&["--no-schema", "--do", operation, "--json", &request])
    }
}

fn the_kernels_own_client_drives_the_relay(lab: &Lab) -> Result<()> {
    let (net, relay) = idle_relay(lab)?;
    let specification = lab.file("lreproxy.yaml");
    fs::write(&specification, SPECIFICATION).context("cannot write the specification")?;
    let ynl = Ynl {
        lab,
        namespace: &net.relay,
        specification: specification.display().to_string(),
    };

    let settings = json!({
        "port-range": [
            { "first": PORTS.0, "last": PORTS.1 + 10 }, { "first": 40_000, "last": 40_001 },
        ],
        "local-address": LOCALS.map(|address| address.to_string()),
    });
    ynl.run("config-set", &settings)?;
    // The specification is what the kernel tree wants of one. To look at it takes the guest seconds.
    let told = ynl.ask(&["--schema", SCHEMA, "--do", "config-get"])?;
    for name in ["port-range", "local-address"] {
        ensure!(told[name] == settings[name], "{name}: {told}");
    }
    let config = relay.config()?;
    ensure!(
        config.ports == [(PORTS.0, PORTS.1 + 10), (40_000, 40_001)],
        "{config:?}"
    );
    ensure!(config.addresses == LOCALS, "{config:?}");

    let endpoint = |local: SocketAddr, remote: SocketAddr| {
        json!({
            "local-address": local.ip().to_string(), "local-port": local.port(),
            "remote-address": remote.ip().to_string(), "remote-port": remote.port(),
        })
    };
    let call = json!({
        // Bytes are given in hexadecimal: "call".
        "label": "63616c6c", "owner": 7, "timeout-ms": 60_000,
        "stream": [
            {
                "kind": "rtp",
                "a": endpoint(WEST_RTP, CALLER_RTP), "b": endpoint(EAST_RTP, CALLEE_RTP),
            },
            {
                "kind": "rtcp",
                "a": endpoint(rtcp_of(WEST_RTP), rtcp_of(CALLER_RTP)),
                "b": endpoint(rtcp_of(EAST_RTP), rtcp_of(CALLEE_RTP)),
            },
        ],
    });
    let made = ynl.run("session-new", &call)?;
    let id = made["id"].as_u64().context("no id")?;

    // The session relays.
    let caller = Party::new(&net.caller, CALLER_RTP)?;
    let _callee = Party::new(&net.callee, CALLEE_RTP)?;
    let sent = caller.send_rtp(WEST_RTP, 0..10)?;
    expect(&net.at_callee, EAST_RTP, CALLEE_RTP, &sent)?;

    // The callee moves and comes back, and one session is told as all of them are.
    let elsewhere = SocketAddr::new(CALLEE_RTP.ip(), 42_000);
    let moved = json!({ "id": id, "stream": [{
        "kind": "rtp", "a": endpoint(WEST_RTP, CALLER_RTP), "b": endpoint(EAST_RTP, elsewhere),
    }] });
    ynl.run("session-set", &moved)?;
    let told = ynl.run("session-get", &json!({ "id": id }))?;
    ensure!(
        told["stream"][0]["b"] == moved["stream"][0]["b"]
            && told["stream"][1]["b"] == call["stream"][1]["b"],
        "{told}"
    );
    let back = json!({ "id": id, "stream": [call["stream"][0]] });
    ynl.run("session-set", &back)?;

    let told = ynl.ask(&["--no-schema", "--dump", "session-get"])?;
    let [session] = told.as_array().context("no list")?.as_slice() else {
        return Err(anyhow!("not one session: {told}"));
    };
    for name in ["label", "owner", "timeout-ms"] {
        ensure!(session[name] == call[name], "{name}: {session}");
    }
    ensure!(session["id"] == id, "{session}");
    for (number, stream) in session["stream"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
    {
        for name in ["kind", "a", "b"] {
            ensure!(stream[name] == call["stream"][number][name], "{session}");
        }
    }
    ensure!(session["stream"][0]["from-a"]["packets"] == 10, "{session}");

    let events = lab.file("events.json");
    let mut subscribe =
        ynl.command(&["--no-schema", "--subscribe", "events", "--duration", "3600"]);
    let _listener = Process::start("the client", &mut subscribe, &events)?;
    let ended = ynl.run("session-del", &json!({ "id": id }))?;
    ensure!(
        ended["id"] == id && ended["label"] == call["label"],
        "{ended}"
    );
    ensure!(relay.sessions()?.is_empty(), "the session is still there");
    // When it listens is not known: sessions end until it has heard of one.
    let event = until("an event the client tells", LIMIT, || {
        let id = relay.make(&super::fixture::session())?;
        relay.end(id)?;
        let text = fs::read_to_string(&events).context("cannot read what the client heard")?;
        let line = text.lines().next().map(serde_json::from_str::<Value>);
        line.transpose()
            .with_context(|| format!("the client said {text}"))
    })?;
    ensure!(event["name"] == "session-ended", "{event}");
    ensure!(event["msg"]["end-reason"] == "deleted", "{event}");

    // Several at once, and all at once.
    let single = |number: u16| {
        let at = |local: SocketAddr| SocketAddr::new(local.ip(), local.port() + 4 * number);
        json!({ "owner": number, "timeout-ms": 60_000, "label": "6f", "stream": [{
            "kind": "udp",
            "a": endpoint(at(WEST_RTP), CALLER_RTP), "b": endpoint(at(EAST_RTP), CALLEE_RTP),
        }] })
    };
    let several = [1, 2, 3].map(single);
    let made = ynl.run("session-bulk-new", &json!({ "session": several }))?;
    let ids = made["id"].as_array().context("no ids")?;
    ensure!(ids.len() == 3, "{made}");
    ynl.run("session-bulk-del", &json!({ "id": [ids[0]] }))?;
    let ended = ynl.run("session-flush", &json!({ "owner": 2 }))?;
    ensure!(ended["ended"] == 1, "{ended}");
    let totals = ynl.run("totals-get", &json!({}))?;
    ensure!(totals["sessions"] == 1, "{totals}");
    ensure!(totals["relayed"]["packets"] == 10, "{totals}");
    let left: Vec<_> = relay.sessions()?.iter().map(|one| one.id).collect();
    ensure!(ids[2] == left[0] && left.len() == 1, "{left:?}, {made}");

    let refused = ynl.run("session-del", &json!({ "id": id }));
    let words = refused.err().map(|error| format!("{error:#}"));
    ensure!(
        words
            .as_ref()
            .is_some_and(|words| words.contains("No such file")),
        "deleted twice: {words:?}"
    );
    Ok(())
}
