//! `trace`: one push, and the time of each of its steps.

use std::{ffi::OsString, os::unix::ffi::OsStringExt as _, time::Duration};

use push_suite_cluster::{
    ClientId, ClientTrace, ClusterTrace, GatewayTrace, MessageKind, TracedFate, TracedPush,
};
use serde::Serialize;

use super::{
    Context,
    target::{NamedFlags, Target},
};
use crate::{
    failure::{FAILED, Failure, advice},
    output::{Align, Cell, Gap, Page, Paint, Table, View, age, bytes},
    session::Session,
};

/// Traces a push.
#[derive(Debug, clap::Args)]
pub(crate) struct Trace {
    #[command(flatten)]
    to: NamedFlags,

    /// Time after which clients that have not taken the push are reported
    #[arg(long, value_name = "SECONDS", default_value_t = 2)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=30))]
    wait: u32,

    /// Send a binary message
    #[arg(long, requires = "message")]
    binary: bool,

    /// The message. Without one it is a WebSocket ping, which the programs of clients do not see
    #[arg(value_name = "TEXT")]
    message: Option<OsString>,
}

#[derive(Debug, Serialize)]
struct Shown {
    to: Target,
    /// `ping` or `message`.
    push: &'static str,
    /// Clients that it was for.
    matched: u64,
    gateways: Vec<Gateway>,
    unanswered: Vec<Gap>,
}

/// The steps in a gateway. Times are in microseconds.
#[derive(Debug, Serialize)]
struct Gateway {
    gateway: String,
    network_micros: u64,
    dispatch_micros: u64,
    total_micros: u64,
    matched: u64,
    clients: Vec<Client>,
}

/// The steps for a client.
#[derive(Debug, Serialize)]
struct Client {
    client: ClientId,
    thread: u16,
    taken_micros: u64,
    queued_micros: u64,
    /// Bytes that were queued before it.
    queue_bytes: u64,
    #[serde(skip)]
    outcome: TracedFate,
    /// The outcome as a word.
    fate: &'static str,
    /// From the queue until the socket has taken it.
    written_micros: Option<u64>,
    /// For how long it waits, and for how many bytes of the queue.
    waiting_micros: Option<u64>,
    left_bytes: Option<u64>,
}

impl Trace {
    pub(crate) async fn run(self, context: &Context) -> Result<u8, Failure> {
        let target = self.to.target();
        let named = target.named()?;
        let name = if self.message.is_some() { "message" } else { "ping" };
        let wait = Duration::from_secs(self.wait.into());
        let push = self.push()?;
        let session = Session::open(&context.settings).await?;
        let trace = session.cluster().trace(named, push, wait).await?;
        context.output.show(&Shown::of(target, name, trace))
    }

    fn push(self) -> Result<TracedPush, Failure> {
        let Some(message) = self.message else { return Ok(TracedPush::Ping) };
        let body = message.into_vec();
        let kind = match (self.binary, std::str::from_utf8(&body)) {
            (true, _) => MessageKind::Binary,
            (false, Ok(_)) => MessageKind::Text,
            (false, Err(_)) => {
                return Err(Failure::usage("a text message is UTF-8")
                    .next("send it with --binary as it is"));
            }
        };
        Ok(TracedPush::Message { kind, body })
    }
}

impl Shown {
    fn of(to: Target, push: &'static str, trace: ClusterTrace) -> Self {
        let gap = |(gateway, error): (String, push_suite_cluster::Error)| Gap {
            gateway,
            problem: error.to_string(),
            next: advice(&error).unwrap_or_default(),
        };
        Self {
            to,
            push,
            matched: trace.gateways.iter().map(|trace| trace.matched).sum(),
            gateways: trace.gateways.iter().map(Gateway::of).collect(),
            unanswered: trace.unanswered.into_iter().map(gap).collect(),
        }
    }

    fn clients(&self) -> impl Iterator<Item = (&Gateway, &Client)> {
        self.gateways.iter().flat_map(|it| it.clients.iter().map(move |client| (it, client)))
    }
}

impl Gateway {
    fn of(trace: &GatewayTrace) -> Self {
        Self {
            gateway: trace.gateway.to_string(),
            network_micros: micros(trace.network),
            dispatch_micros: micros(trace.dispatch),
            total_micros: micros(trace.total),
            matched: trace.matched,
            clients: trace.clients.iter().map(Client::of).collect(),
        }
    }
}

