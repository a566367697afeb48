//! `top`: gateways and the busiest clients, repeatedly.

use std::{cmp::Reverse, time::Duration};

use serde::Serialize;
use serde_json::Value;
use tokio::time::sleep;

use super::{
    Context,
    clients::{self, Client, Events, FilterFlags, Order},
    gateways::{self, Rates, Totals},
    observe::observe,
};
use crate::{
    failure::Failure,
    health::Cluster,
    output::{Gap, Page, Paint, View, code_of},
    session::Session,
};

/// Most clients that are compared.
const MOST: usize = 20_000;

/// Shows what is busy.
#[derive(Debug, clap::Args)]
pub(crate) struct Top {
    #[command(flatten)]
    filter: FilterFlags,

    /// Order of the clients
    #[arg(long, value_enum, value_name = "ORDER", default_value = "events")]
    sort: Order,

    /// Number of clients
    #[arg(long, value_name = "N", default_value_t = 20)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,

    /// Time between two results
    #[arg(long, value_name = "SECONDS", default_value_t = 2)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,

    /// Number of results; 0 is no limit
    #[arg(short = 'n', long, value_name = "N", default_value_t = 0)]
    #[arg(value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    count: u32,
}

#[derive(Debug, Serialize)]
struct Shown {
    gateways: Vec<Value>,
    /// The busiest clients.
    clients: Vec<Client>,
    /// The number of clients that were compared, and whether there are more.
    compared: usize,
    more: bool,
    unanswered: Vec<Gap>,
    #[serde(skip)]
    cluster: Cluster,
    #[serde(skip)]
    rates: Rates,
}

impl Top {
    pub(crate) async fn run(self, context: &Context) -> Result<u8, Failure> {
        let session = Session::open(&context.settings).await?;
        let (mut totals, mut events) = (None, Events::default());
        let mut done = 0;
        loop {
            let cluster = observe(context, &session).await?;
            let rates = Rates::between(totals.take(), &cluster);
            totals = Some(Totals::of(&cluster));
            let (found, more, unanswered) = self.filter.read(session.partial(), MOST).await?;
            let mut listed: Vec<Client> = found.iter().map(Client::of).collect();
            events.update(&mut listed);
            let compared = listed.len();
            let mut order: Vec<_> =
                found.iter().map(|it| self.sort.key(&it.details)).zip(listed).collect();
            match self.sort {
                Order::Events => order.sort_by_key(|(_, client)| Reverse(client.milli_events())),
                _ => order.sort_by_key(|(key, _)| Reverse(*key)),
            }
            let clients = order.into_iter().map(|(_, client)| client);
            let shown = Shown {
                gateways: cluster.gateways.iter().map(|gateway| rates.json(gateway)).collect(),
                clients: clients.take(self.limit.into()).collect(),
                compared,
                more,
                unanswered,
                cluster,
                rates,
            };
            let code = context.output.show_next(&shown)?;
            done += 1;
            if done == self.count {
                return Ok(code);
            }
            sleep(Duration::from_secs(self.interval)).await;
        }
    }
}

impl View for Shown {
    fn show(&self, page: &mut Page) {
        page.table(&gateways::table(&self.cluster, &self.rates), "no gateways");
        page.line("");
        page.gaps(&self.unanswered);
        page.table(&clients::table(&self.clients), "no clients");
        if self.more {
            let line = format!("the busiest of the first {} clients", self.compared);
            page.painted(Paint::Dim, line);
        }
    }

    fn code(&self) -> u8 {
        code_of(&self.unanswered)
    }
}
