//! `events`: the last lifecycle events of clients, from the rings of all gateways.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use push_suite_cluster::{
    ClientId, ClosedBy, ClusterHistory, HistoryEvent, HistoryFilter, LifecycleKind, Uid,
};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{Context, observe::now};
use crate::{
    failure::{Failure, advice},
    names::{self, Name, plain},
    output::{Align, Cell, Gap, Page, Paint, Table, View, age, bytes, code_of, utc},
    session::Session,
};

/// The time between two queries of `--follow`.
const PAUSE: Duration = Duration::from_secs(1);

/// Shows events.
#[derive(Debug, clap::Args)]
pub(crate) struct Events {
    /// Of this client
    #[arg(long, value_name = "ID")]
    client: Option<ClientId>,

    /// Of clients that are or were bound to this uid
    #[arg(long, value_parser = names::uid())]
    uid: Option<Uid>,

    /// Of clients and refused connections from this IP address
    #[arg(long, value_name = "IP")]
    ip: Option<IpAddr>,

    /// Of the gateway with this inner address
    #[arg(long, value_name = "ADDR")]
    gateway: Option<SocketAddr>,

    /// Of the last so many seconds
    #[arg(long, value_name = "SECONDS")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    last: Option<u64>,

    /// Maximum number of events: the newest
    #[arg(long, value_name = "N", default_value_t = 50)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,

    /// Go on with new events, until Ctrl-C
    #[arg(short, long)]
    follow: bool,
}

/// Events, oldest first.
#[derive(Debug, Serialize)]
pub(crate) struct Shown {
    events: Vec<Value>,
    pub(crate) unanswered: Vec<Gap>,
    #[serde(skip)]
    pub(crate) history: Vec<HistoryEvent>,
}

impl Shown {
    pub(crate) fn of(history: ClusterHistory) -> Self {
        let gap = |(gateway, error): (String, push_suite_cluster::Error)| Gap {
            gateway,
            problem: error.to_string(),
            next: advice(&error).unwrap_or_default(),
        };
        Self {
            events: history.events.iter().map(json).collect(),
            unanswered: history.unanswered.into_iter().map(gap).collect(),
            history: history.events,
        }
    }
}

impl Events {
    pub(crate) async fn run(self, context: &Context) -> Result<u8, Failure> {
        let session = Session::open(&context.settings).await?;
        let since = self.last.map_or(0, |last| now().saturating_sub(last.saturating_mul(1000)));
        let mut filter = HistoryFilter {
            client: self.client,
            gateway: self.gateway,
            uid: self.uid,
            ip: self.ip,
            since,
            limit: self.limit,
        };
        let mut shown = Shown::of(session.partial().history(&filter).await?);
        if !self.follow {
            return context.output.show(&shown);
        }
        let mut seen = BTreeMap::<SocketAddr, u64>::new();
        loop {
            shown.history.retain(|it| seen.get(&it.gateway).is_none_or(|last| *last < it.number));
            for event in &shown.history {
                context.output.event(&line(event), &json(event))?;
                seen.insert(event.gateway, event.number);
                filter.since = filter.since.max(event.at.saturating_sub(60_000));
            }
            sleep(PAUSE).await;
            filter.limit = 10_000;
            shown = Shown::of(session.partial().history(&filter).await?);
        }
    }
}

impl View for Shown {
    fn show(&self, page: &mut Page) {
        page.gaps(&self.unanswered);
        page.table(&table(&self.history), "no events");
    }

    fn code(&self) -> u8 {
        code_of(&self.unanswered)
    }
}

/// A row for each event.
pub(crate) fn table(events: &[HistoryEvent]) -> Table {
    let mut table = Table::new(&[
        ("TIME", Align::Left),
        ("CLIENT", Align::Left),
        ("EVENT", Align::Left),
        ("DETAILS", Align::Left),
    ])
    .wide(&[("GATEWAY", Align::Left)]);
    for event in events {
        let client = event.client.map_or_else(|| "-".to_owned(), |client| client.to_string());
        table.row([
            utc(event.at).into(),
            client.into(),
            Cell::painted(paint(&event.kind), event.kind.name()),
            details(&event.kind).into(),
            event.gateway.to_string().into(),
        ]);
    }
    table
}

