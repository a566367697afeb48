//! Static files and health checks: connections that are not, or not yet, WebSocket clients.

use std::time::Duration;

use bytes::Bytes;
use framing::http::{BadRequest, Request};

use crate::{
    http,
    shard::{
        Shard,
        connections::{Page, Phase},
        slot::SlotKey,
    },
};

/// How long a connection may be silent before it counts as a client if no static files are served:
/// longer than health checks take for their request, or stay open without one.
const SILENT: Duration = Duration::from_millis(500);

/// Unsent bytes of a page in the socket's send buffer. Small enough that a reader of a few KiB a
/// second is distinguished from a stalled one within `--close-timeout`.
const UNSENT: u32 = 32 * 1024;

impl Shard {
    /// Parses the head of a request, according to the settings.
    pub(super) fn parse(&self, head: &[u8]) -> Result<Option<(Request, usize)>, BadRequest> {
        match self.settings.handshake_policy.like_workerman {
            true => framing::http::workerman::parse(head),
            false => framing::http::parse(head),
        }
    }

    /// The response, head and body, to a request that is no handshake: to a health check, or a
    /// static file. `None` if the connection is a client already.
    pub(super) fn page(&self, key: SlotKey, request: &Request) -> Option<(Bytes, Bytes)> {
        if self.connections[key].id.is_some() {
            return None;
        }
        let settings = &self.settings;
        http::probe::answer(request, settings.health_path.as_deref())
            .or_else(|| settings.pages.as_ref().map(|site| site.answer(request)))
    }

    /// Sets the deadline of an accepted connection that may turn out to be a health check or
    /// request a page.
    pub(super) fn await_first_request(&mut self, key: SlotKey) {
        let time = match self.settings.pages {
            // For all its page requests together.
            Some(_) => self.settings.handshake_timeout,
            // It becomes no client by silence: it may be slow, and has to send its request.
            None if self.awaits_forwarded(key) || self.settings.tokens.is_some() => {
                self.settings.handshake_timeout
            }
            None => Some(SILENT),
        };
        self.connections.set_deadline(key, time);
    }

    /// The rest of the handshake timeout after `passed`.
    fn rest_of_handshake(&self, passed: Duration) -> Option<Duration> {
        self.settings.handshake_timeout.map(|timeout| timeout.saturating_sub(passed))
    }

    /// Whether a connection is to be registered as a client whatever it requests, unless that is a
    /// health check. None does before it has shown its token.
    pub(super) fn becomes_client(&self, key: SlotKey) -> bool {
        let connection = &self.connections[key];
        let waits = connection.id.is_none() && connection.page == Page::None;
        waits && self.settings.pages.is_none() && self.settings.tokens.is_none()
    }

    /// Registers a connection as a client, if no static files are served, before it is refused.
    pub(super) fn register_without_pages(&mut self, key: SlotKey) {
        if self.becomes_client(key) {
            self.register_client(key);
        }
    }

    /// Registers a connection as a client that has sent no request for a moment. It has the rest of
    /// the handshake timeout to send one.
    pub(super) fn register_silent(&mut self, key: SlotKey) {
        self.connections.set_deadline(key, self.rest_of_handshake(SILENT));
        let _ = self.try_register(key);
    }

    /// Prepares for queueing a page of this many bytes.
    pub(super) fn begin_page(&mut self, key: SlotKey, size: usize) {
        if self.becomes_client(key) {
            self.connections.set_deadline(key, self.rest_of_handshake(SILENT));
        }
        let connection = &mut self.connections[key];
        connection.page = Page::Stalled;
        if UNSENT as usize <= size {
            connection.limit_unsent(UNSENT);
        }
    }

    /// The deadline of a closing connection has passed. Renews it if a page is still being sent to
    /// it and the peer reads.
    pub(super) fn renew_for_page(&mut self, key: SlotKey) -> bool {
        let connection = &mut self.connections[key];
        let ends = matches!(connection.phase, Phase::Closing { .. }) && self.drain.is_none();
        if !ends || connection.page != Page::Progresses || connection.queued() == 0 {
            return false;
        }
        connection.page = Page::Stalled;
        self.connections.set_deadline(key, Some(self.settings.close_timeout));
        true
    }
}

#[cfg(test)]
mod tests {
    use runtime::clock;

    use super::*;
    use crate::shard::test_shard::TestShard;

    #[tokio::test]
    async fn slow_client_has_the_whole_handshake_timeout_to_show_its_token() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys");
        let key = "A".repeat(43);
        std::fs::write(&file, format!(r#"{{"keys":[{{"kty":"oct","k":"{key}"}}]}}"#)).unwrap();
        let keys = format!("--jwt-keys={}", file.display());
        let flags = ["--handshake-auth=jwt", &keys, "--no-web", "--handshake-timeout=10"];
        let mut test = TestShard::with_flags(1, "ws://", &flags).await;
        let (key, now) = (test.keys[0], clock::now());
        test.shard.tick(now + Duration::from_secs(5));
        assert!(matches!(test.shard.connections[key].phase, Phase::Request(_)));
        assert!(test.shard.connections[key].id.is_none());
        test.shard.tick(now + Duration::from_secs(60));
        assert!(matches!(test.shard.connections[key].phase, Phase::Over));
    }
}
