//! Events over which worker processes may have ended: a value, without a worker or a socket.
//!
//! When the process of a Rust worker ends, the events that it had are *suspects*: of each client the
//! first, and then the others in turn, since what was done may not have been reported yet. A suspect is
//! redelivered as any event, and its worker says when its handler starts
//! ([`Trying`](protocol::link::ToGateway::Trying)), behind what is done. An end of that process counts
//! against the suspects that had started there, and against no others.
//!
//! When one more end would be the last that is allowed, the suspect is delivered with care: a few such at a
//! time, and alone ([`Trial`](protocol::link::ToPeer::Trial)) if there is only one, or if it was among
//! a few whose worker ended. Only an event whose worker ends while it runs alone is given up, and only
//! once that worker has not come back for a while: a link that was cut ends nothing. The ends that it
//! explains count against no other suspect any more.
//!
//! What a client sends behind a suspect that is delivered with care waits here.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;
use protocol::{ConnectionId, Event, Instance};
use rustc_hash::{FxHashMap, FxHashSet};

use super::outlet::{Care, Entry, Reached};
use crate::exchange::LinkId;

/// How many suspects are delivered with care at a time, if none of them has to be alone.
const GROUP: usize = 32;

/// How long a worker that ended while a suspect ran alone may take to come back, if its link was only
/// cut: it tries again within two seconds.
const VERDICT: Duration = Duration::from_secs(5);

/// An event that has been started at so many times as many ends as are allowed is given up even if it
/// never ran alone, because handlers there take too long for that.
const PATIENCE: usize = 4;

/// The suspects of a shard, and what waits behind them.
#[derive(Debug)]
pub(super) struct Suspects {
    /// At how many ends an event is given up; never if `None`.
    limit: Option<usize>,
    records: FxHashMap<ConnectionId, Record>,
    /// Clients whose suspects are to be delivered with care, in order.
    waiting: VecDeque<ConnectionId>,
    /// Clients whose suspects are being delivered with care.
    running: FxHashSet<ConnectionId>,
    /// What waited behind suspects that cannot be delivered at all.
    loose: Vec<Released>,
    /// Bytes held.
    bytes: usize,
}

