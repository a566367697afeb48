//! Flags as typed, turned into a [`Plan`] or the direct server's settings once, at start.

use std::{
    fmt, fs,
    io::{self, Write as _},
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use anyhow::Context as _;
use clap::{Args as ClapArgs, Parser, Subcommand};

use crate::{
    dialect::Dialect,
    direct, flood,
    html::page,
    plan::{Audience, Mode, Plan},
    report::Report,
    target::Target,
    text,
};

/// Loads a WebSocket server, accounts for every message, and says what it cost.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Every client sends a message and waits for it to come back, then sends the next.
    Echo(Load),
    /// Echo at a fixed rate, whatever comes back: messages are sent when they are due, and
    /// latency counts from then.
    Paced(Load),
    /// Some clients speak to all, to a group, or to a uid that several are bound to.
    Fanout(Load),
    /// Every client binds a new uid with each message, and waits for the answer.
    Uid(Load),
    /// Every client joins a group and leaves it, in turn, and waits for each answer.
    Member(Load),
    /// Clients connect and are quiet: what memory and heartbeats cost.
    Idle(Load),
    /// Connect, echo once, close; again and again. With --prepare as a member of a group.
    Churn(Load),
    /// All clients connect and echo once, as after a restart.
    Storm(Load),
    /// Fan-out while some clients do not read at all.
    Slow(Load),
    /// Clients and strangers that misbehave, to see in another run what others notice of them. For
    /// servers of your own.
    Flood(flood::Settings),
    /// A server in one process that answers by itself: the yardstick.
    Direct(direct::Settings),
}

/// Which process of which run this is, where a run has several.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Seat {
    pub(crate) run: u16,
    pub(crate) generator: usize,
}

impl fmt::Display for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.run, self.generator)
    }
}

impl FromStr for Seat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (run, generator) = text.split_once(':').ok_or("not RUN:NUMBER")?;
        let number = |_| "not RUN:NUMBER";
        Ok(Self {
            run: run.parse().map_err(number)?,
            generator: generator.parse().map_err(number)?,
        })
    }
}

#[derive(Debug, ClapArgs)]
struct Load {
    /// The server: `ws://HOST:PORT/PATH`. With several, clients connect to them in turn.
    #[arg(required = true)]
    url: Vec<String>,
    /// What the server speaks over WebSocket.
    #[arg(long, value_enum, default_value_t = Dialect::Plain)]
    dialect: Dialect,
    /// Clients.
    #[arg(short, long, default_value_t = 100)]
    connections: usize,
    /// Seconds to measure.
    #[arg(short, long, default_value_t = 5.0)]
    duration: f64,
    /// Bytes of payload in a message.
    #[arg(short, long, default_value_t = 64)]
    size: usize,
    /// Messages that each sender may have on the way (closed loop).
    #[arg(short, long, default_value_t = 1)]
    window: u32,
    /// Messages (churn: cycles) a second, of all senders together: an open loop.
    #[arg(short, long)]
    rate: Option<f64>,
    /// Clients that send, in the fan-out modes.
    #[arg(long, default_value_t = 1)]
    senders: usize,
    /// Whom the fan-out modes speak to.
    #[arg(long, value_enum, default_value_t = Audience::All)]
    to: Audience,
    /// Groups that clients join in turn, where they join one. Fan-out goes to the first.
    #[arg(long, default_value_t = 1)]
    groups: usize,
    /// Connections bound to each uid, with --to uid; all to one, unless said. Each sender speaks
    /// to a uid of its own, as long as there are enough.
    #[arg(long)]
    devices: Option<usize>,
    /// Clients that do not read, in mode slow; in addition to --connections.
    #[arg(long, default_value_t = 10)]
    slow: usize,
    /// Every client joins a group and binds a uid before the measurement.
    #[arg(long)]
    prepare: bool,
    /// Every client echoes one message of this size before the measurement.
    #[arg(long, value_name = "BYTES")]
    warm_size: Option<usize>,
    /// Seconds to be quiet between preparation and measurement.
    #[arg(long, default_value_t = 0.0)]
    settle: f64,
    /// Seconds to wait for messages still on the way at the end.
    #[arg(long, default_value_t = 2.0)]
    grace: f64,
    /// Processes of the generator, each with its share of the clients and of the rate.
    #[arg(long, default_value_t = 1)]
    generators: usize,
    /// Threads of each of these processes.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Set by a run for its further processes.
    #[arg(long, hide = true)]
    seat: Option<Seat>,
    /// Connections being opened at the same time, by each thread.
    #[arg(long, default_value_t = 128)]
    at_once: usize,
    /// Address to connect from (repeatable). Without one, and when a server on 127.0.0.0/8 has
    /// more clients than one address has ports: 127.0.0.1, 127.0.0.2, …
    #[arg(long, value_name = "IP")]
    source: Vec<IpAddr>,
    /// What quiet clients answer every message with, as a heartbeat asks them to.
    #[arg(long, value_name = "TEXT")]
    answer: Option<String>,
    /// Send binary messages rather than text.
    #[arg(long)]
    binary: bool,
    /// A server process to watch: a pid, or a name as in `ps -o comm` (repeatable).
    #[arg(long, value_name = "PID|NAME")]
    process: Vec<String>,
    #[command(flatten)]
    output: Output,
}

