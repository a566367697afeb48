//! Emitting client events, and routing them to workers or to the queue of unassigned events.

use std::{net::Ipv4Addr, time::Duration};

use bytes::Bytes;
use framing::Violation;
use protocol::{
    CloseReason, ConnectionId, Event,
    codec::gateway_worker::{MAX_FRAME, TooLarge},
};
use runtime::clock;
use rustc_hash::FxHashMap;

use super::{
    SCRATCH, Shard,
    connection::{Pause, Phase, SlotKey},
    delivery_queue::{DeliveryQueue, Entry, Isolation, Reached},
    flow_control::{Blocked, FlowControl, LIGHT},
    workers::WorkerState,
};
use crate::{
    closed::CloseCause,
    settings::NoWorker,
    thread_messages::{LinkId, PeerProtocol},
};

/// Maximum number of bytes per read of a request: most requests fit.
const HEAD: usize = 4 * 1024;

impl Shard {
    /// Emits an event of a client. `event` carries no payload; `payload` is passed separately.
    pub(super) fn emit(&mut self, key: SlotKey, event: Event, payload: &[u8]) {
        let connection = &mut self.connections[key as usize];
        if let Some(client) = connection.id {
            connection.events += 1;
            let number = connection.events;
            self.deliver(key, fresh(client, number, event), payload);
        }
    }

    /// Delivers an event of a connected client, unless it has to wait for a suspect.
    fn deliver(&mut self, key: SlotKey, entry: Entry, payload: &[u8]) {
        let Some(entry) = self.hold_back(entry, payload) else {
            // Reads pause as well, until the suspect is delivered.
            let connection = &mut self.connections[key as usize];
            connection.paused = Some(Pause::WindowFull);
            connection.held_since = None;
            return;
        };
        self.deliver_now(key, entry, payload);
    }

    /// Delivers an event of a connected client, past any suspect.
    pub(super) fn deliver_now(&mut self, key: SlotKey, mut entry: Entry, payload: &[u8]) {
        let link = self.route(key);
        if self.is_lost(link) {
            // Events without a worker are dropped, and their clients closed.
            self.close(key, CloseCause::NoWorker { retry_after: Duration::ZERO });
            self.warnings.no_worker();
            return;
        }
        let connection = &mut self.connections[key as usize];
        let open = link.and_then(|link| self.workers.open(link));
        let protocol = open.map(|worker| worker.delivery_queue.protocol());
        let worker = link.filter(|_| protocol.is_some());
        connection.held_since = match worker {
            Some(_) => None,
            None => connection.held_since.or_else(|| Some(clock::now())),
        };
        // PHP workers need the context with every event.
        let context_sent = protocol == Some(PeerProtocol::Native) && connection.context_sent;
        connection.context_sent = worker.is_some();
        entry.edits = connection.edits;
        entry.context = (worker.is_some() && !context_sent)
            .then(|| connection.context(self.directory.session(entry.client)));
        let is_first_context = entry.context.is_some() && protocol == Some(PeerProtocol::Native);
        if is_first_context {
            self.assign_standbys(key, true);
        }
        let client = entry.client;
        if let Err(error) = self.post(worker, entry, payload) {
            self.suspects.abandon(client);
            // A native worker could take it; a PHP worker would close its link.
            let client = self.client_id(client);
            tracing::debug!(%client, %error, "event too large for this worker; closing the client");
            let violation = Violation::TooLong { size: payload.len() as u64, limit: MAX_FRAME };
            self.close(key, CloseCause::Violation(violation));
            return;
        }
        if let Some(owner) = worker.filter(|_| is_first_context) {
            self.await_confirmation(key, owner);
        }
        self.apply_flow_control(key, payload.len());
    }

    /// Pauses reads of a client that has sent an event, if flow control of its worker requires it,
    /// or if it has no worker and the queue of unassigned events is full.
    fn apply_flow_control(&mut self, key: SlotKey, payload: usize) {
        let window = self.windows();
        let connection = &mut self.connections[key as usize];
        if connection.paused.is_some() {
            return;
        }
        let Some(worker) = connection.route.and_then(|link| self.workers.open(link)) else {
            connection.paused = (window.bulk < self.unassigned.len()).then_some(Pause::WindowFull);
            return;
        };
        if worker.is_lossy(&self.settings.compat_behavior) {
            return;
        }
        if let Some(blocked) =
            connection.flow_control.add(payload, &worker.delivery_queue.progress(), window)
        {
            let is_fair = blocked == Blocked::FairQueue;
            connection.paused = Some(if is_fair { Pause::FairQueue } else { Pause::WindowFull });
            worker.pause_reads(key, blocked);
        }
    }

    /// Whether the window of the client's worker is full; without a worker, whether the queue of
    /// unassigned events is.
    pub(super) fn has_full_worker(&mut self, key: SlotKey) -> bool {
        let window = self.window();
        let link = self.connections[key as usize].route;
        match link.and_then(|link| self.workers.open(link)) {
            Some(worker) if worker.is_lossy(&self.settings.compat_behavior) => false,
            Some(worker) => window < worker.delivery_queue.len(),
            None => window < self.unassigned.len(),
        }
    }

