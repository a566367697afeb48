//! Runs handlers: sequentially per client, concurrently across clients.
//!
//! An event's handler is first polled on the task that read the event. Most complete then. One that
//! waits for an answer of a gateway is kept by that task, which also reads the answer. Any other that
//! has to wait moves to a task of its own, its client's *lane*, and further events of that client
//! queue there; an idle client has no task. Handlers that compute for long are detected and started
//! in lanes, see [`blocking_detector`].

mod blocking_detector;
mod client_state;
mod event_receiver;
mod gate;
mod in_flight;
mod invoke;
mod lane;
mod orphans;
mod presence;
mod session_cache;
mod standby;
mod started;
mod waiting;
mod warnings;

use std::{
    future::ready,
    sync::{Arc, OnceLock},
};

use protocol::{
    CloseReason, ConnectionId, Event, InstanceId,
    link::Delivery,
    standby::{HandedOver, Handover},
};
use push_suite_cluster::{
    Cluster,
    internal::{CleanupGuard, Consumer, EventReceiver, Link},
};
use runtime::{
    supervise,
    sync::{Mutex, MutexGuard},
};
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::Semaphore,
};
use tokio_util::{
    sync::{CancellationToken, PollSemaphore},
    task::TaskTracker,
};

use crate::{Worker, context::SYNTHETIC_CLOSE, metrics::Metrics};
use client_state::Busy;
use gate::Gate;
use invoke::Outcome;
use lane::{Invocation, Running};
use orphans::OrphanedClients;
use warnings::Warnings;

pub(crate) use client_state::{ClientState, LinkContext};
pub(crate) use invoke::catch_panic;
pub(crate) use presence::Watching;

/// A worker and the lanes of its clients.
pub(crate) struct Dispatcher<W> {
    worker: W,
    cluster: OnceLock<Cluster>,
    metrics: Arc<Metrics>,
    lanes: TaskTracker,
    orphans: OrphanedClients,
    /// Clients with a lane, on any link. A client that reappears on a new link waits here for the
    /// events started on its old link.
    busy: Mutex<Busy>,
    /// Maximum number of retries of a failed handler.
    retries: u32,
    /// Lets one handler run isolated.
    gate: Arc<Gate>,
    /// Rate limits of log lines about handlers.
    warnings: Mutex<Warnings>,
    /// Once cancelled, events that await a retry are left to other workers.
    draining: CancellationToken,
    /// Permits for handlers that compute for long; `None` on a single-threaded runtime.
    computing: Option<PollSemaphore>,
}

impl<W: Worker> Dispatcher<W> {
    /// Creates a dispatcher on the current runtime.
    pub(crate) fn new(worker: W, retries: u32, metrics: Arc<Metrics>) -> Arc<Self> {
        let runtime = Handle::current();
        let threads = runtime.metrics().num_workers();
        let computing = (runtime.runtime_flavor() == RuntimeFlavor::MultiThread)
            .then(|| PollSemaphore::new(Arc::new(Semaphore::new(threads))));
        Arc::new(Self {
            computing,
            retries,
            gate: Arc::default(),
            warnings: Mutex::default(),
            draining: CancellationToken::new(),
            worker,
            cluster: OnceLock::new(),
            metrics,
            lanes: TaskTracker::new(),
            orphans: OrphanedClients::default(),
            busy: Mutex::default(),
        })
    }

    pub(crate) const fn worker(&self) -> &W {
        &self.worker
    }

    /// Sets the cluster passed to handlers. Call it once, before the first event.
    pub(crate) fn set_cluster(&self, cluster: Cluster) {
        let _ = self.cluster.set(cluster);
    }

    /// Stops retries: only running handlers are waited for.
    pub(crate) fn drain(&self) {
        self.draining.cancel();
    }

    /// Waits until every lane has ended. No event may arrive in the meantime.
    pub(crate) async fn idle(&self) {
        self.lanes.close();
        self.lanes.wait().await;
    }

