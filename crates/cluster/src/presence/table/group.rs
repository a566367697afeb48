//! One group: its members, over all sources.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use protocol::{Group, Member, MemberChange, MemberId};

use super::{
    Decision, Source, To,
    context::{self, Context, DEPARTING, GROUP},
    sources::SourceState,
};
use crate::presence::notice::{Notice, NoticeKind};

#[derive(Debug)]
pub(super) struct GroupState {
    pub(super) name: Group,
    pub(super) sources: BTreeMap<Source, SourceState>,
    pub(super) members: BTreeMap<MemberId, MemberState>,
    /// Members without a client at any source.
    pub(super) departing: BTreeMap<MemberId, Departing>,
    /// Number of clients in the last notice.
    pub(super) clients: u64,
    /// Whether the application was notified that the group is occupied.
    pub(super) occupied: bool,
    /// Whether it was occupied under an earlier owner.
    pub(super) was_occupied: bool,
    /// Whether another owner may have vacated it since.
    pub(super) is_doubted: bool,
    /// When the group is vacated unless it has clients.
    pub(super) vacating: Option<Instant>,
    pub(super) takeover: Option<Takeover>,
    /// The query about departures that is pending, and whether it is about the clients as well.
    pub(super) asking: Option<u64>,
    pub(super) asks_whether_vacant: bool,
    /// Whether no source is left, and gateways did not answer which departures are the last ones:
    /// they have another owner, perhaps, and are asked about the whole group then.
    pub(super) is_left: bool,
    /// When it is looked at next.
    pub(super) deadline: Option<Instant>,
    /// Whether a query about departures has ended since the last settlement.
    pub(super) is_concluded: bool,
    /// Sources whose arrivals may not be dealt with yet.
    pub(super) arrived: BTreeSet<Source>,
    forgotten: bool,
}

#[derive(Debug, Default)]
pub(super) struct MemberState {
    /// `None` if it is known by its id only, from the view of a shard.
    pub(super) member: Option<Member>,
    /// Number of sources with clients of it.
    pub(super) present: u32,
    /// Whether all views have it, or were sent it.
    pub(super) announced: bool,
    /// Whether the answer of a gateway has shown it and no source has reported it since.
    pub(super) elsewhere: bool,
    /// Whether the application was notified of it, by this owner or an earlier one.
    pub(super) known: bool,
    /// Whether an earlier owner may have announced it.
    pub(super) seen: bool,
    /// Number of views that had it when this owner took over.
    pub(super) in_views: u32,
}

impl MemberState {
    /// Another owner may have notified the application that it has left.
    pub(super) fn doubt(&mut self) {
        self.seen |= std::mem::take(&mut self.known);
    }
}

/// A member that may have left.
#[derive(Debug)]
pub(super) struct Departing {
    pub(super) due: Instant,
    /// The query that it is in.
    pub(super) ask: Option<u64>,
    /// The reports that it has left a source, by number.
    pub(super) gone: Vec<(Source, u64)>,
}

/// The beginning of an ownership.
#[derive(Debug)]
pub(super) struct Takeover {
    pub(super) ask: u64,
    pub(super) until: Instant,
    /// Number of sources with a view.
    pub(super) views: u32,
}

impl GroupState {
    pub(super) fn new(name: Group, context: &mut Context) -> Self {
        context.weight += GROUP + name.weight();
        Self {
            name,
            sources: BTreeMap::new(),
            members: BTreeMap::new(),
            departing: BTreeMap::new(),
            clients: 0,
            occupied: false,
            was_occupied: false,
            is_doubted: false,
            vacating: None,
            takeover: None,
            asking: None,
            asks_whether_vacant: false,
            is_left: false,
            deadline: None,
            is_concluded: false,
            arrived: BTreeSet::new(),
            forgotten: false,
        }
    }

    /// Whether nothing is left to be decided.
    pub(super) fn is_over(&self) -> bool {
        let is_idle = self.takeover.is_none() && self.asking.is_none() && self.vacating.is_none();
        let is_empty = self.sources.is_empty() && self.members.is_empty() && !self.is_occupied();
        self.forgotten || is_idle && is_empty
    }

    /// All sources report to another owner.
    pub(super) const fn forget(&mut self) {
        self.forgotten = true;
    }

