//! Speaks to every gateway at once: sends to clients, uids and groups, asks about them, and takes
//! their events. A business worker is built on it; a back end that only pushes uses it directly.
//!
//! ```no_run
//! # async fn example() -> Result<(), client::Error> {
//! use client::{Cluster, Config};
//!
//! let cluster = Cluster::start(Config::new(["127.0.0.1:1236"], "s3cret"));
//! cluster.send_to_uid("alice", "your order is on its way").await?;
//! cluster.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! A cluster follows one or several registers and keeps one link to each gateway that any of them
//! names. A register that is restarted may know fewer gateways than the others for a while, which
//! is why what any of them names counts. A gateway that none names any more keeps its link for as
//! long as that lives, and is not called again after. Registers may come and go without any
//! effect on the links.

#![warn(missing_docs)]

pub mod events;
pub mod link;

mod api;
mod directory;
mod discovery;
mod error;
mod gateway;
mod handover;
mod leases;
mod lives;
mod merge;
mod metrics;
mod oversight;
mod reach;
mod shared;
mod targets;

use std::{fmt, sync::Arc, time::Duration};

use prometheus_client::registry::Registry;
use protocol::{Instance, Secret, link::Role};
use tokio_util::sync::{CancellationToken, DropGuard};

use directory::Directory;
use events::Consumer;
use leases::Leases;
use link::{Identity, Link, Pushes};
use shared::Shared;

pub use api::Filter;
pub use error::Error;
pub use merge::Row;
pub use service::tls::{Inner as Tls, Reread};
pub use targets::Recipients;

/// How long a call waits for gateways that are being linked for the first time, so that what is
/// said right after the start, or right after a gateway has joined, reaches everyone.
pub const SETTLE: Duration = Duration::from_secs(1);

/// For how long a gateway is waited for unless a setting says otherwise.
pub const GATEWAY_GRACE: Duration = Duration::from_secs(10);

/// What a cluster needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the registers are, as `host:port`.
    pub registers: Vec<String>,
    /// The cluster's secret.
    pub secret: Secret,
    /// A worker's `name:id`, if this is one. Each needs its own.
    pub worker: Option<String>,
    /// TLS, if the cluster speaks it.
    pub tls: Option<Tls>,
    /// How long a gateway may be silent, though it is asked whether it is there, before its link is
    /// given up. Not zero.
    pub peer_timeout: Duration,
    /// How long a gateway that is not linked must be named by no register until it is taken for gone:
    /// nothing waits for it any more then, and a worker tells its consumer that the clients are gone.
    pub gateway_grace: Duration,
}

/// How long a gateway may be silent, unless it is said.
pub const PEER_TIMEOUT: Duration = Duration::from_secs(30);

impl Config {
    /// That of a back end which only pushes and asks.
    pub fn new(
        registers: impl IntoIterator<Item: Into<String>>,
        secret: impl Into<Secret>,
    ) -> Self {
        let registers = registers.into_iter().map(Into::into).collect();
        Self {
            registers,
            secret: secret.into(),
            worker: None,
            tls: None,
            peer_timeout: PEER_TIMEOUT,
            gateway_grace: GATEWAY_GRACE,
        }
    }
}

/// Every gateway at once. Cheap to clone; when the last clone is dropped, all links are.
#[derive(Clone)]
pub struct Cluster {
    shared: Arc<Shared>,
    /// Where to note what is pushed, on behalf of a handler.
    pushes: Option<Arc<Pushes>>,
    /// `None` in one that is [detached](Self::detached).
    _alive: Option<Arc<DropGuard>>,
}

/// How a cluster stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// How many registers are connected.
    pub registers: usize,
    /// How many gateways are linked.
    pub linked: usize,
    /// How many of these answer in time when they are asked whether they are there: in half of the
    /// time after which their links are given up.
    pub answering: usize,
    /// Gateways that a register names and that are not linked.
    pub missing: Vec<String>,
    /// Whether a register has spoken, and no gateway is being linked for the first time.
    pub settled: bool,
    /// Whether a worker takes no events, since it does not reach every gateway and another worker does.
    pub passive: bool,
}

impl Cluster {
    /// Begins to follow the registers and to link to gateways, on the current runtime.
    pub fn start(config: Config) -> Self {
        let cluster = Self::begin(config, None);
        cluster.follow();
        cluster
    }

    /// For one who takes events: a cluster that does nothing until it is told to
    /// [`follow`](Self::follow) the registers, so that the consumer can be given it before any
    /// event comes.
    pub fn idle(config: Config, consumer: Arc<dyn Consumer>) -> Self {
        Self::begin(config, Some(consumer))
    }