/// Where the report goes.
#[derive(Debug, ClapArgs)]
pub(crate) struct Output {
    /// A title for the report.
    #[arg(long, default_value = "")]
    pub(crate) label: String,
    /// Write the report as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the report as one HTML page with plots.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// No progress bar.
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Exit with 1 if a message was lost, duplicated or out of order, or a client closed.
    #[arg(long)]
    strict: bool,
}

/// What was asked for.
#[derive(Debug)]
pub(crate) enum Task {
    Direct(direct::Settings),
    Flood(flood::Settings),
    Load(Box<Plan>, Output),
    /// A share of a run that another process leads.
    Share(Box<Plan>, Seat),
}

impl Args {
    pub(crate) fn task(self) -> anyhow::Result<Task> {
        let (mode, load) = match self.command {
            Command::Direct(settings) => return Ok(Task::Direct(settings)),
            Command::Flood(settings) => return Ok(Task::Flood(settings)),
            Command::Echo(load) => (Mode::Echo, load),
            Command::Paced(load) => (Mode::Paced, load),
            Command::Fanout(load) => (Mode::Fanout, load),
            Command::Uid(load) => (Mode::Uid, load),
            Command::Member(load) => (Mode::Member, load),
            Command::Idle(load) => (Mode::Idle, load),
            Command::Churn(load) => (Mode::Churn, load),
            Command::Storm(load) => (Mode::Storm, load),
            Command::Slow(load) => (Mode::Slow, load),
        };
        let seat = load.seat;
        let (plan, output) = load.plan(mode)?;
        Ok(match seat {
            Some(seat) => Task::Share(Box::new(plan), seat),
            None => Task::Load(Box::new(plan), output),
        })
    }
}

impl Load {
    fn plan(self, mode: Mode) -> anyhow::Result<(Plan, Output)> {
        let seconds = |value: f64, flag: &str| {
            Duration::try_from_secs_f64(value).with_context(|| format!("{flag} is no duration"))
        };
        let plan = Plan {
            mode,
            label: self.output.label.clone(),
            targets: self
                .url
                .iter()
                .map(|url| Target::parse(url, self.dialect.path()))
                .collect::<Result<_, _>>()?,
            dialect: self.dialect,
            connections: self.connections,
            duration: seconds(self.duration, "--duration")?,
            size: self.size,
            window: self.window,
            rate: self.rate,
            senders: self.senders,
            audience: self.to,
            groups: self.groups,
            devices: self.devices.unwrap_or(self.connections).max(1),
            slow: if mode == Mode::Slow { self.slow } else { 0 },
            prepare: self.prepare,
            warm_size: self.warm_size,
            settle: seconds(self.settle, "--settle")?,
            grace: seconds(self.grace, "--grace")?,
            generators: self.generators,
            generator: self.seat.map_or(0, |seat| seat.generator),
            threads: self.threads,
            at_once: self.at_once,
            sources: self.source,
            answer: self.answer,
            binary: self.binary,
            processes: self.process,
        };
        Ok((plan.checked()?, self.output))
    }
}

impl Output {
    /// Writes the report wherever it was asked for; `false` if --strict finds fault with it.
    pub(crate) fn write(&self, report: &Report) -> anyhow::Result<bool> {
        io::stdout().write_all(text::render(report).as_bytes())?;
        if let Some(file) = &self.json {
            let json = serde_json::to_vec_pretty(report)?;
            fs::write(file, json).with_context(|| format!("cannot write {}", file.display()))?;
        }
        if let Some(file) = &self.html {
            fs::write(file, page(report))
                .with_context(|| format!("cannot write {}", file.display()))?;
        }
        Ok(!self.strict || report.messages.is_clean())
    }
}

/// Where the direct server listens, as typed.
pub(crate) fn socket_addr(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "not ADDRESS:PORT".to_owned())
}
