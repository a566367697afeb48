//! `group`: the members of a group.

use std::collections::BTreeMap;

use push_suite_cluster::{ClientId, Fields, Filter};
use serde::Serialize;

use super::{Context, watch::Watch};
use crate::{
    failure::Failure,
    names::{self, Name},
    output::{Align, Gap, Page, Paint, Table, View, code_of},
    session::Session,
};

/// Shows a group.
#[derive(Debug, clap::Args)]
pub(crate) struct Group {
    /// The group
    #[arg(value_name = "NAME", value_parser = names::group())]
    group: push_suite_cluster::Group,

    /// Maximum number of clients that are listed; 0 is no limit
    #[arg(long, value_name = "N", default_value_t = 50)]
    #[arg(value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    limit: u32,

    #[command(flatten)]
    watch: Watch,
}

#[derive(Debug, Serialize)]
struct Members {
    group: Name,
    /// The number of clients.
    clients: usize,
    /// The number of clients on each gateway, by inner address.
    gateways: BTreeMap<String, u64>,
    /// Its members, of a group whose clients have joined as members.
    presence: Vec<Presence>,
    members: Vec<Client>,
    unanswered: Vec<Gap>,
}

#[derive(Debug, Serialize)]
struct Presence {
    id: Name,
    clients: u64,
}

#[derive(Debug, Serialize)]
struct Client {
    client: ClientId,
    gateway: String,
    uid: Option<Name>,
}

impl Group {
    pub(crate) async fn run(self, context: &Context) -> Result<u8, Failure> {
        let session = Session::open(&context.settings).await?;
        self.watch.run(context, async || self.look(&session).await).await
    }

    async fn look(&self, session: &Session) -> Result<Members, Failure> {
        let cluster = session.partial();
        let filter =
            Filter::Any { groups: vec![self.group.clone()], uids: vec![], clients: vec![] };
        let rows = cluster.select(Fields { uid: true, ..Fields::default() }, filter).await?;
        let presence = cluster.presence(&self.group).await?;
        let presence = presence.iter().map(|here| Presence {
            id: Name::from(here.member.id().as_bytes()),
            clients: u64::from(here.clients),
        });
        let mut gateways = BTreeMap::<String, u64>::new();
        for row in &rows {
            *gateways.entry(row.client.gateway.to_string()).or_default() += 1;
        }
        let limit = if self.limit == 0 { usize::MAX } else { self.limit as usize };
        let members = rows.iter().take(limit).map(|row| Client {
            client: row.client,
            gateway: row.client.gateway.to_string(),
            uid: row.uid.as_ref().map(Name::from),
        });
        Ok(Members {
            group: Name::from(&self.group),
            clients: rows.len(),
            gateways,
            presence: presence.collect(),
            members: members.collect(),
            unanswered: session.gaps(),
        })
    }
}

impl View for Members {
    fn show(&self, page: &mut Page) {
        page.gaps(&self.unanswered);
        let gateways = self.gateways.iter().map(|(gateway, count)| format!("{gateway} {count}"));
        page.fields(&[
            ("group", self.group.plain()),
            ("clients", self.clients.to_string()),
            ("on gateways", gateways.collect::<Vec<_>>().join(", ")),
        ]);
        if !self.presence.is_empty() {
            let mut table = Table::new(&[("MEMBER", Align::Left), ("CLIENTS", Align::Right)]);
            for Presence { id, clients } in &self.presence {
                table.row([id.plain().into(), clients.to_string().into()]);
            }
            page.line("");
            page.table(&table, "");
        }
        let columns = [("CLIENT", Align::Left), ("UID", Align::Left), ("GATEWAY", Align::Left)];
        let mut table = Table::new(&columns);
        for Client { client, gateway, uid } in &self.members {
            let uid = uid.as_ref().map_or_else(|| "-".to_owned(), Name::plain);
            table.row([client.to_string().into(), uid.into(), gateway.clone().into()]);
        }
        page.line("");
        page.table(&table, "no clients");
        if self.members.len() < self.clients {
            let line = format!("{} of {}; --limit 0 shows all", self.members.len(), self.clients);
            page.painted(Paint::Dim, line);
        }
    }

    fn code(&self) -> u8 {
        code_of(&self.unanswered)
    }
}
