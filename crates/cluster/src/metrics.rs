//! Metrics of the links of a cluster.

use std::sync::{Arc, atomic::AtomicU64};

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

/// Metrics of all links of a cluster.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) links: Gauge,
    pub(crate) commands: Counter,
    pub(crate) missed: Counter,
    pub(crate) queries: Counter,
    pub(crate) failed_queries: Counter,
    pub(crate) partial_queries: Counter,
    pub(crate) lost_links: Counter,
    pub(crate) failed_links: Counter,
    pub(crate) replaced: Counter,
    pub(crate) registers: Gauge,
    pub(crate) passive: Gauge,
    pub(crate) queued: Gauge,
    pub(crate) parked: Gauge,
    pub(crate) given_up: Counter,
    pub(crate) presence: PresenceMetrics,
    pub(crate) streams: StreamMetrics,
    /// How often tasks have begun to wait for answers. Not exported.
    pub(crate) waits: Arc<AtomicU64>,
}

/// Metrics of the groups that this worker owns.
#[derive(Debug, Default)]
pub(crate) struct PresenceMetrics {
    pub(crate) groups: Gauge,
    pub(crate) members: Gauge,
    pub(crate) bytes: Gauge,
    pub(crate) incomplete: Gauge,
    pub(crate) reports: Counter,
    pub(crate) queries: Counter,
    pub(crate) restarts: Counter,
    pub(crate) notices: Counter,
    pub(crate) dropped: Counter,
}

impl PresenceMetrics {
    fn register(&self, registry: &mut Registry) {
        let mut gauge = |name, help, gauge: &Gauge| registry.register(name, help, gauge.clone());
        gauge("presence_groups", "Watched groups that this worker owns", &self.groups);
        gauge("presence_members", "Members of the groups that this worker owns", &self.members);
        gauge("presence_bytes", "Memory of the groups that this worker owns", &self.bytes);
        gauge(
            "presence_incomplete",
            "1 while groups or members wait because the presence table is full, else 0",
            &self.incomplete,
        );
        let mut counter = |name, help, counter: &Counter| {
            registry.register(name, help, counter.clone());
        };
        counter("presence_reports", "Reports of gateways about watched groups", &self.reports);
        counter("presence_queries", "Queries to all gateways about watched groups", &self.queries);
        counter(
            "presence_restarts",
            "Times that a gateway was too slow for commands about watched groups",
            &self.restarts,
        );
        counter("presence_notices", "Calls of on_presence", &self.notices);
        counter(
            "presence_notices_dropped",
            "Notices dropped because on_presence is too slow",
            &self.dropped,
        );
    }
}

/// Metrics of streams.
#[derive(Debug, Default)]
pub(crate) struct StreamMetrics {
    pub(crate) published: Counter,
    pub(crate) failures: Counter,
    pub(crate) recovered: Counter,
    pub(crate) not_recovered: Counter,
    pub(crate) filled: Counter,
    pub(crate) resets: Counter,
}

impl StreamMetrics {
    fn register(&self, registry: &mut Registry) {
        for (name, help, counter) in [
            ("published", "Messages appended to streams", &self.published),
            ("store_failures", "Calls that the store of streams has failed", &self.failures),
            ("recovered", "Clients that have recovered a stream", &self.recovered),
            ("not_recovered", "Clients that could not recover a stream", &self.not_recovered),
            ("filled", "Messages that gateways had missed and asked for", &self.filled),
            ("resets", "Streams that gateways could not be given as a whole", &self.resets),
        ] {
            registry.register(format!("stream_{name}"), help, counter.clone());
        }
    }
}

impl Metrics {
    /// Registers the metrics. Their names have no prefix; pass a registry that has one.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let mut gauge = |name, help, gauge: &Gauge| registry.register(name, help, gauge.clone());
        gauge("links", "Linked gateways", &self.links);
        gauge("registers", "Connected registers", &self.registers);
        gauge(
            "passive",
            "1 while events are left to workers that reach every gateway, else 0",
            &self.passive,
        );
        gauge("queued_bytes", "Bytes waiting to be written to gateways", &self.queued);
        gauge("parked_bytes", "Bytes waiting for disconnected gateways", &self.parked);
        let mut counter = |name, help, counter: &Counter| {
            registry.register(name, help, counter.clone());
        };
        counter("commands", "Commands sent to gateways", &self.commands);
        counter(
            "commands_missed",
            "Commands not sent to a known gateway because it was not linked",
            &self.missed,
        );
        counter(
            "commands_given_up",
            "Commands dropped unacknowledged because the gateway was declared dead, or at shutdown",
            &self.given_up,
        );
        counter("queries", "Queries to the cluster", &self.queries);
        counter("queries_failed", "Queries without a complete result", &self.failed_queries);
        counter(
            "queries_partial",
            "Queries to all gateways that skipped one that was never linked",
            &self.partial_queries,
        );
        counter("links_lost", "Links closed by the gateway or lost", &self.lost_links);
        counter("links_failed", "Failed attempts to link", &self.failed_links);
        counter(
            "links_replaced",
            "Links closed because another worker with the same name and id has linked",
            &self.replaced,
        );
        self.presence.register(registry);
        self.streams.register(registry);
    }
}
