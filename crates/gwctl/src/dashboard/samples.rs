//! An hour of totals of the cluster, for plots.

use std::collections::{BTreeMap, VecDeque};

use push_suite_cluster::GatewayStatus;
use serde::Serialize;

/// Most samples that are kept: an hour of one every two seconds.
const KEPT: usize = 1800;

/// The totals at one moment.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Sample {
    /// Milliseconds since the Unix epoch.
    pub(super) at: u64,
    /// The time that the slowest gateway took to answer, in milliseconds.
    pub(super) answer_millis: f64,
    /// Those of each gateway that has answered, by address.
    pub(super) gateways: BTreeMap<String, Totals>,
}

/// The figures of a gateway that plots show; totals count from its start.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Totals {
    instance: String,
    clients: u64,
    slow_clients: u64,
    paused_clients: u64,
    queue_bytes: u64,
    in_flight_bytes: u64,
    resident_bytes: Option<u64>,
    messages_in: u64,
    messages_out: u64,
    messages_dropped: u64,
    bytes_in: u64,
    bytes_out: u64,
    closed: BTreeMap<String, u64>,
}

impl Totals {
    pub(super) fn of(status: &GatewayStatus) -> Self {
        let traffic = status.traffic;
        Self {
            instance: status.instance.to_string(),
            clients: status.clients,
            slow_clients: status.slow_clients,
            paused_clients: status.paused_clients,
            queue_bytes: status.queue_bytes,
            in_flight_bytes: status.in_flight_bytes,
            resident_bytes: status.resident_bytes,
            messages_in: traffic.messages_in,
            messages_out: traffic.messages_out,
            messages_dropped: traffic.messages_dropped,
            bytes_in: traffic.bytes_in,
            bytes_out: traffic.bytes_out,
            closed: status.closed.iter().cloned().collect(),
        }
    }
}

/// The last samples, numbered from 0.
#[derive(Debug, Default)]
pub(super) struct Samples {
    kept: VecDeque<Sample>,
    /// The number of the next one.
    next: usize,
}

/// Samples behind a number, and the number to ask for next.
#[derive(Debug, Serialize)]
pub(super) struct Since {
    next: usize,
    samples: Vec<Sample>,
}

impl Samples {
    pub(super) fn push(&mut self, sample: Sample) {
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(sample);
        self.next += 1;
    }

    /// The samples from number `after` on: all of them if that number was given by an earlier process.
    pub(super) fn since(&self, after: usize) -> Since {
        let first = self.next - self.kept.len();
        let skipped = if after > self.next { 0 } else { after.saturating_sub(first) };
        Since { next: self.next, samples: self.kept.iter().skip(skipped).cloned().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at: u64) -> Sample {
        Sample { at, answer_millis: 0.0, gateways: BTreeMap::new() }
    }

    fn times(since: &Since) -> Vec<u64> {
        since.samples.iter().map(|sample| sample.at).collect()
    }

    #[test]
    fn reader_gets_each_sample_once() {
        let mut samples = Samples::default();
        assert_eq!(samples.since(0).next, 0);
        samples.push(sample(1));
        samples.push(sample(2));
        let first = samples.since(0);
        assert_eq!(times(&first), [1, 2]);
        samples.push(sample(3));
        assert_eq!(times(&samples.since(first.next)), [3]);
        assert!(samples.since(3).samples.is_empty());
        assert_eq!(times(&samples.since(99)), [1, 2, 3], "of another process");
    }

    #[test]
    fn oldest_samples_are_dropped() {
        let mut samples = Samples::default();
        for at in 0..KEPT as u64 + 5 {
            samples.push(sample(at));
        }
        let all = samples.since(0);
        assert_eq!((all.samples.len(), all.samples[0].at), (KEPT, 5));
        assert_eq!(times(&samples.since(KEPT + 4)), [KEPT as u64 + 4]);
    }
}
