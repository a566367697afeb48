//! The gateway: holds clients' connections, and passes between them and workers.
//!
//! A gateway is a set of *shards*, each one thread that owns its clients outright, and a *hub* on
//! the first of these threads that reads every peer's link. In reading order:

mod config;
mod door;
mod settings;

mod descriptors;
mod exchange;
mod farewell;
mod inbox;
mod ledger;
mod metrics;
mod placement;
mod sight;

mod closed;
mod framing;
mod http;
mod outqueue;

mod hub;
mod shard;

mod announce;

use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use prometheus_client::registry::Registry;
use protocol::{Instance, Secret};
use service::{
    Health, dice, limits,
    listen::{self, Acceptor, CannotListen},
    net::{self, Unpolled},
    supervise::{spawn_in, spawn_local},
    thread::{self, Thread},
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use config::{Args, Config};

use self::{
    announce::{Announcement, Reached},
    descriptors::Descriptors,
    exchange::Host,
    hub::Hub,
    metrics::Metrics,
    placement::Places,
    settings::{Door, Settings},
    shard::Shard,
    sight::Sight,
};

/// How long a thread may be busy with one turn before it counts as stuck.
const STUCK: Duration = Duration::from_secs(10);

/// How long registers have to be told that the gateway has drained.
const LEAVE: Duration = Duration::from_secs(1);

/// A gateway whose ports are bound.
#[derive(Debug)]
pub struct Gateway {
    doors: Vec<(Door, Unpolled)>,
    inner: Unpolled,
    announcement: Announcement,
    registers: Vec<String>,
    secret: Secret,
    settings: Arc<Settings>,
    host: Arc<Host>,
    health: Health,
}

/// The sockets that the first thread listens on.
#[derive(Debug)]
struct Ports {
    doors: Vec<Unpolled>,
    inner: Unpolled,
}

/// What tells the threads how far the end has come.
#[derive(Clone, Debug)]
struct Phases {
    /// Nothing more is accepted.
    closing: CancellationToken,
    /// How long it may take from there.
    grace: Duration,
    /// Every client is closed, every event delivered, everything written.
    drained: CancellationToken,
    /// The threads end.
    over: CancellationToken,
    /// A thread could not start.
    failed: CancellationToken,
}

/// The flags by which an operator changes where the inner port is bound; `is_own` says whether that is the
/// announced address itself.
fn inner_flag(is_own: bool, error: &io::Error) -> &'static str {
    match (is_own, error.kind()) {
        (false, _) => "--lan-listen",
        // Peers may reach this host under an address that it does not have.
        (true, io::ErrorKind::AddrNotAvailable) => {
            "--lan-ip; behind NAT or in a container, --lan-listen says where to bind"
        }
        (true, _) => "--lan-port",
    }
}

