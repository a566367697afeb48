//! Load shedding: how a shard reacts to memory pressure.

use std::time::{Duration, Instant};

use protocol::inspect::{LifecycleKind, ReadPause};
use runtime::random;

use super::budget::MemoryPressure;
use crate::{
    closed::CloseCause,
    shard::{
        Shard,
        connections::{Connection, Phase},
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
        let (client, reason) = (connection.id, ReadPause::MemoryPressure);
        self.history.record(client, || LifecycleKind::Paused { reason });
        self.schedule.request();
        true
    }

    /// Applies the memory budget. Called a few times a second.
    pub(in crate::shard) fn tick_budget(&mut self, now: Instant) {
        if self.pressure.budget.is_pressed() {
            // Other clients complete their messages next.
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
            let empty = connection.gate.empty_since();
            empty.is_some_and(|since| STALLED < now.saturating_duration_since(since))
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

#[cfg(test)]
mod tests {
    use runtime::clock;

    use super::*;
    use crate::shard::{connections::Pause, test_shard::TestShard};

    const KIB: usize = 1024;
    const MIB: usize = 1024 * KIB;

    /// Memory pressure begins above this many bytes.
    const PRESSURE: usize = 6 * MIB;

    /// Bytes of a large message, which is longer than one read of its socket.
    const MESSAGE: usize = 128 * KIB;

    /// Pressure that lasts this long is sustained, and a client that sent nothing meanwhile is
    /// stalled.
    const LATER: Duration = Duration::from_secs(6);

    /// Clients of a shard that resumes one at a time under memory pressure.
    async fn clients(count: usize) -> TestShard {
        let flags = ["--threads=1", "--max-message-size=1048576", "--memory-budget=16777216"];
        let mut test = TestShard::with_flags(count, "frame://", &flags).await;
        test.run_once();
        test
    }

    /// A message of this many bytes, with its prefix.
    fn message(size: usize) -> Vec<u8> {
        let mut message = vec![0; size];
        message[..4].copy_from_slice(&(size as u32).to_be_bytes());
        message
    }

    impl TestShard {
        fn is_paused_for(&self, client: usize, reason: Pause) -> bool {
            self.shard.connections[self.keys[client]].gate.is_paused_for(reason)
        }

        fn is_open(&self, client: usize) -> bool {
            matches!(self.shard.connections[self.keys[client]].phase, Phase::Open(_))
        }

        /// Other connections come to hold this many bytes more.
        fn take_memory(&mut self, bytes: usize) {
            self.shard.pressure.budget.change(0, bytes);
        }

        fn return_memory(&mut self, bytes: usize) {
            self.shard.pressure.budget.change(bytes, 0);
        }

        /// Sends bytes and reads them, with the turns that the fair queue grants.
        async fn upload(&mut self, client: usize, bytes: &[u8]) {
            assert_eq!(self.send(client, bytes), bytes.len());
            // More often than necessary: the sockets may pass it on in parts.
            for _ in 0..8 {
                self.poll(client).await;
                if self.is_paused_for(client, Pause::QuantumSpent) {
                    self.run_once();
                }
            }
        }

        /// Sends the first part of a large message, which memory pressure pauses, and the rest once
        /// a pass has resumed the client.
        async fn upload_under_pressure(&mut self, client: usize) {
            let message = message(MESSAGE);
            let (first, rest) = message.split_at(MESSAGE / 2);
            self.upload(client, first).await;
            assert!(self.is_paused_for(client, Pause::MemoryPressure));
            self.run_once();
            assert!(!self.is_paused_for(client, Pause::MemoryPressure));
            self.upload(client, rest).await;
        }
    }

    #[tokio::test]
    async fn client_resumed_to_complete_a_large_message_is_paused_in_its_next() {
        let mut test = clients(1).await;
        test.take_memory(PRESSURE + 1);
        for uploaded in 1..=3 {
            test.upload_under_pressure(0).await;
            test.run_once();
            assert_eq!(test.shard.gateway.metrics.messages_in.get(), uploaded);
        }
    }

    #[tokio::test]
    async fn client_resumed_to_complete_a_large_message_is_paused_in_the_next_of_the_same_read() {
        let mut test = clients(1).await;
        test.take_memory(PRESSURE + 1);
        test.upload(0, &message(MESSAGE)[..MESSAGE - KIB]).await;
        test.run_once();
        test.upload(0, &[&[0; KIB][..], &message(MESSAGE)[..32 * KIB]].concat()).await;
        assert!(test.is_paused_for(0, Pause::MemoryPressure));
    }

    #[tokio::test]
    async fn client_that_is_completing_a_large_message_may_be_paused_once_pressure_returns() {
        let mut test = clients(1).await;
        test.take_memory(PRESSURE + 1);
        test.upload(0, &message(MESSAGE)[..32 * KIB]).await;
        test.run_once();
        test.return_memory(PRESSURE + 1);
        test.run_once();
        test.take_memory(PRESSURE + 1);
        test.upload(0, &[0; 32 * KIB]).await;
        assert!(test.is_paused_for(0, Pause::MemoryPressure));
    }

    #[tokio::test]
    async fn client_that_stalls_in_its_second_large_message_is_closed() {
        let mut test = clients(2).await;
        test.take_memory(PRESSURE + 1);
        test.upload_under_pressure(0).await;
        test.return_memory(PRESSURE + 1);
        test.run_once();
        test.upload(0, &message(MESSAGE)[..32 * KIB]).await;
        test.upload(1, &message(MESSAGE)[..KIB]).await;
        test.take_memory(PRESSURE + 1);
        let now = clock::now();
        test.shard.tick_budget(now);
        test.shard.tick_budget(now + LATER);
        assert!(!test.is_open(0), "stalled");
        assert!(test.is_open(1), "not in the middle of a large message");
    }

    #[tokio::test]
    async fn client_paused_by_pressure_that_ends_before_the_next_pass_is_read_again() {
        let mut test = clients(1).await;
        test.take_memory(PRESSURE + 1);
        test.upload(0, &message(MESSAGE)[..32 * KIB]).await;
        assert!(test.is_paused_for(0, Pause::MemoryPressure));
        test.return_memory(PRESSURE + 1);
        test.run_once();
        assert!(!test.is_paused_for(0, Pause::MemoryPressure));
    }

    #[tokio::test]
    async fn clients_closed_while_they_are_paused_delay_no_other() {
        let mut test = clients(3).await;
        test.take_memory(PRESSURE + 1);
        for client in 0..3 {
            test.upload(client, &message(MESSAGE)[..32 * KIB]).await;
            assert!(test.is_paused_for(client, Pause::MemoryPressure));
        }
        for client in 0..2 {
            test.shard.close(test.keys[client], CloseCause::Slow);
        }
        test.run_once();
        assert!(!test.is_paused_for(2, Pause::MemoryPressure));
    }

    #[tokio::test]
    async fn client_that_once_sent_a_large_message_does_not_count_as_stalled() {
        let mut test = clients(1).await;
        test.upload(0, &message(MESSAGE)).await;
        test.upload(0, &message(MESSAGE)[..KIB]).await;
        test.take_memory(PRESSURE + 1);
        let now = clock::now();
        test.shard.tick_budget(now);
        test.shard.tick_budget(now + LATER);
        assert!(test.is_open(0));
    }

    #[tokio::test]
    async fn client_resumed_and_not_read_yet_does_not_count_as_stalled() {
        let mut test = clients(1).await;
        test.upload(0, &message(MESSAGE)[..32 * KIB]).await;
        test.take_memory(PRESSURE + 1);
        test.upload(0, &[0; 32 * KIB]).await;
        assert!(test.is_paused_for(0, Pause::MemoryPressure));
        let now = clock::now();
        test.shard.tick_budget(now);
        assert!(!test.is_paused_for(0, Pause::MemoryPressure));
        test.shard.tick_budget(now + LATER);
        assert!(test.is_open(0));
    }

    #[tokio::test]
    async fn client_in_the_fair_queue_does_not_count_as_stalled() {
        let mut test = clients(1).await;
        let message = message(2 * MESSAGE);
        let sent = test.send(0, &message[..MESSAGE]);
        assert_eq!(sent, MESSAGE);
        test.poll(0).await;
        assert!(test.is_paused_for(0, Pause::QuantumSpent));
        test.take_memory(PRESSURE + 1);
        let now = clock::now();
        test.shard.tick_budget(now);
        test.shard.tick_budget(now + LATER);
        assert!(test.is_open(0));
    }
}
