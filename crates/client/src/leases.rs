//! Which lives of gateways are over, and who is to say so to whom: a value.
//!
//! A gateway that cannot be reached is not a gateway that is gone. It is taken for gone once it is
//! back as another life, or once no register has named it for the whole grace while it was not
//! linked. Its clients are then closed on its behalf: by the worker that each belongs to, and if
//! that worker is gone as well, by one of the client's standbys. See `docs/guarantees.md`.

mod newcomers;
mod orphans;

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use protocol::{
    Instance,
    discovery::{Gateway, Settled, Takeover},
};
use rustc_hash::FxHashSet;

use newcomers::Newcomers;
use orphans::{Orphans, REMEMBERED, remember};

pub(crate) use newcomers::HandOver;
pub(crate) use orphans::{Decision, Orphaned};

/// How soon after its links a gateway that dies is missed by registers, or is back. One that is
/// missed later lived on for a while.
const PROMPT: Duration = Duration::from_secs(2);

/// What we know of lives of gateways, and of workers whose clients we stand by for.
#[derive(Debug)]
pub(crate) struct Leases {
    grace: Duration,
    /// Whether a life that we take for over must not go on.
    closes: bool,
    /// Since when we ask gateways to give our clients to others.
    leaving: Option<Instant>,
    /// What those registers say that are connected; `None` while none is.
    said: Option<Said>,
    /// Lives that we are linked to.
    up: Vec<Up>,
    /// Lives that we were linked to, or wait to be, and are not now.
    away: Vec<Away>,
    /// Clients of other workers on lives that are over, which we stand by for.
    orphans: Orphans,
    newcomers: Newcomers,
    /// Lives that are over, newest last. One that comes back after so many others is not recognised any
    /// more.
    over: VecDeque<Instance>,
    /// Lives that are not to be waited for, since a later one was linked, newest last.
    missed: VecDeque<Instance>,
    /// Lives that were waited for in vain, newest last.
    unreached: VecDeque<Instance>,
}

/// What registers say together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    pub(crate) gateways: Vec<Gateway>,
    /// Which workers are there; `None` if no register tells.
    pub(crate) workers: Option<FxHashSet<Instance>>,
    pub(crate) settled: Vec<Settled>,
    pub(crate) takeovers: Vec<Takeover>,
}

#[derive(Debug)]
struct Up {
    instance: Instance,
    /// Since when registers do not name it: others may take it for gone, though it is there.
    unnamed: Option<Instant>,
}

#[derive(Debug)]
struct Away {
    address: Arc<str>,
    gateway: SocketAddr,
    instance: Instance,
    /// Whether it was linked before.
    met: bool,
    /// When the link was lost.
    lost: Instant,
    /// Whether others had taken it for gone while it was linked, and there.
    went_on: bool,
    /// Whether it is linked again, and has not said everything yet.
    back: bool,
    /// Since when no register names it.
    missing: Option<Instant>,
    /// Whether registers name a newer life at its address, and not this one.
    superseded: bool,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// This life of a gateway is over: our clients on it are gone. In doubt, the gateway may have
    /// given them to others before.
    Over { gateway: Instance, in_doubt: bool },
    /// This life that was never linked is not to be waited for any more. We have nobody there, and
    /// do not say that it is over.
    Missed(Instance),
    /// What becomes of clients that we stand by for.
    Orphans(Decision),
    /// What we know of the clients of a life that is gone, or seems so, is to be handed over.
    HandOver(HandOver),
}

impl Leases {
    /// Those of a worker.
    pub(crate) fn new(grace: Duration, us: Instance) -> Self {
        Self::of(grace, Some(us))
    }

    fn of(grace: Duration, us: Option<Instance>) -> Self {
        Self {
            grace,
            closes: true,
            leaving: None,
            said: None,
            up: Vec::new(),
            away: Vec::new(),
            orphans: Orphans::new(us.clone(), grace),
            newcomers: Newcomers::new(us),
            over: VecDeque::new(),
            missed: VecDeque::new(),
            unreached: VecDeque::new(),
        }
    }

    /// Those of one that only pushes: it closes no clients of a life that it takes for over, which
    /// may go on, therefore.
    pub(crate) fn of_back_end(grace: Duration) -> Self {
        Self { closes: false, ..Self::of(grace, None) }
    }

