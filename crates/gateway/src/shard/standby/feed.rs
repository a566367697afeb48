//! What one worker is to be told as a standby, by one shard: a value.

use std::{collections::VecDeque, hash::Hash};

use bytes::BytesMut;
use protocol::{ConnectionId, codec::native, link::ToPeer};
use rustc_hash::FxHashSet;

use crate::shard::connection::Key;

/// How many clients are released, or registered, with one message.
pub(super) const MANY: usize = 1000;

/// The client that an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::shard) enum Subject {
    /// A client.
    Open(Key),
    /// One that is gone, while no worker is done with the end of it.
    Departed(ConnectionId),
}

/// What is left to tell a standby. It names clients and holds nothing of them: what is told is what
/// holds when there is room for it, however often it has changed meanwhile.
#[derive(Debug, Default)]
pub(in crate::shard) struct Feed {
    /// Clients that the standby must know before their owner does.
    pub(super) urgent: VecDeque<Subject>,
    /// Clients that it is to be told of, or whose holders have changed.
    pub(super) registrations: VecDeque<Subject>,
    /// Clients whose sessions it is to be told.
    pub(super) sessions: VecDeque<Key>,
    /// How many of `sessions` may be told by now; the others may change again soon.
    pub(super) due: usize,
    released: Vec<ConnectionId>,
    /// How many bytes may be on their way.
    limit: u64,
    ahead: Ahead,
}

/// How many bytes are on their way to a standby. The count begins with the link.
#[derive(Debug, Default)]
struct Ahead {
    encoded: u64,
    /// What the hub was asked to say of when it is written.
    asked: u64,
    /// What it said.
    written: u64,
}

impl Feed {
    /// One of which at most `limit` bytes may be on their way, and half as many while there are
    /// sessions among them.
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, ..Self::default() }
    }

    const fn fits(&self, uncounted: usize, limit: u64) -> bool {
        self.ahead.encoded - self.ahead.written + (uncounted as u64) < limit
    }

    /// Whether there is room behind so many bytes that are not counted yet.
    pub(in crate::shard) const fn has_room(&self, uncounted: usize) -> bool {
        self.fits(uncounted, self.limit)
    }

    /// The same for sessions, which leave room for new clients.
    pub(super) const fn has_room_for_session(&self, uncounted: usize) -> bool {
        self.fits(uncounted, self.limit / 2)
    }

    /// Notes that so many bytes more are on their way. Returns up to where the hub is to say when it is
    /// written, if it is to be asked: whenever something waits for that, and rarely otherwise.
    pub(super) fn encoded(&mut self, bytes: usize) -> Option<u64> {
        let (waits, limit) = (!self.is_idle(), self.limit);
        let Ahead { encoded, asked, .. } = &mut self.ahead;
        *encoded += bytes as u64;
        let is_due = limit / 4 <= *encoded - *asked || waits && asked != encoded;
        is_due.then(|| {
            *asked = *encoded;
            *encoded
        })
    }

    /// Whether there is something to tell for which there is room.
    pub(super) fn may_go_on(&self) -> bool {
        let registers = !self.urgent.is_empty() || !self.registrations.is_empty();
        registers && self.has_room(0) || 0 < self.due && self.has_room_for_session(0)
    }

    /// The hub says that this much is written.
    pub(in crate::shard) const fn written(&mut self, through: u64) {
        self.ahead.written = through;
    }

    /// The standby is not needed for a client any more that it was told of.
    pub(super) fn release(&mut self, client: ConnectionId) {
        self.released.push(client);
    }

    /// Whether there is nothing to tell by now.
    pub(in crate::shard) fn is_idle(&self) -> bool {
        self.urgent.is_empty()
            && self.registrations.is_empty()
            && self.due == 0
            && self.released.is_empty()
    }

    /// How many updates wait.
    pub(in crate::shard) fn waiting(&self) -> usize {
        self.urgent.len() + self.registrations.len() + self.sessions.len() + self.released.len()
    }

    /// Has all sessions told that wait by now.
    pub(in crate::shard) fn open_sessions(&mut self) {
        self.due = self.sessions.len();
    }

    /// The next client that the standby is to be told of.
    pub(super) fn next_registration(&mut self) -> Option<Subject> {
        self.urgent.pop_front().or_else(|| self.registrations.pop_front())
    }

    /// The next client whose session may be told.
    pub(super) fn next_session(&mut self) -> Option<Key> {
        self.due = self.due.checked_sub(1)?;
        self.sessions.pop_front()
    }

    /// Writes all releases; before anything else, since a client may be registered again.
    pub(super) fn write_releases(&mut self, out: &mut BytesMut) {
        for clients in self.released.chunks(MANY) {
            let added = native::encode(&ToPeer::Release { clients: clients.to_vec() }, out);
            debug_assert!(added.is_ok());
        }
        self.released = Vec::new();
    }

    /// Forgets entries that name no client any more, or one twice, if there may be many of them;
    /// `wants` says whether a client is to be registered, or its session told.
    pub(super) fn compact(&mut self, clients: usize, wants: impl Fn(Subject) -> (bool, bool)) {
        let most = 2 * clients + MANY;
        for queue in [&mut self.urgent, &mut self.registrations] {
            if most < queue.len() {
                retain_once(queue, |subject| wants(subject).0);
            }
        }
        if most < self.sessions.len() {
            retain_once(&mut self.sessions, |key| wants(Subject::Open(key)).1);
            self.due = self.due.min(self.sessions.len());
        }
    }
}

