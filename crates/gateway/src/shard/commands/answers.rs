//! One shard's part of the answer to each query. One arm for each.

#![deny(clippy::wildcard_enum_match_arm, clippy::match_wildcard_for_single_variants)]

use std::collections::{HashSet, VecDeque};

use protocol::{
    AccessToken, ConnectionId, Fields, Filter, Group, MemberId, Query, Revocation, Row, Session,
    Swap, Uid,
    inspect::{History, Inspect, Trace},
    streaming::{Hold, Release},
};
use rustc_hash::FxHashSet;

use super::targets::{Found, Targets};
use crate::{
    shard::indexes::{Client, Directory},
    thread_messages::{Ordinal, PartialAnswer},
};

/// Result of starting a query.
#[derive(Debug)]
pub(super) enum Answered {
    /// The answer.
    Now(PartialAnswer),
    /// A query about many clients, to be answered in slices.
    Slices(Enumeration),
    /// A query about a watched group.
    Presence { group: Group, members: Option<Vec<MemberId>> },
    /// A new token of a client.
    Renewal { client: ConnectionId, token: AccessToken },
    /// Tokens to be revoked.
    Revocation(Revocation),
    /// Messages of a stream are to be held back.
    Hold(Box<Hold>),
    /// They are to be held back no more.
    Release(Box<Release>),
    /// The status of the shard.
    Status,
    /// Lifecycle events.
    History(Box<History>),
    /// The details of clients that connected before this ordinal.
    Inspection(Box<Inspect>, Ordinal),
    /// A push to clients that connected before this ordinal.
    Trace(Box<Trace>, Ordinal),
}

/// Answers for the clients of one shard that connected before `until`. `is_only` is whether the
/// gateway has no other shards.
pub(super) fn answer<H: Copy>(
    directory: &mut Directory<H>,
    query: Query,
    in_php: bool,
    until: Ordinal,
    is_only: bool,
) -> Answered {
    Answered::Now(match query {
        Query::IsOnline { client } => PartialAnswer::Online(directory.get(client).is_some()),
        Query::Session { client } => {
            let is_connected = directory.get(client).is_some();
            PartialAnswer::Session(is_connected.then(|| session_of(directory, client, in_php)))
        }
        Query::Count { group } => {
            let count = match &group {
                Some(group) => directory.member_count(group),
                None => directory.len(),
            };
            PartialAnswer::Count([count as u64])
        }
        // The hub answers them.
        Query::Retained { .. }
        | Query::Drain
        | Query::LogFilter { .. }
        | Query::Settings
        | Query::Certificates => PartialAnswer::Barrier,
        Query::Trace(trace) => return Answered::Trace(trace, until),
        Query::Presence { group, members } => return Answered::Presence { group, members },
        Query::Counts { groups } => PartialAnswer::Counts(
            groups.iter().map(|group| directory.member_count(group) as u64).collect(),
        ),
        Query::Groups => PartialAnswer::Groups(
            directory.groups().map(|(since, group)| (since, group.clone())).collect(),
        ),
        Query::Online { clients } => PartialAnswer::Numbers(
            clients.iter().map(|client| directory.get(*client).is_some().into()).collect(),
        ),
        Query::CountsOfUids { uids } => PartialAnswer::Numbers(
            uids.iter().map(|uid| directory.bound_count(uid) as u64).collect(),
        ),
        Query::CountsOfAllGroups => {
            let count = |(since, group): (Ordinal, &Group)| {
                (since, group.clone(), directory.member_count(group) as u64)
            };
            PartialAnswer::GroupCounts(directory.groups().map(count).collect())
        }
        Query::UidCount { group: None } if is_only => {
            PartialAnswer::Numbers(vec![directory.uid_count() as u64])
        }
        Query::UidCount { group } | Query::Uids { group } => {
            let targets = match group {
                Some(group) => Targets::groups(vec![group], until),
                None => Targets::all_clients(until),
            };
            let results = Results::Uids { uids: Vec::new(), seen: HashSet::new() };
            return Answered::Slices(Enumeration::new([targets], results, in_php));
        }
        Query::SwapSession { client, expected, new, .. } => {
            PartialAnswer::Swap(swap(directory, client, &expected, new))
        }
        Query::Sessions { group } => {
            let targets = match group {
                Some(group) => Targets::groups(vec![group], until),
                None => Targets::all_clients(until),
            };
            return Answered::Slices(Enumeration::new(
                [targets],
                Results::Sessions(Vec::new()),
                in_php,
            ));
        }
        Query::ClientsOfUids { uids } => {
            let results = Results::Clients(vec![Vec::new(); uids.len()]);
            return Answered::Slices(Enumeration::new(
                [Targets::uids(uids, until)],
                results,
                in_php,
            ));
        }
        Query::RenewToken { client, token } => return Answered::Renewal { client, token },
        Query::Revoke(revocation) => return Answered::Revocation(revocation),
        Query::HoldStream(hold) => return Answered::Hold(hold),
        Query::ReleaseStream(release) => return Answered::Release(release),
        Query::Gateway => return Answered::Status,
        Query::History(history) => return Answered::History(history),
        Query::Inspect(inspect) => return Answered::Inspection(inspect, until),
        Query::Bindings { uid, .. } => {
            let results = Results::Clients(vec![Vec::new()]);
            let targets = [Targets::uids(vec![uid], until)];
            return Answered::Slices(Enumeration::new(targets, results, in_php));
        }
        Query::Select { fields, filter } => {
            let results = Results::Rows { fields, rows: Vec::new(), seen: FxHashSet::default() };
            return Answered::Slices(match filter {
                Filter::All => Enumeration::new([Targets::all_clients(until)], results, in_php),
                Filter::Any { groups, uids, clients } => Enumeration::new(
                    [
                        Targets::groups(groups, until),
                        Targets::uids(uids, until),
                        Targets::clients(clients),
                    ],
                    results,
                    in_php,
                ),
            });
        }
    })
}

