//! The owners of watched groups, and what is to be sent to each: a value.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use protocol::{Group, rendezvous::rendezvous, watched_uid};

use super::watched::Watched;
use crate::thread_messages::{LinkId, Watcher};

/// Maximum bytes of reports for an owner that are not written to its link.
pub(super) const IN_FLIGHT: usize = 1024 * 1024;

/// The workers that watch groups.
#[derive(Debug, Default)]
pub(super) struct Owners {
    watchers: Arc<[Watcher]>,
    queues: BTreeMap<LinkId, Queue>,
    /// The number of the last queue.
    last: u64,
    /// Groups whose owner may have changed.
    pub(super) recheck: Vec<Group>,
    /// Whether any has ever watched uids: their states are kept up to date from then on.
    pub(super) watches_uids: bool,
}

/// A worker that owns a group, since one of its declarations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) link: LinkId,
    declaration: u64,
    /// The number of its queue.
    pub(super) queue: u64,
}

/// Messages to be sent to one owner.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Groups with changes. One may have another owner by now.
    pub(super) dirty: VecDeque<Group>,
    /// Groups that another worker owns now.
    pub(super) lost: VecDeque<Group>,
    /// Bytes of reports that are not written to its link.
    in_flight: usize,
    /// A number of its own, since a link may watch nothing for a while.
    number: u64,
}

impl Queue {
    /// Whether something can be sent now.
    pub(super) fn is_due(&self) -> bool {
        self.in_flight < IN_FLIGHT && !(self.dirty.is_empty() && self.lost.is_empty())
    }
}

impl Owners {
    /// Whether no worker watches anything.
    pub(super) fn is_empty(&self) -> bool {
        self.watchers.is_empty()
    }

    /// Replaces the watchers. Returns whether there is a prefix that none had.
    pub(super) fn set(&mut self, watchers: Arc<[Watcher]>) -> bool {
        let had = |prefix: &Group| {
            let mut all = self.watchers.iter().flat_map(|watcher| &watcher.prefixes);
            all.any(|known| prefix.as_bytes().starts_with(known.as_bytes()))
        };
        let is_wider =
            watchers.iter().flat_map(|watcher| &watcher.prefixes).any(|prefix| !had(prefix));
        self.watchers = watchers;
        let mut all = self.watchers.iter().flat_map(|watcher| &watcher.prefixes);
        self.watches_uids |= all.any(watched_uid::is_watched_by);
        self.queues.retain(|link, _| self.watchers.iter().any(|watcher| watcher.link == *link));
        for watcher in self.watchers.iter() {
            self.queues.entry(watcher.link).or_insert_with(|| {
                self.last += 1;
                Queue { number: self.last, ..Queue::default() }
            });
        }
        is_wider
    }

    /// The owner of a group.
    pub(super) fn of(&self, group: &Group) -> Option<Owner> {
        let watchers = self.watchers.iter().filter(|watcher| watcher.watches(group));
        let owner = |watcher: &Watcher| Owner {
            link: watcher.link,
            declaration: watcher.declaration,
            queue: self.queues.get(&watcher.link).map_or(0, |queue| queue.number),
        };
        let owners = watchers.map(|watcher| (&watcher.instance, owner(watcher)));
        rendezvous(group.as_bytes(), owners)
    }

    /// Queues a group for its owner, unless it is queued.
    pub(super) fn enqueue(&mut self, group: &Group, watched: &mut Watched) {
        if let Some(queue) = watched.owner().and_then(|owner| self.queues.get_mut(&owner.link))
            && watched.set_dirty()
        {
            queue.dirty.push_back(group.clone());
        }
    }

    /// Informs the former owner of a group, which has its state, if it still watches any.
    pub(super) fn lose(&mut self, owner: LinkId, group: &Group) {
        if let Some(queue) = self.queues.get_mut(&owner) {
            queue.lost.push_back(group.clone());
        }
    }

    /// An owner that something can be sent to.
    pub(super) fn next_due(&mut self) -> Option<(LinkId, &mut Queue)> {
        let due = self.queues.iter_mut().find(|(_, queue)| queue.is_due());
        due.map(|(link, queue)| (*link, queue))
    }

    /// So many bytes of reports were passed on for an owner.
    pub(super) fn sent(&mut self, link: LinkId, bytes: usize) {
        if let Some(queue) = self.queues.get_mut(&link) {
            queue.in_flight += bytes;
        }
    }

    /// So many bytes are written to its link.
    pub(super) fn written(&mut self, link: LinkId, bytes: usize) {
        if let Some(queue) = self.queues.get_mut(&link) {
            queue.in_flight = queue.in_flight.saturating_sub(bytes);
        }
    }
}
