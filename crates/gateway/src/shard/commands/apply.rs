//! The effect of each command from a peer. One arm for each.

#![deny(clippy::wildcard_enum_match_arm, clippy::match_wildcard_for_single_variants)]

use framing::Framed;
use protocol::{
    CloseFrame, Command, ConnectionId, Effect, Group, Message, Recipients, StreamName, Target,
    inspect::LifecycleKind,
};
use runtime::clock;

use super::{targets::Targets, work::Work};
use crate::{
    closed::CloseCause,
    shard::{
        Shard,
        connections::{Audience, Pushed},
        slot::SlotKey,
    },
    thread_messages::{EffectFor, LinkId, MOST_JOINED, Ordinal},
};

impl Shard {
    /// Applies one command. An unknown client is not an error: it may have disconnected while the
    /// command was in flight.
    pub(in crate::shard) fn apply(&mut self, from: LinkId, ordinal: Ordinal, command: Command) {
        self.commands.from = Some(from);
        match command {
            Command::SendRetained { client, group, message, .. }
                if self.presence.keep_behind(client, &group, &message) =>
            {
                self.commands.count(true);
            }
            // The hub retains no message of this group.
            Command::SendToClient { to, message }
            | Command::SendRetained { client: to, message, .. } => {
                if let Some(key) = self.key(to) {
                    let pushed = self.send_one(key, message);
                    self.commands.count_message(pushed);
                }
            }
            Command::SendToAll { to, message } => {
                let targets = match to {
                    Recipients::All => Targets::all_clients(ordinal),
                    Recipients::Except(exclude) => Targets::all_clients(ordinal).except(exclude),
                    Recipients::Only(clients) => Targets::clients(clients),
                };
                self.send_all(targets, message);
            }
            Command::SendToUids { uids, message } => {
                self.send_all(Targets::uids(uids, ordinal), message);
            }
            Command::SendToGroups { groups, exclude, message } => {
                self.send_all(Targets::groups(groups, ordinal).except(exclude), message);
            }
            Command::SendAndRetain { group, exclude, message, .. } => {
                let targets = Targets::groups(vec![group], ordinal);
                let targets = targets.except(exclude.clients).except_uids(exclude.uids);
                self.send_all(targets, message);
            }
            Command::SendExcept { to, exclude, message } => {
                let targets = match to {
                    Target::All => Targets::all_clients(ordinal),
                    Target::Uids(uids) => Targets::uids(uids, ordinal),
                    Target::Groups(groups) => Targets::groups(groups, ordinal),
                };
                let targets = targets.except(exclude.clients).except_uids(exclude.uids);
                self.send_all(targets, message);
            }
            Command::Close { client, farewell } => {
                self.close_one(client, CloseFrame::default(), farewell);
            }
            Command::CloseWith { client, frame, farewell } => {
                self.close_one(client, frame, farewell);
            }
            Command::CloseUid { uid, exclude, frame, farewell } => {
                let targets = Targets::uids(vec![uid], ordinal).except(exclude);
                let farewell = farewell.map(|farewell| self.framed(farewell, 1));
                self.begin(Work::Close { targets, frame, farewell });
            }
            Command::Destroy { client } => {
                if let Some(key) = self.key(client) {
                    self.close(key, CloseCause::Destroyed);
                    self.commands.count(true);
                }
            }
            Command::BindUid { client, uid } => {
                self.bind(client, uid, ordinal);
                self.count_known(client, true);
                self.accept_for_php(from, ordinal, client);
            }
            Command::UnbindUid { client } => {
                let had_one = self.unbind(client);
                self.count_known(client, had_one);
            }
            Command::JoinGroup { client, group } => {
                let joined = self.join(client, group, ordinal);
                self.count_known(client, joined);
            }
            Command::LeaveGroup { client, group } => {
                let was_member = self.leave(client, &group);
                self.count_known(client, was_member);
            }
            Command::CloseBinding { client, since, keep } => {
                self.close_binding(client, since, keep)
            }
            Command::JoinGroupByUid { uid, group } => {
                let targets = Targets::uids(vec![uid], ordinal);
                let ordinals = ordinal.0..ordinal.0 + MOST_JOINED;
                self.begin(Work::Join { targets, group, ordinals });
            }
            Command::LeaveGroupByUid { uid, group } => {
                let targets = Targets::uids(vec![uid], ordinal);
                self.begin(Work::Leave { targets, group });
            }
            Command::Ungroup { group } => {
                let members = self.directory.ungroup(&group);
                self.presence.ungrouped(&group);
                if !self.streams.all_are_members() {
                    self.streams.emptied(&StreamName::Group(group.clone()));
                }
                self.begin(Work::Ungroup { group, members });
            }
            Command::SetSession { client, edit, session } => {
                let key = self.directory.set_session(client, session);
                self.session_changed(from, key, edit);
            }
            Command::UpdateSession { client, edit, changes } => {
                let key = self.directory.update_session(client, &changes);
                self.session_changed(from, key, edit);
            }
            Command::AcceptHandshake { client, edit, grant } => {
                self.accept_undecided(from, ordinal, client, edit, &grant);
            }
            Command::RefuseHandshake { client, refusal } => {
                self.refuse_undecided(client, *refusal);
            }
            Command::JoinPresence { client, group, member, snapshot } => {
                self.join_presence(client, &group, ordinal, *member, *snapshot);
            }
            Command::SetMember { group, change, message } => {
                let own = self.presence.set_member(from, &group, change);
                if let Some((own, message)) = own.zip(message) {
                    self.send_all(Targets::groups(vec![group], ordinal).except(own), message);
                }
            }
            Command::PresenceView { shard, group, first, last, members } => {
                if shard == self.index {
                    self.presence_view(from, ordinal, group, (first, last), members);
                }
            }
            Command::PresenceTaken { shard, group, number } => {
                if shard == self.index {
                    self.presence.taken(from, &group, number);
                }
            }
            Command::PresenceSettled { shard, group, number } => {
                if shard == self.index {
                    self.presence.settled(from, &group, number);
                }
            }
            Command::SetExpiry { client, expires_at } => {
                let is_known = self.set_expiry(client, expires_at);
                self.count_known(client, is_known);
            }
            Command::PresenceNotified { shard, group, number } => {
                if shard == self.index {
                    self.presence.notified(from, &group, number);
                }
            }
            Command::Publish { stream, position, exclude, shard, message } => {
                self.publish(ordinal, stream, position, exclude, shard, message);
            }
            Command::StreamRead { shard, stream, known, top } => {
                if shard == self.index {
                    self.streams.answered(&stream, known, top);
                }
            }
            Command::ResetStream { shard, stream, after, to, message } => {
                if shard == self.index {
                    self.reset_stream(ordinal, stream, (after, to), message);
                }
            }
            Command::RemoveSessionKeys { client, edit, keys } => {
                let key = self.directory.remove_session_keys(client, &keys);
                self.session_changed(from, key, edit);
            }
        }
    }

