//! Looks after gateways that are out of reach: decides when one is gone, and has its clients closed.

use std::{
    future::pending,
    net::SocketAddr,
    sync::{Arc, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use protocol::{
    Instance,
    discovery::{Presence, Settled, Takeover},
    link::ToGateway,
};
use rustc_hash::FxHashSet;
use service::clock;
use tokio::time::{sleep, sleep_until};

use crate::{
    directory,
    events::Consumer,
    handover,
    leases::{Decision, Leases, Orphaned, Said, Verdict},
    link::{Ended, Link},
    lives::Life,
    shared::{Register, Shared},
};

/// Clients of a gateway that is gone are being closed. When the last clone is dropped, that is done,
/// and other workers hear of it.
#[derive(Clone)]
pub struct Settlement(Arc<Settling>);

struct Settling {
    shared: Arc<Shared>,
    done: Option<Done>,
}

/// What others are told then.
#[derive(Clone, Debug)]
enum Done {
    /// We have closed all clients there that were ours.
    Settled(Settled),
    /// We have closed clients that we stood by for.
    TakenOver(Takeover),
}

impl Settlement {
    fn new(shared: &Arc<Shared>, done: Option<Done>) -> Self {
        Self(Arc::new(Settling { shared: Arc::clone(shared), done }))
    }
}

impl Drop for Settling {
    fn drop(&mut self) {
        let Some(done) = self.done.take() else { return };
        let mut leases = self.shared.leases();
        match done {
            Done::Settled(settled) => leases.settle(settled),
            Done::TakenOver(takeover) => leases.take_over(takeover),
        }
        drop(leases);
        self.shared.news.send_replace(());
    }
}

impl std::fmt::Debug for Settlement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Settlement").field(&self.0.done).finish()
    }
}

/// What connected registers say, all together; `None` if none is connected.
pub(crate) fn said(registers: &[Register]) -> Option<Said> {
    let mut lists = Vec::new();
    let mut said = Said::default();
    for register in registers.iter().filter(|register| register.connected) {
        lists.push(register.list.clone());
        if let Some(Presence { workers, settled, takeovers, .. }) = &register.presence {
            let known = said.workers.get_or_insert_with(FxHashSet::default);
            known.extend(workers.iter().cloned());
            said.settled.extend(settled.iter().cloned());
            said.takeovers.extend(takeovers.iter().cloned());
        }
    }
    said.gateways = directory::union(&lists);
    (!lists.is_empty()).then_some(said)
}

impl Shared {
    pub(crate) fn leases(&self) -> MutexGuard<'_, Leases> {
        // Every change is one step, so a panic elsewhere leaves nothing half done.
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A gateway is linked. Says whether this life of it may go on.
    pub(crate) fn meet(self: &Arc<Self>, gateway: SocketAddr, instance: &Instance) -> bool {
        let verdicts = self.leases().linked(gateway, instance, clock::now());
        let goes_on = verdicts.is_some();
        self.carry_out(verdicts.unwrap_or_default());
        goes_on
    }

    /// A link is lost, and was perhaps since `since`.
    pub(crate) fn miss(&self, address: &str, link: &Link, ended: &Ended, since: Instant) {
        let instance = link.instance();
        let mut leases = self.leases();
        leases.unlinked(address.into(), link.gateway(), instance.clone(), since, clock::now());
        // One that we left gives our clients to others.
        if let Ended::WrittenOff | Ended::Switched = ended {
            leases.went_on(instance);
        }
        drop(leases);
        self.looked.notify_one();
    }

    /// A gateway that was never linked is waited for.
    pub(crate) fn await_first(&self, address: Arc<str>, gateway: SocketAddr, instance: Instance) {
        self.leases().awaited(address, gateway, instance, clock::now());
        self.looked.notify_one();
    }

    /// Whether there is no gateway at that address, where nobody has listened for so long: no register
    /// names it, or none says anything.
    pub(crate) fn is_nobody(&self, address: &str, refused: Duration) -> bool {
        let is_named = self.directory().names(address);
        !is_named || (self.connected_registers() == 0 && self.leases().grace() <= refused)
    }

    /// Once a link that was lost before is up again, what its gateway said since then counts.
    pub(crate) async fn confirm(&self, link: &Link) {
        if !self.leases().is_back(link.instance()) {
            return;
        }
        if self.identity.worker().is_none() {
            // It is told nothing.
            return self.leases().confirmed(link.instance());
        }
        while let Err(error) = link.flush().await {
            if !link.is_up() {
                return;
            }
            tracing::debug!(gateway = %link.gateway(), %error, "not confirmed yet");
            sleep(CONFIRM_AGAIN).await;
        }
        self.leases().confirmed(link.instance());
        if let Some(consumer) = self.consumer() {
            consumer.confirmed(link.instance());
        }
    }

    /// Registers say something else than before.
    pub(crate) fn hear(self: &Arc<Self>, said: Option<Said>) {
        self.leases().heard(said, clock::now());
        // Whoever goes on living after others have closed its clients must be told.
        for link in self.directory().links() {
            if self.leases().is_over(link.instance()) {
                tracing::error!(gateway = %link.gateway(), "was taken for dead; told so");
                let _ = link.offer(&mut ToGateway::WrittenOff);
                link.hang_up();
            }
        }
        self.looked.notify_one();
    }

