//! `bind`, `unbind`, `join` and `leave`: the uid and the groups of a client.

use push_suite_cluster::{ClientId, Group, Sending, Uid};
use serde::Serialize;

use super::{Context, reached::Reached};
use crate::{
    failure::Failure,
    names,
    output::{Page, View},
    session::Session,
};

/// Binds a client to a uid.
#[derive(Debug, clap::Args)]
pub(crate) struct Bind {
    /// The client
    #[arg(value_name = "CLIENT")]
    client: ClientId,

    /// Its new uid
    #[arg(value_name = "UID", value_parser = names::uid())]
    uid: Uid,
}

/// Removes the uid of a client.
#[derive(Debug, clap::Args)]
pub(crate) struct Unbind {
    /// The client
    #[arg(value_name = "CLIENT")]
    client: ClientId,
}

/// Adds clients to a group.
#[derive(Debug, clap::Args)]
pub(crate) struct Join {
    #[command(flatten)]
    members: Members,
}

/// Removes clients from a group.
#[derive(Debug, clap::Args)]
pub(crate) struct Leave {
    #[command(flatten)]
    members: Members,
}

/// A client, or those of a uid, and a group.
#[derive(Debug, clap::Args)]
struct Members {
    /// The group
    #[arg(value_name = "GROUP", value_parser = names::group())]
    group: Group,

    /// The client
    #[arg(long, value_name = "ID", required_unless_present = "uid")]
    client: Option<ClientId>,

    /// All clients of a uid
    #[arg(long, value_parser = names::uid(), conflicts_with = "client")]
    uid: Option<Uid>,
}

#[derive(Debug, Serialize)]
struct Changed {
    #[serde(skip)]
    effect: &'static str,
    #[serde(flatten)]
    reached: Reached,
}

impl Bind {
    pub(crate) async fn run(self, context: &Context) -> Result<u8, Failure> {
        let session = Session::open(&context.settings).await?;
        let bound = session.cluster().bind_uid(self.client, self.uid);
        changed(context, &session, "bound", bound).await
    }
}

impl Unbind {
    pub(crate) async fn run(self, context: &Context) -> Result<u8, Failure> {
        let session = Session::open(&context.settings).await?;
        let unbound = session.cluster().unbind_uid(self.client);
        changed(context, &session, "unbound", unbound).await
    }
}

impl Join {
    pub(crate) async fn run(self, context: &Context) -> Result<u8, Failure> {
        let Members { group, client, uid } = self.members;
        let session = Session::open(&context.settings).await?;
        let joined = match (client, uid) {
            (Some(client), _) => session.cluster().join_group(client, group),
            (None, Some(uid)) => session.cluster().join_group_by_uid(uid, group),
            (None, None) => return Err(Failure::usage("--client or --uid is required")),
        };
        changed(context, &session, "joined by", joined).await
    }
}

impl Leave {
    pub(crate) async fn run(self, context: &Context) -> Result<u8, Failure> {
        let Members { group, client, uid } = self.members;
        let session = Session::open(&context.settings).await?;
        let left = match (client, uid) {
            (Some(client), _) => session.cluster().leave_group(client, group),
            (None, Some(uid)) => session.cluster().leave_group_by_uid(uid, group),
            (None, None) => return Err(Failure::usage("--client or --uid is required")),
        };
        changed(context, &session, "left by", left).await
    }
}

async fn changed(
    context: &Context,
    session: &Session,
    effect: &'static str,
    sending: Sending<'_>,
) -> Result<u8, Failure> {
    let mut reached = Reached::default();
    reached.add(sending.report_within(session.time).await?);
    context.output.show(&Changed { effect, reached })
}

impl View for Changed {
    fn show(&self, page: &mut Page) {
        self.reached.show(self.effect, page);
    }

    fn code(&self) -> u8 {
        self.reached.code()
    }
}
