//! The sources of a group: the reports of each shard.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    time::Instant,
};

use protocol::{InstanceId, LocalMember, MemberId, PresenceNotified, PresenceReport};

use super::{
    CONFIRM, Dealt, Decision, RECHECK, Source,
    context::{Context, LOCAL, SOURCE},
    group::{GroupState, MemberState},
};

/// The reports of one shard about a group, summed up.
#[derive(Debug, Default)]
pub(super) struct SourceState {
    pub(super) clients: u64,
    /// The number of clients of each member.
    pub(super) members: BTreeMap<MemberId, u32>,
    /// The number of its last report, and of the last one that is settled.
    number: u64,
    settled: u64,
    /// The number of the report since which it has no clients.
    emptied: Option<u64>,
    /// Whether joins there wait for a view.
    pub(super) wants_view: bool,
    /// Whether it has reported members or clients since that was last dealt with.
    has_arrivals: bool,
    /// Whether it has reported in full.
    is_complete: bool,
    /// A full report of which parts are to come.
    partial: Option<Full>,
    /// Whether parts of a report of changes are to come.
    is_changing: bool,
    /// The number of a full report of which the first parts were dropped.
    cut: Option<u64>,
    /// Until when it counts although it was reported on an earlier link.
    pub(super) unconfirmed: Option<Instant>,
}

/// A full report.
#[derive(Debug, Default)]
struct Full {
    number: u64,
    members: Vec<LocalMember>,
    view: Option<Vec<MemberId>>,
    wants_view: bool,
    /// Whether an application was notified that the group is occupied, and of which members.
    is_notified: bool,
    notified: BTreeSet<MemberId>,
    weight: usize,
}

impl Full {
    fn add(
        &mut self,
        report: PresenceReport,
        notified: Option<PresenceNotified>,
        context: &mut Context,
    ) {
        self.wants_view |= report.wants_view;
        self.is_notified |= notified.as_ref().is_some_and(|it| it.occupied);
        if context.is_full() {
            // Missing members are asked for before it counts as gone.
            context.incomplete |= !report.members.is_empty() || report.view.is_some();
            return;
        }
        let members: usize = report.members.iter().map(|it| it.member.weight()).sum();
        let view: usize = report.view.iter().flatten().map(MemberId::weight).sum();
        let notified = notified.map(|it| it.members).unwrap_or_default();
        let weight = members + view + notified.iter().map(MemberId::weight).sum::<usize>();
        self.weight += weight;
        context.weight += weight;
        self.notified.extend(notified);
        self.members.extend(report.members);
        if let Some(view) = report.view {
            self.view.get_or_insert_default().extend(view);
        }
    }
}

impl SourceState {
    /// Approximate memory that it takes, in bytes.
    pub(super) fn weight(&self) -> usize {
        let partial = self.partial.as_ref().map_or(0, |full| full.weight);
        SOURCE + self.members.len() * LOCAL + partial
    }

    /// Whether parts of its last report are to come.
    const fn is_amid_report(&self) -> bool {
        self.partial.is_some() || self.is_changing
    }

    /// The parts of a full report are void.
    fn drop_partial(&mut self, context: &mut Context) {
        if let Some(full) = self.partial.take() {
            context.weight -= full.weight;
            self.cut = Some(full.number);
        }
    }
}

