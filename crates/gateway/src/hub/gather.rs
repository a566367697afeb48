//! Several shards' parts of an answer, put together.

use std::collections::HashSet;

use bytes::Bytes;
use protocol::{
    Answer, Query,
    codec::gateway_worker::reply::{NoReply, Reply},
    link::ToPeer,
};

use crate::exchange::{LinkId, Part};

/// What a peer wants to know of all shards.
#[derive(Debug)]
pub(super) enum Asked {
    /// The answer to a native peer's query.
    Native { request: u64, query: Query },
    /// The answer to a PHP peer's query, and how it looks there.
    Php { reply: Reply, query: Query },
    /// That everything before this is done.
    Ping { token: u64 },
}

impl Asked {
    /// The query, if it is one, and whether it is a PHP peer's.
    pub(super) const fn query(&self) -> Option<(&Query, bool)> {
        match self {
            Self::Native { query, .. } => Some((query, false)),
            Self::Php { query, .. } => Some((query, true)),
            Self::Ping { .. } => None,
        }
    }
}

/// What a peer is told.
#[derive(Debug)]
pub(super) enum Told {
    Native(ToPeer),
    /// The bytes of a reply, which goes out in its turn.
    Php(Bytes),
    /// There is no reply, to what that asked for. An empty one would be taken for the answer.
    NoReply(&'static str, NoReply),
}

/// What a peer asked, and what shards have said so far.
#[derive(Debug)]
pub(super) struct Gathering {
    pub(super) link: LinkId,
    /// About how many bytes the answer has, at the most.
    pub(super) estimate: usize,
    asked: Asked,
    missing: usize,
    parts: Vec<Part>,
}

impl Gathering {
    /// Waits for the parts of so many shards.
    pub(super) fn new(link: LinkId, asked: Asked, estimate: usize, shards: usize) -> Self {
        Self { link, estimate, asked, missing: shards, parts: Vec::with_capacity(shards) }
    }

    /// Takes one shard's part and says whether that was the last.
    pub(super) fn add(&mut self, part: Part) -> bool {
        self.parts.push(part);
        self.missing -= 1;
        self.missing == 0
    }

    /// What the peer is told.
    pub(super) fn reply(self) -> Told {
        match self.asked {
            Asked::Native { request, query } => {
                Told::Native(ToPeer::Answer { request, answer: merge(query, self.parts) })
            }
            Asked::Php { reply, query } => match reply.encode(&merge(query, self.parts)) {
                Ok(bytes) => Told::Php(bytes),
                Err(error) => Told::NoReply(reply.asks_for(), error),
            },
            Asked::Ping { token } => Told::Native(ToPeer::Pong { token }),
        }
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
