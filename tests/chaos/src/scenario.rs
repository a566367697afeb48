//! What a run is made of: how many of what, for how long, and which faults.

use std::time::Duration;

use clap::ValueEnum;

use crate::{account::Leniency, partitions::PASSED_ON};

/// What is done to the suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// Workers are killed
    Workers,
    /// The register is killed
    Register,
    /// Gateways are killed
    Gateways,
    /// Workers and gateways are asked to end
    Drain,
    /// Inner links are cut, stalled, reset and half closed; processes are paused
    Links,
    /// All of it
    All,
    /// The kernel loses what hosts send each other; their links go down, and hosts vanish
    Partitions,
}

/// How much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// A few seconds, for every change
    Short,
    /// Minutes, for figures
    Long,
}

/// The measures of a run.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// How many clients there are at a time.
    pub clients: u32,
    /// Messages a second, of all clients together.
    pub rate: u32,
    /// How many faults there are.
    pub faults: u32,
    /// The time from one fault to the next, on average.
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

    /// Its measures.
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

    /// Whether what processes say to each other goes through proxies.
    pub const fn has_proxies(self) -> bool {
        matches!(self, Self::Links | Self::All)
    }

    /// Whether everybody has a host, in a network of the run's own.
    pub const fn has_hosts(self) -> bool {
        matches!(self, Self::Partitions)
    }

    /// What is not held against it.
    pub fn leniency(self) -> Leniency {
        Leniency {
            overtaken: self.has_proxies() || self.has_hosts(),
            // In other scenarios no process is cut off for longer.
            in_time: self.has_hosts().then_some(PASSED_ON.as_nanos() as u64),
        }
    }
}
