//! The payload of pings, from which the round trip is known when it comes back. A value.

use std::time::{Duration, Instant};

/// Longer round trips are not counted: the payload is then more likely not that of a ping.
const LONGEST: Duration = Duration::from_secs(60);

/// Stamps pings with the time, so that nothing is stored for each client.
#[derive(Clone, Copy, Debug)]
pub(in crate::shard) struct PingClock(Instant);

impl PingClock {
    pub(in crate::shard) const fn new(started: Instant) -> Self {
        Self(started)
    }

    /// The payload of a ping that is sent now: microseconds, which repeat after more than an hour.
    pub(in crate::shard) fn stamp(self, now: Instant) -> [u8; 4] {
        self.micros(now).to_be_bytes()
    }

    /// The time since the ping with this payload; `None` if it is no stamp of a recent one.
    pub(in crate::shard) fn round_trip(self, payload: &[u8], now: Instant) -> Option<Duration> {
        let stamp = u32::from_be_bytes(payload.try_into().ok()?);
        let took = Duration::from_micros(self.micros(now).wrapping_sub(stamp).into());
        (took <= LONGEST).then_some(took)
    }

    fn micros(self, now: Instant) -> u32 {
        // The low bits: differences are right as long as they are less than the period.
        now.saturating_duration_since(self.0).as_micros() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_is_the_time_since_the_stamp() {
        let started = Instant::now();
        let clock = PingClock::new(started);
        for age in [0, 4_294, 4_295, 100_000] {
            let sent = started + Duration::from_secs(age);
            let stamp = clock.stamp(sent);
            for took in [Duration::ZERO, Duration::from_micros(1500), LONGEST] {
                assert_eq!(clock.round_trip(&stamp, sent + took), Some(took), "{age}");
            }
            assert_eq!(clock.round_trip(&stamp, sent + LONGEST * 2), None);
        }
    }

    #[test]
    fn payload_that_is_no_stamp_is_ignored() {
        let started = Instant::now();
        let clock = PingClock::new(started);
        for payload in [&b""[..], b"123", b"12345", &[0; 125], &u32::MAX.to_be_bytes()[..3]] {
            assert_eq!(clock.round_trip(payload, started), None, "{payload:?}");
        }
        // A stamp of the future.
        let stamp = clock.stamp(started + Duration::from_secs(1));
        assert_eq!(clock.round_trip(&stamp, started), None);
    }
}