/// The cause of a close, without its details, and the code that was sent.
pub(crate) fn closed(event: &HistoryEvent) -> Option<(String, Option<u16>)> {
    let LifecycleKind::Closed(closing) = &event.kind else { return None };
    let cause = closing.cause.split(": ").next().unwrap_or_default();
    Some((cause.to_owned(), closing.code))
}

fn line(event: &HistoryEvent) -> String {
    let client = event.client.map_or_else(|| "-".to_owned(), |client| client.to_string());
    let (time, name, details) = (utc(event.at), event.kind.name(), details(&event.kind));
    format!("{time}  {client}  {name}  {details}")
}

const fn paint(kind: &LifecycleKind) -> Paint {
    match kind {
        LifecycleKind::Refused { .. }
        | LifecycleKind::JoinRefused { .. }
        | LifecycleKind::WorkerLost { .. }
        | LifecycleKind::Unassigned
        | LifecycleKind::Slow { .. } => Paint::Red,
        LifecycleKind::Paused { .. }
        | LifecycleKind::Closed(_)
        | LifecycleKind::Draining { .. } => Paint::Yellow,
        _ => Paint::Plain,
    }
}

fn uid_of(uid: &Uid) -> String {
    Name::from(uid).plain()
}

/// The facts of an event in words.
fn details(kind: &LifecycleKind) -> String {
    match kind {
        LifecycleKind::Connected { remote, listener } => format!("from {remote} at {listener}"),
        LifecycleKind::Refused { remote, reason, .. } => format!("{remote}: {}", plain(reason)),
        LifecycleKind::Bound { uid } => format!("to uid {}", uid_of(uid)),
        LifecycleKind::JoinRefused { group } => {
            format!("group {}: it is in too many", Name::from(group).plain())
        }
        LifecycleKind::Assigned { worker, .. } => format!("to worker {}", plain(worker)),
        LifecycleKind::WorkerLinked { worker } => plain(worker),
        LifecycleKind::WorkerLost { worker, clients } => {
            format!("{} with {clients} clients", plain(worker))
        }
        LifecycleKind::Unassigned => "no worker takes its events: they wait".to_owned(),
        LifecycleKind::Slow { queue_bytes } => {
            format!("a message was dropped: {} are queued", bytes(*queue_bytes))
        }
        LifecycleKind::Paused { reason } => format!("not read: {}", reason.name()),
        LifecycleKind::Draining { clients } => {
            format!("the gateway drains, with {clients} clients")
        }
        LifecycleKind::Closed(it) => {
            let code = it.code.map(|code| format!("{code} ")).unwrap_or_default();
            let by = match &it.by {
                ClosedBy::Client => "the client".to_owned(),
                ClosedBy::Gateway => "the gateway".to_owned(),
                ClosedBy::Peer { worker: Some(worker) } => format!("worker {}", plain(worker)),
                ClosedBy::Peer { worker: None } => "a back end".to_owned(),
            };
            let (cause, after) = (plain(&it.cause), age(Duration::from_millis(it.age)));
            format!("{code}{cause}, by {by}, after {after}")
        }
    }
}

/// An event as JSON.
pub(crate) fn json(event: &HistoryEvent) -> Value {
    let mut value = json!({
        "at": event.at,
        "time": utc(event.at),
        "gateway": event.gateway,
        "number": event.number,
        "client": event.client,
        "event": event.kind.name(),
        "details": details(&event.kind),
        "remote": event.kind.remote(),
        "uid": event.kind.uid().map(Name::from),
    });
    if let LifecycleKind::Closed(closing) = &event.kind {
        let facts = [
            ("code", json!(closing.code)),
            ("reason", json!(closing.reason)),
            ("cause", json!(closing.cause)),
            ("age_millis", json!(closing.age)),
            ("queue_bytes", json!(closing.queue_bytes)),
            ("events", json!(closing.events)),
        ];
        for (name, fact) in facts {
            value[name] = fact;
        }
    }
    value
}
