//! The groups of an owner, and its decisions about them: a value.
//!
//! For each group it has the state of each *source*, which is one shard of one gateway: the number
//! of clients and the members there. A member is present while a source has clients of it. Since
//! gateways may disagree for a while on the owner, the last client known here need not be the last
//! one: before a member is removed, or a group is vacated, all gateways are asked, and those that
//! are unreachable are waited for until they are declared dead.
//!
//! Each decision about a group goes to the gateways in the order of decisions. A shard refuses what
//! would not change its view, so that a repeated decision is harmless, and a wrong one is corrected
//! by a later one.

mod asks;
mod context;
mod group;
mod removals;
mod sources;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    time::{Duration, Instant},
};

use protocol::{
    Command, Group, InstanceId, Member, MemberChange, MemberId, PresenceAnswer, PresenceNotified,
    PresenceReport,
};

use super::notice::Notice;
use asks::{Ask, AskKind};
use context::Context;
use group::GroupState;

/// Until when a takeover waits for the answers of gateways.
const TAKEOVER: Duration = Duration::from_secs(1);

/// When gateways are asked again about a member, or the clients of a group, of which a gateway has
/// some that it does not report to this owner.
const RECHECK: Duration = Duration::from_secs(1);

/// When gateways are asked again after one has not answered.
const RETRY: Duration = Duration::from_millis(500);

/// How long what an earlier link of a gateway has reported counts after the next link is
/// established.
const CONFIRM: Duration = Duration::from_secs(5);

/// Departures are due at multiples of this, so that many are one query.
const TICK: Duration = Duration::from_millis(50);

/// Maximum number of members in one query.
const ASKED: usize = 1000;

/// One shard of one gateway instance.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Source {
    pub(crate) gateway: InstanceId,
    pub(crate) shard: u16,
}

/// The time, by the runtime's clock and by the host's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) at: Instant,
    /// Microseconds since 1970.
    pub(crate) micros: u64,
}

/// The gateways that a decision is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum To {
    All,
    Only(InstanceId),
}

/// The contents of reports that are dealt with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dealt {
    /// The application was notified of what has come.
    Arrivals,
    /// Everything.
    Whole,
}

impl Dealt {
    /// The command for the shard that has reported.
    pub(crate) const fn command(self, shard: u16, group: Group, number: u64) -> Command {
        match self {
            Self::Arrivals => Command::PresenceNotified { shard, group, number },
            Self::Whole => Command::PresenceSettled { shard, group, number },
        }
    }
}

/// A decision, to be executed in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// [`Command::PresenceTaken`](protocol::Command::PresenceTaken)
    Taken { source: Source, group: Group, number: u64 },
    /// [`Command::SetMember`](protocol::Command::SetMember)
    Set { to: To, group: Group, change: MemberChange },
    /// [`Command::PresenceView`](protocol::Command::PresenceView)
    View { source: Source, group: Group, members: Vec<Member> },
    /// The application is to be notified.
    Notice(Notice),
    /// So much is dealt with, up to a report, once the notices of the group so far are handled.
    Dealt { source: Source, group: Group, number: u64, dealt: Dealt },
    /// All gateways are to be asked about a group: about these members, or all. Answered with
    /// [`PresenceTable::answered`] for each gateway, then [`PresenceTable::asked`].
    Ask { ask: u64, group: Group, members: Option<Vec<MemberId>> },
}

/// The groups of an owner.
#[derive(Debug)]
pub(crate) struct PresenceTable {
    groups: BTreeMap<Group, GroupState>,
    /// When something is due in a group.
    deadlines: BTreeSet<(Instant, Group)>,
    asks: BTreeMap<u64, Ask>,
    /// Of which of the next report of each source an application was notified.
    notified: BTreeMap<Source, PresenceNotified>,
    context: Context,
}

impl PresenceTable {
    /// A table that takes up to about `limit` bytes, and holds departures back for `grace`.
    pub(crate) fn new(grace: Duration, limit: usize, now: Now) -> Self {
        Self {
            groups: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            asks: BTreeMap::new(),
            notified: BTreeMap::new(),
            context: Context::new(grace, limit, now),
        }
    }

    /// The decisions since the last call, in order.
    pub(crate) fn take_decisions(&mut self) -> Vec<Decision> {
        std::mem::take(&mut self.context.decisions)
    }

    /// When [`due`](Self::due) is to be called, unless something changes before.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Number of groups.
    pub(crate) fn len(&self) -> usize {
        self.groups.len()
    }

    /// Number of members of all groups.
    pub(crate) const fn members(&self) -> usize {
        self.context.members
    }

    /// Approximate memory that it takes, in bytes.
    pub(crate) const fn weight(&self) -> usize {
        self.context.weight
    }

    /// Whether something was left out at the bound, and there is room again: everything is to be
    /// reported again then. Returns `true` once.
    pub(crate) fn take_incomplete(&mut self) -> bool {
        let context = &mut self.context;
        let has_room = context.weight <= context.limit / 4 * 3;
        context.incomplete && has_room && std::mem::take(&mut context.incomplete)
    }

    /// Whether something was left out at the bound.
    pub(crate) const fn is_incomplete(&self) -> bool {
        self.context.incomplete
    }

    /// An application was notified of a part of the report that follows.
    pub(crate) fn notified(&mut self, gateway: &InstanceId, notified: PresenceNotified) {
        let source = Source { gateway: gateway.clone(), shard: notified.shard };
        self.notified.insert(source, notified);
    }

