//! How old messages of a tail are when they are shown. A value.

use std::{collections::HashMap, net::SocketAddr};

/// The delay from which it is said, in microseconds.
const SAID: u64 = 1_000_000;

/// The delay of messages, by gateway.
///
/// The clocks of two hosts differ by an unknown time. That is left out with the smallest difference
/// so far, which is the delay of the fastest message: what is more than that is delay.
#[derive(Debug, Default)]
pub(super) struct Lag(HashMap<SocketAddr, OfGateway>);

#[derive(Debug)]
struct OfGateway {
    smallest: i128,
    /// When it was last said, by the local clock.
    said: u64,
}

impl Lag {
    /// The delay of a message that a gateway has processed `at` its time and that is shown `now`, if
    /// it is to be said: it is long, and was not said in the last second. All in microseconds.
    pub(super) fn of(&mut self, gateway: SocketAddr, at: u64, now: u64) -> Option<u64> {
        let difference = i128::from(now) - i128::from(at);
        let known = self.0.entry(gateway).or_insert(OfGateway { smallest: difference, said: 0 });
        known.smallest = known.smallest.min(difference);
        let behind = u64::try_from(difference - known.smallest).ok()?;
        if behind < SAID || now.saturating_sub(known.said) < SAID {
            return None;
        }
        known.said = now;
        Some(behind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delay_is_found_whatever_the_clocks_differ_by() {
        let gateway: SocketAddr = "10.0.0.1:2900".parse().unwrap();
        for (start, there) in [(5_000_000, 5_000_000), (5_000_000, 1_000), (5_000_000, 1 << 50)] {
            let mut lag = Lag::default();
            let mut shown = |at: u64, now: u64| lag.of(gateway, there + at, start + now);
            assert_eq!(shown(0, 100), None);
            assert_eq!(shown(1_000_000, 1_000_050), None, "faster than the first");
            assert_eq!(shown(2_000_000, 2_900_000), None, "not long");
            assert_eq!(shown(3_000_000, 5_000_000), Some(1_999_950));
            assert_eq!(shown(3_100_000, 5_100_000), None, "it was said");
            assert_eq!(shown(3_200_000, 6_100_000), Some(2_899_950));
        }
    }

    #[test]
    fn gateways_have_clocks_of_their_own() {
        let [one, other]: [SocketAddr; 2] =
            ["10.0.0.1:2900", "10.0.0.2:2900"].map(|address| address.parse().unwrap());
        let mut lag = Lag::default();
        assert_eq!(lag.of(one, 0, 10_000_000), None);
        assert_eq!(lag.of(other, 10_000_000, 10_000_000), None);
        assert_eq!(lag.of(one, 0, 12_000_000), Some(2_000_000));
    }
}
