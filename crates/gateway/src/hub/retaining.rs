//! Retained messages: kept and read as commands and queries about them arrive.

use protocol::{Answer, Command, ConnectionId, Group, Message};
use runtime::clock;

use super::{Hub, retained::Former};
use crate::thread_messages::{EffectFor, LinkId, Ordinal, ToShard};

/// Messages removed at a time once they have expired: a millisecond of work.
const EXPIRED: usize = 2048;

impl Hub {
    /// Retains the message of a command, or replaces the message by the retained one. Returns the
    /// command for the shards, unless the shard of its client gets another message for it.
    pub(super) fn retain(
        &mut self,
        reported: Option<(LinkId, EffectFor)>,
        ordinal: Ordinal,
        command: Command,
    ) -> Option<Command> {
        match &command {
            Command::SendAndRetain { group, retention, message, .. } => {
                self.retained.retain(group, message, *retention, ordinal, clock::now());
                self.report_retained();
                Some(command)
            }
            Command::SendRetained { client, group, found, message } => {
                let now = clock::now();
                let former = self.retained.former(group, now);
                let is_later = |it: &Former| found.is_some_and(|found| it.supersedes(found, now));
                let later = former.filter(is_later);
                let (sent, message) = match (self.retained.get(group, now), later, found) {
                    (Some(entry), ..) => (entry.sent, entry.message.clone()),
                    // That one was sent since the other was found, or is the same one.
                    (None, Some(later), _) => (later.sent, message.clone()),
                    (None, None, None) => return Some(command),
                    (None, None, Some(retention)) => {
                        // Sent before it came to this gateway, so no member has received it here.
                        self.retained.retain(group, message, *retention, Ordinal(0), now);
                        self.report_retained();
                        return Some(command);
                    }
                };
                let client = *client;
                let Command::SendRetained { group, .. } = command else {
                    return None;
                };
                let shard = self.gateway.shard_of(client);
                let message = ToShard::SendRetained { reported, client, group, sent, message };
                self.outgoing[shard].push(message);
                None
            }
            _ => Some(command),
        }
    }

    /// Sends a client the retained message of a group, or `message` if there is none: its shard has
    /// held that back until the client was a member.
    pub(super) fn send_retained(&mut self, client: ConnectionId, group: Group, message: Message) {
        let (sent, message) = match self.retained.get(&group, clock::now()) {
            Some(entry) => (entry.sent, entry.message.clone()),
            None => (Ordinal(0), message),
        };
        let shard = self.gateway.shard_of(client);
        let message = ToShard::SendRetained { reported: None, client, group, sent, message };
        self.outgoing[shard].push(message);
        self.schedule_run();
    }

    /// The retained message of a group.
    pub(super) fn answer_retained(&self, group: &Group) -> Answer {
        Answer::Retained(self.retained.answer(group, clock::now()))
    }

    /// Removes messages that have expired. Called every few seconds; until then they only occupy
    /// memory.
    pub(super) fn remove_expired(&mut self) {
        if !self.retained.is_idle() {
            self.retained.remove_expired(clock::now(), EXPIRED);
            self.report_retained();
        }
    }

    fn report_retained(&mut self) {
        let metrics = &self.gateway.metrics;
        metrics.retained.set(self.retained.len() as i64);
        metrics.retained_bytes.set(self.retained.bytes() as i64);
        metrics.retained_dropped.inc_by(self.retained.take_dropped());
    }
}
