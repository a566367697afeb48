//! Clients of other workers on dead gateways, for which this worker is a standby: decides when it
//! must close them. A value.

use std::{
    collections::VecDeque,
    mem,
    time::{Duration, Instant},
};

use protocol::{
    InstanceId,
    discovery::{CleanupRecord, Takeover},
};
use rustc_hash::FxHashSet;

/// How long a worker must be missing from registers until a standby closes its clients on a dead
/// gateway. A worker that has only lost its register is back sooner, and a standby marks as
/// redelivered what it closes in any case.
const TAKEOVER: Duration = Duration::from_secs(2);

/// How many cleanup records are remembered, and how many takeovers, each of which lists several
/// workers. Clients of forgotten records are closed once more, marked as redelivered.
pub(super) const REMEMBERED: usize = 256;
const TAKEOVERS: usize = 64;

/// The clients on one gateway that have these holders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Orphaned {
    pub(crate) gateway: InstanceId,
    /// The owner, then the standbys in order, this worker among them.
    pub(crate) holders: Vec<InstanceId>,
}

/// The action for orphaned clients, which removes them from the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OrphanAction {
    /// All holders ranked before this worker have terminated: close the clients.
    TakeOver(Orphaned),
    /// The owner has closed all clients that it knew of.
    OwnerDone(Orphaned),
    /// A standby ranked before this worker has closed the clients with this digest.
    StandbyDone(Orphaned, u64),
}

/// All orphaned clients, and which workers have closed some.
#[derive(Debug)]
pub(super) struct Orphans {
    self_id: Option<InstanceId>,
    /// How much later than this worker a standby before it may declare the gateway dead.
    grace: Duration,
    groups: Vec<Group>,
    /// Which owners have closed their clients on which gateways, newest last.
    cleanups: VecDeque<CleanupRecord>,
    /// Clients that standbys have closed, newest last.
    takeovers: VecDeque<Takeover>,
}

#[derive(Debug)]
struct Group {
    clients: Orphaned,
    /// When they were orphaned.
    since: Instant,
    /// Since when each holder before this worker is missing from registers.
    missing: Vec<Option<Instant>>,
}

impl Orphans {
    pub(super) fn new(self_id: Option<InstanceId>, grace: Duration) -> Self {
        let (cleanups, takeovers) = (VecDeque::new(), VecDeque::new());
        Self { self_id, grace, groups: Vec::new(), cleanups, takeovers }
    }

    /// How long a holder must be missing.
    fn takeover(&self) -> Duration {
        TAKEOVER.min(self.grace)
    }

    /// This worker is a standby of clients with these holders, on a dead gateway.
    pub(super) fn add(&mut self, gateway: &InstanceId, groups: Vec<Vec<InstanceId>>, now: Instant) {
        for holders in groups {
            let is_self = |holder: &InstanceId| Some(holder) == self.self_id.as_ref();
            let before = holders.iter().position(is_self).unwrap_or(holders.len());
            let clients = Orphaned { gateway: gateway.clone(), holders };
            if self.groups.iter().all(|group| group.clients != clients) {
                let missing = vec![None; before];
                self.groups.push(Group { clients, since: now, missing });
            }
        }
    }

    /// Whether some clients on this gateway are still pending.
    pub(super) fn has(&self, gateway: &InstanceId) -> bool {
        self.groups.iter().any(|group| group.clients.gateway == *gateway)
    }

    /// Applies the list of workers that registers report; `None` if no register reports them.
    pub(super) fn refresh(&mut self, workers: Option<&FxHashSet<InstanceId>>, now: Instant) {
        for Group { clients, missing, .. } in &mut self.groups {
            for (holder, missing) in clients.holders.iter().zip(missing) {
                let is_missing = workers.is_some_and(|workers| !workers.contains(holder));
                *missing = is_missing.then(|| missing.unwrap_or(now));
            }
        }
    }

    /// A decision that is `late` was delayed by a stall of this process. Its view of the workers is
    /// equally old, so the wait restarts.
    pub(super) fn restart_waits(&mut self, late: Duration, now: Instant) {
        let mut groups = mem::take(&mut self.groups);
        for group in &mut groups {
            if self.when(group).is_some_and(|at| at + late < now) {
                group.since = group.since.max(now);
                group.missing.iter_mut().flatten().for_each(|since| *since = now);
            }
        }
        self.groups = groups;
    }

    /// The actions due by now.
    pub(super) fn due(&mut self, now: Instant) -> Vec<OrphanAction> {
        let mut groups = mem::take(&mut self.groups);
        let actions = groups
            .extract_if(.., |group| self.decide(group, now).is_some())
            .filter_map(|group| self.decide(&group, now))
            .collect();
        self.groups = groups;
        actions
    }

    fn decide(&self, group: &Group, now: Instant) -> Option<OrphanAction> {
        let clients = || group.clients.clone();
        let Orphaned { gateway, holders } = &group.clients;
        let of_gateway =
            |it: &&CleanupRecord| it.gateway == *gateway && holders.first() == Some(&it.owner);
        if self.cleanups.iter().any(|it| of_gateway(&it)) {
            return Some(OrphanAction::OwnerDone(clients()));
        }
        let before = &holders[..group.missing.len()];
        let concerns = |it: &&Takeover| {
            it.gateway == *gateway && holders.starts_with(&it.holders) && before.contains(&it.by)
        };
        if let Some(takeover) = self.takeovers.iter().find(concerns) {
            return Some(OrphanAction::StandbyDone(clients(), takeover.digest));
        }
        (self.when(group)? <= now).then(|| OrphanAction::TakeOver(clients()))
    }

    /// When this worker must close the clients, unless something changes before: when all holders
    /// before it have terminated, or when the owner has been missing for so long that a standby
    /// before this worker must have closed them, if it holds their records.
    fn when(&self, group: &Group) -> Option<Instant> {
        let Some(owner) = group.missing.first() else {
            return Some(group.since);
        };
        let last =
            group.missing.iter().try_fold(group.since, |last, since| Some(last.max((*since)?)));
        let all = last.map(|last| last + self.takeover());
        let late = owner.map(|since| since.max(group.since) + self.grace + 2 * self.takeover());
        all.into_iter().chain(late).min()
    }

    /// When the next decision may become due, unless something changes before.
    pub(super) fn next(&self) -> Option<Instant> {
        self.groups.iter().filter_map(|group| self.when(group)).min()
    }

    /// The clients of a worker on a dead gateway were closed. Returns whether the record is new.
    pub(super) fn record_cleanup(&mut self, cleanup: CleanupRecord) -> bool {
        remember(&mut self.cleanups, cleanup, REMEMBERED)
    }

    /// A standby has closed clients. Returns whether the record is new.
    pub(super) fn take_over(&mut self, takeover: Takeover) -> bool {
        remember(&mut self.takeovers, takeover, TAKEOVERS)
    }

    pub(super) fn cleanups(&self) -> impl Iterator<Item = &CleanupRecord> {
        self.cleanups.iter()
    }

    pub(super) fn takeovers(&self) -> impl Iterator<Item = &Takeover> {
        self.takeovers.iter()
    }
}

/// Adds a new entry, evicting the oldest if there are more than `most`.
pub(super) fn remember<T: PartialEq>(known: &mut VecDeque<T>, new: T, most: usize) -> bool {
    if known.contains(&new) {
        return false;
    }
    if known.len() == most {
        known.pop_front();
    }
    known.push_back(new);
    true
}
