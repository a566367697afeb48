//! What a shard does about events that worker processes may have ended over; which they are, and how they
//! are delivered, is decided in `suspects.rs`.

use std::time::Instant;

use protocol::{ClientId, ConnectionId, Event, Instance};
use rustc_hash::FxHashMap;
use service::clock;

use super::{
    Shard,
    outlet::Entry,
    suspects::{GivenUp, Released},
};
use crate::{
    closed::Closed,
    exchange::{LinkEnd, LinkId},
    settings::Undeliverable,
};

impl Shard {
    /// Keeps an event that has to wait behind a suspect, or that is one which is to be delivered with
    /// care. What it gives back is to be given out.
    pub(super) fn hold_back(&mut self, entry: Entry, payload: &[u8]) -> Option<Entry> {
        let waits = !self.suspects.is_empty()
            && !matches!(entry.event, Event::Adopt)
            && self.suspects.must_wait(entry.client, entry.number);
        if !waits {
            return Some(entry);
        }
        self.suspects.hold(entry, payload);
        self.call();
        None
    }

    /// Takes note of what a worker had not finished when its link ended.
    pub(super) fn suspect(&mut self, life: Option<&Instance>, end: LinkEnd, entries: &[Entry]) {
        match (life, end) {
            (Some(life), LinkEnd::Closed) => self.suspects.ended(life, entries, clock::now()),
            _ => self.suspects.lost(entries),
        }
    }

    /// Delivers suspects with care, as far as that can be done now.
    pub(super) fn try_suspects(&mut self) {
        for released in self.suspects.take_loose() {
            self.release_held(released);
        }
        let entries = match self.workers.can_try() {
            // They wait for a worker, as others do.
            None => return,
            Some(true) => self.suspects.next(),
            // PHP workers say nothing of what they do: their events are done once they are written.
            Some(false) => self.suspects.take_waiting(),
        };
        self.give_again(entries);
    }

    /// Clients whose events are held here wait for a worker only while there is none.
    pub(super) fn note_held(&mut self, now: Instant) {
        let there_is_none = self.workers.can_try().is_none();
        for client in self.suspects.held_clients() {
            if let Some(client) = self.directory.get(client) {
                let held_since = &mut self.connections[client.handle as usize].held_since;
                *held_since = there_is_none.then(|| held_since.unwrap_or(now));
            }
        }
    }

    /// A worker says that the handler of an event has started.
    pub(super) fn trying(&mut self, link: LinkId, seq: u64, alone: bool) {
        if let Some((client, number)) = self.workers.suspect(link, seq) {
            self.suspects.tried(client, number, alone);
        }
    }

    /// Clients' suspects are done: what waited behind them is given out.
    pub(super) fn release_suspects(&mut self, done: Vec<(ConnectionId, u64)>) {
        for (client, number) in done {
            let released = self.suspects.done(client, number);
            self.release_held(released);
        }
    }

    fn release_held(&mut self, Released { entries, link }: Released) {
        let Some(client) = entries.first().map(|entry| entry.client) else {
            return;
        };
        // Of one that is gone, a worker must be told the end that was told the rest.
        let link = link.filter(|link| self.workers.holds(*link));
        let routes = link.map(|link| (client, Some(link)));
        self.give_again_by(routes.into_iter().collect::<FxHashMap<_, _>>(), entries);
        let key = self.directory.get(client).map(|client| client.handle);
        self.resume(key);
    }

    /// Gives up the events that have been found to end worker processes.
    pub(super) fn give_up_suspects(&mut self, now: Instant) {
        for client in self.suspects.due(now) {
            let Some((given_up, exonerated)) = self.suspects.give_up(client) else {
                continue;
            };
            self.drop_suspect(client, given_up);
            exonerated.into_iter().for_each(|released| self.release_held(released));
        }
    }

    fn drop_suspect(&mut self, client: ConnectionId, given_up: GivenUp) {
        let GivenUp { number, ends, kind, rest } = given_up;
        let id = ClientId::new(self.host.address, client);
        self.host.metrics.events_given_up.inc();
        // Each takes several processes: there is no need to limit it.
        tracing::error!(
            client = %id, event = number, kind, ends,
            "event given up: worker processes ended while they handled it"
        );
        let key = self.directory.get(client).map(|client| client.handle);
        let closes = self.settings.undeliverable == Undeliverable::Close;
        let (ends, others): (Vec<_>, Vec<_>) =
            rest.into_iter().partition(|entry| matches!(entry.event, Event::Close(_)));
        if kind == "close" {
            // Nobody needs to say it for this gateway any more.
            self.release_departed([client]);
        }
        match key {
            Some(key) if closes => self.end(key, Closed::Undeliverable),
            _ if closes => self.give_again(ends),
            key => {
                self.give_again(others.into_iter().chain(ends).collect());
                self.resume(key);
            }
        }
    }
}
