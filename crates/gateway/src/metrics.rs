//! Metrics of a gateway.

mod limits;
mod linked_workers;
mod streams;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use protocol::CloseReason;
use service::latency::Latency;

use self::{linked_workers::LinkedWorkers, streams::Streams};
use crate::{closed::TIMEOUT, limits::AddressLimit};

/// Metrics of a gateway. None has a label for a client, uid or group, whose number is unbounded.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    /// Connections accepted on client listeners.
    pub(crate) connections: Counter,
    /// Open connections, including those that are not clients.
    pub(crate) open: Gauge,
    /// Open connections that only wait for the answer to a close frame, or to read their last output.
    pub(crate) closing: Gauge,
    /// Connections with a pending handshake or PROXY header.
    pub(crate) requests: Gauge,
    /// Connected clients.
    pub(crate) clients: Gauge,
    /// Closed clients, by reason.
    closed: Family<Reason, Counter>,
    /// Refused handshakes, by reason.
    handshakes_refused: Family<Reason, Counter>,
    /// Tokens not accepted, by error code.
    tokens_refused: Family<Reason, Counter>,
    /// Handshakes that await the answer of a worker.
    pub(crate) undecided: Gauge,
    /// Messages received from clients.
    pub(crate) messages_in: Counter,
    /// Messages queued for clients.
    pub(crate) messages_out: Counter,
    /// Bytes received from clients, and bytes queued for them.
    pub(crate) received_bytes: Counter,
    pub(crate) queued_bytes: Counter,
    /// Times between pings of clients and their pongs.
    pub(crate) round_trips: Latency,
    /// Times from the arrival of a command to the write of its messages, of some commands.
    pub(crate) deliveries: Latency,
    /// Messages dropped because a client's send queue was full.
    pub(crate) messages_dropped: Counter,
    /// Messages not sent because they have no frame in the layout of the client's listener.
    pub(crate) messages_unframable: Counter,
    /// Handshakes that negotiated permessage-deflate.
    pub(crate) deflate_handshakes: Counter,
    /// Bytes of messages that clients sent compressed, and the bytes received for them.
    pub(crate) deflated_in: Counter,
    pub(crate) deflated_in_wire: Counter,
    /// Bytes of messages that were sent to clients compressed, and the bytes queued for them.
    pub(crate) deflated_out: Counter,
    pub(crate) deflated_out_wire: Counter,
    /// WebSocket pings sent.
    pub(crate) pings: Counter,
    /// How often clients were paused or closed because of their rate.
    pub(crate) rate_limited: RateLimited,
    /// Closing connections that were cut off at `--close-timeout`.
    pub(crate) close_timeouts: Counter,
    /// Bytes in client send queues and incomplete inbound messages.
    pub(crate) client_bytes: Gauge,
    /// Clients closed because the memory budget was exceeded.
    pub(crate) over_budget: Counter,
    /// Events delivered to workers.
    pub(crate) events: Counter,
    /// Events redelivered to another worker after a worker failed.
    pub(crate) redelivered: Counter,
    /// Events dropped without delivery. Always 0 with `--compat default`.
    pub(crate) events_dropped: Counter,
    /// Events discarded after `--max-delivery-attempts`.
    pub(crate) events_given_up: Counter,
    /// Bytes of unassigned events.
    pub(crate) held: Gauge,
    /// Bytes of events that workers have not acknowledged.
    pub(crate) in_flight: Gauge,
    /// Updates not sent to standbys yet, each about one client.
    pub(crate) standby_updates: Gauge,
    /// Commands accepted from peers.
    pub(crate) commands: Counter,
    /// Queries received from peers.
    pub(crate) queries: Counter,
    /// Retained messages, and the memory that they occupy.
    pub(crate) retained: Gauge,
    pub(crate) retained_bytes: Gauge,
    /// Retained messages dropped for lack of space.
    pub(crate) retained_dropped: Counter,
    /// Joins ignored because of `--max-groups-per-client`.
    pub(crate) joins_refused: Counter,
    /// Checks of uids that workers were asked for.
    pub(crate) uid_checks: Counter,
    /// Uids in a check or waiting for one.
    pub(crate) uid_checks_pending: Gauge,
    /// Pauses in accepting connections, by reason.
    accept_pauses: Family<Reason, Counter>,
    /// Linked workers.
    pub(crate) workers: Gauge,
    /// The same, each with its clients and events.
    pub(crate) linked_workers: LinkedWorkers,
    /// Linked workers that are late to respond to liveness probes.
    pub(crate) workers_late: Gauge,
    /// Watched groups.
    pub(crate) presence: Presence,
    /// Figures of streams.
    pub(crate) streams: Streams,
    /// Refused peers.
    pub(crate) refused: Counter,
    /// Queries of PHP peers without a reply, because of which the link was closed.
    pub(crate) no_replies: Counter,
}