    fn begin(config: Config, consumer: Option<Arc<dyn Consumer>>) -> Self {
        let Config { registers, secret, worker, tls, peer_timeout, gateway_grace } = config;
        let instance = Instance::from_dice(service::dice::random());
        let leases = match &worker {
            Some(_) => Leases::new(gateway_grace, instance.clone()),
            None => Leases::of_back_end(gateway_grace),
        };
        let role = match worker {
            Some(key) => Role::Worker { key, instance },
            None => Role::Client { instance },
        };
        let stop = CancellationToken::new();
        let identity = Identity { secret, role, tls };
        let shared = Shared::new(registers, identity, peer_timeout, consumer, leases, stop.clone());
        Self { shared, pushes: None, _alive: Some(Arc::new(stop.drop_guard())) }
    }

    /// Begins to follow the registers and to link to gateways, on the current runtime. Once.
    pub fn follow(&self) {
        self.shared.follow_all();
    }

    /// The same cluster, for its own consumer: it does not keep the links, which end when the last
    /// other clone is dropped.
    pub fn detached(&self) -> Self {
        Self { _alive: None, ..self.clone() }
    }

    /// The same cluster, noting in `pushes` what is sent through it.
    pub fn on_behalf_of(&self, pushes: Arc<Pushes>) -> Self {
        Self { pushes: Some(pushes), ..self.clone() }
    }

    /// Waits until a register has spoken and every gateway it named is linked, or known not to be.
    pub async fn ready(&self) {
        self.until(Directory::is_settled).await;
    }

    async fn until(&self, holds: impl Fn(&Directory<Arc<Link>>) -> bool) {
        // The sender is in what we hold, so it cannot be gone.
        let _ = self.shared.watch().wait_for(|directory| holds(directory)).await;
    }

    /// How things stand.
    pub fn status(&self) -> Status {
        let directory = self.shared.directory();
        Status {
            registers: self.shared.connected_registers(),
            linked: directory.links().count(),
            answering: directory.links().filter(|link| link.answers()).count(),
            missing: directory.missing().map(ToString::to_string).collect(),
            settled: directory.is_settled(),
            passive: self.shared.is_passive(),
        }
    }

    /// Calls `see` with how things stand, now and after every change, for ever.
    pub async fn watch(&self, mut see: impl FnMut(Status)) {
        let mut changes = self.shared.watch();
        loop {
            changes.mark_unchanged();
            see(self.status());
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Shows what is counted on a page of metrics. The names have no prefix; give the registry
    /// one.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.shared.metrics.register(registry);
    }

    /// Waits until every gateway has read what was sent so far; also one that is out of reach, if it
    /// comes back in time.
    ///
    /// # Errors
    /// Names a gateway that did not say so in time.
    pub async fn flush(&self) -> Result<(), Error> {
        let directory = self.shared.directory();
        let flushed = directory.links().chain(directory.parked()).map(|link| async {
            let flushed = match link.flush().await {
                Err(Error::Unreachable { .. }) => link.carried().await,
                other => other,
            };
            match flushed {
                // One that is gone meanwhile will not read any more.
                Err(Error::Unreachable { .. }) => Ok(()),
                other => other,
            }
        });
        futures_util::future::try_join_all(flushed).await.map(drop)
    }

    /// Asks every gateway to send no more events, and waits until none is on its way. No
    /// more gateways are linked from then on, and those that seem gone are taken for gone.
    pub async fn leave(&self) {
        self.shared.leave();
        let directory = self.shared.directory();
        futures_util::future::join_all(directory.links().map(|link| async {
            if let Err(error) = link.leave().await {
                tracing::debug!(%error, "did not hear that we leave");
            }
        }))
        .await;
        self.shared.hurry();
        self.shared.forsake();
    }

    /// Waits until no finished event is held back any more, see [`Link::finish`].
    pub async fn released(&self) {
        self.shared.held.close();
        self.shared.held.wait().await;
        self.shared.held.reopen();
    }

    /// Writes what is queued, waits until gateways have read it, and ends every link. Waits for
    /// as long as that takes, unless a gateway takes nothing for [`Config::peer_timeout`]; drop the
    /// cluster to end at once.
    pub async fn close(&self) {
        if let Err(error) = self.flush().await {
            tracing::debug!(%error, "closed before everything was read");
        }
        self.shared.stop().await;
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("status", &self.status()).finish_non_exhaustive()
    }
}
