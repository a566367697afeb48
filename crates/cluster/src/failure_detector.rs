//! Decides which gateway instances are dead, and which worker closes their clients: a value.
//!
//! An unreachable gateway is not necessarily dead. A gateway instance is declared dead once another
//! instance at the same address is linked, or once no register has listed it for the whole grace
//! period while it was not linked. Its clients are then closed on its behalf: by the owner of each,
//! and if that worker has terminated as well, by one of the client's standbys. See
//! `docs/guarantees.md`.

mod newcomers;
mod orphans;
mod register_view;

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use protocol::{
    InstanceId,
    discovery::{CleanupRecord, Takeover},
};
use rustc_hash::FxHashSet;

use newcomers::Newcomers;
use orphans::{Orphans, REMEMBERED, remember};

pub(crate) use newcomers::HandOver;
pub(crate) use orphans::{OrphanAction, Orphaned};
pub(crate) use register_view::RegisterView;

/// How soon after its links close a gateway that terminates is missing from registers, or is back.
/// A gateway that goes missing later ran on for a while.
const PROMPT: Duration = Duration::from_secs(2);

/// State of gateway instances, and of workers for whose clients this worker is a standby.
#[derive(Debug)]
pub(crate) struct FailureDetector {
    grace: Duration,
    /// Whether an instance that is declared dead here must be fenced.
    closes: bool,
    /// Since when gateways are asked to reassign the clients of this worker.
    leaving: Option<Instant>,
    /// The merged view of all connected registers; `None` while none is connected.
    view: Option<RegisterView>,
    /// Instances that are linked.
    up: Vec<Connected>,
    /// Instances that were linked, or are awaited, and are not linked now.
    away: Vec<Disconnected>,
    /// Clients of other workers on dead instances, for which this worker is a standby.
    orphans: Orphans,
    newcomers: Newcomers,
    /// Dead instances, newest last. An instance that returns after so many others is not recognized
    /// any more.
    dead: VecDeque<InstanceId>,
    /// Instances that are not awaited, since a later one was linked, newest last.
    skipped: VecDeque<InstanceId>,
    /// Instances that were awaited without success, newest last.
    unreached: VecDeque<InstanceId>,
}

#[derive(Debug)]
struct Connected {
    instance: InstanceId,
    /// Since when registers do not list it: other workers may declare it dead although it is alive.
    unlisted: Option<Instant>,
}

#[derive(Debug)]
struct Disconnected {
    address: Arc<str>,
    gateway: SocketAddr,
    instance: InstanceId,
    /// Whether it was ever linked.
    was_connected: bool,
    /// When the link was lost.
    lost: Instant,
    /// Whether it may have been alive after its link was lost, and have reassigned clients.
    survived: bool,
    /// Whether it is linked again and has not sent its complete state yet.
    back: bool,
    /// Since when no register lists it.
    missing: Option<Instant>,
    /// Whether registers list a newer instance at its address, and not this one.
    superseded: bool,
}

/// An action to execute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// This gateway instance is dead, and the clients that this worker owned there are
    /// disconnected. If `in_doubt`, the gateway may have reassigned them before.
    GatewayDead { gateway: InstanceId, in_doubt: bool },
    /// This instance was never linked and is not awaited any longer. This worker has no clients
    /// there and does not declare it dead.
    NeverConnected(InstanceId),
    /// Action for clients for which this worker is a standby.
    Orphans(OrphanAction),
    /// Records of the clients of an instance that is dead or unreachable are to be handed over.
    HandOver(HandOver),
}

impl FailureDetector {
    /// The failure detector of a worker.
    pub(crate) fn new(grace: Duration, self_id: InstanceId) -> Self {
        Self::of(grace, Some(self_id))
    }

    fn of(grace: Duration, self_id: Option<InstanceId>) -> Self {
        Self {
            grace,
            closes: true,
            leaving: None,
            view: None,
            up: Vec::new(),
            away: Vec::new(),
            orphans: Orphans::new(self_id.clone(), grace),
            newcomers: Newcomers::new(self_id),
            dead: VecDeque::new(),
            skipped: VecDeque::new(),
            unreached: VecDeque::new(),
        }
    }

    /// The failure detector of a back end. It closes no clients of an instance that it declares
    /// dead, which need not be fenced, therefore.
    pub(crate) fn for_back_end(grace: Duration) -> Self {
        Self { closes: false, ..Self::of(grace, None) }
    }

