//! Figures of streams.

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

/// Figures of streams, summed over the threads.
#[derive(Clone, Debug, Default)]
pub(crate) struct Streams {
    /// Streams with a state, in each shard.
    pub(crate) streams: Gauge,
    /// Clients for which messages are held back, counted for each stream.
    pub(crate) holds: Gauge,
    /// Bytes of messages that are held back or wait.
    pub(crate) bytes: Gauge,
    /// Messages passed on to members.
    pub(crate) published: Counter,
    /// Messages that were passed on before.
    pub(crate) older: Counter,
    /// Messages that workers have read from the store for a shard.
    pub(crate) filled: Counter,
    /// Notices to members that they may have missed messages.
    pub(crate) resets: Counter,
    /// Holds that ended without a release.
    pub(crate) expired: Counter,
}

impl Streams {
    pub(super) fn register(self, registry: &mut Registry) {
        registry.register("streams", "Streams with clients, by shard", self.streams);
        for (name, help, gauge) in [
            (
                "holds",
                "Clients that recover, for which messages of a stream are held back",
                self.holds,
            ),
            ("held_bytes", "Bytes of messages of streams that are held back or wait", self.bytes),
        ] {
            registry.register(format!("stream_{name}"), help, gauge);
        }
        for (name, help, counter) in [
            ("published", "Messages of streams passed on to members, by shard", self.published),
            ("dropped_as_older", "Messages of streams passed on before", self.older),
            ("filled", "Missing messages of streams that a worker has sent", self.filled),
            (
                "resets",
                "Notices to the members of a stream that messages may be missed",
                self.resets,
            ),
            ("holds_expired", "Recoveries that no worker has completed", self.expired),
        ] {
            registry.register(format!("stream_{name}"), help, counter);
        }
    }
}
