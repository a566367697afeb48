//! What became of the clients that were there when the gateway began to go down.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counted by all shards, and logged once at the end.
#[derive(Debug, Default)]
pub(crate) struct Farewell {
    told: AtomicU64,
    left: AtomicU64,
    cut: AtomicU64,
}

impl Farewell {
    /// A client is gone. It was told when to come back, where its protocol can, or left before its turn.
    pub(crate) fn ended(&self, told: bool) {
        let count = if told { &self.told } else { &self.left };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Before it [`ended`](Self::ended): a client that was told did not close its connection in time.
    pub(crate) fn cut(&self) {
        self.cut.fetch_add(1, Ordering::Relaxed);
    }

    /// Says how it went. `lingers` clients were still connected at the end.
    pub(crate) fn log(&self, clients: i64, lingers: i64) {
        let [told, left, cut] =
            [&self.told, &self.left, &self.cut].map(|count| count.load(Ordering::Relaxed));
        let told = told.saturating_sub(cut);
        let cut = cut + u64::try_from(lingers).unwrap_or_default();
        tracing::info!(clients, told, left, cut, "drained");
    }
}
