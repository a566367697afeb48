//! `log-level`: the filter of a gateway's log.

use std::net::SocketAddr;

use serde::Serialize;

use super::Context;
use crate::{
    failure::Failure,
    names::plain,
    output::{Page, View},
    session::Session,
};

/// Shows or changes a log filter.
#[derive(Debug, clap::Args)]
pub(crate) struct LogLevel {
    /// Inner address of the gateway, as `gwctl gateways` lists it
    #[arg(value_name = "GATEWAY")]
    gateway: SocketAddr,

    /// The new filter, as of --log-level: `debug`, or `info,gateway::shard=debug`; it applies until
    /// the gateway is restarted or reads its settings again
    #[arg(value_name = "FILTER")]
    filter: Option<String>,
}

#[derive(Debug, Serialize)]
struct Changed {
    gateway: SocketAddr,
    /// The filter in effect now.
    filter: String,
    /// The one before, if it was changed.
    before: Option<String>,
}

impl LogLevel {
    pub(crate) async fn run(self, context: &Context) -> Result<u8, Failure> {
        let session = Session::open(&context.settings).await?;
        let cluster = session.cluster();
        let gateway = self.gateway;
        let changed = match self.filter {
            None => {
                let filter = cluster.log_filter(gateway).await?;
                Changed { gateway, filter, before: None }
            }
            Some(filter) => {
                let before = cluster.set_log_filter(gateway, &filter).await?;
                Changed { gateway, filter, before: Some(before) }
            }
        };
        context.output.show(&changed)
    }
}

impl View for Changed {
    fn show(&self, page: &mut Page) {
        page.line(plain(&self.filter));
        if let Some(before) = &self.before {
            page.line(format!("  before: {}", plain(before)));
        }
    }
}
