//! The account of a run: is fed what clients and workers have seen, and says what does not
//! balance.

mod clients;
mod lives;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use crate::{
    message::{Reply, Token},
    record::{Client, Record, Told},
};

/// What is held against a run beyond what always is. Each names what a scenario's faults make
/// impossible to promise, or nobody promises yet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Leniency {
    /// An event that was given to another worker may still be handled, late and unmarked, by the
    /// one that had it first: that was cut off or paused, and not dead.
    pub overtaken: bool,
    /// How long, in nanoseconds, it may take until what is sent to a uid or a group has come to all; for
    /// ever if `None`.
    pub in_time: Option<u64>,
}

/// One connection, as its client saw it. Times are nanoseconds of the system's clock.
#[derive(Clone, Debug)]
pub struct Life {
    /// Whose, and which.
    pub token: Token,
    /// The inner port of its gateway.
    pub gateway: u16,
    /// When it began to connect.
    pub began: u64,
    /// When it had its first answer: whoever sends to it from then on reaches it.
    pub joined: Option<u64>,
    /// When each of its messages was sent; the first is number 1.
    pub sent: Vec<u64>,
    /// What it heard, in that order.
    pub heard: Vec<Reply>,
    /// When it heard each of these, as far as that is known.
    pub heard_at: Vec<u64>,
    /// What makes no sense of what it heard.
    pub nonsense: u64,
    /// How it ended.
    pub end: End,
    /// When.
    pub ended: u64,
}

/// How a connection ended, as its client saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Its handshake was never finished.
    Refused,
    /// It was open until everybody was told to leave, when everything had come to rest.
    Stayed,
    /// It said goodbye while the run went on, without waiting for answers.
    Left,
    /// It broke off.
    Dropped,
    /// It was closed from the other side, with this code if there was one.
    Closed(Option<u16>),
}

/// A gateway was killed, or asked to end.
#[derive(Clone, Copy, Debug)]
pub struct Loss {
    /// Its inner port.
    pub gateway: u16,
    /// When, in nanoseconds of the system's clock.
    pub at: u64,
    /// Whether it was not even asked.
    pub killed: bool,
}

/// Something that nobody promises of the clients that a gateway had at some time between two others,
/// in nanoseconds of the system's clock, both included.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// Its inner port.
    pub gateway: u16,
    /// From then.
    pub from: u64,
    /// Until then.
    pub to: u64,
    /// What it is.
    pub unpromised: Unpromised,
}

/// What may not be promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unpromised {
    /// That anybody is told the end of them.
    Told,
    /// That only one is told of it, or with a mark.
    ToldOnce,
}

/// A process could not know of a gateway, or not reach it, and nobody promises that what it handled
/// between two times came to clients there, in nanoseconds of the system's clock, both included.
#[derive(Clone, Copy, Debug)]
pub struct Apart {
    /// Which process, as with its records.
    pub process: usize,
    /// The gateway's inner port.
    pub gateway: u16,
    /// From then.
    pub from: u64,
    /// Until then.
    pub to: u64,
}

/// What is fed to it.
#[derive(Debug, Default)]
pub struct Account {
    lives: BTreeMap<u64, Life>,
    records: FxHashMap<Client, Vec<(usize, Record)>>,
    losses: Vec<Loss>,
    /// From when to when a gateway was on its way to its end. Whoever it let in then, it closed.
    endings: Vec<(u16, u64, u64)>,
    /// From when to when which worker was there, and not paused.
    workers: Vec<(usize, u64, u64)>,
    limits: Vec<Limit>,
    apart: Vec<Apart>,
    broken: Broken,
}

/// What must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// No client is closed whose gateway went on.
    NobodyClosed,
    /// What was sent on a connection that its client did not lose was handled.
    NothingLost,
    /// And answered, if the client stayed to hear it.
    EverythingAnswered,
    /// And passed on to those whom it concerned.
    EverythingPassedOn,
    /// Soon enough.
    PassedOnInTime,
    /// Events of a client are handled in order.
    HandledInOrder,
    /// What comes again is marked.
    MarkedWhenAgain,
    /// Nothing is answered or passed on more often than it was handled.
    NothingMadeUp,
    /// Answers and what is passed on come in order, except behind a mark.
    HeardInOrder,
    /// Every connection that was told of is told the end of.
    EveryEndTold,
    /// Once, and last.
    EveryEndToldOnce,
    /// Processes end as they were told, without a panic; files are whole.
    NoBlemish,
}