    /// Applies one command, and answers with its effect once it has been applied to all clients.
    pub(in crate::shard) fn apply_reported(
        &mut self,
        effect_for: EffectFor,
        from: LinkId,
        ordinal: Ordinal,
        command: Command,
    ) {
        self.commands.effect = Effect::default();
        self.commands.reported = Some((from, effect_for));
        self.apply(from, ordinal, command);
        self.report_effect();
    }

    /// Sends a client the retained message of a group, unless it was a member when that was sent.
    pub(in crate::shard) fn send_retained(
        &mut self,
        reported: Option<(LinkId, EffectFor)>,
        client: ConnectionId,
        group: &Group,
        sent: Ordinal,
        message: Message,
    ) {
        self.commands.effect = Effect::default();
        self.commands.reported = reported;
        let found = self.directory.get(client).map(|client| {
            let has_it = client.joined_at(group).is_some_and(|since| since < sent);
            (client.handle, has_it)
        });
        match found {
            Some((_, true)) => self.commands.count(true),
            Some(_) if self.presence.keep_behind(client, group, &message) => {
                self.commands.count(true);
            }
            Some((key, false)) => {
                let pushed = self.send_one(key, message);
                self.commands.count_message(pushed);
            }
            None => {}
        }
        self.report_effect();
    }

