//! Commands of peers: passed to the shards that they are for, and their effects to the peers that request them.

use protocol::Command;
use runtime::clock;

use super::{Hub, scatter_gather::Origin};
use crate::thread_messages::{EffectFor, LinkId, Reported, ToShard};

impl Hub {
    /// Forwards a command to the shards, in the order of arrival over all links.
    pub(super) fn command(&mut self, from: LinkId, command: Command) {
        self.commands += 1;
        self.measured.arrived(clock::now);
        let ordinal = self.ordinal_of(&command);
        let Some(command) = self.retain(None, ordinal, command) else {
            return;
        };
        let Some((shard, others)) = self.concerned(&command) else {
            return;
        };
        for other in others {
            let command = command.clone();
            self.outgoing[other].push(ToShard::Command { from, ordinal, command });
        }
        self.outgoing[shard].push(ToShard::Command { from, ordinal, command });
    }

    /// The same with a request for its effect. Not deferred, as a query may be: commands take effect
    /// in the order of arrival. Its answer is a few bytes, and as many requests may be unanswered
    /// as queries.
    pub(super) fn reported_command(&mut self, from: LinkId, request: u64, command: Command) {
        self.commands += 1;
        self.measured.arrived(clock::now);
        let ordinal = self.ordinal_of(&command);
        let Some((shard, others)) = self.concerned(&command) else {
            return;
        };
        let effect_for = if others.is_empty() {
            if let Some(link) = self.links.get_mut(&from) {
                link.unanswered += 1;
            }
            EffectFor::Peer { request }
        } else {
            let shards = 1 + others.len();
            EffectFor::Hub(self.await_parts(from, shards, Origin::Effect { request }, 0))
        };
        let Some(command) = self.retain(Some((from, effect_for)), ordinal, command) else {
            return;
        };
        for other in others {
            let command = command.clone();
            let message = ToShard::ReportedCommand { effect_for, from, ordinal, command };
            self.outgoing[other].push(message);
        }
        self.outgoing[shard].push(ToShard::ReportedCommand { effect_for, from, ordinal, command });
    }

    /// The shards that a command is for: the one that it names or that has its client, or all. A
    /// message for many clients is not passed to other threads without connections, which would be
    /// woken for nothing. `None` if the gateway has no such shard.
    fn concerned(&self, command: &Command) -> Option<(usize, Vec<usize>)> {
        let only = match command {
            Command::PresenceTaken { shard, .. }
            | Command::PresenceView { shard, .. }
            | Command::PresenceSettled { shard, .. }
            | Command::PresenceNotified { shard, .. }
            | Command::StreamRead { shard, .. }
            | Command::ResetStream { shard, .. }
            | Command::Publish { shard: Some(shard), .. } => Some(usize::from(*shard)),
            _ => command.client().map(|client| self.gateway.shard_of(client)),
        };
        if let Some(shard) = only {
            return (shard < self.outgoing.len()).then(|| (shard, Vec::new()));
        }
        let loads = &self.gateway.shard_loads;
        let needs_clients = matches!(
            command,
            Command::SendToAll { .. }
                | Command::SendToUids { .. }
                | Command::SendToGroups { .. }
                | Command::SendExcept { .. }
                | Command::Publish { .. }
        );
        let is_concerned = |shard: &usize| !(needs_clients && loads.is_unused(*shard));
        Some((0, (1..self.outgoing.len()).filter(is_concerned).collect()))
    }

    /// Sends the effects of commands that each concerned one shard.
    pub(super) fn report_effects(&mut self, effects: &[Reported]) {
        for effects in effects.chunk_by(|one, next| one.link == next.link) {
            let to = effects[0].link;
            // The link may have ended.
            if let Some(link) = self.links.get_mut(&to) {
                link.unanswered -= effects.len();
                link.send_effects(effects);
                self.mark_dirty(to);
            }
        }
    }
}
