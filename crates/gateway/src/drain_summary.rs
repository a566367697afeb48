//! Counts of how the connected clients were closed during a graceful shutdown.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of all shards, logged once at the end of the drain.
#[derive(Debug, Default)]
pub(crate) struct DrainSummary {
    notified: AtomicU64,
    left: AtomicU64,
    aborted: AtomicU64,
}

impl DrainSummary {
    /// Counts a closed client. `notified`: it was sent a close frame with a retry-after time, where
    /// its protocol has one; otherwise it disconnected first.
    pub(crate) fn ended(&self, notified: bool) {
        let count = if notified { &self.notified } else { &self.left };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a client that did not close its connection in time after the close frame. To be
    /// called before [`ended`](Self::ended).
    pub(crate) fn aborted(&self) {
        self.aborted.fetch_add(1, Ordering::Relaxed);
    }

    /// Logs the result. `lingers` clients were still connected at the end.
    pub(crate) fn log(&self, clients: i64, lingers: i64) {
        let [notified, left, aborted] =
            [&self.notified, &self.left, &self.aborted].map(|count| count.load(Ordering::Relaxed));
        let notified = notified.saturating_sub(aborted);
        let aborted = aborted + u64::try_from(lingers).unwrap_or_default();
        tracing::info!(clients, notified, left, aborted, "drained");
    }
}
