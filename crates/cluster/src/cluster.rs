//! The handle to every gateway, and its owner.

use std::{fmt, net::SocketAddr, ops::Deref, sync::Arc, time::Duration};

use prometheus_client::registry::Registry;
use protocol::{InstanceId, link::Role};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    Config, Error,
    api::Partial,
    directory::Directory,
    events::Consumer,
    failure_detector::FailureDetector,
    link::{HandlerScope, Identity, Link},
    shared::Shared,
    streams::StreamState,
    supervisor,
};

/// How long a call waits for first links to gateways, so that a message sent right after the start,
/// or right after a gateway has joined, reaches every client.
pub const SETTLE: Duration = Duration::from_secs(1);

/// A handle to every gateway, to send and to query. Cheap to clone, to keep, and to use from any
/// task. Its links belong to a [`ClusterGuard`], or to the worker that has passed it.
#[derive(Clone)]
pub struct Cluster {
    pub(crate) shared: Arc<Shared>,
    /// Records commands sent on behalf of a handler.
    pub(crate) scope: Option<Arc<HandlerScope>>,
    /// Collects the gateways that do not answer; see [`Cluster::partial`].
    pub(crate) partial: Option<Arc<Partial>>,
}

/// The owner of the links of a cluster, and a [`Cluster`] itself. Keep it for as long as the
/// cluster is used: dropping it closes every link at once, and what is queued is lost;
/// [`close`](Self::close) delivers it first. Calls on clones fail with [`Error::Closed`] then.
#[must_use = "dropping it closes every link"]
pub struct ClusterGuard {
    cluster: Cluster,
    _stop: DropGuard,
}

/// State of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
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
    /// Starts to subscribe to the registers and to link to gateways, on the current runtime. Calls
    /// wait up to [`SETTLE`] for the first links.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(config: Config) -> ClusterGuard {
        let guard = ClusterGuard::of(config, None, None);
        supervisor::start(&guard.shared);
        guard
    }

    /// Waits until a register has sent its list and every listed gateway is linked or has failed to
    /// link.
    pub async fn ready(&self) {
        self.until(Directory::is_settled).await;
    }

    pub(crate) async fn until(&self, holds: impl Fn(&Directory<Arc<Link>>) -> bool) {
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
    /// The error of the first gateway that fails to confirm within five seconds;
    /// [`Error::Closed`] if the cluster is closed.
    pub async fn flush(&self) -> Result<(), Error> {
        if self.shared.is_closed() {
            return Err(Error::Closed);
        }
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

    /// Waits until every linked gateway has acknowledged every command sent so far, and returns the
    /// inner addresses of those of which that is not known: they are disconnected, or have not
    /// answered within five seconds. Commands are not lost there: they take effect once, unless the
    /// gateway is not reached any more. Cheaper than [`flush`](Self::flush).
    ///
    /// # Errors
    /// [`Error::Closed`] if the cluster is closed.
    pub async fn flush_linked(&self) -> Result<Vec<SocketAddr>, Error> {
        if self.shared.is_closed() {
            return Err(Error::Closed);
        }
        let directory = self.shared.directory();
        let flushed = directory
            .links()
            .map(|link| async { link.taken().await.err().map(|_| link.gateway()) });
        let unreachable = futures_util::future::join_all(flushed).await;
        let parked = directory.parked().map(|link| link.gateway());
        Ok(unreachable.into_iter().flatten().chain(parked).collect())
    }
}

impl ClusterGuard {
    /// A cluster whose tasks are not started yet; of the worker with this key, if there is one.
    pub(crate) fn of(
        config: Config,
        worker: Option<String>,
        consumer: Option<Arc<dyn Consumer>>,
    ) -> Self {
        let Config { registers, secret, tls, peer_timeout, gateway_grace, close_codes, streams } =
            config;
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
        let identity = Identity { secret, role, close_codes, tls };
        let shared = Shared::new(
            registers,
            identity,
            peer_timeout,
            consumer,
            StreamState::new(streams),
            failure_detector,
            stop.clone(),
        );
        Self { cluster: Cluster { shared, scope: None, partial: None }, _stop: stop.drop_guard() }
    }

    /// The cluster, to be cloned where it is used.
    pub const fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Flushes all queues, waits until gateways have read the data, and closes every link. May take
    /// arbitrarily long unless a gateway reads nothing for [`Config::peer_timeout`]; drop the guard
    /// to close at once.
    pub async fn close(&self) {
        if let Err(error) = self.flush().await {
            tracing::debug!(%error, "closed before all data was read");
        }
        self.shared.stop().await;
    }
}

impl Deref for ClusterGuard {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("status", &self.status()).finish_non_exhaustive()
    }
}

impl fmt::Debug for ClusterGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterGuard").field("status", &self.status()).finish_non_exhaustive()
    }
}
