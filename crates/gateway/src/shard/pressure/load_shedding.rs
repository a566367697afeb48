//! Load shedding: how a shard reacts to memory pressure.

use std::time::{Duration, Instant};

use runtime::{clock, random};

use super::budget::MemoryPressure;
use crate::{
    closed::CloseCause,
    shard::{
        Shard,
        connections::{Connection, Pause, Phase},
        slot::SlotKey,
    },
    thread_messages::ToHub,
};

/// A client that is read and sends nothing more of a large message for this long is stalled.
const STALLED: Duration = Duration::from_secs(2);

/// Clients closed together are asked to reconnect spread over this time.
const RECONNECT_SPREAD: Duration = Duration::from_secs(10);

impl Shard {
    /// Updates the bytes that a connection holds for itself.
    pub(in crate::shard) fn account(&mut self, key: SlotKey) {
        if self.pressure.account(&mut self.connections[key]) {
            self.schedule.request();
        }
    }

    /// Whether reads of a client, which are not paused yet, pause now, because it is in the middle
    /// of a large message, and its worker's window is full or memory pressure is high.
    pub(in crate::shard) fn defers_large_read(&mut self, key: SlotKey) -> bool {
        if !self.connections[key].in_large_message() {
            return false;
        }
        let window = self.windows();
        let connection = &mut self.connections[key];
        if self.delivery.is_full_for(connection, window) {
            // Otherwise each client of this worker could add one more message of any size.
            self.delivery.pause(key, connection);
            return true;
        }
        if connection.gate.may_complete() || !self.pressure.budget.is_pressed() {
            return false;
        }
        self.pressure.hold_back(key, connection);
        self.schedule.request();
        true
    }

    /// Bytes were received from a client.
    pub(in crate::shard) fn grew(&mut self, key: SlotKey) {
        let connection = &mut self.connections[key];
        if connection.in_large_message() {
            connection.grew = Some(clock::now());
        }
        self.account(key);
    }

    /// Applies the memory budget. Called a few times a second.
    pub(in crate::shard) fn tick_budget(&mut self, now: Instant) {
        if self.pressure.budget.is_pressed() {
            self.pressure.end_completions(&mut self.connections);
            if let MemoryPressure::Sustained { target, any_client } =
                self.pressure.budget.assess(now)
            {
                self.close_stalled(target, any_client, now);
            }
            self.shed_load(now);
        }
    }

    /// Closes clients that do not read or have stalled; with `any_client`, any that is not paused.
    /// It looks at every connection, so it is not part of each pass.
    fn close_stalled(&mut self, target: usize, any_client: bool, now: Instant) {
        let stalls = |connection: &Connection| {
            !connection.gate.is_paused_for(Pause::MemoryPressure)
                && !connection.gate.may_complete()
                && connection.grew.is_some_and(|at| STALLED < now.duration_since(at))
        };
        self.close_largest(target, |connection| {
            !connection.gate.is_paused_by_worker()
                && (any_client || 0 < connection.queued() || stalls(connection))
        });
    }

    /// Applies the policy for the current memory pressure.
    pub(in crate::shard) fn shed_load(&mut self, now: Instant) {
        match self.pressure.budget.assess(now) {
            MemoryPressure::Normal => self.pressure.resume_all(&mut self.connections),
            MemoryPressure::High | MemoryPressure::Sustained { .. } => {
                let size = self.settings.max_message_size;
                self.pressure.resume_some(&mut self.connections, size);
            }
            MemoryPressure::Exceeded(target) => self.close_largest(target, |_| true),
        }
        if let Some(pressed) = self.pressure.take_change() {
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

    /// Closes the largest holders for which `may_close` holds, until no more than `target` bytes
    /// are in use.
    fn close_largest(&mut self, target: usize, may_close: impl Fn(&Connection) -> bool) {
        let all = self.connections.iter().filter(|(_, connection)| may_close(connection));
        let all = all.map(|(key, connection)| (connection.weight(), key));
        let mut holders: Vec<_> = all.filter(|(weight, _)| 0 < *weight).collect();
        holders.sort_unstable();
        let mut closed = 0;
        while target < self.pressure.budget.used()
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
        let connection = &self.connections[key];
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
pub(in crate::shard) fn retry_after() -> Duration {
    random::random_range(Duration::ZERO..=RECONNECT_SPREAD)
}
