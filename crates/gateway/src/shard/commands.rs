//! What each command from a peer does. One arm for each.

#![deny(clippy::wildcard_enum_match_arm, clippy::match_wildcard_for_single_variants)]

use protocol::{Command, ConnectionId, Message, Recipients, Session};
use rustc_hash::FxHashSet;

use super::{Ordinal, Shard, connection::Key, fan_out::Audience};
use crate::{closed::Closed, exchange::LinkId, framing::Framed};

impl Shard {
    /// Carries out one command. A client that is not there is not an error: it may have left while
    /// the command was on its way.
    pub(super) fn apply(&mut self, from: LinkId, ordinal: Ordinal, command: Command) {
        match command {
            Command::SendToClient { to, message } => {
                if let Some(key) = self.key(to) {
                    self.send_one(key, &message);
                }
            }
            Command::SendToAll { to: Recipients::Only(clients), message } => {
                let keys: Vec<_> = clients.into_iter().filter_map(|id| self.key(id)).collect();
                self.send_all(keys, &message);
            }
            Command::SendToAll { to: Recipients::All, message } => {
                let keys = self.directory.everyone().map(|(_, _, key)| key).collect();
                self.send_all(keys, &message);
            }
            Command::SendToAll { to: Recipients::Except(exclude), message } => {
                let exclude: FxHashSet<_> = exclude.into_iter().collect();
                let keys = self.directory.everyone().filter(|(_, id, _)| !exclude.contains(id));
                let keys = keys.map(|(_, _, key)| key).collect();
                self.send_all(keys, &message);
            }
            Command::SendToUids { uids, message } => {
                let keys = uids.iter().flat_map(|uid| self.directory.bound(uid));
                let keys = keys.map(|(_, _, key)| key).collect();
                self.send_all(keys, &message);
            }
            Command::SendToGroups { groups, exclude, message } => {
                let exclude: FxHashSet<_> = exclude.into_iter().collect();
                let members = groups.iter().flat_map(|group| self.directory.members(group));
                let keys = members.filter(|(_, id, _)| !exclude.contains(id));
                let keys = keys.map(|(_, _, key)| key).collect();
                self.send_all(keys, &message);
            }
            Command::Close { client, farewell } => {
                if let Some(key) = self.key(client) {
                    if let Some(farewell) = farewell {
                        self.send_one(key, &farewell);
                    }
                    self.end(key, Closed::ByWorker);
                }
            }
            Command::Destroy { client } => {
                if let Some(key) = self.key(client) {
                    self.end(key, Closed::Destroyed);
                }
            }
            Command::BindUid { client, uid } => self.directory.bind(client, uid, ordinal),
            Command::UnbindUid { client } => self.directory.unbind(client),
            Command::JoinGroup { client, group } => self.directory.join(client, group, ordinal),
            Command::LeaveGroup { client, group } => self.directory.leave(client, &group),
            Command::Ungroup { group } => self.directory.ungroup(&group),
            Command::SetSession { client, edit, session } => {
                self.change_session(from, client, edit, |old| *old = session);
            }
            Command::UpdateSession { client, edit, changes } => {
                let name = self.client_id(client);
                self.change_session(from, client, edit, |old| {
                    if let Err(error) = old.merge(&changes) {
                        tracing::warn!(client = %name, %error, "session left as it was");
                    }
                });
            }
        }
    }

    fn key(&self, id: ConnectionId) -> Option<Key> {
        self.directory.get(id).map(|client| client.handle)
    }

    fn send_one(&mut self, key: Key, message: &Message) {
        let mut framed = Framed::new(message, self.settings.websocket_type.texts());
        self.send(key, &mut framed, Audience::Few);
    }

    /// Sends one message to many: it is framed once for each framing, and shared.
    fn send_all(&mut self, keys: Vec<Key>, message: &Message) {
        let mut framed = Framed::new(message, self.settings.websocket_type.texts());
        let audience = Audience::of(keys.len());
        for key in keys {
            self.send(key, &mut framed, audience);
        }
    }

    /// Changes a client's session. Its worker knows of the change if it has numbered it itself, and
    /// else learns of it with the client's next event.
    fn change_session(
        &mut self,
        from: LinkId,
        id: ConnectionId,
        edit: u64,
        change: impl FnOnce(&mut Session),
    ) {
        let Some(client) = self.directory.get_mut(id) else {
            return;
        };
        change(&mut client.session);
        let key = client.handle;
        let connection = &mut self.connections[key as usize];
        match edit {
            1.. if connection.route == Some(from) => connection.edits = edit.max(connection.edits),
            _ => connection.introduced = false,
        }
        if connection.witness.is_some() {
            self.witness(key);
        }
    }
}
