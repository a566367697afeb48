//! Log lines that peers can trigger without limit; each kind is limited to one a second.

use std::time::Instant;

use runtime::rate_limit::Throttle;

/// One limit for each kind of line.
#[derive(Debug)]
pub(super) struct Warnings {
    /// A rejected session update.
    pub(super) session: Throttle,
    /// An event that exceeds the frame size of its worker.
    pub(super) too_large: Throttle,
    /// A client at its group limit.
    pub(super) groups: Throttle,
    /// A message without a frame in the layout of its listener.
    pub(super) unframable: Throttle,
    /// A client over its rate limit.
    pub(super) rate: Throttle,
    /// A client over the limit of connections for its uid.
    pub(super) uids: Throttle,
    /// Too many declarations of close codes.
    pub(super) close_codes: Throttle,
    /// Accepting paused.
    pub(super) full: Throttle,
    /// Clients closed because no worker took their events.
    no_worker: Throttle,
    /// Number of those not logged yet.
    no_worker_clients: u64,
}

impl Default for Warnings {
    fn default() -> Self {
        let [session, too_large, groups, unframable, rate, uids, close_codes, full, no_worker] =
            [const { Throttle::per_second() }; 9];
        let no_worker_clients = 0;
        Self {
            session,
            too_large,
            groups,
            unframable,
            rate,
            uids,
            close_codes,
            full,
            no_worker,
            no_worker_clients,
        }
    }
}

impl Warnings {
    /// Counts a client closed because no worker took its events.
    pub(super) fn no_worker(&mut self) {
        self.no_worker_clients += 1;
    }

    /// Logs pending counts, if due. Called a few times a second.
    pub(super) fn flush(&mut self, now: Instant) {
        let clients = self.no_worker_clients;
        if clients != 0 && self.no_worker.admit(now).is_some() {
            self.no_worker_clients = 0;
            tracing::warn!(clients, "closed clients because no worker took their events");
        }
    }
}
