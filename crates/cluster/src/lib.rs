//! Connects to every gateway of a cluster: sends commands to clients, uids and groups, queries
//! them, and receives their events. Business workers are built on this crate; a back end, which
//! only pushes, uses it directly.
//!
//! ```no_run
//! # async fn example() -> Result<(), push_suite_cluster::Error> {
//! use push_suite_cluster::{Cluster, Config};
//!
//! let cluster = Cluster::start(Config::new(["127.0.0.1:1236"], "s3cret"));
//! cluster.send_to_uid("alice", "your order is on its way").await?;
//! cluster.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! A cluster subscribes to one or several registers and keeps one link to each gateway that any of
//! them lists. A restarted register may list fewer gateways than the others for a while, hence the
//! union. A gateway that no register lists any longer keeps its link until that closes, and is not
//! dialled again. Registers may restart without any effect on the links.

#![warn(missing_docs)]

pub mod events;
pub mod link;

mod api;
mod directory;
mod discovery;
mod error;
mod failover;
mod failure_detector;
mod gateway;
mod handover;
mod instances;
mod merge;
mod metrics;
mod reachability;
mod shared;
mod targets;

use std::{fmt, sync::Arc, time::Duration};

use prometheus_client::registry::Registry;
use protocol::{InstanceId, Secret, link::Role};
use tokio_util::sync::{CancellationToken, DropGuard};

use directory::Directory;
use events::Consumer;
use failure_detector::FailureDetector;
use link::{HandlerScope, Identity, Link};
use shared::Shared;

pub use api::Filter;
pub use error::Error;
pub use merge::Row;
pub use runtime::tls::{MutualTls as Tls, Reload};
pub use targets::Recipients;

/// How long a call waits for first links to gateways, so that a message sent right after the start,
/// or right after a gateway has joined, reaches every client.
pub const SETTLE: Duration = Duration::from_secs(1);

/// Default of [`Config::gateway_grace`].
pub const GATEWAY_GRACE: Duration = Duration::from_secs(10);

/// Settings of a cluster.
#[derive(Clone, Debug)]
pub struct Config {
    /// Registers, each as `host:port`.
    pub registers: Vec<String>,
    /// The secret key of the cluster.
    pub secret: Secret,
    /// `name:id` of a worker; `None` for a back end. Must be unique.
    pub worker: Option<String>,
    /// TLS to registers and gateways, if the cluster uses it.
    pub tls: Option<Tls>,
    /// Peer timeout: a link is closed if the gateway sends nothing for this long, liveness probes
    /// included. Not zero.
    pub peer_timeout: Duration,
    /// Grace period: how long a disconnected gateway must be missing from all registers until it is
    /// declared dead. Nothing waits for it from then on, and a worker is notified that its clients
    /// have disconnected.
    pub gateway_grace: Duration,
}

/// Default of [`Config::peer_timeout`].
pub const PEER_TIMEOUT: Duration = Duration::from_secs(30);

impl Config {
    /// The settings of a back end.
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

/// A handle to every gateway. Cheap to clone; dropping the last clone closes all links.
#[derive(Clone)]
pub struct Cluster {
    shared: Arc<Shared>,
    /// Records commands sent on behalf of a handler.
    scope: Option<Arc<HandlerScope>>,
    /// `None` in a [detached](Self::detached) handle.
    _alive: Option<Arc<DropGuard>>,
}

/// State of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Connected registers.
    pub registers: usize,
    /// Linked gateways.
    pub linked: usize,
    /// Of these, the gateways that answer liveness probes in time, which is half of the peer
    /// timeout.
    pub answering: usize,
    /// Gateways that a register lists and that are not linked.
    pub missing: Vec<String>,
    /// Whether a register has sent its list and no first link is in progress.
    pub settled: bool,
    /// Whether this worker takes no events because it does not reach every gateway while another
    /// worker does.
    pub passive: bool,
}

impl Cluster {
    /// Starts to subscribe to the registers and to link to gateways, on the current runtime.
    pub fn start(config: Config) -> Self {
        let cluster = Self::begin(config, None);
        cluster.follow();
        cluster
    }