    /// How long a life must be missed.
    pub(crate) const fn grace(&self) -> Duration {
        self.grace
    }

    /// Whether this life was taken for over, so that it must not go on.
    pub(crate) fn is_over(&self, instance: &Instance) -> bool {
        self.over.contains(instance)
    }

    /// A gateway is linked: an earlier life at the same address is over. `None` if it is this one
    /// that was taken for over.
    pub(crate) fn linked(
        &mut self,
        gateway: SocketAddr,
        instance: &Instance,
        now: Instant,
    ) -> Option<Vec<Verdict>> {
        if self.is_over(instance) {
            return None;
        }
        self.away.retain(|away| away.met || away.instance != *instance);
        self.missed.retain(|missed| missed != instance);
        self.unreached.retain(|unreached| unreached != instance);
        for away in self.away.iter_mut().filter(|away| away.instance == *instance) {
            (away.back, away.missing) = (true, None);
        }
        self.down(instance);
        self.up.push(Up { instance: instance.clone(), unnamed: None });
        self.look(now);
        Some(self.end(now, |away| away.gateway == gateway && away.instance != *instance))
    }

    /// Whether this life was linked before, and what we knew of it then still counts.
    pub(crate) fn is_back(&self, instance: &Instance) -> bool {
        self.away.iter().any(|away| away.back && away.instance == *instance)
    }

    /// Everything that a life has told since it was linked again has come: what we knew of it
    /// before does not count any more.
    pub(crate) fn confirmed(&mut self, instance: &Instance) {
        self.away.retain(|away| away.instance != *instance);
    }

    /// A link is lost, since `since`: one that fell silent was so before anybody noticed, and one that
    /// ended while we stood still may have been so from the beginning of that.
    pub(crate) fn unlinked(
        &mut self,
        address: Arc<str>,
        gateway: SocketAddr,
        instance: Instance,
        since: Instant,
        now: Instant,
    ) {
        // What registers have not named for long went on without some, whoever these are.
        let unnamed = self.down(&instance);
        let since = unnamed.map_or(since, |unnamed| since.min(unnamed));
        // Lost again before it had said everything: what we knew is as old as it was.
        let before = self.away.iter().find(|away| away.instance == instance);
        let lost = before.map_or(since, |before| before.lost);
        self.confirmed(&instance);
        self.newcomers.lose(&instance, gateway, lost);
        let (met, went_on) = (true, false);
        self.away.push(Away::new(address, gateway, instance, lost, met, went_on));
        self.look(now);
    }

    /// Clients of a life were handed over to us that we may never have met.
    pub(crate) fn handed_over(
        &mut self,
        gateway: SocketAddr,
        instance: &Instance,
        groups: Vec<Vec<Instance>>,
        now: Instant,
    ) {
        if self.is_over(instance) && self.away.iter().all(|away| away.instance != *instance) {
            self.orphans.add(instance, groups, now);
        } else if !self.away.iter().any(|away| away.met && away.instance == *instance) {
            self.away.retain(|away| away.instance != *instance);
            let (address, instance) = (gateway.to_string().into(), instance.clone());
            self.newcomers.lose(&instance, gateway, now);
            self.away.push(Away::new(address, gateway, instance, now, true, true));
        }
        self.look(now);
    }

    /// A life was there when its link was given up, since others had taken it for gone: it has given
    /// us clients of theirs.
    pub(crate) fn went_on(&mut self, instance: &Instance) {
        for away in self.away.iter_mut().filter(|away| away.instance == *instance) {
            away.went_on = true;
        }
    }

    /// A life is not linked any more. Says since when registers did not name it.
    fn down(&mut self, instance: &Instance) -> Option<Instant> {
        let up = self.up.iter().position(|up| up.instance == *instance)?;
        self.up.swap_remove(up).unnamed
    }

    /// Whether a life that registers name is to be waited for before it was ever linked. That is so
    /// once, and for the grace: a gateway that cannot be reached at all must not hold up all events.
    pub(crate) fn may_await(&self, instance: &Instance) -> bool {
        let is_known = self.missed.contains(instance) || self.unreached.contains(instance);
        !self.is_over(instance) && !is_known
    }

    /// Lives that were not reached within the grace are waited for once more.
    pub(crate) fn await_unreached(&mut self) {
        self.unreached.clear();
    }

