//! Which lives of gateways are over, and who is to say so to whom: a value.
//!
//! A gateway that cannot be reached is not a gateway that is gone. It is taken for gone once it is
//! back as another life, or once no register has named it for the whole grace while it was not
//! linked. Its clients are then closed on its behalf: by the worker that each belongs to, and if
//! that worker is gone as well, by the client's witness. See `docs/guarantees.md`.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use protocol::{
    Instance,
    discovery::{Gateway, Settled},
};
use rustc_hash::FxHashSet;

/// How soon after its links a gateway that dies is missed by registers, or is back. One that is
/// missed later lived on for a while.
const PROMPT: Duration = Duration::from_secs(2);

/// How many ends are remembered. A life that was taken for over and comes back after so many others
/// is not recognised any more.
const REMEMBERED: usize = 256;

/// What we know of lives of gateways, and of workers whose clients we witness.
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
    /// Workers whose clients on a life that is over are not settled yet, as far as we know.
    unsettled: Vec<Unsettled>,
    /// Whose clients on which lives were closed, newest last.
    settled: VecDeque<Settled>,
    /// Lives that are over, newest last.
    over: VecDeque<Instance>,
    /// Lives that were waited for in vain, newest last.
    missed: VecDeque<Instance>,
}

/// What registers say together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    pub(crate) gateways: Vec<Gateway>,
    /// Which workers are there; `None` if no register tells.
    pub(crate) workers: Option<FxHashSet<Instance>>,
    pub(crate) settled: Vec<Settled>,
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
}

#[derive(Debug)]
struct Unsettled {
    gateway: Instance,
    owner: Instance,
    /// Since when no register names the owner.
    missing: Option<Instant>,
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
    /// So is the worker that other clients on it belonged to: they are for us to close.
    Inherit(Settled),
    /// That worker has closed them itself.
    Forget(Settled),
}

impl Leases {
    pub(crate) fn new(grace: Duration) -> Self {
        Self {
            grace,
            closes: true,
            leaving: None,
            said: None,
            up: Vec::new(),
            away: Vec::new(),
            unsettled: Vec::new(),
            settled: VecDeque::new(),
            over: VecDeque::new(),
            missed: VecDeque::new(),
        }
    }

    /// Those of one that only pushes: it closes no clients of a life that it takes for over, which
    /// may go on, therefore.
    pub(crate) fn of_back_end(grace: Duration) -> Self {
        Self { closes: false, ..Self::new(grace) }
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
        let (met, went_on, back, missing) = (true, false, false, None);
        self.away.push(Away { address, gateway, instance, met, lost, went_on, back, missing });
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
    /// once, and for the grace: whoever cannot be reached at all must not hold up everybody.
    pub(crate) fn may_await(&self, instance: &Instance) -> bool {
        !self.is_over(instance) && !self.missed.contains(instance)
    }

    /// Whether a life that registers name must be a newer one than any that we were linked to, or waited
    /// for, at its address.
    pub(crate) fn is_newer(&self, instance: &Instance) -> bool {
        self.may_await(instance) && self.away.iter().all(|away| away.instance != *instance)
    }

    /// A register names a life at the address of another that we are linked to: it has not noticed its
    /// end yet.
    pub(crate) fn outlived(&mut self, instance: Instance) {
        note(&mut self.missed, instance);
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
            let (met, went_on, back, lost, missing) = (false, false, false, now, None);
            self.away.push(Away { address, gateway, instance, met, lost, went_on, back, missing });
            self.look(now);
        }
    }

    /// Takes what connected registers say.
    pub(crate) fn heard(&mut self, said: Option<Said>, now: Instant) {
        for settled in said.iter().flat_map(|said| &said.settled) {
            self.remember(settled.clone());
        }
        self.said = said;
        self.look(now);
    }

