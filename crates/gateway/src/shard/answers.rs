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
pub(super) fn answer<H: Copy>(
    directory: &mut Directory<H>,
    query: Query,
    in_php: bool,
    until: Ordinal,
) -> Answered {
    Answered::Now(match query {
        Query::IsOnline { client } => Part::Online(directory.get(client).is_some()),
        Query::Session { client } => {
            let is_there = directory.get(client).is_some();
            Part::Session(is_there.then(|| session_of(directory, client, in_php)))
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
            return Answered::Slices(Enumeration::new(
                [targets],
                Facts::Sessions(Vec::new()),
                in_php,
            ));
        }
        Query::ClientsOfUids { uids } => {
            let facts = Facts::Clients(vec![Vec::new(); uids.len()]);
            return Answered::Slices(Enumeration::new([Targets::uids(uids, until)], facts, in_php));
        }
        Query::Select { fields, filter } => {
            let facts = Facts::Rows { fields, rows: Vec::new(), seen: FxHashSet::default() };
            return Answered::Slices(match filter {
                Filter::All => {
                    Enumeration::new([Targets::everyone(Vec::new(), until)], facts, in_php)
                }
                Filter::Any { groups, uids, clients } => Enumeration::new(
                    [
                        Targets::groups(groups, Vec::new(), until),
                        Targets::uids(uids, until),
                        Targets::clients(clients),
                    ],
                    facts,
                    in_php,
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
    /// Whether sessions are to be in PHP's form.
    in_php: bool,
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
    fn new(targets: impl Into<VecDeque<Targets>>, facts: Facts, in_php: bool) -> Self {
        Self { targets: targets.into(), before: 0, facts, in_php }
    }

    /// Looks at so many clients at the most, fewer where sessions are large, and says whether there may
    /// be more.
    pub(super) fn next<H: Copy>(&mut self, directory: &mut Directory<H>, most: usize) -> bool {
        let (mut looked_at, mut bytes) = (0, 0);
        let mut found = Vec::new();
        while looked_at < most
            && bytes < SESSIONS
            && let Some(targets) = self.targets.front_mut()
        {
            let more = targets.next(directory, FEW, &mut found);
            looked_at += FEW;
            for found in found.drain(..) {
                bytes += self.facts.add(self.before, found, directory, self.in_php);
            }
            if !more && let Some(done) = self.targets.pop_front() {
                self.before += done.names();
            }
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
    /// Adds a client, and says how many bytes of its session had to be looked at.
    fn add<H: Copy>(
        &mut self,
        before: usize,
        found: Found<H>,
        directory: &mut Directory<H>,
        in_php: bool,
    ) -> usize {
        let Found { at, since, id, .. } = found;
        match self {
            Self::Sessions(sessions) => {
                let session = session_of(directory, id, in_php);
                let bytes = session.as_encoded().len();
                sessions.push((since, id, session));
                bytes
            }
            Self::Clients(clients) => {
                clients[at].push((since, id));
                0
            }
            Self::Rows { fields, rows, seen } => {
                if !seen.insert(id) {
                    return 0;
                }
                let session = fields.session.then(|| session_of(directory, id, in_php));
                let bytes = session.as_ref().map_or(0, |session| session.as_encoded().len());
                let row = directory.get(id).map(|client| row(id, client, *fields, session));
                rows.extend(row.map(|row| (before + at, since, row)));
                bytes
            }
        }
    }
}

fn session_of<H: Copy>(directory: &mut Directory<H>, id: ConnectionId, in_php: bool) -> Session {
    let session = directory.session(id);
    if in_php { session.in_php_form() } else { session }
}

fn row<H>(id: ConnectionId, client: &Client<H>, fields: Fields, session: Option<Session>) -> Row {
    Row {
        client: id,
        uid: client.uid().filter(|_| fields.uid).cloned(),
        groups: client.groups().filter(|_| fields.groups).cloned().collect(),
        session,
        joined: fields.groups && client.joined(),
    }
}

/// How many clients are looked at before the bytes of their sessions are counted.
const FEW: usize = 16;

/// How many bytes of sessions are passed on in one slice: some have to be brought into another form first.
const SESSIONS: usize = 128 * 1024;