    /// Whether a life that registers name must be a newer one than any that we were linked to, or waited
    /// for, at its address.
    pub(crate) fn is_newer(&self, instance: &Instance) -> bool {
        self.may_await(instance) && self.away.iter().all(|away| away.instance != *instance)
    }

    /// A register names a life at the address of another that we are linked to: it has not noticed its
    /// end yet.
    pub(crate) fn outlived(&mut self, instance: Instance) {
        remember(&mut self.missed, instance, REMEMBERED);
    }

    /// A life that was never linked is waited for.
    pub(crate) fn awaited(
        &mut self,
        address: Arc<str>,
        gateway: SocketAddr,
        instance: Instance,
        now: Instant,
    ) {
        if self.away.iter().all(|away| away.instance != instance) {
            self.away.push(Away::new(address, gateway, instance, now, false, false));
            self.look(now);
        }
    }

    /// Takes what connected registers say.
    pub(crate) fn heard(&mut self, said: Option<Said>, now: Instant) {
        if let Some(said) = &said {
            said.settled.iter().for_each(|settled| self.settle(settled.clone()));
            said.takeovers.iter().for_each(|takeover| self.take_over(takeover.clone()));
            if let Some(workers) = &said.workers {
                self.newcomers.hear(workers, now);
            }
        }
        self.said = said;
        self.look(now);
    }

    /// We stand by for clients with these holders on a life that is over.
    pub(crate) fn orphaned(
        &mut self,
        gateway: &Instance,
        groups: Vec<Vec<Instance>>,
        now: Instant,
    ) {
        self.orphans.add(gateway, groups, now);
        self.look(now);
    }

    /// Notes that the clients of a worker on a life that is over were closed.
    pub(crate) fn settle(&mut self, settled: Settled) {
        let gateway = settled.gateway.clone();
        if self.orphans.settle(settled) {
            self.note_over(gateway);
        }
    }

    /// Notes that a standby has closed clients on a life that is over.
    pub(crate) fn take_over(&mut self, takeover: Takeover) {
        let gateway = takeover.gateway.clone();
        if self.orphans.take_over(takeover) {
            self.note_over(gateway);
        }
    }

    /// What registers should know.
    pub(crate) fn settled(&self) -> impl Iterator<Item = &Settled> {
        self.orphans.settled()
    }

    /// The same of takeovers.
    pub(crate) fn takeovers(&self) -> impl Iterator<Item = &Takeover> {
        self.orphans.takeovers()
    }

    /// Whether what we know of the clients of a life is still to be handed over to a worker.
    pub(crate) fn hands_over(&self, gateway: &Instance, to: &Instance) -> bool {
        self.newcomers.has(gateway, to)
    }

    /// We leave: gateways that live give our clients to others from now on.
    pub(crate) fn leave(&mut self, now: Instant) {
        self.leaving.get_or_insert(now);
    }

