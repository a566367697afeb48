//! In which order and how fast clients are closed when the gateway goes down.

use std::time::{Duration, Instant};

use rand::{Rng, seq::SliceRandom as _};

use super::connection::Key;

/// How many clients a gateway closes in a second, unless its grace is too short for that: they all
/// come to the other gateways next.
const RATE: u32 = 1000;

/// Within what time a client is asked back, at the least and at the most.
const BACK: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// The clients of a shard that are still to be closed, in no order that anybody could guess.
///
/// Three fifths of the grace are for closing, and one fifth for each client to answer; what is left
/// is for workers to finish what the last clients brought.
#[derive(Debug)]
pub(super) struct Drain {
    waiting: Vec<Key>,
    clients: u32,
    begun: Instant,
    /// How long closing all of them takes.
    spread: Duration,
    /// How long a closed client may take to answer.
    linger: Duration,
    /// Within what time they are asked back.
    back: Duration,
}

impl Drain {
    /// Plans to close these clients of one of `shards` shards from `now` on.
    pub(super) fn new(
        mut waiting: Vec<Key>,
        shards: usize,
        grace: Duration,
        now: Instant,
        dice: &mut impl Rng,
    ) -> Self {
        waiting.shuffle(dice);
        let clients = waiting.len() as u32;
        let in_all = clients.saturating_mul(shards as u32);
        let unhurried = Duration::from_secs(1) * in_all / RATE;
        Self {
            waiting,
            clients,
            begun: now,
            spread: unhurried.min(grace.saturating_mul(3) / 5),
            linger: grace / 5,
            back: unhurried.clamp(BACK.0, BACK.1),
        }
    }

    /// Takes out the clients whose turn has come.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Key> {
        let passed = now.saturating_duration_since(self.begun);
        let closed = match passed < self.spread {
            true => passed.as_secs_f64() / self.spread.as_secs_f64() * f64::from(self.clients),
            false => f64::from(self.clients),
        };
        let open = self.clients.saturating_sub(closed as u32) as usize;
        self.waiting.split_off(open.min(self.waiting.len()))
    }

    /// How long a closed client may take to answer.
    pub(super) fn linger(&self) -> Duration {
        self.linger
    }

    /// When a client is to come back. Since each is told another time, those who were closed
    /// together do not come back together.
    pub(super) fn retry_after(&self, dice: &mut impl Rng) -> Duration {
        rand::RngExt::random_range(dice, Duration::ZERO..=self.back)
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
    fn the_last_is_closed_well_within_the_grace() {
        for grace in [Duration::ZERO, SECOND / 10, SECOND, 10 * SECOND, 600 * SECOND] {
            let (mut drain, start) = drain(100_000, 2, grace);
            assert!(drain.spread + drain.linger <= grace * 4 / 5);
            assert_eq!(drain.due(start + drain.spread).len(), 100_000);
        }
    }

    #[test]
    fn the_more_there_are_the_later_they_are_asked_back() {
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