/// Figures of watched groups.
#[derive(Clone, Debug, Default)]
pub(crate) struct Presence {
    /// Groups with a state, in each shard.
    pub(crate) groups: Gauge,
    /// Members with clients, in each shard.
    pub(crate) members: Gauge,
    /// Joins that wait for the owner of the group.
    pub(crate) waiting: Gauge,
    /// Approximate bytes of members and views.
    pub(crate) bytes: Gauge,
    /// Reports to owners.
    pub(crate) reports: Counter,
    /// Commands of peers that do not own the group.
    pub(crate) ignored: Counter,
    /// Joins refused because of the memory budget.
    pub(crate) refused: Counter,
    /// Departures forgotten before an owner had settled them.
    pub(crate) forgotten: Counter,
}

impl Presence {
    fn register(self, registry: &mut Registry) {
        for (name, help, gauge) in [
            (
                "groups",
                "Watched groups with clients or unsettled departures, by shard",
                self.groups,
            ),
            ("members", "Members of watched groups that have clients, by shard", self.members),
            ("waiting", "Joins that wait for the members of their group", self.waiting),
            ("bytes", "Approximate bytes of members of watched groups", self.bytes),
        ] {
            registry.register(format!("presence_{name}"), help, gauge);
        }
        for (name, help, counter) in [
            ("reports", "Reports of watched groups to their owners", self.reports),
            ("commands_ignored", "Commands from workers that do not own the group", self.ignored),
            ("joins_refused", "Joins refused for want of memory for members", self.refused),
            ("forgotten", "Departures forgotten before an owner had settled them", self.forgotten),
        ] {
            registry.register(format!("presence_{name}"), help, counter);
        }
    }
}

/// Counts of clients over a rate limit, by limit.
#[derive(Clone, Debug, Default)]
pub(crate) struct RateLimited {
    /// `--max-messages-per-second`.
    pub(crate) messages: Counter,
    /// `--max-bytes-per-second`.
    pub(crate) bytes: Counter,
}

/// Reasons of refused handshakes, of refused tokens, and of pauses in accepting that are limits. Their counters exist
/// from the start, so that the first occurrence shows as an increase.
const REFUSED: [&str; 4] =
    [AddressLimit::Connections.name(), AddressLimit::Handshakes.name(), TIMEOUT, "auth_timeout"];
const TOKENS: [&str; 6] = [
    "token_missing",
    "token_ambiguous",
    "origin_missing",
    "token_expired",
    "token_revoked",
    "token_invalid",
];
const PAUSED: [&str; 5] =
    ["connections", "handshakes", "handshake_rate", "descriptors", "backpressure"];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