impl Rule {
    /// As a line of a report.
    pub const fn text(self) -> &'static str {
        match self {
            Self::NobodyClosed => "clients closed whose gateway went on",
            Self::NothingLost => "events lost",
            Self::EverythingAnswered => "messages without an answer",
            Self::EverythingPassedOn => "messages not passed on to all",
            Self::PassedOnInTime => "messages passed on too late",
            Self::HandledInOrder => "events handled out of order",
            Self::MarkedWhenAgain => "events handled again without a mark",
            Self::NothingMadeUp => "answers more often than handled, or to nothing",
            Self::HeardInOrder => "answers out of order without a mark",
            Self::EveryEndTold => "connections without an onClose",
            Self::EveryEndToldOnce => "connections with more than one onClose, or events behind it",
            Self::NoBlemish => "processes or files that were not well",
        }
    }
}

/// What was counted, whether it balances or not.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Connections that clients had, and that they tried to have.
    pub connections: u64,
    /// Those of them that were closed from the other side.
    pub closed: u64,
    /// Messages sent.
    pub sent: u64,
    /// Messages handled, each once.
    pub handled: u64,
    /// Sent on connections that were lost with their gateway, or that the client broke off, and never
    /// handled.
    pub gone: u64,
    /// Handlings with a mark, of any event.
    pub redelivered: u64,
    /// Those of them whose event had been handled before.
    pub again: u64,
    /// Handled late by a worker that had been cut off.
    pub overtaken: u64,
    /// Answers heard.
    pub answers: u64,
    /// Messages to uids and groups heard.
    pub passed_on: u64,
    /// Not heard, of a process that knew nothing of the gateway, or could not reach it.
    pub not_passed_on: u64,
    /// Connections that workers were told of.
    pub connects: u64,
    /// Their ends, by reason.
    pub closes: BTreeMap<&'static str, u64>,
    /// Ends that no worker could tell: of clients whose gateway died while fewer than two workers were there.
    pub closes_missing: u64,
    /// Connections whose end two workers told without a mark, where nobody promises better.
    pub closes_twice: u64,
}

/// What does not balance: for each rule how often, and a few examples.
#[derive(Debug, Default)]
pub struct Broken(BTreeMap<Rule, (u64, Vec<String>)>);

const EXAMPLES: usize = 4;

impl Broken {
    fn add(&mut self, rule: Rule, example: impl FnOnce() -> String) {
        let (count, examples) = self.0.entry(rule).or_default();
        *count += 1;
        if examples.len() < EXAMPLES {
            examples.push(example());
        }
    }

    fn merge(&mut self, other: Self) {
        for (rule, (count, examples)) in other.0 {
            let (all, known) = self.0.entry(rule).or_default();
            *all += count;
            known.extend(examples.into_iter().take(EXAMPLES.saturating_sub(known.len())));
        }
    }

    /// Each rule that does not hold, how often, and a few examples.
    pub fn iter(&self) -> impl Iterator<Item = (Rule, u64, &[String])> {
        self.0.iter().map(|(rule, (count, examples))| (*rule, *count, examples.as_slice()))
    }

    /// Whether every rule holds.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The result.
#[derive(Debug)]
pub struct Balance {
    /// What there was.
    pub counts: Counts,
    /// What does not balance.
    pub broken: Broken,
}

/// How often an event was handled.
#[derive(Clone, Copy, Debug, Default)]
struct Times {
    unmarked: u32,
    marked: u32,
    /// By which process the last time, and when.
    last: Option<(usize, u64)>,
}

impl Times {
    const fn all(self) -> u32 {
        self.unmarked + self.marked
    }
}

impl Account {
    /// A connection that a client had.
    pub fn life(&mut self, life: Life) {
        self.lives.insert(life.token.to_u64(), life);
    }

    /// What processes noted, in the order in which each did.
    pub fn records(&mut self, records: Vec<(usize, Record)>) {
        for (process, record) in records {
            self.records.entry(record.client).or_default().push((process, record));
        }
    }

    /// A gateway was ended.
    pub fn loss(&mut self, loss: Loss) {
        self.losses.push(loss);
    }

    /// A gateway that was asked to end has ended.
    pub fn ended(&mut self, gateway: u16, at: u64) {
        let asked = self.losses.iter().rev().find(|loss| loss.gateway == gateway);
        self.endings.extend(asked.map(|loss| (gateway, loss.at, at)));
    }

    /// A worker was started at that time, or goes on.
    pub fn worker_up(&mut self, worker: usize, at: u64) {
        self.workers.push((worker, at, u64::MAX));
    }