    /// Counts a client that a command for one client applied to, if it is connected. A look-up that
    /// only reports need.
    pub(super) fn count_known(&mut self, id: ConnectionId, took_effect: bool) {
        if self.commands.reported.is_some() && self.directory.get(id).is_some() {
            self.commands.count(took_effect);
        }
    }

    pub(super) fn key(&self, id: ConnectionId) -> Option<SlotKey> {
        self.directory.get(id).map(|client| client.handle)
    }

    /// Adds a client to a group, unless that would exceed `--max-groups-per-client`. Returns whether
    /// it is a member now, if it is connected.
    pub(in crate::shard) fn join(
        &mut self,
        id: ConnectionId,
        group: Group,
        ordinal: Ordinal,
    ) -> bool {
        let is_full = self.settings.max_groups.is_some_and(|most| {
            let client = self.directory.get(id);
            client.is_some_and(|it| most <= it.group_count() && !it.is_in(&group))
        });
        if !is_full {
            if !self.presence.is_idle() {
                self.presence.joined(id, &group);
            }
            self.directory.join(id, group, ordinal);
            return true;
        }
        self.refuse_join(id, &group);
        false
    }

    /// Records that a client is at the limit of groups.
    pub(super) fn refuse_join(&mut self, id: ConnectionId, group: &Group) {
        let group = || group.clone();
        self.history.record(Some(id), || LifecycleKind::JoinRefused { group: group() });
        self.gateway.metrics.joins_refused.inc();
        if let Some(suppressed) = self.warnings.groups.admit(clock::now()) {
            let client = self.client_id(id);
            tracing::warn!(%client, suppressed, "join ignored: the client is at the group limit");
        }
    }

    /// Removes a client from a group. Returns whether it was in it, or waited to be.
    pub(super) fn leave(&mut self, id: ConnectionId, group: &Group) -> bool {
        let was_in = self.directory.leave(id, group);
        if !self.streams.all_are_members() {
            self.streams.left(id, &StreamName::Group(group.clone()));
        }
        if self.presence.is_idle() {
            return was_in;
        }
        let rest = self.directory.watched_count(group);
        self.presence.left(id, group, rest) || was_in
    }

    /// A message for so many clients.
    pub(super) fn framed(&self, message: Message, clients: usize) -> Framed {
        let framed = Framed::new(message, self.settings.websocket_type.texts());
        match &self.settings.compression {
            Some(compression) => framed.deflate_from(compression.threshold(clients)),
            None => framed,
        }
    }

    pub(super) fn send_one(&mut self, key: SlotKey, message: Message) -> Pushed {
        let mut framed = self.framed(message, 1);
        self.send(key, &mut framed, Audience::Few)
    }

    fn close_one(&mut self, id: ConnectionId, frame: CloseFrame, farewell: Option<Message>) {
        let Some(key) = self.key(id) else {
            return;
        };
        let pushed = farewell.map_or(Pushed::Queued, |farewell| self.send_one(key, farewell));
        self.close(key, CloseCause::ByWorker(frame));
        self.commands.count_message(pushed);
    }

    fn send_all(&mut self, targets: Targets, message: Message) {
        let clients = targets.len(&self.directory);
        let framed = self.framed(message, clients);
        let audience = Audience::of(clients);
        self.begin(Work::Send { targets, framed, audience });
    }

    /// Handles a changed session. The client's worker has the change already if it numbered the
    /// edit, and otherwise gets the session with the client's next event.
    pub(in crate::shard) fn session_changed(
        &mut self,
        from: LinkId,
        key: Option<SlotKey>,
        edit: u64,
    ) {
        let Some(key) = key else {
            return;
        };
        self.commands.count(true);
        let connection = &mut self.connections[key];
        match edit {
            1.. if connection.route == Some(from) => connection.edits = edit.max(connection.edits),
            _ => connection.context_sent = false,
        }
        self.update_standbys(key);
    }
}
