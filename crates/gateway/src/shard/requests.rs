//! Connections that are no WebSocket (yet): what is noted of their requests.

use std::sync::PoisonError;

use service::clock;

use super::{
    Shard,
    clients::CLOSING,
    connection::{Key, Page, Phase},
};
use crate::http::{self, BadRequest, Request};

/// How many bytes of a page the kernel takes beyond what may be sent at once. So a reader of a few KiB a
/// second is told from a stalled one within [`CLOSING`].
const UNSENT: u32 = 32 * 1024;

impl Shard {
    /// Reads the head of a request, as settings have it.
    pub(super) fn parse(&self, head: &[u8]) -> Result<Option<(Request, usize)>, BadRequest> {
        match self.settings.terms.like_workerman {
            true => http::workerman::parse(head),
            false => http::parse(head),
        }
    }

    /// A page of this many bytes is about to be queued.
    pub(super) fn begin_page(&mut self, key: Key, size: usize) {
        let connection = &mut self.connections[key as usize];
        connection.page = Page::Stalled;
        if UNSENT as usize <= size {
            connection.limit_unsent(UNSENT);
        }
    }

    /// The time of a connection is over. Gives it the same time again if it is still being sent a page,
    /// and reads that.
    pub(super) fn renew_for_page(&mut self, key: Key) -> bool {
        let connection = &mut self.connections[key as usize];
        let length = match connection.phase {
            Phase::Request(_) => self.settings.handshake_timeout,
            Phase::Closing { .. } if self.drain.is_none() => Some(CLOSING),
            _ => None,
        };
        let (Some(length), Page::Progresses) = (length, connection.page) else {
            return false;
        };
        if connection.queued() == 0 {
            return false;
        }
        connection.page = Page::Stalled;
        connection.deadline = Some(self.deadlines.set(clock::now(), length, key));
        true
    }

    /// Counts a handshake that was refused, and logs at most one a second over all shards.
    pub(super) fn count_refused(&self, key: Key, reason: &'static str) {
        let connection = &self.connections[key as usize];
        self.host.metrics.count_refused(reason);
        let warnings = self.host.refusal_warnings.lock();
        // The lock is not held while the line is written.
        let admitted = warnings.unwrap_or_else(PoisonError::into_inner).admit(clock::now());
        if let Some(suppressed) = admitted {
            let (remote, listener) = (connection.remote, connection.door.addr);
            tracing::warn!(%remote, %listener, reason, suppressed, "handshake refused");
        }
    }
}
