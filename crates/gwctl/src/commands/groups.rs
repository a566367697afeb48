//! `groups`: every group that has members.

use serde::Serialize;

use super::{Context, watch::Watch};
use crate::{
    failure::Failure,
    names::Name,
    output::{Align, Gap, Page, Paint, Table, View, code_of},
    session::Session,
};

/// Shows groups.
#[derive(Debug, clap::Args)]
pub(crate) struct Groups {
    #[command(flatten)]
    list: ListFlags,

    #[command(flatten)]
    watch: Watch,
}

/// The flags of a list of names.
#[derive(Debug, clap::Args)]
pub(crate) struct ListFlags {
    /// Only names that contain this text
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,

    /// Order of the list
    #[arg(long, value_enum, value_name = "ORDER", default_value = "clients")]
    sort: Order,

    /// Maximum number of rows; 0 is no limit
    #[arg(long, value_name = "N", default_value_t = 50)]
    #[arg(value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    limit: u32,
}

/// The order of a list of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Order {
    /// Most clients first
    Clients,
    /// By name
    Name,
}

/// A list of names, each with a number of clients.
#[derive(Debug, Serialize)]
pub(crate) struct Listed {
    #[serde(skip)]
    title: &'static str,
    /// The number of names, with those that are not listed.
    total: usize,
    /// The number of names that the filter accepts.
    matching: usize,
    names: Vec<Entry>,
    unanswered: Vec<Gap>,
}

#[derive(Debug, Serialize)]
struct Entry {
    name: Name,
    clients: u64,
}

impl Groups {
    pub(crate) async fn run(self, context: &Context) -> Result<u8, Failure> {
        let session = Session::open(&context.settings).await?;
        let look = async || {
            let counts = session.partial().counts_by_group().await?;
            let counts = counts.iter().map(|(group, count)| (Name::from(group), *count));
            Ok(self.list.list("GROUP", counts.collect(), session.gaps()))
        };
        self.watch.run(context, look).await
    }
}

impl ListFlags {
    /// Selects and orders names.
    pub(crate) fn list(
        &self,
        title: &'static str,
        mut all: Vec<(Name, u64)>,
        unanswered: Vec<Gap>,
    ) -> Listed {
        let total = all.len();
        all.retain(|(name, _)| self.accepts(name));
        let matching = all.len();
        match self.sort {
            Order::Name => all.sort(),
            Order::Clients => all.sort_by(|(name, count), (other, other_count)| {
                other_count.cmp(count).then_with(|| name.cmp(other))
            }),
        }
        if self.limit != 0 {
            all.truncate(self.limit as usize);
        }
        let names = all.into_iter().map(|(name, clients)| Entry { name, clients }).collect();
        Listed { title, total, matching, names, unanswered }
    }

    /// Whether a name is listed.
    pub(crate) fn accepts(&self, name: &Name) -> bool {
        self.filter.as_ref().is_none_or(|text| name.contains(text))
    }
}

impl View for Listed {
    fn show(&self, page: &mut Page) {
        page.gaps(&self.unanswered);
        let mut table = Table::new(&[(self.title, Align::Left), ("CLIENTS", Align::Right)]);
        for Entry { name, clients } in &self.names {
            table.row([name.plain().into(), clients.to_string().into()]);
        }
        page.table(&table, "none");
        if self.names.len() < self.matching {
            let (shown, matching) = (self.names.len(), self.matching);
            page.painted(Paint::Dim, format!("{shown} of {matching}; --limit 0 shows all"));
        }
    }

    fn code(&self) -> u8 {
        code_of(&self.unanswered)
    }
}
