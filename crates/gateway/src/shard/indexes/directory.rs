//! Index of a shard's clients by connection id, uid and group.

use std::collections::HashMap;

use protocol::{ConnectionId, Group, Session, SessionError, Uid, watched_uid};
use rustc_hash::FxHashMap;

use super::{memberships::Memberships, roster::Roster, stored_session::StoredSession};
use crate::thread_messages::{Content, Ordinal};

/// The record of one client.
#[derive(Debug)]
pub(in crate::shard) struct Client<H> {
    /// Its connection.
    pub(in crate::shard) handle: H,
    /// When it connected.
    pub(super) since: Ordinal,
    session: StoredSession,
    uid: Option<(Uid, Ordinal)>,
    groups: Memberships,
    joined: bool,
}

impl<H> Client<H> {
    /// When it connected.
    pub(in crate::shard) fn since(&self) -> Ordinal {
        self.since
    }

    /// Whether its session is not empty, or may not be after pending updates.
    pub(in crate::shard) fn has_session(&self) -> bool {
        !self.session.is_empty()
    }

    /// Bytes of its session and of its pending updates.
    pub(in crate::shard) fn session_len(&self) -> usize {
        self.session.len()
    }

    /// The uid that it is bound to.
    pub(in crate::shard) fn uid(&self) -> Option<&Uid> {
        self.uid.as_ref().map(|(uid, _)| uid)
    }

    /// Since when it is bound to that.
    pub(in crate::shard) fn bound_since(&self) -> Option<Ordinal> {
        self.uid.as_ref().map(|(_, since)| *since)
    }

    /// Its groups, in order of joining.
    pub(in crate::shard) fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter().map(|(group, _)| group)
    }

    /// Whether it was ever in a group.
    pub(in crate::shard) fn joined(&self) -> bool {
        self.joined
    }

    /// Whether it is in this group.
    pub(in crate::shard) fn is_in(&self, group: &Group) -> bool {
        self.groups.contains(group)
    }

    /// When it joined this group; `None` if it is not a member.
    pub(in crate::shard) fn joined_at(&self, group: &Group) -> Option<Ordinal> {
        self.groups.since(group)
    }

    /// Number of its groups.
    pub(in crate::shard) fn group_count(&self) -> usize {
        self.groups.len()
    }
}

/// Every client, by connection id, uid and group; each in order of insertion.
///
/// Invariant: `all`, `uids` and `groups` contain only clients in `clients`, agree with the records
/// there, and contain no empty roster.
#[derive(Debug)]
pub(in crate::shard) struct Directory<H> {
    // Connection ids are generated here, so a fast hash is safe; uids and group names are untrusted
    // input.
    clients: FxHashMap<ConnectionId, Client<H>>,
    all: Roster<H>,
    uids: HashMap<Uid, Named<H>>,
    groups: HashMap<Group, Named<H>>,
    content: Content,
    /// The error of the last rejected session update, until it is taken.
    refused: Option<(ConnectionId, SessionError)>,
}

/// The clients of a uid or the members of a group, and since when there have been any.
#[derive(Debug)]
struct Named<H> {
    since: Ordinal,
    roster: Roster<H>,
}

impl<H: Copy> Directory<H> {
    pub(in crate::shard) fn new() -> Self {
        Self {
            clients: FxHashMap::default(),
            all: Roster::new(),
            uids: HashMap::new(),
            groups: HashMap::new(),
            content: Content::default(),
            refused: None,
        }
    }

    /// Adds a client without uid, groups and session. The id must not be in use.
    pub(in crate::shard) fn insert(&mut self, id: ConnectionId, since: Ordinal, handle: H) {
        let client = Client {
            handle,
            since,
            session: StoredSession::default(),
            uid: None,
            groups: Memberships::default(),
            joined: false,
        };
        self.clients.insert(id, client);
        self.content.clients += 1;
        self.all.add(since, id, handle);
    }

