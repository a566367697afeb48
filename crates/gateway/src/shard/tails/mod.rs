//! Tails: messages of some clients, reported to operators while they pass. A value.
//!
//! Without an open tail, a message costs one branch.

use std::{mem, sync::Arc};

use protocol::{
    ConnectionId, MessageKind,
    inspect::{Direction, OpenTail, TailTarget, Tailed, TailedFrame},
};

use crate::thread_messages::LinkId;

/// Most bytes of messages that are collected for one tail in one pass; further ones are dropped.
const MAX_BYTES: usize = 256 * 1024;

/// Bytes of a message without its payload.
const FRAME: usize = 64;

/// The open tails of a shard, and their messages of this pass.
#[derive(Debug, Default)]
pub(super) struct Tails {
    open: Vec<Tail>,
}

#[derive(Debug)]
struct Tail {
    link: LinkId,
    open: Arc<OpenTail>,
    tailed: Tailed,
    bytes: usize,
}

/// A message that passes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Passing<'a> {
    /// In microseconds since the Unix epoch.
    pub(super) at: u64,
    pub(super) client: ConnectionId,
    pub(super) direction: Direction,
    pub(super) kind: MessageKind,
    pub(super) body: &'a [u8],
}

impl Tails {
    /// Whether none is open.
    pub(super) const fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Opens a tail, in place of one of that number.
    pub(super) fn open(&mut self, link: LinkId, open: Arc<OpenTail>) {
        self.close(link, Some(open.tail));
        let tailed = Tailed { tail: open.tail, ..Tailed::default() };
        self.open.push(Tail { link, open, tailed, bytes: 0 });
    }

    /// Closes a tail of a link, or all of them.
    pub(super) fn close(&mut self, link: LinkId, number: Option<u64>) {
        let is_one = |tail: &Tail| number.is_none_or(|number| number == tail.open.tail);
        self.open.retain(|tail| tail.link != link || !is_one(tail));
    }

    /// Adds a message to the tails whose target it `matches`.
    pub(super) fn add(&mut self, passing: Passing<'_>, matches: impl Fn(&TailTarget) -> bool) {
        for Tail { open, tailed, bytes, .. } in &mut self.open {
            if !matches(&open.target) {
                continue;
            }
            let Passing { at, client, direction, kind, body } = passing;
            let shown = &body[..body.len().min(open.payload as usize)];
            if MAX_BYTES < *bytes + FRAME + shown.len() {
                tailed.dropped += 1;
                continue;
            }
            *bytes += FRAME + shown.len();
            let (size, payload) = (body.len() as u64, shown.to_vec());
            tailed.frames.push(TailedFrame { at, client, direction, kind, size, payload });
        }
    }

    /// The messages since the last call, of each tail that has any.
    pub(super) fn take(&mut self) -> impl Iterator<Item = (LinkId, Tailed)> {
        self.open.iter_mut().filter_map(|tail| {
            let is_idle = tail.tailed.frames.is_empty() && tail.tailed.dropped == 0;
            tail.bytes = 0;
            let next = Tailed { tail: tail.open.tail, ..Tailed::default() };
            (!is_idle).then(|| (tail.link, mem::replace(&mut tail.tailed, next)))
        })
    }
}

#[cfg(test)]
mod tests;