    /// We witness clients of these workers on a life that is over.
    pub(crate) fn witnessed(
        &mut self,
        gateway: &Instance,
        owners: impl IntoIterator<Item = Instance>,
        now: Instant,
    ) {
        let gateway = || gateway.clone();
        let unsettled = |owner| Unsettled { gateway: gateway(), owner, missing: None };
        self.unsettled.extend(owners.into_iter().map(unsettled));
        self.look(now);
    }

    /// Notes that the clients of a worker on a life that is over were closed.
    pub(crate) fn settle(&mut self, settled: Settled) {
        self.remember(settled);
    }

    /// What registers should know.
    pub(crate) fn settled(&self) -> impl Iterator<Item = &Settled> {
        self.settled.iter()
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
        let mut verdicts =
            self.end(now, |away| passed(away.missing) || over.contains(&away.instance));
        let known = &self.settled;
        self.unsettled.retain(|unsettled| {
            let Unsettled { gateway, owner, missing } = unsettled;
            let settled = Settled { gateway: gateway.clone(), owner: owner.clone() };
            if known.contains(&settled) {
                verdicts.push(Verdict::Forget(settled));
            } else if passed(*missing) {
                verdicts.push(Verdict::Inherit(settled));
            } else {
                return true;
            }
            false
        });
        verdicts
    }

    /// The same without waiting for the grace: we are about to leave.
    pub(crate) fn hurry(&mut self, now: Instant) -> Vec<Verdict> {
        self.end(now, |away| away.met && away.missing.is_some())
    }

    /// When there will be something to do, if nothing happens before.
    pub(crate) fn next(&self) -> Option<Instant> {
        let away = self.away.iter().filter_map(|away| away.missing);
        let unsettled = self.unsettled.iter().filter_map(|unsettled| unsettled.missing);
        let next = away.chain(unsettled).min().map(|since| since + self.grace);
        // What others have taken for over is so for us, whenever we lost it.
        let others = self.away.iter().find(|away| self.is_over(&away.instance));
        others.map(|away| away.lost).or(next)
    }

    /// Whoever decides much later than it could have has stood still, and what it heard of registers is
    /// as old: the grace begins anew.
    fn begin_anew(&mut self, now: Instant) {
        let latest = self.grace + PROMPT;
        let away = self.away.iter_mut().map(|away| &mut away.missing);
        let unsettled = self.unsettled.iter_mut().map(|unsettled| &mut unsettled.missing);
        for since in away.chain(unsettled).flatten() {
            if *since + latest < now {
                *since = now;
            }
        }
    }

    fn end(&mut self, now: Instant, ended: impl Fn(&Away) -> bool) -> Vec<Verdict> {
        let ended: Vec<_> = self.away.extract_if(.., |away| ended(away)).collect();
        if self.closes {
            let met = ended.iter().filter(|away| away.met);
            met.for_each(|away| self.note_over(away.instance.clone()));
        }
        let unmet = ended.iter().filter(|away| !away.met);
        unmet.for_each(|away| note(&mut self.missed, away.instance.clone()));
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
        let workers = said.and_then(|said| said.workers.as_ref());
        for unsettled in &mut self.unsettled {
            let is_missing = workers.is_some_and(|workers| !workers.contains(&unsettled.owner));
            unsettled.missing = is_missing.then(|| unsettled.missing.unwrap_or(now));
        }
    }

    fn remember(&mut self, settled: Settled) {
        if self.settled.contains(&settled) {
            return;
        }
        self.note_over(settled.gateway.clone());
        if self.settled.len() == REMEMBERED {
            self.settled.pop_front();
        }
        self.settled.push_back(settled);
    }

    fn note_over(&mut self, instance: Instance) {
        note(&mut self.over, instance);
    }
}

/// Remembers a life, in place of the oldest if there are too many.
fn note(lives: &mut VecDeque<Instance>, instance: Instance) {
    if lives.contains(&instance) {
        return;
    }
    if lives.len() == REMEMBERED {
        lives.pop_front();
    }
    lives.push_back(instance);
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
