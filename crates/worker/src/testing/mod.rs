//! Calls handlers without a gateway, in unit tests.
//!
//! A [`TestCluster`] stands for a cluster of one gateway, inside the test: it executes the commands
//! of handlers, answers their queries, and shows what clients have received.
//!
//! ```
//! use push_suite_worker::{Client, Message, Worker, anyhow, testing::TestCluster};
//!
//! struct Lobby;
//!
//! impl Worker for Lobby {
//!     async fn on_message(&self, client: &Client, message: Message) -> anyhow::Result<()> {
//!         client.join_group("lobby").await?;
//!         Ok(client.cluster().send_to_group("lobby", message).await?)
//!     }
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let cluster = TestCluster::start();
//! let (ann, bob) = (cluster.client(), cluster.client());
//! Lobby.on_message(&ann, "anybody here?".into()).await?;
//! Lobby.on_message(&bob, "hello".into()).await?;
//! assert_eq!(cluster.received(ann.id()), ["anybody here?".into(), "hello".into()]);
//! assert_eq!(cluster.received(bob.id()), ["hello".into()]);
//! # anyhow::Ok(())
//! # })?;
//! # anyhow::Ok(())
//! ```

mod gateway;
mod presence;
mod retained;
mod streams;

use std::{
    collections::BTreeMap,
    fmt,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use protocol::{
    ClientId, CloseFrame, CloseInfo, ConnectionId, Context, Event, Grant, Group, Handshake,
    Message, Refusal, Session, Uid,
};
use push_suite_cluster::{Cluster, internal::Loopback};
use runtime::sync::Mutex;

use crate::{
    Client, Process,
    dispatch::{ClientState, LinkContext},
};
use gateway::Gateway;
use presence::Announced;

/// The inner address of the gateway, which client ids contain.
const GATEWAY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 2900);

/// The port of the listener of all clients.
const LISTENER: u16 = 7272;

/// A cluster inside a test, with clients that are connected as soon as they are made.
///
/// Its only worker is the one under test, and so the first one. It calls no handlers: the test does.
/// Nothing that a client sends, and no close, is an event.
pub struct TestCluster {
    loopback: Loopback<Gateway>,
    link_context: Arc<LinkContext>,
    clients: Mutex<BTreeMap<ConnectionId, Known>>,
    announced: Mutex<Announced>,
}

/// A client, and the number of its last event.
struct Known {
    state: Arc<ClientState>,
    events: u64,
}

