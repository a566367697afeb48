//! The account of a run: collects what clients received and workers recorded, and reports the rules
//! that are violated.

mod clients;
mod connections;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use crate::{
    message::{Reply, Token},
    record::{Client, Record, RecordedEvent},
};

/// Exemptions from the rules, for guarantees that the faults of a scenario rule out, or that are
/// not given yet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Leniency {
    /// An event that was redelivered to another worker may still be handled, late and unmarked, by
    /// the worker that had it first: that worker was cut off or paused, and not dead.
    pub overtaken: bool,
    /// The maximum time, in nanoseconds, until a message to a uid or a group has reached all
    /// recipients; no limit if `None`.
    pub in_time: Option<u64>,
}

/// One connection, as observed by its client. Times are nanoseconds of the clock of the run.
#[derive(Clone, Debug)]
pub struct ConnectionLog {
    /// The client and the number of the connection.
    pub token: Token,
    /// The inner port of its gateway.
    pub gateway: u16,
    /// When the client started to connect.
    pub began: u64,
    /// When it received its first answer: messages sent from then on reach it.
    pub joined: Option<u64>,
    /// When each message was sent; the first is number 1.
    pub sent: Vec<u64>,
    /// The received messages, in order.
    pub received: Vec<Reply>,
    /// When each of these was received, as far as recorded.
    pub received_at: Vec<u64>,
    /// The number of received messages that are malformed.
    pub unexpected: u64,
    /// How it ended.
    pub end: End,
    /// When it ended.
    pub ended: u64,
}

impl ConnectionLog {
    /// The log of a connection that is being opened, since `began`.
    pub const fn new(token: Token, gateway: u16, began: u64) -> Self {
        Self {
            token,
            gateway,
            began,
            joined: None,
            sent: Vec::new(),
            received: Vec::new(),
            received_at: Vec::new(),
            unexpected: 0,
            end: End::Refused,
            ended: 0,
        }
    }
}

/// How a connection ended, as observed by its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Its handshake was not completed.
    Refused,
    /// It stayed open until all clients closed, when nothing was in flight any more.
    Stayed,
    /// The client closed it during the run with a close frame, without waiting for answers.
    Left,
    /// The client aborted it.
    Dropped,
    /// It was closed by the remote side, with this code if there was one.
    Closed(Option<u16>),
}

/// A gateway was killed, or drained.
#[derive(Clone, Copy, Debug)]
pub struct Loss {
    /// Its inner port.
    pub gateway: u16,
    /// When, in nanoseconds of the clock of the run.
    pub at: u64,
    /// Whether it was killed instead of drained.
    pub killed: bool,
}

/// A guarantee that does not hold for the clients that a gateway had at any time in an interval, in
/// nanoseconds of the clock of the run, both ends included.
#[derive(Clone, Copy, Debug)]
pub struct Exemption {
    /// Its inner port.
    pub gateway: u16,
    /// The start.
    pub from: u64,
    /// The end.
    pub to: u64,
    /// The guarantee.
    pub guarantee: Guarantee,
}

/// A guarantee that may not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarantee {
    /// Each connection has an `on_close`.
    CloseDelivered,
    /// Each connection has no second `on_close` without a mark.
    CloseDeliveredOnce,
}

/// A worker process did not know a gateway, or could not reach it: messages that it handled in this
/// interval need not have reached clients there. Nanoseconds of the clock of the run, both ends
/// included.
#[derive(Clone, Copy, Debug)]
pub struct Disconnection {
    /// The number of the process, as in its records.
    pub process: usize,
    /// The gateway's inner port.
    pub gateway: u16,
    /// The start.
    pub from: u64,
    /// The end.
    pub to: u64,
}

/// The observations of a run.
#[derive(Debug, Default)]
pub struct Account {
    connections: BTreeMap<u64, ConnectionLog>,
    records: FxHashMap<Client, Vec<(usize, Record)>>,
    losses: Vec<Loss>,
    /// Gateway, start and end of each drain. Clients accepted in between were closed.
    endings: Vec<(u16, u64, u64)>,
    /// Worker, start and end of each time in which it ran and was not paused.
    workers: Vec<(usize, u64, u64)>,
    exemptions: Vec<Exemption>,
    disconnections: Vec<Disconnection>,
    broken: Broken,
}