    /// The memory of the group is released.
    pub(super) fn release(&mut self, context: &mut Context) {
        let members = self.members.iter();
        let members: usize =
            members.map(|(id, it)| context::member_weight(id, it.member.as_ref())).sum();
        let sources: usize = self.sources.values().map(SourceState::weight).sum();
        let departing = self.departing.len() * DEPARTING;
        context.weight -= GROUP + self.name.weight() + members + sources + departing;
        context.members -= self.members.len();
    }

    pub(super) fn notify(&mut self, kind: NoticeKind, context: &mut Context) {
        if let NoticeKind::MemberRemoved(_) | NoticeKind::Vacated = kind {
            context.removals.removed(&self.name);
        }
        // Over all groups, since this one may be forgotten and come back.
        context.last_notice = context.now.micros.max(context.last_notice + 1);
        let notice = Notice { group: self.name.clone(), number: context.last_notice, kind };
        context.decisions.push(Decision::Notice(notice));
    }

    fn set(&self, to: To, change: MemberChange, context: &mut Context) {
        context.decisions.push(Decision::Set { to, group: self.name.clone(), change });
    }

    /// Decides what is due.
    pub(super) fn due(&mut self, context: &mut Context) {
        if self.takeover.as_ref().is_some_and(|it| it.until <= context.now.at) {
            self.end_takeover(context);
        }
        self.drop_unconfirmed(context);
        self.ask_about_departures(context);
        self.wake_for_departures(context);
        if let Some(takeover) = &self.takeover {
            context.wake_at(takeover.until);
        }
        self.sources.values().filter_map(|it| it.unconfirmed).for_each(|at| context.wake_at(at));
    }

    /// Departures become due, unless a query is pending, after which this is called again.
    pub(super) fn wake_for_departures(&self, context: &mut Context) {
        if self.asking.is_none() && self.takeover.is_none() {
            let departing = self.departing.values().map(|it| it.due);
            departing.chain(self.vacating).for_each(|at| context.wake_at(at));
        }
    }
}

/// Members.
impl GroupState {
    /// Makes sure that there is a state of a member. Returns `false` at the bound.
    pub(super) fn ensure_member(
        &mut self,
        id: &MemberId,
        member: Option<Member>,
        context: &mut Context,
    ) -> bool {
        match self.members.get_mut(id) {
            Some(state) => {
                // The first one stays while the id is present.
                if state.member.is_none() {
                    context.weight += member.as_ref().map_or(0, Member::weight);
                    state.member = member;
                }
            }
            None if context.is_full() => {
                context.incomplete = true;
                return false;
            }
            None => {
                context.weight += context::member_weight(id, member.as_ref());
                context.members += 1;
                let state = MemberState { member, ..MemberState::default() };
                self.members.insert(id.clone(), state);
            }
        }
        true
    }

    /// A source has clients of a member.
    pub(super) fn appear(&mut self, id: &MemberId, context: &mut Context) {
        if self.departing.remove(id).is_some() {
            context.weight -= DEPARTING;
        }
        if let Some(state) = self.members.get_mut(id) {
            state.elsewhere = false;
        }
        self.announce(id, context);
    }

    /// A member that has clients is announced, unless it was, or this owner is still taking over.
    pub(super) fn announce(&mut self, id: &MemberId, context: &mut Context) {
        self.announce_unless(id, false, context);
    }

    /// The same, without a command if all views have it.
    fn announce_unless(&mut self, id: &MemberId, all_have_it: bool, context: &mut Context) {
        let Some(state) = self.members.get_mut(id) else { return };
        let Some(member) = state.member.clone() else { return };
        if self.takeover.is_some() {
            return;
        }
        let is_announced = std::mem::replace(&mut state.announced, true);
        // While no source reports it, it is not known whether the application was notified.
        let is_new = !state.elsewhere && !std::mem::replace(&mut state.known, true);
        if !is_announced && !all_have_it {
            self.set(To::All, MemberChange::Added(Box::new(member.clone())), context);
        }
        if is_new {
            self.notify(NoticeKind::MemberAdded(member), context);
        }
    }

    /// A source has no client of a member any more, as of the report of that number.
    pub(super) fn depart(
        &mut self,
        id: &MemberId,
        gone: Option<(Source, u64)>,
        context: &mut Context,
    ) {
        let Some(state) = self.members.get(id).filter(|state| state.present == 0) else { return };
        // A recheck is due already.
        if !state.elsewhere || !self.departing.contains_key(id) {
            let due = context.departs_at();
            self.depart_at(id, due, context);
        }
        if let Some(departing) = self.departing.get_mut(id) {
            departing.gone.extend(gone);
        }
    }

