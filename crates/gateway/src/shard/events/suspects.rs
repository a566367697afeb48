//! Isolated delivery of suspects, and giving up poison messages; `delivery/poison.rs` decides which
//! events these are.

use std::time::Instant;

use protocol::ConnectionId;
use rustc_hash::FxHashMap;

use crate::{
    closed::CloseCause,
    settings::Undeliverable,
    shard::{
        Shard,
        delivery::{Entry, GivenUp, Released},
    },
    thread_messages::LinkId,
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
        let suspects = &self.delivery.suspects;
        let routes = entries.iter().map(|entry| (entry.client, suspects.link(entry.client)));
        let routes = routes.collect::<Vec<_>>();
        self.redeliver_to_owners(routes, entries);
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
        self.redeliver_to_owners([(client, link)], entries);
        let key = self.directory.get(client).map(|client| client.handle);
        self.connections.resume_by_worker(key);
    }

    /// Redelivers events that were held. Those of a disconnected client go to the worker that has
    /// the client, while it is linked: it waits for the close event.
    fn redeliver_to_owners(
        &mut self,
        owners: impl IntoIterator<Item = (ConnectionId, Option<LinkId>)>,
        entries: Vec<Entry>,
    ) {
        let workers = &self.delivery.workers;
        let owners =
            owners.into_iter().filter(|(_, link)| link.is_some_and(|it| workers.holds(it)));
        let routes = owners.collect::<FxHashMap<_, _>>();
        self.redeliver_by_route(routes, entries);
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
        let GivenUp { number, ends, kind, rest: Released { entries, link } } = given_up;
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
            entries.into_iter().partition(|entry| entry.event.is_close());
        if kind == "close" {
            // Standbys need not emit it for this gateway any more.
            self.release_closing([client]);
        }
        match key {
            Some(key) if closes => self.close(key, CloseCause::Undeliverable),
            _ if closes => self.redeliver_to_owners([(client, link)], ends),
            key => {
                let entries = others.into_iter().chain(ends).collect();
                self.redeliver_to_owners([(client, link)], entries);
                self.connections.resume_by_worker(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::Ipv4Addr,
        sync::{Arc, atomic::AtomicUsize},
        time::Duration,
    };

    use bytes::BytesMut;
    use protocol::{Event, InstanceId, Message, codec::native, link::ToPeer};
    use runtime::clock;

    use super::*;
    use crate::{
        closed::ClientFrame,
        in_flight::InFlight,
        shard::test_shard::TestShard,
        thread_messages::{LinkEnd, PeerProtocol, Worker},
    };

    /// Clients of a worker that the router avoids while there is another.
    const MANY: usize = 10;

    fn link(test: &mut TestShard, number: u64, clients: usize) -> LinkId {
        let worker = Worker {
            protocol: PeerProtocol::Native,
            instance: Some(InstanceId::from_random(number)),
            ip: Ipv4Addr::LOCALHOST.into(),
            key: number.to_string(),
            clients: AtomicUsize::new(clients),
            in_flight: InFlight::default(),
        };
        test.shard.worker_up(LinkId(number), Arc::new(worker));
        LinkId(number)
    }

    /// The events that workers get in the next pass: link, sequence number, client, and kind.
    fn events(test: &mut TestShard) -> Vec<(LinkId, u64, ConnectionId, &'static str)> {
        test.shard.deliver_suspects();
        while test.shard.sweep_standbys() {}
        let mut events = Vec::new();
        for (link, _, frames) in test.shard.delivery.workers.take_batches() {
            let mut frames = BytesMut::from(frames);
            while let Some(frame) = native::decode(&mut frames, usize::MAX).unwrap() {
                let (ToPeer::Event(it) | ToPeer::IsolatedEvent(it)) = frame else { continue };
                let kind = match it.event {
                    Event::Connect => "connect",
                    Event::Message(_) => "message",
                    Event::Reassigned => "reassigned",
                    Event::Close(_) | Event::Closed(_) => "close",
                    other => panic!("{other:?}"),
                };
                events.push((link, it.seq, it.client, kind));
            }
        }
        events
    }

    /// A worker gets the connect events of all clients, starts them, and ends.
    fn end_while_handling(test: &mut TestShard, number: u64, alone: bool) {
        let worker = link(test, number, 0);
        let events = events(test);
        assert_eq!(events.len(), test.keys.len());
        for (_, seq, _, kind) in events {
            assert_eq!(kind, "connect");
            test.shard.delivery.handler_started(worker, seq, alone);
        }
        test.shard.worker_down(worker, LinkEnd::Closed);
    }

    #[tokio::test]
    async fn events_behind_a_poison_message_of_a_disconnected_client_go_to_its_owner() {
        for (policy, kinds) in [("close", &["close"][..]), ("skip", &["message", "close"])] {
            let flag = format!("--undeliverable={policy}");
            let mut test = TestShard::with_flags(1, "text://", &[&flag]).await;
            let (client, key) = (test.last(), test.keys[0]);
            for (number, alone) in [(1, false), (2, false), (3, true)] {
                end_while_handling(&mut test, number, alone);
            }
            // No worker has had it, so the suspect's last worker is not the owner.
            test.shard.emit(key, Event::Message(Message::default()), b"held behind");
            let owner = link(&mut test, 4, MANY);
            let given = events(&mut test);
            assert!(matches!(given[..], [(to, _, _, "reassigned")] if to == owner), "{given:?}");
            link(&mut test, 5, 0);
            test.shard.close(key, CloseCause::ByClient(ClientFrame::default()));
            assert_eq!(events(&mut test), [], "the suspect is not given up yet");
            test.shard.give_up_suspects(clock::now() + Duration::from_secs(60));
            let given = events(&mut test);
            assert!(given.iter().all(|(to, _, of, _)| (*to, *of) == (owner, client)), "{given:?}");
            assert_eq!(given.iter().map(|(.., kind)| *kind).collect::<Vec<_>>(), kinds);
        }
    }

    #[tokio::test]
    async fn suspect_of_a_disconnected_client_goes_to_its_owner() {
        let mut test = TestShard::with(2, "text://").await;
        for number in 1..=3 {
            // In a group at the third worker, so that each must run alone next.
            end_while_handling(&mut test, number, false);
        }
        for key in test.keys.clone() {
            test.shard.emit(key, Event::Message(Message::default()), b"held behind");
        }
        let owner = link(&mut test, 4, MANY);
        let given = events(&mut test);
        let [(_, seq, first, "connect"), (to, _, second, "reassigned")] = given[..] else {
            panic!("{given:?}")
        };
        assert!(to == owner && first != second, "{given:?}");
        link(&mut test, 5, 0);
        let key = test.shard.directory.get(second).unwrap().handle;
        test.shard.close(key, CloseCause::ByClient(ClientFrame::default()));
        assert_eq!(events(&mut test), [], "one at a time");
        test.shard.event_ack(owner, 1, seq);
        let mut given = events(&mut test);
        given.retain(|(_, _, client, _)| *client == second);
        assert!(matches!(given[..], [(to, _, _, "connect")] if to == owner), "{given:?}");
    }

    #[tokio::test]
    async fn client_whose_last_event_is_given_up_does_not_wait_for_a_worker() {
        let mut test = TestShard::with_flags(1, "text://", &["--undeliverable=skip"]).await;
        let (client, key) = (test.last(), test.keys[0]);
        test.shard.connections[key].held_since = Some(clock::now());
        let given_up = GivenUp { number: 1, ends: 3, kind: "message", rest: Released::default() };
        test.shard.drop_suspect(client, given_up);
        assert_eq!(test.shard.connections[key].held_since, None);
    }
}
