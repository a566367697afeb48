//! Poison message detection: a value, without workers or sockets.
//!
//! When the process of a Rust worker terminates, its unacknowledged events become *suspects*: the
//! first of each client, and then its others in turn, since an acknowledgement may not have been
//! sent yet. A suspect is redelivered like any event, and its worker reports when its handler
//! starts ([`HandlerStarted`](protocol::link::ToGateway::HandlerStarted)), after earlier
//! acknowledgements. The termination of that process counts against the suspects that had started
//! there, and against no others.
//!
//! When one more termination would reach the limit, the suspect is delivered in isolation: in a
//! small group, and alone ([`IsolatedEvent`](protocol::link::ToPeer::IsolatedEvent)) if it is the only
//! one, or if it was in a group whose worker terminated. An event is a confirmed poison message if
//! its worker terminates while it runs alone, or once it had started at four times the limit of
//! terminations. It is given up only once that worker has not reconnected for a while: a broken
//! link is no termination. The terminations that it explains no longer count against other
//! suspects.
//!
//! Events of a client behind a suspect that is delivered in isolation are held here.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;
use protocol::{ConnectionId, Event, InstanceId};
use rustc_hash::{FxHashMap, FxHashSet};

use super::delivery_queue::{Entry, Isolation, Reached};
use crate::thread_messages::LinkId;

/// Suspects per group, if none of them has to run alone.
const GROUP: usize = 32;

/// How long a worker that was disconnected while a suspect ran alone may take to reconnect, if only
/// its link was lost: it retries within two seconds.
const CONFIRM_AFTER: Duration = Duration::from_secs(5);

/// An event that had started at this many times the limit of terminations is given up even if it
/// never ran alone, because handlers at its workers take too long for that.
const GROUPED_LIMIT_FACTOR: usize = 4;

/// The suspects of a shard, and the events held behind them.
#[derive(Debug)]
pub(in crate::shard) struct PoisonDetector {
    /// The number of terminations at which an event is given up; never if `None`.
    limit: Option<usize>,
    records: FxHashMap<ConnectionId, Record>,
    /// Clients whose suspects are to be delivered in isolation, in order.
    waiting: VecDeque<ConnectionId>,
    /// Clients whose suspects are being delivered in isolation.
    running: FxHashSet<ConnectionId>,
    /// Events that were held behind undeliverable suspects.
    unblocked: Vec<Released>,
    /// Bytes of held events.
    bytes: usize,
}

/// A client's first unacknowledged event, and the range of events behind it that may be the poison
/// message instead.
#[derive(Debug)]
struct Record {
    /// The client's event number.
    number: u64,
    /// The last event that the terminated process had.
    last: u64,
    /// The worker instances that terminated while they had it; except for the first, while its
    /// handler was running.
    ends: Vec<InstanceId>,
    stage: Stage,
    /// The latest report of its current worker.
    started: Started,
    /// The last event that its current worker has reported as started; 0 if none. A worker reports
    /// all events of a batch before it acknowledges the first of them.
    reported: u64,
    /// Whether it must run alone, because it was in a group whose worker terminated.
    must_be_alone: bool,
    /// The link that it was last sent to, or that owned its client when the client disconnected.
    link: Option<LinkId>,
    /// Held events: the suspect itself, unless it is being delivered, and the events behind it.
    held: VecDeque<Entry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It is, or may be, delivered like any event.
    Free,
    /// It is to be delivered in isolation.
    Waiting,
    /// It is being delivered in isolation.
    Running,
    /// It is a confirmed poison message since that time.
    Confirmed(Instant),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Started {
    No,
    AmongOthers,
    Alone,
}

/// A confirmed poison message, which is given up.
#[derive(Debug)]
pub(in crate::shard) struct GivenUp {
    /// The client's event number.
    pub(in crate::shard) number: u64,
    /// How many worker processes terminated while they had it.
    pub(in crate::shard) ends: usize,
    /// The kind of event, for logs.
    pub(in crate::shard) kind: &'static str,
    /// The client's later events, and their worker.
    pub(in crate::shard) rest: Released,
}

/// Events released from behind a suspect.
#[derive(Debug, Default)]
pub(in crate::shard) struct Released {
    pub(in crate::shard) entries: Vec<Entry>,
    /// The worker that has the client: it was sent the suspect, or owned the client at its end.
    pub(in crate::shard) link: Option<LinkId>,
}

impl PoisonDetector {
    /// Gives events up at `limit` terminations; never if `None`.
    pub(super) fn new(limit: Option<usize>) -> Self {
        Self {
            limit,
            records: FxHashMap::default(),
            waiting: VecDeque::new(),
            running: FxHashSet::default(),
            unblocked: Vec::new(),
            bytes: 0,
        }
    }

    /// Whether there are no suspects.
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Bytes of held events.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Clients with held events.
    pub(in crate::shard) fn held_clients(&self) -> impl Iterator<Item = ConnectionId> {
        let held = self.records.iter().filter(|(_, record)| !record.held.is_empty());
        held.map(|(client, _)| *client)
    }

