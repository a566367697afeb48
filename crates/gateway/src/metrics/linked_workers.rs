//! Metrics of each linked worker: labels exist for as long as the worker is linked.

use std::{collections::BTreeMap, fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, gauge::ConstGauge},
};
use runtime::sync::Mutex;

use crate::thread_messages::{LinkId, Worker};

/// The linked workers. Clones show the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct LinkedWorkers(Arc<Mutex<BTreeMap<LinkId, Arc<Worker>>>>);

impl LinkedWorkers {
    pub(crate) fn add(&self, link: LinkId, worker: Arc<Worker>) {
        self.0.lock().insert(link, worker);
    }

    pub(crate) fn remove(&self, link: LinkId) {
        self.0.lock().remove(&link);
    }
}

impl Collector for LinkedWorkers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        // A worker that has just replaced another one has the same key.
        let linked = self.0.lock();
        let workers: BTreeMap<_, _> = linked.values().map(|it| (it.key.clone(), it)).collect();
        type Value = fn(&Worker) -> usize;
        let families: [(&str, &str, Value); 3] = [
            ("worker_clients", "Clients of a linked worker", |worker| worker.clients()),
            (
                "worker_in_flight_events",
                "Events of a linked worker, from the oldest that it has not acknowledged on",
                |worker| worker.in_flight.events(),
            ),
            (
                "worker_in_flight_bytes",
                "Bytes of events that a linked worker has not acknowledged",
                |worker| worker.in_flight.bytes(),
            ),
        ];
        for (name, help, value) in families {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (key, worker) in &workers {
                let labels = [("worker", key.as_str())];
                let value = i64::try_from(value(worker)).unwrap_or(i64::MAX);
                ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}
