//! Workers that watch groups, and the reports of shards to them.

use std::sync::Arc;

use bytes::Bytes;
use protocol::Group;

use super::{Hub, link_closed::LinkClosed};
use crate::thread_messages::{LinkId, ToShard, Watcher};

/// The workers that watch groups, in the order of their first declarations.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    all: Vec<Watcher>,
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
        let had_any = self.watchers.remove(from);
        if !prefixes.is_empty() {
            self.watchers.last += 1;
            let declaration = self.watchers.last;
            self.watchers.all.push(Watcher { link: from, instance, declaration, prefixes });
        } else if !had_any {
            return Ok(());
        }
        self.send_watchers();
        Ok(())
    }

    /// A worker watches nothing any more.
    pub(super) fn unwatch(&mut self, link: LinkId) {
        if self.watchers.remove(link) {
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

impl Watchers {
    /// Returns whether it watched anything.
    fn remove(&mut self, link: LinkId) -> bool {
        let before = self.all.len();
        self.all.retain(|watcher| watcher.link != link);
        self.all.len() < before
    }
}
