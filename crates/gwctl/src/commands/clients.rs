//! `clients` and `client`: the details of clients.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use push_suite_cluster::{
    ClientDetails, ClientFilter, ClientId, Cluster, Group, InspectedClient, Uid,
};
use serde::Serialize;

use super::{Context, watch::Watch};
use crate::{
    failure::{FAILED, Failure, advice},
    names::{self, Name, plain},
    output::{Align, Cell, Gap, Page, Paint, Table, View, age, bytes, code_of, utc},
    session::Session,
};

/// Most clients that are read when they are to be sorted.
const MOST_SORTED: usize = 100_000;

/// The largest page of clients.
const PAGE: u32 = 1_000;

/// Shows clients.
#[derive(Debug, clap::Args)]
pub(crate) struct Clients {
    #[command(flatten)]
    filter: FilterFlags,

    /// Order of the list; those by number have the largest first
    #[arg(long, value_enum, value_name = "ORDER", default_value = "connected")]
    sort: Order,

    /// Maximum number of rows; 0 is no limit
    #[arg(long, value_name = "N", default_value_t = 50)]
    #[arg(value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    limit: u32,

    #[command(flatten)]
    watch: Watch,
}

/// Selects clients that match all of the flags.
#[derive(Debug, clap::Args)]
pub(crate) struct FilterFlags {
    /// Of this uid
    #[arg(long, value_parser = names::uid())]
    uid: Option<Uid>,

    /// In this group
    #[arg(long, value_name = "NAME", value_parser = names::group())]
    group: Option<Group>,

    /// From this IP address
    #[arg(long, value_name = "IP")]
    ip: Option<IpAddr>,

    /// Assigned to this worker: name:id, or ip:name:id
    #[arg(long, value_name = "KEY")]
    worker: Option<String>,

    /// At the gateway with this inner address
    #[arg(long, value_name = "ADDR")]
    gateway: Option<SocketAddr>,

    /// With bytes queued for them, by default any: they do not read, or their network is slow
    #[arg(long, value_name = "BYTES", num_args = 0..=1, default_missing_value = "1")]
    slow: Option<u64>,

    /// Whose sockets are not read: backpressure, rate limits, or a handshake without an answer
    #[arg(long)]
    paused: bool,
}

/// The order of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Order {
    /// Oldest connection first, gateway by gateway
    Connected,
    /// By bytes queued for it
    Queue,
    /// By events that it has caused
    Events,
    /// By bytes of its session
    Session,
    /// By number of groups
    Groups,
}

impl Order {
    /// The number by which a client is ordered; `None` if it stays where it is.
    fn key(self, client: &ClientDetails) -> Option<u64> {
        match self {
            Self::Connected => None,
            Self::Queue => Some(client.queue_bytes),
            Self::Events => Some(client.events),
            Self::Session => Some(client.session_bytes),
            Self::Groups => Some(client.group_count),
        }
    }
}

#[derive(Debug, Serialize)]
struct Shown {
    clients: Vec<Client>,
    /// Whether there are more clients than were read.
    more: bool,
    unanswered: Vec<Gap>,
}

/// A client.
#[derive(Debug, Serialize)]
pub(crate) struct Client {
    client: ClientId,
    gateway: SocketAddr,
    /// Its address, and that of the proxy that has stated it.
    remote: SocketAddr,
    proxy: Option<SocketAddr>,
    /// The URL of its listener.
    listener: String,
    compression: bool,
    /// Milliseconds since the Unix epoch, and until now.
    connected_at: u64,
    age_millis: u64,
    uid: Option<Name>,
    groups: Vec<Name>,
    pub(crate) group_count: u64,
    pub(crate) session_bytes: u64,
    pub(crate) queue_bytes: u64,
    /// Whether its socket takes no more.
    blocked: bool,
    /// Its connect, its handshake, and its messages.
    events: u64,
    /// Events a second since the result before, of `top`.
    #[serde(skip_serializing_if = "Option::is_none")]
    events_per_second: Option<f64>,
    silent_millis: Option<u64>,
    worker: Option<String>,
    /// For how long its events have waited for a worker.
    pub(crate) waits_millis: Option<u64>,
    /// Why its socket is not read.
    pauses: Vec<&'static str>,
    state: &'static str,
}

impl Client {
    pub(crate) fn of(found: &InspectedClient) -> Self {
        let it = &found.details;
        let secure = if it.tls { "+tls" } else { "" };
        Self {
            client: found.client,
            gateway: found.client.gateway,
            remote: it.remote,
            proxy: it.proxy,
            listener: format!("{}{secure}://{}", it.kind.scheme(), it.listener),
            compression: it.compression,
            connected_at: it.connected_at,
            age_millis: it.age,
            uid: it.uid.as_ref().map(Name::from),
            groups: it.groups.iter().map(Name::from).collect(),
            group_count: it.group_count,
            session_bytes: it.session_bytes,
            queue_bytes: it.queue_bytes,
            blocked: it.blocked,
            events: it.events,
            events_per_second: None,
            silent_millis: it.silent,
            worker: it.worker.clone(),
            waits_millis: it.waits,
            pauses: it.pauses.iter().map(|pause| pause.name()).collect(),
            state: it.state.name(),
        }
    }

