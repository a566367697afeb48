//! Isolated delivery of suspects, and giving up poison messages; `delivery/poison.rs` decides which
//! events these are.

use std::time::Instant;

use protocol::{ConnectionId, Event};
use rustc_hash::FxHashMap;

use crate::{
    closed::CloseCause,
    settings::Undeliverable,
    shard::{
        Shard,
        delivery::{GivenUp, Released},
    },
};

impl Shard {
    /// Delivers suspects in isolation, as far as possible now.
    pub(in crate::shard) fn deliver_suspects(&mut self) {
        for released in self.delivery.suspects.take_unblocked() {
            self.release_held(released);
        }
        let entries = self.delivery.next_suspects();
        // Reads were paused when these were held. They pause again if another event has to be held.
        let clients = entries.iter().filter_map(|entry| self.directory.get(entry.client));
        let keys: Vec<_> = clients.map(|client| client.handle).collect();
        self.connections.resume_by_worker(keys);
        self.redeliver(entries);
    }

    /// Clients with held events count as waiting for a worker only while no worker takes events.
    pub(in crate::shard) fn update_held_since(&mut self, now: Instant) {
        let no_worker = self.delivery.workers.can_isolate().is_none();
        for client in self.delivery.suspects.held_clients() {
            if let Some(client) = self.directory.get(client) {
                let held_since = &mut self.connections[client.handle].held_since;
                *held_since = no_worker.then(|| held_since.unwrap_or(now));
            }
        }
    }

    /// Clients' suspects are acknowledged: the events behind them are delivered.
    pub(super) fn release_suspects(&mut self, acked: Vec<(ConnectionId, u64)>) {
        for (client, number) in acked {
            let released = self.delivery.suspects.ack(client, number);
            self.release_held(released);
        }
    }

    fn release_held(&mut self, Released { entries, link }: Released) {
        let Some(client) = entries.first().map(|entry| entry.client) else {
            return;
        };
        // The close event of a disconnected client goes to the worker that had its earlier events.
        let link = link.filter(|link| self.delivery.workers.holds(*link));
        let routes = link.map(|link| (client, Some(link)));
        self.redeliver_by_route(routes.into_iter().collect::<FxHashMap<_, _>>(), entries);
        let key = self.directory.get(client).map(|client| client.handle);
        self.connections.resume_by_worker(key);
    }

    /// Gives up confirmed poison messages.
    pub(in crate::shard) fn give_up_suspects(&mut self, now: Instant) {
        for client in self.delivery.suspects.due(now) {
            let Some((given_up, cleared)) = self.delivery.suspects.give_up(client) else {
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
        if let Some(key) = key {
            // It had waited for a worker with this event; those behind it are delivered below.
            self.connections[key].held_since = None;
        }
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
                self.connections.resume_by_worker(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use runtime::clock;

    use super::*;
    use crate::shard::test_shard::TestShard;

    #[tokio::test]
    async fn client_whose_last_event_is_given_up_does_not_wait_for_a_worker() {
        let mut test = TestShard::with_flags(1, "text://", &["--undeliverable=skip"]).await;
        let (client, key) = (test.last(), test.keys[0]);
        test.shard.connections[key].held_since = Some(clock::now());
        let given_up = GivenUp { number: 1, ends: 3, kind: "message", rest: Vec::new() };
        test.shard.drop_suspect(client, given_up);
        assert_eq!(test.shard.connections[key].held_since, None);
    }
}
