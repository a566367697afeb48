//! The status of the gateway, as operators are shown it.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use protocol::inspect::{GatewayStatus, ListenerStatus, PeerKind, PeerStatus, Traffic};
use runtime::clock;
use rustc_hash::FxHashMap;
use service::process_figures;

use super::{Hub, link::Link};
use crate::{
    inspection::{ShardStatus, WorkerLoad},
    settings::Listener,
    thread_messages::{LinkId, PartialAnswer},
};

impl Hub {
    /// The status, of which each shard has contributed a part.
    pub(super) fn status(&self, parts: Vec<PartialAnswer>) -> GatewayStatus {
        let shards: Vec<_> = parts.into_iter().filter_map(shard_status).collect();
        let (metrics, now) = (&self.gateway.metrics, clock::now());
        let sum = |of: fn(&ShardStatus) -> u64| shards.iter().map(of).sum::<u64>();
        let names = Names::of(&shards);
        let (settings, limit) = (&self.settings, service::limits::descriptors());
        let most = settings.max_connections.unwrap_or(usize::MAX);
        GatewayStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: option_env!("PUSH_SUITE_COMMIT").map(str::to_owned),
            instance: self.gateway.instance.clone(),
            address: self.gateway.address,
            listeners: self.listeners.iter().map(listener).collect(),
            now: clock::unix_millis(),
            uptime: millis(now, self.started),
            draining: self.undrained.is_some(),
            not_ready: self.health.reasons(),
            clients: sum(|shard| shard.thread.clients),
            groups: names.groups,
            uids: names.uids,
            names_exact: names.exact,
            connections: gauge(metrics.open.get()),
            max_connections: most.min(self.gateway.descriptors.clients) as u64,
            handshakes: gauge(metrics.requests.get()),
            slow_clients: sum(|shard| shard.thread.slow_clients),
            paused_clients: sum(|shard| shard.thread.paused_clients),
            queue_bytes: sum(|shard| shard.thread.queue_bytes),
            client_bytes: gauge(metrics.client_bytes.get()),
            client_bytes_limit: settings
                .memory
                .map(|share| (share / 2 * self.gateway.shards.len()) as u64),
            unassigned_bytes: sum(|shard| shard.thread.unassigned_bytes),
            in_flight_bytes: gauge(metrics.in_flight.get()),
            traffic: self.traffic(),
            closed: metrics.closed(),
            retained: gauge(metrics.retained.get()),
            retained_bytes: gauge(metrics.retained_bytes.get()),
            resident_bytes: process_figures::resident_bytes(),
            descriptors: process_figures::descriptors(),
            descriptor_limit: limit,
            peers: self.peers(&shards, now),
            threads: shards.into_iter().map(|shard| shard.thread).collect(),
        }
    }

    fn traffic(&self) -> Traffic {
        let metrics = &self.gateway.metrics;
        Traffic {
            messages_in: metrics.messages_in.get(),
            messages_out: metrics.messages_out.get(),
            messages_dropped: metrics.messages_dropped.get(),
            bytes_in: metrics.received_bytes.get(),
            bytes_out: metrics.queued_bytes.get(),
            events: metrics.events.get(),
            redelivered: metrics.redelivered.get(),
            commands: metrics.commands.get() + self.commands,
            queries: metrics.queries.get() + self.queries,
            accepted: metrics.connections.get(),
        }
    }

    fn peers(&self, shards: &[ShardStatus], now: Instant) -> Vec<PeerStatus> {
        let mut loads = FxHashMap::<LinkId, Vec<&WorkerLoad>>::default();
        for load in shards.iter().flat_map(|shard| &shard.workers) {
            loads.entry(load.link).or_default().push(load);
        }
        let window = shards.iter().map(|shard| shard.window as u64).fold(0, u64::saturating_add);
        let mut links: Vec<_> = self.links.iter().collect();
        links.sort_unstable_by_key(|(id, _)| **id);
        let peer = |(id, link): (&LinkId, &Link)| {
            let of_shards = loads.get(id).map_or(&[][..], Vec::as_slice);
            let unmoved = of_shards.iter().filter_map(|load| load.unmoved_since).min();
            let worker = link.worker.as_ref();
            PeerStatus {
                worker: worker.map(|worker| worker.key.clone()),
                instance: link.native.as_ref().map(|native| native.instance.clone()),
                kind: match link.native {
                    Some(_) => PeerKind::Native,
                    None => PeerKind::Php,
                },
                remote: link.remote,
                linked: millis(now, link.since),
                silent: millis(now, link.heard),
                late: link.late,
                leaving: of_shards.iter().any(|load| load.leaving),
                clients: worker.map_or(0, |worker| worker.clients() as u64),
                in_flight: of_shards.iter().map(|load| load.in_flight).sum(),
                in_flight_bytes: of_shards.iter().map(|load| load.bytes as u64).sum(),
                window_bytes: worker.map_or(0, |_| window),
                stalled: unmoved.map(|since| millis(now, since)),
                queue_bytes: link.queued() as u64,
                unanswered: link.unanswered as u64,
            }
        };
        links.into_iter().map(peer).collect()
    }
}

/// Numbers of different names over all shards.
struct Names {
    groups: u64,
    uids: u64,
    exact: bool,
}

impl Names {
    fn of(shards: &[ShardStatus]) -> Self {
        let used: Vec<_> =
            shards.iter().filter(|it| it.thread.groups != 0 || it.thread.uids != 0).collect();
        let hashes: Option<Vec<_>> = used.iter().map(|shard| shard.names.as_ref()).collect();
        match hashes {
            Some(hashes) if 1 < used.len() => {
                let groups: HashSet<_> = hashes.iter().flat_map(|(groups, _)| groups).collect();
                let uids: HashSet<_> = hashes.iter().flat_map(|(_, uids)| uids).collect();
                Self { groups: groups.len() as u64, uids: uids.len() as u64, exact: true }
            }
            _ => Self {
                groups: used.iter().map(|shard| shard.thread.groups).sum(),
                uids: used.iter().map(|shard| shard.thread.uids).sum(),
                exact: used.len() <= 1,
            },
        }
    }
}

fn shard_status(part: PartialAnswer) -> Option<ShardStatus> {
    match part {
        PartialAnswer::Status(status) => Some(*status),
        _ => None,
    }
}

fn listener(listener: &Listener) -> ListenerStatus {
    ListenerStatus { address: listener.addr, kind: listener.kind(), tls: listener.tls }
}

fn gauge(value: i64) -> u64 {
    value.max(0).unsigned_abs()
}

fn millis(now: Instant, since: Instant) -> u64 {
    let age: Duration = now.saturating_duration_since(since);
    u64::try_from(age.as_millis()).unwrap_or(u64::MAX)
}
