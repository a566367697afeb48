//! `explain`: the meaning of a code, and the fate of a client.

use push_suite_cluster::{ClientId, HistoryFilter};
use serde::Serialize;

use super::{Context, events};
use crate::{
    failure::Failure,
    output::{Align, Page, Paint, Table, View, code_of},
    reference::{self, Meaning},
    session::Session,
};

/// Explains a code.
#[derive(Debug, clap::Args)]
pub(crate) struct Explain {
    /// A close code such as 1013, the code of a refused handshake such as `token_expired`, part of a
    /// cause such as `ping timeout`, or the id of a client; without it, all codes are listed
    #[arg(value_name = "CODE")]
    asked: Option<String>,
}

#[derive(Debug, Serialize)]
struct Meanings {
    #[serde(skip)]
    all: bool,
    meanings: Vec<Meaning>,
}

/// The events of a client, and the meaning of the code with which it was closed.
#[derive(Debug, Serialize)]
struct Fate {
    client: ClientId,
    connected: bool,
    #[serde(flatten)]
    events: events::Shown,
    meanings: Vec<Meaning>,
}

impl Explain {
    pub(crate) async fn run(self, context: &Context) -> Result<u8, Failure> {
        if let Some(client) = self.asked.as_ref().and_then(|asked| asked.parse().ok()) {
            return fate(context, client).await;
        }
        let meanings = match &self.asked {
            Some(asked) => reference::explain(asked),
            None => reference::meanings(),
        };
        match &self.asked {
            Some(asked) if meanings.is_empty() => {
                Err(Failure::new(format!("{asked:?} is no code or cause of the suite"))
                    .next("`gwctl explain` lists all; other codes are those of the application"))
            }
            asked => context.output.show(&Meanings { all: asked.is_none(), meanings }),
        }
    }
}

async fn fate(context: &Context, client: ClientId) -> Result<u8, Failure> {
    let session = Session::open(&context.settings).await?;
    let filter = HistoryFilter { client: Some(client), ..HistoryFilter::default() };
    let events = events::Shown::of(session.partial().history(&filter).await?);
    let connected = session.partial().is_online(client).await.unwrap_or(false);
    if events.history.is_empty() && events.unanswered.is_empty() && !connected {
        return Err(Failure::new(format!("no gateway has events of client {client}"))
            .next("gateways keep the last ones (--event-ring), until they are restarted"));
    }
    let closed = events.history.iter().rev().find_map(events::closed);
    let meanings = closed.map_or_else(Vec::new, |(cause, code)| reference::of_close(&cause, code));
    context.output.show(&Fate { client, connected, events, meanings })
}

impl View for Fate {
    fn show(&self, page: &mut Page) {
        page.gaps(&self.events.unanswered);
        let state = if self.connected { "is connected" } else { "is not connected" };
        page.painted(Paint::Bold, format!("client {} {state}", self.client));
        page.table(&events::table(&self.events.history), "no events");
        for meaning in &self.meanings {
            page.line("");
            page.line(format!("{}: {}", meaning.cause, meaning.meaning));
            page.fields(&[("comes back", meaning.comes_back.clone())]);
        }
    }

    fn code(&self) -> u8 {
        code_of(&self.events.unanswered)
    }
}

impl View for Meanings {
    fn show(&self, page: &mut Page) {
        if self.all {
            let columns =
                [("CODE", Align::Left), ("CAUSE", Align::Left), ("COMES BACK", Align::Left)];
            let mut table = Table::new(&columns).wide(&[("MEANING", Align::Left)]);
            for meaning in &self.meanings {
                let Meaning { code, cause, comes_back, meaning, .. } = meaning;
                table.row([code, cause, comes_back, meaning].map(|text| text.as_str().into()));
            }
            page.table(&table, "none");
            return;
        }
        for (meaning, at) in self.meanings.iter().zip(0..) {
            if at != 0 {
                page.line("");
            }
            page.painted(Paint::Bold, format!("{} {}", meaning.code, meaning.cause));
            page.line(&meaning.meaning);
            page.fields(&[
                ("reason", meaning.reason.clone()),
                ("comes back", meaning.comes_back.clone()),
                ("see", meaning.document.to_owned()),
            ]);
        }
    }
}
