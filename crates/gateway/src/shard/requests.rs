//! Connections that are no WebSocket (yet): what is noted of their requests.

use std::sync::PoisonError;

use service::clock;

use super::{Shard, connection::Key};

impl Shard {
    /// Counts a handshake that was refused, and logs at most one a second over all shards.
    pub(super) fn count_refused(&self, key: Key, reason: &'static str) {
        let connection = &self.connections[key as usize];
        self.host.metrics.count_refused(reason);
        let warnings = self.host.refusal_warnings.lock();
        // The lock is not held while the line is written.
        let admitted = warnings.unwrap_or_else(PoisonError::into_inner).admit(clock::now());
        if let Some(suppressed) = admitted {
            let (remote, listener) = (connection.remote, connection.door.addr);
            tracing::warn!(%remote, %listener, reason, suppressed, "handshake refused");
        }
    }
}
