//! What a cluster's handles and tasks share.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use protocol::{
    Instance,
    discovery::{self, Presence},
    link::{Role, ToGateway},
};
use service::{clock, supervise};
use tokio::sync::{Notify, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    directory::{self, Directory},
    discovery::follow,
    events::Consumer,
    gateway::look_after,
    leases::Leases,
    link::{Correlated, Identity, Link, Unclaimed},
    lives::Lives,
    metrics::Metrics,
    oversight,
    reach::Reach,
};

pub(crate) struct Shared {
    pub(crate) identity: Identity,
    /// How long a gateway may be silent.
    pub(crate) peer_timeout: Duration,
    /// Taken away at the end, since the consumer usually holds a cluster itself.
    consumer: Mutex<Option<Arc<dyn Consumer>>>,
    pub(crate) metrics: Arc<Metrics>,
    /// Events whose handlers have finished, held back until what they pushed is taken.
    pub(crate) held: TaskTracker,
    /// What was pushed on behalf of no event, if there are events at all.
    pub(crate) unclaimed: Arc<Unclaimed>,
    /// Which gateways are gone.
    pub(crate) leases: Mutex<Leases>,
    /// What logs say of them.
    lives: Mutex<Lives>,
    /// Called when there may be something to decide about them.
    pub(crate) looked: Notify,
    /// Whether it reaches every gateway.
    reach: Mutex<Reach>,
    /// Whether events are left to others.
    passive: AtomicBool,
    /// Called when registers should hear of what was settled.
    pub(crate) news: watch::Sender<()>,
    /// Handovers to other workers that are not answered yet.
    pub(crate) handovers: Correlated<()>,
    /// The highest number that a command had for a gateway that was given up. Should it be there after
    /// all, it has not taken a higher one of ours.
    numbered: AtomicU64,
    directory: watch::Sender<Arc<Directory<Arc<Link>>>>,
    /// When a register last named a gateway that was new.
    newest: Mutex<Option<Instant>>,
    registers: Mutex<Vec<Register>>,
    tasks: TaskTracker,
    /// No new links are made.
    leaving: CancellationToken,
    /// Every task ends.
    stop: CancellationToken,
}

/// What we know of one register.
#[derive(Clone)]
pub(crate) struct Register {
    address: String,
    pub(crate) connected: bool,
    /// Its last list, kept while it is away.
    pub(crate) list: Option<Vec<discovery::Gateway>>,
    /// What it last said of workers, if it says such things.
    pub(crate) presence: Option<Presence>,
    /// When it said that.
    heard: Option<Instant>,
}

impl Register {
    const fn new(address: String) -> Self {
        Self { address, connected: false, list: None, presence: None, heard: None }
    }
}

