//! A set of clients in order of insertion.

use protocol::ConnectionId;

use crate::thread_messages::Ordinal;

/// The clients, oldest first.
///
/// The entries are sorted by their ordinals, which almost always increase: removal is a binary search that
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

    /// Adds a client, almost always behind all others. Ordinals may have gaps. One may be smaller
    /// than others: a command that has waited since it got its ordinal.
    pub(super) fn add(&mut self, ordinal: Ordinal, id: ConnectionId, handle: H) {
        if self.entries.capacity() == 0 {
            // Most uids have one client: do not reserve for four.
            self.entries.reserve_exact(1);
        }
        let entry = Entry { ordinal, id, handle };
        match self.entries.last() {
            Some(last) if ordinal < last.ordinal => {
                let at = self.entries.partition_point(|entry| entry.ordinal < ordinal);
                self.entries.insert(at, entry);
            }
            _ => self.entries.push(entry),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_ordered_also_if_an_ordinal_comes_late() {
        let mut roster = Roster::new();
        for ordinal in [3, 7, 5, 9, 1] {
            roster.add(Ordinal(ordinal), ConnectionId(ordinal as u32), ());
        }
        let order = |roster: &Roster<()>, after| {
            roster.after(Ordinal(after)).map(|(ordinal, ..)| ordinal.0).collect::<Vec<_>>()
        };
        assert_eq!(order(&roster, 0), [1, 3, 5, 7, 9]);
        assert_eq!(order(&roster, 5), [7, 9]);
        for ordinal in [5, 1, 9, 4] {
            roster.remove(Ordinal(ordinal));
        }
        assert_eq!((order(&roster, 0), roster.len()), (vec![3, 7], 2));
    }
}
