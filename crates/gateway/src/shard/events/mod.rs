//! Events of clients: emitted, delivered, and redelivered if a worker did not acknowledge them.
//!
//! Methods of [`Shard`], which join its connections, indexes and delivery.

mod links;
mod suspects;

use std::{net::Ipv4Addr, time::Duration};

use bytes::Bytes;
use framing::Violation;
use protocol::{
    CloseInfo, ConnectionId, Event, Group, codec::gateway_worker::MAX_FRAME, inspect::LifecycleKind,
};
use runtime::clock;
use rustc_hash::FxHashMap;

use super::{
    Shard,
    connections::{Pause, Window},
    delivery::{Entry, Isolation, Reached},
    slot::SlotKey,
};
use crate::{
    closed::CloseCause,
    thread_messages::{LinkId, PeerProtocol},
};

/// Why an event was not delivered to a connected client's worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NotDelivered {
    /// There is no worker, and events do not wait for one.
    NoWorker,
    /// It exceeds the frame size of the worker's protocol.
    TooLarge,
}

impl Shard {
    /// Emits an event of a client. `event` carries no payload; `payload` is passed separately.
    pub(super) fn emit(&mut self, key: SlotKey, event: Event, payload: &[u8]) {
        let connection = &mut self.connections[key];
        if let Some(client) = connection.id {
            connection.events += 1;
            let number = connection.events;
            self.deliver(key, fresh(client, number, event), payload);
        }
    }

    /// Delivers an event of a connected client, unless it has to wait for a suspect.
    fn deliver(&mut self, key: SlotKey, entry: Entry, payload: &[u8]) {
        let Some(entry) = self.delivery.hold_back(entry, payload, &mut self.schedule) else {
            // Reads pause as well, until the suspect is delivered.
            let connection = &mut self.connections[key];
            connection.gate.pause(Pause::WindowFull);
            connection.held_since = None;
            return;
        };
        self.deliver_now(key, entry, payload);
    }

    /// Delivers an event of a connected client, past any suspect. Closes the client if that fails.
    fn deliver_now(&mut self, key: SlotKey, entry: Entry, payload: &[u8]) {
        match self.queue_event(key, entry, payload) {
            Ok(()) => {}
            Err(NotDelivered::NoWorker) => self.close_without_worker(key, Duration::ZERO),
            Err(NotDelivered::TooLarge) => {
                let violation = Violation::TooLong { size: payload.len() as u64, limit: MAX_FRAME };
                self.close(key, CloseCause::Violation(violation));
            }
        }
    }

