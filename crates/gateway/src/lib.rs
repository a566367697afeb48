//! The gateway: terminates client connections and relays their events and messages to and from
//! workers.
//!
//! A gateway consists of *shards*, each of which owns its clients on a thread of its own, and a
//! *hub* on the first of these threads, which serves the links of all peers. Modules in reading
//! order:

mod config;
mod listen_url;
mod settings;

mod descriptors;
mod drain_summary;
mod in_flight;
mod inspection;
mod limits;
mod metrics;
mod placement;
mod proxies;
mod register_outages;
mod routing;
mod thread_messages;
mod tokens;

mod closed;
mod heartbeat;
mod http;
mod write_queue;

mod hub;
mod shard;

mod announce;

use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use prometheus_client::registry::Registry;
use protocol::{InstanceId, Secret};
use runtime::{
    listen::{self, Acceptor, CannotListen},
    net::{self, Unpolled},
    random,
    supervise::{spawn_in, spawn_local},
    thread::{self, Thread},
};
use service::Health;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use config::{Args, Config};

use self::{
    announce::{Announcement, RegisterReachability},
    descriptors::Descriptors,
    hub::Hub,
    metrics::Metrics,
    placement::ShardLoads,
    register_outages::RegisterOutages,
    settings::{Listener, Settings},
    shard::Shard,
    thread_messages::GatewayState,
};

/// How long a thread may go without running its event loop before it counts as stalled.
const STUCK: Duration = Duration::from_secs(10);

/// Time limit for withdrawing the announcement from registers.
const LEAVE: Duration = Duration::from_secs(1);

/// A gateway with bound ports.
#[derive(Debug)]
pub struct Gateway {
    listeners: Vec<(Listener, Unpolled)>,
    inner: Unpolled,
    announcement: Announcement,
    registers: Vec<String>,
    secret: Secret,
    settings: Arc<Settings>,
    state: Arc<GatewayState>,
    health: Health,
}

/// The sockets that the first thread listens on.
#[derive(Debug)]
struct Ports {
    listeners: Vec<Unpolled>,
    inner: Unpolled,
}

/// Signals for the phases of the shutdown.
#[derive(Clone, Debug)]
struct Phases {
    /// New connections are no longer accepted.
    closing: CancellationToken,
    /// Maximum duration of the drain from then on.
    grace: Duration,
    /// All clients are closed, all events are acknowledged, and all write queues are empty.
    drained: CancellationToken,
    /// The threads stop.
    over: CancellationToken,
    /// A thread failed to start.
    failed: CancellationToken,
}

/// The flags that control the bound inner address. `is_own`: whether the announced address is bound
/// itself.
fn inner_flag(is_own: bool, error: &io::Error) -> &'static str {
    match (is_own, error.kind()) {
        (false, _) => "--lan-listen",
        // The announced address may be one that is not assigned to this host.
        (true, io::ErrorKind::AddrNotAvailable) => {
            "--lan-ip; behind NAT or in a container, set --lan-listen to the address to bind"
        }
        (true, _) => "--lan-port",
    }
}

