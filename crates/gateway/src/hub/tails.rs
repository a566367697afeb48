//! Tails of peers: opened on the shards, and bounded by what the peer reads.

use std::sync::Arc;

use protocol::{
    inspect::{MAX_TAILED_PAYLOAD, MAX_TAILS, OpenTail, Tailed},
    link::ToPeer,
};

use super::{Hub, link_closed::LinkClosed};
use crate::thread_messages::{LinkId, ToShard};

/// Most unread bytes of a link, events apart, at which messages of its tails are sent; they are
/// dropped above.
const MAX_UNREAD: usize = 1024 * 1024;

/// An open tail.
#[derive(Clone, Copy, Debug)]
pub(super) struct TailState {
    number: u64,
    /// Messages that were dropped, and not reported yet.
    dropped: u64,
}

impl Hub {
    /// Opens a tail of a peer.
    pub(super) fn open_tail(&mut self, from: LinkId, mut open: OpenTail) -> Result<(), LinkClosed> {
        let Some(link) = self.links.get_mut(&from) else { return Ok(()) };
        let number = open.tail;
        link.tails.retain(|tail| tail.number != number);
        if MAX_TAILS <= link.tails.len() {
            return Err(LinkClosed::OutOfTurn);
        }
        link.tails.push(TailState { number, dropped: 0 });
        open.payload = open.payload.min(MAX_TAILED_PAYLOAD);
        let (remote, payload) = (link.remote, open.payload);
        tracing::info!(%remote, payload, "a peer tails messages of clients");
        let open = Arc::new(open);
        self.send_to_shards(open.target.client(), || ToShard::Tail {
            link: from,
            open: Arc::clone(&open),
        });
        Ok(())
    }

    /// Ends a tail of a peer.
    pub(super) fn end_tail(&mut self, from: LinkId, number: u64) {
        if let Some(link) = self.links.get_mut(&from) {
            link.tails.retain(|tail| tail.number != number);
        }
        self.send_to_shards(None, || ToShard::EndTail { link: from, tail: Some(number) });
    }

    /// Ends the tails of a link that has ended.
    pub(super) fn end_tails(&mut self, id: LinkId) {
        self.send_to_shards(None, || ToShard::EndTail { link: id, tail: None });
        self.schedule_run();
    }

    /// Sends the messages of a tail, unless its peer reads too slowly.
    pub(super) fn tailed(&mut self, id: LinkId, mut tailed: Tailed) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let is_full = MAX_UNREAD < link.queued_answers();
        let Some(tail) = link.tails.iter_mut().find(|tail| tail.number == tailed.tail) else {
            return;
        };
        if is_full {
            tail.dropped += tailed.dropped + tailed.frames.len() as u64;
            return;
        }
        tailed.dropped += std::mem::take(&mut tail.dropped);
        self.send(id, &ToPeer::Tailed(tailed));
    }
}
