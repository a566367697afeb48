//! What each query brings: one shard's part of the answer. One arm for each.

#![deny(clippy::wildcard_enum_match_arm, clippy::match_wildcard_for_single_variants)]

use std::collections::VecDeque;

use protocol::{ConnectionId, Fields, Filter, Query, Row, Session};
use rustc_hash::FxHashSet;

use super::{
    Ordinal,
    directory::{Client, Directory},
    targets::{Found, Targets},
};
use crate::exchange::Part;

/// What becomes of a query.
#[derive(Debug)]
pub(super) enum Answered {
    /// It is answered.
    Now(Part),
    /// It is about many clients, which are gone through a slice at a time.
    Slices(Enumeration),
}

/// Answers for the clients of one shard that connected before `until`.
pub(super) fn answer<H: Copy>(directory: &Directory<H>, query: Query, until: Ordinal) -> Answered {
    Answered::Now(match query {
        Query::IsOnline { client } => Part::Online(directory.get(client).is_some()),
        Query::Session { client } => {
            Part::Session(directory.get(client).map(|client| client.session.clone()))
        }
        Query::Count { group } => {
            let count = match &group {
                Some(group) => directory.member_count(group),
                None => directory.len(),
            };
            Part::Count([count as u64])
        }
        Query::Counts { groups } => {
            Part::Counts(groups.iter().map(|group| directory.member_count(group) as u64).collect())
        }
        Query::Groups => {
            Part::Groups(directory.groups().map(|(since, group)| (since, group.clone())).collect())
        }
        Query::Sessions { group } => {
            let targets = match group {
                Some(group) => Targets::groups(vec![group], Vec::new(), until),
                None => Targets::everyone(Vec::new(), until),
            };
            return Answered::Slices(Enumeration::new([targets], Facts::Sessions(Vec::new())));
        }
        Query::ClientsOfUids { uids } => {
            let facts = Facts::Clients(vec![Vec::new(); uids.len()]);
            return Answered::Slices(Enumeration::new([Targets::uids(uids, until)], facts));
        }
        Query::Select { fields, filter } => {
            let facts = Facts::Rows { fields, rows: Vec::new(), seen: FxHashSet::default() };
            return Answered::Slices(match filter {
                Filter::All => Enumeration::new([Targets::everyone(Vec::new(), until)], facts),
                Filter::Any { groups, uids, clients } => Enumeration::new(
                    [
                        Targets::groups(groups, Vec::new(), until),
                        Targets::uids(uids, until),
                        Targets::clients(clients),
                    ],
                    facts,
                ),
            });
        }
    })
}

/// A query about many clients that is under way.
#[derive(Debug)]
pub(super) struct Enumeration {
    /// The clients that are left, first those of the first list of names.
    targets: VecDeque<Targets>,
    /// How many names the lists before had.
    before: usize,
    facts: Facts,
}

/// What is known of the clients so far.
#[derive(Debug)]
enum Facts {
    Sessions(Vec<(Ordinal, ConnectionId, Session)>),
    /// By the position of the uid.
    Clients(Vec<Vec<(Ordinal, ConnectionId)>>),
    /// Each client once, with the position of the name that it was found by first.
    Rows {
        fields: Fields,
        rows: Vec<(usize, Ordinal, Row)>,
        seen: FxHashSet<ConnectionId>,
    },
}

impl Enumeration {
    fn new(targets: impl Into<VecDeque<Targets>>, facts: Facts) -> Self {
        Self { targets: targets.into(), before: 0, facts }
    }

    /// Looks at so many clients at the most, and says whether there may be more.
    pub(super) fn next<H: Copy>(&mut self, directory: &Directory<H>, most: usize) -> bool {
        let Some(targets) = self.targets.front_mut() else {
            return false;
        };
        let mut found = Vec::new();
        let more = targets.next(directory, most, &mut found);
        for found in found {
            if let Some(client) = directory.get(found.id) {
                self.facts.add(self.before, found, client);
            }
        }
        if !more && let Some(done) = self.targets.pop_front() {
            self.before += done.names();
        }
        !self.targets.is_empty()
    }

    /// What was found.
    pub(super) fn into_part(self) -> Part {
        match self.facts {
            Facts::Sessions(sessions) => Part::Sessions(sessions),
            Facts::Clients(clients) => Part::Clients(clients),
            Facts::Rows { rows, .. } => Part::Rows(rows),
        }
    }
}

impl Facts {
    fn add<H>(&mut self, before: usize, found: Found<H>, client: &Client<H>) {
        let Found { at, since, id, .. } = found;
        match self {
            Self::Sessions(sessions) => sessions.push((since, id, client.session.clone())),
            Self::Clients(clients) => clients[at].push((since, id)),
            Self::Rows { fields, rows, seen } => {
                if seen.insert(id) {
                    rows.push((before + at, since, row(id, client, *fields)));
                }
            }
        }
    }
}

fn row<H>(id: ConnectionId, client: &Client<H>, fields: Fields) -> Row {
    Row {
        client: id,
        uid: client.uid().filter(|_| fields.uid).cloned(),
        groups: client.groups().filter(|_| fields.groups).cloned().collect(),
        session: fields.session.then(|| client.session.clone()),
        joined: fields.groups && client.joined(),
    }
}