    /// Removes a member at that time, unless it has clients by then.
    pub(super) fn depart_at(&mut self, id: &MemberId, due: Instant, context: &mut Context) {
        match self.departing.get_mut(id) {
            Some(departing) => (departing.due, departing.ask) = (due, None),
            None => {
                context.weight += DEPARTING;
                let departing = Departing { due, ask: None, gone: Vec::new() };
                self.departing.insert(id.clone(), departing);
            }
        }
        context.wake_at(due);
    }

    /// No gateway has clients of a member.
    pub(super) fn remove(&mut self, id: &MemberId, context: &mut Context) {
        if self.departing.remove(id).is_some() {
            context.weight -= DEPARTING;
        }
        let Some(state) = self.members.remove(id) else { return };
        context.weight -= context::member_weight(id, state.member.as_ref());
        context.members -= 1;
        self.set(To::All, MemberChange::Removed(id.clone()), context);
        if state.known || state.seen {
            self.notify(NoticeKind::MemberRemoved(id.clone()), context);
        }
    }

    /// The members that a shard without a view receives.
    fn announced(&self) -> Vec<Member> {
        let announced = self.members.values().filter(|state| state.announced);
        announced.filter_map(|state| state.member.clone()).collect()
    }

    /// Answers a shard without a view, at the latest when this owner has taken over.
    pub(super) fn answer_view(&mut self, source: &Source, context: &mut Context) {
        let Some(state) = self.sources.get_mut(source) else { return };
        state.wants_view = self.takeover.is_some();
        if !state.wants_view {
            let (source, group, members) = (source.clone(), self.name.clone(), self.announced());
            context.decisions.push(Decision::View { source, group, members });
        }
    }

    /// Members that the view of a shard lacks are announced to its gateway again.
    pub(super) fn repair(&self, source: &Source, view: &[MemberId], context: &mut Context) {
        let view: BTreeSet<_> = view.iter().collect();
        let lacking = self.members.iter().filter(|(id, it)| it.announced && !view.contains(id));
        for member in lacking.filter_map(|(_, state)| state.member.clone()) {
            let to = To::Only(source.gateway.clone());
            self.set(to, MemberChange::Added(Box::new(member)), context);
        }
    }

    /// Announces what is present, answers views, and goes on with what has departed meanwhile.
    pub(super) fn end_takeover(&mut self, context: &mut Context) {
        let Some(Takeover { views, .. }) = self.takeover.take() else { return };
        let present = self.members.iter().filter(|(_, it)| 0 < it.present || it.elsewhere);
        let new: Vec<_> = present.map(|(id, it)| (id.clone(), it.in_views == views)).collect();
        self.update_occupancy(context);
        for (id, all_have_it) in new {
            // Other shards report their views before they accept commands.
            self.announce_unless(&id, all_have_it, context);
        }
        let waiting = self.sources.iter().filter(|(_, it)| it.wants_view);
        let waiting: Vec<_> = waiting.map(|(source, _)| source.clone()).collect();
        waiting.iter().for_each(|source| self.answer_view(source, context));
        self.is_concluded = true;
        self.wake_for_departures(context);
    }
}

/// Occupancy.
impl GroupState {
    /// Whether it is to be vacated once it has no clients.
    pub(super) const fn is_occupied(&self) -> bool {
        self.occupied || self.was_occupied
    }

    /// Decides whether the group is occupied, from the number of clients at its sources.
    pub(super) fn update_occupancy(&mut self, context: &mut Context) {
        if self.takeover.is_some() {
            return;
        }
        let clients = self.sources.values().map(|it| it.clients).fold(0, u64::saturating_add);
        if clients == 0 {
            if self.is_occupied() && self.vacating.is_none() {
                self.vacate_at(context.departs_at(), context);
            }
        } else {
            self.vacating = None;
            if !std::mem::replace(&mut self.occupied, true) {
                self.notify(NoticeKind::Occupied, context);
            }
        }
        if std::mem::replace(&mut self.clients, clients) != clients {
            self.notify(NoticeKind::Clients(clients), context);
        }
    }

    pub(super) fn vacate_at(&mut self, due: Instant, context: &mut Context) {
        self.vacating = Some(due);
        context.wake_at(due);
    }

    /// No gateway has clients of the group.
    pub(super) fn vacate(&mut self, context: &mut Context) {
        self.vacating = None;
        if self.is_occupied() {
            (self.occupied, self.was_occupied) = (false, false);
            self.notify(NoticeKind::Vacated, context);
        }
    }
}
