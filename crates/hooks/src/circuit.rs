//! A circuit breaker: after many failures in a row, no request is sent to a receiver for a while,
//! and then a single one, which decides.

use std::time::{Duration, Instant};

/// How many failures in a row open the circuit.
pub const FAILURES: u32 = 20;

/// How long it is open for the first time; doubles each time, up to [`LONGEST`].
pub const FIRST: Duration = Duration::from_secs(1);

/// The longest time for which it is open.
pub const LONGEST: Duration = Duration::from_secs(30);

/// The circuit of one receiver. Callers pass the time.
#[derive(Debug, Default)]
pub struct Circuit {
    /// Failures in a row while it is closed.
    failures: u32,
    /// How many times in a row it was opened.
    openings: u32,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    until: Instant,
    /// Whether a request is under way that decides.
    is_probed: bool,
}

/// Whether a request may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It may, and its outcome is to be reported.
    Pass(Pass),
    /// Not for this long.
    Wait(Duration),
    /// Not until the outcome of the request that is under way.
    Probing,
}

/// A request that was admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// One of many.
    Ordinary,
    /// The one that decides whether the circuit closes.
    Probe,
}

impl Circuit {
    /// Whether a request may be sent at `now`.
    pub fn admit(&mut self, now: Instant) -> Admission {
        let Some(open) = &mut self.open else { return Admission::Pass(Pass::Ordinary) };
        match open.until.saturating_duration_since(now) {
            Duration::ZERO if open.is_probed => Admission::Probing,
            Duration::ZERO => {
                open.is_probed = true;
                Admission::Pass(Pass::Probe)
            }
            wait => Admission::Wait(wait),
        }
    }

    /// The receiver has answered.
    pub const fn succeeded(&mut self) {
        self.failures = 0;
        self.openings = 0;
        self.open = None;
    }

    /// The receiver has failed. Returns whether that opens the circuit.
    pub fn failed(&mut self, pass: Pass, now: Instant) -> bool {
        match (&self.open, pass) {
            // Admitted before it was opened: nothing that is not known.
            (Some(_), Pass::Ordinary) => false,
            (Some(_), Pass::Probe) => self.open_at(now),
            (None, _) => {
                self.failures = self.failures.saturating_add(1);
                FAILURES <= self.failures && self.open_at(now)
            }
        }
    }

    /// A request ended without an outcome: its caller has stopped waiting.
    pub const fn abandoned(&mut self, pass: Pass) {
        if let (Some(open), Pass::Probe) = (&mut self.open, pass) {
            open.is_probed = false;
        }
    }

    /// Whether it is open.
    pub const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    fn open_at(&mut self, now: Instant) -> bool {
        let time = FIRST.saturating_mul(1_u32.checked_shl(self.openings).unwrap_or(u32::MAX));
        self.openings = self.openings.saturating_add(1);
        self.failures = 0;
        self.open = Some(Open { until: now + time.min(LONGEST), is_probed: false });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(circuit: &mut Circuit, now: Instant) {
        for left in (0..FAILURES).rev() {
            assert_eq!(circuit.admit(now), Admission::Pass(Pass::Ordinary));
            assert_eq!(circuit.failed(Pass::Ordinary, now), left == 0);
        }
    }

    #[test]
    fn circuit_opens_after_failures_in_a_row_only() {
        let (mut circuit, now) = (Circuit::default(), Instant::now());
        for _ in 0..3 {
            for _ in 1..FAILURES {
                assert!(!circuit.failed(Pass::Ordinary, now));
            }
            circuit.succeeded();
        }
        assert!(!circuit.is_open());
        open(&mut circuit, now);
        assert_eq!(circuit.admit(now), Admission::Wait(FIRST));
        assert!(!circuit.failed(Pass::Ordinary, now), "one that was under way");
        assert_eq!(circuit.admit(now), Admission::Wait(FIRST));
    }

    #[test]
    fn probe_decides_and_failures_double_the_time() {
        let (mut circuit, mut now) = (Circuit::default(), Instant::now());
        open(&mut circuit, now);
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            let wait = Duration::from_secs(seconds);
            assert_eq!(circuit.admit(now), Admission::Wait(wait));
            now += wait;
            assert_eq!(circuit.admit(now), Admission::Pass(Pass::Probe));
            assert_eq!(circuit.admit(now), Admission::Probing);
            assert!(circuit.failed(Pass::Probe, now));
        }
        now += LONGEST;
        assert_eq!(circuit.admit(now), Admission::Pass(Pass::Probe));
        circuit.succeeded();
        assert_eq!(circuit.admit(now), Admission::Pass(Pass::Ordinary));
        open(&mut circuit, now);
        assert_eq!(circuit.admit(now), Admission::Wait(FIRST), "from the start again");
    }

    #[test]
    fn abandoned_probe_lets_another_decide() {
        let (mut circuit, now) = (Circuit::default(), Instant::now());
        open(&mut circuit, now);
        let later = now + FIRST;
        assert_eq!(circuit.admit(later), Admission::Pass(Pass::Probe));
        circuit.abandoned(Pass::Ordinary);
        assert_eq!(circuit.admit(later), Admission::Probing);
        circuit.abandoned(Pass::Probe);
        assert_eq!(circuit.admit(later), Admission::Pass(Pass::Probe));
    }
}
