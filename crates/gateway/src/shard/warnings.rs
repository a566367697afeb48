//! Log lines that peers can cause any number of times, each kind limited to one a second.

use std::time::Instant;

use service::rate_limit::Throttle;

/// One limit for each kind of line.
#[derive(Debug)]
pub(super) struct Warnings {
    /// An update of a session that cannot be made.
    pub(super) session: Throttle,
    /// An event that does not fit a frame of its worker.
    pub(super) too_large: Throttle,
    /// A client that is in as many groups as it may be.
    pub(super) groups: Throttle,
    /// No more connections are accepted.
    pub(super) full: Throttle,
    /// Clients closed since no worker took their events.
    no_worker: Throttle,
    /// How many of them were not logged yet.
    no_worker_clients: u64,
}

impl Default for Warnings {
    fn default() -> Self {
        let [session, too_large, groups, full, no_worker] = [const { Throttle::per_second() }; 5];
        Self { session, too_large, groups, full, no_worker, no_worker_clients: 0 }
    }
}

impl Warnings {
    /// A client is closed since no worker took its events.
    pub(super) fn no_worker(&mut self) {
        self.no_worker_clients += 1;
    }

    /// Logs what was only counted, if it is time. Called a few times a second.
    pub(super) fn flush(&mut self, now: Instant) {
        let clients = self.no_worker_clients;
        if clients != 0 && self.no_worker.admit(now).is_some() {
            self.no_worker_clients = 0;
            tracing::warn!(clients, "closed clients since no worker took their events");
        }
    }
}