/// Reports.
impl GroupState {
    pub(super) fn report(
        &mut self,
        source: &Source,
        report: PresenceReport,
        notified: Option<PresenceNotified>,
        context: &mut Context,
    ) {
        let is_new_group = !self.sources.values().any(|state| state.is_complete)
            && self.members.is_empty()
            && !self.is_occupied();
        let state = self.sources.entry(source.clone()).or_insert_with(|| {
            context.weight += SOURCE;
            SourceState::default()
        });
        self.is_left = false;
        let (number, clients) = (report.number, report.clients);
        if state.cut == Some(number) {
            // Without its first parts, it would remove the members of these.
            return;
        }
        (state.number, state.is_changing) = (number, report.more && !report.full);
        if report.full {
            if state.partial.as_ref().is_some_and(|full| full.number != number) {
                state.drop_partial(context);
            }
            let mut full =
                state.partial.take().unwrap_or_else(|| Full { number, ..Full::default() });
            let is_partial = report.more;
            full.add(report, notified, context);
            if is_partial {
                state.partial = Some(full);
                return;
            }
            context.weight -= full.weight;
            if !state.is_complete && !context.removals.have_asked(&source.gateway, &self.name) {
                // This owner may have removed members that have been there all the time.
                full.notified.clear();
                full.is_notified = false;
            }
            // Its earlier reports do not reach up to now.
            let was_reported = state.is_complete && state.clients != 0;
            (state.is_complete, state.unconfirmed, state.cut) = (true, None, None);
            // The shard numbers from there on what is to be settled.
            (state.settled, state.has_arrivals) = (0, true);
            let (reported, group) = (source.clone(), self.name.clone());
            context.decisions.push(Decision::Taken { source: reported, group, number });
            let has_members = !full.members.is_empty() || full.view.is_some() || full.wants_view;
            if is_new_group && has_members {
                self.begin_takeover(context);
            }
            // An earlier owner has not settled that it is vacated, or may have given notice that it
            // is occupied, which it need not be any more when this one has taken over.
            self.was_occupied |= clients == 0 || self.takeover.is_some();
            if clients != 0 && full.is_notified {
                // The shard has had clients ever since, so that no owner has vacated the group.
                self.occupied = true;
            } else if clients != 0 && (was_reported || self.has_no_clients()) {
                // Another owner may have.
                self.occupied = false;
            }
            self.replace(source, number, full, context);
            self.set_clients(source, number, clients);
        } else {
            state.is_complete = true;
            for local in report.members {
                self.set_local(source, number, local, context);
            }
            if report.wants_view {
                self.answer_view(source, context);
            }
            self.set_clients(source, number, clients);
        }
        if self.sources.get(source).is_some_and(|state| !state.is_amid_report()) {
            self.arrived.insert(source.clone());
        }
        self.update_occupancy(context);
    }

    fn has_no_clients(&self) -> bool {
        self.sources.values().all(|state| state.clients == 0)
    }

    fn set_clients(&mut self, source: &Source, number: u64, clients: u64) {
        let Some(state) = self.sources.get_mut(source) else { return };
        let has_arrived = state.clients == 0 && clients != 0;
        self.occupied &= !(has_arrived && mem::take(&mut self.is_doubted));
        state.has_arrivals |= has_arrived;
        state.emptied = match clients {
            0 => state.emptied.or(Some(number)),
            _ => None,
        };
        state.clients = clients;
    }

    /// Applies a full report.
    fn replace(&mut self, source: &Source, number: u64, full: Full, context: &mut Context) {
        let Full { members, view, wants_view, notified, .. } = full;
        let listed: BTreeSet<_> = members.iter().map(|local| local.member.id().clone()).collect();
        let state = self.sources.get(source);
        let before = state.into_iter().flat_map(|state| state.members.keys());
        let before: Vec<_> = before.cloned().collect();
        let missing: Vec<_> = before.iter().filter(|id| !listed.contains(*id)).cloned().collect();
        // Its earlier reports do not reach up to now, so that another owner may have notified the
        // application of their removal.
        let doubted: Vec<_> = before.iter().filter(|id| !notified.contains(*id)).collect();
        for id in &doubted {
            if let Some(member) = self.members.get_mut(*id) {
                member.doubt();
            }
        }
        for id in &missing {
            self.unset(source, number, id, context);
        }
        for local in members {
            let id = local.member.id().clone();
            // A member without clients has no fragments.
            let member = (local.clients != 0).then(|| local.member.clone());
            if !self.ensure_member(&id, member, context) {
                continue;
            }
            if let Some(member) = self.members.get_mut(&id) {
                // An earlier owner may have announced it.
                member.seen = true;
                match local.clients != 0 {
                    true if notified.contains(&id) => member.known = true,
                    // Another owner may have notified the application of its removal.
                    true if member.present == 0 => member.known = false,
                    _ => {}
                }
            }
            self.set_local(source, number, local, context);
        }
        for id in doubted {
            if self.members.get(id).is_some_and(|it| 0 < it.present) {
                self.announce(id, context);
            }
        }
        if let Some(view) = &view {
            self.compare(source, view, context);
        }
        if wants_view {
            self.answer_view(source, context);
        }
    }

