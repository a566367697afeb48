//! What each query brings: one shard's part of the answer. One arm for each.

#![deny(clippy::wildcard_enum_match_arm, clippy::match_wildcard_for_single_variants)]

use protocol::{ConnectionId, Fields, Filter, Query, Row};
use rustc_hash::FxHashSet;

use super::{
    Ordinal,
    directory::{Client, Directory},
};
use crate::exchange::Part;

/// Answers for the clients of one shard.
pub(super) fn answer<H: Copy>(directory: &Directory<H>, query: Query) -> Part {
    match query {
        Query::IsOnline { client } => Part::Online(directory.get(client).is_some()),
        Query::Session { client } => {
            Part::Session(directory.get(client).map(|client| client.session.clone()))
        }
        Query::Sessions { group } => {
            let sessions = |(ordinal, id, _)| {
                let session = directory.get(id)?.session.clone();
                Some((ordinal, id, session))
            };
            Part::Sessions(match &group {
                Some(group) => directory.members(group).filter_map(sessions).collect(),
                None => directory.everyone().filter_map(sessions).collect(),
            })
        }
        Query::ClientsOfUids { uids } => {
            let clients = uids
                .iter()
                .map(|uid| directory.bound(uid).map(|(ordinal, id, _)| (ordinal, id)).collect());
            Part::Clients(clients.collect())
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
        Query::Select { fields, filter } => Part::Rows(select(directory, fields, &filter)),
    }
}

/// The chosen clients, each once, with the position in the filter of what chose it first.
fn select<H: Copy>(
    directory: &Directory<H>,
    fields: Fields,
    filter: &Filter,
) -> Vec<(usize, Ordinal, Row)> {
    let mut seen = FxHashSet::default();
    let mut rows = Vec::new();
    let mut add = |at: usize, ordinal: Ordinal, id: ConnectionId| {
        if let Some(client) = directory.get(id)
            && seen.insert(id)
        {
            rows.push((at, ordinal, row(id, client, fields)));
        }
    };
    match filter {
        Filter::All => directory.everyone().for_each(|(ordinal, id, _)| add(0, ordinal, id)),
        Filter::Any { groups, uids, clients } => {
            for (at, group) in groups.iter().enumerate() {
                directory.members(group).for_each(|(ordinal, id, _)| add(at, ordinal, id));
            }
            for (at, uid) in (groups.len()..).zip(uids) {
                directory.bound(uid).for_each(|(ordinal, id, _)| add(at, ordinal, id));
            }
            for (at, id) in (groups.len() + uids.len()..).zip(clients) {
                add(at, Ordinal(0), *id);
            }
        }
    }
    rows
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
