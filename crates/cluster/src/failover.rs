//! Failover: declares unreachable gateways dead, and has their clients closed.

use std::{
    future::pending,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use protocol::{
    InstanceId,
    discovery::{CleanupRecord, Takeover},
};
use runtime::clock;
use tokio::time::{sleep, sleep_until};

use crate::{
    events::{CleanupGuard, Consumer},
    failure_detector::{Action, OrphanAction, Orphaned},
    handover,
    instances::InstanceRecord,
    link::{Ended, Link},
    presence,
    shared::Shared,
};

/// The announcement to other workers once clients of a dead gateway are closed.
#[derive(Clone, Debug)]
enum Done {
    /// This worker has closed all its own clients there.
    CleanupRecord(CleanupRecord),
    /// This worker has closed clients for which it was a standby.
    TakenOver(Takeover),
}

impl Shared {
    /// A gateway has been linked. Returns whether this instance may continue.
    pub(crate) fn admit(self: &Arc<Self>, gateway: SocketAddr, instance: &InstanceId) -> bool {
        let actions = self.failure_detector().linked(gateway, instance, clock::now());
        let goes_on = actions.is_some();
        self.execute(actions.unwrap_or_default());
        goes_on
    }

    /// A link was lost, possibly as early as `since`.
    pub(crate) fn record_lost_link(
        &self,
        address: &str,
        link: &Link,
        ended: &Ended,
        since: Instant,
    ) {
        let instance = link.instance();
        let mut failure_detector = self.failure_detector();
        failure_detector.unlinked(
            address.into(),
            link.gateway(),
            instance.clone(),
            since,
            clock::now(),
        );
        // It is alive, and may have reassigned clients.
        if let Ended::Fenced | Ended::Switched = ended {
            failure_detector.survived(instance);
        }
        drop(failure_detector);
        self.wake_detector.notify_one();
    }

    /// Whether no gateway exists at that address, which has refused connections for the time
    /// `refused`: no register lists it, or no register is connected.
    pub(crate) fn is_absent(&self, address: &str, refused: Duration) -> bool {
        let is_named = self.directory().names(address);
        !is_named || (self.connected_registers() == 0 && self.failure_detector().grace() <= refused)
    }

    /// Once a lost link is re-established, the state that the gateway has sent since replaces the
    /// earlier one.
    pub(crate) async fn confirm(&self, link: &Link) {
        if !self.failure_detector().is_back(link.instance()) {
            return;
        }
        if self.identity.worker().is_none() {
            // A back end receives no state.
            return self.failure_detector().confirmed(link.instance());
        }
        while let Err(error) = link.flush().await {
            if !link.is_up() {
                return;
            }
            tracing::debug!(gateway = %link.gateway(), %error, "state not confirmed yet");
            sleep(CONFIRM_AGAIN).await;
        }
        self.failure_detector().confirmed(link.instance());
        if let Some(consumer) = self.consumer() {
            consumer.confirmed(link.instance());
        }
    }

    /// Executes the actions of the failure detector as they become due, forever.
    pub(crate) async fn run_failure_detector(self: Arc<Self>) {
        let _last = ReleaseWaiters(&self);
        loop {
            let wake_detector = self.wake_detector.notified();
            let next = self.failure_detector().next();
            tokio::select! {
                () = wake_detector => {}
                () = until(next) => {}
            }
            let actions = self.failure_detector().due(clock::now());
            self.execute(actions);
        }
    }

    /// Switches between active and passive, until this worker leaves.
    pub(crate) async fn watch_reachability(self: Arc<Self>) {
        let mut changes = self.watch();
        loop {
            changes.mark_unchanged();
            if self.is_leaving() {
                // A switch would close links that are not established again.
                return;
            }
            let directory = self.directory();
            let missing: Vec<_> = directory.missing().cloned().collect();
            let linked = directory.links().next().is_some();
            let now = clock::now();
            let recent = self.reachability().recent(now);
            let others = self.others_are_complete(recent);
            let change = self.reachability().update(&missing, linked, others, now);
            if let Some(passive) = change.passive {
                self.become_passive(passive);
            }
            if change.announce {
                self.announce.send_replace(());
            }
            let next = self.reachability().next(now);
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                () = until(next) => {}
            }
        }
    }

    fn become_passive(&self, passive: bool) {
        match passive {
            true => {
                let gateway = self.reachability().longest_missing().map(ToString::to_string);
                tracing::warn!(
                    gateway,
                    "gateway unreachable; \
                     passive: events are left to workers that reach every gateway"
                );
            }
            false => tracing::info!("active again: receiving events"),
        }
        self.set_passive(passive);
    }

    /// Takes pending decisions at once, before this worker leaves.
    pub(crate) fn decide_now(self: &Arc<Self>) {
        let actions = self.failure_detector().decide_now(clock::now());
        self.execute(actions);
    }

    fn execute(self: &Arc<Self>, actions: Vec<Action>) {
        if actions.is_empty() {
            return;
        }
        for action in &actions {
            if let Action::GatewayDead { gateway, .. } | Action::NeverConnected(gateway) = action {
                self.give_up(|_, link| link.instance() == gateway);
            }
        }
        // Registers may list another instance in its place by now.
        self.expect_first_links();
        // A back end has no clients to close.
        let (Some(consumer), Some(self_id)) = (self.consumer(), self.identity.worker()) else {
            return;
        };
        for action in actions {
            match action {
                Action::GatewayDead { gateway, in_doubt } => {
                    self.log_dead(&gateway);
                    self.push_presence(|| presence::Event::Dead(gateway.clone()));
                    let ours = CleanupRecord { gateway: gateway.clone(), owner: self_id.clone() };
                    let cleanup = self.cleanup_guard(Done::CleanupRecord(ours));
                    let groups = consumer.over(&gateway, in_doubt, cleanup);
                    self.failure_detector().orphaned(&gateway, groups, clock::now());
                }
                Action::NeverConnected(_) => {}
                Action::Orphans(decision) => self.handle_orphans(&*consumer, self_id, decision),
                Action::HandOver(handover) => {
                    self.spawn_supervised(handover::run(Arc::clone(self), handover));
                }
            }
        }
        self.wake_detector.notify_one();
    }

    /// Announces `done` when it is dropped.
    fn cleanup_guard(self: &Arc<Self>, done: Done) -> CleanupGuard {
        let shared = Arc::clone(self);
        CleanupGuard::new(move || {
            let mut failure_detector = shared.failure_detector();
            match done {
                Done::CleanupRecord(cleanup) => failure_detector.record_cleanup(cleanup),
                Done::TakenOver(takeover) => failure_detector.take_over(takeover),
            }
            drop(failure_detector);
            shared.announce.send_replace(());
        })
    }

    /// Executes an action for clients for which this worker is a standby.
    fn handle_orphans(
        self: &Arc<Self>,
        consumer: &dyn Consumer,
        self_id: &InstanceId,
        decision: OrphanAction,
    ) {
        let orphaned = match decision {
            OrphanAction::TakeOver(orphaned) => orphaned,
            OrphanAction::OwnerDone(Orphaned { gateway, holders }) => {
                return consumer.owner_done(&gateway, &holders, CleanupGuard::new(|| {}));
            }
            OrphanAction::StandbyDone(Orphaned { gateway, holders }, digest)
                if consumer.digest(&gateway, &holders) == digest =>
            {
                return consumer.forget(&gateway, &holders);
            }
            // The standby knew of other clients than this worker does.
            OrphanAction::StandbyDone(orphaned, _) => orphaned,
        };
        let Orphaned { gateway, holders } = orphaned;
        self.log_taken_over(&gateway, &holders);
        let (by, digest) = (self_id.clone(), consumer.digest(&gateway, &holders));
        let takeover = Takeover { gateway: gateway.clone(), by, digest, holders: holders.clone() };
        let cleanup = self.cleanup_guard(Done::TakenOver(takeover));
        consumer.take_over(&gateway, &holders, cleanup);
    }
}

