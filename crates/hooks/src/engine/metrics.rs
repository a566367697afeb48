//! Metrics of requests to receivers.

use std::time::Duration;

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use service::latency::Latency;

use super::request::{Failure, HookResponse};
use crate::verdict::Verdict;

/// Counters over all receivers.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    requests: Family<RequestLabels, Counter>,
    dropped: Family<DropLabels, Counter>,
    batched: Counter,
    took: Latency,
    in_flight: Gauge,
    queued: Gauge,
    queued_bytes: Gauge,
    open: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DropLabels {
    reason: Dropped,
}

/// The outcome of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Outcome {
    Accepted,
    Refused,
    Gone,
    Redirect,
    Busy,
    Error,
    Connect,
    Timeout,
    Broken,
    Origin,
    TooLong,
}

/// Why a request was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Dropped {
    QueueFull,
    GivenUp,
    Refused,
    Off,
    Stopped,
}

impl Outcome {
    const ALL: [Self; 11] = [
        Self::Accepted,
        Self::Refused,
        Self::Gone,
        Self::Redirect,
        Self::Busy,
        Self::Error,
        Self::Connect,
        Self::Timeout,
        Self::Broken,
        Self::Origin,
        Self::TooLong,
    ];

    pub(super) fn of(answer: &Result<HookResponse, Failure>) -> Self {
        match answer {
            Ok(response) => match Verdict::of(response.status) {
                Verdict::Accepted => Self::Accepted,
                Verdict::Gone => Self::Gone,
                Verdict::Refused => Self::Refused,
                Verdict::Again if response.status.is_redirection() => Self::Redirect,
                Verdict::Again if response.status.is_client_error() => Self::Busy,
                Verdict::Again => Self::Error,
            },
            Err(Failure::Connect(_)) => Self::Connect,
            Err(Failure::Broken(_)) => Self::Broken,
            Err(Failure::Origin) => Self::Origin,
            Err(Failure::TooLong(_)) => Self::TooLong,
            Err(Failure::Off | Failure::Open(_) | Failure::Busy | Failure::Timeout) => {
                Self::Timeout
            }
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Gone => "gone",
            Self::Redirect => "redirect",
            Self::Busy => "busy",
            Self::Error => "error",
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Broken => "broken",
            Self::Origin => "origin",
            Self::TooLong => "too_long",
        }
    }
}

impl Dropped {
    const ALL: [Self; 5] =
        [Self::QueueFull, Self::GivenUp, Self::Refused, Self::Off, Self::Stopped];
}

impl EncodeLabelValue for Outcome {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.name().encode(encoder)
    }
}

impl EncodeLabelValue for Dropped {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        match self {
            Self::QueueFull => "queue_full",
            Self::GivenUp => "given_up",
            Self::Refused => "refused",
            Self::Off => "off",
            Self::Stopped => "stopped",
        }
        .encode(encoder)
    }
}

/// A request under way, until it is dropped.
#[derive(Debug)]
pub(super) struct InFlight<'a>(&'a Gauge);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    pub(super) fn sent(&self, outcome: Outcome) {
        self.requests.get_or_create(&RequestLabels { outcome }).inc();
    }

    pub(super) fn dropped(&self, reason: Dropped) {
        self.dropped.get_or_create(&DropLabels { reason }).inc();
    }

    pub(super) fn batched(&self, count: usize) {
        self.batched.inc_by(count as u64);
    }

    pub(super) fn took(&self, time: Duration) {
        self.took.record(time);
    }

    pub(super) fn in_flight(&self) -> InFlight<'_> {
        self.in_flight.inc();
        InFlight(&self.in_flight)
    }

    pub(super) fn queued(&self, count: usize, bytes: usize) {
        self.queued.inc_by(i64::try_from(count).unwrap_or(i64::MAX));
        self.queued_bytes.inc_by(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    pub(super) fn unqueued(&self, count: usize, bytes: usize) {
        self.queued.dec_by(i64::try_from(count).unwrap_or(i64::MAX));
        self.queued_bytes.dec_by(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    pub(super) fn circuit(&self, is_open: bool) {
        match is_open {
            true => self.open.inc(),
            false => self.open.dec(),
        };
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        // Exported from the start, at zero, so that the first one shows as an increase.
        for outcome in Outcome::ALL {
            drop(self.requests.get_or_create(&RequestLabels { outcome }));
        }
        for reason in Dropped::ALL {
            drop(self.dropped.get_or_create(&DropLabels { reason }));
        }
        let requests = self.requests.clone();
        registry.register("requests", "Requests to webhooks, by outcome", requests);
        let dropped = self.dropped.clone();
        registry.register("dropped", "Requests to webhooks that were dropped", dropped);
        let help = "Events in batches that were accepted";
        registry.register("batched_events", help, self.batched.clone());
        let help = "Time from the start of a request to a webhook to the end of its answer";
        registry.register("request_duration_seconds", help, self.took.clone());
        let help = "Requests to webhooks that are under way";
        registry.register("in_flight", help, self.in_flight.clone());
        let help = "Requests in the queues of webhooks, with those under way";
        registry.register("queued", help, self.queued.clone());
        let help = "Bytes in the queues of webhooks";
        registry.register("queued_bytes", help, self.queued_bytes.clone());
        let help = "Webhooks with an open circuit";
        registry.register("circuits_open", help, self.open.clone());
    }
}
