//! Workers that watch groups, and the reports of shards to them.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use protocol::{Group, InstanceId};

use super::{Hub, link_closed::LinkClosed};
use crate::thread_messages::{LinkId, ToShard, Watcher};

/// The workers that watch groups, in the order of their first declarations.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    all: Vec<Watcher>,
    /// Links of workers that are leaving.
    leaving: BTreeSet<LinkId>,
    /// The number of the last declaration.
    last: u64,
}

impl Hub {
    /// A worker watches groups with these prefixes, and no others. Each declaration begins anew: its
    /// groups are reported in full.
    pub(super) fn watch(&mut self, from: LinkId, prefixes: Vec<Group>) -> Result<(), LinkClosed> {
        let link = self.links.get(&from);
        let instance = link.and_then(|link| link.worker.as_ref()?.instance.clone());
        // Back ends own nothing.
        let instance = instance.ok_or(LinkClosed::OutOfTurn)?;
        if self.watchers.declare(from, instance, prefixes) {
            self.send_watchers();
        }
        Ok(())
    }

    /// A worker is leaving: it watches nothing any more, whatever it has yet to send.
    pub(super) fn watcher_leaving(&mut self, link: LinkId) {
        if self.watchers.leave(link) {
            self.send_watchers();
        }
    }

    /// The link of a worker is closed.
    pub(super) fn watcher_closed(&mut self, link: LinkId) {
        if self.watchers.close(link) {
            self.send_watchers();
        }
    }

    fn send_watchers(&mut self) {
        let watchers: Arc<[Watcher]> = self.watchers.all.as_slice().into();
        self.send_to_shards(None, || ToShard::Watchers(Arc::clone(&watchers)));
        self.schedule_run();
    }

    /// Passes reports of a shard on to a worker.
    pub(super) fn presence_reported(&mut self, to: LinkId, shard: u16, frames: &Bytes) {
        // A link that has ended is no watcher any more, as the shard learns.
        if let Some(link) = self.links.get_mut(&to) {
            link.push_presence(frames, shard);
            self.mark_dirty(to);
        }
    }
}

/// Each returns whether the watchers have changed.
impl Watchers {
    fn declare(&mut self, link: LinkId, instance: InstanceId, prefixes: Vec<Group>) -> bool {
        // A declaration may be on its way when the worker begins to leave.
        if self.leaving.contains(&link) {
            return false;
        }
        let had_any = self.remove(link);
        if prefixes.is_empty() {
            return had_any;
        }
        self.last += 1;
        self.all.push(Watcher { link, instance, declaration: self.last, prefixes });
        true
    }

    fn leave(&mut self, link: LinkId) -> bool {
        self.leaving.insert(link);
        self.remove(link)
    }

    fn close(&mut self, link: LinkId) -> bool {
        self.leaving.remove(&link);
        self.remove(link)
    }

    fn remove(&mut self, link: LinkId) -> bool {
        let before = self.all.len();
        self.all.retain(|watcher| watcher.link != link);
        self.all.len() < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worker_that_is_leaving_watches_nothing_again() {
        let mut watchers = Watchers::default();
        let (link, instance) = (LinkId(1), InstanceId::from_random(1));
        let rooms = || vec![Group::new("room-").unwrap()];
        assert!(watchers.declare(link, instance.clone(), rooms()));
        assert!(watchers.declare(link, instance.clone(), rooms()), "anew");
        assert!(watchers.leave(link));
        // Sent behind it.
        assert!(!watchers.declare(link, instance.clone(), Vec::new()));
        assert!(!watchers.declare(link, instance.clone(), rooms()));
        assert!(watchers.all.is_empty());
        assert!(!watchers.close(link));
        assert!(watchers.leaving.is_empty());
        assert!(watchers.declare(LinkId(2), instance, rooms()), "its next link");
    }
}
