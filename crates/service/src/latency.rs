//! Histograms of durations that cost a few additions to record.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::{MetricType, TypedMetric},
};

/// Upper bounds of the buckets in seconds; the last bucket has none.
const BOUNDS: [f64; 17] = [
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025,
    0.05, 0.1, 0.25, 1.0, 5.0, 30.0,
];

/// The same in nanoseconds.
const NANOSECONDS: [u64; BOUNDS.len()] = {
    let (mut all, mut at) = ([0; BOUNDS.len()], 0);
    while at < all.len() {
        all[at] = (BOUNDS[at] * 1e9 + 0.5) as u64;
        at += 1;
    }
    all
};

/// A histogram of durations, from 10 µs to 30 s, for metrics in seconds. Clones record into the same
/// one.
#[derive(Clone, Debug, Default)]
pub struct Latency(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    nanoseconds: AtomicU64,
}

impl Latency {
    /// Records one duration.
    pub fn record(&self, took: Duration) {
        let (bucket, nanoseconds) = place(took);
        self.0.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.0.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// Adds a batch and empties it.
    pub fn add(&self, batch: &mut Batch) {
        if batch.is_empty() {
            return;
        }
        let Batch { buckets, nanoseconds, .. } = std::mem::take(batch);
        for (shared, count) in self.0.buckets.iter().zip(buckets) {
            if count != 0 {
                shared.fetch_add(count.into(), Ordering::Relaxed);
            }
        }
        self.0.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }
}

/// Durations that one thread has recorded, to be [added](Latency::add) to the shared histogram
/// together.
#[derive(Debug, Default)]
pub struct Batch {
    buckets: [u32; BOUNDS.len() + 1],
    nanoseconds: u64,
    count: u32,
}

impl Batch {
    /// Records one duration.
    pub fn record(&mut self, took: Duration) {
        let (bucket, nanoseconds) = place(took);
        self.buckets[bucket] = self.buckets[bucket].saturating_add(1);
        self.nanoseconds = self.nanoseconds.saturating_add(nanoseconds);
        self.count = self.count.saturating_add(1);
    }

    /// Number of durations recorded since the batch was last added.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.count
    }

    /// Whether it has none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// The bucket of a duration, and its nanoseconds.
fn place(took: Duration) -> (usize, u64) {
    let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
    (NANOSECONDS.partition_point(|bound| *bound < nanoseconds), nanoseconds)
}

impl EncodeMetric for Latency {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        let counts = self.0.buckets.each_ref().map(|count| count.load(Ordering::Relaxed));
        let bounds = BOUNDS.into_iter().chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        let sum = self.0.nanoseconds.load(Ordering::Relaxed) as f64 / 1e9;
        // The count is that of the buckets, which are read one after the other.
        encoder.encode_histogram::<NoLabelSet>(sum, counts.iter().sum(), &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

impl TypedMetric for Latency {
    const TYPE: MetricType = MetricType::Histogram;
}

#[cfg(test)]
mod tests {
    use prometheus_client::{encoding::text, registry::Registry};

    use super::*;

    #[test]
    fn durations_are_counted_up_to_and_including_their_bound() {
        let (latency, mut registry, mut batch) =
            (Latency::default(), Registry::default(), Batch::default());
        registry.register("took_seconds", "Time", latency.clone());
        latency.record(Duration::from_micros(10));
        for micros in [11, 2_000_000, 40_000_000] {
            batch.record(Duration::from_micros(micros));
        }
        assert_eq!(batch.len(), 3);
        latency.add(&mut batch);
        latency.add(&mut batch);
        assert!(batch.is_empty());
        let mut page = String::new();
        text::encode(&mut page, &registry).unwrap();
        for line in [
            "took_seconds_sum 42.000021",
            "took_seconds_count 4",
            "took_seconds_bucket{le=\"0.00001\"} 1",
            "took_seconds_bucket{le=\"0.000025\"} 2",
            "took_seconds_bucket{le=\"1.0\"} 2",
            "took_seconds_bucket{le=\"5.0\"} 3",
            "took_seconds_bucket{le=\"30.0\"} 3",
            "took_seconds_bucket{le=\"+Inf\"} 4",
        ] {
            assert!(page.lines().any(|other| other == line), "{line} in\n{page}");
        }
    }
}