/// A rule that must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// No client is closed whose gateway kept running.
    NoClientClosed,
    /// Messages on a connection that its client did not lose are handled.
    NothingLost,
    /// They are answered, if the client stayed.
    EverythingAnswered,
    /// They are forwarded to all recipients.
    EverythingForwarded,
    /// They are forwarded within the limit.
    ForwardedInTime,
    /// Events of a client are handled in order.
    HandledInOrder,
    /// Redelivered events are marked.
    RepeatsMarked,
    /// No message is answered or forwarded more often than it was handled.
    NothingUnexpected,
    /// Answers and forwarded messages arrive in order, except marked ones.
    ReceivedInOrder,
    /// Every connection with a recorded event has an `on_close`.
    EveryCloseDelivered,
    /// It has exactly one, as its last event.
    EveryCloseDeliveredOnce,
    /// Processes exit with 0 on SIGTERM, without a panic; journals are complete.
    NoFailure,
}

impl Rule {
    /// The line of the report.
    pub const fn text(self) -> &'static str {
        match self {
            Self::NoClientClosed => "clients closed whose gateway kept running",
            Self::NothingLost => "events lost",
            Self::EverythingAnswered => "messages without an answer",
            Self::EverythingForwarded => "messages not forwarded to all recipients",
            Self::ForwardedInTime => "messages forwarded too late",
            Self::HandledInOrder => "events handled out of order",
            Self::RepeatsMarked => "events handled again without a mark",
            Self::NothingUnexpected => "messages answered or forwarded more often than handled",
            Self::ReceivedInOrder => "answers out of order without a mark",
            Self::EveryCloseDelivered => "connections without an onClose",
            Self::EveryCloseDeliveredOnce => {
                "connections with more than one onClose, or events after it"
            }
            Self::NoFailure => "process failures or incomplete files",
        }
    }
}

/// The counts of a run.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Connections of clients.
    pub connections: u64,
    /// Of these, closed by the remote side.
    pub closed: u64,
    /// Messages sent.
    pub sent: u64,
    /// Messages handled, each counted once.
    pub handled: u64,
    /// Messages never handled, of connections that were lost with their gateway or aborted by the
    /// client.
    pub unhandled: u64,
    /// Handler calls for redelivered events.
    pub redelivered: u64,
    /// Of these, calls whose event had been handled before.
    pub again: u64,
    /// Events handled late by a worker that had been cut off.
    pub overtaken: u64,
    /// Answers received.
    pub answers: u64,
    /// Messages to uids and groups received.
    pub forwarded: u64,
    /// Of these, not received, from a process that did not know the gateway or could not reach it.
    pub not_forwarded: u64,
    /// Connections with a recorded event.
    pub connects: u64,
    /// `on_close` calls of these, by reason.
    pub closes: BTreeMap<&'static str, u64>,
    /// Missing `on_close` calls, of clients whose gateway died while fewer than two workers ran.
    pub closes_missing: u64,
    /// Connections that two workers closed without a mark, exempt from
    /// [`Guarantee::CloseDeliveredOnce`].
    pub closes_twice: u64,
}

/// The violated rules, each with the number of violations and a few examples.
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

    /// Each violated rule, the number of violations, and a few examples.
    pub fn iter(&self) -> impl Iterator<Item = (Rule, u64, &[String])> {
        self.0.iter().map(|(rule, (count, examples))| (*rule, *count, examples.as_slice()))
    }

    /// Whether every rule holds.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The result of an account.
#[derive(Debug)]
pub struct Balance {
    /// The counts.
    pub counts: Counts,
    /// The violated rules.
    pub broken: Broken,
}

/// The handler calls for an event.
#[derive(Clone, Copy, Debug, Default)]
struct Times {
    unmarked: u32,
    marked: u32,
    /// Process and time of the last call.
    last: Option<(usize, u64)>,
}

impl Times {
    const fn all(self) -> u32 {
        self.unmarked + self.marked
    }
}

impl Account {
    /// Adds a connection of a client.
    pub fn connection(&mut self, log: ConnectionLog) {
        self.connections.insert(log.token.to_u64(), log);
    }

    /// Adds the records of processes, in the order in which each process wrote them.
    pub fn records(&mut self, records: Vec<(usize, Record)>) {
        for (process, record) in records {
            self.records.entry(record.client).or_default().push((process, record));
        }
    }

    /// Adds the kill, or the start of the drain, of a gateway.
    pub fn loss(&mut self, loss: Loss) {
        self.losses.push(loss);
    }

    /// Adds the exit of a draining gateway.
    pub fn ended(&mut self, gateway: u16, at: u64) {
        let asked = self.losses.iter().rev().find(|loss| loss.gateway == gateway);
        self.endings.extend(asked.map(|loss| (gateway, loss.at, at)));
    }

    /// Adds the start of a worker, or its continuation after a pause.
    pub fn worker_up(&mut self, worker: usize, at: u64) {
        self.workers.push((worker, at, u64::MAX));
    }

