//! Liveness probes of a silent peer: when one is due, and what missing responses mean. A value.

use std::time::Duration;

/// Probes without a response that a peer may leave within its timeout.
const MAX_UNANSWERED: u32 = 5;

/// Probes without a response from which a peer counts as late.
const LATE: u32 = 3;

/// The interval between two probes of a silent peer with this timeout.
#[must_use]
pub fn interval(timeout: Duration) -> Duration {
    timeout / (MAX_UNANSWERED + 1)
}

/// The probes of one peer since its last sign of life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Probes {
    unanswered: u32,
}

impl Probes {
    /// The peer has sent something, or has read something.
    pub const fn answered(&mut self) {
        self.unanswered = 0;
    }

    /// The next probe is due. `false` if the peer's timeout has expired instead.
    #[must_use]
    pub const fn next(&mut self) -> bool {
        self.unanswered += 1;
        self.unanswered <= MAX_UNANSWERED
    }

    /// Whether this is the first probe since the last sign of life.
    #[must_use]
    pub const fn is_first(self) -> bool {
        self.unanswered == 1
    }

    /// Whether the peer is late to respond.
    #[must_use]
    pub const fn is_late(self) -> bool {
        LATE <= self.unanswered
    }

    /// Whether the peer is late to respond since the latest probe.
    #[must_use]
    pub const fn is_just_late(self) -> bool {
        LATE == self.unanswered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silent_peer_is_late_after_three_probes_and_times_out_after_five() {
        let mut probes = Probes::default();
        let states: Vec<_> = (0..6)
            .map(|_| (probes.next(), probes.is_first(), probes.is_late(), probes.is_just_late()))
            .collect();
        assert_eq!(
            states,
            [
                (true, true, false, false),
                (true, false, false, false),
                (true, false, true, true),
                (true, false, true, false),
                (true, false, true, false),
                (false, false, true, false),
            ]
        );
        probes.answered();
        assert_eq!((probes.is_late(), probes.next()), (false, true));
    }

    #[test]
    fn timeout_expires_with_the_probe_after_the_last_one() {
        assert_eq!(interval(Duration::from_secs(30)) * 6, Duration::from_secs(30));
    }
}
