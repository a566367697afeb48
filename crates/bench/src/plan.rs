//! What a run will do: checked values, and the times at which an open loop sends.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs as _},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use clap::ValueEnum;
use serde::Serialize;

use crate::stamp;

/// What the clients do.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    Echo,
    Paced,
    Fanout,
    Uid,
    Idle,
    Churn,
    Storm,
    Slow,
}

/// Whom the fan-out modes speak to.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Audience {
    All,
    Group,
}

/// A run. [`Plan::checked`] has been called on every plan that runs.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) mode: Mode,
    pub(crate) label: String,
    pub(crate) target: Target,
    pub(crate) connections: usize,
    pub(crate) duration: Duration,
    pub(crate) size: usize,
    pub(crate) window: u32,
    pub(crate) rate: Option<f64>,
    pub(crate) senders: usize,
    pub(crate) audience: Audience,
    /// Clients that do not read, in addition to `connections`.
    pub(crate) slow: usize,
    pub(crate) prepare: bool,
    pub(crate) warm_size: Option<usize>,
    pub(crate) settle: Duration,
    pub(crate) grace: Duration,
    pub(crate) threads: usize,
    pub(crate) at_once: usize,
    /// Addresses to connect from, in turn; empty leaves it to the kernel.
    pub(crate) sources: Vec<IpAddr>,
    pub(crate) binary: bool,
    pub(crate) processes: Vec<String>,
}

/// Ports that one address may be counted on to have.
const PORTS: usize = 20_000;

impl Plan {
    /// The plan, if it can be carried out, with what was left open filled in.
    pub(crate) fn checked(mut self) -> anyhow::Result<Self> {
        ensure!(0 < self.connections, "--connections must be at least 1");
        ensure!(0 < self.window, "--window must be at least 1");
        ensure!(0 < self.at_once, "--at-once must be at least 1");
        ensure!(!self.duration.is_zero(), "--duration must be more than 0");
        ensure!(
            stamp::SIZE <= self.size,
            "--size must be at least {}: a message carries its number",
            stamp::SIZE
        );
        ensure!(
            (1..=self.connections).contains(&self.threads),
            "--threads must be between 1 and --connections"
        );
        ensure!(
            (1..=self.connections).contains(&self.senders),
            "--senders must be between 1 and --connections"
        );
        ensure!(
            self.rate.is_none_or(|rate| rate.is_finite() && 0.0 < rate),
            "--rate must be more than 0"
        );
        if self.mode == Mode::Paced && self.rate.is_none() {
            bail!("paced needs --rate");
        }
        if matches!(self.mode, Mode::Idle | Mode::Storm) && self.rate.is_some() {
            bail!("this mode has no --rate");
        }
        self.fill_sources();
        Ok(self)
    }

    /// Closing first leaves a port in TIME_WAIT, so churn takes turns at once.
    fn fill_sources(&mut self) {
        let needed = if self.mode == Mode::Churn { 16 } else { self.clients().div_ceil(PORTS) };
        let SocketAddr::V4(target) = self.target.addr else { return };
        if self.sources.is_empty() && 1 < needed && target.ip().is_loopback() {
            let address = |n| IpAddr::V4(Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + n));
            self.sources = (0..u32::try_from(needed).unwrap_or(u32::MAX)).map(address).collect();
        }
    }

    /// All connections held at once.
    pub(crate) fn clients(&self) -> usize {
        self.connections + self.slow
    }

    /// How many receive each message.
    pub(crate) fn receivers(&self) -> u64 {
        if self.is_fanout() { self.connections as u64 } else { 1 }
    }

    pub(crate) fn is_fanout(&self) -> bool {
        matches!(self.mode, Mode::Fanout | Mode::Slow)
    }

    /// Whether every client, before it is measured, becomes a member of the group.
    pub(crate) fn joins(&self) -> bool {
        self.prepare || (self.is_fanout() && self.audience == Audience::Group)
    }

    /// The first byte of every message, which tells the server what to do with it.
    pub(crate) fn op(&self) -> u8 {
        match (self.mode, self.audience) {
            (Mode::Fanout | Mode::Slow, Audience::All) => b'a',
            (Mode::Fanout | Mode::Slow, Audience::Group) => b'g',
            (Mode::Uid, _) => b'u',
            _ => b'e',
        }
    }

    /// The address that a connection is made from, if it matters.
    pub(crate) fn source(&self, connection: usize) -> Option<IpAddr> {
        self.sources.get(connection.checked_rem(self.sources.len())?).copied()
    }

    /// The clients that a thread looks after: every n-th.
    pub(crate) fn share(&self, thread: usize) -> impl Iterator<Item = usize> {
        (thread..self.clients()).step_by(self.threads)
    }
}

/// Where the server is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Target {
    pub(crate) addr: SocketAddr,
    pub(crate) host: String,
    pub(crate) path: String,
}

impl Target {
    pub(crate) fn parse(url: &str) -> anyhow::Result<Self> {
        let rest = url.strip_prefix("ws://").context("the URL must begin with ws://")?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let with_port =
            if host.rsplit(']').next().is_some_and(|end| end.contains(':')) || host.is_empty() {
                host.to_owned()
            } else {
                format!("{host}:80")
            };
        let addr = with_port
            .to_socket_addrs()
            .with_context(|| format!("cannot find {with_port}"))?
            .next()
            .with_context(|| format!("{with_port} has no address"))?;
        Ok(Self { addr, host: host.to_owned(), path: format!("/{path}") })
    }
}

/// When each message of an open loop is due: evenly spaced, each sender in turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    rate: f64,
}

impl Schedule {
    pub(crate) fn new(rate: f64) -> Self {
        Self { rate }
    }

    /// The time of the n-th message, from the start. Computed afresh, so errors do not add up.
    pub(crate) fn due(&self, n: u64) -> Duration {
        #[expect(clippy::cast_precision_loss, reason = "2^53 messages are more than a run has")]
        Duration::from_secs_f64(n as f64 / self.rate)
    }

    /// How many are due before `end`.
    pub(crate) fn due_before(&self, end: Duration) -> u64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count, and saturating"
        )]
        let guess = (end.as_secs_f64() * self.rate) as u64;
        // Rounding is what `due` says it is.
        (guess.saturating_sub(1)..).find(|n| end <= self.due(*n)).unwrap_or(guess)
    }
}

#[cfg(test)]
#[path = "plan/tests.rs"]
pub(crate) mod tests;