impl Gateway {
    /// Binds every port.
    ///
    /// # Errors
    /// When a port cannot be bound. The error names the address and its flag.
    pub fn bind(
        config: Config,
        registry: &mut Registry,
        health: Health,
    ) -> Result<Self, CannotListen> {
        let all: Vec<_> = config.listeners.iter().map(|listener| listener.addr).collect();
        let listeners = config.listeners.iter().map(|listener| {
            let socket = listen::bind_unpolled(listener.addr, "--listen", &all)?;
            if let Some(bytes) = config.settings.receive_buffer {
                net::set_receive_buffer(&socket, bytes).map_err(|error| {
                    CannotListen::new(listener.addr, "--receive-buffer-size", error)
                })?;
            }
            config.settings.keepalive.set(&socket).map_err(|error| {
                CannotListen::new(listener.addr, "--tcp-keepalive, --tcp-user-timeout", error)
            })?;
            // Port 0 is replaced by the assigned port.
            let addr = socket.local_addr().unwrap_or(listener.addr);
            Ok((Listener { addr, ..*listener }, socket))
        });
        let listeners = listeners.collect::<Result<_, _>>()?;
        if let Some(pages) = &config.settings.pages {
            pages.warn_about_left_out();
        }
        for listener in &config.listeners {
            let heartbeat = config.settings.heartbeat.as_ref();
            if heartbeat.is_some_and(|heartbeat| heartbeat.does_nothing(listener.framing)) {
                tracing::warn!(
                    listener = %listener.addr,
                    "--ping-interval without --ping-data has no effect on this listener"
                );
            }
        }
        let inner = net::listen(config.lan_listen).map_err(|error| {
            let is_own = config.lan_listen == config.lan_address;
            CannotListen::new(config.lan_listen, inner_flag(is_own, &error), error)
        })?;
        let mut address = config.lan_address;
        if address.port() == 0 {
            address.set_port(inner.local_addr().map_or(0, |addr| addr.port()));
        }
        let limit = service::limits::descriptors();
        let descriptors =
            Descriptors::share_out(limit, usize::from(config.threads), config.listeners.len());
        let requested = config.settings.max_connections;
        if requested.is_some_and(|requested| descriptors.clients < requested) {
            let (most, limit) = (descriptors.clients, limit.unwrap_or_default());
            tracing::warn!(
                max_connections = requested,
                limit,
                most,
                "the open file limit allows fewer connections than --max-connections"
            );
        }
        let files = config.reread().collect();
        let metrics = Metrics::register(registry);
        let threads = usize::from(config.threads);
        Metrics::register_limits(registry, &config.settings, &descriptors, threads);
        let instance = InstanceId::from_random(random::random());
        let peer_timeout = config.settings.peer_timeout;
        let state = GatewayState::new(
            address,
            instance.clone(),
            ShardLoads::new(threads, config.connections_per_thread),
            metrics,
            RegisterOutages::new(peer_timeout),
            descriptors,
        );
        let _ = state.operators.files.set(files);
        Ok(Self {
            listeners,
            inner,
            announcement: Announcement {
                address,
                instance,
                secret: config.secret.clone(),
                peer_timeout,
                tls: config.settings.gate.inner().cloned(),
            },
            registers: config.registers,
            secret: config.secret,
            settings: Arc::new(config.settings),
            state: Arc::new(state),
            health,
        })
    }

    /// The addresses that clients connect to.
    pub fn addrs(&self) -> Vec<SocketAddr> {
        self.listeners.iter().map(|(listener, _)| listener.addr).collect()
    }

    /// The announced inner address.
    pub fn inner_addr(&self) -> SocketAddr {
        self.announcement.address
    }

    /// The effective settings, which peers may ask for. Without effect if it was called before.
    pub fn show_settings(&self, settings: String) {
        let _ = self.state.operators.settings.set(settings);
    }

