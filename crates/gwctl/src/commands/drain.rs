//! `drain`: takes a gateway out of service, as SIGTERM does.

use std::{net::SocketAddr, time::Duration};

use serde::Serialize;
use tokio::time::sleep;

use super::{Context, observe::observe};
use crate::{
    confirm::confirm,
    failure::Failure,
    output::{Page, Paint, View},
    session::Session,
};

/// Drains a gateway.
#[derive(Debug, clap::Args)]
pub(crate) struct Drain {
    /// Inner address of the gateway, as `gwctl gateways` lists it
    #[arg(value_name = "GATEWAY")]
    gateway: SocketAddr,

    /// Wait until it has ended; shows how many clients are left
    #[arg(long)]
    wait: bool,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,

    /// Show how many clients it would close, and close none
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
}

#[derive(Debug, Serialize)]
struct Drained {
    gateway: SocketAddr,
    clients: u64,
    dry_run: bool,
    /// Whether the gateway has ended.
    ended: bool,
}

impl Drain {
    pub(crate) async fn run(self, context: &Context) -> Result<u8, Failure> {
        let session = Session::open(&context.settings).await?;
        let Some(clients) = clients_of(context, &session, self.gateway).await? else {
            return Err(Failure::new(format!("{} is no gateway that answers", self.gateway))
                .next("`gwctl gateways` lists their inner addresses"));
        };
        let mut drained =
            Drained { gateway: self.gateway, clients, dry_run: self.dry_run, ended: false };
        if !self.dry_run {
            if !self.yes {
                let gateway = self.gateway;
                confirm(&format!("drain gateway {gateway}, which closes {}", of(clients)))?;
            }
            drained.clients = session.cluster().drain(self.gateway).await?;
            if self.wait {
                let mut last = drained.clients;
                while let Some(left) = clients_of(context, &session, self.gateway).await? {
                    if left != last {
                        context.output.progress(&format!("{} left", of(left)));
                        last = left;
                    }
                    sleep(Duration::from_millis(500)).await;
                }
                drained.ended = true;
            }
        }
        context.output.show(&drained)
    }
}

fn of(clients: u64) -> String {
    format!("{clients} {}", if clients == 1 { "client" } else { "clients" })
}

/// The clients of a gateway; `None` if it is gone.
async fn clients_of(
    context: &Context,
    session: &Session,
    gateway: SocketAddr,
) -> Result<Option<u64>, Failure> {
    let Ok(cluster) = observe(context, session).await else { return Ok(None) };
    let status = cluster.statuses().find(|status| status.address == gateway);
    Ok(status.map(|status| status.clients))
}

impl View for Drained {
    fn show(&self, page: &mut Page) {
        let Self { gateway, clients, .. } = self;
        match (self.dry_run, self.ended) {
            (true, _) => page.line(format!("would close {} of gateway {gateway}", of(*clients))),
            (_, true) => page.painted(Paint::Green, format!("gateway {gateway} has ended")),
            _ => {
                page.painted(Paint::Green, format!("gateway {gateway} drains {}", of(*clients)));
                page.line("  next: `gwctl gateways --watch` shows how many are left");
            }
        }
    }
}