impl Shared {
    /// Logs that a gateway instance is dead. A drained gateway has closed its clients itself.
    fn log_dead(&self, instance: &InstanceId) {
        match self.instances().find(instance) {
            Some(InstanceRecord { gateway, drained: true, .. }) => {
                tracing::debug!(%gateway, %instance, "gateway drained");
            }
            Some(InstanceRecord { gateway, .. }) => {
                tracing::warn!(%gateway, %instance, "gateway declared dead")
            }
            None => tracing::warn!(%instance, "gateway declared dead"),
        }
    }

    /// Logs that workers with clients on a dead gateway have terminated as well.
    fn log_taken_over(&self, instance: &InstanceId, holders: &[InstanceId]) {
        let gateway = self.instances().find(instance).map(|record| record.gateway.to_string());
        tracing::warn!(
            gateway, %instance, ?holders,
            "workers terminated with their gateway; closing their clients"
        );
    }
}

/// No task may wait for a link once no task establishes links.
struct ReleaseWaiters<'a>(&'a Shared);

impl Drop for ReleaseWaiters<'_> {
    fn drop(&mut self) {
        self.0.give_up(|_, _| true);
    }
}

/// How long to wait for a busy gateway before the next attempt.
const CONFIRM_AGAIN: Duration = Duration::from_secs(1);

async fn until(next: Option<Instant>) {
    match next {
        Some(next) => sleep_until(next.into()).await,
        None => pending().await,
    }
}
