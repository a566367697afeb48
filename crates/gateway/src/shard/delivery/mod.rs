//! Events on their way to workers: which worker a client's events go to, and what waits.
//!
//! Nothing here closes a connection: an event that cannot be delivered is an error, and the shard
//! decides what follows from it.

mod delivery_queue;
mod poison;
mod workers;

use std::{
    mem,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use protocol::{ConnectionId, Event, InstanceId, codec::gateway_worker::TooLarge};
use runtime::clock;

use self::{
    delivery_queue::{DeliveryQueue, Finished},
    poison::PoisonDetector,
    workers::{RemovedWorker, Room, WorkerState},
};
use super::{
    connections::{Blocked, Connection, FlowControl, Pause, Window},
    history::History,
    pressure::Budget,
    schedule::Schedule,
    slot::SlotKey,
    standby::Feed,
};
use crate::{
    settings::{NoWorker, Settings},
    thread_messages::{LinkEnd, LinkId, PeerProtocol, Worker},
};

pub(super) use self::{
    delivery_queue::{Entry, Isolation, Reached},
    poison::{GivenUp, Released},
    workers::Workers,
};

/// The total window is this many times the window for clients that send much; the difference is for
/// clients with little in flight.
const TOTAL_FACTOR: usize = 4;

/// Unassigned events beyond this many windows make a shard overloaded.
const OVERLOAD_FACTOR: usize = 2;

/// The events of a shard's clients until workers have acknowledged them.
#[derive(Debug)]
pub(super) struct Delivery {
    shard: u16,
    /// The inner address of the gateway, which is part of each client id.
    address: SocketAddr,
    settings: Arc<Settings>,
    /// The linked workers and their delivery queues.
    pub(super) workers: Workers,
    /// Events without a worker.
    unassigned: DeliveryQueue,
    /// Events that may have terminated worker processes.
    pub(super) suspects: PoisonDetector,
    counts: Counts,
}

/// Events since the counts were last taken.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    /// Queued for a worker.
    pub(super) events: u64,
    /// Those of them that are marked as redelivered.
    pub(super) redelivered: u64,
    /// Dropped, because there was no worker or its queue was full.
    pub(super) dropped: u64,
}

/// The consequences of an acknowledgement.
#[derive(Debug)]
pub(super) struct Acked {
    /// Disconnected clients whose close event is among the acknowledged ones.
    pub(super) closed: Vec<ConnectionId>,
    /// Suspects that are acknowledged.
    pub(super) suspects: Vec<(ConnectionId, u64)>,
    /// Clients that the worker has confirmed.
    pub(super) confirmed: Vec<ConnectionId>,
    /// Connections to resume.
    pub(super) resumable: Vec<SlotKey>,
    /// Whether the worker is draining and has acknowledged everything.
    pub(super) is_drained: bool,
}

impl Delivery {
    pub(super) fn new(shard: u16, address: SocketAddr, settings: Arc<Settings>) -> Self {
        Self {
            shard,
            address,
            workers: Workers::default(),
            unassigned: DeliveryQueue::new(shard, PeerProtocol::Native, address),
            suspects: PoisonDetector::new(settings.max_delivery_attempts),
            counts: Counts::default(),
            settings,
        }
    }

    /// The limits of the unacknowledged bytes of each worker.
    pub(super) fn windows(&self, budget: &Budget) -> Window {
        let (window, workers) = (self.settings.worker_window, self.workers.len());
        let bulk = budget.window(window, workers);
        let total = budget.window(window.saturating_mul(TOTAL_FACTOR), workers);
        Window { bulk, total }
    }

    /// The limit that decides whether workers get new clients.
    fn room(&self, window: Window) -> Room {
        Room { window: window.total, compat_behavior: self.settings.compat_behavior }
    }

    /// Bytes that wait for a worker.
    pub(super) fn held(&self) -> usize {
        self.unassigned.len() + self.suspects.bytes()
    }

    /// Whether events wait for a worker.
    pub(super) fn holds_any(&self) -> bool {
        !(self.unassigned.is_empty() && self.suspects.holds_nothing())
    }

    /// Whether every event is acknowledged.
    pub(super) fn is_finished(&self) -> bool {
        self.workers.in_flight() == 0 && !self.holds_any()
    }

    pub(super) fn take_counts(&mut self) -> Counts {
        mem::take(&mut self.counts)
    }

    /// Whether this shard should get no connections: too many unassigned events, or no worker with
    /// room.
    pub(super) fn is_overloaded(&self, window: Window) -> bool {
        window.bulk.saturating_mul(OVERLOAD_FACTOR) < self.unassigned.len()
            || !self.workers.is_empty() && !self.workers.any_has_room(self.room(window))
    }

    /// Whether the queue of unassigned events has room.
    pub(super) fn has_room_unassigned(&self, window: Window) -> bool {
        self.unassigned.len() < window.bulk
    }
}

