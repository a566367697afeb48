//! `explain`: what a code means.

use serde::Serialize;

use super::Context;
use crate::{
    failure::Failure,
    output::{Align, Page, Paint, Table, View},
    reference::{self, Meaning},
};

/// Explains a code.
#[derive(Debug, clap::Args)]
pub(crate) struct Explain {
    /// A close code such as 1013, the code of a refused handshake such as `token_expired`, or part
    /// of a cause such as `ping timeout`; without it, all are listed
    #[arg(value_name = "CODE")]
    asked: Option<String>,
}

#[derive(Debug, Serialize)]
struct Meanings {
    #[serde(skip)]
    all: bool,
    meanings: Vec<Meaning>,
}

impl Explain {
    pub(crate) async fn run(self, context: &Context) -> Result<u8, Failure> {
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