    /// How long an instance must be missing.
    pub(crate) const fn grace(&self) -> Duration {
        self.grace
    }

    /// Whether this instance was declared dead and must not continue.
    pub(crate) fn is_dead(&self, instance: &InstanceId) -> bool {
        self.dead.contains(instance)
    }

    /// A gateway has been linked: an earlier instance at the same address is dead. `None` if this
    /// instance itself was declared dead.
    pub(crate) fn linked(
        &mut self,
        gateway: SocketAddr,
        instance: &InstanceId,
        now: Instant,
    ) -> Option<Vec<Action>> {
        if self.is_dead(instance) {
            return None;
        }
        self.away.retain(|away| away.was_connected || away.instance != *instance);
        self.skipped.retain(|skipped| skipped != instance);
        self.unreached.retain(|unreached| unreached != instance);
        for away in self.away.iter_mut().filter(|away| away.instance == *instance) {
            (away.back, away.missing) = (true, None);
        }
        self.disconnect(instance);
        self.up.push(Connected { instance: instance.clone(), unlisted: None });
        self.refresh(now);
        Some(self.conclude(now, |away| away.gateway == gateway && away.instance != *instance))
    }

    /// Whether this instance was linked before, and its earlier state is still valid.
    pub(crate) fn is_back(&self, instance: &InstanceId) -> bool {
        self.away.iter().any(|away| away.back && away.instance == *instance)
    }

    /// The complete state of a relinked instance has arrived, which replaces what was known before.
    pub(crate) fn confirmed(&mut self, instance: &InstanceId) {
        self.away.retain(|away| away.instance != *instance);
    }

    /// A link was lost at `since`: before a timeout is detected the link was already silent, and a
    /// link that closed while this process stalled may have been lost since the beginning of the
    /// stall.
    pub(crate) fn unlinked(
        &mut self,
        address: Arc<str>,
        gateway: SocketAddr,
        instance: InstanceId,
        since: Instant,
        now: Instant,
    ) {
        // An instance missing from registers for long went on without some worker, possibly this
        // one.
        let unlisted = self.disconnect(&instance);
        let since = unlisted.map_or(since, |unlisted| since.min(unlisted));
        // Lost again before its complete state had arrived: what is known is as old as before.
        let before = self.away.iter().find(|away| away.instance == instance);
        let lost = before.map_or(since, |before| before.lost);
        self.confirmed(&instance);
        self.newcomers.lose(&instance, gateway, lost);
        let (was_connected, survived) = (true, false);
        self.away.push(Disconnected::new(
            address,
            gateway,
            instance,
            lost,
            was_connected,
            survived,
        ));
        self.refresh(now);
    }

    /// Clients of an instance, which this worker may never have linked to, were handed over to it.
    pub(crate) fn handed_over(
        &mut self,
        gateway: SocketAddr,
        instance: &InstanceId,
        groups: Vec<Vec<InstanceId>>,
        now: Instant,
    ) {
        if self.is_dead(instance) && self.away.iter().all(|away| away.instance != *instance) {
            self.orphans.add(instance, groups, now);
        } else if !self.away.iter().any(|away| away.was_connected && away.instance == *instance) {
            self.away.retain(|away| away.instance != *instance);
            let (address, instance) = (gateway.to_string().into(), instance.clone());
            self.newcomers.lose(&instance, gateway, now);
            self.away.push(Disconnected::new(address, gateway, instance, now, true, true));
        }
        self.refresh(now);
    }

    /// An instance was alive when its link was closed, and reassigns clients: other workers had
    /// declared it dead, or this worker has switched between active and passive.
    pub(crate) fn survived(&mut self, instance: &InstanceId) {
        for away in self.away.iter_mut().filter(|away| away.instance == *instance) {
            away.survived = true;
        }
    }

    /// An instance is not linked any more. Returns since when registers did not list it.
    fn disconnect(&mut self, instance: &InstanceId) -> Option<Instant> {
        let up = self.up.iter().position(|up| up.instance == *instance)?;
        self.up.swap_remove(up).unlisted
    }

    /// Whether a listed instance is to be awaited before its first link. Each is awaited once and
    /// for the grace period only: a gateway that is permanently unreachable must not block all
    /// events.
    pub(crate) fn may_await(&self, instance: &InstanceId) -> bool {
        let is_known = self.skipped.contains(instance) || self.unreached.contains(instance);
        !self.is_dead(instance) && !is_known
    }

