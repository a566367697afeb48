//! Bindings of clients to uids, with a limit of connections for each uid.

use protocol::{ConnectionId, Keep, StreamName, Uid, inspect::LifecycleKind, watched_uid};
use runtime::clock;

use crate::{
    closed::CloseCause,
    shard::Shard,
    thread_messages::{Ordinal, ToHub, UIDS_PER_SLICE},
};

impl Shard {
    /// Binds a client to a uid. With `--max-connections-per-uid` the hub checks the limit then; and
    /// binding the same uid again changes nothing: of two clients that are bound again and again,
    /// each could be the newer one in a check, and both be closed.
    pub(in crate::shard) fn bind(&mut self, id: ConnectionId, uid: Uid, ordinal: Ordinal) {
        if self.directory.get(id).is_some_and(|client| client.uid() != Some(&uid)) {
            let uid = || uid.clone();
            self.history.record(Some(id), || LifecycleKind::Bound { uid: uid() });
        }
        if self.settings.uid_limit.is_none() {
            return self.rebind(id, uid, ordinal);
        }
        if self.directory.get(id).is_some_and(|client| client.uid() != Some(&uid)) {
            self.rebind(id, uid.clone(), ordinal);
            self.gateway.hub.push(ToHub::Bound { uid });
        }
    }

    /// Removes the uid of a client. Returns whether it had one.
    pub(super) fn unbind(&mut self, id: ConnectionId) -> bool {
        let before = self.watched_uid(id);
        self.leave_uid_stream(id, None);
        let had_one = self.directory.unbind(id);
        if let Some(uid) = before {
            self.binding_changed(id, &uid);
        }
        had_one
    }

    /// The client is not bound any more, or to this uid.
    fn leave_uid_stream(&mut self, id: ConnectionId, next: Option<&Uid>) {
        if !self.streams.all_are_members()
            && let Some(uid) = self.directory.get(id).and_then(|client| client.uid())
            && Some(uid) != next
        {
            self.streams.left(id, &StreamName::Uid(uid.clone()));
        }
    }

    fn rebind(&mut self, id: ConnectionId, uid: Uid, ordinal: Ordinal) {
        self.leave_uid_stream(id, Some(&uid));
        if !self.presence.watches_uids() {
            return self.directory.bind(id, uid, ordinal);
        }
        let before = self.watched_uid(id);
        self.directory.bind(id, uid.clone(), ordinal);
        if before.as_ref() != Some(&uid) {
            before.iter().chain([&uid]).for_each(|uid| self.binding_changed(id, uid));
        }
    }

    /// The uid of a client, if uids are watched.
    fn watched_uid(&self, id: ConnectionId) -> Option<Uid> {
        let is_watched = self.presence.watches_uids();
        self.directory.get(id).filter(|_| is_watched).and_then(|client| client.uid()).cloned()
    }

    /// A client was bound to a uid, or is not any more.
    pub(in crate::shard) fn binding_changed(&mut self, id: ConnectionId, uid: &Uid) {
        if self.presence.watches_uids()
            && let Some(group) = watched_uid::group_of(uid)
        {
            let rest = self.directory.bound_count(uid);
            match self.directory.get(id).and_then(|client| client.uid()) == Some(uid) {
                true => self.presence.joined(id, &group),
                false => drop(self.presence.left(id, &group, rest)),
            }
        }
    }

    /// Closes a client that is over the limit of connections for its uid, if it was not bound
    /// again since.
    pub(super) fn close_binding(&mut self, id: ConnectionId, since: u64, keep: Keep) {
        let Some(client) = self.directory.get(id) else {
            return;
        };
        if client.bound_since() != Some(Ordinal(since)) {
            return;
        }
        let key = client.handle;
        if let Some(suppressed) = self.warnings.uids.admit(clock::now()) {
            let client = self.client_id(id);
            tracing::info!(%client, suppressed, "client is over the limit of connections for its uid");
        }
        self.close(key, CloseCause::UidLimit(keep));
    }

    /// Finds the uids of the next clients that connected after `after`, for the hub.
    pub(in crate::shard) fn find_uids(&self, after: Ordinal) {
        let (uids, next) = self.uids_after(after, UIDS_PER_SLICE);
        self.gateway.hub.push(ToHub::Uids { uids, next });
    }

    /// The uids of the next `most` clients, and where to continue unless that was all.
    fn uids_after(&self, after: Ordinal, most: usize) -> (Vec<Uid>, Option<Ordinal>) {
        let (mut uids, mut visited, mut last) = (Vec::new(), 0, after);
        for (since, id, _) in self.directory.clients_after(after).take(most) {
            (visited, last) = (visited + 1, since);
            uids.extend(self.directory.get(id).and_then(|client| client.uid()).cloned());
        }
        (uids, (visited == most).then_some(last))
    }
}

#[cfg(test)]
mod tests;
