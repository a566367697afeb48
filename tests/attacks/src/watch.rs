//! Memory of processes during attacks.

use std::time::Duration;

use suite_tests::{Raw, process::Process};

/// The metrics of memory that a gateway accounts for.
const ACCOUNT: [&str; 3] = [
    "pushsuite_gateway_client_bytes",
    "pushsuite_gateway_events_held_bytes",
    "pushsuite_gateway_events_in_flight_bytes",
];

/// Maxima observed of a process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Held {
    /// Resident memory in bytes.
    pub(crate) resident: usize,
    /// Bytes that it accounts for.
    pub(crate) account: usize,
}

impl Held {
    /// Samples a process.
    ///
    /// # Panics
    /// If its metrics cannot be fetched.
    pub(crate) async fn sample(&mut self, process: &Process) {
        self.resident = self.resident.max(process.resident());
        let page = Raw::get(process.admin, "/metrics").await.expect("a page of metrics");
        let value = |name: &str| -> usize {
            let line =
                page.body.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|value| value.trim().parse::<f64>().ok())
                .map_or(0, |value| value as usize)
        };
        self.account = self.account.max(ACCOUNT.iter().map(|name| value(name)).sum());
    }
}

/// Sampling interval.
pub(crate) const EVERY: Duration = Duration::from_millis(200);