impl Gateway {
    /// Binds every port.
    ///
    /// # Errors
    /// When one of them cannot be had; the error says which, and which flag it came from.
    pub fn bind(
        config: Config,
        registry: &mut Registry,
        health: Health,
    ) -> Result<Self, CannotListen> {
        let all: Vec<_> = config.doors.iter().map(|door| door.addr).collect();
        let doors = config.doors.iter().map(|door| {
            let socket = listen::bind_unpolled(door.addr, "--listen", &all)?;
            if let Some(bytes) = config.settings.receive_buffer {
                net::set_receive_buffer(&socket, bytes).map_err(|error| {
                    CannotListen::new(door.addr, "--receive-buffer-size", error)
                })?;
            }
            config.settings.keepalive.set(&socket).map_err(|error| {
                CannotListen::new(door.addr, "--tcp-keepalive, --tcp-user-timeout", error)
            })?;
            // Port 0 has become another.
            let addr = socket.local_addr().unwrap_or(door.addr);
            Ok((Door { addr, ..*door }, socket))
        });
        let doors = doors.collect::<Result<_, _>>()?;
        if let Some(site) = &config.settings.site {
            site.warn_of_left_out();
        }
        for door in &config.doors {
            let heartbeat = config.settings.heartbeat.as_ref();
            if heartbeat.is_some_and(|heartbeat| heartbeat.does_nothing(door.framing)) {
                let listener = door.addr;
                tracing::warn!(%listener, "--ping-interval without --ping-data sends nothing here");
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
        let limit = limits::descriptors();
        let descriptors =
            Descriptors::share_out(limit, usize::from(config.threads), config.doors.len());
        let asked = config.settings.max_connections;
        if asked.is_some_and(|asked| descriptors.clients < asked) {
            let (most, limit) = (descriptors.clients, limit.unwrap_or_default());
            tracing::warn!(
                max_connections = asked,
                limit,
                most,
                "the limit of open files allows fewer connections than --max-connections"
            );
        }
        let instance = Instance::from_dice(dice::random());
        let peer_timeout = config.settings.peer_timeout;
        Ok(Self {
            doors,
            inner,
            announcement: Announcement {
                address,
                instance: instance.clone(),
                secret: config.secret.clone(),
                peer_timeout,
                tls: config.settings.gate.inner().cloned(),
            },
            registers: config.registers,
            secret: config.secret,
            settings: Arc::new(config.settings),
            host: Arc::new(Host::new(
                address,
                instance,
                Places::new(usize::from(config.threads), config.connections_per_thread),
                Metrics::register(registry),
                Sight::new(peer_timeout),
                descriptors,
            )),
            health,
        })
    }

    /// Where clients connect.
    pub fn addrs(&self) -> Vec<SocketAddr> {
        self.doors.iter().map(|(door, _)| door.addr).collect()
    }

    /// The inner address that is announced.
    pub fn inner_addr(&self) -> SocketAddr {
        self.announcement.address
    }

    /// Serves until `shutdown`, then drains: no more clients are accepted, those that are there are
    /// closed with 1001, one after the other and each told when to come back, workers get every
    /// event, and registers are told, all within `grace`.
    ///
    /// # Errors
    /// When a thread cannot be started or panicked; when a worker says that this gateway was taken
    /// for dead: others have closed its clients on its behalf, so it must begin anew.
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
        let reached = Reached::none(self.health.clone(), self.host.sight.clone());
        for register in registers {
            // The inner port accepts already: its backlog is the kernel's.
            let announcement = announcement.clone();
            let announce =
                announce::announce(register, announcement, reached.clone(), leaving.clone());
            spawn_in(&mut announcing, announce);
        }
        let mut threads = Vec::new();
        for index in (0..self.host.shards.len()).rev() {
            let ports = if index == 0 { Some(self.ports()?) } else { None };
            threads.push(self.start(index as u16, ports, phases.clone())?);
        }
        let metrics = &self.host.metrics;
        let mut clients = 0;
        let drained = async {
            shutdown.await;
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
                    "gave up waiting for clients and workers"
                );
            }
        };
        // Then its clients are gone already for everybody else: no worker may hear of them again.
        let written_off = tokio::select! {
            () = drained => false,
            () = self.host.written_off.cancelled() => true,
            () = phases.failed.cancelled() => anyhow::bail!("a thread could not start"),
        };
        phases.closing.cancel();
        // Not before: a worker that starts meanwhile may be the only one to tell of the last events.
        if !written_off {
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
        if !written_off {
            self.host.farewell.log(clients, lingers);
        }
        anyhow::ensure!(!written_off, "out of reach for so long that workers took it for dead");
        Ok(())
    }

    fn ports(&self) -> io::Result<Ports> {
        let doors = self.doors.iter().map(|(_, socket)| socket.try_clone());
        Ok(Ports { doors: doors.collect::<Result<_, _>>()?, inner: self.inner.try_clone()? })
    }

    /// Starts a shard's thread; the first one also has the ports.
    fn start(&self, index: u16, ports: Option<Ports>, phases: Phases) -> anyhow::Result<Thread> {
        let (host, settings) = (Arc::clone(&self.host), Arc::clone(&self.settings));
        let (secret, health) = (self.secret.clone(), self.health.clone());
        let pulse = self.health.pulse(format!("shard {index}"), STUCK);
        let doors: Vec<_> = self.doors.iter().map(|(door, _)| *door).collect();
        let failed = phases.failed.clone();
        let serve = async move || {
            spawn_local(pulse.keep_beating());
            let mut acceptors = Vec::new();
            if let Some(Ports { doors, inner }) = ports {
                let doors = doors.into_iter().map(Acceptor::new);
                acceptors = doors.collect::<io::Result<_>>()?;
                let hub = Hub::new(Arc::clone(&host), Arc::clone(&settings), secret, health);
                spawn_local(hub::run(hub, Acceptor::new(inner)?, phases.clone()));
            }
            let shard = Shard::new(index, host, settings, doors, dice::random());
            shard::run(shard, acceptors, phases.closing, phases.over).await;
            io::Result::Ok(())
        };
        let thread = thread::spawn(format!("shard-{index}"), async move || {
            if let Err(error) = serve().await {
                tracing::error!(%error, "a thread could not start");
                failed.cancel();
            }
        });
        thread.context("cannot start a thread")
    }
}
