// SPDX-License-Identifier: MIT OR Apache-2.0

//! The running daemon as its operator meets it: lines on the control socket.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Command;
use common::*;
use lrep_cl::config::{self, TslUrl};
use lrep_cl::core::status::TslHealth;
use lrep_cl::driver::Driver;
use lrep_cl::frontend::control;
use lrep_cl::frontend::unix::UnixSocket;
use lrep_cl::logging;
use lrep_cl::operator::{Answer, Operator, Request};
use lrep_cl::tsl::engine::{self, Engine};
use nix::unistd::getgid;

/// A daemon with a configuration file and a control socket.
struct Operated {
    tsl: Arc<Memory>,
    daemon: Daemon,
    file: PathBuf,
    socket: PathBuf,
    _directory: tempfile::TempDir,
}

impl Operated {
    fn start(text: &str) -> Self {
        let tsl = Memory::new();
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("lrep-cl.toml");
        write(&file, text);
        let load = {
            let file = file.clone();
            move || {
                let explicit = config::without_defaults(
                    <config::Settings as clap::Args>::augment_args(Command::new("test")),
                )
                .get_matches_from(["test"]);
                config::load(Some(&file), &explicit)
            }
        };
        let loaded = load().expect("a good file");
        let daemon = Daemon::start_with(&tsl, loaded.config);
        let (_, _, verbosity) = logging::subscriber(
            config::LogLevel::Info,
            config::LogFormat::Text,
            std::io::sink(),
        );
        let operator = Operator::new(
            Arc::clone(&daemon.service),
            verbosity,
            loaded.settings,
            Box::new(load),
            Box::new(|url, config| match url {
                TslUrl::Engine(address) => {
                    let (address, patience) = (address.clone(), config.patience());
                    let engine = Engine::new(engine::Options { address, patience });
                    Some(Driver::new(Arc::new(engine)))
                }
                _ => None,
            }),
        );
        let socket = directory.path().join("control.sock");
        let (ready, listening) = std::sync::mpsc::channel();
        let path = socket.clone();
        // It serves until the end of all tests.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let socket = UnixSocket::bind(&path, 0o660, Some(getgid())).expect("a socket");
                ready.send(()).expect("awaited");
                control::serve(socket, Arc::new(operator)).await;
            });
        });
        listening.recv().expect("a socket");
        Self {
            tsl,
            daemon,
            file,
            socket,
            _directory: directory,
        }
    }

    fn say(&self, line: &str) -> String {
        let mut stream = UnixStream::connect(&self.socket).expect("connects");
        writeln!(stream, "{line}").expect("is heard");
        let mut answer = String::new();
        BufReader::new(stream)
            .read_line(&mut answer)
            .expect("is answered");
        answer
    }

    /// What is told of the only TSL, a line each.
    fn lines(&self, verb: &str) -> Vec<serde_json::Value> {
        self.lines_of(&format!("{{\"verb\":\"{verb}\",\"tsl\":\"local\"}}"))
    }

    /// What a request is told, a line each.
    fn lines_of(&self, request: &str) -> Vec<serde_json::Value> {
        let mut stream = UnixStream::connect(&self.socket).expect("connects");
        writeln!(stream, "{request}").expect("is heard");
        let lines = BufReader::new(stream).lines();
        let mut lines: Vec<serde_json::Value> = lines
            .map(|line| serde_json::from_str(&line.expect("a line")).expect("JSON"))
            .collect();
        assert_eq!(lines.pop(), Some(serde_json::json!({"answer": "done"})));
        lines
    }

    /// Reads the file again; the keys that are applied.
    fn reload(&self) -> Vec<String> {
        match self.ask(&Request::Reload) {
            Answer::Reloaded(changes) => {
                assert_eq!(changes.restart, []);
                let keys = changes.applied.into_iter();
                keys.map(|change| change.key).collect()
            }
            answer => panic!("{answer:?}"),
        }
    }

    fn ask(&self, request: &Request) -> Answer {
        let line = serde_json::to_string(request).expect("a line");
        serde_json::from_str(&self.say(&line)).expect("an answer")
    }
}