    /// Adds the kill, the drain, or the pause of a worker.
    pub fn worker_down(&mut self, worker: usize, at: u64) {
        let mut runs = self.workers.iter_mut().filter(|run| run.0 == worker);
        if let Some(run) = runs.next_back() {
            run.2 = run.2.min(at);
        }
    }

    /// Adds a guarantee that does not hold.
    pub fn exempt(&mut self, exemption: Exemption) {
        self.exemptions.push(exemption);
    }

    /// Adds a process that did not know a gateway, or could not reach it.
    pub fn disconnection(&mut self, disconnection: Disconnection) {
        self.disconnections.push(disconnection);
    }

    /// Adds another failure.
    pub fn failure(&mut self, what: String) {
        self.broken.add(Rule::NoFailure, || what);
    }

    /// Checks all rules.
    pub fn balance(mut self, leniency: Leniency) -> Balance {
        let mut counts = Counts::default();
        let mut broken = std::mem::take(&mut self.broken);
        let handled = clients::check(&mut self, leniency, &mut counts, &mut broken);
        connections::check(&self, &handled, leniency, &mut counts, &mut broken);
        Balance { counts, broken }
    }

    /// Whether a guarantee does not hold for a client that the gateway had between two times.
    fn is_exempt(&self, guarantee: Guarantee, gateway: u16, from: u64, to: u64) -> bool {
        self.exemptions.iter().any(|it| {
            let overlaps = from <= it.to && it.from <= to;
            it.guarantee == guarantee && it.gateway == gateway && overlaps
        })
    }

    /// Whether the process that handled a message last could not reach a gateway at that time.
    fn was_disconnected(&self, handled: Times, gateway: u16) -> bool {
        let Some((process, at)) = handled.last else { return false };
        self.disconnections.iter().any(|it| {
            let same = it.process == process && it.gateway == gateway;
            same && (it.from..=it.to).contains(&at)
        })
    }

    /// Whether a gateway was lost after that time and, before other workers could have closed its
    /// clients, fewer than two workers were running and ready at some moment: the state of clients
    /// is replicated from owner to standby, which takes two.
    fn lacked_replica(&self, gateway: u16, from: u64) -> bool {
        let losses = self.losses.iter().filter(|loss| loss.gateway == gateway);
        losses.filter(|loss| from <= loss.at + SLACK).any(|loss| {
            let near = loss.at.saturating_sub(SLACK)..=loss.at + CLOSED;
            // The number is lowest right after a worker has ended.
            let ends = self.workers.iter().map(|(_, _, to)| *to).filter(|to| near.contains(to));
            ends.chain([*near.start()]).any(|at| self.workers_at(at) < 2)
        })
    }

    /// The number of workers that were running right after that time, and ready.
    fn workers_at(&self, at: u64) -> usize {
        let ready = |(_, from, to): &&(usize, u64, u64)| from + READY <= at && at < *to;
        self.workers.iter().filter(ready).count()
    }

    /// Whether the gateway of a client that closed its connection was killed so soon that it may
    /// still have held messages of that client.
    fn died_with(&self, log: &ConnectionLog) -> bool {
        let near = log.began..=log.ended + SETTLED;
        let mut losses = self.losses.iter().filter(|loss| loss.gateway == log.gateway);
        log.end == End::Left && losses.any(|loss| loss.killed && near.contains(&loss.at))
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

/// Maximum time until workers have closed all clients of a dead gateway, in nanoseconds.
const SETTLED: u64 = 10_000_000_000;

/// Maximum time until workers have closed the clients of a dead gateway, if two workers are
/// running: the grace period, a takeover, and the delay of a busy machine. In nanoseconds.
const CLOSED: u64 = 7_000_000_000;

/// Time until a worker that was started, or paused, has received the state of the other workers, in
/// nanoseconds.
const READY: u64 = 1_500_000_000;

/// Maximum age of events that a dead gateway had not sent to any worker, and maximum time in which
/// a worker still handles events that it had read from that gateway. In nanoseconds.
const SLACK: u64 = 2_000_000_000;

/// The number of clients with a record, and of those with a close: a run waits until they are
/// equal.
pub fn count_closed_clients(records: &[(usize, Record)]) -> (usize, usize) {
    let (mut known, mut ended) = (FxHashMap::default(), 0);
    for (_, record) in records {
        let end = known.entry(record.client).or_insert(false);
        if let RecordedEvent::Close(_) = record.event
            && !std::mem::replace(end, true)
        {
            ended += 1;
        }
    }
    (known.len(), ended)
}
