//! Metrics of a worker's events.

use std::mem;

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use protocol::Event;
use service::latency::Latency;

/// Counters over all links.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    events: Family<Labels, Counter>,
    pub(crate) failures: Counter,
    pub(crate) retries: Counter,
    pub(crate) given_up: Counter,
    pub(crate) left: Counter,
    pub(crate) dropped: Counter,
    /// Times from the start of a handler to its end.
    pub(crate) took: Latency,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Connect,
    WebSocketConnect,
    Message,
    Close,
    Expiring,
}

const KINDS: [Kind; 5] =
    [Kind::Connect, Kind::WebSocketConnect, Kind::Message, Kind::Close, Kind::Expiring];

impl EncodeLabelValue for Kind {
    fn encode(
        &self,
        encoder: &mut prometheus_client::encoding::LabelValueEncoder<'_>,
    ) -> Result<(), std::fmt::Error> {
        match self {
            Self::Connect => "connect",
            Self::WebSocketConnect => "websocket_connect",
            Self::Message => "message",
            Self::Close => "close",
            Self::Expiring => "expiring",
        }
        .encode(encoder)
    }
}

/// Counts of one batch, so that the shared counters are updated once for many events.
#[derive(Debug, Default)]
pub(crate) struct EventCounts([u64; KINDS.len()]);

impl EventCounts {
    pub(crate) const fn add(&mut self, event: &Event) {
        let kind = match event {
            Event::Connect => Kind::Connect,
            Event::WebSocketConnect(_) | Event::WebSocketRequest(_) => Kind::WebSocketConnect,
            Event::Message(_) => Kind::Message,
            Event::Close(_) | Event::Closed(_) => Kind::Close,
            Event::Expiring { .. } => Kind::Expiring,
            // Not an event of the client.
            Event::Reassigned => return,
        };
        self.0[kind as usize] += 1;
    }
}

impl Metrics {
    /// Registers the counters. Their names have no prefix; pass a registry with one.
    pub(crate) fn register(&self, registry: &mut Registry) {
        for kind in KINDS {
            // Exported from the start, at zero.
            drop(self.events.get_or_create(&Labels { kind }));
        }
        registry.register("events", "Client events received", self.events.clone());
        registry.register(
            "handler_duration_seconds",
            "Time from the start of an event's handler to its end, with waits and retries",
            self.took.clone(),
        );
        registry.register(
            "handler_failures",
            "Handler calls that returned an error or panicked",
            self.failures.clone(),
        );
        registry.register("handler_retries", "Retries of failed handlers", self.retries.clone());
        registry.register(
            "events_given_up",
            "Events acknowledged after the last failed attempt",
            self.given_up.clone(),
        );
        registry.register(
            "events_left",
            "Events left to other workers at shutdown because they awaited a retry",
            self.left.clone(),
        );
        registry.register(
            "events_dropped",
            "Events dropped without a handler call because a handler had closed their client",
            self.dropped.clone(),
        );
    }

    /// Adds a batch and resets it.
    pub(crate) fn count(&self, counts: &mut EventCounts) {
        for (kind, count) in KINDS.into_iter().zip(mem::take(counts).0) {
            if 0 < count {
                self.events.get_or_create(&Labels { kind }).inc_by(count);
            }
        }
    }
}
