//! `gateways`: the status of each gateway.

use std::{collections::BTreeMap, time::Duration};

use push_suite_cluster::GatewayStatus;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Context, observe::observe, watch::Watch};
use crate::{
    failure::{FAILED, Failure},
    health::{Cluster, Gateway},
    output::{Align, Cell, Page, Paint, Table, View, age, bytes},
    session::Session,
};

/// Shows gateways.
#[derive(Debug, clap::Args)]
pub(crate) struct Gateways {
    #[command(flatten)]
    watch: Watch,
}

#[derive(Debug, Serialize)]
struct Shown {
    gateways: Vec<Value>,
    #[serde(skip)]
    cluster: Cluster,
    #[serde(skip)]
    rates: Rates,
}

impl Gateways {
    pub(crate) async fn run(self, context: &Context) -> Result<u8, Failure> {
        let session = Session::open(&context.settings).await?;
        let mut before = None;
        let look = async || {
            let cluster = observe(context, &session).await?;
            let rates = Rates::between(before.take(), &cluster);
            before = Some(Totals::of(&cluster));
            let gateways = cluster.gateways.iter().map(|gateway| rates.json(gateway)).collect();
            Ok(Shown { gateways, cluster, rates })
        };
        self.watch.run(context, look).await
    }
}

impl View for Shown {
    fn show(&self, page: &mut Page) {
        page.table(&table(&self.cluster, &self.rates), "no gateways");
    }

    fn code(&self) -> u8 {
        match self.cluster.gateways.iter().all(|gateway| gateway.status.is_ok()) {
            true => 0,
            false => FAILED,
        }
    }
}

/// Totals of gateways, by address: the uptime in milliseconds, messages in and out, and bytes in both
/// directions.
#[derive(Debug)]
pub(crate) struct Totals(BTreeMap<String, [u64; 4]>);

impl Totals {
    pub(crate) fn of(cluster: &Cluster) -> Self {
        let of = |status: &GatewayStatus| {
            let traffic = status.traffic;
            let bytes = traffic.bytes_in + traffic.bytes_out;
            [status.uptime, traffic.messages_in, traffic.messages_out, bytes]
        };
        let totals = cluster.statuses().map(|it| (it.address.to_string(), of(it)));
        Self(totals.collect())
    }
}

/// Messages a second of a gateway, and bytes a second in both directions.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rate {
    pub(crate) messages_in: f64,
    pub(crate) messages_out: f64,
    pub(crate) bytes: f64,
}

/// The rates of gateways, by address.
#[derive(Debug, Default)]
pub(crate) struct Rates(BTreeMap<String, Rate>);

impl Rates {
    /// The rates since these totals; without any, those since the start of each gateway.
    pub(crate) fn between(before: Option<Totals>, cluster: &Cluster) -> Self {
        let before = before.map(|totals| totals.0).unwrap_or_default();
        let rate = |(at, now): (String, [u64; 4])| {
            // One that has restarted since counts from its start.
            let since = before.get(&at).filter(|[then, ..]| *then < now[0]);
            let then = since.copied().unwrap_or_default();
            let seconds = (now[0] - then[0]).max(1) as f64 / 1000.0;
            let of = |index: usize| now[index].saturating_sub(then[index]) as f64 / seconds;
            (at, Rate { messages_in: of(1), messages_out: of(2), bytes: of(3) })
        };
        Self(Totals::of(cluster).0.into_iter().map(rate).collect())
    }

    /// The rates of a gateway.
    pub(crate) fn of(&self, address: &str) -> Rate {
        self.0.get(address).copied().unwrap_or_default()
    }

    /// Messages a second in and out, of all.
    pub(crate) fn sum(&self) -> (f64, f64) {
        let add = |sum: (f64, f64), it: &Rate| (sum.0 + it.messages_in, sum.1 + it.messages_out);
        self.0.values().fold((0.0, 0.0), add)
    }

    /// A gateway as JSON.
    pub(crate) fn json(&self, gateway: &Gateway) -> Value {
        let status = match &gateway.status {
            Ok(status) => status,
            Err(gap) => {
                return json!({ "address": gateway.address, "problem": gap.problem, "next": gap.next });
            }
        };
        let mut value = serde_json::to_value(status).unwrap_or_default();
        let closed: BTreeMap<_, _> = status.closed.iter().cloned().collect();
        value["closed"] = json!(closed);
        let Rate { messages_in, messages_out, bytes } = self.of(&gateway.address);
        value["bytes_per_second"] = json!(bytes);
        value["messages_in_per_second"] = json!(messages_in);
        value["messages_out_per_second"] = json!(messages_out);
        value
    }
}

/// A row for each gateway.
pub(crate) fn table(cluster: &Cluster, rates: &Rates) -> Table {
    let mut table = Table::new(&[
        ("GATEWAY", Align::Left),
        ("STATE", Align::Left),
        ("UPTIME", Align::Right),
        ("CLIENTS", Align::Right),
        ("SLOW", Align::Right),
        ("IN/S", Align::Right),
        ("OUT/S", Align::Right),
        ("QUEUED", Align::Right),
        ("MEMORY", Align::Right),
    ])
    .wide(&[
        ("VERSION", Align::Left),
        ("FILES", Align::Right),
        ("GROUPS", Align::Right),
        ("UIDS", Align::Right),
        ("WORKERS", Align::Right),
        ("THREADS", Align::Right),
        ("LISTENERS", Align::Left),
    ]);
    for gateway in &cluster.gateways {
        let (address, status) = match &gateway.status {
            Ok(status) => (&gateway.address, status),
            Err(gap) => {
                table.row([gateway.address.clone().into(), no_answer()]);
                debug_assert!(!gap.problem.is_empty());
                continue;
            }
        };
        let Rate { messages_in, messages_out, .. } = rates.of(address);
        let slow = status.slow_clients;
        let slow_paint = if slow == 0 { Paint::Plain } else { Paint::Yellow };
        let listeners = status.listeners.iter().map(|listener| {
            let secure = if listener.tls { "+tls" } else { "" };
            format!("{}{secure}://{}", listener.kind.scheme(), listener.address)
        });
        table.row([
            address.clone().into(),
            state(status),
            age(Duration::from_millis(status.uptime)).into(),
            status.clients.to_string().into(),
            Cell::painted(slow_paint, slow.to_string()),
            format!("{messages_in:.1}").into(),
            format!("{messages_out:.1}").into(),
            bytes(status.queue_bytes).into(),
            status.resident_bytes.map(bytes).unwrap_or_default().into(),
            status.version.clone().into(),
            status.descriptors.map(|count| count.to_string()).unwrap_or_default().into(),
            status.groups.to_string().into(),
            status.uids.to_string().into(),
            status.workers().count().to_string().into(),
            status.threads.len().to_string().into(),
            listeners.collect::<Vec<_>>().join(", ").into(),
        ]);
    }
    table
}

/// The state of a gateway that has not answered.
pub(crate) fn no_answer() -> Cell {
    Cell::painted(Paint::Red, "no answer")
}

/// The state of a gateway.
pub(crate) fn state(status: &GatewayStatus) -> Cell {
    match (status.draining, status.not_ready.is_empty()) {
        (true, _) => Cell::painted(Paint::Yellow, "drains"),
        (_, false) => Cell::painted(Paint::Yellow, "not ready"),
        _ => Cell::painted(Paint::Green, "ready"),
    }
}
