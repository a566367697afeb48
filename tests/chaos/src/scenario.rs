//! Scenarios: their faults, sizes and durations.

use std::time::Duration;

use clap::ValueEnum;

use test_support::account::Leniency;

use crate::partitions::FORWARDING_LIMIT;

/// The kind of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// Workers are killed
    Workers,
    /// The register is killed
    Register,
    /// Gateways are killed
    Gateways,
    /// Workers and gateways are drained
    Drain,
    /// Inner links are dropped, stalled, reset and half closed; processes are paused
    Links,
    /// All of these
    All,
    /// The kernel drops packets between hosts; their links go down, and hosts vanish
    Partitions,
}

/// The length of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// A few seconds, for every change
    Short,
    /// Minutes, for figures
    Long,
}

/// The size of a run.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Concurrent clients.
    pub clients: u32,
    /// Messages per second, of all clients together.
    pub rate: u32,
    /// Number of faults.
    pub faults: u32,
    /// The average time between two faults.
    pub gap: Duration,
}

impl Scenario {
    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Workers => "workers",
            Self::Register => "register",
            Self::Gateways => "gateways",
            Self::Drain => "drain",
            Self::Links => "links",
            Self::All => "all",
            Self::Partitions => "partitions",
        }
    }

    /// Its size in that form.
    pub const fn shape(self, form: Form) -> Shape {
        let (faults, gap) = match (self, form) {
            (Self::Workers | Self::Register, Form::Short) => (5, 700),
            (Self::Gateways | Self::Drain, Form::Short) => (4, 1_000),
            (Self::Links | Self::All, Form::Short) => (10, 400),
            (Self::Partitions, Form::Short) => (6, 500),
            (Self::Workers | Self::Register, Form::Long) => (50, 1_500),
            (Self::Gateways | Self::Drain, Form::Long) => (20, 3_000),
            (Self::Links | Self::All, Form::Long) => (100, 1_000),
            (Self::Partitions, Form::Long) => (60, 1_000),
        };
        let (clients, rate) = match form {
            Form::Short => (300, 1_500),
            Form::Long => (2_000, 10_000),
        };
        Shape { clients, rate, faults, gap: Duration::from_millis(gap) }
    }

    /// Whether connections between processes go through proxies.
    pub const fn has_proxies(self) -> bool {
        matches!(self, Self::Links | Self::All)
    }

    /// Whether each process has its own host, in a network of the run's own.
    pub const fn has_hosts(self) -> bool {
        matches!(self, Self::Partitions)
    }

    /// The exemptions from the account's rules.
    pub fn leniency(self) -> Leniency {
        Leniency {
            overtaken: self.has_proxies() || self.has_hosts(),
            // Other scenarios isolate no process for longer than that.
            in_time: self.has_hosts().then_some(FORWARDING_LIMIT.as_nanos() as u64),
        }
    }
}
