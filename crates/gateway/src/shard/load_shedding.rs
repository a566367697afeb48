//! Load shedding: how a shard reacts to memory pressure.

use std::time::{Duration, Instant};

use runtime::{clock, random};

use super::{
    Shard,
    budget::MemoryPressure,
    connection::{Connection, Hold, Phase, SlotKey},
};
use crate::{closed::CloseCause, thread_messages::ToHub};

/// A client with more bytes than this of an incomplete message is in the middle of a large message.
const LARGE: usize = 16 * 1024;

/// A client that is read and sends nothing more of a large message for this long is stalled.
const STALLED: Duration = Duration::from_secs(2);

/// Clients closed together are asked to reconnect spread over this time.
const RECONNECT_SPREAD: Duration = Duration::from_secs(10);

impl Shard {
    /// Updates the bytes that a connection holds for itself.
    pub(super) fn account(&mut self, key: SlotKey) {
        let connection = &mut self.connections[key as usize];
        let (before, after) = (connection.accounted, connection.own());
        if before != after {
            connection.accounted = after;
            self.budget.change(before, after);
            if self.budget.is_pressed() {
                self.schedule_flush();
            }
        }
    }

    /// Whether reads of a client pause now, because it is in the middle of a large message, and its
    /// worker's window is full or memory pressure is high.
    pub(super) fn defers_large_read(&mut self, key: SlotKey) -> bool {
        let connection = &self.connections[key as usize];
        if connection.hold == Hold::Waiting || !connection.in_large_message() {
            return connection.hold == Hold::Waiting;
        }
        if self.has_full_worker(key) {
            // Otherwise each client of this worker could add one more message of any size.
            self.pause(key);
            return true;
        }
        let connection = &mut self.connections[key as usize];
        if connection.hold == Hold::Resumed || !self.budget.is_pressed() {
            return false;
        }
        connection.hold = Hold::Waiting;
        self.held_back.push_back(key);
        self.schedule_flush();
        true
    }

    /// Bytes were received from a client.
    pub(super) fn grew(&mut self, key: SlotKey) {
        let connection = &mut self.connections[key as usize];
        if connection.in_large_message() {
            connection.grew = Some(clock::now());
        }
        self.account(key);
    }

    /// Applies the memory budget. Called a few times a second.
    pub(super) fn tick_budget(&mut self, now: Instant) {
        if self.budget.is_pressed() {
            // Other clients are resumed next.
            for key in std::mem::take(&mut self.resumed) {
                if let Some(connection) = self.connections.get_mut(key as usize) {
                    connection.hold = Hold::None;
                }
            }
            if let MemoryPressure::Sustained { target, any_client } = self.budget.assess(now) {
                self.close_stalled(target, any_client, now);
            }
            self.shed_load(now);
        }
    }

    /// Closes clients that do not read or have stalled; with `any_client`, any that is not paused.
    /// It looks at every connection, so it is not part of each pass.
    fn close_stalled(&mut self, target: usize, any_client: bool, now: Instant) {
        let stalls = |connection: &Connection| {
            connection.hold == Hold::None
                && connection.grew.is_some_and(|at| STALLED < now.duration_since(at))
        };
        self.close_largest(target, |connection| {
            connection.paused.is_none()
                && (any_client || 0 < connection.queued() || stalls(connection))
        });
    }

    /// Applies the policy for the current memory pressure.
    pub(super) fn shed_load(&mut self, now: Instant) {
        match self.budget.assess(now) {
            MemoryPressure::Normal => {
                self.resumed.clear();
                for key in std::mem::take(&mut self.held_back) {
                    self.resume_read(key, Hold::None);
                }
            }
            MemoryPressure::High | MemoryPressure::Sustained { .. } => self.resume_held_back(),
            MemoryPressure::Exceeded(target) => self.close_largest(target, |_| true),
        }
        let pressed = self.budget.is_pressed();
        if pressed != self.reported_pressure {
            self.reported_pressure = pressed;
            match pressed {
                true => tracing::warn!(
                    shard = self.index,
                    "memory budget exceeded; pausing accepts and large reads"
                ),
                false => tracing::info!(shard = self.index, "memory pressure is back to normal"),
            }
            self.gateway.hub.push(ToHub::Pressed { shard: self.index, pressed });
        }
    }

    /// Resumes a few paused clients, so that messages that can be completed are.
    fn resume_held_back(&mut self) {
        let most = self.budget.room_for(self.settings.max_message_size);
        let connections = &self.connections;
        self.resumed.retain(|key| {
            let connection = connections.get(*key as usize);
            connection.is_some_and(Connection::in_large_message)
        });
        while self.resumed.len() < most
            && let Some(key) = self.held_back.pop_front()
        {
            self.resume_read(key, Hold::Resumed);
            self.resumed.push(key);
        }
    }

    fn resume_read(&mut self, key: SlotKey, hold: Hold) {
        if let Some(connection) = self.connections.get_mut(key as usize) {
            connection.hold = hold;
            connection.wake();
        }
    }

    /// Closes the largest holders for which `may_close` holds, until no more than `target` bytes
    /// are in use.
    fn close_largest(&mut self, target: usize, may_close: impl Fn(&Connection) -> bool) {
        let all = self.connections.iter().filter(|(_, connection)| may_close(connection));
        let all = all.map(|(key, connection)| (connection.weight(), key as SlotKey));
        let mut holders: Vec<_> = all.filter(|(weight, _)| 0 < *weight).collect();
        holders.sort_unstable();
        let mut closed = 0;
        while target < self.budget.used()
            && let Some((_, key)) = holders.pop()
        {
            self.close_for_memory(key);
            closed += 1;
        }
        self.tally.over_budget += closed;
        tracing::debug!(closed, "closed the clients that held the most memory");
    }

    fn close_for_memory(&mut self, key: SlotKey) {
        let retry_after = retry_after();
        let connection = &self.connections[key as usize];
        // After a partly written frame, or a queue that the client does not read, a close frame
        // would not be received.
        match (&connection.phase, connection.queued()) {
            (Phase::Open(_), 0) => self.close(key, CloseCause::OverBudget { retry_after }),
            _ => self.abort(key, CloseCause::OverBudget { retry_after }),
        }
        self.account(key);
    }
}

/// Random retry-after, so that clients closed together do not reconnect together.
pub(super) fn retry_after() -> Duration {
    random::random_range(Duration::ZERO..=RECONNECT_SPREAD)
}

impl Connection {
    /// Bytes that it holds for itself: incomplete input, and copies in its write queue.
    pub(super) fn own(&self) -> usize {
        self.unfinished() + self.copied()
    }

    /// Whether it is in the middle of a large message.
    pub(super) fn in_large_message(&self) -> bool {
        let come = match &self.phase {
            _ if self.backlog => 0,
            Phase::Open(decoder) | Phase::Leaving(decoder) => decoder.buffered(),
            Phase::Request(_) | Phase::Closing { .. } | Phase::Over => 0,
        };
        LARGE < come
    }

    /// Bytes that it holds, including frames that it shares.
    fn weight(&self) -> usize {
        self.unfinished() + self.queued()
    }

    /// Memory held for unprocessed input.
    fn unfinished(&self) -> usize {
        match &self.phase {
            Phase::Request(head) => head.capacity(),
            Phase::Open(decoder) | Phase::Leaving(decoder) => decoder.held(),
            Phase::Closing { .. } | Phase::Over => 0,
        }
    }
}
