//! The calls of the worker library on this crate. Not part of its interface: they change at any time.

use std::{fmt, net::SocketAddr, ops::Deref, sync::Arc, time::Duration};

use protocol::{
    ClientId, Command, Group, InstanceId,
    discovery::{Gateway, Presence},
};
use runtime::sync::Mutex;

use crate::{Cluster, ClusterGuard, Config, Error, link::loopback, presence, supervisor};

pub use crate::presence::Application;
pub use crate::{
    api::report_on,
    error::at_most_targets,
    events::{CleanupGuard, Consumer, EventReceiver, Room},
    link::{
        ANSWER_TIMEOUT, Finished, HandlerScope, Link, OUTGOING_LIMIT, Offer, Waiting,
        loopback::LocalGateway,
    },
};

/// The owner of the links of a worker's cluster.
pub struct WorkerCluster(ClusterGuard);

impl WorkerCluster {
    /// The cluster of a worker with this key, `name:id`. It does nothing until
    /// [`follow`](Self::follow) is called, so that the consumer can be given the cluster before any
    /// event arrives.
    pub fn new(config: Config, key: String, consumer: Arc<dyn Consumer>) -> Self {
        Self(ClusterGuard::of(config, Some(key), Some(consumer)))
    }

    /// Starts to subscribe to the registers and to link to gateways, on the current runtime. To be
    /// called once.
    pub fn follow(&self) {
        supervisor::start(&self.0.shared);
    }

    /// Watches the groups with these prefixes. To be called once, before [`follow`](Self::follow).
    pub fn watch_groups(
        &self,
        prefixes: Vec<Group>,
        grace: Duration,
        application: Arc<dyn Application>,
    ) {
        self.0.shared.watch_groups(presence::Owner::new(prefixes, grace, application));
    }

    /// Waits until all notices about watched groups are handled.
    pub async fn notices_handled(&self) {
        if let Some(owner) = self.0.shared.presence() {
            owner.notices_handled().await;
        }
    }

    /// Asks every gateway to send no more events, and waits until none is in flight. No further
    /// gateway is linked, and gateways that seem dead are declared dead at once.
    pub async fn leave(&self) {
        let shared = &self.0.shared;
        shared.leave();
        shared.push_presence(|| presence::Event::Withdrawn);
        let directory = shared.directory();
        futures_util::future::join_all(directory.links().map(|link| async {
            if let Err(error) = link.leave().await {
                tracing::debug!(%error, "gateway was not notified of the shutdown");
            }
        }))
        .await;
        shared.decide_now();
        shared.abandon();
    }

    /// Waits until no event acknowledgement is held back any more, see [`Link::finish`].
    pub async fn acks_flushed(&self) {
        let pending_acks = &self.0.shared.pending_acks;
        pending_acks.close();
        pending_acks.wait().await;
        pending_acks.reopen();
    }
}

impl Deref for WorkerCluster {
    type Target = ClusterGuard;

    fn deref(&self) -> &ClusterGuard {
        &self.0
    }
}

impl fmt::Debug for WorkerCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WorkerCluster").field(&self.0).finish()
    }
}

/// A handle that records in `scope` what is sent through it.
pub fn scoped(cluster: &Cluster, scope: Arc<HandlerScope>) -> Cluster {
    Cluster { scope: Some(scope), ..cluster.clone() }
}

/// Sends a command to a client's gateway.
///
/// # Errors
/// [`Error::Unreachable`] when the gateway is not linked and no reconnect is awaited.
pub async fn command(cluster: &Cluster, client: ClientId, command: Command) -> Result<(), Error> {
    cluster.command(client, command).await
}

/// A worker's cluster with one gateway, which is inside this process, without sockets.
pub struct Loopback<G> {
    guard: ClusterGuard,
    link: Arc<Link>,
    gateway: Arc<Mutex<G>>,
}

impl<G: LocalGateway> Loopback<G> {
    /// A cluster that is linked to `gateway` at once, under this address. Runs on the current
    /// runtime.
    pub fn start(address: SocketAddr, gateway: G) -> Self {
        // Stands for a register that lists the gateway and this worker; nothing connects to it.
        let config = Config::new(["loopback"], "");
        let guard = ClusterGuard::of(config, Some("Test:1".to_owned()), None);
        let (shared, instance) = (&guard.shared, InstanceId::from_random(1));
        let (unscoped, metrics) = (Arc::clone(&shared.unscoped), Arc::clone(&shared.metrics));
        let acks = shared.pending_acks.clone();
        let link = Link::first(address, instance, 0, acks, unscoped, metrics);
        let name = address.to_string();
        let listed = Gateway { native: true, ..Gateway::plain(name.clone()) };
        let workers = shared.identity.worker().cloned().into_iter().collect();
        let presence = Presence { workers, ..Presence::default() };
        shared.update_register(0, vec![listed], Some(presence));
        shared.change(|directory| directory.up(&name, address, Arc::clone(&link)));
        let gateway = Arc::new(Mutex::new(gateway));
        let (output, executor) = (Arc::clone(&link), Arc::clone(&gateway));
        shared.spawn_supervised(async move {
            loop {
                loopback::run_once(&output, &mut *executor.lock());
                loopback::output_queued(&output).await;
            }
        });
        Self { guard, link, gateway }
    }

    /// The cluster.
    pub const fn cluster(&self) -> &Cluster {
        self.guard.cluster()
    }

    /// The link to the gateway.
    pub const fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// The gateway, after it has executed everything sent so far.
    pub fn with_gateway<T>(&self, see: impl FnOnce(&mut G) -> T) -> T {
        let mut gateway = self.gateway.lock();
        loopback::run_once(&self.link, &mut *gateway);
        see(&mut gateway)
    }
}

impl<G> fmt::Debug for Loopback<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loopback").field("link", &self.link).finish_non_exhaustive()
    }
}
