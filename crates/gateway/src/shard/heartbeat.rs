//! When a silent client is pinged, and when it is given up: the reference's rule, to the letter.

/// The heartbeat's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heartbeat {
    /// Seconds between pings; never 0.
    pub(crate) interval: u64,
    /// How many pings may stay unanswered; 0 never gives up.
    pub(crate) limit: u32,
    /// What is sent; nothing if empty.
    pub(crate) data: String,
}

/// What is due to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    Ping,
    /// It was silent for too long.
    GiveUp,
}

/// How many ticks a client has been silent; back to the start with every message of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Silence(u32);

impl Heartbeat {
    /// Milliseconds between ticks: twice for each interval where somebody may be given up.
    pub(super) fn tick(&self) -> u64 {
        let interval = self.interval.saturating_mul(1000);
        if self.limit == 0 { interval } else { interval / 2 }
    }

    /// What one more tick of silence brings: a ping after a whole interval, then at every further
    /// one, and the end half an interval after the last one that may stay unanswered.
    pub(super) fn due(&self, silence: &mut Silence) -> Due {
        let ticks = silence.0;
        if 0 < self.limit && self.limit.saturating_mul(2) < ticks {
            return Due::GiveUp;
        }
        silence.0 = ticks.saturating_add(1);
        let between = 0 < self.limit && !ticks.is_multiple_of(2);
        match ticks == 0 || between || self.data.is_empty() {
            true => Due::Nothing,
            false => Due::Ping,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes tick by tick after a client fell silent.
    fn ticks(limit: u32, data: &str, count: usize) -> String {
        let (heartbeat, mut silence) =
            (Heartbeat { interval: 2, limit, data: data.into() }, Silence::default());
        let mut told = String::new();
        for _ in 0..count {
            let due = heartbeat.due(&mut silence);
            told.push(match due {
                Due::Nothing => '-',
                Due::Ping => 'p',
                Due::GiveUp => 'x',
            });
            if due == Due::GiveUp {
                break;
            }
        }
        told
    }

    #[test]
    fn the_reference_timings_hold() {
        // Half an interval each: the ping comes after 1.0 to 1.5 intervals, the end after 1.5 to 2.
        assert_eq!(ticks(1, "ping", 9), "--px");
        assert_eq!(ticks(2, "ping", 9), "--p-px");
        assert_eq!(ticks(1, "", 9), "---x");
        // A whole interval each.
        assert_eq!(ticks(0, "ping", 5), "-pppp");
        assert_eq!(ticks(0, "", 5), "-----");
    }

    #[test]
    fn a_limit_halves_the_tick() {
        let heartbeat = |limit| Heartbeat { interval: 55, limit, data: String::new() };
        assert_eq!((heartbeat(0).tick(), heartbeat(1).tick()), (55_000, 27_500));
    }
}