impl Client {
    fn of(trace: &ClientTrace) -> Self {
        let (mut written, mut waiting, mut left_bytes) = (None, None, None);
        let fate = match trace.fate {
            TracedFate::Written { after } => {
                written = Some(after);
                "written"
            }
            TracedFate::Waiting { since, left } => {
                (waiting, left_bytes) = (Some(since), Some(left));
                "waiting"
            }
            TracedFate::HeldBack => "held-back",
            TracedFate::Dropped => "dropped",
            TracedFate::Closed => "closed",
            TracedFate::Unframable => "unframable",
        };
        Self {
            client: trace.client,
            thread: trace.thread,
            taken_micros: micros(trace.taken),
            queued_micros: micros(trace.queued),
            queue_bytes: trace.queue_bytes,
            outcome: trace.fate,
            fate,
            written_micros: written,
            waiting_micros: waiting,
            left_bytes,
        }
    }

    fn is_written(&self) -> bool {
        matches!(self.outcome, TracedFate::Written { .. })
    }

    fn state(&self, push: &str) -> Cell {
        let text = match self.outcome {
            TracedFate::Written { .. } => return Cell::painted(Paint::Green, "written"),
            TracedFate::Waiting { since, left } => {
                let (since, left) = (shown(since), bytes(left));
                format!("queued, not written in {since}: {left} up to its end")
            }
            TracedFate::HeldBack => "held back until its handshake is complete".to_owned(),
            TracedFate::Dropped => "dropped: its queue is full".to_owned(),
            TracedFate::Closed => "not written: the client is closed".to_owned(),
            TracedFate::Unframable if push == "ping" => {
                "not sent: its listener has no pings, give a TEXT".to_owned()
            }
            TracedFate::Unframable => "not sent: it has no frame on its listener".to_owned(),
        };
        Cell::painted(Paint::Red, text)
    }
}

impl View for Shown {
    fn show(&self, page: &mut Page) {
        page.gaps(&self.unanswered);
        let Self { to, push, matched, .. } = self;
        if *matched == 0 {
            page.painted(Paint::Yellow, format!("no client matches {to}: nothing was sent"));
            return;
        }
        let clients = if *matched == 1 { "client" } else { "clients" };
        page.line(format!("a {push} to {matched} {clients} of {to}"));
        let mut table = Table::new(&[
            ("CLIENT", Align::Left),
            ("NETWORK", Align::Right),
            ("DISPATCH", Align::Right),
            ("THREAD", Align::Right),
            ("QUEUE", Align::Right),
            ("SOCKET", Align::Right),
            ("BEFORE IT", Align::Right),
            ("STATE", Align::Left),
        ])
        .wide(&[("GATEWAY", Align::Left), ("THREAD NO.", Align::Right)]);
        for (gateway, client) in self.clients() {
            table.row([
                client.client.to_string().into(),
                shown(gateway.network_micros).into(),
                shown(gateway.dispatch_micros).into(),
                shown(client.taken_micros).into(),
                shown(client.queued_micros).into(),
                client.written_micros.map_or_else(|| "-".to_owned(), shown).into(),
                bytes(client.queue_bytes).into(),
                client.state(push),
                gateway.gateway.clone().into(),
                client.thread.to_string().into(),
            ]);
        }
        page.table(&table, "no clients");
        let listed = self.clients().count() as u64;
        if listed < *matched {
            page.painted(Paint::Dim, format!("and {} further clients", matched - listed));
        }
        let waits = |client: &Client| matches!(client.outcome, TracedFate::Waiting { .. });
        let slow = self.clients().find(|(_, client)| waits(client));
        if let Some((_, slow)) = slow {
            page.line(format!("  next: `gwctl client {}` shows its queue", slow.client));
        }
    }

    fn code(&self) -> u8 {
        let all = self.clients().all(|(_, client)| client.is_written());
        if all && self.matched != 0 && self.unanswered.is_empty() { 0 } else { FAILED }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn shown(micros: u64) -> String {
    match micros {
        // Finer than milliseconds while it is short.
        ..10_000 => format!("{micros}µs"),
        micros => age(Duration::from_micros(micros)),
    }
}
