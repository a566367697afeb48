//! Order and rate of closing clients during graceful shutdown.

use std::time::{Duration, Instant};

use rand::{Rng, seq::SliceRandom as _};

use crate::shard::slot::SlotKey;

/// Clients closed per second and gateway, unless the grace period is too short for that: they all
/// reconnect to the other gateways.
const RATE: u32 = 1000;

/// Minimum and maximum of the time over which reconnects are spread.
const RECONNECT_SPREAD: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// The clients of a shard that are still to be closed, in an unpredictable order.
///
/// Three fifths of the grace period are for closing, and one fifth for each client to respond; the
/// rest is for workers to finish the last events.
#[derive(Debug)]
pub(in crate::shard) struct Drain {
    waiting: Vec<SlotKey>,
    clients: u32,
    started: Instant,
    /// Time over which all are closed.
    spread: Duration,
    /// How long a closing client may take to respond.
    linger: Duration,
    /// Time over which reconnects are spread.
    reconnect_spread: Duration,
}

impl Drain {
    /// Plans to close these clients of one of `shards` shards from `now` on.
    pub(super) fn new(
        mut waiting: Vec<SlotKey>,
        shards: usize,
        grace: Duration,
        now: Instant,
        rng: &mut impl Rng,
    ) -> Self {
        waiting.shuffle(rng);
        let clients = waiting.len() as u32;
        let total = clients.saturating_mul(shards as u32);
        let at_full_rate = Duration::from_secs(1) * total / RATE;
        Self {
            waiting,
            clients,
            started: now,
            spread: at_full_rate.min(grace.saturating_mul(3) / 5),
            linger: grace / 5,
            reconnect_spread: at_full_rate.clamp(RECONNECT_SPREAD.0, RECONNECT_SPREAD.1),
        }
    }

    /// Removes and returns the clients that are due.
    pub(super) fn due(&mut self, now: Instant) -> Vec<SlotKey> {
        let passed = now.saturating_duration_since(self.started);
        let closed = match passed < self.spread {
            true => passed.as_secs_f64() / self.spread.as_secs_f64() * f64::from(self.clients),
            false => f64::from(self.clients),
        };
        let open = self.clients.saturating_sub(closed as u32) as usize;
        self.waiting.split_off(open.min(self.waiting.len()))
    }

    /// How long a closing client may take to respond.
    pub(super) fn linger(&self) -> Duration {
        self.linger
    }

    /// A random retry-after for a client, so that clients closed together do not reconnect
    /// together.
    pub(in crate::shard) fn retry_after(&self, rng: &mut impl Rng) -> Duration {
        rand::RngExt::random_range(rng, Duration::ZERO..=self.reconnect_spread)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn drain(clients: u32, shards: usize, grace: Duration) -> (Drain, Instant) {
        let now = Instant::now();
        (Drain::new((0..clients).collect(), shards, grace, now, &mut rand::rng()), now)
    }

    #[test]
    fn clients_are_closed_evenly_each_once_and_in_random_order() {
        let (mut drain, start) = drain(20_000, 1, 10 * SECOND);
        let mut closed = Vec::new();
        for tenth in 0..=60 {
            closed.extend(drain.due(start + tenth * SECOND / 10));
            let even = (tenth * 20_000 / 60) as usize;
            assert!(closed.len().abs_diff(even) <= 1, "{tenth}: {}", closed.len());
        }
        assert!(!closed.is_sorted());
        closed.sort_unstable();
        assert_eq!(closed, (0..20_000).collect::<Vec<_>>());
        assert!(drain.due(start + 9 * SECOND).is_empty());
    }

    #[test]
    fn few_clients_are_closed_at_once() {
        for (clients, shards) in [(0, 1), (5, 1), (5, 64)] {
            let (drain, _) = drain(clients, shards, 10 * SECOND);
            assert!(drain.spread < SECOND, "{:?}", drain.spread);
        }
    }

    #[test]
    fn all_clients_are_closed_well_within_the_grace_period() {
        for grace in [Duration::ZERO, SECOND / 10, SECOND, 10 * SECOND, 600 * SECOND] {
            let (mut drain, start) = drain(100_000, 2, grace);
            assert!(drain.spread + drain.linger <= grace * 4 / 5);
            assert_eq!(drain.due(start + drain.spread).len(), 100_000);
        }
    }

    #[test]
    fn more_clients_get_a_longer_retry_after() {
        let within = |clients| {
            let (drain, _) = drain(clients, 1, 10 * SECOND);
            let times = (0..1000).map(|_| drain.retry_after(&mut rand::rng()));
            times.max().unwrap()
        };
        for (clients, most) in [(1, 1), (10_000, 10), (1_000_000, 30)] {
            let latest = within(clients);
            assert!(latest <= most * SECOND && most * SECOND * 9 / 10 < latest, "{latest:?}");
        }
    }
}
