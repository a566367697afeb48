//! Occupancy and presence of watched groups on one shard: values.
//!
//! A group is watched if its name begins with a prefix that a linked worker watches; one of these
//! workers owns it. The shard reports the state of each watched group to its owner, and the owner
//! decides which members are announced. The members that were announced to the shard's clients are
//! the *view* of the group: whatever owners say, in whatever order, a change that the view has
//! already is not announced again.

mod members;
mod owners;
mod reports;
mod tombstones;
mod watched;

use std::{collections::HashMap, sync::Arc};

use protocol::{
    ConnectionId, Group, Member, MemberChange, MemberId, Message, PresenceAnswer, Snapshot,
};
use rustc_hash::FxHashMap;

pub(super) use self::members::{Joining, Welcomed};
use self::{
    owners::{Owner, Owners},
    tombstones::Tombstones,
    watched::Watched,
};
use crate::thread_messages::{LinkId, Watcher};

/// Maximum number of joins that wait for a view.
const WAITING: usize = 64 * 1024;

/// Maximum bytes of members and views without a memory budget.
const BYTES: usize = 256 * 1024 * 1024;

/// The watched groups of a shard.
#[derive(Debug)]
pub(super) struct Presence {
    // Group names are untrusted input, so their hash is keyed.
    groups: HashMap<Group, Box<Watched>>,
    /// The groups of which a client is a member, or waits to be one. A side table: clients of no
    /// such group cost nothing.
    of_clients: FxHashMap<ConnectionId, Vec<Group>>,
    owners: Owners,
    tombstones: Tombstones,
    /// The number of the last report.
    number: u64,
    totals: Totals,
    /// Maximum bytes of `totals`; beyond it, members are refused.
    limit: usize,
    pub(super) counts: Counts,
}

/// Sums over all groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    /// Approximate bytes of members and views.
    pub(super) bytes: usize,
    /// Members that have clients here.
    pub(super) members: usize,
    /// Joins that wait for a view.
    pub(super) waiting: usize,
}

/// Events that are not added to the metrics yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Reports to owners.
    pub(super) reports: u64,
    /// Commands of peers that do not own the group, or do not know the shard's state yet.
    pub(super) ignored: u64,
    /// Joins refused for want of memory.
    pub(super) refused: u64,
    /// Departures forgotten before an owner had settled them.
    pub(super) forgotten: u64,
}

/// The effect of joining as a member.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Joined {
    /// The client joins now, and receives this.
    Now(Message),
    /// It joins once the members are known.
    Waits,
    /// There are too many members, or too many joins wait.
    Refused,
}

impl Presence {
    /// `share` is the shard's part of the memory budget, in bytes.
    pub(super) fn new(share: Option<usize>) -> Self {
        Self {
            groups: HashMap::new(),
            of_clients: FxHashMap::default(),
            owners: Owners::default(),
            tombstones: Tombstones::default(),
            number: 0,
            totals: Totals::default(),
            limit: share.map_or(BYTES, |share| (share / 8).min(BYTES)),
            counts: Counts::default(),
        }
    }

    /// Whether no group is watched, nor has members.
    pub(super) fn is_idle(&self) -> bool {
        self.groups.is_empty() && self.owners.is_empty()
    }

    /// Whether the clients of uids are watched.
    pub(super) fn watches_uids(&self) -> bool {
        self.owners.watches_uids && !self.is_idle()
    }

    /// Number of groups with a state.
    pub(super) fn len(&self) -> usize {
        self.groups.len()
    }

    /// Sums over all groups.
    pub(super) fn totals(&self) -> Totals {
        self.totals
    }

    /// The workers that watch groups have changed. Returns whether groups may be watched that were
    /// not: each group with clients is to be [found](Self::found) then.
    pub(super) fn set_watchers(&mut self, watchers: Arc<[Watcher]>) -> bool {
        let is_wider = self.owners.set(watchers);
        // Each group gets its new owner in a later slice.
        self.owners.recheck = self.groups.keys().cloned().collect();
        self.owners.recheck.sort_unstable();
        is_wider
    }

