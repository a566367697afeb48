//! The standbys of one client: a value.

use std::mem;

use crate::{settings::MAX_STANDBYS, thread_messages::LinkId};

/// The workers that emit the close event of one client if its gateway dies: the owner, or the first
/// live standby, in order.
#[derive(Clone, Debug)]
pub(in crate::shard) struct Standbys {
    /// The owner that standbys are informed of.
    owner: Option<LinkId>,
    /// Whether the owner is known to have the client. After a reassignment it is not, until the new
    /// owner has acknowledged the client's first event.
    confirmed: bool,
    /// A standby that became the owner and was not informed yet. It drops its standby entry with
    /// the client's first event; if that is lost with this gateway, it must know that no other
    /// worker has the client.
    promoted: Option<LinkId>,
    all: [Option<Standby>; MAX_STANDBYS],
}

/// One standby, and the updates that it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::shard) struct Standby {
    pub(in crate::shard) link: LinkId,
    /// Whether the client is registered there.
    pub(in crate::shard) known: bool,
    /// Whether it needs a registration, or an update of it.
    pub(in crate::shard) registration: bool,
    /// Whether it needs the client's session.
    pub(in crate::shard) session: bool,
}

impl Default for Standbys {
    fn default() -> Self {
        Self { owner: None, confirmed: true, promoted: None, all: [None; MAX_STANDBYS] }
    }
}

impl Standbys {
    /// The links of all, in order.
    pub(in crate::shard) fn links(&self) -> impl Iterator<Item = LinkId> {
        self.all.iter().flatten().map(|standby| standby.link)
    }

    pub(super) fn count(&self) -> usize {
        self.links().count()
    }

    pub(in crate::shard) fn has(&self, link: LinkId) -> bool {
        self.links().any(|known| known == link)
    }

    pub(super) const fn owner(&self) -> Option<LinkId> {
        self.owner
    }

    pub(super) const fn is_confirmed(&self) -> bool {
        self.confirmed
    }

    fn get_mut(&mut self, link: LinkId) -> Option<&mut Standby> {
        self.all.iter_mut().flatten().find(|standby| standby.link == link)
    }

    /// Whether a link needs a registration, and a session update.
    pub(super) fn wants(&self, link: LinkId) -> (bool, bool) {
        let standby = self.all.iter().flatten().find(|standby| standby.link == link);
        let (registration, session) =
            standby.map_or((false, false), |it| (it.registration, it.session));
        (registration || self.promoted == Some(link), session)
    }

    /// Marks the registration as sent to a link. Returns whether it was needed.
    pub(super) fn register(&mut self, link: LinkId) -> bool {
        if self.promoted == Some(link) {
            self.promoted = None;
            return true;
        }
        let standby = self.get_mut(link).filter(|standby| standby.registration);
        let is_due = standby.is_some();
        if let Some(standby) = standby {
            (standby.registration, standby.known) = (false, true);
        }
        is_due
    }

    /// Marks the session as sent to a link. Returns whether it was needed; `None` if the
    /// registration must be sent first.
    pub(super) fn update(&mut self, link: LinkId) -> Option<bool> {
        match self.get_mut(link).filter(|standby| standby.session) {
            None => Some(false),
            Some(standby) if !standby.known => None,
            Some(standby) => {
                standby.session = false;
                Some(true)
            }
        }
    }

    /// The links of the registered standbys.
    pub(super) fn known(&self) -> impl Iterator<Item = LinkId> {
        self.all.iter().flatten().filter(|standby| standby.known).map(|standby| standby.link)
    }

    /// Sets the current owner. Returns whether it has changed.
    pub(super) fn set_owner(&mut self, owner: LinkId) -> bool {
        let before = self.owner.replace(owner);
        let is_other = before != Some(owner);
        // A first owner needs no confirmation: a worker that never had a client need not close it.
        self.confirmed &= !is_other || before.is_none();
        is_other
    }

    /// The owner has acknowledged an event of the client. Returns whether this confirms it.
    pub(super) fn confirm(&mut self) -> bool {
        !mem::replace(&mut self.confirmed, true)
    }

