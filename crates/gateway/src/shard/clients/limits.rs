//! Limits of addresses and clients: connections that are refused, the places that connections have,
//! and clients that are read no faster than they may send.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use bytes::Bytes;
use framing::{Framing, http::response_head};
use protocol::inspect::{LifecycleKind, ReadPause};
use runtime::clock;

use crate::{
    closed::CloseCause,
    limits::Excess,
    shard::{
        Accepted, Shard,
        connections::{Connection, Page, Pause, Phase, Verdict},
        pressure,
        slot::SlotKey,
    },
};

/// Maximum number of sockets without a place for which a connection that is refused at accept is
/// answered, and not just closed: answers must not occupy the descriptors in a flood.
const ANSWERED: usize = 256;

/// A rate of a client that has a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::shard) enum ClientRate {
    Messages,
    Bytes,
}

impl ClientRate {
    /// Label for metrics and logs.
    const fn name(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::Bytes => "bytes",
        }
    }
}

/// The response to a connection over a limit of its address.
fn too_many(excess: Excess) -> Bytes {
    let wait = excess.retry_after.unwrap_or_else(pressure::retry_after);
    let seconds = wait.as_millis().div_ceil(1000).max(1);
    response_head("429 Too Many Requests", &format!("Retry-After: {seconds}\r\n"), 0, false)
}

/// Addresses.
impl Shard {
    /// Whether the limits of this peer's address apply from accept on. Behind a proxy they apply
    /// once the proxy has stated the client's address.
    fn is_limited_at_accept(&self, peer: IpAddr) -> bool {
        let (proxies, limits) = (&self.settings.proxies, &self.settings.limits.of_address);
        limits.apply_to(peer) && !proxies.protocol && !proxies.is_trusted(peer)
    }

    /// Counts an accepted connection for the limits of its address, before it has a place.
    ///
    /// # Errors
    /// When one is exceeded: [refuse](Self::refuse_accepted) it.
    pub(in crate::shard) fn admit_accepted(&self, remote: SocketAddr) -> Result<(), Excess> {
        let limits = &self.settings.limits.of_address;
        match self.is_limited_at_accept(remote.ip()) {
            true => self.gateway.addresses.admit(remote.ip(), limits, clock::now()),
            false => Ok(()),
        }
    }

    /// Refuses an accepted connection. One without TLS that begins with a request is answered; poll
    /// it with [`poll`](Self::poll) until it is ready. Others are closed.
    pub(in crate::shard) fn refuse_accepted(
        &mut self,
        accepted: Accepted,
        excess: Excess,
    ) -> Option<SlotKey> {
        let Accepted { stream, remote, listener } = accepted;
        let remote = crate::proxies::canonical(remote);
        let listener = self.listener(listener);
        self.gateway.metrics.connections.inc();
        tracing::debug!(%remote, limit = excess.limit.name(), "connection refused");
        self.count_refused(excess.limit.name(), remote, listener.addr);
        let index = usize::from(self.index);
        let has_requests = listener.framing == Framing::WebSocket && !listener.tls;
        if !has_requests || ANSWERED <= self.gateway.shard_loads.closing(index) {
            return None;
        }
        let mut connection = Connection::new(stream.into(), remote, listener);
        connection.phase = Phase::Closing { finished: false, linger: true };
        let key = self.connections.insert(connection);
        self.gateway.metrics.open.inc();
        self.gateway.metrics.closing.inc();
        self.gateway.shard_loads.begin_closing(index);
        self.set_close_deadline(key);
        self.queue(key, &too_many(excess));
        Some(key)
    }