    /// What is to be done by now.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<Verdict> {
        self.begin_anew(now);
        let grace = self.grace;
        let passed = |since: Option<Instant>| since.is_some_and(|since| since + grace <= now);
        let over = self.over.clone();
        let mut verdicts = self.end(now, |away| {
            passed(away.missing) || away.superseded || over.contains(&away.instance)
        });
        verdicts.extend(self.orphans.due(now).into_iter().map(Verdict::Orphans));
        let (away, orphans) = (&self.away, &self.orphans);
        let ended = |gateway: &Instance| verdicts.iter().any(|it| it.ends(gateway));
        let is_away = |gateway: &Instance| away.iter().any(|it| it.met && it.instance == *gateway);
        self.newcomers.retain(|it| is_away(it) || ended(it) || orphans.has(it));
        // Registers may go on naming one that is gone.
        let is_linked =
            |gateway: &Instance| away.iter().any(|away| away.back && away.instance == *gateway);
        let handovers = self.newcomers.due(|gateway| !is_linked(gateway));
        // Before what is closed is forgotten here.
        handovers.into_iter().map(Verdict::HandOver).chain(verdicts).collect()
    }

    /// The same without waiting for the grace: we are about to leave.
    pub(crate) fn hurry(&mut self, now: Instant) -> Vec<Verdict> {
        self.end(now, |away| away.met && away.missing.is_some())
    }

    /// When there will be something to do, if nothing happens before.
    pub(crate) fn next(&self) -> Option<Instant> {
        let away = self.away.iter().filter_map(|away| away.missing);
        let next = away.map(|since| since + self.grace).chain(self.orphans.next()).min();
        // What others have taken for over is so for us, whenever we lost it.
        let is_over = |away: &&Away| away.superseded || self.is_over(&away.instance);
        let others = self.away.iter().find(is_over);
        others.map(|away| away.lost).or(next)
    }

    /// Whoever decides much later than it could have has stood still, and what it heard of registers is
    /// as old: the grace begins anew.
    fn begin_anew(&mut self, now: Instant) {
        let latest = self.grace + PROMPT;
        for since in self.away.iter_mut().flat_map(|away| &mut away.missing) {
            if *since + latest < now {
                *since = now;
            }
        }
        self.orphans.begin_anew(PROMPT, now);
    }

    fn end(&mut self, now: Instant, ended: impl Fn(&Away) -> bool) -> Vec<Verdict> {
        let ended: Vec<_> = self.away.extract_if(.., |away| ended(away)).collect();
        if self.closes {
            let met = ended.iter().filter(|away| away.met);
            met.for_each(|away| self.note_over(away.instance.clone()));
        }
        let unmet = ended.iter().filter(|away| !away.met);
        for away in unmet {
            remember(&mut self.unreached, away.instance.clone(), REMEMBERED);
        }
        let leaving = self.leaving;
        let verdict = |away: Away| {
            if !away.met {
                return Verdict::Missed(away.instance);
            }
            // One that went on without us has given our clients to others, and so has one that heard
            // that we leave.
            let in_doubt = away.went_on
                || away.lost + PROMPT < away.missing.unwrap_or(now)
                || leaving.is_some_and(|leaving| leaving <= away.lost);
            Verdict::Over { gateway: away.instance, in_doubt }
        };
        ended.into_iter().map(verdict).collect()
    }

    /// Looks who is missing. While no register is connected, nobody is.
    fn look(&mut self, now: Instant) {
        let said = self.said.as_ref();
        // What was known is not forgotten for want of a register.
        if let Some(said) = said {
            for up in &mut self.up {
                let is_unnamed = !said.may_name(&up.instance);
                up.unnamed = is_unnamed.then(|| up.unnamed.unwrap_or(now));
            }
        }
        for away in &mut self.away {
            let is_missing = !away.met || !away.back && said.is_some_and(|said| !said.names(away));
            away.missing = is_missing.then(|| away.missing.unwrap_or(now));
        }
        let newer = said.iter().flat_map(|said| &said.gateways).filter(|gateway| {
            gateway.instance.as_ref().is_some_and(|instance| self.is_newer(instance))
        });
        let newer: FxHashSet<_> = newer.map(|gateway| gateway.address.clone()).collect();
        for away in &mut self.away {
            let is_named = said.is_some_and(|said| said.names(away));
            away.superseded = away.met && !away.back && !is_named && newer.contains(&*away.address);
        }
        self.orphans.look(said.and_then(|said| said.workers.as_ref()), now);
    }

    fn note_over(&mut self, instance: Instance) {
        remember(&mut self.over, instance, REMEMBERED);
    }
}

impl Away {
    const fn new(
        address: Arc<str>,
        gateway: SocketAddr,
        instance: Instance,
        lost: Instant,
        met: bool,
        went_on: bool,
    ) -> Self {
        let (back, missing, superseded) = (false, None, false);
        Self { address, gateway, instance, met, lost, went_on, back, missing, superseded }
    }
}

impl Verdict {
    /// Whether it says that this life is over.
    fn ends(&self, instance: &Instance) -> bool {
        matches!(self, Self::Over { gateway, .. } if gateway == instance)
    }
}

impl Said {
    /// A register that does not tell lives apart may mean any.
    fn may_name(&self, life: &Instance) -> bool {
        let mut gateways = self.gateways.iter();
        gateways.any(|gateway| gateway.instance.as_ref().is_none_or(|named| named == life))
    }

    /// A register that does not tell lives apart names an address.
    fn names(&self, away: &Away) -> bool {
        self.gateways.iter().any(|gateway| match &gateway.instance {
            Some(instance) => *instance == away.instance,
            None => *gateway.address == *away.address,
        })
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