    /// A worker process has terminated. `entries` are its unacknowledged events, in order.
    pub(super) fn process_ended(&mut self, instance: &InstanceId, entries: &[Entry], now: Instant) {
        let Some(limit) = self.limit else { return };
        let mut seen = FxHashSet::default();
        let sent = entries.iter().filter(|entry| entry.reached == Reached::Sent);
        for Entry { client, number, .. } in sent.filter(|entry| may_be_suspect(entry)) {
            let is_first = seen.insert(*client);
            match self.records.get_mut(client) {
                Some(record) if is_first && record.number == *number => {
                    self.running.remove(client);
                    record.ended(instance, limit, now);
                }
                // Behind a suspect that is new as well, or one that earlier terminations counted
                // against.
                Some(record) if matches!(&record.ends[..], [only] if only == instance) => {
                    record.last = record.last.max(*number);
                }
                Some(_) => {}
                None => {
                    let record = Record {
                        number: *number,
                        last: *number,
                        ends: vec![instance.clone()],
                        stage: Stage::Free,
                        started: Started::No,
                        reported: 0,
                        must_be_alone: false,
                        link: None,
                        held: VecDeque::new(),
                    };
                    self.records.insert(*client, record);
                }
            }
        }
    }

    /// A link has ended, and it is unknown whether the worker process has. Its events count as not
    /// started.
    pub(super) fn link_lost(&mut self, entries: &[Entry]) {
        for Entry { client, number, .. } in entries.iter().filter(|entry| may_be_suspect(entry)) {
            if let Some(record) = self.records.get_mut(client)
                && record.number == *number
            {
                self.running.remove(client);
                record.free();
            }
        }
    }

    /// A worker is linked: if this instance was counted as terminated, it was not.
    pub(super) fn reconnected(&mut self, instance: &InstanceId) {
        for (client, record) in &mut self.records {
            let before = record.ends.len();
            record.ends.retain(|ended| ended != instance);
            if record.ends.len() < before && matches!(record.stage, Stage::Confirmed(_)) {
                record.stage = Stage::Waiting;
                self.waiting.push_back(*client);
            }
        }
    }

    /// How an event that is sent to a worker now is delivered.
    pub(super) fn isolation(
        &mut self,
        client: ConnectionId,
        number: u64,
        link: LinkId,
    ) -> Isolation {
        match self.records.get_mut(&client) {
            Some(record) if (record.number..=record.last).contains(&number) => {
                record.link = Some(link);
                Isolation::Suspect
            }
            _ => Isolation::None,
        }
    }

    /// Whether an event must be held.
    pub(super) fn must_wait(&self, client: ConnectionId, number: u64) -> bool {
        let Some((record, limit)) = self.records.get(&client).zip(self.limit) else {
            return false;
        };
        match record.stage {
            Stage::Free if record.number == number => limit <= record.ends.len() + 1,
            // Events before it may be held still, if fewer terminations count than before.
            Stage::Free => record.number < number && !record.held.is_empty(),
            Stage::Waiting | Stage::Running | Stage::Confirmed(_) => true,
        }
    }

    /// Holds an event that [must wait](Self::must_wait). Its payload is passed separately.
    pub(super) fn hold(&mut self, mut entry: Entry, payload: &[u8]) {
        let Some(record) = self.records.get_mut(&entry.client) else {
            return;
        };
        if let Event::Message(message) = &mut entry.event {
            // The body may be a slice of a batch, which would be retained as a whole.
            message.body = Bytes::copy_from_slice(payload);
        }
        if record.stage == Stage::Running && record.number == entry.number {
            // It was unassigned again, and no worker has received it.
            self.running.remove(&entry.client);
            record.free();
        }
        if record.stage == Stage::Free && record.number == entry.number {
            record.stage = Stage::Waiting;
            self.waiting.push_back(entry.client);
        }
        self.bytes += size(&entry);
        // A redelivered suspect goes before the events held behind it.
        let behind = record.held.partition_point(|held| held.number < entry.number);
        record.held.insert(behind, entry);
    }

    /// A client has disconnected. Its held events go to its owner, which need not be the worker
    /// that had the suspect: an owner that never receives the close event closes the client itself.
    pub(in crate::shard) fn disconnected(&mut self, client: ConnectionId, owner: LinkId) {
        if let Some(record) = self.records.get_mut(&client) {
            record.link = Some(owner);
        }
    }

    /// The worker that has the client of a suspect.
    pub(in crate::shard) fn link(&self, client: ConnectionId) -> Option<LinkId> {
        self.records.get(&client)?.link
    }