    /// Queues an event of a connected client for its worker, or as unassigned.
    fn queue_event(
        &mut self,
        key: SlotKey,
        mut entry: Entry,
        payload: &[u8],
    ) -> Result<(), NotDelivered> {
        let window = self.windows();
        let connection = &mut self.connections[key];
        let link = self.delivery.route(connection, window, &mut self.history);
        if self.delivery.is_lost(link) {
            // Events without a worker are dropped, and their clients closed.
            return Err(NotDelivered::NoWorker);
        }
        let open = link.and_then(|link| self.delivery.workers.open(link));
        let protocol = open.map(|worker| worker.delivery_queue.protocol());
        let worker = link.filter(|_| protocol.is_some());
        connection.held_since = match worker {
            Some(_) => None,
            None => connection.held_since.or_else(|| {
                self.history.record(connection.id, || LifecycleKind::Unassigned);
                Some(clock::now())
            }),
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
        let posted = self.delivery.post(worker, entry, payload, window, &mut self.schedule);
        if let Err(error) = posted {
            self.delivery.suspects.abandon(client);
            // A native worker could take it; a PHP worker would close its link.
            let client = self.client_id(client);
            tracing::debug!(%client, %error, "event too large for this worker; closing the client");
            return Err(NotDelivered::TooLarge);
        }
        if let Some(owner) = worker.filter(|_| is_first_context) {
            self.await_confirmation(key, owner);
        }
        let connection = &mut self.connections[key];
        self.delivery.apply_flow_control(key, connection, payload.len(), window);
        Ok(())
    }

    /// The limits of the unacknowledged bytes of each worker.
    pub(super) fn windows(&self) -> Window {
        self.delivery.windows(&self.pressure.budget)
    }

    /// Reassigns a client to a worker, with no other event.
    pub(super) fn reassign(&mut self, key: SlotKey) {
        let Some(client) = self.connections[key].id else {
            return;
        };
        let window = self.windows();
        let connection = &mut self.connections[key];
        let link = self.delivery.route(connection, window, &mut self.history);
        let worker = link.and_then(|link| self.delivery.workers.open(link));
        // PHP workers get the whole context with each event, and their protocol has no such event.
        if worker.is_some_and(|it| it.delivery_queue.protocol() == PeerProtocol::Native) {
            let number = self.connections[key].events;
            let redelivered = self.may_be_presumed_dead(key);
            let entry = Entry { redelivered, ..fresh(client, number, Event::Reassigned) };
            self.deliver_now(key, entry, &[]);
        }
    }

    /// Removes a client and emits its close event.
    pub(super) fn remove_client(&mut self, key: SlotKey, info: CloseInfo) {
        let reason = info.reason;
        let Some(id) = self.connections[key].id else {
            return;
        };
        let redelivered = self.may_be_presumed_dead(key);
        let window = self.windows();
        let connection = &mut self.connections[key];
        let link = self.delivery.route(connection, window, &mut self.history);
        let session = self.directory.session(id);
        let Some(client) = self.directory.remove(id) else { return };
        if !self.presence.is_idle() {
            let rest = |group: &Group| self.directory.watched_count(group);
            self.presence.disconnected(id, client.groups(), rest);
            if let Some(uid) = client.uid() {
                self.binding_changed(id, uid);
            }
        }
        self.token_holders.remove(id);
        self.streams.disconnected(id);
        let connection = &mut self.connections[key];
        connection.id = None;
        connection.route = None;
        let standbys = std::mem::take(&mut connection.standbys);
        connection.events += 1;
        // The close event carries the whole context, since the session cannot be queried
        // afterwards.
        let context = connection.context(session);
        let (number, event) = (connection.events, Event::Closed(info));
        let edits = connection.edits;
        self.keep_standbys(id, standbys, &context, link);
        if let Some(owner) = link {
            self.delivery.suspects.disconnected(id, owner);
        }
        let context = Some(context);
        let entry = Entry { context, redelivered, edits, ..fresh(id, number, event) };
        // Delivered after the events before it.
        let schedule = &mut self.schedule;
        if let Some(entry) = self.delivery.hold_back(entry, &[], schedule)
            && let Err(error) = self.delivery.post(link, entry, &[], window, schedule)
            && let Some(suppressed) = self.warnings.too_large.admit(clock::now())
        {
            let client = self.client_id(id);
            tracing::error!(
                %client, %error, suppressed,
                "close event too large for its worker; not delivered"
            );
        }
        if let Some(link) = link {
            self.delivery.workers.unbind(link);
        }
        self.gateway.metrics.clients.dec();
        self.gateway.metrics.count_closed(reason);
    }

    /// Whether a former owner of a client may have declared this gateway dead and emitted the close
    /// event.
    fn may_be_presumed_dead(&self, key: SlotKey) -> bool {
        let lost = self.connections[key].lost;
        lost.is_some_and(|lost| self.gateway.register_outages.may_be_declared_dead(lost))
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
        let last = entries.iter().filter(|entry| entry.event.is_close());
        let contexts = last.map(|entry| (entry.client, entry.context.clone()));
        let contexts: FxHashMap<_, _> = contexts.collect();
        let window = self.windows();
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
                match self.delivery.hold_back(entry, &payload, &mut self.schedule) {
                    Some(given) => entry = given,
                    None => continue,
                }
            }
            let context = contexts.get(&entry.client).cloned().flatten();
            let link = *routes.entry(entry.client).or_insert_with(|| {
                let ip = context.as_ref().map(|context| context.remote.ip());
                let ip = ip.unwrap_or_else(|| Ipv4Addr::UNSPECIFIED.into());
                self.delivery.route_disconnected(ip, window)
            });
            entry.context = context.or(entry.context);
            if entry.event.is_close() {
                self.reassign_closing(entry.client, link);
                // As for connected clients, if the former owner is lost.
                entry.redelivered |=
                    self.gateway.register_outages.may_be_declared_dead(clock::now());
            }
            let client = entry.client;
            let schedule = &mut self.schedule;
            let posted = self.delivery.post(link, entry, &payload, window, schedule);
            if posted.is_err() {
                self.delivery.suspects.abandon(client);
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
}

/// An event that was not delivered before.
fn fresh(client: ConnectionId, number: u64, event: Event) -> Entry {
    let (context, isolation, reached) = (None, Isolation::None, Reached::NotSent);
    Entry { client, number, event, context, redelivered: false, edits: 0, isolation, reached }
}
