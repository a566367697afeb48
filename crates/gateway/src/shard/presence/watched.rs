//! One watched group on one shard: its owner, and what that knows. A value.

use protocol::{Group, MemberId};

use super::{members::Members, owners::Owner, tombstones::Tombstones};
use crate::thread_messages::LinkId;

/// A watched group.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) members: Members,
    owner: Option<Owner>,
    /// Whether it is in the queue of its owner.
    is_dirty: bool,
    /// Whether the owner has no report yet.
    pub(super) needs_full: bool,
    /// The full report that the owner has to take before it is obeyed.
    pub(super) full_in: u64,
    is_taken: bool,
    /// Whether the owner was asked for a view.
    pub(super) has_asked: bool,
    /// The number of clients that the owner knows.
    pub(super) reported: u64,
    /// Whether an owner may know the group as occupied.
    pub(super) is_known: bool,
    /// Whether an application was notified that it is occupied, and it has had clients ever since.
    pub(super) is_notified: bool,
    /// The report that said so, if the application was not notified yet.
    occupied_in: u64,
    /// Whether it had clients when it last changed.
    is_occupied: bool,
    /// The report of its vacancy, and the number of that departure.
    pub(super) emptied_in: u64,
    tombstone: u64,
}

impl Watched {
    pub(super) fn new(owner: Option<Owner>) -> Self {
        Self {
            members: Members::default(),
            owner,
            is_dirty: false,
            needs_full: owner.is_some(),
            full_in: u64::MAX,
            is_taken: false,
            has_asked: false,
            reported: 0,
            is_known: false,
            is_notified: false,
            occupied_in: u64::MAX,
            is_occupied: true,
            emptied_in: u64::MAX,
            tombstone: 0,
        }
    }

    pub(super) fn owner(&self) -> Option<Owner> {
        self.owner
    }

    /// Another worker owns the group, or none.
    pub(super) fn set_owner(&mut self, owner: Option<Owner>) {
        let queue = |owner: Option<Owner>| owner.map(|owner| (owner.link, owner.queue));
        self.is_dirty &= queue(self.owner) == queue(owner);
        self.owner = owner;
        self.needs_full = owner.is_some();
        (self.full_in, self.is_taken, self.has_asked) = (u64::MAX, false, false);
        self.reported = 0;
        self.occupied_in = u64::MAX;
        self.members.nothing_has_appeared();
        self.members.drop_partial();
    }

    /// Returns whether it was not dirty.
    pub(super) fn set_dirty(&mut self) -> bool {
        !std::mem::replace(&mut self.is_dirty, true)
    }

    pub(super) fn clear_dirty(&mut self) {
        self.is_dirty = false;
    }

    /// Whether the peer owns the group and knows its state.
    pub(super) fn obeys(&self, from: LinkId) -> bool {
        self.is_owner(from) && self.is_taken
    }

    /// The peer has taken the full report of that number. Returns whether it owns the group, and
    /// that is the last one.
    pub(super) fn take(&mut self, from: LinkId, number: u64) -> bool {
        let takes = self.is_owner(from) && !self.needs_full && self.full_in <= number;
        self.is_taken |= takes;
        takes
    }

    fn is_owner(&self, link: LinkId) -> bool {
        self.owner.is_some_and(|owner| owner.link == link)
    }

    pub(super) fn drop_view(&mut self) {
        self.members.drop_view();
        self.has_asked = false;
    }

    /// A client has left, and `rest` are in the group.
    pub(super) fn emptied(&mut self, group: &Group, rest: usize, tombstones: &mut Tombstones) {
        if 0 < rest || self.members.is_waiting() {
            return;
        }
        self.drop_view();
        (self.is_notified, self.occupied_in) = (false, u64::MAX);
        if self.is_known && std::mem::replace(&mut self.is_occupied, false) {
            self.emptied_in = u64::MAX;
            self.tombstone = tombstones.add(group, None);
        }
    }

    /// The group was reported with so many clients.
    pub(super) fn set_reported(&mut self, clients: u64, number: u64) {
        if self.reported == 0 && clients != 0 {
            self.occupied_in = number;
        }
        self.reported = clients;
        match clients {
            0 => self.emptied_in = number,
            _ => (self.is_known, self.is_occupied, self.emptied_in) = (true, true, u64::MAX),
        }
    }

    /// An application was notified of what has come by that report.
    pub(super) fn notified(&mut self, number: u64) {
        self.is_notified |= self.occupied_in <= number;
        self.members.notified(number);
    }

    /// Forgets what has left by that report.
    pub(super) fn settle(&mut self, number: u64) {
        let members = &mut self.members;
        let is_settled = |id: &&MemberId| {
            members.here.get(*id).is_none_or(|here| here.reported == 0 && here.left_in <= number)
        };
        let settled: Vec<_> = members.departed.iter().filter(is_settled).cloned().collect();
        settled.iter().for_each(|id| members.remove(id));
        if self.reported == 0 && self.emptied_in <= number {
            self.is_known = false;
        }
    }

    /// Whether that departure is neither settled nor obsolete.
    pub(super) fn is_tombstone(&self, serial: u64, member: Option<&MemberId>) -> bool {
        match member {
            Some(id) => self
                .members
                .here
                .get(id)
                .is_some_and(|here| here.tombstone == serial && here.clients.is_empty()),
            None => self.tombstone == serial && !self.is_occupied && self.is_known,
        }
    }

    /// Forgets a departure.
    pub(super) fn forget(&mut self, serial: u64, member: Option<&MemberId>) {
        if self.is_tombstone(serial, member) {
            match member {
                Some(id) => self.members.remove(id),
                None => self.is_known = false,
            }
        }
    }

    /// Whether nothing would be lost with it, given that the last report says so.
    pub(super) fn is_forgettable(&self) -> bool {
        let is_empty = self.members.here.is_empty() && !self.members.has_view();
        is_empty && !self.is_known && self.reported == 0 && !self.is_dirty
    }
}
