//! A set of clients in order of insertion.

use protocol::ConnectionId;

use crate::thread_messages::Ordinal;

/// The clients, oldest first.
///
/// Ordinals only increase, so the entries are sorted by them: removal is a binary search that
/// leaves a hole, and holes are compacted once they outnumber the clients. Adding and removing
/// therefore cost the same (amortized) in a group of two and in one of a million, and iteration is
/// one scan of contiguous memory.
///
/// Invariant: `entries` is sorted by ordinal, and `live` of them are not holes.
#[derive(Debug)]
pub(super) struct Roster<H> {
    entries: Vec<Entry<H>>,
    live: usize,
}

/// One client, or a hole, which has an id that no client has.
#[derive(Debug)]
struct Entry<H> {
    ordinal: Ordinal,
    id: ConnectionId,
    handle: H,
}

const HOLE: ConnectionId = ConnectionId(0);

impl<H: Copy> Roster<H> {
    pub(super) const fn new() -> Self {
        Self { entries: Vec::new(), live: 0 }
    }

    /// Adds a client behind all others. Ordinals may have gaps, but none may be smaller than an
    /// earlier one.
    pub(super) fn add(&mut self, ordinal: Ordinal, id: ConnectionId, handle: H) {
        debug_assert!(self.entries.last().is_none_or(|last| last.ordinal < ordinal));
        if self.entries.capacity() == 0 {
            // Most uids have one client: do not reserve for four.
            self.entries.reserve_exact(1);
        }
        self.entries.push(Entry { ordinal, id, handle });
        self.live += 1;
    }

    /// Removes the client with this ordinal.
    pub(super) fn remove(&mut self, ordinal: Ordinal) {
        let Ok(at) = self.entries.binary_search_by_key(&ordinal, |entry| entry.ordinal) else {
            return;
        };
        if self.entries[at].id != HOLE {
            self.entries[at].id = HOLE;
            self.live -= 1;
        }
        if self.live * 2 < self.entries.len() {
            self.entries.retain(|entry| entry.id != HOLE);
            if self.live * 4 < self.entries.capacity() {
                self.entries.shrink_to(self.live * 2);
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.live
    }

    pub(super) fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// The clients with their ordinals, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Ordinal, ConnectionId, H)> + '_ {
        self.after(Ordinal(0))
    }

    /// Clients with an ordinal greater than `after`.
    pub(super) fn after(
        &self,
        after: Ordinal,
    ) -> impl Iterator<Item = (Ordinal, ConnectionId, H)> + '_ {
        // The usual scan from the beginning needs no search.
        let from = match self.entries.first() {
            Some(first) if first.ordinal <= after => {
                self.entries.partition_point(|entry| entry.ordinal <= after)
            }
            _ => 0,
        };
        let live = self.entries[from..].iter().filter(|entry| entry.id != HOLE);
        live.map(|entry| (entry.ordinal, entry.id, entry.handle))
    }
}