    /// Number of events left to other workers.
    pub(crate) fn events_left(&self) -> u64 {
        self.metrics.left.get()
    }

    fn cluster(&self) -> Cluster {
        self.cluster.get().expect("set before the first event").clone()
    }

    /// Closes clients on behalf of their dead gateway.
    fn close_orphans(
        self: &Arc<Self>,
        gateway: &InstanceId,
        states: Vec<Arc<ClientState>>,
        redelivered: bool,
        cleanup: &CleanupGuard,
    ) {
        if !states.is_empty() {
            let clients = states.len();
            tracing::warn!(instance = %gateway, clients, "closing clients of a dead gateway");
        }
        for state in states {
            let close = synthetic_close(state.id().connection, redelivered);
            if state.close_orphaned(close, cleanup.clone(), &self.busy) {
                let invocation =
                    Invocation::new(Running::new(ready(Outcome::Done(None))), None, None);
                let lane = lane::run(Arc::clone(self), state, invocation, None);
                supervise::spawn_tracked(&self.lanes, lane);
            }
        }
    }

    fn warnings(&self) -> MutexGuard<'_, Warnings> {
        self.warnings.lock()
    }

    /// The state shared by the clients of a link.
    fn link_context(&self, link: &Arc<Link>) -> LinkContext {
        LinkContext::new(Arc::clone(link), self.cluster())
    }

    const fn busy(&self) -> &Mutex<Busy> {
        &self.busy
    }
}

/// A dispatcher as the consumer of a cluster's events.
pub(crate) struct Events<W>(pub(crate) Arc<Dispatcher<W>>);

impl<W: Worker> Consumer for Events<W> {
    fn linked(&self, link: &Arc<Link>) -> Box<dyn EventReceiver> {
        Box::new(event_receiver::EventReceiver::new(Arc::clone(&self.0), Arc::clone(link)))
    }

    fn over(
        &self,
        gateway: &InstanceId,
        in_doubt: bool,
        cleanup: CleanupGuard,
    ) -> Vec<Vec<InstanceId>> {
        let (states, groups) = self.0.orphans.take_owned(gateway);
        self.0.close_orphans(gateway, states, in_doubt, &cleanup);
        groups
    }

    fn digest(&self, gateway: &InstanceId, holders: &[InstanceId]) -> u64 {
        self.0.orphans.digest(gateway, holders)
    }

    fn take_over(&self, gateway: &InstanceId, holders: &[InstanceId], cleanup: CleanupGuard) {
        let states = self.0.orphans.resolve(gateway, holders, true);
        self.0.close_orphans(gateway, states, true, &cleanup);
    }

    fn owner_done(&self, gateway: &InstanceId, holders: &[InstanceId], cleanup: CleanupGuard) {
        let states = self.0.orphans.resolve(gateway, holders, false);
        self.0.close_orphans(gateway, states, true, &cleanup);
    }

    fn forget(&self, gateway: &InstanceId, holders: &[InstanceId]) {
        drop(self.0.orphans.resolve(gateway, holders, true));
    }

    fn hand_over(
        &self,
        gateway: &InstanceId,
        us: &InstanceId,
    ) -> Vec<(Vec<InstanceId>, Vec<HandedOver>)> {
        self.0.orphans.hand_over(gateway, us)
    }

    fn handed_over(&self, link: &Arc<Link>, handover: Handover) -> Vec<Vec<InstanceId>> {
        self.0.orphans.accept_handover(&Arc::new(self.0.link_context(link)), handover)
    }

    fn confirmed(&self, gateway: &InstanceId) {
        self.0.orphans.forget(gateway);
    }
}

/// The close event of a client whose gateway is dead. Its number is above any that the gateway can
/// have assigned.
fn synthetic_close(client: ConnectionId, redelivered: bool) -> Delivery {
    let event = Event::Close(CloseReason::GatewayLost);
    let (shard, seq, edits) = (0, 0, 0);
    let number = SYNTHETIC_CLOSE;
    Delivery { client, shard, seq, number, redelivered, edits, context: None, event }
}
