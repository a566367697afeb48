//! The clients that a command or query addresses, found a slice at a time: a value.

use std::collections::HashSet;

use protocol::{ConnectionId, Group, Uid};
use rustc_hash::FxHashSet;

use crate::{shard::indexes::Directory, thread_messages::Ordinal};

/// The addressed clients, in order, as far as they are not found yet.
///
/// Between two slices clients may disconnect, and others may connect, be bound and join groups by
/// their handshake, which are not addressed. No client may be bound, join or leave a group by
/// command meanwhile.
#[derive(Debug)]
pub(super) struct Targets {
    of: Of,
    exclude: Exclude,
    /// Index of the next name or client.
    at: usize,
    /// The last ordinal found of that name.
    after: Ordinal,
    /// Clients that connected, were bound, or joined from this ordinal on are not addressed.
    until: Ordinal,
}

#[derive(Debug)]
enum Of {
    All,
    Uids(Vec<Uid>),
    Groups(Vec<Group>),
    Clients(Vec<ConnectionId>),
}

/// The clients that are not addressed.
#[derive(Debug, Default)]
struct Exclude {
    clients: FxHashSet<ConnectionId>,
    // Uids are untrusted input, so their hash is keyed.
    uids: HashSet<Uid>,
}

impl Exclude {
    fn has<H: Copy>(&self, id: ConnectionId, directory: &Directory<H>) -> bool {
        let has_uid = || {
            let uid = directory.get(id).and_then(|client| client.uid());
            uid.is_some_and(|uid| self.uids.contains(uid))
        };
        !self.clients.is_empty() && self.clients.contains(&id) || !self.uids.is_empty() && has_uid()
    }
}

/// An addressed client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found<H> {
    /// The position, in the given list, of the name that matched it or of itself.
    pub(super) at: usize,
    /// Its ordinal under that name; 0 if it was named itself.
    pub(super) since: Ordinal,
    pub(super) id: ConnectionId,
    pub(super) handle: H,
}

const START: Ordinal = Ordinal(0);

impl Targets {
    fn new(of: Of, until: Ordinal) -> Self {
        Self { of, exclude: Exclude::default(), at: 0, after: START, until }
    }

    /// Every client that connected before `until`.
    pub(super) fn all_clients(until: Ordinal) -> Self {
        Self::new(Of::All, until)
    }

    /// The same, of those that connected after `after`.
    pub(super) fn all_clients_after(after: Ordinal, until: Ordinal) -> Self {
        Self { after, ..Self::new(Of::All, until) }
    }

    /// The clients of each uid; twice if a uid is named twice.
    pub(super) fn uids(uids: Vec<Uid>, until: Ordinal) -> Self {
        Self::new(Of::Uids(uids), until)
    }

    /// The members of each group; twice if one is in two of them.
    pub(super) fn groups(groups: Vec<Group>, until: Ordinal) -> Self {
        Self::new(Of::Groups(groups), until)
    }

    /// All of these but the clients. Clients that were [named](Self::clients) stay.
    pub(super) fn except(mut self, clients: Vec<ConnectionId>) -> Self {
        self.exclude.clients = clients.into_iter().collect();
        self
    }

    /// All of these but the clients of the uids. Clients that were [named](Self::clients) stay.
    pub(super) fn except_uids(mut self, uids: Vec<Uid>) -> Self {
        self.exclude.uids = uids.into_iter().collect();
        self
    }

    /// These clients, as often as each is named.
    pub(super) fn clients(clients: Vec<ConnectionId>) -> Self {
        Self::new(Of::Clients(clients), START)
    }

    /// Number of names or clients given.
    pub(super) fn names(&self) -> usize {
        match &self.of {
            Of::All => 1,
            Of::Uids(uids) => uids.len(),
            Of::Groups(groups) => groups.len(),
            Of::Clients(clients) => clients.len(),
        }
    }

    /// Upper bound of the number of clients.
    pub(super) fn len<H: Copy>(&self, directory: &Directory<H>) -> usize {
        match &self.of {
            Of::All => directory.len(),
            Of::Uids(uids) => uids.iter().map(|uid| directory.bound_count(uid)).sum(),
            Of::Groups(groups) => groups.iter().map(|group| directory.member_count(group)).sum(),
            Of::Clients(clients) => clients.len(),
        }
    }

    /// Visits up to `most` entries and adds the clients among them to `found`. Returns whether
    /// there may be more.
    pub(super) fn next<H: Copy>(
        &mut self,
        directory: &Directory<H>,
        mut most: usize,
        found: &mut Vec<Found<H>>,
    ) -> bool {
        while 0 < most {
            if self.names() <= self.at {
                return false;
            }
            let excluded = |id| self.exclude.has(id, directory);
            let visited = match &self.of {
                Of::All => {
                    let all = directory.clients_after(self.after);
                    let all = all.take_while(|(since, ..)| *since < self.until);
                    take(all, most, self.at, &mut self.after, excluded, found)
                }
                Of::Uids(uids) => {
                    let all = directory.bound_after(&uids[self.at], self.after);
                    let all = all.take_while(|(since, ..)| *since < self.until);
                    take(all, most, self.at, &mut self.after, excluded, found)
                }
                Of::Groups(groups) => {
                    let all = directory.members_after(&groups[self.at], self.after);
                    let all = all.take_while(|(since, ..)| *since < self.until);
                    take(all, most, self.at, &mut self.after, excluded, found)
                }
                Of::Clients(clients) => {
                    let id = clients[self.at];
                    let client = directory.get(id);
                    found.extend(client.map(|client| Found {
                        at: self.at,
                        since: START,
                        id,
                        handle: client.handle,
                    }));
                    0
                }
            };
            if visited < most {
                // This name is exhausted. An empty name costs as much as a client.
                most -= (visited + 1).min(most);
                (self.at, self.after) = (self.at + 1, START);
            } else {
                most = 0;
            }
        }
        true
    }
}

