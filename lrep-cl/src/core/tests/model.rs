// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whole calls played through at random, with TSLs that are late, fail, lose answers, start anew
//! and forget, and a daemon that is restarted, compared with a simple model of what should be there.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::*;
use crate::call::Calls;

/// How a command ends.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Done,
    /// Not carried out, for want of memory.
    Refused,
    /// Carried out, but nobody hears of it.
    AnswerLost,
    /// Neither.
    CommandLost,
}

/// What happens next.
#[derive(Clone, Debug)]
enum Step {
    /// A call is given a block of ports and an answerer.
    Set { call: u16, block: u16, party: u8 },
    /// The call on that block ends.
    Delete { call: u16, block: u16 },
    /// One of the commands on their way ends.
    Command {
        which: prop::sample::Index,
        fate: Fate,
    },
    /// All of them end well.
    Settle,
    /// A session ends by its timeout; perhaps its event is lost.
    Expire {
        which: prop::sample::Index,
        is_told: bool,
    },
    /// A TSL starts anew, with an empty table.
    Anew { tsl: usize },
    /// The daemon is killed and started again.
    Restart,
    /// Time passes.
    Wait { ms: u64 },
}

/// What SIP servers and time do.
fn calm() -> impl Strategy<Value = Step> {
    let which = any::<prop::sample::Index>();
    prop_oneof![
        8 => (0..5_u16, 0..4_u16, 1..9_u8)
            .prop_map(|(call, block, party)| Step::Set { call, block, party }),
        4 => (0..5_u16, 0..4_u16).prop_map(|(call, block)| Step::Delete { call, block }),
        16 => which.prop_map(|which| Step::Command { which, fate: Fate::Done }),
        4 => Just(Step::Settle),
        3 => (0..900_u64).prop_map(|ms| Step::Wait { ms }),
    ]
}

/// What goes wrong.
fn trouble() -> impl Strategy<Value = Step> {
    let which = any::<prop::sample::Index>;
    let fate = prop_oneof![
        Just(Fate::Refused),
        Just(Fate::AnswerLost),
        Just(Fate::CommandLost),
    ];
    prop_oneof![
        3 => (which(), fate).prop_map(|(which, fate)| Step::Command { which, fate }),
        2 => (which(), any::<bool>())
            .prop_map(|(which, is_told)| Step::Expire { which, is_told }),
        1 => (0..TSLS).prop_map(|tsl| Step::Anew { tsl }),
        1 => Just(Step::Restart),
        1 => (0..10_000_u64).prop_map(|ms| Step::Wait { ms }),
    ]
}

/// A call on a block of ports.
pub type Place = (u16, u16);

/// What a request is about.
fn place_of(request: &[u8]) -> Place {
    let request = String::from_utf8_lossy(request);
    let words: Vec<&str> = request.split(' ').collect();
    let number = |text: &str| text.parse::<u16>().expect("a number");
    let call = words[11].strip_prefix("call-").expect("a call");
    (number(call), (number(words[7]) - 20000) / 4)
}

pub struct World {
    pub now: Instant,
    config: Config,
    pub core: Core,
    pub tables: Vec<Table>,
    /// Commands without an outcome.
    pub on_their_way: Vec<(usize, Token, Command)>,
    /// Requests without an answer, and when they were made.
    unanswered: HashMap<Vec<u8>, Instant>,
    cookie: u32,
    /// What should be there: the answerer's host number.
    wanted: BTreeMap<Place, u8>,
    /// Calls and blocks of which something went wrong, or that were refused: nothing is known of these.
    uncertain: BTreeSet<Place>,
    /// Calls whose media has ceased by itself.
    pub silenced: Vec<Vec<u8>>,
}

impl World {
    pub fn new(config: Config) -> Self {
        let now = Instant::now();
        let mut actions = Vec::new();
        let core = Core::new(config.clone(), SEED, now, &mut actions);
        let mut world = Self {
            now,
            config,
            core,
            tables: (0..TSLS).map(|_| Table::default()).collect(),
            on_their_way: Vec::new(),
            unanswered: HashMap::new(),
            cookie: 0,
            wanted: BTreeMap::new(),
            uncertain: BTreeSet::new(),
            silenced: Vec::new(),
        };
        world.take(actions);
        world.settle();
        world
    }

