//! Members of watched groups: joins with a snapshot, and reports to owners.

use std::{ops::Range, sync::Arc};

use bytes::BytesMut;
use framing::Framed;
use protocol::{ConnectionId, Group, Member, Snapshot, codec::native, watched_uid};

use super::work::Work;
use crate::{
    shard::{
        Shard,
        connections::Audience,
        presence::{Joined, Joining, Welcomed},
    },
    thread_messages::{LinkId, MOST_JOINED, Ordinal, ToHub, Watcher},
};

/// Joins completed per slice. Each composes a snapshot.
const WELCOMED: usize = 64;

/// Groups whose owner is determined per pass.
const RECHECKED: usize = 1024;

/// Groups that are reported per pass, and approximate bytes of their reports.
const REPORTED: usize = 1024;
const REPORTED_BYTES: usize = 256 * 1024;

impl Shard {
    /// Adds a client to a group as a member, now or once the members are known, and sends it the
    /// snapshot then.
    pub(super) fn join_presence(
        &mut self,
        client: ConnectionId,
        group: &Group,
        ordinal: Ordinal,
        member: Member,
        snapshot: Snapshot,
    ) {
        let Some(record) = self.directory.get(client) else {
            return;
        };
        let (key, is_in, groups) = (record.handle, record.is_in(group), record.group_count());
        let is_counted = is_in || self.presence.has(client, group);
        let is_full = |most| most <= groups + self.presence.waiting_of(client);
        if !is_counted && self.settings.max_groups.is_some_and(is_full) {
            self.refuse_join(client, group);
            return self.commands.count(false);
        }
        let joining = Joining { client, member, snapshot, is_in };
        match self.presence.join(group, joining) {
            Joined::Now(message) => {
                self.directory.join(client, group.clone(), ordinal);
                let pushed = self.send_one(key, message);
                self.commands.count_message(pushed);
            }
            Joined::Waits => self.commands.count(true),
            Joined::Refused => self.commands.count(false),
        }
    }

    /// Handles a part of the announced members of a group. With the last one, the joins that wait
    /// for it are completed.
    pub(super) fn presence_view(
        &mut self,
        from: LinkId,
        ordinal: Ordinal,
        group: Group,
        part: (bool, bool),
        members: Vec<Member>,
    ) {
        let clients = self.directory.watched_count(&group);
        if self.presence.view(from, &group, part, members, clients) {
            let audience = Audience::of(self.presence.totals().waiting);
            let ordinals = ordinal.0..ordinal.0 + MOST_JOINED;
            self.begin(Work::Welcome { group, ordinals, audience, last: None });
        }
    }

    /// Completes the next joins that have waited. Returns what is left.
    pub(super) fn welcome(
        &mut self,
        group: Group,
        mut ordinals: Range<u64>,
        audience: Audience,
        mut last: Option<(Snapshot, Framed)>,
    ) -> Option<Work> {
        for _ in 0..WELCOMED {
            let Welcomed { client, snapshot, behind } = self.presence.next_waiting(&group)?;
            let ordinal = ordinals.next()?;
            // It may be in more groups than when it began to wait.
            if !self.join(client, group.clone(), Ordinal(ordinal)) {
                let rest = self.directory.watched_count(&group);
                self.presence.left(client, &group, rest);
                continue;
            }
            if let Some(message) = behind {
                // Messages for the group did not reach it meanwhile. The hub has the last of them.
                let group = group.clone();
                self.gateway.hub.push(ToHub::SendRetained { client, group, message });
            }
            let is_same = last.as_ref().is_some_and(|(of, _)| *of == snapshot);
            if !(is_same && self.presence.is_announced(client, &group))
                && let Some((message, is_common)) = self.presence.compose(client, &group, &snapshot)
            {
                let mut framed = self.framed(message, 1);
                if !is_common {
                    self.send_snapshot(client, &mut framed, audience);
                    continue;
                }
                last = Some((snapshot, framed));
            }
            if let Some((_, framed)) = &mut last {
                self.send_snapshot(client, framed, audience);
            }
        }
        Some(Work::Welcome { group, ordinals, audience, last })
    }

    fn send_snapshot(&mut self, client: ConnectionId, framed: &mut Framed, audience: Audience) {
        if let Some(key) = self.key(client) {
            let pushed = self.send(key, framed, audience);
            self.commands.count_message(pushed);
        }
    }

    /// The workers that watch groups have changed.
    pub(in crate::shard) fn set_watchers(&mut self, watchers: Arc<[Watcher]>) {
        if self.presence.set_watchers(watchers) {
            for (_, group) in self.directory.groups() {
                self.presence.found(group);
            }
            if self.presence.watches_uids() {
                for group in self.directory.uids().filter_map(watched_uid::group_of) {
                    self.presence.found(&group);
                }
            }
        }
    }

    /// Reports watched groups to their owners, as far as those read. Returns whether there is more
    /// to report now.
    pub(in crate::shard) fn report_presence(&mut self) -> bool {
        if self.presence.is_idle() {
            return false;
        }
        let is_rechecking = self.presence.recheck(RECHECKED);
        let mut batch: Option<(LinkId, BytesMut)> = None;
        let (mut groups, mut bytes) = (0, 0);
        while groups < REPORTED && bytes < REPORTED_BYTES {
            let clients = |group: &Group| self.directory.watched_count(group);
            let Some((link, messages)) = self.presence.next_report(self.index, clients) else {
                break;
            };
            let mut frames = match batch.take() {
                Some((to, frames)) if to == link => frames,
                other => {
                    self.send_reports(other);
                    BytesMut::new()
                }
            };
            let before = frames.len();
            for message in messages {
                // Parts are far smaller than a frame may be.
                let _ = native::encode(&message, &mut frames);
            }
            self.presence.sent(link, frames.len() - before);
            groups += 1;
            bytes += frames.len() - before;
            batch = Some((link, frames));
        }
        self.send_reports(batch);
        is_rechecking || self.presence.is_due()
    }

    fn send_reports(&self, batch: Option<(LinkId, BytesMut)>) {
        if let Some((link, frames)) = batch {
            let frames = frames.freeze();
            self.gateway.hub.push(ToHub::Presence { link, shard: self.index, frames });
        }
    }
}

#[cfg(test)]
mod tests;
