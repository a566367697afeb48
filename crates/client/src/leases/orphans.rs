//! Clients of other workers on gateways that are gone, for which we are a standby: when they are ours to
//! close. A value.

use std::{
    collections::VecDeque,
    mem,
    time::{Duration, Instant},
};

use protocol::{
    Instance,
    discovery::{Settled, Takeover},
};
use rustc_hash::FxHashSet;

/// How long registers must not name a worker until its clients on a gateway that is gone are closed in
/// its place. A worker that has only lost its register is back sooner, and what a standby closes is
/// marked in any case.
const TAKEOVER: Duration = Duration::from_secs(2);

/// How many ends of workers' clients are remembered, and how many takeovers, each of which names several
/// workers. What was forgotten is closed once more, marked.
pub(super) const REMEMBERED: usize = 256;
const TAKEOVERS: usize = 64;

/// The clients on one gateway that have these holders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Orphaned {
    pub(crate) gateway: Instance,
    /// The owner, then the standbys in order, we among them.
    pub(crate) holders: Vec<Instance>,
}

/// What is to be done with them. They are no concern of ours after that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// All before us are gone: close them.
    TakeOver(Orphaned),
    /// The owner has closed all clients that it knows of.
    OwnerDone(Orphaned),
    /// A standby before us has closed those with that digest.
    StandbyDone(Orphaned, u64),
}

/// All of them, and what is known of the workers that have closed some.
#[derive(Debug)]
pub(super) struct Orphans {
    us: Option<Instance>,
    /// How long a standby before us may take longer than we to find that the gateway is gone.
    grace: Duration,
    groups: Vec<Group>,
    /// Whose clients on which gateways were closed by the worker that had them, newest last.
    settled: VecDeque<Settled>,
    /// What standbys have closed, newest last.
    takeovers: VecDeque<Takeover>,
}

#[derive(Debug)]
struct Group {
    clients: Orphaned,
    /// When they became our concern.
    since: Instant,
    /// Since when registers do not name each of the holders before us.
    missing: Vec<Option<Instant>>,
}

impl Orphans {
    pub(super) fn new(us: Option<Instance>, grace: Duration) -> Self {
        let (settled, takeovers) = (VecDeque::new(), VecDeque::new());
        Self { us, grace, groups: Vec::new(), settled, takeovers }
    }

    /// How long a holder must be missing.
    fn takeover(&self) -> Duration {
        TAKEOVER.min(self.grace)
    }

    /// We are a standby of clients with these holders, on a gateway that is gone.
    pub(super) fn add(&mut self, gateway: &Instance, groups: Vec<Vec<Instance>>, now: Instant) {
        for holders in groups {
            let is_us = |holder: &Instance| Some(holder) == self.us.as_ref();
            let before = holders.iter().position(is_us).unwrap_or(holders.len());
            let clients = Orphaned { gateway: gateway.clone(), holders };
            if self.groups.iter().all(|group| group.clients != clients) {
                let missing = vec![None; before];
                self.groups.push(Group { clients, since: now, missing });
            }
        }
    }

    /// Whether any on this gateway are not decided on yet.
    pub(super) fn has(&self, gateway: &Instance) -> bool {
        self.groups.iter().any(|group| group.clients.gateway == *gateway)
    }

    /// Takes which workers registers name; `None` if none tells.
    pub(super) fn look(&mut self, workers: Option<&FxHashSet<Instance>>, now: Instant) {
        for Group { clients, missing, .. } in &mut self.groups {
            for (holder, missing) in clients.holders.iter().zip(missing) {
                let is_missing = workers.is_some_and(|workers| !workers.contains(holder));
                *missing = is_missing.then(|| missing.unwrap_or(now));
            }
        }
    }

    /// A decision that comes `late` was held up by a standstill of this process, and what it heard of
    /// workers is as old: the wait begins anew.
    pub(super) fn begin_anew(&mut self, late: Duration, now: Instant) {
        let mut groups = mem::take(&mut self.groups);
        for group in &mut groups {
            if self.when(group).is_some_and(|at| at + late < now) {
                group.since = group.since.max(now);
                group.missing.iter_mut().flatten().for_each(|since| *since = now);
            }
        }
        self.groups = groups;
    }

    /// What is decided by now.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Decision> {
        let mut groups = mem::take(&mut self.groups);
        let decisions = groups
            .extract_if(.., |group| self.decide(group, now).is_some())
            .filter_map(|group| self.decide(&group, now))
            .collect();
        self.groups = groups;
        decisions
    }

    fn decide(&self, group: &Group, now: Instant) -> Option<Decision> {
        let clients = || group.clients.clone();
        let Orphaned { gateway, holders } = &group.clients;
        let of_gateway =
            |it: &&Settled| it.gateway == *gateway && holders.first() == Some(&it.owner);
        if self.settled.iter().any(|it| of_gateway(&it)) {
            return Some(Decision::OwnerDone(clients()));
        }
        let before = &holders[..group.missing.len()];
        let concerns = |it: &&Takeover| {
            it.gateway == *gateway && holders.starts_with(&it.holders) && before.contains(&it.by)
        };
        if let Some(takeover) = self.takeovers.iter().find(concerns) {
            return Some(Decision::StandbyDone(clients(), takeover.digest));
        }
        (self.when(group)? <= now).then(|| Decision::TakeOver(clients()))
    }

    /// When clients are ours to close, if nothing happens before: all before us are gone; or the owner
    /// is, for so long that a standby before us must have closed them, if it knows of them.
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

    /// When there will be something to decide, if nothing happens before.
    pub(super) fn next(&self) -> Option<Instant> {
        self.groups.iter().filter_map(|group| self.when(group)).min()
    }

    /// The clients of a worker on a gateway that is gone were closed. Returns whether that is news.
    pub(super) fn settle(&mut self, settled: Settled) -> bool {
        remember(&mut self.settled, settled, REMEMBERED)
    }

    /// A standby has closed clients.
    pub(super) fn take_over(&mut self, takeover: Takeover) -> bool {
        remember(&mut self.takeovers, takeover, TAKEOVERS)
    }

    pub(super) fn settled(&self) -> impl Iterator<Item = &Settled> {
        self.settled.iter()
    }

    pub(super) fn takeovers(&self) -> impl Iterator<Item = &Takeover> {
        self.takeovers.iter()
    }
}

/// Adds what is new, in place of the oldest if there are more than `most`.
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
