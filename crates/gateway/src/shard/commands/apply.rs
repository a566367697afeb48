//! The effect of each command from a peer. One arm for each.

#![deny(clippy::wildcard_enum_match_arm, clippy::match_wildcard_for_single_variants)]

use framing::Framed;
use protocol::{CloseFrame, Command, ConnectionId, Group, Message, Recipients, Target};
use runtime::clock;

use super::{targets::Targets, work::Work};
use crate::{
    closed::CloseCause,
    shard::{Shard, connections::Audience, slot::SlotKey},
    thread_messages::{LinkId, MOST_JOINED, Ordinal},
};

impl Shard {
    /// Applies one command. An unknown client is not an error: it may have disconnected while the
    /// command was in flight.
    pub(in crate::shard) fn apply(&mut self, from: LinkId, ordinal: Ordinal, command: Command) {
        match command {
            Command::SendToClient { to, message } => {
                if let Some(key) = self.key(to) {
                    self.send_one(key, message);
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
                let farewell = farewell.map(|farewell| self.framed(farewell));
                self.begin(Work::Close { targets, frame, farewell });
            }
            Command::Destroy { client } => {
                if let Some(key) = self.key(client) {
                    self.close(key, CloseCause::Destroyed);
                }
            }
            Command::BindUid { client, uid } => self.directory.bind(client, uid, ordinal),
            Command::UnbindUid { client } => self.directory.unbind(client),
            Command::JoinGroup { client, group } => self.join(client, group, ordinal),
            Command::LeaveGroup { client, group } => self.directory.leave(client, &group),
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
        }
    }

    fn key(&self, id: ConnectionId) -> Option<SlotKey> {
        self.directory.get(id).map(|client| client.handle)
    }

    /// Adds a client to a group, unless that would exceed `--max-groups-per-client`.
    pub(in crate::shard) fn join(&mut self, id: ConnectionId, group: Group, ordinal: Ordinal) {
        let is_full = self.settings.max_groups.is_some_and(|most| {
            let client = self.directory.get(id);
            client.is_some_and(|it| most <= it.group_count() && !it.is_in(&group))
        });
        if !is_full {
            return self.directory.join(id, group, ordinal);
        }
        self.gateway.metrics.joins_refused.inc();
        if let Some(suppressed) = self.warnings.groups.admit(clock::now()) {
            let client = self.client_id(id);
            tracing::warn!(%client, suppressed, "join ignored: the client is at the group limit");
        }
    }

    fn framed(&self, message: Message) -> Framed {
        Framed::new(message, self.settings.websocket_type.texts())
    }

    fn send_one(&mut self, key: SlotKey, message: Message) {
        let mut framed = self.framed(message);
        self.send(key, &mut framed, Audience::Few);
    }

    fn close_one(&mut self, id: ConnectionId, frame: CloseFrame, farewell: Option<Message>) {
        let Some(key) = self.key(id) else {
            return;
        };
        if let Some(farewell) = farewell {
            self.send_one(key, farewell);
        }
        self.close(key, CloseCause::ByWorker(frame));
    }

    fn send_all(&mut self, targets: Targets, message: Message) {
        let framed = self.framed(message);
        let audience = Audience::of(targets.len(&self.directory));
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
        let connection = &mut self.connections[key];
        match edit {
            1.. if connection.route == Some(from) => connection.edits = edit.max(connection.edits),
            _ => connection.context_sent = false,
        }
        self.update_standbys(key);
    }
}