    /// Serves until `shutdown` is cancelled, and cancels it when a peer asks the gateway to drain;
    /// then as [`serve`](Self::serve).
    ///
    /// # Errors
    /// As [`serve`](Self::serve).
    pub async fn serve_until(
        self,
        shutdown: CancellationToken,
        grace: Duration,
    ) -> anyhow::Result<()> {
        let requested = self.state.operators.drain.clone();
        let until = async move {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = requested.cancelled() => shutdown.cancel(),
            }
        };
        self.serve(until, grace).await
    }

    /// Serves until `shutdown` completes or a peer asks the gateway to drain, then drains within `grace`: no new clients are accepted,
    /// connected ones are gradually closed with 1001 and a retry-after time, all events are
    /// delivered to workers, and the announcement is withdrawn from the registers.
    ///
    /// # Errors
    /// When a thread cannot be started or has panicked. Also when a worker reports that this
    /// gateway was declared dead: workers have closed its clients on its behalf, so the process
    /// must restart.
    pub async fn serve(
        self,
        shutdown: impl Future<Output = ()>,
        grace: Duration,
    ) -> anyhow::Result<()> {
        let phases = Phases {
            closing: CancellationToken::new(),
            grace,
            drained: CancellationToken::new(),
            over: CancellationToken::new(),
            failed: CancellationToken::new(),
        };
        let (mut announcing, leaving) = (JoinSet::new(), CancellationToken::new());
        let (registers, announcement) = (self.registers.clone(), self.announcement.clone());
        let reached =
            RegisterReachability::none(self.health.clone(), self.state.register_outages.clone());
        for register in registers {
            // The inner port is bound already: the kernel queues connections until it is served.
            let announcement = announcement.clone();
            let announce =
                announce::announce(register, announcement, reached.clone(), leaving.clone());
            spawn_in(&mut announcing, announce);
        }
        let mut threads = Vec::new();
        for index in (0..self.state.shards.len()).rev() {
            let ports = if index == 0 { Some(self.ports()?) } else { None };
            threads.push(self.start(index as u16, ports, phases.clone())?);
        }
        let metrics = &self.state.metrics;
        let mut clients = 0;
        let drained = async {
            tokio::select! {
                // First, since it may have to act on a request.
                biased;
                () = shutdown => {}
                () = self.state.operators.drain.cancelled() => {}
            }
            clients = metrics.clients.get();
            tracing::info!(clients, "closing clients");
            phases.closing.cancel();
            if tokio::time::timeout(grace, phases.drained.cancelled()).await.is_err() {
                let events_bytes = metrics.held.get() + metrics.in_flight.get();
                let clients = metrics.clients.get();
                tracing::warn!(
                    ?grace,
                    clients,
                    events_bytes,
                    "drain timed out with clients or events left"
                );
            }
        };
        // A fenced gateway does not drain: its clients are closed already as far as workers are
        // concerned, so no more events about them may be delivered.
        let fenced = tokio::select! {
            () = drained => false,
            () = self.state.fenced.cancelled() => true,
            () = phases.failed.cancelled() => anyhow::bail!("failed to start a thread"),
        };
        phases.closing.cancel();
        // Only after the drain: a worker that starts during it may be the only one to process the
        // last events.
        if !fenced {
            leaving.cancel();
            let left = async { while announcing.join_next().await.is_some() {} };
            let _ = tokio::time::timeout(LEAVE, left).await;
        }
        announcing.shutdown().await;
        let lingers = metrics.clients.get();
        phases.over.cancel();
        for thread in threads {
            anyhow::ensure!(thread.join().await, "a thread panicked");
        }
        if !fenced {
            self.state.drain_summary.log(clients, lingers);
        }
        anyhow::ensure!(
            !fenced,
            "fenced: unreachable for so long that workers declared this gateway dead"
        );
        Ok(())
    }

    fn ports(&self) -> io::Result<Ports> {
        let listeners = self.listeners.iter().map(|(_, socket)| socket.try_clone());
        Ok(Ports {
            listeners: listeners.collect::<Result<_, _>>()?,
            inner: self.inner.try_clone()?,
        })
    }

    /// Starts the thread of a shard. The first one also gets the ports.
    fn start(&self, index: u16, ports: Option<Ports>, phases: Phases) -> anyhow::Result<Thread> {
        let (state, settings) = (Arc::clone(&self.state), Arc::clone(&self.settings));
        let (secret, health) = (self.secret.clone(), self.health.clone());
        let pulse = self.health.pulse(format!("shard {index}"), STUCK);
        let listeners: Vec<_> = self.listeners.iter().map(|(listener, _)| *listener).collect();
        let (failed, shown) = (phases.failed.clone(), listeners.clone());
        let serve = async move || {
            spawn_local(pulse.keep_beating());
            let mut acceptors = Vec::new();
            if let Some(Ports { listeners, inner }) = ports {
                let listeners = listeners.into_iter().map(Acceptor::new);
                acceptors = listeners.collect::<io::Result<_>>()?;
                let hub =
                    Hub::new(Arc::clone(&state), Arc::clone(&settings), shown, secret, health);
                spawn_local(hub::run(hub, Acceptor::new(inner)?, phases.clone()));
            }
            let shard = Shard::new(index, state, settings, listeners, random::random());
            shard::run(shard, acceptors, phases.closing, phases.over).await;
            io::Result::Ok(())
        };
        let thread = thread::spawn(format!("shard-{index}"), async move || {
            if let Err(error) = serve().await {
                tracing::error!(%error, "failed to start a thread");
                failed.cancel();
            }
        });
        thread.context("failed to start a thread")
    }
}