    /// Removes a client and returns its record.
    pub(in crate::shard) fn remove(&mut self, id: ConnectionId) -> Option<Client<H>> {
        let client = self.clients.remove(&id)?;
        self.all.remove(client.since);
        self.content.clients -= 1;
        self.content.sessions -= client.session.len();
        if let Some((uid, since)) = &client.uid {
            self.content.uids -= uid.as_bytes().len();
            drop_from(&mut self.uids, uid.as_bytes(), *since);
        }
        for (group, since) in client.groups.iter() {
            self.content.memberships -= group.as_bytes().len();
            drop_from(&mut self.groups, group.as_bytes(), since);
        }
        Some(client)
    }

    /// Binds a client to a uid, replacing an earlier one. Binding the same uid again moves the
    /// client behind the uid's other clients, like any other binding.
    pub(in crate::shard) fn bind(&mut self, id: ConnectionId, uid: Uid, since: Ordinal) {
        self.unbind(id);
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        let named = self.uids.entry(uid.clone()).or_insert_with(|| Named::since(since));
        named.roster.add(since, id, client.handle);
        self.content.uids += uid.as_bytes().len();
        client.uid = Some((uid, since));
    }

    /// Removes the uid of a client. Returns whether it had one.
    pub(in crate::shard) fn unbind(&mut self, id: ConnectionId) -> bool {
        let bound = self.clients.get_mut(&id).and_then(|client| client.uid.take());
        let Some((uid, since)) = bound else {
            return false;
        };
        self.content.uids -= uid.as_bytes().len();
        drop_from(&mut self.uids, uid.as_bytes(), since);
        true
    }

    /// Adds a client to a group, unless it is in it already.
    pub(in crate::shard) fn join(&mut self, id: ConnectionId, group: Group, since: Ordinal) {
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        if client.groups.contains(&group) {
            return;
        }
        let named = self.groups.entry(group.clone()).or_insert_with(|| Named::since(since));
        named.roster.add(since, id, client.handle);
        self.content.memberships += group.as_bytes().len();
        client.groups.add(group, since);
        client.joined = true;
    }

    /// Removes a client from a group. Returns whether it was a member.
    pub(in crate::shard) fn leave(&mut self, id: ConnectionId, group: &Group) -> bool {
        let client = self.clients.get_mut(&id);
        let Some(since) = client.and_then(|client| client.groups.remove(group)) else {
            return false;
        };
        self.content.memberships -= group.as_bytes().len();
        drop_from(&mut self.groups, group.as_bytes(), since);
        true
    }

    /// Removes a group, and returns its members, which have to be [removed from it](Self::take_out)
    /// before any client joins another group of that name.
    pub(in crate::shard) fn ungroup(&mut self, group: &Group) -> Vec<ConnectionId> {
        let members = self.groups.remove(group).map(|named| named.roster);
        members.iter().flat_map(Roster::iter).map(|(_, id, _)| id).collect()
    }

    /// Removes clients from a group that was removed.
    pub(in crate::shard) fn take_out(&mut self, group: &Group, members: &[ConnectionId]) {
        for id in members {
            if let Some(client) = self.clients.get_mut(id)
                && client.groups.remove(group).is_some()
            {
                self.content.memberships -= group.as_bytes().len();
            }
        }
    }

    pub(in crate::shard) fn len(&self) -> usize {
        self.all.len()
    }

    pub(in crate::shard) fn get(&self, id: ConnectionId) -> Option<&Client<H>> {
        self.clients.get(&id)
    }

    /// A client's session; empty for an unknown client.
    pub(in crate::shard) fn session(&mut self, id: ConnectionId) -> Session {
        self.with_session(id, |stored| {
            let (session, applied) = stored.read();
            (session.clone(), applied)
        })
        .unwrap_or_default()
    }

    /// Replaces a client's session. Returns its connection.
    pub(in crate::shard) fn set_session(
        &mut self,
        id: ConnectionId,
        session: Session,
    ) -> Option<H> {
        self.with_session(id, |stored| (stored.set(session), Ok(())))?;
        self.get(id).map(|client| client.handle)
    }

    /// Updates part of a client's session. Returns its connection.
    pub(in crate::shard) fn update_session(
        &mut self,
        id: ConnectionId,
        update: &Session,
    ) -> Option<H> {
        self.with_session(id, |stored| ((), stored.update(update)))?;
        self.get(id).map(|client| client.handle)
    }

