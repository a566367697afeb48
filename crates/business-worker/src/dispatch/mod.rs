//! One client in order, many at once.
//!
//! An event's method is polled once, right where the event was read. Most are done then. One that
//! has to wait moves to a task of its own, its client's *lane*, and further events of that client
//! queue there; a client with nothing to do has no task. Methods that compute for long are noticed
//! and begin in lanes, see [`pace`].

mod estates;
mod gate;
mod in_hand;
mod intake;
mod lane;
mod memory;
mod pace;
mod slot;
mod standby;
mod turn;
mod warnings;

use std::{
    future::ready,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use client::{
    Cluster,
    events::{Consumer, Intake, Settlement},
    link::Link,
};
use protocol::{
    CloseReason, ConnectionId, Event, Instance,
    link::Delivery,
    standby::{HandedOver, Handover},
};
use service::supervise;
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::Semaphore,
};
use tokio_util::{
    sync::{CancellationToken, PollSemaphore},
    task::TaskTracker,
};

use crate::{Worker, metrics::Metrics};
use estates::Estates;
use gate::Gate;
use in_hand::InHand;
use lane::{Method, Running};
use slot::{Busy, Home};
use turn::Outcome;
use warnings::Warnings;

pub(crate) use slot::Slot;
pub(crate) use turn::caught;

/// A worker, and the lanes of its clients.
pub(crate) struct Dispatcher<W> {
    worker: W,
    cluster: OnceLock<Cluster>,
    metrics: Arc<Metrics>,
    lanes: TaskTracker,
    estates: Estates,
    /// Clients with a lane, by whichever link. A client that comes back by a new link waits here
    /// for what its old link began.
    busy: Mutex<Busy>,
    /// How often a method that fails is called again.
    retries: u32,
    /// Lets one handler run alone.
    gate: Arc<Gate>,
    /// What is logged about handlers.
    warnings: Mutex<Warnings>,
    /// What waits to be called again is left to other workers from then on.
    draining: CancellationToken,
    /// Places for methods that compute for long; `None` where there is only one thread.
    computing: Option<PollSemaphore>,
}

impl<W: Worker> Dispatcher<W> {
    /// A dispatcher on the current runtime.
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
            estates: Estates::default(),
            busy: Mutex::default(),
        })
    }

    pub(crate) const fn worker(&self) -> &W {
        &self.worker
    }

    /// What clients' methods are given. To be called once, before any event comes.
    pub(crate) fn set_cluster(&self, cluster: Cluster) {
        let _ = self.cluster.set(cluster);
    }

    /// Nothing is waited for any more but what runs.
    pub(crate) fn drain(&self) {
        self.draining.cancel();
    }

    /// Waits until every lane has come to its end. No event may come meanwhile.
    pub(crate) async fn idle(&self) {
        self.lanes.close();
        self.lanes.wait().await;
    }

    /// How many events were left to other workers.
    pub(crate) fn left(&self) -> u64 {
        self.metrics.left.get()
    }

    fn cluster(&self) -> Cluster {
        self.cluster.get().expect("set before any event comes").clone()
    }

    /// Closes clients on behalf of their gateway, which is gone.
    fn settle(
        self: &Arc<Self>,
        gateway: &Instance,
        slots: Vec<Arc<Slot>>,
        redelivered: bool,
        settlement: &Settlement,
    ) {
        if !slots.is_empty() {
            let clients = slots.len();
            tracing::warn!(instance = %gateway, clients, "closing clients of a gateway that is gone");
        }
        for slot in slots {
            let close = last_word(slot.id().connection, redelivered);
            if slot.settle(close, settlement.clone(), &self.busy) {
                let method = Method::new(Running::new(ready(Outcome::Over(None))), None, None);
                let lane = lane::run(Arc::clone(self), slot, method, None);
                supervise::spawn_tracked(&self.lanes, lane);
            }
        }
    }

    fn warnings(&self) -> MutexGuard<'_, Warnings> {
        // Counters: whatever a panic elsewhere has left there will do.
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the clients of a link share.
    fn home(&self, link: &Arc<Link>) -> Home {
        let (link, cluster) = (Arc::clone(link), self.cluster());
        Home { link, cluster, in_hand: InHand::default(), lanes: Mutex::default() }
    }

    const fn busy(&self) -> &Mutex<Busy> {
        &self.busy
    }
}

/// A dispatcher as a cluster's consumer.
pub(crate) struct Events<W>(pub(crate) Arc<Dispatcher<W>>);

impl<W: Worker> Consumer for Events<W> {
    fn linked(&self, link: &Arc<Link>) -> Box<dyn Intake> {
        Box::new(intake::Intake::new(Arc::clone(&self.0), Arc::clone(link)))
    }

    fn over(
        &self,
        gateway: &Instance,
        in_doubt: bool,
        settlement: Settlement,
    ) -> Vec<Vec<Instance>> {
        let (slots, groups) = self.0.estates.open(gateway);
        self.0.settle(gateway, slots, in_doubt, &settlement);
        groups
    }

    fn digest(&self, gateway: &Instance, holders: &[Instance]) -> u64 {
        self.0.estates.digest(gateway, holders)
    }

    fn take_over(&self, gateway: &Instance, holders: &[Instance], settlement: Settlement) {
        let slots = self.0.estates.resolve(gateway, holders, true);
        self.0.settle(gateway, slots, true, &settlement);
    }

    fn owner_done(&self, gateway: &Instance, holders: &[Instance], settlement: Settlement) {
        let slots = self.0.estates.resolve(gateway, holders, false);
        self.0.settle(gateway, slots, true, &settlement);
    }

    fn forget(&self, gateway: &Instance, holders: &[Instance]) {
        drop(self.0.estates.resolve(gateway, holders, true));
    }

    fn hand_over(
        &self,
        gateway: &Instance,
        us: &Instance,
    ) -> Vec<(Vec<Instance>, Vec<HandedOver>)> {
        self.0.estates.hand_over(gateway, us)
    }

    fn handed_over(&self, link: &Arc<Link>, handover: Handover) -> Vec<Vec<Instance>> {
        self.0.estates.take(&Arc::new(self.0.home(link)), handover)
    }

    fn confirmed(&self, gateway: &Instance) {
        self.0.estates.forget(gateway);
    }
}

/// The last event of a client whose gateway is gone. Its number is above all that the gateway can
/// have given.
fn last_word(client: ConnectionId, redelivered: bool) -> Delivery {
    let event = Event::Close(CloseReason::GatewayLost);
    let (shard, seq, edits) = (0, 0, 0);
    let number = u64::MAX;
    Delivery { client, shard, seq, number, redelivered, edits, context: None, event }
}