    /// Maximum number of bytes for the next read of a connection.
    pub(super) fn most_to_read(&mut self, key: SlotKey) -> usize {
        if matches!(self.connections[key as usize].phase, Phase::Request(_)) {
            // Small, so that pipelined requests cost no more than the quantum.
            return HEAD;
        }
        // Everything that is read goes to the worker.
        match !self.connections[key as usize].in_large_message()
            && self.has_busy_worker(key).is_some()
        {
            true => LIGHT,
            false => SCRATCH,
        }
    }

    /// The worker of a client, if its backlog is above the busy threshold.
    fn has_busy_worker(&mut self, key: SlotKey) -> Option<&mut WorkerState> {
        let worker = self.workers.open(self.connections[key as usize].route?)?;
        let is_busy = worker.delivery_queue.progress().is_busy()
            && !worker.is_lossy(&self.settings.compat_behavior);
        is_busy.then_some(worker)
    }

    /// Queues a client in the middle of a large message in its worker's fair queue; `false` if the
    /// worker is below its busy threshold.
    pub(super) fn enqueue_for_worker(&mut self, key: SlotKey) -> bool {
        let Some(worker) = self.has_busy_worker(key) else {
            return false;
        };
        worker.pause_reads(key, Blocked::FairQueue);
        self.connections[key as usize].paused = Some(Pause::FairQueue);
        true
    }

    /// Pauses reads of a client until its worker has caught up, or is linked.
    pub(super) fn pause(&mut self, key: SlotKey) {
        let connection = &mut self.connections[key as usize];
        connection.paused = Some(Pause::WindowFull);
        if let Some(worker) = connection.route.and_then(|link| self.workers.open(link)) {
            worker.pause_reads(key, Blocked::WorkerWindow);
        }
    }

    /// Reassigns a client to a worker, with no other event.
    pub(super) fn reassign(&mut self, key: SlotKey) {
        let Some(client) = self.connections[key as usize].id else {
            return;
        };
        let link = self.route(key);
        let worker = link.and_then(|link| self.workers.open(link));
        // PHP workers get the whole context with each event, and their protocol has no such event.
        if worker.is_some_and(|it| it.delivery_queue.protocol() == PeerProtocol::Native) {
            let number = self.connections[key as usize].events;
            let redelivered = self.may_be_presumed_dead(key);
            let entry = Entry { redelivered, ..fresh(client, number, Event::Reassigned) };
            self.deliver_now(key, entry, &[]);
        }
    }

    /// Whether events for this worker, or without one, are dropped.
    pub(super) fn is_lost(&self, link: Option<LinkId>) -> bool {
        link.is_none() && self.settings.no_worker == NoWorker::Destroy
    }

    /// Queues an event for this worker, or as unassigned.
    fn post(
        &mut self,
        link: Option<LinkId>,
        mut entry: Entry,
        payload: &[u8],
    ) -> Result<(), TooLarge> {
        self.schedule_flush();
        if self.is_lost(link) {
            self.tally.events_dropped += 1;
            self.suspects.abandon(entry.client);
            return Ok(());
        }
        if let Some(link) = link.filter(|_| !self.suspects.is_empty()) {
            let isolation = self.suspects.isolation(entry.client, entry.number, link);
            if entry.isolation == Isolation::None && !matches!(entry.event, Event::Reassigned) {
                entry.isolation = isolation;
            }
        }
        let (window, compat_behavior) = (self.window(), &self.settings.compat_behavior);
        match link.and_then(|link| self.workers.open(link)) {
            Some(worker)
                if worker.is_lossy(compat_behavior) && window <= worker.delivery_queue.len() =>
            {
                self.tally.events_dropped += 1;
                self.suspects.abandon(entry.client);
                Ok(())
            }
            Some(worker) => {
                self.tally.events += 1;
                self.tally.redelivered += u64::from(entry.redelivered);
                worker.delivery_queue.push(entry, payload)
            }
            None => self.unassigned.push(entry, payload),
        }
    }

    /// Removes a client and emits its close event.
    pub(super) fn remove_client(&mut self, key: SlotKey, reason: CloseReason) {
        let Some(id) = self.connections[key as usize].id else {
            return;
        };
        let redelivered = self.may_be_presumed_dead(key);
        let link = self.route(key);
        let session = self.directory.session(id);
        if self.directory.remove(id).is_none() {
            return;
        }
        let connection = &mut self.connections[key as usize];
        connection.id = None;
        connection.route = None;
        let standbys = std::mem::take(&mut connection.standbys);
        connection.events += 1;
        // The close event carries the whole context, since the session cannot be queried
        // afterwards.
        let context = connection.context(session);
        let (number, event) = (connection.events, Event::Close(reason));
        let edits = connection.edits;
        self.keep_standbys(id, standbys, &context, link);
        let context = Some(context);
        let entry = Entry { context, redelivered, edits, ..fresh(id, number, event) };
        // Delivered after the events before it.
        if let Some(entry) = self.hold_back(entry, &[])
            && let Err(error) = self.post(link, entry, &[])
            && let Some(suppressed) = self.warnings.too_large.admit(clock::now())
        {
            let client = self.client_id(id);
            tracing::error!(
                %client, %error, suppressed,
                "close event too large for its worker; not delivered"
            );
        }
        if let Some(link) = link {
            self.workers.unbind(link);
        }
        self.gateway.metrics.clients.dec();
        self.gateway.metrics.count_closed(reason);
    }

