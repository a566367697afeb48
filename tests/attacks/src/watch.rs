//! What processes hold while they are attacked.

use std::time::Duration;

use suite_tests::{Raw, process::Process};

/// A part of what a gateway says that it holds.
const ACCOUNT: [&str; 3] =
    ["gateway_client_bytes", "gateway_events_held_bytes", "gateway_events_in_flight_bytes"];

/// The most that was seen of a process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Held {
    /// Bytes of memory in use.
    pub(crate) resident: usize,
    /// Bytes that it says it holds for clients.
    pub(crate) account: usize,
    /// Connections of clients.
    pub(crate) connections: usize,
}

impl Held {
    /// Adds what a process holds now.
    ///
    /// # Panics
    /// When its page of metrics does not come.
    pub(crate) async fn look(&mut self, process: &Process) {
        self.resident = self.resident.max(process.resident());
        let page = Raw::get(process.admin, "/metrics").await.expect("a page of metrics");
        let value = |name: &str| -> usize {
            let line =
                page.body.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|value| value.trim().parse::<f64>().ok())
                .map_or(0, |value| value as usize)
        };
        self.account = self.account.max(ACCOUNT.iter().map(|name| value(name)).sum());
        self.connections = self.connections.max(value("gateway_connections_open"));
    }
}

/// Between two looks.
pub(crate) const EVERY: Duration = Duration::from_millis(200);
