//! Pages and health checks: connections that are no WebSocket, or not yet.

use std::{sync::PoisonError, time::Duration};

use bytes::Bytes;
use service::clock;

use super::{
    Shard,
    clients::CLOSING,
    connection::{Key, Page, Phase},
};
use crate::{
    closed::Closed,
    http::{self, BadRequest, Request},
};

/// How long a connection may be silent before it counts as a client where there are no pages: longer than
/// health checks take for their request, or stay open without one.
const SILENT: Duration = Duration::from_millis(500);

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

    /// What a request gets that asks for no WebSocket, head and body: the answer to a health check, or a
    /// page. `None` where it is a client's already.
    pub(super) fn page(&self, key: Key, request: &Request) -> Option<(Bytes, Bytes)> {
        if self.connections[key as usize].id.is_some() {
            return None;
        }
        let settings = &self.settings;
        http::probe::answer(request, settings.health_path.as_deref())
            .or_else(|| settings.site.as_ref().map(|site| site.answer(request)))
    }

    /// A connection was accepted that may turn out to be a health check, or want a page.
    pub(super) fn await_first_request(&mut self, key: Key) {
        let time = match self.settings.site {
            // However many pages it asks for meanwhile.
            Some(_) => self.settings.handshake_timeout,
            None => Some(SILENT),
        };
        self.set_deadline(key, time);
    }

    /// The time that a connection has for its handshake, after so much of it has passed.
    fn rest_of_handshake(&self, passed: Duration) -> Option<Duration> {
        self.settings.handshake_timeout.map(|timeout| timeout.saturating_sub(passed))
    }

    /// Whether a connection will be a client whatever it asks for, unless that is a health check.
    pub(super) fn is_no_client_yet(&self, key: Key) -> bool {
        let connection = &self.connections[key as usize];
        let waits = connection.id.is_none() && connection.page == Page::None;
        waits && self.settings.site.is_none()
    }

    /// Makes a connection a client where there are no pages, before it is refused.
    pub(super) fn introduce_without_pages(&mut self, key: Key) {
        if self.is_no_client_yet(key) {
            self.introduce(key);
        }
    }

    /// Makes a connection a client that has sent no request for a moment. It has the rest of its time to
    /// send one.
    pub(super) fn introduce_silent(&mut self, key: Key) {
        self.set_deadline(key, self.rest_of_handshake(SILENT));
        let _ = self.announce(key);
    }

    /// A page of this many bytes is about to be queued.
    pub(super) fn begin_page(&mut self, key: Key, size: usize) {
        if self.is_no_client_yet(key) {
            self.set_deadline(key, self.rest_of_handshake(SILENT));
        }
        let connection = &mut self.connections[key as usize];
        connection.page = Page::Stalled;
        if UNSENT as usize <= size {
            connection.limit_unsent(UNSENT);
        }
    }

    /// The time of a connection that ends is over. Gives it the same time again if it is still being sent
    /// a page, and reads that.
    pub(super) fn renew_for_page(&mut self, key: Key) -> bool {
        let connection = &mut self.connections[key as usize];
        let ends = matches!(connection.phase, Phase::Closing { .. }) && self.drain.is_none();
        if !ends || connection.page != Page::Progresses || connection.queued() == 0 {
            return false;
        }
        connection.page = Page::Stalled;
        self.set_deadline(key, Some(CLOSING));
        true
    }

    /// Logs why a connection ends, and of a client how long it was one.
    pub(super) fn log_end(&self, key: Key, reason: &Closed) {
        let connection = &self.connections[key as usize];
        let remote = connection.remote;
        match connection.id {
            Some(id) => tracing::debug!(
                client = %self.client_id(id),
                %remote,
                %reason,
                seconds = f64::from(self.age().saturating_sub(connection.since)) / 10.0,
                "client closed"
            ),
            None => tracing::debug!(%remote, %reason, "connection closed"),
        }
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