    /// Takes what the core wants done.
    pub fn take(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Answer { bytes, .. } => {
                    let request = &bytes[..bytes.len() - 2];
                    let asked = self.unanswered.remove(request);
                    let asked = asked.expect("each request is answered once");
                    assert!(self.now <= asked + ANSWER_BOUND);
                    if bytes.ends_with(b"ER") {
                        self.uncertain.insert(place_of(request));
                    }
                }
                Action::Command {
                    tsl,
                    token,
                    command,
                } => {
                    self.is_alone(tsl, &command);
                    self.on_their_way.push((tsl, token, command));
                }
                Action::Silenced { call_id } => self.silenced.push(call_id),
                Action::Opened { .. } => {}
            }
        }
    }

    /// Of one call, and for one port, there is never more than one command on its way.
    fn is_alone(&self, tsl: usize, command: &Command) {
        let Command::New(new) = command else {
            return;
        };
        for (other, _, command) in &self.on_their_way {
            if let (Command::New(known), true) = (command, *other == tsl) {
                assert_ne!(known.label, new.label);
                assert!(locals(known).all(|local| locals(new).all(|mine| mine != local)));
            }
        }
    }

    pub fn ask(&mut self, letter: char, (call, block): Place, party: u8) {
        self.cookie += 1;
        let (cookie, port) = (self.cookie, 20000 + 4 * block);
        let request = format!(
            "1_{cookie} {letter} 127.0.0.11 127.0.0.21 127.0.0.21 127.0.1.{party} 40000 {port} {} \
             41000 60 call-{call} ",
            port + 2
        )
        .into_bytes();
        self.unanswered.insert(request.clone(), self.now);
        let client = Client::Udp {
            listener: 0,
            peer: "127.0.0.1:5060".parse().expect("an address"),
        };
        let mut actions = Vec::new();
        let now = self.now;
        assert!(self.core.request(client, &request, now, &mut actions));
        self.take(actions);
        // A repetition changes nothing, and is answered alike or not at all.
        let mut actions = Vec::new();
        let before = self.on_their_way.len();
        self.core.request(client, &request, now, &mut actions);
        for action in actions {
            assert!(matches!(action, Action::Answer { .. }), "{action:?}");
        }
        assert_eq!(self.on_their_way.len(), before);
    }

    fn end(&mut self, which: usize, fate: Fate) {
        let (tsl, token, command) = self.on_their_way.swap_remove(which);
        if !matches!(fate, Fate::Done) {
            self.doubt_all();
        }
        let result = match fate {
            Fate::Done => self.tables[tsl].carry_out(command),
            Fate::Refused => Err(refused(Errno::ENOMEM)),
            Fate::CommandLost => Err(tsl::Error::NoAnswer),
            Fate::AnswerLost => {
                let _ = self.tables[tsl].carry_out(command);
                Err(tsl::Error::NoAnswer)
            }
        };
        let mut actions = Vec::new();
        let told = std::mem::take(&mut self.tables[tsl].told);
        // Either may come first.
        let (before, after) = if token % 2 == 0 {
            (told, Vec::new())
        } else {
            (Vec::new(), told)
        };
        for event in before {
            self.core.event(tsl, Some(event), self.now, &mut actions);
        }
        self.core
            .outcome(tsl, token, result, self.now, &mut actions);
        for event in after {
            self.core.event(tsl, Some(event), self.now, &mut actions);
        }
        self.take(actions);
    }

    /// After a fault only the bookkeeping is compared, not what each call holds.
    fn doubt_all(&mut self) {
        for call in 0..5 {
            self.uncertain.extend((0..4).map(|block| (call, block)));
        }
    }

    pub fn settle(&mut self) {
        while !self.on_their_way.is_empty() {
            self.end(0, Fate::Done);
        }
    }

    /// All TSLs but one carry out what they were told.
    pub fn settle_all_but(&mut self, silent: usize) {
        let heard = |world: &Self| {
            let mut commands = world.on_their_way.iter();
            commands.position(|(tsl, ..)| *tsl != silent)
        };
        while let Some(which) = heard(self) {
            self.end(which, Fate::Done);
        }
    }

    /// All TSLs carry out what they were told, but nothing that ends a session.
    pub fn settle_all_but_ends(&mut self) {
        let other = |world: &Self| {
            let mut commands = world.on_their_way.iter();
            commands.position(|(_, _, command)| !matches!(command, Command::Delete(_)))
        };
        while let Some(which) = other(self) {
            self.end(which, Fate::Done);
        }
    }

    /// What a TSL was told is lost, again and again, until it is left alone.
    pub fn lose_all_of(&mut self, silent: usize) {
        let lost = |world: &Self| {
            let mut commands = world.on_their_way.iter();
            commands.position(|(tsl, ..)| *tsl == silent)
        };
        while let Some(which) = lost(self) {
            self.end(which, Fate::CommandLost);
        }
    }

    pub fn wait(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            let due = self.core.deadline().filter(|due| *due <= end);
            self.now = due.unwrap_or(end).max(self.now);
            let mut actions = Vec::new();
            self.core.tick(self.now, &mut actions);
            self.take(actions);
            let Some(_) = due else {
                return;
            };
            assert!(
                self.core.deadline().is_none_or(|next| next > self.now),
                "what is due is done"
            );
        }
    }

    /// No port counts as in use that no call has, whatever is on its way.
    fn no_port_is_leaked(&self) {
        for layer in &self.core.layers {
            assert_eq!(layer.ports_leaked(), 0, "{}", layer.config.name);
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Set { call, block, party } => {
                // Another call on the same ports is a collision: the newer one wins, unless it is
                // given to another TSL.
                let place = (call, block);
                let others: Vec<Place> = (0..5)
                    .map(|other| (other, block))
                    .filter(|other| *other != place && self.wanted.contains_key(other))
                    .collect();
                self.uncertain.extend(others);
                self.wanted.insert(place, party);
                self.ask('S', place, party);
            }
            Step::Delete { call, block } => {
                self.wanted.remove(&(call, block));
                self.ask('D', (call, block), 1);
            }
            Step::Command { which, fate } => {
                if !self.on_their_way.is_empty() {
                    self.end(which.index(self.on_their_way.len()), fate);
                }
            }
            Step::Settle => self.settle(),
            Step::Expire { which, is_told } => {
                let all: Vec<_> = self
                    .tables
                    .iter()
                    .enumerate()
                    .flat_map(|(tsl, table)| table.sessions.keys().map(move |id| (tsl, *id)))
                    .collect();
                if all.is_empty() {
                    return;
                }
                let (tsl, id) = all[which.index(all.len())];
                let session = self.tables[tsl].remove(id).expect("is there");
                self.doubt_all();
                let event = if is_told {
                    Event::Ended(SessionState::new(id, &session), EndReason::Expired)
                } else {
                    Event::Overrun
                };
                let mut actions = Vec::new();
                self.core.event(tsl, Some(event), self.now, &mut actions);
                self.take(actions);
            }
            Step::Anew { tsl } => {
                self.doubt_all();
                self.tables[tsl] = Table::default();
                let mut actions = Vec::new();
                self.core.event(tsl, None, self.now, &mut actions);
                self.take(actions);
            }
            Step::Restart => {
                self.doubt_all();
                self.on_their_way.clear();
                self.unanswered.clear();
                let mut actions = Vec::new();
                self.core = Core::new(self.config.clone(), SEED, self.now, &mut actions);
                self.take(actions);
            }
            Step::Wait { ms } => self.wait(Duration::from_millis(ms)),
        }
    }

    /// When all that was begun has ended, the books agree with what is there.
    fn compare(&mut self) {
        for _ in 0..3 {
            self.settle();
            // Longer than a TSL is left alone.
            self.wait(Duration::from_secs(61));
        }
        self.settle();
        assert!(self.unanswered.is_empty(), "{:?}", self.unanswered);
        assert!(self.core.is_idle());
        self.compare_books();
        self.compare_places();
    }

    /// What each TSL is believed to hold is there.
    pub fn compare_books(&self) {
        for (layer, table) in self.core.layers.iter().zip(&self.tables) {
            let (known, strange) = Calls::adopt(&table.dump());
            assert!(strange.is_empty());
            assert_eq!(layer.calls, known, "{}", layer.config.name);
            let mut ports: Vec<u16> = known
                .locals()
                .flat_map(|locals| locals.ports().collect::<Vec<_>>())
                .collect();
            ports.sort_unstable();
            assert_eq!(layer.ports.in_use(), ports, "{}", layer.config.name);
        }
    }

    /// What was asked for is there.
    fn compare_places(&self) {
        for place in (0..5).flat_map(|call| (0..4).map(move |block| (call, block))) {
            if self.uncertain.contains(&place) {
                continue;
            }
            let (call, block) = place;
            let label = format!("call-{call}");
            let local = SocketAddr::from(([127, 0, 0, 21], 20000 + 4 * block));
            let there: Vec<_> = self
                .tables
                .iter()
                .flat_map(|table| table.sessions.values())
                .filter(|session| session.label == label.as_bytes())
                .filter_map(|session| session.streams.first())
                .filter(|stream| stream.b.local == local)
                .map(|stream| stream.b.remote.map(|remote| remote.to_string()))
                .collect();
            let wanted: Vec<_> = self
                .wanted
                .get(&place)
                .map(|party| Some(format!("127.0.1.{party}:41000")))
                .into_iter()
                .collect();
            assert_eq!(there, wanted, "{label} on {local}");
        }
    }
}

fn play(steps: Vec<Step>) {
    let mut world = World::new(config(Algorithm::RoundRobin));
    for step in steps {
        world.step(step);
    }
    world.no_port_is_leaked();
    world.compare();
}

proptest! {
    #[test]
    fn every_call_holds_what_was_asked_for_last(steps in prop::collection::vec(calm(), 1..80)) {
        play(steps);
    }

    #[test]
    fn whatever_goes_wrong_the_books_agree_with_the_tables(
        steps in prop::collection::vec(prop_oneof![5 => calm(), 1 => trouble()], 1..80),
    ) {
        play(steps);
    }
}
