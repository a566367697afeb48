//! Metrics of the register.

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::closed::{Reason, Refused};

/// Cheap to clone; all clones share the same counters.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) gateways: Gauge,
    pub(crate) workers: Gauge,
    pub(crate) connections: Counter,
    pub(crate) broadcasts: Counter,
    pub(crate) slow: Counter,
    refused: Family<Reason, Counter>,
}

impl Metrics {
    pub(crate) fn refused(&self, refused: &Refused) {
        self.refused.get_or_create(&refused.into()).inc();
    }

    /// Registers all metrics under the prefix `pushsuite_register`.
    pub(crate) fn describe(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("pushsuite_register");
        // Exported from the start, at zero, so that the first one shows as an increase.
        Reason::all().for_each(|reason| drop(self.refused.get_or_create(&reason)));
        registry.register("gateways", "Announced gateway addresses", self.gateways.clone());
        registry.register("workers", "Connections subscribed to changes", self.workers.clone());
        registry.register("connections", "Connections accepted", self.connections.clone());
        registry.register(
            "broadcasts",
            "Changes broadcast to all workers",
            self.broadcasts.clone(),
        );
        registry.register("slow", "Peers closed as slow consumers", self.slow.clone());
        registry.register("refused", "Connections refused, by reason", self.refused.clone());
    }
}
