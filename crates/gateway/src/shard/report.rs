//! Metrics and figures of a shard, updated once per pass.

use runtime::clock;
use service::latency::Batch;

use super::{Shard, presence::Totals, streams};
use crate::thread_messages::Content;

/// Counts not yet added to the metrics. Shards share the metrics, so updating them per message
/// would cause contention.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) messages_in: u64,
    pub(super) messages_out: u64,
    pub(super) received_bytes: u64,
    pub(super) queued_bytes: u64,
    /// Times between pings and their pongs.
    pub(super) round_trips: Batch,
    pub(super) dropped: u64,
    pub(super) pings: u64,
    pub(super) over_budget: u64,
    pub(super) deflate_handshakes: u64,
    pub(super) deflated_in: u64,
    pub(super) deflated_in_wire: u64,
    pub(super) deflated_out: u64,
    pub(super) deflated_out_wire: u64,
    pub(super) close_timeouts: u64,
    pub(super) rate_limited: RateLimited,
    published: Published,
}

/// How often clients were paused or closed because of their rate.
#[derive(Debug, Default)]
pub(super) struct RateLimited {
    pub(super) messages: u64,
    pub(super) bytes: u64,
}

/// The figures of this shard that were last published.
#[derive(Clone, Copy, Debug, Default)]
struct Published {
    clients: usize,
    held: usize,
    in_flight: usize,
    standby_updates: usize,
    /// Watched groups.
    presence: (usize, Totals),
    streams: (usize, streams::Totals),
    content: Content,
}

impl Shard {
    /// Adds the tally to the metrics, and publishes what has changed.
    pub(super) fn report(&mut self) {
        let counts = self.delivery.take_counts();
        let presence = std::mem::take(&mut self.presence.counts);
        let streams = std::mem::take(&mut self.streams.counts);
        let (metrics, mut tally) = (&self.gateway.metrics, std::mem::take(&mut self.tally));
        metrics.round_trips.add(&mut tally.round_trips);
        for (counter, count) in [
            (&metrics.messages_in, tally.messages_in),
            (&metrics.messages_out, tally.messages_out),
            (&metrics.received_bytes, tally.received_bytes),
            (&metrics.queued_bytes, tally.queued_bytes),
            (&metrics.messages_dropped, tally.dropped),
            (&metrics.pings, tally.pings),
            (&metrics.events, counts.events),
            (&metrics.redelivered, counts.redelivered),
            (&metrics.over_budget, tally.over_budget),
            (&metrics.close_timeouts, tally.close_timeouts),
            (&metrics.rate_limited.messages, tally.rate_limited.messages),
            (&metrics.rate_limited.bytes, tally.rate_limited.bytes),
            (&metrics.events_dropped, counts.dropped),
            (&metrics.deflate_handshakes, tally.deflate_handshakes),
            (&metrics.deflated_in, tally.deflated_in),
            (&metrics.deflated_in_wire, tally.deflated_in_wire),
            (&metrics.deflated_out, tally.deflated_out),
            (&metrics.deflated_out_wire, tally.deflated_out_wire),
            (&metrics.presence.reports, presence.reports),
            (&metrics.presence.ignored, presence.ignored),
            (&metrics.presence.refused, presence.refused),
            (&metrics.presence.forgotten, presence.forgotten),
            (&metrics.streams.published, streams.published),
            (&metrics.streams.older, streams.older),
            (&metrics.streams.filled, streams.filled),
            (&metrics.streams.resets, streams.resets),
            (&metrics.streams.expired, streams.expired),
        ] {
            if count != 0 {
                counter.inc_by(count);
            }
        }
        if let Some((client, error)) = self.directory.take_refused()
            && let Some(suppressed) = self.warnings.session.admit(clock::now())
        {
            let client = self.client_id(client);
            tracing::warn!(%client, %error, suppressed, "session update rejected");
        }
        let before = tally.published;
        let now = Published {
            clients: self.pressure.budget.used(),
            held: self.delivery.held(),
            in_flight: self.delivery.workers.in_flight(),
            standby_updates: self.delivery.workers.standby_updates(),
            presence: (self.presence.len(), self.presence.totals()),
            streams: (self.streams.len(), self.streams.totals()),
            content: Content {
                presence: self.presence.totals().bytes,
                ..*self.directory.content()
            },
        };
        if before.content != now.content {
            self.gateway.set_content(self.index.into(), &now.content);
        }
        for (gauge, before, now) in [
            (&metrics.client_bytes, before.clients, now.clients),
            (&metrics.held, before.held, now.held),
            (&metrics.in_flight, before.in_flight, now.in_flight),
            (&metrics.standby_updates, before.standby_updates, now.standby_updates),
            (&metrics.presence.groups, before.presence.0, now.presence.0),
            (&metrics.presence.members, before.presence.1.members, now.presence.1.members),
            (&metrics.presence.waiting, before.presence.1.waiting, now.presence.1.waiting),
            (&metrics.presence.bytes, before.presence.1.bytes, now.presence.1.bytes),
            (&metrics.streams.streams, before.streams.0, now.streams.0),
            (&metrics.streams.holds, before.streams.1.holds, now.streams.1.holds),
            (&metrics.streams.bytes, before.streams.1.bytes, now.streams.1.bytes),
        ] {
            if before != now {
                gauge.inc_by(now as i64 - before as i64);
            }
        }
        self.tally.published = now;
    }
}
