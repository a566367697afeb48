//! Flags, converted to a [`Plan`] or the settings of the direct server at startup.

use std::{
    fmt, fs,
    io::{self, Write as _},
    net::IpAddr,
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use anyhow::Context as _;
use clap::{Args as ClapArgs, Parser, Subcommand};

use crate::{
    direct, flood,
    html::page,
    plan::{Audience, Mode, Plan},
    protocol::Protocol,
    pusher::{App, ChannelType, Pusher},
    report::Report,
    target::Target,
    text,
};

/// Load generator for WebSocket servers: accounts for every message and reports latency and cost.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Closed-loop echo: every client sends a message, waits for its echo, and sends the next.
    Echo(Load),
    /// Open-loop echo at a fixed rate: messages are sent when they are due, and latency is
    /// measured from that time.
    Paced(Load),
    /// Fan-out: some clients send to all clients, to a group, or to a uid with several connections.
    Fanout(Load),
    /// Every client binds a new uid with each message, and waits for the reply.
    Uid(Load),
    /// Every client alternately joins and leaves a group, and waits for each reply.
    Member(Load),
    /// Clients connect and stay idle, to measure the cost of memory and heartbeats.
    Idle(Load),
    /// Clients repeatedly connect, echo once and close; with --prepare, as members of a group.
    Churn(Load),
    /// All clients connect and echo once, as after a restart.
    Storm(Load),
    /// Fan-out while some clients do not read at all.
    Slow(Load),
    /// Misbehaving clients and unauthenticated peers; measure their effect on other clients in a
    /// parallel run. Only for servers of your own.
    Flood(flood::Settings),
    /// Single-process server that replies directly, as a baseline.
    Direct(direct::Settings),
}

/// The run and the number of a generator process, in a run with several.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct ChildRole {
    pub(crate) run: u16,
    pub(crate) generator: usize,
}

impl fmt::Display for ChildRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.run, self.generator)
    }
}

impl FromStr for ChildRole {
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
    /// URL of the server, `ws://HOST:PORT/PATH`; with several, clients connect to them in turn.
    #[arg(required = true)]
    url: Vec<String>,
    /// Application protocol of the server over WebSocket.
    #[arg(long, value_enum, default_value_t = Protocol::Plain)]
    protocol: Protocol,
    /// URL of Pusher's HTTP API, `http://HOST:PORT`; by default, the address of the first URL.
    #[arg(long, value_name = "URL")]
    http_url: Option<String>,
    /// App of a Pusher server.
    #[arg(long, value_name = "ID:KEY:SECRET", default_value = "1:app-key:app-secret")]
    pusher_app: App,
    /// Type of the channels of a Pusher server, of which --groups is the number.
    #[arg(long, value_enum, default_value_t = ChannelType::Public)]
    channel_type: ChannelType,
    /// Number of clients.
    #[arg(short, long, default_value_t = 100)]
    connections: usize,
    /// Duration of the measurement, in seconds.
    #[arg(short, long, default_value_t = 5.0)]
    duration: f64,
    /// Payload size of a message, in bytes.
    #[arg(short, long, default_value_t = 64)]
    size: usize,
    /// Maximum number of messages in flight per sender (closed loop).
    #[arg(short, long, default_value_t = 1)]
    window: u32,
    /// Messages (churn: cycles) per second, of all senders together (open loop).
    #[arg(short, long)]
    rate: Option<f64>,
    /// Number of sending clients in the fan-out modes; with Pusher's protocol, of HTTP connections
    /// that publish, each to the next channel.
    #[arg(long, default_value_t = 1)]
    senders: usize,
    /// Recipients in the fan-out modes.
    #[arg(long, value_enum, default_value_t = Audience::All)]
    to: Audience,
    /// Number of groups, which clients join in turn. Fan-out goes to the first.
    #[arg(long, default_value_t = 1)]
    groups: usize,
    /// Connections per uid, with --to uid; by default, all have the same uid. Each sender sends to
    /// a different uid, as long as there are enough.
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
    /// Idle time between preparation and measurement, in seconds.
    #[arg(long, default_value_t = 0.0)]
    settle: f64,
    /// Time to wait for messages in flight at the end, in seconds.
    #[arg(long, default_value_t = 2.0)]
    grace: f64,
    /// Number of generator processes, each with its share of the clients and of the rate.
    #[arg(long, default_value_t = 1)]
    generators: usize,
    /// Threads per generator process.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Internal: set by a run for its child processes.
    #[arg(long, hide = true)]
    child_role: Option<ChildRole>,
    /// Maximum number of concurrent connection attempts per thread.
    #[arg(long, default_value_t = 128)]
    at_once: usize,
    /// Address to connect from (repeatable). Without one, and when a server on 127.0.0.0/8 has
    /// more clients than one address has ports: 127.0.0.1, 127.0.0.2, …
    #[arg(long, value_name = "IP")]
    source: Vec<IpAddr>,
    /// Reply of idle clients to every message, for servers with heartbeat messages.
    #[arg(long, value_name = "TEXT")]
    answer: Option<String>,
    /// Send binary messages instead of text.
    #[arg(long)]
    binary: bool,
    /// Offer permessage-deflate, and require that the server accepts it.
    #[arg(long)]
    deflate: bool,
    /// Fill messages with JSON of chat messages rather than with one repeated letter.
    #[arg(long)]
    json_content: bool,
    /// The server waits for the report of each message that it sends.
    #[arg(long)]
    report: bool,
    /// Server process to measure: a pid, or a name as in `ps -o comm` (repeatable).
    #[arg(long, value_name = "PID|NAME")]
    process: Vec<String>,
    #[command(flatten)]
    output: Output,
}