    /// Retains the standbys for which `may_stay` holds and which are not the owner, in order.
    /// Returns whether others were removed, and which of those have to be released.
    pub(super) fn retain(&mut self, may_stay: impl Fn(LinkId) -> bool) -> (bool, Vec<LinkId>) {
        let owner = self.owner;
        let stays = |standby: &Standby| Some(standby.link) != owner && may_stay(standby.link);
        if self.all.iter().flatten().all(stays) {
            return (false, Vec::new());
        }
        let (kept, removed): (Vec<_>, Vec<_>) = self.all.iter().flatten().partition(|it| stays(it));
        self.all = std::array::from_fn(|at| kept.get(at).copied());
        let mut released = Vec::new();
        for standby in removed.into_iter().filter(|standby| standby.known) {
            match Some(standby.link) == owner {
                true => released.extend(self.promoted.replace(standby.link)),
                false => released.push(standby.link),
            }
        }
        (true, released)
    }

    /// Adds an unregistered standby; `session` if it needs the session.
    pub(super) fn add(&mut self, link: LinkId, session: bool) {
        if self.promoted == Some(link) {
            self.promoted = None;
        }
        if let Some(place) = self.all.iter_mut().find(|place| place.is_none()) {
            *place = Some(Standby { link, known: false, registration: false, session });
        }
    }

    /// Marks a registration as needed by all. Returns the links for which it was not marked before.
    pub(super) fn register_all(&mut self) -> impl Iterator<Item = LinkId> {
        let due = self.all.iter_mut().flatten();
        let due =
            due.filter_map(|it| (!mem::replace(&mut it.registration, true)).then_some(it.link));
        due.chain(self.promoted)
    }

    /// Marks a session update as needed by all. Returns the links for which it was not marked
    /// before.
    pub(super) fn update_all(&mut self) -> impl Iterator<Item = LinkId> {
        let due = self.all.iter_mut().flatten();
        due.filter_map(|it| (!mem::replace(&mut it.session, true)).then_some(it.link))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: LinkId = LinkId(1);

    fn set(links: &[u64]) -> Standbys {
        let mut set = Standbys::default();
        set.set_owner(OWNER);
        links.iter().for_each(|link| set.add(LinkId(*link), false));
        set
    }

    fn links(set: &Standbys) -> Vec<u64> {
        set.links().map(|link| link.0).collect()
    }

    #[test]
    fn standbys_stay_in_order_and_are_bounded() {
        let mut set = set(&[2, 3, 4, 5]);
        assert_eq!(links(&set), [2, 3, 4]);
        assert_eq!(set.retain(|link| link != LinkId(2)), (true, vec![]), "not registered");
        assert_eq!(set.retain(|_| true), (false, vec![]));
        set.add(LinkId(6), false);
        assert_eq!(links(&set), [3, 4, 6]);
    }

    #[test]
    fn update_is_marked_once_until_it_is_sent() {
        let mut set = set(&[2, 3]);
        assert_eq!(set.register_all().count(), 2);
        assert_eq!((set.register_all().count(), set.update_all().count()), (0, 2));
        assert_eq!(set.update(LinkId(3)), None, "not registered");
        assert!(set.register(LinkId(3)) && !set.register(LinkId(3)) && !set.register(LinkId(9)));
        assert_eq!((set.update(LinkId(3)), set.update(LinkId(3))), (Some(true), Some(false)));
        assert_eq!(set.register_all().collect::<Vec<_>>(), [LinkId(3)]);
        assert_eq!((set.wants(LinkId(2)), set.wants(LinkId(3))), ((true, true), (true, false)));
    }

    #[test]
    fn standby_that_becomes_the_owner_is_informed_and_not_released() {
        let mut set = set(&[2, 3]);
        set.register_all().for_each(drop);
        assert!(set.register(LinkId(2)) && set.register(LinkId(3)));
        set.set_owner(LinkId(2));
        assert_eq!(set.retain(|_| true), (true, vec![]));
        assert_eq!(set.register_all().collect::<Vec<_>>(), [LinkId(3), LinkId(2)]);
        assert!(set.register(LinkId(2)) && !set.register(LinkId(2)));
        set.set_owner(LinkId(3));
        set.retain(|_| true);
        set.set_owner(LinkId(4));
        assert_eq!((set.retain(|_| true), links(&set)), ((false, vec![]), vec![]));
    }

    #[test]
    fn owner_is_unconfirmed_only_after_a_reassignment() {
        let mut set = set(&[2]);
        assert!(set.is_confirmed() && !set.set_owner(OWNER) && !set.confirm());
        assert!(set.set_owner(LinkId(7)) && !set.is_confirmed());
        assert!(set.confirm() && set.is_confirmed());
    }
}