fn retain_once<T: Copy + Eq + Hash>(queue: &mut VecDeque<T>, wanted: impl Fn(T) -> bool) {
    let mut seen = FxHashSet::default();
    queue.retain(|it| wanted(*it) && seen.insert(*it));
    queue.shrink_to(2 * queue.len());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_what_was_written_of_what_was_encoded() {
        let mut feed = Feed::new(1000);
        assert_eq!(feed.encoded(200), None, "little, and nothing waits");
        assert_eq!(feed.encoded(100), Some(300));
        feed.urgent.push_back(Subject::Open(1));
        assert_eq!(feed.encoded(0), None, "asked already");
        assert!(feed.has_room(0) && !feed.has_room(700) && feed.may_go_on());
        assert_eq!(feed.encoded(700), Some(1000));
        assert!(!feed.has_room(0) && !feed.may_go_on());
        feed.written(300);
        assert!(feed.has_room(0) && !feed.has_room_for_session(0));
        assert_eq!(feed.encoded(1), Some(1001), "what waits must be told of room");
    }

    #[test]
    fn sessions_leave_room_for_new_clients() {
        let mut feed = Feed::new(1000);
        feed.encoded(600);
        feed.sessions.push_back(1);
        feed.open_sessions();
        assert!(!feed.may_go_on());
        feed.registrations.push_back(Subject::Open(2));
        assert!(feed.may_go_on());
    }

    #[test]
    fn sessions_are_told_only_when_it_is_time() {
        let mut feed = Feed::default();
        feed.sessions.extend([1, 2]);
        assert!(feed.is_idle() && feed.next_session().is_none() && feed.waiting() == 2);
        feed.open_sessions();
        feed.sessions.push_back(3);
        assert_eq!(
            [feed.next_session(), feed.next_session(), feed.next_session()],
            [Some(1), Some(2), None]
        );
    }

    #[test]
    fn queues_of_a_standby_that_does_not_read_are_bounded_by_the_clients() {
        let mut feed = Feed::default();
        for at in 0..MANY as Key * 10 {
            feed.urgent.push_back(Subject::Open(at % 8));
            feed.registrations.push_back(Subject::Departed(ConnectionId(at % 8)));
            feed.sessions.push_back(at % 8);
            feed.compact(8, |it| (it == Subject::Open(3), it == Subject::Open(1)));
            let queues = [feed.urgent.len(), feed.registrations.len(), feed.sessions.len()];
            assert!(queues.iter().all(|length| *length <= 16 + MANY), "{queues:?}");
        }
    }

    #[test]
    fn releases_are_written_in_pieces() {
        let mut feed = Feed::default();
        (0..MANY as u32 * 2 + 1).for_each(|client| feed.release(ConnectionId(client)));
        let mut out = BytesMut::new();
        feed.write_releases(&mut out);
        let mut released = Vec::new();
        while let Some(ToPeer::Release { clients }) = native::decode(&mut out, usize::MAX).unwrap()
        {
            assert!(clients.len() <= MANY);
            released.extend(clients);
        }
        assert_eq!(released, (0..MANY as u32 * 2 + 1).map(ConnectionId).collect::<Vec<_>>());
        assert!(feed.is_idle());
    }
}