fn write(file: &Path, text: &str) {
    let text =
        format!("internal_ip = \"127.0.0.21\"\nexternal_ip = \"127.0.0.22\"\nowner = 7\n{text}");
    std::fs::write(file, text).expect("a file");
}

fn refused(answer: Answer) -> String {
    match answer {
        Answer::Refused { text } => text,
        answer => panic!("{answer:?}"),
    }
}

#[test]
fn the_status_names_the_daemon_and_its_tsls() {
    let operated = Operated::start("");
    let client = operated.daemon.client();
    let request = set("1_0", 20000, "a@host");
    assert_eq!(client.ask(&request), with(&request, "OK"));
    let Answer::Status {
        version,
        pid,
        status,
    } = operated.ask(&Request::Status)
    else {
        panic!("no status");
    };
    assert_eq!(version, env!("CARGO_PKG_VERSION"));
    assert_eq!(pid, std::process::id());
    assert_eq!((status.draining, status.sessions), (false, 1));
    let [tsl] = status.tsls.as_slice() else {
        panic!("{status:?}");
    };
    assert_eq!((tsl.name.as_str(), tsl.sessions), ("local", 1));
    assert_eq!((tsl.ports_in_use, tsl.ports), (4, 10_001));
}

#[test]
fn the_sessions_of_a_tsl_are_told_line_by_line() {
    let operated = Operated::start("");
    let client = operated.daemon.client();
    for call in 0..100 {
        let request = set(
            &format!("1_{call}"),
            20000 + 4 * call,
            &format!("{call}@host"),
        );
        assert_eq!(client.ask(&request), with(&request, "OK"));
    }
    let sessions = operated.lines("sessions");
    assert_eq!(sessions.len(), 100);
    assert_eq!(sessions[7]["call_id"], "7@host");
    assert_eq!(sessions[7]["tsl"], "local");
    let text = refused(operated.ask(&Request::Sessions {
        tsl: Some("elsewhere".to_owned()),
    }));
    assert!(text.contains("no TSL elsewhere"), "{text}");
}

#[test]
fn one_session_of_a_tsl_is_told_in_full() {
    let operated = Operated::start("");
    let request = set("1_0", 20000, "a@host");
    assert_eq!(operated.daemon.client().ask(&request), with(&request, "OK"));
    let (id, _) = operated.tsl.only();
    let told = operated.lines_of(&format!(
        "{{\"verb\":\"session\",\"tsl\":\"local\",\"id\":{id}}}"
    ));
    assert_eq!(told.len(), 1);
    assert_eq!(
        (&told[0]["id"], &told[0]["tsl"]),
        (&id.into(), &"local".into())
    );
    assert_eq!(told[0]["call_id"], "a@host");
    assert_eq!(told, operated.lines("sessions"));
    for (tsl, id, part) in [
        (
            "local",
            id + 1,
            "`lrep-cl sessions --tsl local` lists those there are",
        ),
        (
            "elsewhere",
            id,
            "there is no TSL elsewhere: this daemon works with local",
        ),
    ] {
        let tsl = tsl.to_owned();
        let text = refused(operated.ask(&Request::Session { tsl, id }));
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn the_counters_of_a_tsl_are_told() {
    let operated = Operated::start("");
    let request = set("1_0", 20000, "a");
    assert_eq!(operated.daemon.client().ask(&request), with(&request, "OK"));
    let totals = operated.lines("totals");
    assert_eq!(totals.len(), 1);
    assert_eq!(totals[0]["tsl"], "local");
    assert_eq!(totals[0]["relayed"]["packets"], 5);
}

#[test]
fn a_draining_daemon_ends_no_call_and_says_when_the_last_has_ended() {
    let operated = Operated::start("");
    let client = operated.daemon.client();
    let (old, new) = (set("1_0", 20000, "old"), set("1_1", 20004, "new"));
    assert_eq!(client.ask(&old), with(&old, "OK"));
    assert!(
        matches!(operated.ask(&Request::Drain), Answer::Status { status, .. } if status.draining)
    );
    assert_eq!(client.ask(&new), with(&new, "ER"));
    assert_eq!(operated.tsl.labels(), ["old"]);
    let service = Arc::clone(&operated.daemon.service);
    let drained = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.expect("a runtime").block_on(service.drained());
    });
    assert!(!drained.is_finished());
    let (id, _) = operated.tsl.only();
    operated.tsl.expire(id);
    drained.join().expect("the end of the last call is noticed");
    assert!(
        matches!(operated.ask(&Request::Resume), Answer::Status { status, .. } if !status.draining)
    );
    let new = set("1_2", 20004, "new");
    assert_eq!(client.ask(&new), with(&new, "OK"));
}