/// Takes up to `most` entries. Returns how many there were.
fn take<H: Copy>(
    all: impl Iterator<Item = (Ordinal, ConnectionId, H)>,
    most: usize,
    at: usize,
    after: &mut Ordinal,
    excluded: impl Fn(ConnectionId) -> bool,
    found: &mut Vec<Found<H>>,
) -> usize {
    let mut visited = 0;
    for (since, id, handle) in all.take(most) {
        visited += 1;
        *after = since;
        if !excluded(id) {
            found.push(Found { at, since, id, handle });
        }
    }
    visited
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(clients: u32) -> Directory<u32> {
        let mut directory = Directory::new();
        for id in 1..=clients {
            directory.insert(ConnectionId(id), Ordinal(u64::from(id)), id);
        }
        directory
    }

    /// The ids of all targets, found in slices of that size.
    fn all(mut targets: Targets, directory: &Directory<u32>, slice: usize) -> Vec<u32> {
        let mut found = Vec::new();
        for _ in 0..10_000 {
            let before = found.len();
            let more = targets.next(directory, slice, &mut found);
            assert!(found.len() <= before + slice);
            if !more {
                return found.iter().map(|found| found.handle).collect();
            }
        }
        panic!("targets are not exhausted");
    }

    #[test]
    fn slices_of_any_size_find_the_same() {
        let mut directory = directory(50);
        let name = |number: u32| number.to_string();
        for id in 1..=50 {
            let since = Ordinal(100 + u64::from(id));
            directory.join(ConnectionId(id), Group::new(name(id % 3)).unwrap(), since);
            directory.bind(ConnectionId(id), Uid::new(name(id % 7)).unwrap(), since);
        }
        for slice in [1, 2, 7, 1000] {
            let exclude = vec![ConnectionId(1), ConnectionId(50)];
            let clients = Targets::all_clients(Ordinal(1000)).except(exclude.clone());
            assert_eq!(all(clients, &directory, slice), (2..50).collect::<Vec<_>>());
            let uids = ["3", "none"].map(|uid| Uid::new(uid).unwrap()).to_vec();
            let clients = Targets::all_clients(Ordinal(1000)).except_uids(uids);
            let others: Vec<u32> = (1..=50).filter(|id| id % 7 != 3).collect();
            assert_eq!(all(clients, &directory, slice), others);
            let groups = ["2", "none", "1", "2"].map(|group| Group::new(group).unwrap());
            let groups = Targets::groups(groups.to_vec(), Ordinal(1000)).except(exclude);
            let twice = |rest| (2..50).filter(move |id| id % 3 == rest);
            let expected: Vec<u32> = twice(2).chain(twice(1)).chain(twice(2)).collect();
            assert_eq!(all(groups, &directory, slice), expected);
            let uids = ["3", "3", "9"].map(|uid| Uid::new(uid).unwrap());
            let uids = Targets::uids(uids.to_vec(), Ordinal(1000));
            let of_three: Vec<u32> = (1..=50).filter(|id| id % 7 == 3).collect();
            assert_eq!(all(uids, &directory, slice), [&of_three[..], &of_three].concat());
            let named = [7, 99, 7, 8].map(ConnectionId).to_vec();
            assert_eq!(all(Targets::clients(named), &directory, slice), [7, 7, 8]);
        }
    }

    #[test]
    fn clients_that_come_or_go_between_slices_are_not_found() {
        let mut directory = directory(10);
        let mut targets = Targets::all_clients(Ordinal(11));
        let mut found = Vec::new();
        assert!(targets.next(&directory, 4, &mut found));
        for removed in [1, 2, 3, 6] {
            directory.remove(ConnectionId(removed));
        }
        directory.insert(ConnectionId(11), Ordinal(12), 11);
        while targets.next(&directory, 4, &mut found) {}
        let found: Vec<u32> = found.iter().map(|found| found.handle).collect();
        assert_eq!(found, [1, 2, 3, 4, 5, 7, 8, 9, 10]);
    }

    #[test]
    fn clients_whose_handshake_binds_them_between_slices_are_not_found() {
        let mut directory = directory(10);
        let (uid, group) = (Uid::new("ann").unwrap(), Group::new("a").unwrap());
        let enter = |directory: &mut Directory<u32>, id: u32, since: u64| {
            directory.bind(ConnectionId(id), uid.clone(), Ordinal(since));
            directory.join(ConnectionId(id), group.clone(), Ordinal(since + 1));
        };
        (1..=10).for_each(|id| enter(&mut directory, id, 100 + 2 * u64::from(id)));
        let until = Ordinal(200);
        let mut both =
            [Targets::uids(vec![uid.clone()], until), Targets::groups(vec![group.clone()], until)];
        let mut found = [Vec::new(), Vec::new()];
        for (targets, found) in both.iter_mut().zip(&mut found) {
            assert!(targets.next(&directory, 4, found));
        }
        directory.insert(ConnectionId(11), Ordinal(201), 11);
        enter(&mut directory, 11, 202);
        for (targets, found) in both.iter_mut().zip(&mut found) {
            while targets.next(&directory, 4, found) {}
            let found: Vec<u32> = found.iter().map(|found| found.handle).collect();
            assert_eq!(found, (1..=10).collect::<Vec<_>>());
        }
    }
}
