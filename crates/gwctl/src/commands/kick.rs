//! `kick`: closes clients, and says before how many there are.

use futures_util::{StreamExt as _, stream};
use push_suite_cluster::{ClientId, Close, Cluster, Message, Report};
use serde::Serialize;

use super::{
    Context,
    reached::Reached,
    target::{Target, TargetFlags},
};
use crate::{
    confirm::confirm,
    failure::{FAILED, Failure},
    output::{Gap, Page, Paint, View, code_of},
    session::Session,
};

/// Clients that are closed at the same time, of those that are listed one by one.
const AT_ONCE: usize = 64;

/// Closes clients. With the default code they do not come back by themselves.
#[derive(Debug, clap::Args)]
pub(crate) struct Kick {
    #[command(flatten)]
    target: TargetFlags,

    /// Close code: 1000, 1003, or 3000 to 4999; `gwctl explain` lists them. With the reason
    /// `retry-after=SECONDS`, clients come back after that time
    #[arg(long, value_name = "CODE", default_value_t = 4403)]
    code: u16,

    /// Close reason, at most 123 bytes
    #[arg(long, value_name = "TEXT", default_value = "kicked")]
    reason: String,

    /// Last message to each client
    #[arg(long, value_name = "TEXT")]
    message: Option<String>,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,

    /// Show how many clients it would close, and close none
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
}

#[derive(Debug, Serialize)]
struct Kicked {
    target: Target,
    /// The clients that were found before.
    found: u64,
    dry_run: bool,
    code: u16,
    reason: String,
    #[serde(flatten)]
    reached: Reached,
    /// Gateways that did not count.
    unanswered: Vec<Gap>,
}

impl Kick {
    pub(crate) async fn run(self, context: &Context) -> Result<u8, Failure> {
        let invalid = |error| Failure::usage(format!("{error}"));
        let mut close = Close::new(self.code, &self.reason).map_err(invalid)?;
        if let Some(message) = &self.message {
            close = close.with_last_message(Message::text(message));
        }
        let target = self.target.target();
        let session = Session::open(&context.settings).await?;
        let found = count(session.partial(), &target).await?;
        let mut kicked = Kicked {
            target: target.clone(),
            found,
            dry_run: self.dry_run,
            code: self.code,
            reason: self.reason,
            reached: Reached::default(),
            unanswered: session.gaps(),
        };
        if !self.dry_run && found != 0 {
            if !self.yes {
                confirm(&format!("close {found} {} of {target}", clients(found)))?;
            }
            for report in close_all(&session, &target, &close).await? {
                kicked.reached.add(report);
            }
        }
        context.output.show(&kicked)
    }
}

fn clients(count: u64) -> &'static str {
    if count == 1 { "client" } else { "clients" }
}

async fn count(cluster: &Cluster, target: &Target) -> Result<u64, Failure> {
    Ok(match target {
        Target::Client(client) => u64::from(cluster.is_online(*client).await?),
        Target::Uid(uid) => cluster.uid_client_count(uid).await?,
        Target::Group(group) => cluster.group_count(group).await?,
        Target::All => cluster.count().await?,
    })
}

async fn close_all(
    session: &Session,
    target: &Target,
    close: &Close,
) -> Result<Vec<Report>, Failure> {
    let (cluster, time) = (session.cluster(), session.time);
    let listed: Vec<ClientId> = match target {
        Target::Client(client) => vec![*client],
        Target::Uid(uid) => {
            let report = cluster.close_uid(uid, close.clone()).report_within(time).await?;
            return Ok(vec![report]);
        }
        Target::Group(group) => session.partial().clients_in_group(group).await?,
        Target::All => session.partial().all_clients().await?,
    };
    let closed = listed
        .into_iter()
        .map(async |client| cluster.close_client(client, close.clone()).report_within(time).await);
    let closed: Vec<_> = stream::iter(closed).buffer_unordered(AT_ONCE).collect().await;
    Ok(closed.into_iter().collect::<Result<_, _>>()?)
}

impl View for Kicked {
    fn show(&self, page: &mut Page) {
        let Self { target, found, code, reason, .. } = self;
        page.gaps(&self.unanswered);
        match (self.dry_run, *found) {
            (_, 0) => page.painted(Paint::Yellow, format!("no client of {target} is connected")),
            (true, found) => {
                let clients = clients(found);
                page.line(format!(
                    "would close {found} {clients} of {target} with {code} {reason}"
                ));
            }
            (false, _) => self.reached.show("closed", page),
        }
    }

    fn code(&self) -> u8 {
        match (self.dry_run, self.found) {
            (_, 0) => FAILED,
            (true, _) => code_of(&self.unanswered),
            (false, _) => self.reached.code().max(code_of(&self.unanswered)),
        }
    }
}