    /// Events in a thousand seconds, to sort by.
    pub(crate) fn milli_events(&self) -> u64 {
        (self.events_per_second.unwrap_or(0.0) * 1000.0) as u64
    }

    fn state(&self) -> Cell {
        if self.blocked {
            return Cell::painted(Paint::Red, "does not read");
        }
        if self.waits_millis.is_some() {
            return Cell::painted(Paint::Red, "waits for a worker");
        }
        if !self.pauses.is_empty() {
            return Cell::painted(Paint::Yellow, self.pauses.join(", "));
        }
        self.state.into()
    }
}

impl FilterFlags {
    fn filter(&self) -> ClientFilter {
        ClientFilter {
            clients: None,
            gateway: self.gateway,
            uid: self.uid.clone(),
            group: self.group.clone(),
            ip: self.ip,
            worker: self.worker.clone(),
            queued: self.slow,
            paused: self.paused,
        }
    }

    /// Reads the clients that match, up to a number of them: whether there are more, and the
    /// gateways without an answer.
    pub(crate) async fn read(
        &self,
        cluster: &Cluster,
        most: usize,
    ) -> Result<(Vec<InspectedClient>, bool, Vec<Gap>), Failure> {
        read(cluster, &self.filter(), most).await
    }
}

/// Reads the clients that match, up to a number of them: whether there are more, and the gateways
/// without an answer.
async fn read(
    cluster: &Cluster,
    filter: &ClientFilter,
    most: usize,
) -> Result<(Vec<InspectedClient>, bool, Vec<Gap>), Failure> {
    let (mut clients, mut gaps, mut from) = (Vec::new(), Vec::new(), None);
    loop {
        let left = u32::try_from(most - clients.len()).unwrap_or(PAGE).min(PAGE);
        let page = cluster.inspect(filter, left, from).await?;
        clients.extend(page.clients);
        gaps.extend(page.unanswered.into_iter().map(|(gateway, error)| Gap {
            gateway,
            problem: error.to_string(),
            next: advice(&error).unwrap_or_default(),
        }));
        from = page.next;
        if from.is_none() || most <= clients.len() {
            return Ok((clients, from.is_some(), gaps));
        }
    }
}

/// Clients that do not read, up to a number of them, and the gateways without an answer.
///
/// # Errors
/// When no gateway is known.
pub(crate) async fn slow(
    cluster: &Cluster,
    most: usize,
) -> Result<(Vec<Client>, Vec<Gap>), Failure> {
    let filter = ClientFilter { queued: Some(1), ..ClientFilter::default() };
    let (found, _, gaps) = read(cluster, &filter, most).await?;
    Ok((found.iter().map(Client::of).collect(), gaps))
}

impl Clients {
    pub(crate) async fn run(self, context: &Context) -> Result<u8, Failure> {
        let session = Session::open(&context.settings).await?;
        let limit = if self.limit == 0 { usize::MAX } else { self.limit as usize };
        let look = async || {
            let most = if self.sort == Order::Connected { limit } else { MOST_SORTED };
            let (mut found, more, unanswered) =
                self.filter.read(session.partial(), most.min(1_000_000)).await?;
            found.sort_by_key(|client| std::cmp::Reverse(self.sort.key(&client.details)));
            let more = more || limit < found.len();
            let clients = found.iter().take(limit).map(Client::of).collect();
            Ok(Shown { clients, more, unanswered })
        };
        self.watch.run(context, look).await
    }
}

/// Events of clients at an earlier time.
#[derive(Debug, Default)]
pub(crate) struct Events(HashMap<ClientId, (u64, u64)>);

impl Events {
    /// Notes the events of these clients, and sets their rates since the last call.
    pub(crate) fn update(&mut self, clients: &mut [Client]) {
        for client in clients.iter_mut() {
            let before = self.0.get(&client.client).copied().unwrap_or_default();
            let (age, events) = (client.age_millis, client.events);
            // A client that has just connected has no rate of a second so far.
            let seconds = age.saturating_sub(before.0).max(1000) as f64 / 1000.0;
            client.events_per_second = Some(events.saturating_sub(before.1) as f64 / seconds);
        }
        let now = clients.iter().map(|client| (client.client, (client.age_millis, client.events)));
        self.0 = now.collect();
    }
}