/// Events.
impl Delivery {
    /// The worker of a client: its owner, or a new one if the owner is no longer linked.
    pub(super) fn route(
        &mut self,
        connection: &mut Connection,
        window: Window,
        history: &mut History,
    ) -> Option<LinkId> {
        if let Some(link) = connection.route
            && self.workers.holds(link)
        {
            return Some(link);
        }
        let (ip, room) = (connection.remote.ip(), self.room(window));
        let link = self.workers.choose(self.settings.router, ip, room);
        history.assigned(connection, link.and_then(|link| self.workers.worker(link)));
        connection.route = link;
        connection.context_sent = false;
        connection.edits = 0;
        connection.flow_control = FlowControl::default();
        if let Some(worker) = link.and_then(|link| self.workers.get_mut(link)) {
            connection.close_codes = connection.close_codes.or(worker.close_codes);
        }
        link
    }

    /// A worker for the last events of a disconnected client of this address.
    pub(super) fn route_disconnected(&mut self, ip: IpAddr, window: Window) -> Option<LinkId> {
        let link = self.workers.choose(self.settings.router, ip, self.room(window))?;
        // The client does not count for this worker, which gets only its last events.
        self.workers.unbind(link);
        Some(link)
    }

    /// Whether events for this worker, or without one, are dropped.
    pub(super) fn is_lost(&self, link: Option<LinkId>) -> bool {
        link.is_none() && self.settings.no_worker == NoWorker::Destroy
    }

    /// Holds an event that is behind a suspect, or is a suspect to be delivered in isolation. An
    /// event that it returns is to be delivered.
    pub(super) fn hold_back(
        &mut self,
        entry: Entry,
        payload: &[u8],
        schedule: &mut Schedule,
    ) -> Option<Entry> {
        let waits = !self.suspects.is_empty()
            && !matches!(entry.event, Event::Reassigned)
            && self.suspects.must_wait(entry.client, entry.number);
        if !waits {
            return Some(entry);
        }
        self.suspects.hold(entry, payload);
        schedule.request();
        None
    }

    /// Queues an event for this worker, or as unassigned. It is sent at the end of the pass.
    ///
    /// # Errors
    /// When the event exceeds the frame size of the worker's protocol.
    pub(super) fn post(
        &mut self,
        link: Option<LinkId>,
        mut entry: Entry,
        payload: &[u8],
        window: Window,
        schedule: &mut Schedule,
    ) -> Result<(), TooLarge> {
        schedule.request();
        if self.is_lost(link) {
            self.drop_event(entry.client);
            return Ok(());
        }
        if let Some(link) = link.filter(|_| !self.suspects.is_empty()) {
            let isolation = self.suspects.isolation(entry.client, entry.number, link);
            if entry.isolation == Isolation::None && !matches!(entry.event, Event::Reassigned) {
                entry.isolation = isolation;
            }
        }
        match link.and_then(|link| self.workers.open(link)) {
            Some(worker)
                if worker.is_lossy(&self.settings.compat_behavior)
                    && window.bulk <= worker.delivery_queue.len() =>
            {
                self.drop_event(entry.client);
                Ok(())
            }
            Some(worker) => {
                self.counts.events += 1;
                self.counts.redelivered += u64::from(entry.redelivered);
                worker.delivery_queue.push(entry, payload)
            }
            None => self.unassigned.push(entry, payload),
        }
    }

    fn drop_event(&mut self, client: ConnectionId) {
        self.counts.dropped += 1;
        self.suspects.abandon(client);
    }

    /// Takes all unassigned events.
    pub(super) fn take_unassigned(&mut self) -> Vec<Entry> {
        let empty = DeliveryQueue::new(self.shard, PeerProtocol::Native, self.address);
        mem::replace(&mut self.unassigned, empty).recall().collect()
    }

    /// The suspects to deliver in isolation now.
    pub(super) fn next_suspects(&mut self) -> Vec<Entry> {
        match self.workers.can_isolate() {
            // They wait for a worker, like any event.
            None => Vec::new(),
            Some(true) => self.suspects.next(),
            // PHP workers send no acknowledgements: their events count as acknowledged once they
            // are written.
            Some(false) => self.suspects.take_waiting(),
        }
    }
}

/// Backpressure.
impl Delivery {
    /// Whether there is room for the first events of a client, which are emitted before it sends
    /// anything: in the window of a worker that it may get, or in the queue of unassigned events.
    pub(super) fn has_room_for(&self, connection: &Connection, window: Window) -> bool {
        let room = self.room(window);
        match connection.route.filter(|link| self.workers.holds(*link)) {
            Some(link) => self.workers.has_room(link, room),
            None if self.workers.is_empty() => self.unassigned.len() <= window.total,
            None => self.workers.have_room(self.settings.router, connection.remote.ip(), room),
        }
    }