    /// Counts a connection for the limits of its address, which a proxy has stated. Refuses it, and
    /// returns `false`, if one is exceeded.
    pub(super) fn admit_stated(&mut self, key: SlotKey) -> bool {
        let connection = &self.connections[key];
        let (ip, limits) = (connection.remote.ip(), &self.settings.limits.of_address);
        let applies = limits.apply_to(ip) && !self.settings.proxies.is_trusted(ip);
        if !applies || self.counted.contains(&key) || self.counts_every_peer() {
            return true;
        }
        match self.gateway.addresses.admit(ip, limits, clock::now()) {
            Ok(()) => {
                self.counted.insert(key);
                true
            }
            Err(excess) => {
                self.refuse_stated(key, excess);
                false
            }
        }
    }

    fn refuse_stated(&mut self, key: SlotKey, excess: Excess) {
        let cause = CloseCause::AddressLimit(excess.limit);
        let connection = &mut self.connections[key];
        let is_http = connection.listener.framing == Framing::WebSocket;
        // Behind a PROXY header, TLS has not begun.
        let begins = matches!(connection.phase, Phase::ProxyHeader(_));
        if !is_http || begins && connection.listener.tls {
            return self.abort(key, cause);
        }
        connection.discard_queue();
        self.queue(key, &too_many(excess));
        self.close(key, cause);
    }
}

/// Places.
impl Shard {
    /// Adds a connection that has a place, with the state that its limits need.
    pub(super) fn insert(&mut self, connection: Connection) -> SlotKey {
        self.gateway.metrics.open.inc();
        let ip = connection.remote.ip();
        let key = self.connections.insert(connection);
        if self.is_limited_at_accept(ip) && !self.counts_every_peer() {
            self.counted.insert(key);
        }
        if let Some(rates) = &mut self.rates {
            rates.begin(key);
        }
        key
    }

    /// Whether every connection has counted for its address since it was accepted, so that none has
    /// to be listed in `counted`.
    fn counts_every_peer(&self) -> bool {
        let proxies = &self.settings.proxies;
        !proxies.protocol && proxies.trusted.is_empty()
    }

    /// A connection with a place does not count for the limits of its address any more.
    fn release_address(&mut self, key: SlotKey, ip: IpAddr) {
        let is_counted = match self.counts_every_peer() {
            true => self.settings.limits.of_address.apply_to(ip),
            false => self.counted.remove(&key),
        };
        if is_counted {
            self.gateway.addresses.release(ip);
        }
    }

    /// Returns a place that was reserved for a connection that never reached its shard.
    pub(in crate::shard) fn return_place(&self, place: usize, listener: usize, remote: SocketAddr) {
        self.gateway.shard_loads.release(place);
        if self.is_limited_at_accept(remote.ip()) {
            self.gateway.addresses.release(remote.ip());
        }
        if self.has_handshake(self.listener(listener).framing) {
            self.gateway.metrics.requests.dec();
        }
    }

    /// A connection closes. It keeps its place while a page is sent to it, as long as the peer reads;
    /// otherwise it only waits for the peer, which must not keep others out.
    pub(super) fn give_up_place(&mut self, key: SlotKey) {
        let connection = &self.connections[key];
        if connection.page == Page::None {
            let (index, ip) = (usize::from(self.index), connection.remote.ip());
            self.release_address(key, ip);
            self.gateway.shard_loads.begin_closing(index);
            self.gateway.shard_loads.release(index);
            self.gateway.metrics.closing.inc();
        }
    }

    /// The socket of this connection is closed; see [`give_up_place`](Self::give_up_place).
    pub(super) fn free_place(&mut self, key: SlotKey, connection: &Connection) {
        let index = usize::from(self.index);
        self.gateway.metrics.open.dec();
        if connection.page != Page::None {
            self.release_address(key, connection.remote.ip());
            self.gateway.shard_loads.release(index);
        } else {
            self.gateway.shard_loads.end_closing(index);
            self.gateway.metrics.closing.dec();
        }
    }
}

