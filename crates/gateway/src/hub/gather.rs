//! Several shards' parts of an answer, put together.

use std::collections::HashSet;

use protocol::{Answer, Query};

use crate::exchange::{LinkId, Part};

/// A query, and what shards have said so far.
#[derive(Debug)]
pub(super) struct Gathering {
    pub(super) link: LinkId,
    pub(super) request: u64,
    query: Query,
    missing: usize,
    parts: Vec<Part>,
}

impl Gathering {
    /// Waits for the parts of `asked` shards.
    pub(super) fn new(link: LinkId, request: u64, query: Query, asked: usize) -> Self {
        Self { link, request, query, missing: asked, parts: Vec::with_capacity(asked) }
    }

    /// Takes one shard's part and says whether that was the last.
    pub(super) fn add(&mut self, part: Part) -> bool {
        self.parts.push(part);
        self.missing -= 1;
        self.missing == 0
    }

    pub(super) fn merge(self) -> Answer {
        merge(self.query, self.parts)
    }
}

/// Puts the parts together, in the order in which things came to be on the whole gateway.
fn merge(query: Query, parts: Vec<Part>) -> Answer {
    macro_rules! collect {
        ($part:ident) => {{
            let rows = parts.into_iter().filter_map(|part| match part {
                Part::$part(rows) => Some(rows),
                _ => None,
            });
            rows.flatten().collect::<Vec<_>>()
        }};
    }
    match query {
        Query::IsOnline { .. } => {
            Answer::Online(parts.iter().any(|part| *part == Part::Online(true)))
        }
        Query::Session { .. } => Answer::Session(collect!(Session).pop()),
        Query::Sessions { .. } => {
            let mut all = collect!(Sessions);
            all.sort_by_key(|(ordinal, _, _)| *ordinal);
            Answer::Sessions(all.into_iter().map(|(_, id, session)| (id, session)).collect())
        }
        Query::ClientsOfUids { uids } => {
            let mut clients = vec![Vec::new(); uids.len()];
            for part in parts {
                if let Part::Clients(lists) = part {
                    for (clients, list) in clients.iter_mut().zip(lists) {
                        clients.extend(list);
                    }
                }
            }
            for clients in &mut clients {
                clients.sort_unstable();
            }
            let clients =
                clients.into_iter().map(|clients| clients.into_iter().map(|(_, id)| id).collect());
            Answer::Clients(once(uids.into_iter().zip(clients)))
        }
        Query::Count { .. } => Answer::Count(collect!(Count).into_iter().sum()),
        Query::Counts { groups } => {
            let mut counts = vec![0; groups.len()];
            for part in parts {
                if let Part::Counts(list) = part {
                    for (count, more) in counts.iter_mut().zip(list) {
                        *count += more;
                    }
                }
            }
            Answer::Counts(once(groups.into_iter().zip(counts)))
        }
        Query::Groups => {
            let mut all = collect!(Groups);
            all.sort_by_key(|(since, _)| *since);
            let mut seen = HashSet::new();
            let groups = all.into_iter().map(|(_, group)| group);
            Answer::Groups(groups.filter(|group| seen.insert(group.clone())).collect())
        }
        Query::Select { .. } => {
            let mut all = collect!(Rows);
            all.sort_by_key(|(at, ordinal, _)| (*at, *ordinal));
            Answer::Rows(all.into_iter().map(|(_, _, row)| row).collect())
        }
    }
}

/// Each name once, where it was first asked for.
fn once<N: Clone + Eq + std::hash::Hash, T>(named: impl Iterator<Item = (N, T)>) -> Vec<(N, T)> {
    let mut seen = HashSet::new();
    named.filter(|(name, _)| seen.insert(name.clone())).collect()
}