    /// Compares the view of a shard with the members.
    fn compare(&mut self, source: &Source, view: &[MemberId], context: &mut Context) {
        for id in view {
            let is_new = !self.members.contains_key(id);
            if !self.ensure_member(id, None, context) {
                continue;
            }
            if let Some(state) = self.members.get_mut(id) {
                state.in_views += 1;
                state.seen = true;
            }
            if is_new {
                self.depart(id, None, context);
            }
        }
        match &mut self.takeover {
            // Members that views lack are announced at its end.
            Some(takeover) => takeover.views += 1,
            None => self.repair(source, view, context),
        }
    }

    /// A source has reported so many clients of a member.
    fn set_local(
        &mut self,
        source: &Source,
        number: u64,
        local: LocalMember,
        context: &mut Context,
    ) {
        let LocalMember { member, clients } = local;
        let id = member.id().clone();
        if clients == 0 {
            return self.unset(source, number, &id, context);
        }
        if !self.ensure_member(&id, Some(member), context) {
            return;
        }
        // The name that is in memory already.
        let Some((id, _)) = self.members.get_key_value(&id) else { return };
        let id = id.clone();
        let Some(state) = self.sources.get_mut(source) else { return };
        let Some(entry) = self.members.get_mut(&id) else { return };
        if state.members.insert(id.clone(), clients).is_none() {
            context.weight += LOCAL;
            entry.present += 1;
            state.has_arrivals = true;
        }
        self.appear(&id, context);
    }

    /// A source has no clients of a member, as of the report of that number.
    fn unset(&mut self, source: &Source, number: u64, id: &MemberId, context: &mut Context) {
        let Some(state) = self.sources.get_mut(source) else { return };
        if state.members.remove(id).is_some() {
            context.weight -= LOCAL;
            if let Some(member) = self.members.get_mut(id) {
                member.present -= 1;
            }
        }
        self.depart(id, Some((source.clone(), number)), context);
    }
}

/// The ends of sources.
impl GroupState {
    /// A source reports to another owner: what it has reported does not count any more, and is no
    /// departure either.
    pub(super) fn lose(&mut self, source: &Source, context: &mut Context) {
        let Some(state) = self.sources.remove(source) else { return };
        if self.sources.is_empty() {
            // Put back, so that its memory is released with the group.
            self.sources.insert(source.clone(), state);
            return self.forget();
        }
        context.weight -= state.weight();
        for id in state.members.keys() {
            self.leave_source(id, Some(context.after(RECHECK)), context);
        }
        // From here on there is another owner, which may own shards that this one takes for its own,
        // and notify the application of what leaves them: notice of members that appear is given
        // again.
        self.members.values_mut().for_each(MemberState::doubt);
        self.is_doubted = self.occupied;
        self.drop_reports_of(source);
        // Its answer may be outdated by what another owner has decided since.
        self.ask_again(context);
        self.update_occupancy(context);
    }

    pub(super) fn gateway_dead(&mut self, gateway: &InstanceId, context: &mut Context) {
        let dead: Vec<_> =
            self.sources.keys().filter(|source| source.gateway == *gateway).cloned().collect();
        for source in &dead {
            let Some(state) = self.sources.remove(source) else { continue };
            context.weight -= state.weight();
            for id in state.members.keys() {
                self.leave_source(id, None, context);
            }
            self.drop_reports_of(source);
        }
        if !dead.is_empty() {
            self.update_occupancy(context);
        }
    }