impl Metrics {
    /// Creates the metrics and adds them to `registry`.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let registry = registry.sub_registry_with_prefix("pushsuite_gateway");
        for (family, reason) in REFUSED
            .map(|reason| (&metrics.handshakes_refused, reason))
            .into_iter()
            .chain(TOKENS.map(|code| (&metrics.tokens_refused, code)))
            .chain(PAUSED.map(|reason| (&metrics.accept_pauses, reason)))
            .chain(CloseReason::ALL.iter().map(|reason| (&metrics.closed, reason.name())))
        {
            drop(family.get_or_create(&Reason { reason }));
        }
        let all = metrics.clone();
        registry.register(
            "connections",
            "Connections accepted on client listeners",
            all.connections,
        );
        registry.register("connections_open", "Open connections on client listeners", all.open);
        registry.register(
            "connections_closing",
            "Open connections that only wait for the peer, without a place",
            all.closing,
        );
        registry.register(
            "connections_requests",
            "Connections with a pending handshake or PROXY header",
            all.requests,
        );
        registry.register("clients", "Connected clients", all.clients);
        registry.register("clients_closed", "Closed clients, by reason", all.closed);
        registry.register(
            "handshakes_refused",
            "Refused handshakes, by reason",
            all.handshakes_refused,
        );
        registry.register(
            "tokens_refused",
            "Tokens of clients that were not accepted, by error code",
            all.tokens_refused,
        );
        registry.register(
            "handshakes_undecided",
            "Handshakes that await the answer of a worker",
            all.undecided,
        );
        registry.register("messages_in", "Messages received from clients", all.messages_in);
        registry.register("messages_out", "Messages queued for clients", all.messages_out);
        registry.register(
            "received_bytes",
            "Bytes received from clients, without TLS",
            all.received_bytes,
        );
        registry.register(
            "queued_bytes",
            "Bytes queued for clients, without TLS",
            all.queued_bytes,
        );
        registry.register(
            "ping_round_trip_seconds",
            "Time from a WebSocket ping of a client to its pong",
            all.round_trips,
        );
        registry.register(
            "delivery_duration_seconds",
            "Time from the arrival of a command to the write of its messages, sampled",
            all.deliveries,
        );
        registry.register(
            "messages_dropped",
            "Messages dropped because a client's send queue was full",
            all.messages_dropped,
        );
        registry.register(
            "messages_unframable",
            "Messages not sent because they have no frame in the layout of the client's listener",
            all.messages_unframable,
        );
        registry.register(
            "deflate_handshakes",
            "Handshakes that negotiated permessage-deflate",
            all.deflate_handshakes,
        );
        registry.register(
            "deflated_in_bytes",
            "Bytes of messages that clients sent compressed, decompressed",
            all.deflated_in,
        );
        registry.register(
            "deflated_in_wire_bytes",
            "Bytes received for messages that clients sent compressed",
            all.deflated_in_wire,
        );
        registry.register(
            "deflated_out_bytes",
            "Bytes of messages that were sent to clients compressed, before compression",
            all.deflated_out,
        );
        registry.register(
            "deflated_out_wire_bytes",
            "Bytes queued for messages that were sent to clients compressed",
            all.deflated_out_wire,
        );
        registry.register(
            "messages_rate_limited",
            "Pauses and closes of clients because of --max-messages-per-second",
            all.rate_limited.messages,
        );
        registry.register(
            "bytes_rate_limited",
            "Pauses and closes of clients because of --max-bytes-per-second",
            all.rate_limited.bytes,
        );
        registry.register(
            "close_timeouts",
            "Closing connections that were cut off at --close-timeout",
            all.close_timeouts,
        );
        registry.register("websocket_pings", "WebSocket pings sent to idle clients", all.pings);
        registry.register(
            "client_bytes",
            "Bytes in client send queues and incomplete inbound messages",
            all.client_bytes,
        );
        registry.register(
            "clients_over_budget",
            "Clients closed because the memory budget was exceeded",
            all.over_budget,
        );
        registry.register("events", "Events delivered to workers", all.events);
        registry.register(
            "events_redelivered",
            "Events redelivered to another worker after a worker failed",
            all.redelivered,
        );
        registry.register(
            "events_dropped",
            "Events dropped without delivery to a worker",
            all.events_dropped,
        );
        registry.register(
            "events_given_up",
            "Events discarded because worker processes ended while handling them",
            all.events_given_up,
        );
        registry.register(
            "events_held_bytes",
            "Bytes of events waiting for a worker to be assigned",
            all.held,
        );
        registry.register(
            "events_in_flight_bytes",
            "Bytes of events that workers have not acknowledged",
            all.in_flight,
        );
        registry.register(
            "standby_updates_pending",
            "Updates not sent to standby workers yet, each about one client",
            all.standby_updates,
        );
        registry.register("commands", "Commands accepted from peers", all.commands);
        registry.register("queries", "Queries received from peers", all.queries);
        registry.register(
            "retained_messages",
            "Last messages of groups that are retained",
            all.retained,
        );
        registry.register(
            "retained_bytes",
            "Memory that retained messages occupy",
            all.retained_bytes,
        );
        registry.register(
            "retained_messages_dropped",
            "Retained messages dropped because of --retained-message-budget",
            all.retained_dropped,
        );
        registry.register(
            "joins_refused",
            "Joins ignored because the client is in --max-groups-per-client groups",
            all.joins_refused,
        );
        registry.register(
            "uid_checks",
            "Checks of a uid's connections in the cluster that workers were asked for",
            all.uid_checks,
        );
        registry.register(
            "uid_checks_pending",
            "Uids whose connections are being checked or are to be",
            all.uid_checks_pending,
        );
        registry.register(
            "accept_pauses",
            "Pauses in accepting connections, by the limit reached",
            all.accept_pauses,
        );
        registry.register("workers", "Linked workers", all.workers);
        registry.register_collector(Box::new(all.linked_workers));
        registry.register(
            "workers_late",
            "Linked workers that are late to respond to liveness probes",
            all.workers_late,
        );
        all.presence.register(registry);
        all.streams.register(registry);
        registry.register("peers_refused", "Refused peers", all.refused);
        registry.register(
            "php_queries_failed",
            "Queries of PHP peers without a reply, because of which the link was closed",
            all.no_replies,
        );
        metrics
    }

    /// Counts a pause in accepting connections.
    pub(crate) fn count_pause(&self, reason: &'static str) {
        self.accept_pauses.get_or_create(&Reason { reason }).inc();
    }

    /// Counts a token that was not accepted.
    pub(crate) fn count_token_refused(&self, reason: &'static str) {
        self.tokens_refused.get_or_create(&Reason { reason }).inc();
    }

    /// Counts a closed client.
    pub(crate) fn count_closed(&self, reason: CloseReason) {
        self.closed.get_or_create(&Reason { reason: reason.name() }).inc();
    }

    /// Counts a connection that was refused before it was open: its handshake or PROXY header was
    /// invalid or late, or its peer is no trusted proxy.
    pub(crate) fn count_refused(&self, reason: &'static str) {
        self.handshakes_refused.get_or_create(&Reason { reason }).inc();
    }

    /// Closed clients by reason, without the reasons that have not occurred.
    pub(crate) fn closed(&self) -> Vec<(String, u64)> {
        let counts = CloseReason::ALL.iter().map(|reason| {
            let reason = reason.name();
            (reason.to_owned(), self.closed.get_or_create(&Reason { reason }).get())
        });
        counts.filter(|(_, count)| *count != 0).collect()
    }

    /// Number of handshakes that await the answer of a worker, over all shards.
    pub(crate) fn undecided(&self) -> usize {
        usize::try_from(self.undecided.get()).unwrap_or(0)
    }

    /// How many were refused for this reason.
    #[cfg(test)]
    pub(crate) fn refused_because(&self, reason: &'static str) -> u64 {
        self.handshakes_refused.get_or_create(&Reason { reason }).get()
    }
}