#[test]
fn a_changed_file_is_applied_and_a_bad_one_changes_nothing() {
    let operated = Operated::start("sessions_max = 5");
    let limit = || {
        operated
            .tsl
            .settings
            .lock()
            .limits
            .map(|limits| limits.sessions)
    };
    assert_eq!(limit(), Some(5));
    for (bad, why) in [
        ("sessions_max = \"many\"", "sessions_max"),
        (
            "sessions_max = 9\nlrep_alg = 77",
            "lrep_alg: must be 0 to 5",
        ),
        ("sessions_max = 9\nno_such_key = 1", "no_such_key"),
    ] {
        write(&operated.file, bad);
        let text = refused(operated.ask(&Request::Reload));
        assert!(text.contains("nothing was changed"), "{text}");
        assert!(text.contains(why), "{text}");
        assert_eq!(limit(), Some(5));
    }
    write(&operated.file, "sessions_max = 9\nstart_port = 22000");
    let Answer::Reloaded(changes) = operated.ask(&Request::Reload) else {
        panic!("not reloaded");
    };
    let keys = |changes: &[config::Change]| {
        let keys = changes.iter().map(|change| change.key.clone());
        keys.collect::<Vec<_>>()
    };
    assert_eq!(keys(&changes.applied), ["sessions_max"]);
    assert_eq!(keys(&changes.restart), ["start_port"]);
    // The kernel is told without waiting for it.
    while limit() != Some(9) {
        std::thread::yield_now();
    }
}

#[test]
fn weights_and_who_is_told_of_ended_media_change_while_it_runs() {
    let operated = Operated::start("");
    let target = operated.file.with_extension("timeouts");
    let listener = UnixListener::bind(&target).expect("a socket");
    write(
        &operated.file,
        &format!(
            "lreproxy_sock = \"local=5\"\ntimeout_socket = [\"unix:{}\"]",
            target.display()
        ),
    );
    assert_eq!(
        operated.reload(),
        ["lreproxy_sock", "timeout_socket"].map(str::to_owned)
    );
    let Answer::Status { status, .. } = operated.ask(&Request::Status) else {
        panic!("no status");
    };
    assert_eq!(status.tsls[0].weight, 5);
    let request = set("1_0", 20000, "a@host");
    assert_eq!(operated.daemon.client().ask(&request), with(&request, "OK"));
    operated.tsl.expire(operated.tsl.only().0);
    let (told, _) = listener.accept().expect("a connection");
    let mut line = String::new();
    BufReader::new(told).read_line(&mut line).expect("a line");
    assert_eq!(line, "a@host\n");
}