    /// Instances that were not reached within the grace period are awaited once more.
    pub(crate) fn await_unreached(&mut self) {
        self.unreached.clear();
    }

    /// Whether a listed instance must be newer than any that was linked or awaited at its address.
    pub(crate) fn is_newer(&self, instance: &InstanceId) -> bool {
        self.may_await(instance) && self.away.iter().all(|away| away.instance != *instance)
    }

    /// A register lists this instance at the address of another one that is linked: the register
    /// has not detected its death yet.
    pub(crate) fn superseded(&mut self, instance: InstanceId) {
        remember(&mut self.skipped, instance, REMEMBERED);
    }

    /// An instance that was never linked is awaited.
    pub(crate) fn awaited(
        &mut self,
        address: Arc<str>,
        gateway: SocketAddr,
        instance: InstanceId,
        now: Instant,
    ) {
        if self.away.iter().all(|away| away.instance != instance) {
            self.away.push(Disconnected::new(address, gateway, instance, now, false, false));
            self.refresh(now);
        }
    }

    /// Applies the merged view of the connected registers.
    pub(crate) fn update_view(&mut self, view: Option<RegisterView>, now: Instant) {
        if let Some(view) = &view {
            view.settled.iter().for_each(|cleanup| self.record_cleanup(cleanup.clone()));
            view.takeovers.iter().for_each(|takeover| self.take_over(takeover.clone()));
            if let Some(workers) = &view.workers {
                self.newcomers.update_workers(workers, now);
            }
        }
        self.view = view;
        self.refresh(now);
    }

    /// This worker is a standby for clients with these holders on a dead instance.
    pub(crate) fn orphaned(
        &mut self,
        gateway: &InstanceId,
        groups: Vec<Vec<InstanceId>>,
        now: Instant,
    ) {
        self.orphans.add(gateway, groups, now);
        self.refresh(now);
    }

    /// Records that the clients of a worker on a dead instance were closed.
    pub(crate) fn record_cleanup(&mut self, cleanup: CleanupRecord) {
        let gateway = cleanup.gateway.clone();
        if self.orphans.record_cleanup(cleanup) {
            self.note_dead(gateway);
        }
    }

    /// Records that a standby has closed clients on a dead instance.
    pub(crate) fn take_over(&mut self, takeover: Takeover) {
        let gateway = takeover.gateway.clone();
        if self.orphans.take_over(takeover) {
            self.note_dead(gateway);
        }
    }

    /// Cleanup records to be announced to registers.
    pub(crate) fn cleanups(&self) -> impl Iterator<Item = &CleanupRecord> {
        self.orphans.cleanups()
    }

    /// Takeovers to be announced to registers.
    pub(crate) fn takeovers(&self) -> impl Iterator<Item = &Takeover> {
        self.orphans.takeovers()
    }

    /// Whether records of an instance's clients are still to be handed over to a worker.
    pub(crate) fn hands_over(&self, gateway: &InstanceId, to: &InstanceId) -> bool {
        self.newcomers.has(gateway, to)
    }

    /// This worker is draining: live gateways reassign its clients from now on.
    pub(crate) fn leave(&mut self, now: Instant) {
        self.leaving.get_or_insert(now);
    }

