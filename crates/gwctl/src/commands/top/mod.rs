//! `top`: gateways and the busiest clients, repeatedly.

mod sort;

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tokio::time::{Instant, sleep_until};

use self::sort::Sort;
use super::{
    Context,
    clients::{self, Client, Events, FilterFlags},
    gateways::{self, Rates, Totals},
    observe::observe,
};
use crate::{
    args::Format,
    failure::Failure,
    health::Cluster,
    output::{Align, Gap, Page, Paint, Table, View, age, bytes, code_of},
    session::Session,
    terminal::Keys,
};

/// Most clients that are compared.
const MOST: usize = 20_000;

/// Shows what is busy.
#[derive(Debug, clap::Args)]
pub(crate) struct Top {
    #[command(flatten)]
    filter: FilterFlags,

    /// Order of gateways and clients; on a terminal, keys change it
    #[arg(long, value_enum, value_name = "ORDER", default_value = "messages")]
    sort: Sort,

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

/// The last result, which can be shown in another order.
#[derive(Debug, Serialize)]
struct Shown {
    gateways: Vec<Value>,
    /// All that were compared, of which the first `limit` are shown.
    #[serde(serialize_with = "first")]
    clients: Clients,
    sort: Sort,
    /// The number of clients that were compared, and whether there are more.
    compared: usize,
    more: bool,
    unanswered: Vec<Gap>,
    #[serde(skip)]
    cluster: Cluster,
    #[serde(skip)]
    rates: Rates,
    /// Whether there are keys to be shown.
    #[serde(skip)]
    keys: bool,
}

#[derive(Debug)]
struct Clients {
    all: Vec<Client>,
    limit: usize,
}

impl Clients {
    fn first(&self) -> &[Client] {
        &self.all[..self.all.len().min(self.limit)]
    }
}

fn first<S: serde::Serializer>(clients: &Clients, serializer: S) -> Result<S::Ok, S::Error> {
    clients.first().serialize(serializer)
}

impl Top {
    pub(crate) async fn run(self, context: &Context) -> Result<u8, Failure> {
        let session = Session::open(&context.settings).await?;
        let (mut totals, mut events) = (None, Events::default());
        let mut keys = Keys::open().filter(|_| context.output.format != Format::Json);
        let (mut done, mut sort) = (0, self.sort);
        loop {
            let cluster = observe(context, &session).await?;
            let rates = Rates::between(totals.take(), &cluster);
            totals = Some(Totals::of(&cluster));
            let (found, more, unanswered) = self.filter.read(session.partial(), MOST).await?;
            let mut all: Vec<Client> = found.iter().map(Client::of).collect();
            events.update(&mut all);
            let mut shown = Shown {
                gateways: Vec::new(),
                compared: all.len(),
                clients: Clients { all, limit: self.limit.into() },
                sort,
                more,
                unanswered,
                cluster,
                rates,
                keys: keys.is_some(),
            };
            let code = context.output.show_next(shown.by(sort))?;
            done += 1;
            if done == self.count {
                return Ok(code);
            }
            let next = Instant::now() + Duration::from_secs(self.interval);
            while let Some(key) = key_until(&mut keys, next).await {
                match key {
                    None | Some('q' | 'Q') => return Ok(code),
                    Some(key) => sort = Sort::of_key(key).unwrap_or(sort),
                }
                context.output.show_next(shown.by(sort))?;
            }
        }
    }
}

/// The next key before that time, which is `None` if it ends the program.
async fn key_until(keys: &mut Option<Keys>, until: Instant) -> Option<Option<char>> {
    let Some(keys) = keys else {
        sleep_until(until).await;
        return None;
    };
    tokio::select! {
        key = keys.next() => Some(key),
        () = sleep_until(until) => None,
    }
}

impl Shown {
    /// The same in this order.
    fn by(&mut self, sort: Sort) -> &Self {
        self.sort = sort;
        sort.clients(&mut self.clients.all);
        sort.gateways(&mut self.cluster, |address| self.rates.of(address));
        let gateways = self.cluster.gateways.iter();
        self.gateways = gateways.map(|gateway| self.rates.json(gateway)).collect();
        self
    }

    fn table(&self) -> Table {
        let mut table = Table::new(&[
            ("GATEWAY", Align::Left),
            ("STATE", Align::Left),
            ("CLIENTS", Align::Right),
            ("IN/S", Align::Right),
            ("OUT/S", Align::Right),
            ("BYTES/S", Align::Right),
            ("QUEUED", Align::Right),
            ("LAG", Align::Right),
            ("MEMORY", Align::Right),
        ]);
        for gateway in &self.cluster.gateways {
            let Ok(status) = &gateway.status else {
                table.row([gateway.address.clone().into(), gateways::no_answer()]);
                continue;
            };
            let rate = self.rates.of(&gateway.address);
            let lag = sort::lag(status).map(|millis| age(Duration::from_millis(millis)));
            table.row([
                gateway.address.clone().into(),
                gateways::state(status),
                status.clients.to_string().into(),
                format!("{:.1}", rate.messages_in).into(),
                format!("{:.1}", rate.messages_out).into(),
                bytes(rate.bytes as u64).into(),
                bytes(status.queue_bytes).into(),
                lag.unwrap_or_else(|| "-".to_owned()).into(),
                status.resident_bytes.map(bytes).unwrap_or_default().into(),
            ]);
        }
        table
    }
}

impl View for Shown {
    fn show(&self, page: &mut Page) {
        page.table(&self.table(), "no gateways");
        page.line("");
        page.gaps(&self.unanswered);
        page.table(&clients::table(self.clients.first()), "no clients");
        if self.more {
            let line = format!("the busiest of the first {} clients", self.compared);
            page.painted(Paint::Dim, line);
        }
        if self.keys {
            page.line("");
            page.painted(Paint::Dim, self.sort.help());
        }
    }

    fn code(&self) -> u8 {
        code_of(&self.unanswered)
    }
}
