//! `workers`: the workers that gateways report.

use std::time::Duration;

use push_suite_cluster::{PeerKind, WorkerReport};
use serde::Serialize;

use super::{Context, observe::observe, watch::Watch};
use crate::{
    failure::Failure,
    health::stands_still,
    names::plain,
    output::{Align, Cell, Gap, Page, Paint, Table, View, age, bytes, code_of},
    session::Session,
};

/// Shows workers.
#[derive(Debug, clap::Args)]
pub(crate) struct Workers {
    #[command(flatten)]
    watch: Watch,
}

#[derive(Debug, Serialize)]
struct Shown {
    workers: Vec<Worker>,
    unanswered: Vec<Gap>,
}

/// A worker.
#[derive(Debug, Serialize)]
pub(crate) struct Worker {
    /// `ip:name:id`.
    key: String,
    instance: Option<String>,
    php: bool,
    state: &'static str,
    clients: u64,
    /// Events that it has not acknowledged.
    in_flight: u64,
    in_flight_bytes: u64,
    /// For how long it has acknowledged none of them, in milliseconds.
    stalled_millis: Option<u64>,
    /// For how long it has been linked, in milliseconds: the longest link.
    linked_millis: u64,
    /// Gateways that it is linked to.
    gateways: Vec<String>,
    /// Gateways that it is not linked to.
    missing: Vec<String>,
}

impl Worker {
    pub(crate) fn of(report: &WorkerReport) -> Self {
        let links = || report.links.iter().map(|(_, link)| link);
        let state = match report {
            report if stands_still(report) => "stands still",
            _ if links().any(|link| link.leaving) => "drains",
            _ if links().any(|link| link.late) => "late",
            report if !report.missing.is_empty() => "partial",
            _ => "ready",
        };
        let (in_flight, in_flight_bytes) = report.in_flight();
        Self {
            key: report.key.clone(),
            instance: report.instance.as_ref().map(ToString::to_string),
            php: links().any(|link| link.kind == PeerKind::Php),
            state,
            clients: report.clients(),
            in_flight,
            in_flight_bytes,
            stalled_millis: report.stalled(),
            linked_millis: links().map(|link| link.linked).max().unwrap_or(0),
            gateways: report.links.iter().map(|(at, _)| at.to_string()).collect(),
            missing: report.missing.iter().map(ToString::to_string).collect(),
        }
    }

    fn paint(&self) -> Paint {
        match self.state {
            "ready" => Paint::Green,
            "stands still" => Paint::Red,
            _ => Paint::Yellow,
        }
    }
}

impl Workers {
    pub(crate) async fn run(self, context: &Context) -> Result<u8, Failure> {
        let session = Session::open(&context.settings).await?;
        let look = async || {
            let cluster = observe(context, &session).await?;
            let workers = cluster.workers.iter().map(Worker::of).collect();
            let unanswered = cluster.gateways.into_iter().filter_map(|it| it.status.err());
            Ok(Shown { workers, unanswered: unanswered.collect() })
        };
        self.watch.run(context, look).await
    }
}

/// A row for each worker.
pub(crate) fn table(workers: &[Worker]) -> Table {
    let mut table = Table::new(&[
        ("WORKER", Align::Left),
        ("STATE", Align::Left),
        ("LINKED", Align::Right),
        ("CLIENTS", Align::Right),
        ("IN FLIGHT", Align::Right),
        ("SIZE", Align::Right),
        ("STALLED", Align::Right),
        ("GATEWAYS", Align::Right),
    ])
    .wide(&[("INSTANCE", Align::Left), ("MISSING", Align::Left)]);
    for worker in workers {
        let millis = |millis: u64| age(Duration::from_millis(millis));
        let all = worker.gateways.len() + worker.missing.len();
        table.row([
            plain(&worker.key).into(),
            Cell::painted(worker.paint(), worker.state),
            millis(worker.linked_millis).into(),
            worker.clients.to_string().into(),
            worker.in_flight.to_string().into(),
            bytes(worker.in_flight_bytes).into(),
            worker.stalled_millis.map(millis).unwrap_or_default().into(),
            format!("{} of {all}", worker.gateways.len()).into(),
            worker.instance.clone().unwrap_or_else(|| "php".to_owned()).into(),
            worker.missing.join(", ").into(),
        ]);
    }
    table
}

impl View for Shown {
    fn show(&self, page: &mut Page) {
        page.gaps(&self.unanswered);
        page.table(&table(&self.workers), "no worker is linked");
    }

    fn code(&self) -> u8 {
        code_of(&self.unanswered)
    }
}