    /// Determines the owners of the next `most` groups after a change of the watchers. Returns
    /// whether there are more.
    pub(super) fn recheck(&mut self, most: usize) -> bool {
        for _ in 0..most {
            let Some(group) = self.owners.recheck.pop() else { return false };
            if let Some(watched) = self.groups.get_mut(&group) {
                let owner = self.owners.of(&group);
                if watched.owner() != owner {
                    let link = |owner: Option<Owner>| owner.map(|owner| owner.link);
                    // While this waits, the former owner gets no report, so it waits once only.
                    if let Some(old) = link(watched.owner())
                        && link(owner) != Some(old)
                        && !watched.needs_full
                    {
                        self.owners.lose(old, &group);
                    }
                    let before = watched.members.totals();
                    watched.set_owner(owner);
                    self.totals = self.totals.changed(before, watched.members.totals());
                    self.owners.enqueue(&group, watched);
                }
            }
        }
        !self.owners.recheck.is_empty()
    }

    /// The group has clients.
    pub(super) fn found(&mut self, group: &Group) {
        if !self.groups.contains_key(group) && self.owners.of(group).is_some() {
            self.change(group, true, |_, _| {});
        }
    }

    /// A client was added to a group, as a member or not.
    pub(super) fn joined(&mut self, client: ConnectionId, group: &Group) {
        if self.groups.contains_key(group) || self.owners.of(group).is_some() {
            self.change(group, true, |watched, _| watched.members.joined(client));
        }
    }

    /// A client was removed from a group, which has `rest` clients now, or does not wait any more.
    /// Returns whether it was a member or waited.
    pub(super) fn left(&mut self, client: ConnectionId, group: &Group, rest: usize) -> bool {
        let left = self.change(group, false, |watched, tombstones| {
            let left = watched.members.left(client);
            if let Some(id) = &left
                && let Some(here) = watched.members.departed(id)
            {
                here.tombstone = tombstones.add(group, Some(id));
            }
            watched.emptied(group, rest, tombstones);
            left.is_some()
        });
        if left == Some(true) {
            self.unlist(client, group);
        }
        if rest == 0 {
            self.forget_if_empty(group);
        }
        self.bound_tombstones();
        left == Some(true)
    }

    /// Every client was removed from a group, and no join waits any more.
    pub(super) fn ungrouped(&mut self, group: &Group) {
        let clients = self.groups.get(group).map(|watched| watched.members.clients());
        for client in clients.into_iter().flatten() {
            self.left(client, group, 0);
        }
        // The last of them, if there were clients that are no members.
        self.change(group, false, |watched, tombstones| watched.emptied(group, 0, tombstones));
        self.forget_if_empty(group);
    }

