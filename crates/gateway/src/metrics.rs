//! What a gateway counts.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use protocol::CloseReason;

/// What a gateway counts. Never by client, uid or group: those are without bound.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    /// Connections accepted from outside.
    pub(crate) connections: Counter,
    /// Connections open now, clients' or not.
    pub(crate) open: Gauge,
    /// Of these, connections whose request is awaited.
    pub(crate) requests: Gauge,
    /// Clients connected now.
    pub(crate) clients: Gauge,
    /// Clients gone, by why.
    closed: Family<Why, Counter>,
    /// Handshakes refused, by why.
    handshakes_refused: Family<Why, Counter>,
    /// Messages that clients sent.
    pub(crate) messages_in: Counter,
    /// Messages queued for clients.
    pub(crate) messages_out: Counter,
    /// Messages that slow clients did not get.
    pub(crate) messages_dropped: Counter,
    /// WebSocket pings sent.
    pub(crate) pings: Counter,
    /// Bytes that clients make us hold: queued for them, or of messages that have not come whole.
    pub(crate) client_bytes: Gauge,
    /// Clients closed because all together made us hold too much.
    pub(crate) over_budget: Counter,
    /// Events given to workers.
    pub(crate) events: Counter,
    /// Of these, events given to another worker after the first had died.
    pub(crate) redelivered: Counter,
    /// Events that no worker was told of. None with `--compat better`.
    pub(crate) events_dropped: Counter,
    /// Events given up since worker processes ended over them.
    pub(crate) events_given_up: Counter,
    /// Bytes of events that wait for a worker.
    pub(crate) held: Gauge,
    /// Bytes of events that workers have and are not done with.
    pub(crate) in_flight: Gauge,
    /// Updates that standbys are not sent yet, each of one client.
    pub(crate) standby_updates: Gauge,
    /// Commands taken from peers.
    pub(crate) commands: Counter,
    /// Queries taken from peers.
    pub(crate) queries: Counter,
    /// Joins that were ignored because the client is in too many groups.
    pub(crate) joins_refused: Counter,
    /// How often no more connections were accepted, by why.
    accept_pauses: Family<Why, Counter>,
    /// Workers linked now.
    pub(crate) workers: Gauge,
    /// Of these, workers that are late to answer.
    pub(crate) workers_late: Gauge,
    /// Peers that were not let in.
    pub(crate) refused: Counter,
    /// Queries of PHP peers that had no reply, so that their connection was closed.
    pub(crate) no_replies: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Why {
    reason: &'static str,
}

impl Metrics {
    /// Makes the metrics and has `registry` show them.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let registry = registry.sub_registry_with_prefix("gateway");
        let all = metrics.clone();
        registry.register("connections", "Connections accepted", all.connections);
        registry.register("connections_open", "Connections open", all.open);
        registry.register(
            "connections_requests",
            "Of these, still awaiting a request",
            all.requests,
        );
        registry.register("clients", "Clients connected", all.clients);
        registry.register("clients_closed", "Clients gone, by why", all.closed);
        registry.register(
            "handshakes_refused",
            "Handshakes refused, by why",
            all.handshakes_refused,
        );
        registry.register("messages_in", "Messages that clients sent", all.messages_in);
        registry.register("messages_out", "Messages queued for clients", all.messages_out);
        registry.register(
            "messages_dropped",
            "Messages that slow clients did not get",
            all.messages_dropped,
        );
        registry.register("websocket_pings", "WebSocket pings sent to silent clients", all.pings);
        registry.register(
            "client_bytes",
            "Queued for clients, or of messages that have not come whole",
            all.client_bytes,
        );
        registry.register(
            "clients_over_budget",
            "Clients closed because all together held too much",
            all.over_budget,
        );
        registry.register("events", "Events given to workers", all.events);
        registry.register(
            "events_redelivered",
            "Events given to another worker after one had died",
            all.redelivered,
        );
        registry.register(
            "events_dropped",
            "Events that no worker was told of",
            all.events_dropped,
        );
        registry.register(
            "events_given_up",
            "Events given up, since worker processes ended while they handled them",
            all.events_given_up,
        );
        registry.register("events_held_bytes", "Events that wait for a worker", all.held);
        registry.register(
            "events_in_flight_bytes",
            "Events that workers have and are not done with",
            all.in_flight,
        );
        registry.register(
            "standby_updates_pending",
            "Updates not yet sent to workers that stand by for others, each of one client",
            all.standby_updates,
        );
        registry.register("commands", "Commands taken from peers", all.commands);
        registry.register("queries", "Queries taken from peers", all.queries);
        registry.register(
            "joins_refused",
            "Joins ignored because the client is in as many groups as --max-groups-per-client",
            all.joins_refused,
        );
        registry.register(
            "accept_pauses",
            "Times that accepting connections paused, by the limit that was reached",
            all.accept_pauses,
        );
        registry.register("workers", "Workers linked", all.workers);
        registry.register(
            "workers_late",
            "Of these, workers that are late to answer",
            all.workers_late,
        );
        registry.register("peers_refused", "Peers that were not let in", all.refused);
        registry.register(
            "php_queries_failed",
            "Queries of PHP peers without a reply; their connections were closed",
            all.no_replies,
        );
        metrics
    }

    /// Counts a pause in accepting connections.
    pub(crate) fn count_pause(&self, reason: &'static str) {
        self.accept_pauses.get_or_create(&Why { reason }).inc();
    }

    /// Counts a client that is gone.
    pub(crate) fn count_closed(&self, reason: CloseReason) {
        self.closed.get_or_create(&Why { reason: reason.name() }).inc();
    }

    /// Counts a connection that ends without the WebSocket that it asked for, or did not ask for in
    /// time.
    pub(crate) fn count_refused(&self, reason: &'static str) {
        self.handshakes_refused.get_or_create(&Why { reason }).inc();
    }
}