    /// A shard has reported a group.
    pub(crate) fn report(&mut self, gateway: &InstanceId, report: PresenceReport, now: Now) {
        self.context.now = now;
        let source = Source { gateway: gateway.clone(), shard: report.shard };
        let group = report.group.clone();
        let notified = self.notified.remove(&source);
        let notified = notified.filter(|it| it.group == group && it.number == report.number);
        if !self.groups.contains_key(&group) {
            // Not necessarily a full report: it may have crossed the settlement with which this
            // owner has forgotten the group, and then has all there is.
            if self.context.is_full() {
                self.context.incomplete = true;
                return;
            }
            self.groups.insert(group.clone(), GroupState::new(group.clone(), &mut self.context));
        }
        let Some(state) = self.groups.get_mut(&group) else { return };
        state.report(&source, report, notified, &mut self.context);
        self.finish(&group);
    }

    /// The shard reports a group to another owner.
    pub(crate) fn lost(&mut self, gateway: &InstanceId, shard: u16, group: &Group, now: Now) {
        self.context.now = now;
        let source = Source { gateway: gateway.clone(), shard };
        if let Some(state) = self.groups.get_mut(group) {
            state.lose(&source, &mut self.context);
            self.finish(group);
        }
    }

    /// A link to the gateway is established: its shards report everything again that they have for
    /// this owner.
    pub(crate) fn linked(&mut self, gateway: &InstanceId, now: Now) {
        self.context.now = now;
        self.notified.retain(|source, _| source.gateway != *gateway);
        self.context.removals.linked(gateway);
        self.for_each(|group, context| group.linked(gateway, context));
    }

    /// The gateway was declared dead: its clients are gone.
    pub(crate) fn gateway_dead(&mut self, gateway: &InstanceId, now: Now) {
        self.context.now = now;
        self.notified.retain(|source, _| source.gateway != *gateway);
        self.for_each(|group, context| group.gateway_dead(gateway, context));
        self.context.removals.dead(gateway);
    }

    /// A gateway has answered.
    pub(crate) fn answered(&mut self, ask: u64, answer: PresenceAnswer, now: Now) {
        self.context.now = now;
        let Some(asked) = self.asks.get_mut(&ask) else { return };
        asked.clients = asked.clients.saturating_add(answer.clients);
        match asked.kind {
            AskKind::Takeover => {
                let group = asked.group.clone();
                if let Some(state) = self.groups.get_mut(&group) {
                    state.found_at_takeover(ask, answer, &mut self.context);
                    self.finish(&group);
                }
            }
            AskKind::Last => {
                let found =
                    answer.members.into_iter().map(|it| (it.member.id().clone(), it.member));
                asked.found.extend(found);
            }
        }
    }

    /// All gateways have answered, unless `complete` is `false`.
    pub(crate) fn asked(&mut self, ask: u64, complete: bool, now: Now) {
        self.context.now = now;
        let Some(asked) = self.asks.remove(&ask) else { return };
        let group = asked.group.clone();
        if let Some(state) = self.groups.get_mut(&group) {
            match asked.kind {
                AskKind::Takeover => state.all_asked_at_takeover(ask, complete, &mut self.context),
                AskKind::Last => state.conclude(ask, asked, complete, &mut self.context),
            }
            self.finish(&group);
        }
    }

    /// Decides what is due.
    pub(crate) fn due(&mut self, now: Now) {
        self.context.now = now;
        while let Some((at, group)) = self.deadlines.first()
            && *at <= now.at
        {
            let group = group.clone();
            self.deadlines.pop_first();
            if let Some(state) = self.groups.get_mut(&group) {
                state.deadline = None;
                state.due(&mut self.context);
                self.finish(&group);
            }
        }
    }

    /// Forgets everything, without a decision: this worker owns no groups any more.
    pub(crate) fn clear(&mut self) {
        (self.groups, self.deadlines, self.asks, self.notified) = Default::default();
        let context = &mut self.context;
        (context.weight, context.members, context.incomplete) = (0, 0, false);
        context.decisions.clear();
        context.asked.clear();
        context.wake = None;
    }

    fn for_each(&mut self, mut change: impl FnMut(&mut GroupState, &mut Context)) {
        let mut last: Option<Group> = None;
        loop {
            // By name, since a group may be removed meanwhile.
            let from = last.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
            let mut rest = self.groups.range_mut::<Group, _>((from, Bound::Unbounded));
            let Some((name, state)) = rest.next() else { return };
            let name = name.clone();
            change(state, &mut self.context);
            self.finish(&name);
            last = Some(name);
        }
    }

    /// After each change of a group: what follows from it.
    fn finish(&mut self, group: &Group) {
        for (number, ask) in self.context.asked.drain(..) {
            self.asks.insert(number, ask);
        }
        let wake = self.context.wake.take();
        let Some(state) = self.groups.get_mut(group) else { return };
        state.settle(&mut self.context);
        if state.is_over() {
            if let Some(at) = state.deadline {
                self.deadlines.remove(&(at, group.clone()));
            }
            state.release(&mut self.context);
            self.groups.remove(group);
            return;
        }
        if let Some(at) = wake
            && state.deadline.is_none_or(|known| at < known)
        {
            if let Some(known) = state.deadline.replace(at) {
                self.deadlines.remove(&(known, group.clone()));
            }
            self.deadlines.insert((at, group.clone()));
        }
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