impl Shared {
    pub(crate) fn new(
        registers: Vec<String>,
        identity: Identity,
        peer_timeout: Duration,
        consumer: Option<Arc<dyn Consumer>>,
        leases: Leases,
        stop: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            identity,
            peer_timeout,
            consumer: Mutex::new(consumer),
            metrics: Arc::default(),
            held: TaskTracker::new(),
            unclaimed: Arc::default(),
            reach: Mutex::new(Reach::new(leases.grace())),
            passive: AtomicBool::new(false),
            leases: Mutex::new(leases),
            lives: Mutex::default(),
            looked: Notify::new(),
            news: watch::Sender::new(()),
            handovers: Correlated::default(),
            numbered: AtomicU64::new(0),
            directory: watch::Sender::new(Arc::default()),
            newest: Mutex::default(),
            registers: Mutex::new(registers.into_iter().map(Register::new).collect()),
            tasks: TaskTracker::new(),
            leaving: CancellationToken::new(),
            stop,
        })
    }

    /// Begins to follow every register. Ends with the cluster.
    pub(crate) fn follow_all(self: &Arc<Self>) {
        let registers = self.registers().clone();
        self.spawn_supervised(Arc::clone(self).oversee());
        if self.has_events() {
            self.spawn_supervised(Arc::clone(self).watch_reach());
        }
        for (index, register) in registers.into_iter().enumerate() {
            self.spawn_supervised(follow(Arc::clone(self), index, register.address));
        }
    }

    pub(crate) fn lives(&self) -> MutexGuard<'_, Lives> {
        self.lives.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn consumer(&self) -> Option<Arc<dyn Consumer>> {
        self.consumer.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether gateways send us events.
    pub(crate) const fn has_events(&self) -> bool {
        matches!(self.identity.role, Role::Worker { .. })
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

    /// The gateways as they stand now.
    pub(crate) fn directory(&self) -> Arc<Directory<Arc<Link>>> {
        Arc::clone(&self.directory.borrow())
    }

    /// Told of every change.
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

    /// Takes a register's list, and begins to look after gateways that are new.
    pub(crate) fn register_says(
        self: &Arc<Self>,
        index: usize,
        list: Vec<discovery::Gateway>,
        presence: Option<Presence>,
    ) {
        // Held until the directory has it, or an older list could overtake a newer.
        let mut registers = self.registers();
        let register = &mut registers[index];
        register.connected = true;
        (register.list, register.presence) = (Some(list), presence);
        register.heard = Some(clock::now());
        self.count(&registers);
        let said = oversight::said(&registers);
        let lists: Vec<_> = registers.iter().map(|register| register.list.clone()).collect();
        let changes = self.change(|directory| directory.list(&directory::union(&lists)));
        self.hear(said);
        self.expect();
        drop(registers);
        if !changes.new.is_empty() {
            *self.newest() = Some(clock::now());
        }
        for gateway in changes.foreign {
            tracing::warn!(gateway = &*gateway, "speaks only GatewayWorker's protocol; left alone");
        }
        for address in changes.new {
            self.spawn_supervised(look_after(Arc::clone(self), address));
        }
    }

    /// A register is gone. What it said last still holds.
    pub(crate) fn register_lost(self: &Arc<Self>, index: usize) {
        let mut registers = self.registers();
        registers[index].connected = false;
        self.count(&registers);
        let said = oversight::said(&registers);
        self.hear(said);
        drop(registers);
        // Wakes tasks that watch the status.
        self.change(|_| ());
    }

    /// For how long a call may still wait for first links; `None` if no register has named a gateway yet.
    pub(crate) fn settles_in(&self, now: Instant) -> Option<Duration> {
        let newest = (*self.newest())?;
        Some((newest + crate::SETTLE).saturating_duration_since(now))
    }

    fn newest(&self) -> MutexGuard<'_, Option<Instant>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, registers: &[Register]) {
        let connected = registers.iter().filter(|register| register.connected).count();
        self.metrics.registers.set(connected as i64);
    }

    /// How many registers are connected.
    pub(crate) fn connected_registers(&self) -> usize {
        self.registers().iter().filter(|register| register.connected).count()
    }

    pub(crate) fn reach(&self) -> MutexGuard<'_, Reach> {
        // Every change is one step, so a panic elsewhere leaves nothing half done.
        self.reach.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether events are left to workers that reach every gateway.
    pub(crate) fn is_passive(&self) -> bool {
        self.passive.load(Ordering::Relaxed)
    }

    /// The role with which gateways are linked to now.
    pub(crate) fn identity_now(&self) -> Identity {
        if self.is_passive() { self.identity.passive() } else { self.identity.clone() }
    }

    /// Leaves events to others from here on, or takes them again: every link is made anew.
    pub(crate) fn set_passive(&self, passive: bool) {
        self.passive.store(passive, Ordering::Relaxed);
        self.metrics.passive.set(passive.into());
        let directory = self.directory();
        for link in directory.parked() {
            link.leave_events();
        }
        for link in directory.links() {
            if passive {
                // So that the end of the link is not taken for the end of this process.
                let _ = link.offer(&mut ToGateway::Leaving);
            }
            link.hang_up();
        }
        if !passive {
            // What handlers send from here on must wait for a gateway that was given up before the
            // events were left to others, or it would never get there.
            self.leases().await_unreached();
            self.expect();
        }
        // Wakes tasks that watch the status.
        self.change(|_| ());
    }

    /// Whether another worker takes events and reaches every gateway: a register has said so since that
    /// time, and none that knows the worker has said otherwise.
    pub(crate) fn others_are_complete(&self, since: Option<Instant>) -> bool {
        let registers = self.registers();
        let recent = |register: &&Register| register.connected && since <= register.heard;
        let said: Vec<_> =
            registers.iter().filter(recent).filter_map(|it| it.presence.as_ref()).collect();
        let all_agree = |worker: &Instance| {
            said.iter().all(|it| !it.workers.contains(worker) || it.complete.contains(worker))
        };
        let mut complete = said.iter().flat_map(|it| &it.complete);
        complete.any(|worker| Some(worker) != self.identity.worker() && all_agree(worker))
    }

    fn registers(&self) -> MutexGuard<'_, Vec<Register>> {
        // Every change is one step, so a panic elsewhere leaves nothing half done.
        self.registers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the gateway is to be called; it is forgotten if not.
    pub(crate) fn is_wanted(&self, address: &str) -> bool {
        self.change(|directory| directory.keep(address))
    }

    /// Waits until the gateway is not to be called any more.
    pub(crate) async fn unwanted(&self, address: &str) {
        // The sender is ours, so it cannot be gone.
        let _ = self.watch().wait_for(|directory| !directory.wants(address)).await;
    }

    /// No new links from here on.
    pub(crate) fn leave(&self) {
        self.leases().leave(clock::now());
        self.leaving.cancel();
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.is_cancelled()
    }

    /// A link is gone. What outlives it waits for the next, if there may be one.
    pub(crate) fn lost(&self, address: &str) {
        self.change(|directory| directory.down(address));
        if self.stop.is_cancelled() {
            self.give_up(|_, _| true);
        } else if self.is_leaving() {
            self.forsake();
        } else {
            // Registers may have named its next life before we noticed.
            self.expect();
        }
    }

    /// Nothing waits any more for gateways that are not linked and whose last link is `such`: they
    /// are gone.
    pub(crate) fn give_up(&self, such: impl Fn(&str, &Link) -> bool) {
        for link in self.change(|directory| directory.give_up(|at, link| such(at, link))) {
            self.numbered.fetch_max(link.give_up(), Ordering::Relaxed);
        }
    }

    /// Has what is sent wait for gateways that registers name, before they are linked for the first
    /// time. Where that is another life than the one that was waited for, that one is gone.
    pub(crate) fn expect(&self) {
        if self.is_leaving() {
            return;
        }
        let mut expected = Vec::new();
        let newer = |instance: &Instance| self.leases().is_newer(instance);
        let given_up = self.change(|directory| directory.supersede(|link| link.instance(), newer));
        for link in given_up {
            self.numbered.fetch_max(link.give_up(), Ordering::Relaxed);
        }
        self.change(|directory| {
            directory.expect(|address, gateway, instance| {
                if !self.leases().may_await(instance) {
                    return None;
                }
                expected.push((Arc::clone(address), gateway, instance.clone()));
                let (unclaimed, metrics) = (Arc::clone(&self.unclaimed), Arc::clone(&self.metrics));
                let (instance, held) = (instance.clone(), self.held.clone());
                let last = self.numbered.load(Ordering::Relaxed);
                Some(Link::expected(gateway, instance, last, held, unclaimed, metrics))
            });
        });
        for (address, gateway, instance) in expected {
            self.await_first(address, gateway, instance);
        }
    }

    /// A link to a gateway that is gone, as far as we know, on behalf of its clients: nothing can be sent
    /// by it.
    pub(crate) fn out_of_reach(&self, gateway: SocketAddr, instance: Instance) -> Arc<Link> {
        let (unclaimed, metrics) = (Arc::clone(&self.unclaimed), Arc::clone(&self.metrics));
        let link = Link::expected(gateway, instance, 0, self.held.clone(), unclaimed, metrics);
        link.give_up();
        link
    }

    /// No link is made any more. Events that wait for gateways that are not linked are left to other
    /// workers.
    pub(crate) fn forsake(&self) {
        for link in self.directory().parked() {
            link.forsake();
        }
    }

    /// Ends every link once what is queued on it is written, and every task.
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
        *self.consumer.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Ends the cluster when a task of it panics, in a program where that does not end the process: calls
/// fail from then on, rather than miss gateways that nobody looks after any more.
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