/// A row for each client.
pub(crate) fn table(clients: &[Client]) -> Table {
    let rates = clients.iter().any(|client| client.events_per_second.is_some());
    let mut table = Table::new(&[
        ("CLIENT", Align::Left),
        ("UID", Align::Left),
        ("ADDRESS", Align::Left),
        ("AGE", Align::Right),
        ("WORKER", Align::Left),
        ("QUEUED", Align::Right),
        (if rates { "EVENTS/S" } else { "EVENTS" }, Align::Right),
        ("STATE", Align::Left),
    ])
    .wide(&[
        ("SILENT", Align::Right),
        ("SESSION", Align::Right),
        ("GROUPS", Align::Left),
        ("LISTENER", Align::Left),
        ("GATEWAY", Align::Left),
    ]);
    for client in clients {
        let groups: Vec<String> = client.groups.iter().map(Name::plain).collect();
        let queued = if client.queue_bytes == 0 { Paint::Plain } else { Paint::Yellow };
        let events = client.events_per_second.map(|rate| format!("{rate:.1}"));
        let silent = client.silent_millis.map(|millis| age(Duration::from_millis(millis)));
        table.row([
            client.client.to_string().into(),
            client.uid.as_ref().map_or_else(|| "-".to_owned(), Name::plain).into(),
            client.remote.to_string().into(),
            age(Duration::from_millis(client.age_millis)).into(),
            client.worker.as_deref().map_or_else(|| "-".to_owned(), plain).into(),
            Cell::painted(queued, bytes(client.queue_bytes)),
            events.unwrap_or_else(|| client.events.to_string()).into(),
            client.state(),
            silent.unwrap_or_default().into(),
            bytes(client.session_bytes).into(),
            groups.join(", ").into(),
            client.listener.clone().into(),
            client.gateway.to_string().into(),
        ]);
    }
    table
}

impl View for Shown {
    fn show(&self, page: &mut Page) {
        page.gaps(&self.unanswered);
        page.table(&table(&self.clients), "no client matches");
        if self.more {
            page.painted(Paint::Dim, "there are more: --limit 0 shows all");
        }
    }

    fn code(&self) -> u8 {
        code_of(&self.unanswered)
    }
}

/// Shows a client.
#[derive(Debug, clap::Args)]
pub(crate) struct One {
    /// The client
    #[arg(value_name = "ID")]
    client: ClientId,

    #[command(flatten)]
    watch: Watch,
}

#[derive(Debug, Serialize)]
struct Details {
    /// The client that was asked for.
    client: ClientId,
    connected: bool,
    details: Option<Client>,
}

impl One {
    pub(crate) async fn run(self, context: &Context) -> Result<u8, Failure> {
        let session = Session::open(&context.settings).await?;
        let look = async || {
            let clients = Some(vec![self.client]);
            let filter = ClientFilter { clients, ..ClientFilter::default() };
            let page = session.cluster().inspect(&filter, 1, None).await?;
            if let Some((_, error)) = page.unanswered.into_iter().next() {
                return Err(error.into());
            }
            let details = page.clients.first().map(Client::of);
            Ok(Details { client: self.client, connected: details.is_some(), details })
        };
        self.watch.run(context, look).await
    }
}

impl View for Details {
    fn show(&self, page: &mut Page) {
        let Some(it) = &self.details else {
            page.painted(Paint::Yellow, format!("client {} is not connected", self.client));
            return;
        };
        let millis = |millis: u64| age(Duration::from_millis(millis));
        let groups: Vec<String> = it.groups.iter().map(Name::plain).collect();
        let proxy = it.proxy.map(|proxy| format!(", through proxy {proxy}")).unwrap_or_default();
        let compression = if it.compression { ", compressed" } else { "" };
        let blocked = if it.blocked { ", its socket takes no more" } else { "" };
        page.fields(&[
            ("client", it.client.to_string()),
            ("state", it.state.to_owned()),
            ("uid", it.uid.as_ref().map_or_else(|| "none".to_owned(), Name::plain)),
            ("address", format!("{}{proxy}", it.remote)),
            ("connected", format!("{}, {} ago", utc(it.connected_at), millis(it.age_millis))),
            ("gateway", format!("{}, at {}{compression}", it.gateway, it.listener)),
            ("worker", it.worker.as_deref().map_or_else(|| "none".to_owned(), plain)),
            ("groups", format!("{} {}", it.group_count, groups.join(", "))),
            ("session", bytes(it.session_bytes)),
            ("queued", format!("{}{blocked}", bytes(it.queue_bytes))),
            ("events", it.events.to_string()),
            ("silent for", it.silent_millis.map(millis).unwrap_or_default()),
            ("not read", it.pauses.join(", ")),
            ("waits for a worker", it.waits_millis.map(millis).unwrap_or_default()),
        ]);
        if it.blocked {
            page.line(format!("  next: `gwctl kick --client {}` closes it", it.client));
        }
    }

    fn code(&self) -> u8 {
        if self.connected { 0 } else { FAILED }
    }
}
