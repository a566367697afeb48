//! State shared by the handles and tasks of a cluster.

use std::{
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use protocol::{
    InstanceId,
    discovery::{self, Presence},
    link::ToGateway,
};
use runtime::{
    clock, supervise,
    sync::{Mutex, MutexGuard},
};
use tokio::sync::{Notify, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Error,
    directory::{self, Directory},
    events::Consumer,
    failure_detector::{FailureDetector, RegisterView},
    instances::Instances,
    link::{Identity, Link, PendingRequests, UnscopedCommands},
    metrics::Metrics,
    presence,
    reachability::Reachability,
    registers::{self, Failure, Register},
    streams::StreamState,
    uid_checks::UidChecks,
};

pub(crate) struct Shared {
    pub(crate) identity: Identity,
    /// Peer timeout of gateways.
    pub(crate) peer_timeout: Duration,
    /// Removed at shutdown, since the consumer usually holds a cluster itself.
    consumer: Mutex<Option<Arc<dyn Consumer>>>,
    pub(crate) metrics: Arc<Metrics>,
    /// Events whose handlers have finished, held back until their commands are acknowledged.
    pub(crate) pending_acks: TaskTracker,
    /// Commands that no event accounts for.
    pub(crate) unscoped: Arc<UnscopedCommands>,
    /// Decides which gateways are dead.
    failure_detector: Mutex<FailureDetector>,
    /// Gateway instances, for logs.
    instances: Mutex<Instances>,
    /// Notified when an action of the failure detector may be due.
    pub(crate) wake_detector: Notify,
    /// Whether this worker reaches every gateway.
    reachability: Mutex<Reachability>,
    /// Whether events are left to other workers.
    passive: AtomicBool,
    /// Notified when there is something to announce to registers.
    pub(crate) announce: watch::Sender<()>,
    /// Handovers to other workers that are not acknowledged yet.
    pub(crate) handovers: PendingRequests<()>,
    /// Checks of uids that gateways have asked for.
    pub(crate) uid_checks: UidChecks,
    /// Groups that this worker watches, if it watches any.
    presence: OnceLock<Arc<presence::Owner>>,
    pub(crate) streams: StreamState,
    /// The highest command number used for a gateway that was given up. Should that gateway be
    /// alive, it has not received a higher one from here.
    numbered: AtomicU64,
    directory: watch::Sender<Arc<Directory<Arc<Link>>>>,
    /// When a register last listed a new gateway.
    newest: Mutex<Option<Instant>>,
    registers: Mutex<Vec<Register>>,
    /// The last gateway that has rejected the secret, until one is linked.
    rejected_by: Mutex<Option<Arc<str>>>,
    tasks: TaskTracker,
    /// No new links are established.
    leaving: CancellationToken,
    /// Every task ends.
    stop: CancellationToken,
}

impl Shared {
    pub(crate) fn new(
        registers: Vec<String>,
        identity: Identity,
        peer_timeout: Duration,
        consumer: Option<Arc<dyn Consumer>>,
        streams: StreamState,
        failure_detector: FailureDetector,
        stop: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            identity,
            peer_timeout,
            consumer: Mutex::new(consumer),
            metrics: Arc::default(),
            pending_acks: TaskTracker::new(),
            unscoped: Arc::default(),
            reachability: Mutex::new(Reachability::new(failure_detector.grace())),
            passive: AtomicBool::new(false),
            failure_detector: Mutex::new(failure_detector),
            instances: Mutex::default(),
            wake_detector: Notify::new(),
            announce: watch::Sender::new(()),
            handovers: PendingRequests::default(),
            uid_checks: UidChecks::default(),
            presence: OnceLock::new(),
            streams,
            numbered: AtomicU64::new(0),
            directory: watch::Sender::new(Arc::default()),
            newest: Mutex::default(),
            registers: Mutex::new(registers.into_iter().map(Register::new).collect()),
            rejected_by: Mutex::default(),
            tasks: TaskTracker::new(),
            leaving: CancellationToken::new(),
            stop,
        })
    }

    pub(crate) fn register_addresses(&self) -> Vec<String> {
        self.registers().iter().map(|register| register.address.clone()).collect()
    }

    pub(crate) fn failure_detector(&self) -> MutexGuard<'_, FailureDetector> {
        self.failure_detector.lock()
    }

    pub(crate) fn instances(&self) -> MutexGuard<'_, Instances> {
        self.instances.lock()
    }

    pub(crate) fn consumer(&self) -> Option<Arc<dyn Consumer>> {
        self.consumer.lock().clone()
    }

    /// The groups that this worker watches, if it watches any.
    pub(crate) fn presence(&self) -> Option<&Arc<presence::Owner>> {
        self.presence.get()
    }

    /// Sets them once; returns `false` if they were set before.
    pub(crate) fn set_presence(&self, owner: Arc<presence::Owner>) -> bool {
        self.presence.set(owner).is_ok()
    }

    /// Whether gateways send events to this process.
    pub(crate) const fn has_events(&self) -> bool {
        self.identity.worker().is_some()
    }

    pub(crate) fn spawn_supervised(
        self: &Arc<Self>,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let (stop, on_panic) = (self.stop.clone(), FailOnPanic(Arc::clone(self)));
        supervise::spawn_tracked(&self.tasks, async move {
            stop.run_until_cancelled(task).await;
            drop(on_panic);
        });
    }

    /// The current directory of gateways.
    pub(crate) fn directory(&self) -> Arc<Directory<Arc<Link>>> {
        Arc::clone(&self.directory.borrow())
    }

    /// Subscribes to every change.
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<Directory<Arc<Link>>>> {
        self.directory.subscribe()
    }

    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Directory<Arc<Link>>) -> T) -> T {
        let mut result = None;
        self.directory.send_modify(|directory| {
            result = Some(change(Arc::make_mut(directory)));
        });
        result.expect("send_modify runs what it is given")
    }

    /// Applies a register's list, and returns the new gateways, to which links are to be
    /// maintained.
    pub(crate) fn update_register(
        self: &Arc<Self>,
        index: usize,
        list: Vec<discovery::Gateway>,
        presence: Option<Presence>,
    ) -> Vec<Arc<str>> {
        // Held until the directory is updated, or an older list could overtake a newer one.
        let mut registers = self.registers();
        let register = &mut registers[index];
        register.connected = true;
        (register.list, register.presence, register.failure) = (Some(list), presence, None);
        register.updated_at = Some(clock::now());
        self.count(&registers);
        let view = registers::view(&registers);
        let lists: Vec<_> = registers.iter().map(|register| register.list.clone()).collect();
        let changes = self.change(|directory| directory.list(&directory::union(&lists)));
        self.apply_view(view);
        self.expect_first_links();
        drop(registers);
        if !changes.new.is_empty() {
            *self.newest() = Some(clock::now());
        }
        for gateway in changes.foreign {
            tracing::warn!(
                gateway = &*gateway,
                "cannot link: the gateway supports only GatewayWorker's protocol"
            );
        }
        changes.new
    }

    /// A register has disconnected. Its last list remains valid.
    pub(crate) fn register_lost(self: &Arc<Self>, index: usize) {
        let mut registers = self.registers();
        registers[index].connected = false;
        self.count(&registers);
        let view = registers::view(&registers);
        self.apply_view(view);
        drop(registers);
        // Notifies watchers of the status.
        self.change(|_| ());
    }

    /// An attempt to subscribe to a register has failed.
    pub(crate) fn register_failed(&self, index: usize, failure: Failure) {
        self.registers()[index].failure = Some(failure);
    }

    /// Whether a gateway has rejected the secret; once one is linked, none has.
    pub(crate) fn set_rejected_by(&self, gateway: Option<&str>) {
        *self.rejected_by.lock() = gateway.map(Into::into);
    }

    /// Why no gateway is linked.
    pub(crate) fn no_gateway(&self) -> Error {
        if self.is_closed() {
            return Error::Closed;
        }
        if let Some(gateway) = &*self.rejected_by.lock() {
            let reason = "the secret keys differ".to_owned();
            return Error::WrongSecret { peer: format!("gateway {gateway}"), reason };
        }
        registers::why_no_list(&self.registers()).unwrap_or(Error::NoGateway)
    }

    /// The cause of an error: every gateway is unreachable once the cluster is closed.
    pub(crate) fn cause(&self, error: Error) -> Error {
        match error {
            Error::Unreachable { .. } if self.is_closed() => Error::Closed,
            error => error,
        }
    }

    /// Whether this is the first of all workers that the registers report.
    pub(crate) fn is_first_worker(&self) -> bool {
        let registers = self.registers();
        self.identity.worker().is_some_and(|us| registers::first_worker(&registers) == Some(us))
    }

    /// How long a call may still wait for first links; `None` if no register has listed a gateway
    /// yet.
    pub(crate) fn settles_in(&self, now: Instant) -> Option<Duration> {
        let newest = (*self.newest())?;
        Some((newest + crate::SETTLE).saturating_duration_since(now))
    }

    fn newest(&self) -> MutexGuard<'_, Option<Instant>> {
        self.newest.lock()
    }

    fn count(&self, registers: &[Register]) {
        let connected = registers.iter().filter(|register| register.connected).count();
        self.metrics.registers.set(connected as i64);
    }

    /// The number of connected registers.
    pub(crate) fn connected_registers(&self) -> usize {
        self.registers().iter().filter(|register| register.connected).count()
    }

    pub(crate) fn reachability(&self) -> MutexGuard<'_, Reachability> {
        self.reachability.lock()
    }

    /// Whether events are left to workers that reach every gateway.
    pub(crate) fn is_passive(&self) -> bool {
        self.passive.load(Ordering::Relaxed)
    }

    /// The role for new links.
    pub(crate) fn identity_now(&self) -> Identity {
        if self.is_passive() { self.identity.passive() } else { self.identity.clone() }
    }

    /// Leaves events to other workers from here on, or takes them again: every link is
    /// re-established.
    pub(crate) fn set_passive(&self, passive: bool) {
        self.passive.store(passive, Ordering::Relaxed);
        self.metrics.passive.set(passive.into());
        if passive {
            self.push_presence(|| presence::Event::Withdrawn);
        }
        let directory = self.directory();
        for link in directory.parked() {
            link.leave_events();
        }
        for link in directory.links() {
            if passive {
                // Otherwise the gateway would treat the closed link as the end of this process.
                let _ = link.offer(&mut ToGateway::Leaving);
            }
            link.hang_up();
        }
        if !passive {
            // From here on, commands of handlers must wait again for gateways given up before this
            // worker became passive, or they would never be delivered there.
            self.failure_detector().await_unreached();
            self.expect_first_links();
        }
        // Notifies watchers of the status.
        self.change(|_| ());
    }

    /// Whether another worker takes events and reaches every gateway: a register has reported so
    /// since that time, and no register that lists the worker has reported otherwise.
    pub(crate) fn others_are_complete(&self, since: Option<Instant>) -> bool {
        let registers = self.registers();
        let recent = |register: &&Register| register.connected && since <= register.updated_at;
        let presences: Vec<_> =
            registers.iter().filter(recent).filter_map(|it| it.presence.as_ref()).collect();
        let all_agree = |worker: &InstanceId| {
            presences.iter().all(|it| !it.workers.contains(worker) || it.complete.contains(worker))
        };
        let mut complete = presences.iter().flat_map(|it| &it.complete);
        complete.any(|worker| Some(worker) != self.identity.worker() && all_agree(worker))
    }

    /// The merged view of the registers has changed.
    fn apply_view(self: &Arc<Self>, view: Option<RegisterView>) {
        self.failure_detector().update_view(view, clock::now());
        // A gateway that is alive although its clients were closed elsewhere must be fenced.
        for link in self.directory().links() {
            if self.failure_detector().is_dead(link.instance()) {
                tracing::error!(
                    gateway = %link.gateway(),
                    "gateway is alive but was declared dead; fencing it"
                );
                let _ = link.offer(&mut ToGateway::Fenced);
                link.hang_up();
            }
        }
        self.wake_detector.notify_one();
    }

    /// Awaits the first link to a gateway.
    fn await_first_link(&self, address: Arc<str>, gateway: SocketAddr, instance: InstanceId) {
        self.failure_detector().awaited(address, gateway, instance, clock::now());
        self.wake_detector.notify_one();
    }

    fn registers(&self) -> MutexGuard<'_, Vec<Register>> {
        self.registers.lock()
    }

    /// Whether the gateway is to be dialled; it is removed if not.
    pub(crate) fn is_wanted(&self, address: &str) -> bool {
        self.change(|directory| directory.keep(address))
    }

    /// Waits until the gateway is not to be dialled any more.
    pub(crate) async fn unwanted(&self, address: &str) {
        // `self` holds the sender, so it cannot be closed.
        let _ = self.watch().wait_for(|directory| !directory.wants(address)).await;
    }

    /// Prevents new links from here on.
    pub(crate) fn leave(&self) {
        self.failure_detector().leave(clock::now());
        self.leaving.cancel();
        // It takes no more events, so other workers must not leave any to it.
        self.announce.send_replace(());
    }

    /// Whether the cluster is closed, so that every call fails.
    pub(crate) fn is_closed(&self) -> bool {
        self.stop.is_cancelled()
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.is_cancelled()
    }

    /// A link has closed. Commands that outlive it wait for the next one, if there may be one.
    pub(crate) fn lost(&self, address: &str) {
        self.change(|directory| directory.down(address));
        if self.stop.is_cancelled() {
            self.give_up(|_, _| true);
        } else if self.is_leaving() {
            self.abandon();
        } else {
            // Registers may have listed its next instance before this link closed.
            self.expect_first_links();
        }
    }

    /// Gives up the gateways that are not linked and whose last link is `such`: nothing waits for
    /// them any longer.
    pub(crate) fn give_up(&self, such: impl Fn(&str, &Link) -> bool) {
        self.close_sessions(self.change(|directory| directory.give_up(|at, link| such(at, link))));
    }

    /// Nothing waits for these gateways any longer.
    fn close_sessions(&self, given_up: Vec<Arc<Link>>) {
        for link in given_up {
            self.numbered.fetch_max(link.give_up(), Ordering::Relaxed);
        }
    }

    /// Queues commands for listed gateways before their first link. If a gateway is listed as
    /// another instance than the awaited one, the latter is given up.
    pub(crate) fn expect_first_links(&self) {
        if self.is_leaving() {
            return;
        }
        let mut expected = Vec::new();
        let newer = |instance: &InstanceId| self.failure_detector().is_newer(instance);
        let given_up = self.change(|directory| directory.supersede(|link| link.instance(), newer));
        self.close_sessions(given_up);
        self.change(|directory| {
            directory.expect(|address, gateway, instance| {
                if !self.failure_detector().may_await(instance) {
                    return None;
                }
                expected.push((Arc::clone(address), gateway, instance.clone()));
                let (unscoped, metrics) = (Arc::clone(&self.unscoped), Arc::clone(&self.metrics));
                let (instance, pending_acks) = (instance.clone(), self.pending_acks.clone());
                let last = self.numbered.load(Ordering::Relaxed);
                Some(Link::expected(gateway, instance, last, pending_acks, unscoped, metrics))
            });
        });
        for (address, gateway, instance) in expected {
            self.await_first_link(address, gateway, instance);
        }
    }

    /// A link to an unreachable gateway that represents it for its clients: nothing can be sent on
    /// it.
    pub(crate) fn out_of_reach(&self, gateway: SocketAddr, instance: InstanceId) -> Arc<Link> {
        let (unscoped, metrics) = (Arc::clone(&self.unscoped), Arc::clone(&self.metrics));
        let link =
            Link::expected(gateway, instance, 0, self.pending_acks.clone(), unscoped, metrics);
        link.give_up();
        link
    }

    /// Stops reconnecting. Events that wait for disconnected gateways are left to other workers.
    pub(crate) fn abandon(&self) {
        for link in self.directory().parked() {
            link.abandon();
        }
    }

    /// Flushes and closes every link, and ends every task.
    pub(crate) async fn stop(&self) {
        self.leave();
        self.give_up(|_, _| true);
        for link in self.directory().links() {
            link.hang_up();
        }
        for link in self.directory().links() {
            link.gone().await;
        }
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.give_up(|_, _| true);
        *self.consumer.lock() = None;
    }
}

/// Closes the cluster when one of its tasks panics, in a program where a panic does not end the
/// process: calls fail from then on, rather than miss gateways that no task maintains any more.
struct FailOnPanic(Arc<Shared>);

impl Drop for FailOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.leave();
            self.0.stop.cancel();
            self.0.give_up(|_, _| true);
        }
    }
}
