//! Admission: accepting connections, placing them on shards, and registering them as clients.

use std::{collections::VecDeque, rc::Rc, time::Duration};

use framing::{Decoder, Framing};
use protocol::{Event, inspect::LifecycleKind};
use runtime::clock;

use super::ids::ConnectionIds;
use crate::{
    closed::NO_PROXY,
    proxies::canonical,
    settings::{Listener, NoWorker},
    shard::{
        Accepted, Shard,
        connections::{Connection, Pause, Phase},
        slot::SlotKey,
    },
};

/// How long to wait while accepting is paused.
const RETRY: Duration = Duration::from_millis(100);

/// Pending clients checked per pass.
const PENDING_PER_PASS: usize = 32;

/// The limit at which accepting pauses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::shard) enum Full {
    /// `--max-handshakes`.
    Handshakes,
    /// `--max-handshakes-per-second`, which allows the next one after this time.
    HandshakeRate(Duration),
    /// `--max-connections`.
    Connections,
    /// The file descriptor limit, less those reserved for peers and admin pages.
    Descriptors,
    /// Full windows of the workers, or memory pressure, on every thread.
    Shards,
}

impl Full {
    /// Label for metrics and logs.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Handshakes => "handshakes",
            Self::HandshakeRate(_) => "handshake_rate",
            Self::Connections => "connections",
            Self::Descriptors => "descriptors",
            Self::Shards => "backpressure",
        }
    }

    /// When to try again.
    pub(in crate::shard) fn retry(self) -> Duration {
        match self {
            Self::HandshakeRate(wait) => wait.min(Duration::from_secs(1)),
            Self::Handshakes | Self::Connections | Self::Descriptors | Self::Shards => RETRY,
        }
    }
}

/// The listeners of a shard, and the connections that are to become clients.
#[derive(Debug)]
pub(in crate::shard) struct Admission {
    /// All listeners of the gateway, in the order of the settings.
    listeners: Vec<Rc<Listener>>,
    ids: ConnectionIds,
    /// Connections to be registered as clients once there is room for their events.
    pending: VecDeque<SlotKey>,
}

impl Admission {
    pub(in crate::shard) fn new(listeners: Vec<Listener>, ids: ConnectionIds) -> Self {
        let listeners = listeners.into_iter().map(Rc::new).collect();
        Self { listeners, ids, pending: VecDeque::new() }
    }
}

impl Shard {
    /// Adds an accepted connection. Poll it with [`poll`](Self::poll) until it is ready.
    pub(in crate::shard) fn accept(&mut self, accepted: Accepted) -> Option<SlotKey> {
        let Accepted { stream, remote, listener } = accepted;
        let remote = canonical(remote);
        if !self.settings.proxies.may_connect(remote.ip()) {
            self.gateway.metrics.connections.inc();
            tracing::debug!(%remote, "connection closed: not a trusted proxy");
            self.count_refused(NO_PROXY, remote, self.admission.listeners[listener].addr);
            self.return_place(self.index.into(), listener, remote);
            return None;
        }
        let stream = match (self.admission.listeners[listener].tls, &self.settings.tls) {
            _ if self.drain.is_some() => None,
            (false, _) => Some(stream.into()),
            (true, tls) => tls.as_ref().and_then(|tls| tls.accept(stream).ok()),
        };
        let Some(stream) = stream else {
            self.return_place(self.index.into(), listener, remote);
            return None;
        };
        let listener = self.listener(listener);
        self.gateway.metrics.connections.inc();
        let framing = listener.framing;
        let key = self.insert(Connection::new(stream, remote, listener));
        if self.settings.proxies.protocol {
            self.await_proxy_header(key);
            return Some(key);
        }
        if framing != Framing::WebSocket {
            self.connections[key].phase = Phase::Open(Decoder::new(framing));
        }
        self.begin_protocol(key);
        Some(key)
    }

    /// The listener with this index.
    pub(super) fn listener(&self, listener: usize) -> Rc<Listener> {
        Rc::clone(&self.admission.listeners[listener])
    }

    /// Begins the protocol of a connection's listener. A request has a deadline; in other framings,
    /// the connection is a client at once.
    pub(super) fn begin_protocol(&mut self, key: SlotKey) {
        match self.connections[key].phase {
            Phase::Request(_) if self.settings.compat_behavior.client_at_accept => {
                self.connections.set_deadline(key, self.settings.handshake_timeout);
            }
            Phase::Request(_) => self.await_first_request(key),
            _ => {}
        }
        if self.is_unregistered(key) {
            let _ = self.try_register(key);
        }
    }

    /// Reserves a place for one more connection, on any shard. It counts from now on, so that
    /// connections in transit to their shards cannot exceed the limits.
    ///
    /// # Errors
    /// When accepting has to pause.
    pub(in crate::shard) fn place(&mut self, listener: usize) -> Result<usize, Full> {
        let wait = self.wait_for_handshakes();
        let gateway = &self.gateway;
        let requests = usize::try_from(gateway.metrics.requests.get()).unwrap_or(0);
        let most = self.settings.max_connections.unwrap_or(usize::MAX);
        if self.settings.max_requests <= requests {
            return Err(Full::Handshakes);
        }
        match gateway.shard_loads.open_connections() {
            taken if most <= taken => return Err(Full::Connections),
            _ if gateway.descriptors.clients <= gateway.shard_loads.sockets() => {
                return Err(Full::Descriptors);
            }
            _ if !wait.is_zero() => return Err(Full::HandshakeRate(wait)),
            _ => {}
        }
        let place = gateway.shard_loads.assign().ok_or(Full::Shards)?;
        if self.has_handshake(self.admission.listeners[listener].framing) {
            gateway.metrics.requests.inc();
        }
        self.count_handshake();
        Ok(place)
    }