    /// For a consumer of events: a cluster that does nothing until [`follow`](Self::follow) is
    /// called, so that the consumer can be given the cluster before any event arrives.
    pub fn idle(config: Config, consumer: Arc<dyn Consumer>) -> Self {
        Self::begin(config, Some(consumer))
    }

    fn begin(config: Config, consumer: Option<Arc<dyn Consumer>>) -> Self {
        let Config { registers, secret, worker, tls, peer_timeout, gateway_grace } = config;
        let instance = InstanceId::from_random(runtime::random::random());
        let failure_detector = match &worker {
            Some(_) => FailureDetector::new(gateway_grace, instance.clone()),
            None => FailureDetector::for_back_end(gateway_grace),
        };
        let role = match worker {
            Some(key) => Role::Worker { key, instance },
            None => Role::Backend { instance },
        };
        let stop = CancellationToken::new();
        let identity = Identity { secret, role, tls };
        let shared = Shared::new(
            registers,
            identity,
            peer_timeout,
            consumer,
            failure_detector,
            stop.clone(),
        );
        Self { shared, scope: None, _alive: Some(Arc::new(stop.drop_guard())) }
    }

    /// Starts to subscribe to the registers and to link to gateways, on the current runtime. To be
    /// called once.
    pub fn follow(&self) {
        self.shared.follow_all();
    }

    /// A handle for the cluster's own consumer. It does not keep the links open: they close when
    /// the last other clone is dropped.
    pub fn detached(&self) -> Self {
        Self { _alive: None, ..self.clone() }
    }

    /// A handle that records in `scope` what is sent through it.
    pub fn scoped(&self, scope: Arc<HandlerScope>) -> Self {
        Self { scope: Some(scope), ..self.clone() }
    }

    /// Waits until a register has sent its list and every listed gateway is linked or has failed to
    /// link.
    pub async fn ready(&self) {
        self.until(Directory::is_settled).await;
    }

    async fn until(&self, holds: impl Fn(&Directory<Arc<Link>>) -> bool) {
        // `self.shared` holds the sender, so it cannot be closed.
        let _ = self.shared.watch().wait_for(|directory| holds(directory)).await;
    }

    /// The current state.
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

    /// Calls `see` with the current state and after every change, forever.
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

    /// Registers the metrics of all links. Their names have no prefix; pass a registry that has
    /// one.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.shared.metrics.register(registry);
    }

    /// Waits until every gateway has read everything sent so far, including an unreachable one that
    /// reconnects in time.
    ///
    /// # Errors
    /// Returns the error of the first gateway that fails to confirm in time.
    pub async fn flush(&self) -> Result<(), Error> {
        let directory = self.shared.directory();
        let flushed = directory.links().chain(directory.parked()).map(|link| async {
            let flushed = match link.flush().await {
                Err(Error::Unreachable { .. }) => link.acked().await,
                other => other,
            };
            match flushed {
                // A gateway declared dead meanwhile will not read any more.
                Err(Error::Unreachable { .. }) => Ok(()),
                other => other,
            }
        });
        futures_util::future::try_join_all(flushed).await.map(drop)
    }

    /// Asks every gateway to send no more events, and waits until none is in flight. No further
    /// gateway is linked, and gateways that seem dead are declared dead at once.
    pub async fn leave(&self) {
        self.shared.leave();
        let directory = self.shared.directory();
        futures_util::future::join_all(directory.links().map(|link| async {
            if let Err(error) = link.leave().await {
                tracing::debug!(%error, "gateway was not notified of the shutdown");
            }
        }))
        .await;
        self.shared.decide_now();
        self.shared.abandon();
    }

    /// Waits until no event acknowledgement is held back any more, see [`Link::finish`].
    pub async fn released(&self) {
        self.shared.pending_acks.close();
        self.shared.pending_acks.wait().await;
        self.shared.pending_acks.reopen();
    }

    /// Flushes all queues, waits until gateways have read the data, and closes every link. May take
    /// arbitrarily long unless a gateway reads nothing for [`Config::peer_timeout`]; drop the
    /// cluster to close at once.
    pub async fn close(&self) {
        if let Err(error) = self.flush().await {
            tracing::debug!(%error, "closed before all data was read");
        }
        self.shared.stop().await;
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("status", &self.status()).finish_non_exhaustive()
    }
}
