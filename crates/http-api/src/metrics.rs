//! Metrics of the push API, `pushsuite_http_*`.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use service::latency::Latency;

/// The metrics; clones count in the same.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    pub(crate) connections: Gauge,
    pub(crate) running: Gauge,
    pub(crate) requests: Family<Request, Counter>,
    pub(crate) took: Latency,
    pub(crate) delivered: Counter,
    pub(crate) unreachable: Counter,
    pub(crate) replayed: Counter,
    pub(crate) remembered: Gauge,
}

/// The labels of a request: the path as in the documentation, never an id in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) status: u16,
}

impl Metrics {
    /// Registers them, in a registry without a prefix.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("pushsuite_http");
        let mut gauge = |name, help, gauge: &Gauge| registry.register(name, help, gauge.clone());
        gauge("connections", "Open connections", &self.connections);
        gauge("running_requests", "Requests that are being executed", &self.running);
        gauge("remembered_answers", "Answers kept for an Idempotency-Key", &self.remembered);
        let requests = self.requests.clone();
        registry.register("requests", "Requests, by method, path and status", requests);
        let took = self.took.clone();
        registry.register("request_duration_seconds", "Time to the answer of a request", took);
        let mut counter =
            |name, help, counter: &Counter| registry.register(name, help, counter.clone());
        counter("delivered", "Clients that sends have reached", &self.delivered);
        counter("unreachable", "Gateways that did not answer a send in time", &self.unreachable);
        counter("replayed", "Requests answered from memory", &self.replayed);
    }
}
