//! Members of groups on the gateway of a test, and the changes that an owner would decide.

use std::collections::{BTreeMap, BTreeSet};

use protocol::{
    ConnectionId, Effect, Group, LocalMember, Member, MemberChange, MemberId, Message,
    PresenceAnswer, Snapshot,
};
use push_suite_cluster::{Notice, NoticeKind};

use super::{TestCluster, gateway::Gateway};
use crate::Worker;

/// Members and occupancy of each group, as announced.
#[derive(Debug, Default)]
pub(super) struct Announced {
    groups: BTreeMap<Group, GroupState>,
    last_number: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct GroupState {
    clients: u64,
    members: BTreeMap<MemberId, Member>,
}

impl Gateway {
    /// Adds a client to a group as a member, and sends it the snapshot.
    pub(super) fn join_presence(
        &mut self,
        id: ConnectionId,
        group: &Group,
        member: Member,
        snapshot: &Snapshot,
    ) -> Effect {
        let effect = self.edit(id, |client| client.join_as(group.clone(), member));
        if effect.reached != 0 {
            let members = self.members_of(group).into_values();
            let members: Vec<_> = members.map(|local| local.member).collect();
            self.client(id).received.push(snapshot.compose(members.iter()));
        }
        effect
    }

    /// The members of a group, by id.
    fn members_of(&self, group: &Group) -> BTreeMap<MemberId, LocalMember> {
        let mut members = BTreeMap::<MemberId, LocalMember>::new();
        for member in self.open().filter_map(|(_, client)| client.members.get(group)) {
            let first = LocalMember { member: member.clone(), clients: 0 };
            members.entry(member.id().clone()).or_insert(first).clients += 1;
        }
        members
    }

    pub(super) fn presence(&self, group: &Group, of: Option<&[MemberId]>) -> PresenceAnswer {
        let clients = self.members(Some(group)).count() as u64;
        let members = self.members_of(group).into_values();
        let wanted = |local: &LocalMember| of.is_none_or(|ids| ids.contains(local.member.id()));
        PresenceAnswer { clients, members: members.filter(wanted).collect() }
    }

    fn group_state(&self, group: &Group) -> GroupState {
        let members = self.members_of(group).into_iter();
        GroupState {
            clients: self.members(Some(group)).count() as u64,
            members: members.map(|(id, local)| (id, local.member)).collect(),
        }
    }

    /// Sends the message of a change to the clients of a group that are another member.
    fn announce(&mut self, group: &Group, id: &MemberId, message: &Message) {
        let others: Vec<ConnectionId> = self
            .members(Some(group))
            .filter(|(_, client)| client.members.get(group).is_none_or(|own| own.id() != id))
            .map(|(connection, _)| connection)
            .collect();
        for connection in others {
            self.client(connection).received.push(message.clone());
        }
    }
}

impl TestCluster {
    /// Does what the owner of watched groups does, without a grace period: sends the messages of
    /// [`presence_message`](Worker::presence_message) about what has changed since the last call,
    /// and returns the notices, for [`on_presence`](Worker::on_presence).
    pub fn update_presence(&self, worker: &impl Worker) -> Vec<Notice> {
        let prefixes = worker.watched_groups();
        let is_watched = |group: &Group| {
            prefixes.iter().any(|prefix| group.as_bytes().starts_with(prefix.as_bytes()))
        };
        let mut announced = self.announced.lock();
        let Announced { groups, last_number } = &mut *announced;
        self.loopback.with_gateway(|gateway| {
            let present = gateway.groups().into_iter().filter(is_watched);
            let all: BTreeSet<Group> = present.chain(groups.keys().cloned()).collect();
            let mut notices = Vec::new();
            for group in all {
                let now = gateway.group_state(&group);
                let before = groups.remove(&group).unwrap_or_default();
                let mut kinds = Vec::new();
                if before.clients == 0 && now.clients != 0 {
                    kinds.push(NoticeKind::Occupied);
                }
                if before.clients != now.clients {
                    kinds.push(NoticeKind::Clients(now.clients));
                }
                let mut changes = Vec::new();
                for (id, member) in
                    now.members.iter().filter(|(id, _)| !before.members.contains_key(*id))
                {
                    changes.push((id.clone(), MemberChange::Added(Box::new(member.clone()))));
                    kinds.push(NoticeKind::MemberAdded(member.clone()));
                }
                for id in before.members.keys().filter(|id| !now.members.contains_key(*id)) {
                    changes.push((id.clone(), MemberChange::Removed(id.clone())));
                    kinds.push(NoticeKind::MemberRemoved(id.clone()));
                }
                for (id, change) in changes {
                    if let Some(message) = worker.presence_message(&group, &change) {
                        gateway.announce(&group, &id, &message);
                    }
                }
                if before.clients != 0 && now.clients == 0 {
                    kinds.push(NoticeKind::Vacated);
                }
                for kind in kinds {
                    *last_number += 1;
                    notices.push(Notice::new(group.clone(), *last_number, kind));
                }
                if now.clients != 0 {
                    groups.insert(group, now);
                }
            }
            notices
        })
    }
}

#[cfg(test)]
mod tests;
