//! Queries to all gateways: what they are for, and what follows from their answers.

use std::{collections::BTreeMap, mem};

use protocol::{Group, Member, MemberId, PresenceAnswer};

use super::{
    ASKED, RECHECK, RETRY, TAKEOVER,
    context::Context,
    group::{GroupState, Takeover},
};

/// A query whose answers are awaited.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) group: Group,
    pub(super) kind: AskKind,
    /// Clients of the group, of the gateways that have answered.
    pub(super) clients: u64,
    /// Members that have clients, of these gateways.
    pub(super) found: BTreeMap<MemberId, Member>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AskKind {
    /// About the whole group, of which this worker is the owner from now on.
    Takeover,
    /// Whether departures are the last ones.
    Last,
}

impl Ask {
    fn new(group: Group, kind: AskKind) -> Self {
        Self { group, kind, clients: 0, found: BTreeMap::new() }
    }
}

/// Takeovers.
impl GroupState {
    /// All gateways are asked for the group before views are answered and members announced.
    pub(super) fn begin_takeover(&mut self, context: &mut Context) {
        let ask = Ask::new(self.name.clone(), AskKind::Takeover);
        let ask = context.ask(ask, self.name.clone(), None);
        let until = context.now.at + TAKEOVER;
        context.wake_at(until);
        self.takeover = Some(Takeover { ask, until, views: 0 });
    }

    /// A gateway has answered the query of a takeover.
    pub(super) fn found_at_takeover(
        &mut self,
        ask: u64,
        answer: PresenceAnswer,
        context: &mut Context,
    ) {
        let is_pending = self.takeover.as_ref().is_some_and(|takeover| takeover.ask == ask);
        for local in answer.members {
            let id = local.member.id().clone();
            // Later answers count as well: the gateway reports to another owner, perhaps.
            if !self.find_elsewhere(&id, local.member, context) {
                continue;
            }
            if !is_pending {
                self.announce(&id, context);
            }
        }
    }

    /// All gateways have answered; or one cannot, unless `complete`, and its shards have until the
    /// end of the takeover to report to this owner.
    pub(super) fn all_asked_at_takeover(
        &mut self,
        ask: u64,
        complete: bool,
        context: &mut Context,
    ) {
        if complete && self.takeover.as_ref().is_some_and(|takeover| takeover.ask == ask) {
            self.end_takeover(context);
        }
    }

    /// An answer has shown a member. It is asked for again until a source reports it, since its
    /// gateway may report to another owner. Returns `false` at the bound.
    fn find_elsewhere(&mut self, id: &MemberId, member: Member, context: &mut Context) -> bool {
        if !self.ensure_member(id, Some(member), context) {
            return false;
        }
        let Some(state) = self.members.get_mut(id) else { return false };
        if state.present == 0 {
            state.elsewhere = true;
            let due = context.after(RECHECK);
            self.depart_at(id, due, context);
        }
        true
    }
}

/// Departures.
impl GroupState {
    /// Asks all gateways about what has departed and is due, if no such query is pending.
    pub(super) fn ask_about_departures(&mut self, context: &mut Context) {
        if self.asking.is_some() || self.takeover.is_some() {
            return;
        }
        let now = context.now.at;
        let is_vacant = self.vacating.is_some_and(|due| due <= now);
        let due = self.departing.iter().filter(|(_, it)| it.due <= now);
        let ids: Vec<_> = due.take(ASKED).map(|(id, _)| id.clone()).collect();
        if ids.is_empty() && !is_vacant {
            return;
        }
        let ask = Ask::new(self.name.clone(), AskKind::Last);
        let listed = (!self.is_left).then(|| ids.clone());
        let ask = context.ask(ask, self.name.clone(), listed);
        for id in &ids {
            if let Some(departing) = self.departing.get_mut(id) {
                departing.ask = Some(ask);
            }
        }
        self.asks_whether_vacant = is_vacant;
        self.asking = Some(ask);
    }

    /// The departures of the pending query are asked about again, whatever it is answered.
    pub(super) fn ask_again(&mut self, context: &mut Context) {
        if self.asking.take().is_none() {
            return;
        }
        let due = context.after(RETRY);
        for departing in self.departing.values_mut().filter(|it| it.ask.is_some()) {
            (departing.due, departing.ask) = (due, None);
        }
        if mem::take(&mut self.asks_whether_vacant) && self.vacating.is_some() {
            self.vacating = Some(due);
        }
        self.wake_for_departures(context);
    }

    /// No shard reports to this owner any more, such as after the death of a gateway, and another
    /// worker owns what is left: only what no gateway has is given notice of.
    fn leave(&mut self, ask: &Ask, context: &mut Context) {
        let gone = self.members.keys().filter(|id| !ask.found.contains_key(*id));
        let gone: Vec<_> = gone.cloned().collect();
        gone.iter().for_each(|id| self.remove(id, context));
        if ask.clients == 0 {
            self.vacate(context);
        }
        self.forget();
    }

    /// The answers to [`ask_about_departures`](Self::ask_about_departures).
    pub(super) fn conclude(
        &mut self,
        number: u64,
        ask: Ask,
        complete: bool,
        context: &mut Context,
    ) {
        if self.asking != Some(number) {
            return;
        }
        self.asking = None;
        self.is_concluded = true;
        if mem::replace(&mut self.is_left, !complete && self.sources.is_empty()) && complete {
            return self.leave(&ask, context);
        }
        // Those that have come back meanwhile are in no query any more.
        let asked = self.departing.iter().filter(|(_, it)| it.ask == Some(number));
        let asked: Vec<_> = asked.map(|(id, _)| id.clone()).collect();
        let Ask { clients, mut found, .. } = ask;
        for id in asked {
            match found.remove(&id) {
                Some(member) => {
                    if self.find_elsewhere(&id, member, context) {
                        self.announce(&id, context);
                    }
                }
                None if complete => self.remove(&id, context),
                None => {
                    let due = context.after(RETRY);
                    self.depart_at(&id, due, context);
                }
            }
        }
        // `None` if the group has clients again.
        if mem::take(&mut self.asks_whether_vacant) && self.vacating.is_some() {
            match (clients, complete) {
                (0, true) => self.vacate(context),
                (0, false) => self.vacate_at(context.after(RETRY), context),
                (_, _) => self.vacate_at(context.after(RECHECK), context),
            }
        }
        self.wake_for_departures(context);
    }
}