    /// A worker was killed at that time, or asked to end, or stands still from then on.
    pub fn worker_down(&mut self, worker: usize, at: u64) {
        let mut stays = self.workers.iter_mut().filter(|stay| stay.0 == worker);
        if let Some(stay) = stays.next_back() {
            stay.2 = stay.2.min(at);
        }
    }

    /// Something is not promised.
    pub fn limit(&mut self, limit: Limit) {
        self.limits.push(limit);
    }

    /// A process and a gateway did not know each other.
    pub fn apart(&mut self, apart: Apart) {
        self.apart.push(apart);
    }

    /// Something else was not well.
    pub fn blemish(&mut self, what: String) {
        self.broken.add(Rule::NoBlemish, || what);
    }

    /// Says what does not balance.
    pub fn balance(mut self, leniency: Leniency) -> Balance {
        let mut counts = Counts::default();
        let mut broken = std::mem::take(&mut self.broken);
        let handled = clients::check(&mut self, leniency, &mut counts, &mut broken);
        lives::check(&self, &handled, leniency, &mut counts, &mut broken);
        Balance { counts, broken }
    }

    /// Whether that is not promised of a client of this gateway that was there between two times.
    fn is_unpromised(&self, what: Unpromised, gateway: u16, from: u64, to: u64) -> bool {
        self.limits.iter().any(|limit| {
            let there = from <= limit.to && limit.from <= to;
            limit.unpromised == what && limit.gateway == gateway && there
        })
    }

    /// Whether who handled a message last was apart from a gateway then.
    fn were_apart(&self, handled: Times, gateway: u16) -> bool {
        let Some((process, at)) = handled.last else { return false };
        self.apart.iter().any(|apart| {
            let same = apart.process == process && apart.gateway == gateway;
            same && (apart.from..=apart.to).contains(&at)
        })
    }

    /// Whether a gateway was lost after that time and, until others could have closed its clients, there
    /// was a moment when fewer than two workers were there and had been for a while: what is known of
    /// clients is passed on from one to another, and that takes two.
    fn forgotten(&self, gateway: u16, from: u64) -> bool {
        let losses = self.losses.iter().filter(|loss| loss.gateway == gateway);
        losses.filter(|loss| from <= loss.at + SLACK).any(|loss| {
            let near = loss.at.saturating_sub(SLACK)..=loss.at + CLOSED;
            // The number changes only then, and is the least right after a worker is gone.
            let ends = self.workers.iter().map(|(_, _, to)| *to).filter(|to| near.contains(to));
            ends.chain([*near.start()]).any(|at| self.workers_at(at) < 2)
        })
    }

    /// How many workers were there right after that time, and had been for a while.
    fn workers_at(&self, at: u64) -> usize {
        let there = |(_, from, to): &&(usize, u64, u64)| from + READY <= at && at < *to;
        self.workers.iter().filter(there).count()
    }

    /// Whether a gateway was killed with what a client had sent that has left since: it may have
    /// waited for a worker.
    fn died_with(&self, life: &Life) -> bool {
        let near = life.began..=life.ended + SETTLED;
        let mut losses = self.losses.iter().filter(|loss| loss.gateway == life.gateway);
        life.end == End::Left && losses.any(|loss| loss.killed && near.contains(&loss.at))
    }

    /// Whether a gateway was lost between two times.
    fn lost(&self, gateway: u16, from: u64, to: u64) -> bool {
        let within = |loss: &Loss| loss.gateway == gateway && (from..=to).contains(&loss.at);
        let into = |&(ending, began, over): &(u16, u64, u64)| {
            ending == gateway && (began..=over).contains(&from)
        };
        self.losses.iter().any(within) || self.endings.iter().any(into)
    }
}

/// How long it takes at most until workers have spoken for a gateway that died.
const SETTLED: u64 = 10_000_000_000;

/// How long it takes at most until workers have closed the clients of a gateway that died, if two are
/// there: the grace, a takeover, and what a busy machine adds.
const CLOSED: u64 = 7_000_000_000;

/// How long it takes until a worker that was started, or stood still, knows what others know.
const READY: u64 = 1_500_000_000;

/// How long a gateway may have told nobody of what is new, and a worker have told of what it had
/// read of a gateway that died.
const SLACK: u64 = 2_000_000_000;

/// How many clients were told of, and how many of their ends: what a run waits for.
pub fn open_ends(records: &[(usize, Record)]) -> (usize, usize) {
    let (mut known, mut ended) = (FxHashMap::default(), 0);
    for (_, record) in records {
        let end = known.entry(record.client).or_insert(false);
        if let Told::Close(_) = record.told
            && !std::mem::replace(end, true)
        {
            ended += 1;
        }
    }
    (known.len(), ended)
}