    /// Records that accepting pauses until there is a place. Logged at most once a second.
    pub(in crate::shard) fn record_accept_pause(&mut self, limit: Full) {
        self.gateway.metrics.count_pause(limit.name());
        if let Some(suppressed) = self.warnings.full.admit(clock::now()) {
            let (reason, connections) = (limit.name(), self.gateway.shard_loads.open_connections());
            tracing::warn!(reason, connections, suppressed, "limit reached; accepting paused");
        }
    }

    /// Reports whether this shard is overloaded and should get no connections: too many unassigned
    /// events, no worker with room, or memory pressure.
    pub(in crate::shard) fn report_overload(&self) {
        let overloaded =
            self.delivery.is_overloaded(self.windows()) || self.pressure.budget.is_pressed();
        self.gateway.shard_loads.set_overloaded(usize::from(self.index), overloaded);
    }

    /// Whether a connection is to be registered as a client before its messages or its request are
    /// read. A WebSocket listener may also receive page requests and health checks, and the request
    /// of a trusted proxy has the client's address.
    pub(super) fn is_unregistered(&self, key: SlotKey) -> bool {
        let connection = &self.connections[key];
        let is_new = matches!(connection.phase, Phase::Request(_) | Phase::Open(_));
        let awaits_request = connection.listener.framing == Framing::WebSocket
            && (!self.settings.compat_behavior.client_at_accept || self.awaits_forwarded(key));
        is_new && connection.id.is_none() && !awaits_request
    }

    /// Registers a connection as a client if there is room for its events; otherwise pauses its
    /// reads until there is.
    pub(super) fn try_register(&mut self, key: SlotKey) -> bool {
        let has_room = self.has_room_for(key);
        if has_room {
            self.register_client(key)
        } else {
            self.hold_pending_client(key)
        }
        has_room
    }

    /// Whether there is room for the first events of a client, which are emitted before it sends
    /// anything: in the window of a worker that it may get, or in the queue of unassigned events.
    pub(super) fn has_room_for(&self, key: SlotKey) -> bool {
        self.delivery.has_room_for(&self.connections[key], self.windows())
    }

    /// Pauses reads of a connection that is to become a client, until there is room.
    pub(super) fn hold_pending_client(&mut self, key: SlotKey) {
        self.connections[key].gate.pause(Pause::WindowFull);
        self.admission.pending.push_back(key);
        // This wait is caused by the server, so it does not count towards the handshake timeout.
        let timeout = match self.settings.no_worker {
            NoWorker::Wait(timeout) if self.delivery.workers.is_empty() => timeout,
            NoWorker::Wait(_) | NoWorker::Destroy => None,
        };
        self.connections.set_deadline(key, timeout);
    }

    /// Resumes pending clients that there is room for, a few per pass.
    pub(in crate::shard) fn admit_pending_clients(&mut self) {
        for _ in 0..self.admission.pending.len().min(PENDING_PER_PASS) {
            let Some(key) = self.admission.pending.pop_front() else {
                return;
            };
            let Some(connection) = self.connections.get(key) else {
                continue;
            };
            let waits = connection.gate.is_paused_by_worker();
            let awaits_request = matches!(connection.phase, Phase::Request(_));
            if waits && !self.has_room_for(key) {
                self.admission.pending.push_back(key);
                continue;
            }
            // It may have been resumed already, with all other clients, when a worker was linked.
            if awaits_request && (waits || !self.connections.has_deadline(key)) {
                self.connections.set_deadline(key, self.settings.handshake_timeout);
            }
            if waits {
                self.connections.resume_by_worker([key]);
            }
        }
        if self.admission.pending.is_empty() {
            self.admission.pending = VecDeque::new();
        }
    }

    /// Registers a connection as a client, and emits its connect event.
    pub(super) fn register_client(&mut self, key: SlotKey) {
        self.create_client(key);
        self.emit(key, Event::Connect, &[]);
    }

    /// Registers a connection as a client: assigns its id. Its connect event is to be emitted next.
    pub(super) fn create_client(&mut self, key: SlotKey) {
        let id = self.admission.ids.next(|id| self.directory.get(id).is_some());
        self.directory.insert(id, self.gateway.ordinal(), key);
        let since = self.age();
        let connection = &mut self.connections[key];
        (connection.id, connection.since) = (Some(id), since);
        let connection = &self.connections[key];
        tracing::debug!(
            client = %self.client_id(id),
            remote = %connection.remote,
            listener = %connection.listener.addr,
            "client connected"
        );
        let (remote, listener) = (connection.remote, connection.listener.addr);
        self.history.record(Some(id), || LifecycleKind::Connected { remote, listener });
        self.gateway.metrics.clients.inc();
        // On other listeners than WebSocket's, which is the end of its handshake.
        if matches!(self.connections[key].phase, Phase::Open(_)) {
            self.set_auth_deadline(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::shard::test_shard::TestShard;

    #[tokio::test]
    async fn pending_client_resumed_by_a_new_worker_has_the_handshake_timeout_again() {
        let flags = ["--no-worker-timeout=0", "--handshake-timeout=10"];
        let mut test = TestShard::with_flags(1, "ws://", &flags).await;
        let key = test.keys[0];
        test.shard.hold_pending_client(key);
        let now = clock::now();
        test.shard.tick(now + Duration::from_secs(60));
        assert!(matches!(test.shard.connections[key].phase, Phase::Request(_)), "it waits");
        test.shard.connections.resume_by_worker([key]);
        test.run_once();
        test.shard.tick(now + Duration::from_secs(60));
        assert!(matches!(test.shard.connections[key].phase, Phase::Over));
    }
}