    /// Pauses reads of a client that has sent an event, if flow control of its worker requires it,
    /// or if it has no worker and the queue of unassigned events is full.
    pub(super) fn apply_flow_control(
        &mut self,
        key: SlotKey,
        connection: &mut Connection,
        payload: usize,
        window: Window,
    ) {
        if connection.gate.is_paused_by_worker() {
            return;
        }
        let Some(worker) = connection.route.and_then(|link| self.workers.open(link)) else {
            if window.bulk < self.unassigned.len() {
                connection.gate.pause(Pause::WindowFull);
            }
            return;
        };
        if worker.is_lossy(&self.settings.compat_behavior) {
            return;
        }
        if let Some(blocked) =
            connection.flow_control.add(payload, &worker.delivery_queue.progress(), window)
        {
            let is_fair = blocked == Blocked::FairQueue;
            connection.gate.pause(if is_fair { Pause::WorkerBusy } else { Pause::WindowFull });
            worker.pause_reads(key, blocked);
        }
    }

    /// Whether the window of the client's worker is full; without a worker, whether the queue of
    /// unassigned events is.
    pub(super) fn is_full_for(&mut self, connection: &Connection, window: Window) -> bool {
        match connection.route.and_then(|link| self.workers.open(link)) {
            Some(worker) if worker.is_lossy(&self.settings.compat_behavior) => false,
            Some(worker) => window.bulk < worker.delivery_queue.len(),
            None => window.bulk < self.unassigned.len(),
        }
    }

    /// The worker of a client, if its backlog is above the busy threshold.
    pub(super) fn busy_worker(&mut self, connection: &Connection) -> Option<&mut WorkerState> {
        let worker = self.workers.open(connection.route?)?;
        let is_busy = worker.delivery_queue.progress().is_busy()
            && !worker.is_lossy(&self.settings.compat_behavior);
        is_busy.then_some(worker)
    }

    /// Whether the worker of a client is a PHP worker.
    pub(super) fn has_php_worker(&mut self, connection: &Connection) -> bool {
        let worker = connection.route.and_then(|link| self.workers.open(link));
        worker.is_some_and(|worker| worker.delivery_queue.protocol() == PeerProtocol::Php)
    }

    /// Queues a client in the middle of a large message in its worker's fair queue; `false` if the
    /// worker is below its busy threshold.
    pub(super) fn enqueue_if_busy(&mut self, key: SlotKey, connection: &mut Connection) -> bool {
        let Some(worker) = self.busy_worker(connection) else {
            return false;
        };
        worker.pause_reads(key, Blocked::FairQueue);
        connection.gate.pause(Pause::WorkerBusy);
        true
    }

    /// Pauses reads of a client until its worker has caught up, or is linked.
    pub(super) fn pause(&mut self, key: SlotKey, connection: &mut Connection) {
        connection.gate.pause(Pause::WindowFull);
        if let Some(worker) = connection.route.and_then(|link| self.workers.open(link)) {
            worker.pause_reads(key, Blocked::WorkerWindow);
        }
    }
}

/// Links.
impl Delivery {
    pub(super) fn worker_up(&mut self, link: LinkId, worker: Arc<Worker>, feed: Feed) {
        if let Some(instance) = &worker.instance {
            self.suspects.reconnected(instance);
        }
        let queue = DeliveryQueue::new(self.shard, worker.protocol, self.address);
        self.workers.insert(link, worker, queue, feed);
    }

    /// Removes a worker. Its unacknowledged events may be suspects from now on. Returns what it
    /// leaves behind, with the unassigned events after its own.
    pub(super) fn worker_down(&mut self, link: LinkId, end: LinkEnd) -> Option<RemovedWorker> {
        let mut removed = self.workers.remove(link, &self.settings.compat_behavior)?;
        let instance = removed.instance.as_ref().filter(|_| !removed.was_leaving);
        self.suspect(instance, end, &removed.events);
        removed.events.extend(self.take_unassigned());
        Some(removed)
    }

    /// Updates the suspects with the unacknowledged events of a worker whose link has ended.
    fn suspect(&mut self, instance: Option<&InstanceId>, end: LinkEnd, entries: &[Entry]) {
        match (instance, end) {
            (Some(instance), LinkEnd::Closed) => {
                self.suspects.process_ended(instance, entries, clock::now())
            }
            _ => self.suspects.link_lost(entries),
        }
    }

    /// A worker has started all events up to this one. Returns whether it is linked.
    pub(super) fn event_started(&mut self, link: LinkId, through: u64) -> bool {
        let worker = self.workers.get_mut(link);
        worker.map(|worker| worker.delivery_queue.started(through)).is_some()
    }

    /// A worker has acknowledged the events `first..=last`.
    pub(super) fn ack(
        &mut self,
        link: LinkId,
        first: u64,
        last: u64,
        window: Window,
    ) -> Option<Acked> {
        let worker = self.workers.get_mut(link)?;
        let Finished { closed, suspects } = worker.delivery_queue.ack(first, last);
        let confirmed = worker.confirmed(first, last);
        let is_drained = worker.is_drained();
        let resumable = match is_drained {
            true => Vec::new(),
            false => worker.take_resumable(first, last, window.bulk),
        };
        Some(Acked { closed, suspects, confirmed, resumable, is_drained })
    }

    /// A worker reports that the handler of an event has started.
    pub(super) fn handler_started(&mut self, link: LinkId, seq: u64, alone: bool) {
        if let Some((client, number)) = self.workers.suspect(link, seq) {
            self.suspects.handler_started(client, number, alone);
        }
    }
}