    /// Whether a former owner of a client may have declared this gateway dead and emitted the close
    /// event.
    fn may_be_presumed_dead(&self, key: SlotKey) -> bool {
        let lost = self.connections[key as usize].lost;
        lost.is_some_and(|lost| self.gateway.register_outages.may_be_declared_dead(lost))
    }

    /// The worker of a client: its owner, or a new one if the owner is no longer linked.
    fn route(&mut self, key: SlotKey) -> Option<LinkId> {
        let connection = &mut self.connections[key as usize];
        if let Some(link) = connection.route
            && self.workers.holds(link)
        {
            return Some(link);
        }
        let ip = connection.remote.ip();
        let link = self.workers.choose(self.settings.router, ip, self.room());
        let connection = &mut self.connections[key as usize];
        connection.route = link;
        connection.context_sent = false;
        connection.edits = 0;
        connection.flow_control = FlowControl::default();
        link
    }

    /// Redelivers what a worker did not acknowledge, or delivers unassigned events.
    pub(super) fn redeliver(&mut self, entries: Vec<Entry>) {
        self.redeliver_by_route(FxHashMap::default(), entries);
    }

    /// The same; for disconnected clients, `routes` overrides the choice of the worker.
    pub(super) fn redeliver_by_route(
        &mut self,
        mut routes: FxHashMap<ConnectionId, Option<LinkId>>,
        entries: Vec<Entry>,
    ) {
        // The context of a disconnected client is in its close event.
        let last = entries.iter().filter(|entry| matches!(entry.event, Event::Close(_)));
        let contexts = last.map(|entry| (entry.client, entry.context.clone()));
        let contexts: FxHashMap<_, _> = contexts.collect();
        let room = self.room();
        for mut entry in entries {
            if matches!(entry.event, Event::Reassigned) {
                // The standby sweep finds clients without an owner.
                continue;
            }
            let payload = match &mut entry.event {
                Event::Message(message) => std::mem::take(&mut message.body),
                _ => Bytes::new(),
            };
            if let Some(key) = self.directory.get(entry.client).map(|client| client.handle) {
                match entry.isolation {
                    Isolation::None => self.deliver(key, entry, &payload),
                    // It has waited already.
                    Isolation::Suspect | Isolation::Alone => self.deliver_now(key, entry, &payload),
                }
                continue;
            }
            if entry.isolation == Isolation::None {
                match self.hold_back(entry, &payload) {
                    Some(given) => entry = given,
                    None => continue,
                }
            }
            let context = contexts.get(&entry.client).cloned().flatten();
            let link = *routes.entry(entry.client).or_insert_with(|| {
                let ip = context.as_ref().map(|context| context.remote.ip());
                let ip = ip.unwrap_or_else(|| Ipv4Addr::UNSPECIFIED.into());
                let link = self.workers.choose(self.settings.router, ip, room)?;
                // The client does not count for this worker, which gets only its last events.
                self.workers.unbind(link);
                Some(link)
            });
            entry.context = context.or(entry.context);
            if matches!(entry.event, Event::Close(_)) {
                self.reassign_closing(entry.client, link);
                // As for connected clients, if the former owner is lost.
                entry.redelivered |=
                    self.gateway.register_outages.may_be_declared_dead(clock::now());
            }
            let client = entry.client;
            let posted = self.post(link, entry, &payload);
            if posted.is_err() {
                self.suspects.abandon(client);
            }
            if let Err(error) = posted
                && let Some(suppressed) = self.warnings.too_large.admit(clock::now())
            {
                let client = self.client_id(client);
                tracing::error!(
                    %client, %error, suppressed,
                    "event too large for its new worker; not delivered"
                );
            }
        }
    }

    /// Takes all unassigned events.
    pub(super) fn take_unassigned(&mut self) -> Vec<Entry> {
        std::mem::replace(
            &mut self.unassigned,
            DeliveryQueue::new(self.index, PeerProtocol::Native, self.gateway.address),
        )
        .recall()
        .collect()
    }

    /// Resumes reads of connections.
    pub(super) fn resume(&mut self, keys: impl IntoIterator<Item = SlotKey>) {
        for key in keys {
            if let Some(connection) = self.connections.get_mut(key as usize) {
                connection.paused = None;
                connection.flow_control.resumed();
                connection.wake();
            }
        }
    }
}

/// An event that was not delivered before.
fn fresh(client: ConnectionId, number: u64, event: Event) -> Entry {
    let (context, isolation, reached) = (None, Isolation::None, Reached::NotSent);
    Entry { client, number, event, context, redelivered: false, edits: 0, isolation, reached }
}
