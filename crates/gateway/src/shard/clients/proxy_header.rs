//! The address of a client behind a proxy: from the PROXY header that its connection begins with, or
//! from a header of its handshake request.

use bytes::BytesMut;
use framing::{
    Decoder, Framing,
    http::Request,
    proxy_protocol::{self, Source},
};

use crate::{
    closed::CloseCause,
    shard::{Shard, connections::Phase, slot::SlotKey},
};

impl Shard {
    /// Awaits the PROXY header of an accepted connection. The connection is no client before, and
    /// its listener's protocol, or TLS, begins behind it.
    pub(super) fn await_proxy_header(&mut self, key: SlotKey) {
        self.connections[key].phase = Phase::ProxyHeader(BytesMut::new());
        self.connections.set_deadline(key, self.settings.handshake_timeout);
    }

    /// Takes the PROXY header off the bytes that a connection begins with, once it is complete.
    pub(super) fn proxy_header(&mut self, key: SlotKey, bytes: BytesMut) {
        let (source, length) = match proxy_protocol::parse(&bytes) {
            Ok(Some(whole)) => whole,
            Ok(None) => {
                self.connections[key].phase = Phase::ProxyHeader(bytes);
                return;
            }
            Err(error) => return self.abort(key, CloseCause::ProxyHeader(error)),
        };
        if let Source::Client(client) = source {
            let connection = &mut self.connections[key];
            tracing::debug!(peer = %connection.remote, remote = %client, "address from a PROXY header");
            connection.remote = client;
        }
        if !self.admit_stated(key) {
            return;
        }
        let rest = &bytes[length..];
        let connection = &mut self.connections[key];
        let framing = connection.listener.framing;
        let rest = if connection.begin_tls(rest) { &[][..] } else { rest };
        connection.backlog = !rest.is_empty();
        if framing == Framing::WebSocket {
            connection.phase = Phase::Request(rest.into());
        } else {
            let mut decoder = Decoder::new(framing);
            decoder.hold(rest);
            connection.phase = Phase::Open(decoder);
            self.connections.set_deadline(key, None);
            self.gateway.metrics.requests.dec();
        }
        self.begin_protocol(key);
    }

    /// Whether a connection begins with something that `--handshake-timeout` and `--max-handshakes`
    /// limit: a request, or a PROXY header.
    pub(super) fn has_handshake(&self, framing: Framing) -> bool {
        framing == Framing::WebSocket || self.settings.proxies.protocol
    }

    /// Whether the address of the client will be in its request, since a trusted proxy sends it.
    pub(super) fn awaits_forwarded(&self, key: SlotKey) -> bool {
        let connection = &self.connections[key];
        matches!(connection.phase, Phase::Request(_))
            && self.settings.proxies.is_trusted(connection.remote.ip())
    }

    /// Sets the address of a connection to the one that a trusted proxy states in this request, which
    /// is the connection's last one. A client that has its id already keeps its address.
    pub(super) fn take_forwarded(&mut self, key: SlotKey, request: &Request) {
        let connection = &mut self.connections[key];
        if connection.id.is_some() || self.settings.proxies.trusted.is_empty() {
            return;
        }
        let client = self.settings.proxies.client(request, connection.remote);
        if client != connection.remote {
            tracing::debug!(peer = %connection.remote, remote = %client, "address from a header");
            connection.remote = client;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use runtime::clock;

    use super::*;
    use crate::shard::test_shard::TestShard;

    #[tokio::test]
    async fn incomplete_header_counts_for_the_memory_budget_until_its_deadline() {
        let flags = ["--proxy-protocol", "--handshake-timeout=10"];
        let mut test = TestShard::with_flags(1, "tcp://", &flags).await;
        let (key, header) = (test.keys[0], b"PROXY TCP4 192.0.2.7");
        assert_eq!(test.send(0, header), header.len());
        test.poll(0).await;
        let used = test.shard.pressure.budget.used();
        assert!((header.len()..=2 * proxy_protocol::MAX_HEADER).contains(&used), "{used}");
        assert!(test.shard.connections[key].id.is_none());
        let now = clock::now();
        test.shard.tick(now + Duration::from_secs(5));
        assert!(matches!(test.shard.connections[key].phase, Phase::ProxyHeader(_)));
        test.shard.tick(now + Duration::from_secs(60));
        assert!(matches!(test.shard.connections[key].phase, Phase::Over));
        assert_eq!(test.shard.connections[key].own(), 0);
    }
}