    /// A client disconnected. `groups` are those that it was in.
    pub(super) fn disconnected<'a>(
        &mut self,
        client: ConnectionId,
        groups: impl Iterator<Item = &'a Group>,
        rest: impl Fn(&Group) -> usize,
    ) {
        for group in groups {
            if self.groups.contains_key(group) {
                self.left(client, group, rest(group));
            }
        }
        // Those that it waited for.
        for group in self.of_clients.remove(&client).unwrap_or_default() {
            self.left(client, &group, rest(&group));
        }
    }

    /// Whether a client waits to join a group, or is a member of it.
    pub(super) fn has(&self, client: ConnectionId, group: &Group) -> bool {
        self.groups.get(group).is_some_and(|watched| watched.members.has(client))
    }

    /// Number of groups that a client waits to join.
    pub(super) fn waiting_of(&self, client: ConnectionId) -> usize {
        let groups = self.of_clients.get(&client).into_iter().flatten();
        let waits = |group: &&Group| {
            self.groups.get(*group).is_some_and(|it| it.members.waits_outside(client))
        };
        groups.filter(waits).count()
    }

    /// A client joins a group as a member. If it is one already, it stays the same one.
    pub(super) fn join(&mut self, group: &Group, joining: Joining) -> Joined {
        let client = joining.client;
        let is_new = !self.has(client, group);
        let waits = self.groups.get(group).is_none_or(|watched| !watched.members.has_view());
        let weight = joining.weight();
        if is_new && self.limit < self.totals.bytes + weight
            || waits && WAITING <= self.totals.waiting
        {
            self.counts.refused += 1;
            return Joined::Refused;
        }
        if is_new {
            self.of_clients.entry(client).or_default().push(group.clone());
        }
        match self.change(group, true, |watched, _| watched.members.join(joining)) {
            Some(Some(message)) => Joined::Now(message),
            _ => Joined::Waits,
        }
    }

    /// Keeps a message that is sent instead of the retained one of the group, if there is none, until
    /// the client has its snapshot. Returns whether its join waits, and there is room.
    pub(super) fn keep_behind(
        &mut self,
        client: ConnectionId,
        group: &Group,
        message: &Message,
    ) -> bool {
        if !self.has(client, group) || self.limit < self.totals.bytes + message.body.len() {
            return false;
        }
        let keep = |watched: &mut Watched| watched.members.keep_behind(client, message);
        self.change(group, false, |watched, _| keep(watched)) == Some(true)
    }

    /// The next client whose join has waited. `None` if there is no more, or no view.
    pub(super) fn next_waiting(&mut self, group: &Group) -> Option<Welcomed> {
        self.change(group, false, |watched, _| watched.members.next_waiting()).flatten()
    }

    /// The message that shows a member the members of its group, and whether it is the same for
    /// every member of the view.
    pub(super) fn compose(
        &self,
        client: ConnectionId,
        group: &Group,
        snapshot: &Snapshot,
    ) -> Option<(Message, bool)> {
        self.groups.get(group)?.members.compose(client, snapshot)
    }

    /// Whether a member's own id is among those announced, so that the snapshot of another member
    /// is right for it.
    pub(super) fn is_announced(&self, client: ConnectionId, group: &Group) -> bool {
        self.groups.get(group).is_some_and(|watched| watched.members.is_announced(client))
    }

    /// The owner has received the full report of that number.
    pub(super) fn taken(&mut self, from: LinkId, group: &Group, number: u64) {
        if !self.groups.get_mut(group).is_some_and(|watched| watched.take(from, number)) {
            self.counts.ignored += 1;
        }
    }

    /// A part of the view that the shard has asked for. Returns whether joins that wait for it can
    /// be completed.
    pub(super) fn view(
        &mut self,
        from: LinkId,
        group: &Group,
        part: (bool, bool),
        members: Vec<Member>,
        clients: usize,
    ) -> bool {
        if !self.obeys(from, group) {
            return false;
        }
        if self.groups.get(group).is_some_and(|watched| watched.members.has_view()) {
            // One that was asked for twice. It costs no memory, so there may be no room for it.
            return false;
        }
        let room = self.limit.saturating_sub(self.totals.bytes);
        let fits = members.iter().map(Member::weight).sum::<usize>() <= room;
        if !fits {
            self.counts.refused += 1;
        }
        if !fits {
            // The joins that wait for it are refused.
            let waiting = self.change(group, false, |watched, _| {
                watched.drop_view();
                watched.members.waiting()
            });
            for client in waiting.into_iter().flatten() {
                self.left(client, group, clients);
            }
            return false;
        }
        let complete = self.change(group, false, |watched, _| {
            let is_complete = watched.members.add_view(part, members);
            if is_complete && clients == 0 && !watched.members.is_waiting() {
                watched.drop_view();
                return false;
            }
            is_complete
        });
        complete == Some(true)
    }

    /// The owner announces a change. Returns the clients of the member itself, which do not receive
    /// the message about it; `None` if the view does not change.
    pub(super) fn set_member(
        &mut self,
        from: LinkId,
        group: &Group,
        change: MemberChange,
    ) -> Option<Vec<ConnectionId>> {
        // Most shards have no client in the group.
        self.groups.get(group)?;
        if !self.obeys(from, group) {
            return None;
        }
        self.change(group, false, |watched, _| watched.members.set(change)).flatten()
    }

    /// The owner has dealt with the reports up to that number.
    pub(super) fn settled(&mut self, from: LinkId, group: &Group, number: u64) {
        if self.obeys(from, group) {
            self.notified(from, group, number);
            self.change(group, false, |watched, _| watched.settle(number));
            self.forget_if_empty(group);
        }
    }

    /// Whether the peer owns the group. A worker that takes itself for the owner here and is not
    /// learns nothing about departures: its decision could come behind one of the owner, to the
    /// contrary.
    pub(super) fn is_owner(&self, from: LinkId, group: &Group) -> bool {
        let is = |owner: Option<Owner>| owner.is_some_and(|owner| owner.link == from);
        // Its owner may not have been determined again since the watchers have changed.
        is(self.owners.of(group)) && self.groups.get(group).is_none_or(|it| is(it.owner()))
    }

    /// The owner's application was notified of what has come by the report of that number.
    pub(super) fn notified(&mut self, from: LinkId, group: &Group, number: u64) {
        if self.obeys(from, group)
            && let Some(watched) = self.groups.get_mut(group)
        {
            watched.notified(number);
        }
    }

    /// The clients of a group, of which `clients` are in it, and its members here, or those of them
    /// that are listed.
    pub(super) fn answer(
        &self,
        group: &Group,
        members: Option<&[MemberId]>,
        clients: usize,
    ) -> PresenceAnswer {
        match self.groups.get(group) {
            Some(watched) => PresenceAnswer {
                clients: (clients + watched.members.waiting_outside()) as u64,
                members: watched.members.local(members),
            },
            None => PresenceAnswer { clients: clients as u64, members: Vec::new() },
        }
    }

    /// Whether the peer owns the group and knows its state here.
    fn obeys(&mut self, from: LinkId, group: &Group) -> bool {
        let obeys = self.groups.get(group).is_some_and(|watched| watched.obeys(from));
        self.counts.ignored += u64::from(!obeys);
        obeys
    }

    /// Changes the state of a group and reports it. `None` if it has none, unless it gets one.
    fn change<T>(
        &mut self,
        group: &Group,
        creates: bool,
        change: impl FnOnce(&mut Watched, &mut Tombstones) -> T,
    ) -> Option<T> {
        if creates && !self.groups.contains_key(group) {
            let watched = Box::new(Watched::new(self.owners.of(group)));
            self.groups.insert(group.clone(), watched);
        }
        let watched = self.groups.get_mut(group)?;
        let before = watched.members.totals();
        let result = change(watched, &mut self.tombstones);
        let after = watched.members.totals();
        self.totals = self.totals.changed(before, after);
        self.owners.enqueue(group, watched);
        Some(result)
    }

    fn unlist(&mut self, client: ConnectionId, group: &Group) {
        if let Some(groups) = self.of_clients.get_mut(&client) {
            groups.retain(|listed| listed != group);
            if groups.is_empty() {
                self.of_clients.remove(&client);
            }
        }
    }

    /// Forgets the oldest departures beyond the bound.
    fn bound_tombstones(&mut self) {
        let excess = self.tombstones.excess(|(serial, group, member)| {
            let watched = self.groups.get(group);
            watched.is_some_and(|watched| watched.is_tombstone(*serial, member.as_ref()))
        });
        for (serial, group, member) in excess {
            self.counts.forgotten += 1;
            self.change(&group, false, |watched, _| watched.forget(serial, member.as_ref()));
            self.forget_if_empty(&group);
        }
    }

    fn forget_if_empty(&mut self, group: &Group) {
        if self.groups.get(group).is_some_and(|watched| watched.is_forgettable()) {
            self.remove(group);
        }
    }

    fn remove(&mut self, group: &Group) {
        if let Some(watched) = self.groups.remove(group) {
            // Such as a part of a view that nothing waits for any more.
            self.totals = self.totals.changed(watched.members.totals(), Totals::default());
        }
    }
}

impl Totals {
    /// These after one group has changed.
    fn changed(self, before: Self, after: Self) -> Self {
        Self {
            bytes: self.bytes + after.bytes - before.bytes,
            members: self.members + after.members - before.members,
            waiting: self.waiting + after.waiting - before.waiting,
        }
    }
}

#[cfg(test)]
mod tests;