    pub(super) fn linked(&mut self, gateway: &InstanceId, context: &mut Context) {
        for (source, state) in &mut self.sources {
            if source.gateway == *gateway {
                let until = context.now.at + CONFIRM;
                state.unconfirmed = Some(until);
                state.drop_partial(context);
                state.is_changing = false;
                context.wake_at(until);
            }
        }
    }

    /// Drops what the present link of a gateway has not confirmed: its shards report to another
    /// owner.
    pub(super) fn drop_unconfirmed(&mut self, context: &mut Context) {
        let now = context.now.at;
        let over = self.sources.iter().filter(|(_, it)| it.unconfirmed.is_some_and(|at| at <= now));
        let over: Vec<_> = over.map(|(source, _)| source.clone()).collect();
        over.iter().for_each(|source| self.lose(source, context));
    }

    fn leave_source(&mut self, id: &MemberId, due: Option<Instant>, context: &mut Context) {
        let Some(member) = self.members.get_mut(id) else { return };
        member.present -= 1;
        match due {
            Some(due) if member.present == 0 => self.depart_at(id, due, context),
            Some(_) => {}
            None => self.depart(id, None, context),
        }
    }

    /// Nothing is to be settled for a source any more.
    fn drop_reports_of(&mut self, source: &Source) {
        for departing in self.departing.values_mut() {
            departing.gone.retain(|(of, _)| of != source);
        }
    }
}

/// Settlements.
impl GroupState {
    /// Tells sources up to which report everything is dealt with, and forgets those that have
    /// nothing left.
    pub(super) fn settle(&mut self, context: &mut Context) {
        // While there are departures, each query about some of them is followed by this.
        if self.takeover.is_some() {
            return;
        }
        let is_concluded = mem::take(&mut self.is_concluded);
        if is_concluded || self.departing.is_empty() {
            self.settle_all(context);
        }
        self.note_arrivals(context);
    }

    /// Tells the sources that have just reported that the application is notified of their arrivals,
    /// although departures are not dealt with.
    fn note_arrivals(&mut self, context: &mut Context) {
        for source in mem::take(&mut self.arrived) {
            let Some(state) = self.sources.get_mut(&source) else { continue };
            if mem::take(&mut state.has_arrivals) && state.settled < state.number {
                let (group, number, dealt) = (self.name.clone(), state.number, Dealt::Arrivals);
                context.decisions.push(Decision::Dealt { source, group, number, dealt });
            }
        }
    }

    fn settle_all(&mut self, context: &mut Context) {
        let mut pending = BTreeMap::<Source, u64>::new();
        for (source, number) in self.departing.values().flat_map(|it| &it.gone) {
            let first = pending.entry(source.clone()).or_insert(*number);
            *first = (*first).min(*number);
        }
        let is_vacating = self.vacating.is_some();
        for (source, state) in &mut self.sources {
            let pending = pending.get(source).copied();
            let emptied = state.emptied.filter(|_| is_vacating);
            let first = pending.into_iter().chain(emptied).min();
            let through = first.map_or(state.number, |first| first.saturating_sub(1));
            if state.settled < through && !state.is_amid_report() && state.unconfirmed.is_none() {
                state.settled = through;
                let (source, group, number) = (source.clone(), self.name.clone(), through);
                let dealt = Dealt::Whole;
                context.decisions.push(Decision::Dealt { source, group, number, dealt });
            }
        }
        let is_done = |state: &SourceState| {
            let is_empty = state.clients == 0 && state.members.is_empty();
            is_empty && state.settled == state.number && !state.is_amid_report()
        };
        self.sources.retain(|_, state| {
            let keep = !is_done(state);
            if !keep {
                context.weight -= state.weight();
            }
            keep
        });
    }
}
