//! What is counted of a cluster's links.

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

/// Counts over all links of a cluster.
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
}

impl Metrics {
    /// Shows the counts on a page of metrics. Their names have no prefix; give the registry one.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let mut gauge = |name, help, gauge: &Gauge| registry.register(name, help, gauge.clone());
        gauge("links", "Gateways linked", &self.links);
        gauge("registers", "Registers connected", &self.registers);
        gauge(
            "passive",
            "1 while events are left to workers that reach every gateway, else 0",
            &self.passive,
        );
        gauge("queued_bytes", "Bytes waiting to be written to gateways", &self.queued);
        gauge("parked_bytes", "Bytes waiting for gateways that are out of reach", &self.parked);
        let mut counter = |name, help, counter: &Counter| {
            registry.register(name, help, counter.clone());
        };
        counter("commands", "Commands sent to gateways", &self.commands);
        counter(
            "commands_missed",
            "Commands that a known gateway did not get, since it was not linked",
            &self.missed,
        );
        counter(
            "commands_given_up",
            "Commands that a gateway had not taken when it was taken for gone, or when we left",
            &self.given_up,
        );
        counter("queries", "Questions asked of the cluster", &self.queries);
        counter("queries_failed", "Questions that got no whole answer", &self.failed_queries);
        counter(
            "queries_partial",
            "Questions to all gateways that left out one that was never linked",
            &self.partial_queries,
        );
        counter("links_lost", "Links that ended without our doing", &self.lost_links);
        counter("links_failed", "Attempts to link that failed", &self.failed_links);
        counter(
            "links_replaced",
            "Links that ended because another worker with the same name and id has linked",
            &self.replaced,
        );
    }
}