impl TestCluster {
    /// A cluster without clients.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn start() -> Self {
        let loopback = Loopback::start(GATEWAY, Gateway::default());
        let (link, cluster) = (Arc::clone(loopback.link()), loopback.cluster().clone());
        let link_context = Arc::new(LinkContext::new(link, cluster));
        Self { loopback, link_context, clients: Mutex::default(), announced: Mutex::default() }
    }

    /// The cluster, as a timer or a back end has it.
    pub const fn cluster(&self) -> &Cluster {
        self.loopback.cluster()
    }

    /// The worker process, for [`on_worker_start`](crate::Worker::on_worker_start) and
    /// [`on_worker_stop`](crate::Worker::on_worker_stop).
    pub fn process(&self, name: &str, id: &str) -> Process {
        Process::new(self.cluster().clone(), name.to_owned(), id.to_owned())
    }

    /// A new client, and its first event. The value serves for later events as well, unless the
    /// test needs other event numbers, or changes the session by other means than this client.
    pub fn client(&self) -> Client {
        let connection = self.loopback.with_gateway(Gateway::connect);
        let port = 50_000 + (connection.0 % 10_000) as u16;
        let remote = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let context = Context { remote, listener_port: LISTENER, session: Session::default() };
        let id = ClientId::new(GATEWAY, connection);
        let state = ClientState::new(id, Arc::clone(&self.link_context), context);
        let known = Known { state: Arc::clone(&state), events: 1 };
        self.clients.lock().insert(connection, known);
        Client::new(state, 1, false)
    }

    /// A new client whose handshake awaits an answer, as with `--handshake-auth worker`, and that
    /// event.
    pub fn client_with_handshake(&self, handshake: &Handshake) -> Client {
        let client = self.client();
        let event = Event::WebSocketRequest(handshake.clone());
        self.see(client.id(), |client| client.is_undecided = true);
        client.of_event(&event)
    }

    /// The grant with which the handshake of a client was accepted; `None` if it was not.
    pub fn grant(&self, id: ClientId) -> Option<Grant> {
        self.see(id, |client| client.grant.clone())
    }

    /// The refusal with which the handshake of a client was answered; `None` if it was not.
    pub fn refusal(&self, id: ClientId) -> Option<Refusal> {
        self.see(id, |client| client.refusal.clone())
    }

    /// The next event of a client: it has the client's present session.
    ///
    /// # Panics
    /// If the client is not of this cluster.
    pub fn next_event(&self, id: ClientId) -> Client {
        self.event(id, false)
    }

    /// The close of a client, which has ended as `info` says.
    ///
    /// # Panics
    /// If the client is not of this cluster.
    pub fn close_event(&self, id: ClientId, info: CloseInfo) -> Client {
        self.event(id, false).of_event(&Event::Closed(info))
    }

    /// The last event of a client once more, marked as [redelivered](Client::redelivered).
    ///
    /// # Panics
    /// If the client is not of this cluster.
    pub fn redelivered(&self, id: ClientId) -> Client {
        self.event(id, true)
    }

    fn event(&self, id: ClientId, redelivered: bool) -> Client {
        let session = self.session(id);
        let mut clients = self.clients.lock();
        let known = clients.get_mut(&id.connection).expect("a client of this cluster");
        known.events += u64::from(!redelivered);
        known.state.session_cache().synchronize(u64::MAX, Some(session));
        Client::new(Arc::clone(&known.state), known.events, redelivered)
    }

    /// Makes every query fail with [`Error::Unavailable`](crate::Error::Unavailable), or answers them
    /// again. Commands take effect all the same: it is as if one of several gateways could not be
    /// reached.
    pub fn set_unavailable(&self, is_unavailable: bool) {
        self.loopback.with_gateway(|gateway| gateway.is_unavailable = is_unavailable);
    }

    /// The messages that were sent to a client since the last call.
    pub fn received(&self, id: ClientId) -> Vec<Message> {
        self.see(id, |client| std::mem::take(&mut client.received))
    }

    /// Whether a client was closed.
    pub fn is_closed(&self, id: ClientId) -> bool {
        self.see(id, |client| client.closed)
    }

    /// The code and reason with which a client was closed; `None` if it is connected, or was
    /// destroyed.
    pub fn close_frame(&self, id: ClientId) -> Option<CloseFrame> {
        self.see(id, |client| client.close_frame.clone())
    }

    /// When the connection of a client expires, as its worker has [set](Client::set_expiry).
    pub fn expires_at(&self, id: ClientId) -> Option<u64> {
        self.see(id, |client| client.expires_at)
    }

    /// The uid that a client is bound to.
    pub fn uid(&self, id: ClientId) -> Option<Uid> {
        self.see(id, |client| client.uid.clone())
    }

    /// The groups of a client, in the order in which it has joined them.
    pub fn groups(&self, id: ClientId) -> Vec<Group> {
        self.see(id, |client| client.groups.clone())
    }

    /// The session of a client.
    pub fn session(&self, id: ClientId) -> Session {
        self.see(id, |client| client.session.clone())
    }

    fn see<T>(&self, id: ClientId, see: impl FnOnce(&mut gateway::Client) -> T) -> T {
        self.loopback.with_gateway(|gateway| see(gateway.client(id.connection)))
    }
}

impl fmt::Debug for TestCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestCluster").field("loopback", &self.loopback).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