/// Rates of clients.
impl Shard {
    /// A message or control frame of a client was received. Whether it may be processed: if not, the
    /// client is to be closed. Its reads may be paused behind it.
    pub(super) fn charge_message(&mut self, key: SlotKey, now: Instant) -> bool {
        let verdict = self.rates.as_mut().map(|rates| rates.message(key, now));
        self.enforce(key, verdict, ClientRate::Messages)
    }

    /// Bytes of a client were read and processed. Closes it, or pauses its reads, if they exceed its
    /// limit.
    pub(super) fn charge_bytes(&mut self, key: SlotKey, bytes: usize) {
        let is_open = matches!(self.connections[key].phase, Phase::Open(_));
        if is_open && let Some(rates) = &mut self.rates {
            let verdict = rates.bytes(key, bytes, clock::now());
            if !self.enforce(key, Some(verdict), ClientRate::Bytes) {
                self.close(key, CloseCause::RateLimit);
            }
        }
    }

    /// Applies a verdict. Returns `false` if the client is to be closed.
    fn enforce(&mut self, key: SlotKey, verdict: Option<Verdict>, rate: ClientRate) -> bool {
        match verdict {
            None | Some(Verdict::Within) => return true,
            Some(Verdict::PauseUntil(until)) => {
                let connection = &mut self.connections[key];
                connection.gate.pause(Pause::RateLimit);
                let reason = ReadPause::RateLimit;
                self.history.record(connection.id, || LifecycleKind::Paused { reason });
                if self.rates.as_mut().is_some_and(|rates| rates.pause(key, until)) {
                    self.resume_timer.notify_one();
                }
            }
            Some(Verdict::Exceeded) => {}
        }
        match rate {
            ClientRate::Messages => self.tally.rate_limited.messages += 1,
            ClientRate::Bytes => self.tally.rate_limited.bytes += 1,
        }
        if let Some(suppressed) = self.warnings.rate.admit(clock::now()) {
            let connection = &self.connections[key];
            let client = connection.id.map(|id| self.client_id(id).to_string());
            let (remote, limit) = (connection.remote, rate.name());
            let client = client.unwrap_or_default();
            tracing::warn!(%remote, client, limit, suppressed, "client is over its rate limit");
        }
        verdict != Some(Verdict::Exceeded)
    }

    /// Maximum number of bytes for the next read of a client, as far as its rate is concerned.
    pub(super) fn most_within_rate(&mut self, key: SlotKey) -> usize {
        match (&mut self.rates, &self.connections[key].phase) {
            (Some(rates), Phase::Open(_)) => rates.most_to_read(key, clock::now()),
            _ => usize::MAX,
        }
    }

    /// Ends the pause of a client that is closing: until its close frame it is read to the end.
    pub(super) fn lift_rate_limit(&mut self, key: SlotKey) {
        if let Some(rates) = &mut self.rates {
            rates.forget_pause(key);
            let connection = &mut self.connections[key];
            connection.gate.resume(Pause::RateLimit);
            connection.wake();
        }
    }

    /// Resumes the clients that may send again. Returns the time at which the next one may.
    pub(in crate::shard) fn resume_rate_limited(&mut self, now: Instant) -> Option<Instant> {
        let rates = self.rates.as_mut()?;
        while let Some(key) = rates.resumed(now) {
            if let Some(connection) = self.connections.get_mut(key) {
                connection.gate.resume(Pause::RateLimit);
                connection.wake();
            }
        }
        rates.soonest()
    }

    /// The time until a connection may be accepted, as far as `--max-handshakes-per-second` is
    /// concerned.
    pub(super) fn wait_for_handshakes(&mut self) -> Duration {
        match self.settings.limits.handshakes {
            Some(rate) => self.handshakes.wait(rate, 1, clock::now()),
            None => Duration::ZERO,
        }
    }

    /// Counts an accepted connection for that limit.
    pub(super) fn count_handshake(&mut self) {
        if let Some(rate) = self.settings.limits.handshakes {
            self.handshakes.take(rate, 1, clock::now());
        }
    }
}