/// The output of the report.
#[derive(Debug, ClapArgs)]
pub(crate) struct Output {
    /// Title of the report.
    #[arg(long, default_value = "")]
    pub(crate) label: String,
    /// Write the report as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the report as a self-contained HTML page with plots.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Hide the progress bar.
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Exit with 1 if a message was lost, duplicated or out of order, or a client closed.
    #[arg(long)]
    strict: bool,
}

/// The requested task.
#[derive(Debug)]
pub(crate) enum Task {
    Direct(direct::Settings),
    Flood(flood::Settings),
    Load(Box<Plan>, Output),
    /// A share of a run that the parent process coordinates.
    Share(Box<Plan>, ChildRole),
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
        let child_role = load.child_role;
        let (plan, output) = load.plan(mode)?;
        Ok(match child_role {
            Some(child_role) => Task::Share(Box::new(plan), child_role),
            None => Task::Load(Box::new(plan), output),
        })
    }
}

impl Load {
    fn plan(self, mode: Mode) -> anyhow::Result<(Plan, Output)> {
        let seconds = |value: f64, flag: &str| {
            Duration::try_from_secs_f64(value).with_context(|| format!("{flag} is no duration"))
        };
        let pusher_path = Pusher::path(&self.pusher_app);
        let path = match self.protocol {
            Protocol::Pusher => &pusher_path,
            _ => self.protocol.path(),
        };
        let targets: Vec<Target> =
            self.url.iter().map(|url| Target::parse(url, path)).collect::<Result<_, _>>()?;
        let http = match (&self.http_url, targets.first()) {
            (Some(url), _) => Some(Target::parse_http(url)?),
            (None, first) => first.cloned(),
        };
        let pusher = http.filter(|_| self.protocol == Protocol::Pusher).map(|http| Pusher {
            app: self.pusher_app,
            http,
            channels: self.channel_type,
        });
        let plan = Plan {
            mode,
            label: self.output.label.clone(),
            targets,
            pusher,
            protocol: self.protocol,
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
            generator: self.child_role.map_or(0, |child_role| child_role.generator),
            threads: self.threads,
            at_once: self.at_once,
            sources: self.source,
            answer: self.answer,
            binary: self.binary,
            deflate: self.deflate,
            json: self.json_content,
            report: self.report,
            processes: self.process,
        };
        Ok((plan.checked()?, self.output))
    }
}

impl Output {
    /// Writes the report to all requested outputs; `false` if it fails --strict.
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