/// Replaces a client's session if it equals the expected one.
fn swap<H: Copy>(
    directory: &mut Directory<H>,
    client: ConnectionId,
    expected: &Session,
    new: Session,
) -> Swap {
    if directory.get(client).is_none() {
        return Swap::Offline;
    }
    let present = directory.session(client);
    if !present.equals(expected) {
        return Swap::Other(present);
    }
    directory.set_session(client, new);
    Swap::Done
}

/// A query about many clients, in progress.
#[derive(Debug)]
pub(super) struct Enumeration {
    /// The remaining clients, those of the first list of names first.
    targets: VecDeque<Targets>,
    /// Number of names in the lists before.
    before: usize,
    results: Results,
    /// Whether sessions are returned in PHP's form.
    in_php: bool,
}

/// The results so far.
#[derive(Debug)]
enum Results {
    Sessions(Vec<(Ordinal, ConnectionId, Session)>),
    /// By position of the uid.
    Clients(Vec<Vec<(Ordinal, ConnectionId)>>),
    /// Each uid once, with the ordinal of its first client.
    Uids {
        uids: Vec<(Ordinal, Uid)>,
        // Uids are untrusted input, so their hash is keyed.
        seen: HashSet<Uid>,
    },
    /// Each client once, with the position of the name that matched it first.
    Rows {
        fields: Fields,
        rows: Vec<(usize, Ordinal, Row)>,
        seen: FxHashSet<ConnectionId>,
    },
}

impl Enumeration {
    fn new(targets: impl Into<VecDeque<Targets>>, results: Results, in_php: bool) -> Self {
        Self { targets: targets.into(), before: 0, results, in_php }
    }

    /// Processes up to `most` clients, fewer where sessions are large. Returns whether there may be
    /// more.
    pub(super) fn next<H: Copy>(&mut self, directory: &mut Directory<H>, most: usize) -> bool {
        let (mut visited, mut bytes) = (0, 0);
        let mut found = Vec::new();
        while visited < most
            && bytes < SESSION_BYTES_PER_SLICE
            && let Some(targets) = self.targets.front_mut()
        {
            let more = targets.next(directory, BATCH, &mut found);
            visited += BATCH;
            for found in found.drain(..) {
                bytes += self.results.add(self.before, found, directory, self.in_php);
            }
            if !more && let Some(done) = self.targets.pop_front() {
                self.before += done.names();
            }
        }
        !self.targets.is_empty()
    }

    /// The results.
    pub(super) fn into_part(self) -> PartialAnswer {
        match self.results {
            Results::Sessions(sessions) => PartialAnswer::Sessions(sessions),
            Results::Clients(clients) => PartialAnswer::Clients(clients),
            Results::Uids { uids, .. } => PartialAnswer::Uids(uids),
            Results::Rows { rows, .. } => PartialAnswer::Rows(rows),
        }
    }
}

impl Results {
    /// Adds a client. Returns the bytes of session data that were read.
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
            Self::Uids { uids, seen } => {
                let uid = directory.get(id).and_then(|client| client.uid());
                if let Some(uid) = uid.filter(|uid| !seen.contains(*uid)) {
                    seen.insert(uid.clone());
                    uids.push((since, uid.clone()));
                }
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

/// Clients processed before the session bytes are counted.
const BATCH: usize = 16;

/// Session bytes per slice: some sessions have to be converted first.
const SESSION_BYTES_PER_SLICE: usize = 128 * 1024;