    /// Takes the next suspects to deliver in isolation; none while others are running.
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
                // The context of a disconnected client is in its close event.
                let last = record.held.iter().find(|held| held.event.is_close());
                entry.context = last.and_then(|last| last.context.clone());
            }
            entry.isolation = if alone.is_some() { Isolation::Alone } else { Isolation::Suspect };
            record.free();
            record.stage = Stage::Running;
            self.running.insert(client);
            entries.push(entry);
        }
        entries
    }

    /// Takes all suspects that wait for isolated delivery, to deliver them like any event.
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

    /// A worker reports that the handler of a client's suspect has started.
    pub(super) fn handler_started(&mut self, client: ConnectionId, number: u64, alone: bool) {
        let Some(record) = self.records.get_mut(&client) else { return };
        if record.number == number {
            let alone = alone && record.stage == Stage::Running;
            record.started = if alone { Started::Alone } else { Started::AmongOthers };
        }
        if (record.number..=record.last).contains(&number) {
            record.reported = record.reported.max(number);
        }
    }

    /// A client's suspect is acknowledged. Its next event becomes the suspect, if the terminated
    /// process had that as well.
    pub(in crate::shard) fn ack(&mut self, client: ConnectionId, number: u64) -> Released {
        let Some(record) = self.records.get_mut(&client).filter(|it| it.number <= number) else {
            return Released::default();
        };
        self.running.remove(&client);
        if number < record.last {
            let reported = record.reported;
            record.free();
            record.number = number + 1;
            if record.number <= reported {
                (record.started, record.reported) = (Started::AmongOthers, reported);
            }
            let entries = Vec::from(std::mem::take(&mut record.held));
            self.bytes -= entries.iter().map(size).sum::<usize>();
            return Released { entries, link: record.link };
        }
        self.clear(client)
    }

    /// A client's suspect cannot be delivered. The events behind it are to be
    /// [taken](Self::take_unblocked).
    pub(in crate::shard) fn abandon(&mut self, client: ConnectionId) {
        let released = self.clear(client);
        if !released.entries.is_empty() {
            self.unblocked.push(released);
        }
    }

    /// Takes the events that were held behind undeliverable suspects.
    pub(in crate::shard) fn take_unblocked(&mut self) -> Vec<Released> {
        std::mem::take(&mut self.unblocked)
    }

    /// Whether there are any to take.
    pub(in crate::shard) fn has_unblocked(&self) -> bool {
        !self.unblocked.is_empty()
    }

    /// Whether no event is held.
    pub(super) fn holds_nothing(&self) -> bool {
        self.bytes == 0 && self.unblocked.is_empty()
    }

    /// Clears a client: none of its events is a suspect any more.
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

    /// Clients whose suspects are to be given up now.
    pub(in crate::shard) fn due(&self, now: Instant) -> Vec<ConnectionId> {
        let due = |record: &Record| match record.stage {
            Stage::Confirmed(at) => at + CONFIRM_AFTER <= now,
            Stage::Free | Stage::Waiting | Stage::Running => false,
        };
        self.records.iter().filter(|(_, it)| due(it)).map(|(client, _)| *client).collect()
    }

    /// Removes a suspect that is given up. The terminations that it explains no longer count
    /// against other suspects; those that need no isolation then are returned as well.
    pub(in crate::shard) fn give_up(
        &mut self,
        client: ConnectionId,
    ) -> Option<(GivenUp, Vec<Released>)> {
        let record = self.records.remove(&client)?;
        let (number, explained) = (record.number, record.ends.clone());
        let mut rest = self.released(record);
        let kind = match rest.entries.is_empty() {
            true => "none",
            false => kind(&rest.entries.remove(0).event),
        };
        Some((
            GivenUp { number, ends: explained.len(), kind, rest },
            self.clear_explained(&explained),
        ))
    }

    fn clear_explained(&mut self, ends: &[InstanceId]) -> Vec<Released> {
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
    fn ended(&mut self, instance: &InstanceId, limit: usize, now: Instant) {
        let (started, reported) = (self.started, self.reported);
        let was_running = self.stage == Stage::Running;
        self.free();
        if started == Started::No {
            return;
        }
        self.ends.push(instance.clone());
        // Events before it are acknowledged, and events behind the reported ones had not started.
        self.last = self.number.max(reported);
        self.must_be_alone |= was_running;
        if started == Started::Alone
            || limit.saturating_mul(GROUPED_LIMIT_FACTOR) <= self.ends.len()
        {
            self.stage = Stage::Confirmed(now);
        }
    }

    fn free(&mut self) {
        (self.stage, self.started, self.reported) = (Stage::Free, Started::No, 0);
    }
}

/// Whether an event can be a suspect: `Reassigned` runs no handler, and has the number of the event
/// before it.
const fn may_be_suspect(entry: &Entry) -> bool {
    !matches!(entry.event, Event::Reassigned)
}

const fn kind(event: &Event) -> &'static str {
    match event {
        Event::Connect => "connect",
        Event::WebSocketConnect(_) => "websocket_connect",
        Event::Message(_) => "message",
        Event::Close(_) | Event::Closed(_) => "close",
        Event::Expiring { .. } => "expiring",
        Event::Reassigned => "reassigned",
        Event::WebSocketRequest(_) => "websocket_request",
    }
}

/// Approximate memory of a held event, in bytes.
fn size(entry: &Entry) -> usize {
    let payload = match &entry.event {
        Event::Message(message) => message.body.len(),
        _ => 0,
    };
    size_of::<Entry>() + payload
}

#[cfg(test)]
mod tests;
