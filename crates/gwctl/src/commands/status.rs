//! `status`: the cluster on one screen, what is wrong first.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tokio::time::sleep;

use super::{
    Context,
    gateways::{self, Rates, Totals},
    observe::observe,
    watch::Watch,
    workers::{self, Worker},
};
use crate::{
    failure::{FAILED, Failure},
    health::{Cluster, Finding, Severity},
    output::{Page, Paint, View},
    session::Session,
};

/// The time over which rates are measured before the first result.
const SAMPLE: Duration = Duration::from_millis(500);

/// Shows the cluster.
#[derive(Debug, clap::Args)]
pub(crate) struct Status {
    #[command(flatten)]
    watch: Watch,
}

/// The cluster, as it is shown.
#[derive(Debug, Serialize)]
pub(crate) struct Shown {
    registers: usize,
    registers_connected: usize,
    clients: u64,
    messages_in_per_second: f64,
    messages_out_per_second: f64,
    pub(crate) findings: Vec<Finding>,
    gateways: Vec<Value>,
    workers: Vec<Worker>,
    #[serde(skip)]
    cluster: Cluster,
    #[serde(skip)]
    rates: Rates,
}

impl Status {
    pub(crate) async fn run(self, context: &Context) -> Result<u8, Failure> {
        let session = Session::open(&context.settings).await?;
        let mut before = Some(Totals::of(&observe(context, &session).await?));
        sleep(SAMPLE).await;
        let look = async || {
            let cluster = observe(context, &session).await?;
            let rates = Rates::between(before.take(), &cluster);
            before = Some(Totals::of(&cluster));
            Ok(Shown::of(cluster, rates))
        };
        self.watch.run(context, look).await
    }
}

impl Shown {
    pub(crate) fn of(cluster: Cluster, rates: Rates) -> Self {
        let (messages_in, messages_out) = rates.sum();
        Self {
            registers: cluster.registers,
            registers_connected: cluster.links.registers,
            clients: cluster.statuses().map(|status| status.clients).sum(),
            messages_in_per_second: messages_in,
            messages_out_per_second: messages_out,
            findings: cluster.findings(),
            gateways: cluster.gateways.iter().map(|gateway| rates.json(gateway)).collect(),
            workers: cluster.workers.iter().map(Worker::of).collect(),
            cluster,
            rates,
        }
    }
}

impl View for Shown {
    fn show(&self, page: &mut Page) {
        for Finding { severity, problem, next, .. } in &self.findings {
            let (paint, word) = match severity {
                Severity::Critical => (Paint::Red, "critical"),
                Severity::Warning => (Paint::Yellow, "warning"),
            };
            page.painted(paint, format!("{word}: {problem}"));
            page.line(format!("  next: {next}"));
        }
        if self.findings.is_empty() {
            page.painted(Paint::Green, "ok: nothing is wrong");
        }
        let of = |count: usize, thing: &str| match count {
            1 => format!("1 {thing}"),
            count => format!("{count} {thing}s"),
        };
        page.line("");
        page.line(format!(
            "{} of {}, {}, {}, {}, {:.1} messages/s in, {:.1} out",
            self.registers_connected,
            of(self.registers, "register"),
            of(self.gateways.len(), "gateway"),
            of(self.workers.len(), "worker"),
            of(self.clients as usize, "client"),
            self.messages_in_per_second,
            self.messages_out_per_second,
        ));
        page.line("");
        page.table(&gateways::table(&self.cluster, &self.rates), "no gateways");
        page.line("");
        page.table(&workers::table(&self.workers), "no worker is linked");
    }

    fn code(&self) -> u8 {
        match self.findings.iter().any(|finding| finding.severity == Severity::Critical) {
            true => FAILED,
            false => 0,
        }
    }
}
