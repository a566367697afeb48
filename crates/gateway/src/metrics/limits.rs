//! Limits as metrics, beside what they limit.

use prometheus_client::{metrics::gauge::Gauge, registry::Registry};

use super::Metrics;
use crate::{descriptors::Descriptors, settings::Settings};

impl Metrics {
    /// Adds the limits in effect to `registry`. One that is not set is left out.
    pub(crate) fn register_limits(
        registry: &mut Registry,
        settings: &Settings,
        descriptors: &Descriptors,
        threads: usize,
    ) {
        let registry = registry.sub_registry_with_prefix("pushsuite_gateway");
        let connections = settings.max_connections.unwrap_or(usize::MAX).min(descriptors.clients);
        // Half of the budget is for events, which windows limit.
        let client_bytes = settings.memory.map(|share| share / 2 * threads);
        for (name, help, limit) in [
            (
                "connections_limit",
                "Most open connections: --max-connections, or what open files allow",
                (connections != usize::MAX).then_some(connections),
            ),
            (
                "connections_requests_limit",
                "Most connections with a pending handshake or PROXY header (--max-handshakes)",
                Some(settings.max_requests),
            ),
            (
                "client_bytes_limit",
                "Most bytes that clients may have queued: half of --memory-budget",
                client_bytes,
            ),
            (
                "worker_in_flight_bytes_limit",
                "Most bytes of unacknowledged events of a worker (--worker-window of each thread)",
                Some(settings.worker_window.saturating_mul(threads)),
            ),
            (
                "retained_bytes_limit",
                "Most memory of retained messages (--retained-message-budget)",
                Some(settings.retained_bytes),
            ),
            ("threads", "Threads that may be used (--threads)", Some(threads)),
        ] {
            let Some(limit) = limit else { continue };
            let gauge: Gauge = Gauge::default();
            gauge.set(i64::try_from(limit).unwrap_or(i64::MAX));
            registry.register(name, help, gauge);
        }
    }
}