#[test]
fn a_host_that_is_added_while_it_runs_gets_calls() {
    let operated = Operated::start("lrep_alg = 1");
    let host = Memory::new();
    let engine = Daemon::start(&host);
    let client = operated.daemon.client();
    let request = set("1_0", 20000, "a@host");
    assert_eq!(client.ask(&request), with(&request, "OK"));
    write(
        &operated.file,
        &format!(
            "lrep_alg = 1\nlreproxy_sock = [\"local udp:{}\"]",
            engine.udp
        ),
    );
    assert_eq!(operated.reload(), ["lreproxy_sock"]);
    eventually("a TSL that is ready", || {
        let tsls = operated.daemon.service.status().tsls;
        let healths = tsls.iter().map(|tsl| tsl.health);
        healths.eq([TslHealth::Ready; 2])
    });
    // The call that was there stays where it was, and the next ones are distributed.
    for (number, call_id) in [(1, "b@host"), (2, "c@host")] {
        let request = set(&format!("1_{number}"), 20000 + 4 * number, call_id);
        assert_eq!(client.ask(&request), with(&request, "OK"));
    }
    let tsls = operated.daemon.service.status().tsls;
    let sessions: Vec<u64> = tsls.iter().map(|tsl| tsl.sessions).collect();
    assert_eq!(sessions, [2, 1]);
    assert!(
        [b"b@host", b"c@host"]
            .iter()
            .any(|call_id| host.only().1.label == **call_id)
    );
    assert_eq!(operated.reload(), [""; 0]);
}

#[test]
fn a_tsl_that_says_nothing_is_given_up_as_soon_as_a_reload_has_said() {
    let operated = Operated::start("lreproxy_tout = 86400\nlreproxy_retr = 2");
    write(&operated.file, "lreproxy_tout = 1\nlreproxy_retr = 1");
    assert_eq!(
        operated.reload(),
        ["lreproxy_retr", "lreproxy_tout"].map(str::to_owned)
    );
    operated.tsl.set_stuck(true);
    let request = set("1_0", 20000, "a@host");
    assert_eq!(operated.daemon.client().ask(&request), with(&request, "ER"));
    eventually("a TSL that is given up", || {
        operated.daemon.service.status().tsls[0].health == TslHealth::Closed
    });
}

#[test]
fn a_tsl_is_disabled_and_enabled_by_its_url() {
    let operated = Operated::start("");
    let client = operated.daemon.client();
    let tsl = || "local".to_owned();
    operated.ask(&Request::Disable { tsl: tsl() });
    let request = set("1_0", 20000, "a@host");
    assert_eq!(client.ask(&request), with(&request, "ER"));
    operated.ask(&Request::Enable { tsl: tsl() });
    let request = set("1_1", 20000, "a@host");
    assert_eq!(client.ask(&request), with(&request, "OK"));
    let text = refused(operated.ask(&Request::Disable {
        tsl: "elsewhere".to_owned(),
    }));
    assert!(
        text.contains("no TSL elsewhere") && text.contains("local"),
        "{text}"
    );
}

#[test]
fn what_is_no_request_is_answered_with_what_is_wrong() {
    let operated = Operated::start("");
    for (line, part) in [
        ("", "no request"),
        ("hello", "no request"),
        ("{\"verb\":\"dance\"}", "dance"),
        ("{\"verb\":\"disable\"}", "tsl"),
        ("{\"verb\":\"log\",\"level\":\"loud\"}", "loud"),
    ] {
        let answer: Answer = serde_json::from_str(&operated.say(line)).expect("an answer");
        let text = refused(answer);
        assert!(text.contains(part), "{line}: {text}");
    }
    // Whoever says too much, or nothing, is left.
    let mut endless = UnixStream::connect(&operated.socket).expect("connects");
    let _ = endless.write_all(&[b'x'; 1 << 20]);
    let mut rest = Vec::new();
    let _ = endless.read_to_end(&mut rest);
    let mode = std::fs::metadata(&operated.socket)
        .expect("a file")
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o660);
    assert!(matches!(
        operated.ask(&Request::Status),
        Answer::Status { .. }
    ));
}