    /// Decides whenever there is something to decide, for ever.
    pub(crate) async fn oversee(self: Arc<Self>) {
        let _last = NobodyWaits(&self);
        loop {
            let looked = self.looked.notified();
            let next = self.leases().next();
            tokio::select! {
                () = looked => {}
                () = until(next) => {}
            }
            let verdicts = self.leases().due(clock::now());
            self.carry_out(verdicts);
        }
    }

    /// Becomes passive, or active again, whenever it is time, for ever.
    pub(crate) async fn watch_reach(self: Arc<Self>) {
        let mut changes = self.watch();
        loop {
            changes.mark_unchanged();
            let directory = self.directory();
            let missing: Vec<_> = directory.missing().cloned().collect();
            let linked = directory.links().next().is_some();
            let now = clock::now();
            let recent = self.reach().recent(now);
            let others = self.others_are_complete(recent) && !self.is_leaving();
            let change = self.reach().look(&missing, linked, others, now);
            if let Some(passive) = change.passive {
                self.become_passive(passive);
            }
            if change.told {
                self.news.send_replace(());
            }
            let next = self.reach().next(now);
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                () = until(next) => {}
            }
        }
    }

    fn become_passive(&self, passive: bool) {
        match passive {
            true => {
                let gateway = self.reach().farthest().map(ToString::to_string);
                tracing::warn!(
                    gateway,
                    "out of reach; passive: events are left to workers that reach every gateway"
                );
            }
            false => tracing::info!("active again: events are taken"),
        }
        self.set_passive(passive);
    }

    /// Decides at once what would be decided later: we are about to leave.
    pub(crate) fn hurry(self: &Arc<Self>) {
        let verdicts = self.leases().hurry(clock::now());
        self.carry_out(verdicts);
    }

    fn carry_out(self: &Arc<Self>, verdicts: Vec<Verdict>) {
        if verdicts.is_empty() {
            return;
        }
        for verdict in &verdicts {
            if let Verdict::Over { gateway, .. } | Verdict::Missed(gateway) = verdict {
                self.give_up(|_, link| link.instance() == gateway);
            }
        }
        // Registers may name another life in its place by now.
        self.expect();
        // One that only pushes has no clients to lose.
        let (Some(consumer), Some(us)) = (self.consumer(), self.identity.worker()) else {
            return;
        };
        for verdict in verdicts {
            match verdict {
                Verdict::Over { gateway, in_doubt } => {
                    self.log_gone(&gateway);
                    let ours = Settled { gateway: gateway.clone(), owner: us.clone() };
                    let settlement = Settlement::new(self, Some(Done::Settled(ours)));
                    let groups = consumer.over(&gateway, in_doubt, settlement);
                    self.leases().orphaned(&gateway, groups, clock::now());
                }
                Verdict::Missed(_) => {}
                Verdict::Orphans(decision) => self.decided(&*consumer, us, decision),
                Verdict::HandOver(handover) => {
                    self.spawn_supervised(handover::run(Arc::clone(self), handover));
                }
            }
        }
        self.looked.notify_one();
    }

    /// Carries out what was decided on clients that we stand by for.
    fn decided(self: &Arc<Self>, consumer: &dyn Consumer, us: &Instance, decision: Decision) {
        let orphaned = match decision {
            Decision::TakeOver(orphaned) => orphaned,
            Decision::OwnerDone(Orphaned { gateway, holders }) => {
                return consumer.owner_done(&gateway, &holders, Settlement::new(self, None));
            }
            Decision::StandbyDone(Orphaned { gateway, holders }, digest)
                if consumer.digest(&gateway, &holders) == digest =>
            {
                return consumer.forget(&gateway, &holders);
            }
            // It knew of other clients than this worker does.
            Decision::StandbyDone(orphaned, _) => orphaned,
        };
        let Orphaned { gateway, holders } = orphaned;
        self.log_taken_over(&gateway, &holders);
        let (by, digest) = (us.clone(), consumer.digest(&gateway, &holders));
        let takeover = Takeover { gateway: gateway.clone(), by, digest, holders: holders.clone() };
        let settlement = Settlement::new(self, Some(Done::TakenOver(takeover)));
        consumer.take_over(&gateway, &holders, settlement);
    }
}

impl Shared {
    /// An instance of a gateway is gone. One that has drained has closed its clients itself.
    fn log_gone(&self, instance: &Instance) {
        match self.lives().find(instance) {
            Some(Life { gateway, drained: true, .. }) => {
                tracing::debug!(%gateway, %instance, "gateway drained");
            }
            Some(Life { gateway, .. }) => tracing::warn!(%gateway, %instance, "gateway gone"),
            None => tracing::warn!(%instance, "gateway gone"),
        }
    }

    /// Workers are gone that had clients on a gateway that is gone.
    fn log_taken_over(&self, instance: &Instance, holders: &[Instance]) {
        let gateway = self.lives().find(instance).map(|life| life.gateway.to_string());
        tracing::warn!(
            gateway, %instance, ?holders,
            "workers are gone with their gateway; their clients are closed"
        );
    }
}

/// When nobody links any more, nobody may wait for a link.
struct NobodyWaits<'a>(&'a Shared);

impl Drop for NobodyWaits<'_> {
    fn drop(&mut self) {
        self.0.give_up(|_, _| true);
    }
}

/// How long to wait with a gateway that has much to do.
const CONFIRM_AGAIN: Duration = Duration::from_secs(1);

async fn until(next: Option<Instant>) {
    match next {
        Some(next) => sleep_until(next.into()).await,
        None => pending().await,
    }
}