/// A client's first unfinished event, and how many behind it may be the one as well.
#[derive(Debug)]
struct Record {
    /// The event's number among the client's own.
    number: u64,
    /// The last that was with the process when it ended.
    last: u64,
    /// The lives of workers that ended while it was there; but for the first, while it was running.
    ends: Vec<Instance>,
    stage: Stage,
    /// What its present worker has said of it.
    tried: Tried,
    /// Whether it must run alone, since it was in a group whose worker ended.
    must_be_alone: bool,
    /// Where it went last.
    link: Option<LinkId>,
    /// Events that wait: the suspect itself, unless it is being delivered, and what came behind it.
    held: VecDeque<Entry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It is, or may be, delivered as any event.
    Free,
    /// It is to be delivered with care.
    Waiting,
    /// It is being delivered with care.
    Running,
    /// Its worker ended while it ran alone, at that time.
    Convicted(Instant),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tried {
    No,
    AmongOthers,
    Alone,
}

/// An event that is given up.
#[derive(Debug)]
pub(super) struct GivenUp {
    /// The event's number among the client's own.
    pub(super) number: u64,
    /// How many worker processes ended while it was there.
    pub(super) ends: usize,
    /// What kind of event it is, for logs.
    pub(super) kind: &'static str,
    /// What the client did after it.
    pub(super) rest: Vec<Entry>,
}

/// A suspect that is done, and what waited behind it.
#[derive(Debug, Default)]
pub(super) struct Released {
    pub(super) entries: Vec<Entry>,
    /// The worker that the suspect went to.
    pub(super) link: Option<LinkId>,
}

impl Suspects {
    /// Gives events up at that many ends; never if `None`.
    pub(super) fn new(limit: Option<usize>) -> Self {
        Self {
            limit,
            records: FxHashMap::default(),
            waiting: VecDeque::new(),
            running: FxHashSet::default(),
            loose: Vec::new(),
            bytes: 0,
        }
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Bytes of the events that wait here.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Clients whose events wait here.
    pub(super) fn held_clients(&self) -> impl Iterator<Item = ConnectionId> {
        let held = self.records.iter().filter(|(_, record)| !record.held.is_empty());
        held.map(|(client, _)| *client)
    }

    /// The process of a worker has ended. `entries` is what it had not finished, in order.
    pub(super) fn ended(&mut self, life: &Instance, entries: &[Entry], now: Instant) {
        let Some(limit) = self.limit else { return };
        let mut seen = FxHashSet::default();
        let sent = entries.iter().filter(|entry| entry.reached == Reached::Sent);
        for Entry { client, number, .. } in sent.filter(|entry| may_be_suspect(entry)) {
            let is_first = seen.insert(*client);
            match self.records.get_mut(client) {
                Some(record) if is_first && record.number == *number => {
                    self.running.remove(client);
                    record.ended(life, limit, now);
                }
                // Behind one that is new as well, or one that was held responsible before.
                Some(record) if matches!(&record.ends[..], [only] if only == life) => {
                    record.last = record.last.max(*number);
                }
                Some(_) => {}
                None => {
                    let record = Record {
                        number: *number,
                        last: *number,
                        ends: vec![life.clone()],
                        stage: Stage::Free,
                        tried: Tried::No,
                        must_be_alone: false,
                        link: None,
                        held: VecDeque::new(),
                    };
                    self.records.insert(*client, record);
                }
            }
        }
    }

    /// The link of a worker has ended, and nobody knows whether its process has. What it had counts as
    /// not started.
    pub(super) fn lost(&mut self, entries: &[Entry]) {
        for Entry { client, number, .. } in entries.iter().filter(|entry| may_be_suspect(entry)) {
            if let Some(record) = self.records.get_mut(client)
                && record.number == *number
            {
                self.running.remove(client);
                record.free();
            }
        }
    }

    /// A worker is linked: if this life was counted as ended, it was not.
    pub(super) fn is_back(&mut self, life: &Instance) {
        for (client, record) in &mut self.records {
            let before = record.ends.len();
            record.ends.retain(|ended| ended != life);
            if record.ends.len() < before && matches!(record.stage, Stage::Convicted(_)) {
                record.stage = Stage::Waiting;
                self.waiting.push_back(*client);
            }
        }
    }

    /// What a worker is told of an event that goes to it now.
    pub(super) fn care(&mut self, client: ConnectionId, number: u64, link: LinkId) -> Care {
        match self.records.get_mut(&client) {
            Some(record) if (record.number..=record.last).contains(&number) => {
                record.link = Some(link);
                Care::Suspect
            }
            _ => Care::No,
        }
    }

    /// Whether an event has to wait here.
    pub(super) fn must_wait(&self, client: ConnectionId, number: u64) -> bool {
        let Some((record, limit)) = self.records.get(&client).zip(self.limit) else {
            return false;
        };
        match record.stage {
            Stage::Free => record.number == number && limit <= record.ends.len() + 1,
            Stage::Waiting | Stage::Running | Stage::Convicted(_) => true,
        }
    }

    /// Keeps an event that [has to wait](Self::must_wait). Its payload is given beside it.
    pub(super) fn hold(&mut self, mut entry: Entry, payload: &[u8]) {
        let Some(record) = self.records.get_mut(&entry.client) else {
            return;
        };
        if let Event::Message(message) = &mut entry.event {
            // It may be a slice of a batch, all of which would be kept.
            message.body = Bytes::copy_from_slice(payload);
        }
        if record.stage == Stage::Running && record.number == entry.number {
            // It has waited for a worker again, and none has had it.
            self.running.remove(&entry.client);
            record.free();
        }
        if record.stage == Stage::Free {
            record.stage = Stage::Waiting;
            self.waiting.push_back(entry.client);
        }
        self.bytes += size(&entry);
        // A suspect that comes back from a worker is before what waited behind it.
        let behind = record.held.partition_point(|held| held.number < entry.number);
        record.held.insert(behind, entry);
    }

    /// Takes the suspects that are to be delivered with care now: none while others are.
    pub(super) fn next(&mut self) -> Vec<Entry> {
        if !self.running.is_empty() {
            return Vec::new();
        }
        let mut alone = self
            .waiting
            .iter()
            .position(|client| self.records.get(client).is_some_and(|record| record.must_be_alone));
        if self.waiting.len() == 1 {
            alone = Some(0);
        }
        let clients: Vec<_> = match alone {
            Some(at) => self.waiting.remove(at).into_iter().collect(),
            None => self.waiting.drain(..self.waiting.len().min(GROUP)).collect(),
        };
        let mut entries = Vec::with_capacity(clients.len());
        for client in clients {
            let Some(record) = self.records.get_mut(&client) else { continue };
            let Some(mut entry) = record.held.pop_front() else { continue };
            self.bytes -= size(&entry);
            if entry.context.is_none() {
                // Of a client that is gone, what a worker must know is in its last event.
                let last = record.held.iter().find(|held| matches!(held.event, Event::Close(_)));
                entry.context = last.and_then(|last| last.context.clone());
            }
            entry.care = if alone.is_some() { Care::Trial } else { Care::Suspect };
            (record.stage, record.tried) = (Stage::Running, Tried::No);
            self.running.insert(client);
            entries.push(entry);
        }
        entries
    }

    /// Takes everything that waits to be delivered with care, to be delivered without.
    pub(super) fn take_waiting(&mut self) -> Vec<Entry> {
        let mut entries = Vec::new();
        for client in self.waiting.drain(..) {
            if let Some(record) = self.records.remove(&client) {
                entries.extend(record.held);
            }
        }
        self.bytes -= entries.iter().map(size).sum::<usize>();
        entries
    }

    /// A worker says that the handler of a client's suspect has started.
    pub(super) fn tried(&mut self, client: ConnectionId, number: u64, alone: bool) {
        if let Some(record) = self.records.get_mut(&client)
            && record.number == number
        {
            let alone = alone && record.stage == Stage::Running;
            record.tried = if alone { Tried::Alone } else { Tried::AmongOthers };
        }
    }

    /// A client's suspect is done; the next one is its next event, if that was there too.
    pub(super) fn done(&mut self, client: ConnectionId, number: u64) -> Released {
        let Some(record) = self.records.get_mut(&client).filter(|it| it.number <= number) else {
            return Released::default();
        };
        self.running.remove(&client);
        if number < record.last {
            record.number = number + 1;
            record.free();
            let entries = Vec::from(std::mem::take(&mut record.held));
            self.bytes -= entries.iter().map(size).sum::<usize>();
            return Released { entries, link: record.link };
        }
        self.clear(client)
    }

    /// A client's suspect cannot be delivered. What waited behind it is to be [taken](Self::take_loose).
    pub(super) fn abandon(&mut self, client: ConnectionId) {
        let released = self.clear(client);
        if !released.entries.is_empty() {
            self.loose.push(released);
        }
    }

    /// Takes what waited behind suspects that could not be delivered.
    pub(super) fn take_loose(&mut self) -> Vec<Released> {
        std::mem::take(&mut self.loose)
    }

    /// Whether nothing waits here.
    pub(super) fn holds_nothing(&self) -> bool {
        self.bytes == 0 && self.loose.is_empty()
    }

    /// Nothing of a client is a suspect any more.
    fn clear(&mut self, client: ConnectionId) -> Released {
        self.running.remove(&client);
        match self.records.remove(&client) {
            Some(record) => self.released(record),
            None => Released::default(),
        }
    }

    fn released(&mut self, record: Record) -> Released {
        let Record { held, link, .. } = record;
        self.bytes -= held.iter().map(size).sum::<usize>();
        Released { entries: held.into(), link }
    }

    /// Clients whose suspects are to be given up by now.
    pub(super) fn due(&self, now: Instant) -> Vec<ConnectionId> {
        let due =
            |record: &Record| matches!(record.stage, Stage::Convicted(at) if at + VERDICT <= now);
        self.records.iter().filter(|(_, it)| due(it)).map(|(client, _)| *client).collect()
    }

    /// Takes out a suspect that is given up. The ends that it explains are held against no other any
    /// more; those of the others that need no care then are given back as well.
    pub(super) fn give_up(&mut self, client: ConnectionId) -> Option<(GivenUp, Vec<Released>)> {
        let record = self.records.remove(&client)?;
        let (number, explained) = (record.number, record.ends.clone());
        let mut rest = self.released(record).entries;
        let kind = match rest.is_empty() {
            true => "none",
            false => kind(&rest.remove(0).event),
        };
        Some((GivenUp { number, ends: explained.len(), kind, rest }, self.exonerate(&explained)))
    }

    fn exonerate(&mut self, ends: &[Instance]) -> Vec<Released> {
        let Some(limit) = self.limit else { return Vec::new() };
        for record in self.records.values_mut() {
            record.ends.retain(|end| !ends.contains(end));
        }
        let is_free = |record: &Record| {
            record.ends.is_empty() && matches!(record.stage, Stage::Free)
                || record.ends.len() + 1 < limit && record.stage == Stage::Waiting
        };
        let free = self.records.iter().filter(|(_, record)| is_free(record));
        let free: Vec<_> = free.map(|(client, _)| *client).collect();
        self.waiting.retain(|client| !free.contains(client));
        let records: Vec<_> = free.iter().filter_map(|it| self.records.remove(it)).collect();
        let released = records.into_iter().map(|record| self.released(record));
        released.filter(|released| !released.entries.is_empty()).collect()
    }
}

impl Record {
    fn ended(&mut self, life: &Instance, limit: usize, now: Instant) {
        let tried = self.tried;
        let was_running = self.stage == Stage::Running;
        self.free();
        if tried == Tried::No {
            return;
        }
        self.ends.push(life.clone());
        // Those before it are done, and those behind it had not started.
        self.last = self.number;
        self.must_be_alone |= was_running;
        if tried == Tried::Alone || limit.saturating_mul(PATIENCE) <= self.ends.len() {
            self.stage = Stage::Convicted(now);
        }
    }

    fn free(&mut self) {
        (self.stage, self.tried) = (Stage::Free, Tried::No);
    }
}

/// Whether an event can be a suspect: `Adopt` runs no handler, and has the number of the event before it.
const fn may_be_suspect(entry: &Entry) -> bool {
    !matches!(entry.event, Event::Adopt)
}

const fn kind(event: &Event) -> &'static str {
    match event {
        Event::Connect => "connect",
        Event::WebSocketConnect(_) => "websocket_connect",
        Event::Message(_) => "message",
        Event::Close(_) => "close",
        Event::Adopt => "adopt",
    }
}

/// Roughly how many bytes an event takes while it waits.
fn size(entry: &Entry) -> usize {
    let payload = match &entry.event {
        Event::Message(message) => message.body.len(),
        _ => 0,
    };
    size_of::<Entry>() + payload
}

#[cfg(test)]
mod tests;
