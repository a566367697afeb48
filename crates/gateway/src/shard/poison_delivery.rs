//! Isolated delivery of suspects, and giving up poison messages; `poison.rs` decides which events
//! these are.

use std::time::Instant;

use protocol::{ConnectionId, Event, InstanceId};
use runtime::clock;
use rustc_hash::FxHashMap;

use super::{
    Shard,
    delivery_queue::Entry,
    poison::{GivenUp, Released},
};
use crate::{
    closed::CloseCause,
    settings::Undeliverable,
    thread_messages::{LinkEnd, LinkId},
};

impl Shard {
    /// Holds an event that is behind a suspect, or is a suspect to be delivered in isolation. An
    /// event that it returns is to be delivered.
    pub(super) fn hold_back(&mut self, entry: Entry, payload: &[u8]) -> Option<Entry> {
        let waits = !self.suspects.is_empty()
            && !matches!(entry.event, Event::Reassigned)
            && self.suspects.must_wait(entry.client, entry.number);
        if !waits {
            return Some(entry);
        }
        self.suspects.hold(entry, payload);
        self.schedule_flush();
        None
    }

    /// Updates the suspects with the unacknowledged events of a worker whose link has ended.
    pub(super) fn suspect(
        &mut self,
        instance: Option<&InstanceId>,
        end: LinkEnd,
        entries: &[Entry],
    ) {
        match (instance, end) {
            (Some(instance), LinkEnd::Closed) => {
                self.suspects.process_ended(instance, entries, clock::now())
            }
            _ => self.suspects.link_lost(entries),
        }
    }

    /// Delivers suspects in isolation, as far as possible now.
    pub(super) fn deliver_suspects(&mut self) {
        for released in self.suspects.take_unblocked() {
            self.release_held(released);
        }
        let entries = match self.workers.can_isolate() {
            // They wait for a worker, like any event.
            None => return,
            Some(true) => self.suspects.next(),
            // PHP workers send no acknowledgements: their events count as acknowledged once they
            // are written.
            Some(false) => self.suspects.take_waiting(),
        };
        // Reads were paused when these were held. They pause again if another event has to be held.
        let clients = entries.iter().filter_map(|entry| self.directory.get(entry.client));
        let keys: Vec<_> = clients.map(|client| client.handle).collect();
        self.resume(keys);
        self.redeliver(entries);
    }

    /// Clients with held events count as waiting for a worker only while no worker takes events.
    pub(super) fn update_held_since(&mut self, now: Instant) {
        let no_worker = self.workers.can_isolate().is_none();
        for client in self.suspects.held_clients() {
            if let Some(client) = self.directory.get(client) {
                let held_since = &mut self.connections[client.handle as usize].held_since;
                *held_since = no_worker.then(|| held_since.unwrap_or(now));
            }
        }
    }

    /// A worker reports that the handler of an event has started.
    pub(super) fn handler_started(&mut self, link: LinkId, seq: u64, alone: bool) {
        if let Some((client, number)) = self.workers.suspect(link, seq) {
            self.suspects.handler_started(client, number, alone);
        }
    }

    /// Clients' suspects are acknowledged: the events behind them are delivered.
    pub(super) fn release_suspects(&mut self, acked: Vec<(ConnectionId, u64)>) {
        for (client, number) in acked {
            let released = self.suspects.ack(client, number);
            self.release_held(released);
        }
    }

    fn release_held(&mut self, Released { entries, link }: Released) {
        let Some(client) = entries.first().map(|entry| entry.client) else {
            return;
        };
        // The close event of a disconnected client goes to the worker that had its earlier events.
        let link = link.filter(|link| self.workers.holds(*link));
        let routes = link.map(|link| (client, Some(link)));
        self.redeliver_by_route(routes.into_iter().collect::<FxHashMap<_, _>>(), entries);
        let key = self.directory.get(client).map(|client| client.handle);
        self.resume(key);
    }

    /// Gives up confirmed poison messages.
    pub(super) fn give_up_suspects(&mut self, now: Instant) {
        for client in self.suspects.due(now) {
            let Some((given_up, cleared)) = self.suspects.give_up(client) else {
                continue;
            };
            self.drop_suspect(client, given_up);
            cleared.into_iter().for_each(|released| self.release_held(released));
        }
    }

    fn drop_suspect(&mut self, client: ConnectionId, given_up: GivenUp) {
        let GivenUp { number, ends, kind, rest } = given_up;
        let id = self.client_id(client);
        self.gateway.metrics.events_given_up.inc();
        // Each requires several terminations, so the log is not rate limited.
        tracing::error!(
            client = %id, event = number, kind, ends,
            "event given up: worker processes ended while handling it"
        );
        let key = self.directory.get(client).map(|client| client.handle);
        let closes = self.settings.undeliverable == Undeliverable::Close;
        let (ends, others): (Vec<_>, Vec<_>) =
            rest.into_iter().partition(|entry| matches!(entry.event, Event::Close(_)));
        if kind == "close" {
            // Standbys need not emit it for this gateway any more.
            self.release_closing([client]);
        }
        match key {
            Some(key) if closes => self.close(key, CloseCause::Undeliverable),
            _ if closes => self.redeliver(ends),
            key => {
                self.redeliver(others.into_iter().chain(ends).collect());
                self.resume(key);
            }
        }
    }
}
