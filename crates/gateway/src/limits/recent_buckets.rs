//! The token buckets of addresses: a table of bounded size. A value.

use std::{collections::HashMap, mem, time::Instant};

use runtime::token_bucket::{Bucket, Rate};

use super::network::Network;

/// The buckets of the addresses that were seen last, in two generations.
///
/// A generation ends when it has as many addresses as it may, or when all buckets of the one before
/// it are full again. The one before it is dropped then: so an address that is forgotten early has a
/// full bucket again, which costs an attacker as many other addresses.
#[derive(Debug)]
pub(crate) struct RecentBuckets {
    /// Maximum number of addresses in a generation.
    most: usize,
    current: HashMap<Network, Bucket>,
    previous: HashMap<Network, Bucket>,
    /// When the current generation began.
    since: Option<Instant>,
}

impl RecentBuckets {
    /// A table of at most twice `most` addresses.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, current: HashMap::new(), previous: HashMap::new(), since: None }
    }

    /// The bucket of an address.
    pub(crate) fn bucket(&mut self, network: Network, rate: Rate, now: Instant) -> &mut Bucket {
        let age = now.saturating_duration_since(*self.since.get_or_insert(now));
        let is_full = self.most <= self.current.len() && !self.current.contains_key(&network);
        if is_full || rate.refill() <= age {
            self.previous = mem::take(&mut self.current);
            self.since = Some(now);
        }
        let known = self.previous.remove(&network);
        self.current.entry(network).or_insert(known.unwrap_or_default())
    }

    /// Number of addresses in it.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.current.len() + self.previous.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn admits(table: &mut RecentBuckets, network: u64, rate: Rate, now: Instant) -> bool {
        table.bucket(Network::V6(network), rate, now).try_take(rate, 1, now).is_ok()
    }

    #[test]
    fn each_address_has_its_own_bucket() {
        let (rate, start) = (Rate::new(1, 2), Instant::now());
        let mut table = RecentBuckets::new(100);
        for network in 0..3 {
            let admitted = [0; 4].map(|_| admits(&mut table, network, rate, start));
            assert_eq!(admitted, [true, true, false, false]);
        }
        assert!(admits(&mut table, 1, rate, start + SECOND));
        assert!(!admits(&mut table, 1, rate, start + SECOND));
    }

    #[test]
    fn address_is_limited_over_generations_as_long_as_it_comes_back() {
        let (rate, start) = (Rate::new(1, 1), Instant::now());
        let mut table = RecentBuckets::new(10);
        let mut admitted = 0;
        for step in 0..400_u64 {
            let now = start + SECOND * step as u32 / 4;
            admitted += u64::from(admits(&mut table, 7, rate, now));
            // Fewer others than the table remembers, between two attempts.
            for other in 0..5 {
                admits(&mut table, 1000 + step * 5 + other, rate, now);
            }
        }
        assert_eq!(admitted, 100, "one a second");
    }

    #[test]
    fn flood_of_addresses_does_not_grow_the_table_beyond_its_bound() {
        let (rate, start) = (Rate::new(1, 1000), Instant::now());
        let mut table = RecentBuckets::new(64);
        for network in 0..100_000 {
            admits(&mut table, network, rate, start);
            assert!(table.len() <= 128);
        }
    }

    #[test]
    fn addresses_with_full_buckets_are_forgotten() {
        let (rate, start) = (Rate::new(10, 10), Instant::now());
        let mut table = RecentBuckets::new(1000);
        for network in 0..500 {
            admits(&mut table, network, rate, start);
        }
        for second in 1..=2 {
            admits(&mut table, 0, rate, start + second * SECOND);
        }
        assert_eq!(table.len(), 1);
    }
}