    /// The actions due by now.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<Action> {
        self.restart_waits(now);
        let grace = self.grace;
        let passed = |since: Option<Instant>| since.is_some_and(|since| since + grace <= now);
        let dead = self.dead.clone();
        let mut actions = self.conclude(now, |away| {
            passed(away.missing) || away.superseded || dead.contains(&away.instance)
        });
        actions.extend(self.orphans.due(now).into_iter().map(Action::Orphans));
        let (away, orphans) = (&self.away, &self.orphans);
        let ended = |gateway: &InstanceId| actions.iter().any(|it| it.ends(gateway));
        let is_away = |gateway: &InstanceId| {
            away.iter().any(|it| it.was_connected && it.instance == *gateway)
        };
        self.newcomers.retain(|it| is_away(it) || ended(it) || orphans.has(it));
        // Registers may still list a dead gateway.
        let is_linked =
            |gateway: &InstanceId| away.iter().any(|away| away.back && away.instance == *gateway);
        let handovers = self.newcomers.due(|gateway| !is_linked(gateway));
        // Handovers precede the closing of clients, after which their records are dropped.
        handovers.into_iter().map(Action::HandOver).chain(actions).collect()
    }

    /// The actions that are due without waiting for the grace period, before this worker leaves.
    pub(crate) fn decide_now(&mut self, now: Instant) -> Vec<Action> {
        self.conclude(now, |away| away.was_connected && away.missing.is_some())
    }

    /// When the next action may become due, unless something changes before.
    pub(crate) fn next(&self) -> Option<Instant> {
        let away = self.away.iter().filter_map(|away| away.missing);
        let next = away.map(|since| since + self.grace).chain(self.orphans.next()).min();
        // An instance that other workers have declared dead is dead here whenever its link was
        // lost.
        let is_dead = |away: &&Disconnected| away.superseded || self.is_dead(&away.instance);
        let others = self.away.iter().find(is_dead);
        others.map(|away| away.lost).or(next)
    }

    /// A decision much later than due means that this process stalled. Its view of the registers is
    /// equally old, so the grace period restarts.
    fn restart_waits(&mut self, now: Instant) {
        let latest = self.grace + PROMPT;
        for since in self.away.iter_mut().flat_map(|away| &mut away.missing) {
            if *since + latest < now {
                *since = now;
            }
        }
        self.orphans.restart_waits(PROMPT, now);
    }

    fn conclude(&mut self, now: Instant, ended: impl Fn(&Disconnected) -> bool) -> Vec<Action> {
        let ended: Vec<_> = self.away.extract_if(.., |away| ended(away)).collect();
        if self.closes {
            let connected = ended.iter().filter(|away| away.was_connected);
            connected.for_each(|away| self.note_dead(away.instance.clone()));
        }
        let never_connected = ended.iter().filter(|away| !away.was_connected);
        for away in never_connected {
            remember(&mut self.unreached, away.instance.clone(), REMEMBERED);
        }
        let leaving = self.leaving;
        let action = |away: Disconnected| {
            if !away.was_connected {
                return Action::NeverConnected(away.instance);
            }
            // An instance that went on without this worker has reassigned its clients, and so has
            // one that was notified that this worker leaves.
            let in_doubt = away.survived
                || away.lost + PROMPT < away.missing.unwrap_or(now)
                || leaving.is_some_and(|leaving| leaving <= away.lost);
            Action::GatewayDead { gateway: away.instance, in_doubt }
        };
        ended.into_iter().map(action).collect()
    }

    /// Updates which instances are missing. While no register is connected, none is.
    fn refresh(&mut self, now: Instant) {
        let view = self.view.as_ref();
        // The state is kept while no register is connected.
        if let Some(view) = view {
            for up in &mut self.up {
                let is_unlisted = !view.may_list(&up.instance);
                up.unlisted = is_unlisted.then(|| up.unlisted.unwrap_or(now));
            }
        }
        for away in &mut self.away {
            let is_missing =
                !away.was_connected || !away.back && view.is_some_and(|view| !view.lists(away));
            away.missing = is_missing.then(|| away.missing.unwrap_or(now));
        }
        let newer = view.iter().flat_map(|view| &view.gateways).filter(|gateway| {
            gateway.instance.as_ref().is_some_and(|instance| self.is_newer(instance))
        });
        let newer: FxHashSet<_> = newer.map(|gateway| gateway.address.clone()).collect();
        for away in &mut self.away {
            let is_listed = view.is_some_and(|view| view.lists(away));
            away.superseded =
                away.was_connected && !away.back && !is_listed && newer.contains(&*away.address);
        }
        self.orphans.refresh(view.and_then(|view| view.workers.as_ref()), now);
    }

    fn note_dead(&mut self, instance: InstanceId) {
        remember(&mut self.dead, instance, REMEMBERED);
    }
}

impl Disconnected {
    const fn new(
        address: Arc<str>,
        gateway: SocketAddr,
        instance: InstanceId,
        lost: Instant,
        was_connected: bool,
        survived: bool,
    ) -> Self {
        let (back, missing, superseded) = (false, None, false);
        Self {
            address,
            gateway,
            instance,
            was_connected,
            lost,
            survived,
            back,
            missing,
            superseded,
        }
    }
}

impl Action {
    /// Whether it declares this instance dead.
    fn ends(&self, instance: &InstanceId) -> bool {
        matches!(self, Self::GatewayDead { gateway, .. } if gateway == instance)
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