    /// Removes keys of a client's session. Returns its connection.
    pub(in crate::shard) fn remove_session_keys(
        &mut self,
        id: ConnectionId,
        keys: &[String],
    ) -> Option<H> {
        self.with_session(id, |stored| ((), stored.remove(keys)))?;
        self.get(id).map(|client| client.handle)
    }

    fn with_session<T>(
        &mut self,
        id: ConnectionId,
        with: impl FnOnce(&mut StoredSession) -> (T, Result<(), SessionError>),
    ) -> Option<T> {
        let client = self.clients.get_mut(&id)?;
        let before = client.session.len();
        let (result, applied) = with(&mut client.session);
        let after = client.session.len();
        self.content.sessions = self.content.sessions + after - before;
        self.content.largest_session = self.content.largest_session.max(after);
        if let Err(error) = applied {
            self.refused = Some((id, error));
        }
        Some(result)
    }

    /// The last session update that was rejected since the last call.
    pub(in crate::shard) fn take_refused(&mut self) -> Option<(ConnectionId, SessionError)> {
        self.refused.take()
    }

    /// Size of the data that peers can query.
    pub(in crate::shard) fn content(&self) -> &Content {
        &self.content
    }

    /// The clients that connected after `after`.
    pub(in crate::shard) fn clients_after(
        &self,
        after: Ordinal,
    ) -> impl Iterator<Item = (Ordinal, ConnectionId, H)> + '_ {
        self.all.after(after)
    }

    /// The clients bound to a uid after `after`, in that order.
    pub(in crate::shard) fn bound_after(
        &self,
        uid: &Uid,
        after: Ordinal,
    ) -> impl Iterator<Item = (Ordinal, ConnectionId, H)> + '_ {
        self.uids.get(uid).into_iter().flat_map(move |named| named.roster.after(after))
    }

    /// Number of clients bound to a uid.
    pub(in crate::shard) fn bound_count(&self, uid: &Uid) -> usize {
        self.uids.get(uid).map_or(0, |named| named.roster.len())
    }

    /// Number of different uids.
    pub(in crate::shard) fn uid_count(&self) -> usize {
        self.uids.len()
    }

    /// Number of groups with members.
    pub(in crate::shard) fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// The different uids and the groups with members, unordered.
    pub(in crate::shard) fn names(
        &self,
    ) -> (impl Iterator<Item = &Uid>, impl Iterator<Item = &Group>) {
        (self.uids.keys(), self.groups.keys())
    }

    /// A group's members that joined after `after`, in that order.
    pub(in crate::shard) fn members_after(
        &self,
        group: &Group,
        after: Ordinal,
    ) -> impl Iterator<Item = (Ordinal, ConnectionId, H)> + '_ {
        self.groups.get(group).into_iter().flat_map(move |named| named.roster.after(after))
    }

    pub(in crate::shard) fn member_count(&self, group: &Group) -> usize {
        self.groups.get(group).map_or(0, |named| named.roster.len())
    }

    /// Number of the clients of a watched group, which may be that of a uid.
    pub(in crate::shard) fn watched_count(&self, group: &Group) -> usize {
        match watched_uid::uid_of(group) {
            Some(uid) => self.bound_count(&uid),
            None => self.member_count(group),
        }
    }

    /// Every uid, unordered.
    pub(in crate::shard) fn uids(&self) -> impl Iterator<Item = &Uid> {
        self.uids.keys()
    }

    /// Every group, and since when it has had members, unordered.
    pub(in crate::shard) fn groups(&self) -> impl Iterator<Item = (Ordinal, &Group)> {
        self.groups.iter().map(|(group, named)| (named.since, group))
    }
}

impl<H: Copy> Named<H> {
    fn since(since: Ordinal) -> Self {
        Self { since, roster: Roster::new() }
    }
}

fn drop_from<K, H>(named: &mut HashMap<K, Named<H>>, name: &[u8], since: Ordinal)
where
    K: std::borrow::Borrow<[u8]> + Eq + std::hash::Hash,
    H: Copy,
{
    let Some(entry) = named.get_mut(name) else {
        return;
    };
    entry.roster.remove(since);
    if entry.roster.is_empty() {
        named.remove(name);
    }
}

#[cfg(test)]
mod tests;
