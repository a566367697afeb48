//! The plan of a run: validated values, and the roles of clients.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use anyhow::{bail, ensure};
use clap::ValueEnum;
use serde::Serialize;

use crate::{
    content,
    frame::{Template, Token},
    protocol::Protocol,
    pusher::Pusher,
    stamp,
    target::Target,
};

/// The mode of the clients.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    Echo,
    Paced,
    Fanout,
    Uid,
    Member,
    Idle,
    Churn,
    Storm,
    Slow,
}

/// Recipients of the fan-out modes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Audience {
    All,
    Group,
    Uid,
}

/// The target group. With several groups, the first client of every round is a member.
const ROOM: &str = "room";

/// A run. [`Plan::checked`] has been called on every plan that runs.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) mode: Mode,
    pub(crate) label: String,
    /// Servers, which clients connect to in turn. Not empty.
    pub(crate) targets: Vec<Target>,
    pub(crate) protocol: Protocol,
    /// The rest of what that protocol needs, if it is Pusher's.
    pub(crate) pusher: Option<Pusher>,
    pub(crate) connections: usize,
    pub(crate) duration: Duration,
    pub(crate) size: usize,
    pub(crate) window: u32,
    pub(crate) rate: Option<f64>,
    pub(crate) senders: usize,
    pub(crate) audience: Audience,
    /// Groups that clients join in turn.
    pub(crate) groups: usize,
    /// Connections bound to each uid, in a fan-out to uids.
    pub(crate) devices: usize,
    /// Clients that do not read, in addition to `connections`.
    pub(crate) slow: usize,
    pub(crate) prepare: bool,
    pub(crate) warm_size: Option<usize>,
    pub(crate) settle: Duration,
    pub(crate) grace: Duration,
    /// Processes of the generator, and which of them this is.
    pub(crate) generators: usize,
    pub(crate) generator: usize,
    pub(crate) threads: usize,
    pub(crate) at_once: usize,
    /// Addresses to connect from, in turn; empty leaves it to the kernel.
    pub(crate) sources: Vec<IpAddr>,
    /// The answer of idle clients to every message.
    pub(crate) answer: Option<String>,
    pub(crate) binary: bool,
    /// Whether clients offer permessage-deflate.
    pub(crate) deflate: bool,
    /// Whether messages contain JSON rather than one repeated letter.
    pub(crate) json: bool,
    /// Whether the server waits for a report of each message that it sends.
    pub(crate) report: bool,
    pub(crate) processes: Vec<String>,
}

/// Each publisher has a connection of its own.
const MOST_PUBLISHERS: usize = 1000;

/// The number of ports that each address certainly has.
const PORTS: usize = 20_000;

impl Plan {
    /// Validates the plan, and fills in defaults.
    pub(crate) fn checked(mut self) -> anyhow::Result<Self> {
        ensure!(0 < self.connections, "--connections must be at least 1");
        ensure!(0 < self.window, "--window must be at least 1");
        ensure!(0 < self.at_once, "--at-once must be at least 1");
        ensure!(!self.duration.is_zero(), "--duration must be more than 0");
        let least = stamp::SIZE + self.token().map_or(0, |token| token.size());
        ensure!(
            least <= self.size,
            "--size must be at least {least}: a message contains its number, and its recipient"
        );
        ensure!(0 < self.threads, "--threads must be at least 1");
        ensure!(0 < self.generators, "--generators must be at least 1");
        ensure!(
            self.threads.saturating_mul(self.generators) <= self.connections,
            "there must be a connection for each thread"
        );
        ensure!(
            (1..=self.connections).contains(&self.groups),
            "--groups must be between 1 and --connections"
        );
        ensure!(
            self.connections.is_multiple_of(self.devices),
            "--connections must be a multiple of --devices"
        );
        // Publishers are no clients.
        let most_senders = if self.pusher.is_some() { MOST_PUBLISHERS } else { self.connections };
        ensure!(
            (1..=most_senders).contains(&self.senders),
            "--senders must be between 1 and {most_senders}"
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
        if self.mode != Mode::Idle && self.answer.is_some() {
            bail!("only idle clients have an --answer");
        }
        if self.protocol == Protocol::Socketio && self.binary {
            bail!("this protocol has no --binary");
        }
        if matches!(self.mode, Mode::Uid | Mode::Member | Mode::Idle) && self.report {
            bail!("this mode has no --report");
        }
        if self.pusher.is_some() {
            self.check_pusher()?;
        }
        self.fill_sources();
        Ok(self)
    }

    /// Messages of this protocol are published by HTTP, to channels.
    fn check_pusher(&mut self) -> anyhow::Result<()> {
        ensure!(
            matches!(self.mode, Mode::Fanout | Mode::Slow | Mode::Idle | Mode::Churn),
            "this protocol has the modes fanout, slow, idle and churn"
        );
        let other_content = self.binary || self.json || self.report || self.warm_size.is_some();
        ensure!(
            !other_content,
            "this protocol has no --binary, --json-content, --report and --warm-size"
        );
        ensure!(
            !self.is_fanout() || self.connections.is_multiple_of(self.groups),
            "--connections must be a multiple of --groups, the number of channels"
        );
        self.audience = Audience::Group;
        Ok(())
    }

    /// Closing first leaves a port in TIME_WAIT, so churn takes turns at once.
    fn fill_sources(&mut self) {
        let needed = if self.mode == Mode::Churn { 16 } else { self.clients().div_ceil(PORTS) };
        let is_loopback = |target: &Target| target.addr.is_ipv4() && target.addr.ip().is_loopback();
        if self.sources.is_empty() && 1 < needed && self.targets.iter().all(is_loopback) {
            let address = |n| IpAddr::V4(Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + n));
            self.sources = (0..u32::try_from(needed).unwrap_or(u32::MAX)).map(address).collect();
        }
    }

