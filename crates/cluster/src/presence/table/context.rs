//! State that the groups of a table share: the time, the bound, and the decisions.

use std::time::{Duration, Instant};

use protocol::{Group, Member, MemberId};

use super::{Ask, Decision, Now, TICK, removals::Removals};

/// Approximate bytes of a group, a source, a member of a group, a member of a source, and a
/// departure, without names and fragments.
pub(super) const GROUP: usize = 512;
pub(super) const SOURCE: usize = 256;
pub(super) const MEMBER: usize = 256;
pub(super) const LOCAL: usize = 96;
pub(super) const DEPARTING: usize = 160;

#[derive(Debug)]
pub(super) struct Context {
    pub(super) now: Now,
    pub(super) grace: Duration,
    pub(super) limit: usize,
    pub(super) weight: usize,
    pub(super) members: usize,
    /// Whether something was left out at the bound.
    pub(super) incomplete: bool,
    pub(super) decisions: Vec<Decision>,
    pub(super) removals: Removals,
    /// Queries that were decided and not entered in the table yet.
    pub(super) asked: Vec<(u64, Ask)>,
    /// When something becomes due in the group at hand.
    pub(super) wake: Option<Instant>,
    /// The first time, from which ticks count.
    start: Instant,
    last_ask: u64,
    pub(super) last_notice: u64,
}

impl Context {
    pub(super) fn new(grace: Duration, limit: usize, now: Now) -> Self {
        Self {
            now,
            grace,
            limit,
            weight: 0,
            members: 0,
            incomplete: false,
            decisions: Vec::new(),
            removals: Removals::default(),
            asked: Vec::new(),
            wake: None,
            start: now.at,
            last_ask: 0,
            last_notice: 0,
        }
    }

    /// Whether nothing new is taken.
    pub(super) const fn is_full(&self) -> bool {
        self.limit <= self.weight
    }

    /// The group at hand is to be looked at, at that time or before.
    pub(super) fn wake_at(&mut self, at: Instant) {
        self.wake = Some(self.wake.map_or(at, |before| before.min(at)));
    }

    /// When a departure is due that begins now.
    pub(super) fn departs_at(&self) -> Instant {
        self.tick(self.now.at + self.grace)
    }

    /// When something is due after that time.
    pub(super) fn after(&self, time: Duration) -> Instant {
        self.tick(self.now.at + time)
    }

    fn tick(&self, at: Instant) -> Instant {
        if at <= self.now.at {
            return at;
        }
        let since = at.saturating_duration_since(self.start).as_nanos();
        let over = since % TICK.as_nanos();
        let rest = if over == 0 { 0 } else { TICK.as_nanos() - over };
        at + Duration::from_nanos(rest as u64)
    }

    /// Decides to ask all gateways; returns the number of the query.
    pub(super) fn ask(&mut self, ask: Ask, group: Group, members: Option<Vec<MemberId>>) -> u64 {
        self.last_ask += 1;
        let number = self.last_ask;
        self.asked.push((number, ask));
        self.decisions.push(Decision::Ask { ask: number, group, members });
        number
    }
}

/// Approximate bytes of a member of a group.
pub(super) fn member_weight(id: &MemberId, member: Option<&Member>) -> usize {
    MEMBER + id.weight() + member.map_or(0, Member::weight)
}
