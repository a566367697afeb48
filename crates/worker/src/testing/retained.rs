//! The last messages of groups on the gateway of a test.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use protocol::{ConnectionId, Effect, Group, Message, Retained, Retention};
use runtime::clock;

use super::gateway::Gateway;

/// The last message of each group that has one.
pub(super) type LastMessages = BTreeMap<Group, LastMessage>;

#[derive(Debug)]
pub(super) struct LastMessage {
    message: Message,
    retention: Retention,
    since: Instant,
    /// The members to which it was sent, or that were excluded, while they are members.
    members: BTreeSet<ConnectionId>,
}

impl Gateway {
    pub(super) fn retain(&mut self, group: &Group, message: Message, retention: Retention) {
        let members = self.members(Some(group)).map(|(id, _)| id).collect();
        let last = LastMessage { message, retention, since: clock::now(), members };
        self.last_messages.insert(group.clone(), last);
    }

    pub(super) fn retained(&self, group: &Group) -> Option<Retained> {
        let last = self.last_messages.get(group)?;
        let passed = clock::now().saturating_duration_since(last.since);
        let left = last.retention.left().checked_sub(passed).filter(|left| !left.is_zero())?;
        let retention = Retention::new(last.retention.age() + passed, left);
        Some(Retained { message: last.message.clone(), retention })
    }

    pub(super) fn send_retained(
        &mut self,
        to: ConnectionId,
        group: &Group,
        found: Option<Retention>,
        otherwise: Message,
    ) -> Effect {
        let Some(Retained { message, .. }) = self.retained(group) else {
            if let Some(retention) = found {
                self.retain(group, otherwise.clone(), retention);
                // It was sent before this gateway has retained it.
                self.last_messages.entry(group.clone()).and_modify(|last| last.members.clear());
            }
            return self.send(&otherwise, |id, _| usize::from(id == to));
        };
        match self.last_messages.get(group).is_some_and(|last| last.members.contains(&to)) {
            true => self.edit(to, |_| {}),
            false => self.send(&message, |id, _| usize::from(id == to)),
        }
    }

    /// Clients that have left a group since its last message have not received it as its members.
    pub(super) fn note_departures(&mut self) {
        let mut last_messages = std::mem::take(&mut self.last_messages);
        for (group, last) in &mut last_messages {
            let here: BTreeSet<_> = self.members(Some(group)).map(|(id, _)| id).collect();
            last.members.retain(|id| here.contains(id));
        }
        self.last_messages = last_messages;
    }
}
