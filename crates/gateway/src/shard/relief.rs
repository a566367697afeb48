//! What a shard does when clients make it hold too much.

use std::time::{Duration, Instant};

use service::{clock, dice};

use super::{
    Shard,
    budget::Verdict,
    connection::{Connection, Hold, Key, Phase},
};
use crate::{closed::Closed, exchange::ToHub};

/// A client with more than this of an unfinished message is in the midst of a large one.
const LARGE: usize = 16 * 1024;

/// Who is read and sends nothing of the rest for so long does not intend to.
const STALLED: Duration = Duration::from_secs(2);

/// Within what time those who were closed are asked back.
const BACK: Duration = Duration::from_secs(10);

impl Shard {
    /// Notes how much a connection holds for itself now.
    pub(super) fn account(&mut self, key: Key) {
        let connection = &mut self.connections[key as usize];
        let (before, after) = (connection.accounted, connection.own());
        if before != after {
            connection.accounted = after;
            self.budget.change(before, after);
            if self.budget.is_pressed() {
                self.call();
            }
        }
    }

    /// Whether a client's socket is left unread for now, because it is in the midst of a large
    /// message, and either its worker has enough to do or clients make us hold too much.
    pub(super) fn holds_back(&mut self, key: Key) -> bool {
        let connection = &self.connections[key as usize];
        if connection.hold == Hold::Waits || !connection.is_amid_large() {
            return connection.hold == Hold::Waits;
        }
        if self.has_full_worker(key) {
            // Or each of its clients would bring one more message, however large.
            self.pause(key);
            return true;
        }
        let connection = &mut self.connections[key as usize];
        if connection.hold == Hold::Turn || !self.budget.is_pressed() {
            return false;
        }
        connection.hold = Hold::Waits;
        self.held_back.push_back(key);
        self.call();
        true
    }

    /// Something was read from a client.
    pub(super) fn grew(&mut self, key: Key) {
        let connection = &mut self.connections[key as usize];
        if connection.is_amid_large() {
            connection.grew = Some(clock::now());
        }
        self.account(key);
    }

    /// Looks after the budget. Called a few times a second.
    pub(super) fn tick_budget(&mut self, now: Instant) {
        if self.budget.is_pressed() {
            // It is the turn of others.
            for key in std::mem::take(&mut self.turns) {
                if let Some(connection) = self.connections.get_mut(key as usize) {
                    connection.hold = Hold::No;
                }
            }
            self.relieve(now);
        }
    }

    /// Carries out the verdict on what is in use.
    pub(super) fn relieve(&mut self, now: Instant) {
        match self.budget.verdict(now) {
            Verdict::Fine => {
                self.turns.clear();
                for key in std::mem::take(&mut self.held_back) {
                    self.read_on(key, Hold::No);
                }
            }
            Verdict::Pressed => self.give_turns(),
            Verdict::Over(target) => self.give_up(target, |_| true),
            Verdict::Overdue { target, whoever } => {
                let stalls = |connection: &Connection| {
                    connection.hold == Hold::No
                        && connection.grew.is_some_and(|at| STALLED < now.duration_since(at))
                };
                self.give_up(target, |connection| {
                    connection.paused.is_none()
                        && (whoever || 0 < connection.queued() || stalls(connection))
                });
                self.give_turns();
            }
        }
        let pressed = self.budget.is_pressed();
        if pressed != self.told_pressed {
            self.told_pressed = pressed;
            match pressed {
                true => tracing::warn!(shard = self.index, "clients make us hold too much"),
                false => tracing::info!(shard = self.index, "clients hold less again"),
            }
            self.host.hub.push(ToHub::Pressed { shard: self.index, pressed });
        }
    }

    /// Has a few of those read on who were held back, so that what can be finished is finished.
    fn give_turns(&mut self) {
        let most = self.budget.room_for(self.settings.max_message_size);
        let connections = &self.connections;
        self.turns.retain(|key| {
            let connection = connections.get(*key as usize);
            connection.is_some_and(Connection::is_amid_large)
        });
        while self.turns.len() < most
            && let Some(key) = self.held_back.pop_front()
        {
            self.read_on(key, Hold::Turn);
            self.turns.push(key);
        }
    }

    fn read_on(&mut self, key: Key, hold: Hold) {
        if let Some(connection) = self.connections.get_mut(key as usize) {
            connection.hold = hold;
            connection.wake();
        }
    }

    /// Closes those who make us hold the most and may be closed, until no more than `target` bytes
    /// are held.
    fn give_up(&mut self, target: usize, may_be: impl Fn(&Connection) -> bool) {
        let all = self.connections.iter().filter(|(_, connection)| may_be(connection));
        let all = all.map(|(key, connection)| (connection.weight(), key as Key));
        let mut holders: Vec<_> = all.filter(|(weight, _)| 0 < *weight).collect();
        holders.sort_unstable();
        let mut closed = 0;
        while target < self.budget.used()
            && let Some((_, key)) = holders.pop()
        {
            self.give_up_one(key);
            closed += 1;
        }
        self.tally.over_budget += closed;
        tracing::debug!(closed, "clients that made us hold too much were closed");
    }

    fn give_up_one(&mut self, key: Key) {
        let retry_after = retry_after();
        let connection = &self.connections[key as usize];
        // Behind a frame that is written in part, or a queue that it does not read, no goodbye
        // would be understood.
        match (&connection.phase, connection.queued()) {
            (Phase::Open(_), 0) => self.end(key, Closed::OverBudget { retry_after }),
            _ => self.cut(key, Closed::OverBudget { retry_after }),
        }
        self.account(key);
    }
}

/// When a client is to come back that was closed together with others: each at another time.
pub(super) fn retry_after() -> Duration {
    dice::random_range(Duration::ZERO..=BACK)
}

impl Connection {
    /// Bytes that it holds for itself: what it has sent of something unfinished, and what was
    /// copied into its queue.
    pub(super) fn own(&self) -> usize {
        self.unfinished() + self.copied()
    }

    /// Whether it is in the midst of a large message.
    pub(super) fn is_amid_large(&self) -> bool {
        let come = match &self.phase {
            _ if self.backlog => 0,
            Phase::Open(decoder) | Phase::Leaving(decoder) => decoder.len(),
            Phase::Request(_) | Phase::Closing { .. } | Phase::Over => 0,
        };
        LARGE < come
    }

    /// Bytes that it holds, alone or with others.
    fn weight(&self) -> usize {
        self.unfinished() + self.queued()
    }

    /// Bytes of memory held for what has come and is not processed.
    fn unfinished(&self) -> usize {
        match &self.phase {
            Phase::Request(head) => head.capacity(),
            Phase::Open(decoder) | Phase::Leaving(decoder) => decoder.held(),
            Phase::Closing { .. } | Phase::Over => 0,
        }
    }
}
