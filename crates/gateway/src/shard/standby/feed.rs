//! Updates that one shard has queued for one worker as a standby: a value.

use std::{collections::VecDeque, hash::Hash};

use bytes::BytesMut;
use protocol::{ConnectionId, codec::native, link::ToPeer};
use rustc_hash::FxHashSet;

use crate::shard::slot::SlotKey;

/// Clients per release or registration message.
pub(super) const MANY: usize = 1000;

/// The client of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::shard) enum Subject {
    /// A connected client.
    Open(SlotKey),
    /// A disconnected client whose close event is not acknowledged.
    ClosingClient(ConnectionId),
}

/// Updates queued for a standby. Entries name clients and contain no data: the data is encoded when
/// there is room, so intermediate changes are skipped.
#[derive(Debug, Default)]
pub(in crate::shard) struct Feed {
    /// Clients to register before their owner learns of them.
    pub(super) urgent: VecDeque<Subject>,
    /// Clients to register, or of which the owner or standbys have changed.
    pub(super) registrations: VecDeque<Subject>,
    /// Clients with a session update.
    pub(super) sessions: VecDeque<SlotKey>,
    /// How many of `sessions` are due; the others may change again soon.
    pub(super) due: usize,
    released: Vec<ConnectionId>,
    /// Limit of the bytes in flight.
    limit: u64,
    ahead: Ahead,
}

/// Bytes in flight to a standby, counted from the start of the link.
#[derive(Debug, Default)]
struct Ahead {
    encoded: u64,
    /// Up to where the hub was asked to report writes.
    requested: u64,
    /// Up to where it has reported them.
    written: u64,
}

impl Feed {
    /// An update queue with at most `limit` bytes in flight, and half as many while sessions are
    /// among them.
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, ..Self::default() }
    }

    const fn fits(&self, uncounted: usize, limit: u64) -> bool {
        self.ahead.encoded - self.ahead.written + (uncounted as u64) < limit
    }

    /// Whether there is room after `uncounted` more bytes.
    pub(in crate::shard) const fn has_room(&self, uncounted: usize) -> bool {
        self.fits(uncounted, self.limit)
    }

    /// The same for sessions, which leave room for registrations.
    pub(super) const fn has_room_for_session(&self, uncounted: usize) -> bool {
        self.fits(uncounted, self.limit / 2)
    }

    /// Adds bytes to those in flight. Returns up to where the hub is to report writes, if it is to:
    /// always while updates wait for room, and rarely otherwise.
    pub(super) fn encoded(&mut self, bytes: usize) -> Option<u64> {
        let (waits, limit) = (!self.is_idle(), self.limit);
        let Ahead { encoded, requested, .. } = &mut self.ahead;
        *encoded += bytes as u64;
        let is_due = limit / 4 <= *encoded - *requested || waits && requested != encoded;
        is_due.then(|| {
            *requested = *encoded;
            *encoded
        })
    }

    /// Whether an update is due that there is room for.
    pub(super) fn has_sendable(&self) -> bool {
        let registers = !self.urgent.is_empty() || !self.registrations.is_empty();
        registers && self.has_room(0) || 0 < self.due && self.has_room_for_session(0)
    }

    /// The hub has written this much.
    pub(in crate::shard) const fn written(&mut self, through: u64) {
        self.ahead.written = through;
    }

    /// Queues the release of a registered client.
    pub(super) fn release(&mut self, client: ConnectionId) {
        self.released.push(client);
    }

    /// Whether no update is due.
    pub(in crate::shard) fn is_idle(&self) -> bool {
        self.urgent.is_empty()
            && self.registrations.is_empty()
            && self.due == 0
            && self.released.is_empty()
    }

    /// Number of queued updates.
    pub(in crate::shard) fn waiting(&self) -> usize {
        self.urgent.len() + self.registrations.len() + self.sessions.len() + self.released.len()
    }

    /// Makes all queued session updates due.
    pub(in crate::shard) fn schedule_sessions(&mut self) {
        self.due = self.sessions.len();
    }

    /// The next client to register.
    pub(super) fn next_registration(&mut self) -> Option<Subject> {
        self.urgent.pop_front().or_else(|| self.registrations.pop_front())
    }

    /// The next client with a session update that is due.
    pub(super) fn next_session(&mut self) -> Option<SlotKey> {
        self.due = self.due.checked_sub(1)?;
        self.sessions.pop_front()
    }

    /// Writes all releases. Call it before any other write, since a client may be registered again.
    pub(super) fn write_releases(&mut self, out: &mut BytesMut) {
        for clients in self.released.chunks(MANY) {
            let added = native::encode(&ToPeer::ReleaseStandby { clients: clients.to_vec() }, out);
            debug_assert!(added.is_ok());
        }
        self.released = Vec::new();
    }

    /// Removes stale and duplicate entries if there may be many; `wants` returns whether a client
    /// is to be registered, and whether its session is to be sent.
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
    fn room_is_the_limit_less_the_bytes_in_flight() {
        let mut feed = Feed::new(1000);
        assert_eq!(feed.encoded(200), None, "few bytes, and nothing queued");
        assert_eq!(feed.encoded(100), Some(300));
        feed.urgent.push_back(Subject::Open(1));
        assert_eq!(feed.encoded(0), None, "requested already");
        assert!(feed.has_room(0) && !feed.has_room(700) && feed.has_sendable());
        assert_eq!(feed.encoded(700), Some(1000));
        assert!(!feed.has_room(0) && !feed.has_sendable());
        feed.written(300);
        assert!(feed.has_room(0) && !feed.has_room_for_session(0));
        assert_eq!(feed.encoded(1), Some(1001), "queued updates need a write report");
    }

    #[test]
    fn sessions_leave_room_for_new_clients() {
        let mut feed = Feed::new(1000);
        feed.encoded(600);
        feed.sessions.push_back(1);
        feed.schedule_sessions();
        assert!(!feed.has_sendable());
        feed.registrations.push_back(Subject::Open(2));
        assert!(feed.has_sendable());
    }

    #[test]
    fn sessions_are_sent_only_when_due() {
        let mut feed = Feed::default();
        feed.sessions.extend([1, 2]);
        assert!(feed.is_idle() && feed.next_session().is_none() && feed.waiting() == 2);
        feed.schedule_sessions();
        feed.sessions.push_back(3);
        assert_eq!(
            [feed.next_session(), feed.next_session(), feed.next_session()],
            [Some(1), Some(2), None]
        );
    }

    #[test]
    fn queues_of_a_standby_that_does_not_read_are_bounded_by_the_clients() {
        let mut feed = Feed::default();
        for at in 0..MANY as SlotKey * 10 {
            feed.urgent.push_back(Subject::Open(at % 8));
            feed.registrations.push_back(Subject::ClosingClient(ConnectionId(at % 8)));
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
        while let Some(ToPeer::ReleaseStandby { clients }) =
            native::decode(&mut out, usize::MAX).unwrap()
        {
            assert!(clients.len() <= MANY);
            released.extend(clients);
        }
        assert_eq!(released, (0..MANY as u32 * 2 + 1).map(ConnectionId).collect::<Vec<_>>());
        assert!(feed.is_idle());
    }
}