    /// All connections held at once.
    pub(crate) fn clients(&self) -> usize {
        self.connections + self.slow
    }

    /// The number of recipients of each message.
    pub(crate) fn receivers(&self) -> u64 {
        let receivers = match self.audience {
            _ if !self.is_fanout() => 1,
            Audience::All => self.connections,
            Audience::Group => self.connections.div_ceil(self.groups),
            Audience::Uid => self.devices,
        };
        receivers as u64
    }

    /// The number of a process' clients that receive each message of a sender.
    pub(crate) fn receivers_of(&self, generator: usize, sender: usize) -> usize {
        let (clients, step) = match self.audience {
            Audience::All => (0..self.connections, 1),
            Audience::Group => (self.target_group(sender)..self.connections, self.groups),
            Audience::Uid => {
                let first = sender % self.uids() * self.devices;
                (first..first + self.devices, 1)
            }
        };
        clients.step_by(step).filter(|client| client % self.generators == generator).count()
    }

    pub(crate) fn is_fanout(&self) -> bool {
        matches!(self.mode, Mode::Fanout | Mode::Slow)
    }

    /// Clients that do not read are members of the target group, and bound to the first uid.
    fn group(&self, client: usize) -> usize {
        if client < self.connections { client % self.groups } else { 0 }
    }

    /// The group that a sender sends to: the first one, but publishers take turns.
    fn target_group(&self, sender: usize) -> usize {
        if self.pusher.is_some() { sender % self.groups } else { 0 }
    }

    /// The channel that a publisher publishes to. In churn that is a client's own.
    pub(crate) fn target_channel(&self, pusher: &Pusher, sender: usize) -> String {
        pusher.channels.name(match self.mode {
            Mode::Churn => self.groups + sender,
            _ => self.target_group(sender),
        })
    }

    /// The channels that a client subscribes to before the measurement, or in every cycle.
    pub(crate) fn channels(&self, pusher: &Pusher, client: usize) -> Vec<String> {
        let mut numbers = Vec::new();
        if self.mode == Mode::Churn {
            numbers.push(self.groups + client);
        }
        if self.prepare || self.is_fanout() {
            numbers.push(self.group(client));
        }
        numbers.into_iter().map(|number| pusher.channels.name(number)).collect()
    }

    /// The publishers of a thread of this process: every n-th.
    pub(crate) fn publishers(&self, thread: usize) -> impl Iterator<Item = usize> {
        let all = if self.pusher.is_some() && self.is_fanout() { self.senders } else { 0 };
        let first = self.generator + thread * self.generators;
        (first..all).step_by(self.threads * self.generators)
    }

    fn uid(&self, client: usize) -> usize {
        if client < self.connections { client / self.devices } else { 0 }
    }

    fn uids(&self) -> usize {
        self.connections / self.devices
    }

    /// The messages of a client before the measurement, which the server echoes.
    pub(crate) fn preparation(&self, client: usize) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        let to = |audience| self.is_fanout() && self.audience == audience;
        if self.prepare || to(Audience::Group) {
            messages.push(match self.group(client) {
                0 => format!("j{ROOM}").into_bytes(),
                group => format!("j{ROOM}-{group}").into_bytes(),
            });
        }
        if to(Audience::Uid) {
            messages.push([b"u".as_slice(), &Token::uid(self.uid(client))].concat());
        } else if self.prepare {
            messages.push(format!("uclient-{client}").into_bytes());
        }
        if let Some(size) = self.warm_size {
            messages.push(vec![b'e'; size.max(1)]);
        }
        messages
    }

    /// The template of all messages. Its first byte selects the operation of the server.
    pub(crate) fn template(&self) -> Template {
        let ops = match (self.mode, self.audience) {
            (Mode::Fanout | Mode::Slow, Audience::All) => *b"aa",
            (Mode::Fanout | Mode::Slow, Audience::Group) => *b"gg",
            (Mode::Fanout | Mode::Slow, Audience::Uid) => *b"tt",
            (Mode::Uid, _) => *b"uu",
            (Mode::Member, _) => *b"+-",
            _ => *b"ee",
        };
        // Upper case: the same with a report.
        let ops = if self.report { ops.map(|op| op.to_ascii_uppercase()) } else { ops };
        let content = if self.json { content::json(self.size) } else { vec![b'x'; self.size] };
        Template::new(ops, &content, self.token(), self.protocol, self.binary)
    }

    /// The recipient token of messages, in modes with one.
    fn token(&self) -> Option<Token> {
        match (self.mode, self.audience) {
            (Mode::Fanout | Mode::Slow, Audience::Uid) => Some(Token::Uid { uids: self.uids() }),
            (Mode::Member, _) => Some(Token::Group(ROOM)),
            _ => None,
        }
    }

    /// The server that a client connects to.
    pub(crate) fn target(&self, client: usize) -> &Target {
        &self.targets[client % self.targets.len()]
    }

    /// The address that a connection is made from, if it matters.
    pub(crate) fn source(&self, connection: usize) -> Option<IpAddr> {
        self.sources.get(connection.checked_rem(self.sources.len())?).copied()
    }

    /// The clients of a thread of this process: every n-th.
    pub(crate) fn share(&self, thread: usize) -> impl Iterator<Item = usize> {
        let first = self.generator + thread * self.generators;
        (first..self.clients()).step_by(self.threads * self.generators)
    }
}

#[cfg(test)]
pub(crate) mod tests;
