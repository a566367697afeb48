//! `uid`: the clients of a uid.

use push_suite_cluster::{ClientId, Fields, Filter};
use serde::Serialize;

use super::{Context, watch::Watch};
use crate::{
    failure::Failure,
    names::{self, Name},
    output::{Align, Gap, Page, Table, View, code_of},
    session::Session,
};

/// Shows a uid.
#[derive(Debug, clap::Args)]
pub(crate) struct Uid {
    /// The uid
    #[arg(value_name = "UID", value_parser = names::uid())]
    uid: push_suite_cluster::Uid,

    #[command(flatten)]
    watch: Watch,
}

#[derive(Debug, Serialize)]
struct Clients {
    uid: Name,
    clients: Vec<Client>,
    unanswered: Vec<Gap>,
}

#[derive(Debug, Serialize)]
struct Client {
    client: ClientId,
    gateway: String,
    groups: Vec<Name>,
}

impl Uid {
    pub(crate) async fn run(self, context: &Context) -> Result<u8, Failure> {
        let session = Session::open(&context.settings).await?;
        let look = async || {
            let filter =
                Filter::Any { groups: vec![], uids: vec![self.uid.clone()], clients: vec![] };
            let fields = Fields { groups: true, ..Fields::default() };
            let rows = session.partial().select(fields, filter).await?;
            let clients = rows.iter().map(|row| Client {
                client: row.client,
                gateway: row.client.gateway.to_string(),
                groups: row.groups.iter().map(Name::from).collect(),
            });
            let uid = Name::from(&self.uid);
            Ok(Clients { uid, clients: clients.collect(), unanswered: session.gaps() })
        };
        self.watch.run(context, look).await
    }
}

impl View for Clients {
    fn show(&self, page: &mut Page) {
        page.gaps(&self.unanswered);
        let columns = [("CLIENT", Align::Left), ("GATEWAY", Align::Left), ("GROUPS", Align::Left)];
        let mut table = Table::new(&columns);
        for Client { client, gateway, groups } in &self.clients {
            let groups: Vec<String> = groups.iter().map(Name::plain).collect();
            let cells = [client.to_string(), gateway.clone(), groups.join(", ")];
            table.row(cells.map(Into::into));
        }
        page.table(&table, &format!("uid {} has no clients: it is offline", self.uid.plain()));
    }

    fn code(&self) -> u8 {
        code_of(&self.unanswered)
    }
}
