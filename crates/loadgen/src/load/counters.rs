//! Measurements of threads and processes, and their sum.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    account::Account,
    latency::{Counts, Series},
};

/// The measurements of one thread.
#[derive(Debug)]
pub(super) struct Counters {
    pub(super) account: Account,
    /// From when a message was due to when it was read.
    pub(super) latency: Series,
    /// From when a message was due to when it was sent: the generator's own delay.
    pub(super) lag: Series,
    /// Connect and handshake.
    pub(super) connect: Series,
}

/// Parts of a run in the plots.
pub(super) const PARTS: usize = 40;

impl Counters {
    pub(super) fn new(duration: Duration) -> Self {
        Self {
            account: Account::default(),
            latency: Series::new(PARTS, duration),
            lag: Series::new(PARTS, duration),
            connect: Series::new(1, duration),
        }
    }

    /// Adds what another thread measured.
    pub(super) fn add(&mut self, other: &Self) {
        self.account += other.account;
        self.latency.add(&other.latency);
        self.lag.add(&other.lag);
        self.connect.add(&other.connect);
    }

    /// The measurements in a form that can be sent to another process.
    pub(super) fn serialized(&self) -> SerializedCounters {
        SerializedCounters {
            account: self.account,
            latency: self.latency.counts(),
            lag: self.lag.counts(),
            connect: self.connect.counts(),
        }
    }

    /// Adds what another process measured.
    pub(super) fn add_serialized(&mut self, other: &SerializedCounters) {
        self.account += other.account;
        self.latency.add_counts(&other.latency);
        self.lag.add_counts(&other.lag);
        self.connect.add_counts(&other.connect);
    }
}

/// The counters in a form that can be sent to another process.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct SerializedCounters {
    account: Account,
    latency: Counts,
    lag: Counts,
    connect: Counts,
}
