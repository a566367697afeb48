//! Counters that all clients of a run share.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use serde::{Deserialize, Serialize};

/// Counters that all threads add to, for the progress bar and the plots.
#[derive(Debug, Default)]
pub(super) struct Live {
    pub(super) connected: AtomicU64,
    pub(super) sent: AtomicU64,
    pub(super) delivered: AtomicU64,
    /// Connect, echo, close.
    pub(super) cycles: AtomicU64,
    /// Messages that idle clients have answered.
    pub(super) answered: AtomicU64,
    /// Connections that ended or failed unexpectedly.
    pub(super) broken: AtomicU64,
    /// Messages of an open loop that were due and not sent: the socket was full, or the pacer
    /// fell behind.
    pub(super) skipped: AtomicU64,
    /// Clients that did not read, and were closed for it.
    pub(super) shed: AtomicU64,
    trouble: Mutex<Option<String>>,
}

impl Live {
    pub(super) fn record_failure(&self, error: impl std::fmt::Display) {
        self.broken.fetch_add(1, Relaxed);
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.get_or_insert_with(|| error.to_string());
    }

    /// The first error.
    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn counters(&self) -> [&AtomicU64; 8] {
        [
            &self.connected,
            &self.sent,
            &self.delivered,
            &self.cycles,
            &self.answered,
            &self.broken,
            &self.skipped,
            &self.shed,
        ]
    }

    /// The counters to send to another process.
    pub(super) fn counts(&self) -> Counts {
        let counters = self.counters().map(|counter| counter.load(Relaxed));
        Counts { counters, trouble: self.trouble() }
    }

    /// Another process had counted up to `before`, and has counted up to `now`.
    pub(super) fn advance(&self, before: &Counts, now: &Counts) {
        let steps = now.counters.iter().zip(before.counters);
        for (counter, (now, before)) in self.counters().iter().zip(steps) {
            // A count of connections may decrease; counters wrap around, so the sum is right.
            counter.fetch_add(now.wrapping_sub(before), Relaxed);
        }
        if let Some(trouble) = &now.trouble {
            let mut mine = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
            mine.get_or_insert_with(|| trouble.clone());
        }
    }
}

/// The counters at one time.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Counts {
    counters: [u64; 8],
    trouble: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_processes_add_up_also_when_they_decrease() {
        let (sum, one, two) = (Live::default(), Live::default(), Live::default());
        let mut before = [Counts::default(), Counts::default()];
        for (connected, sent) in [(5, 1), (3, 8), (4, 9)] {
            for (live, before) in [&one, &two].into_iter().zip(&mut before) {
                live.connected.store(connected, Relaxed);
                live.sent.store(sent, Relaxed);
                let now = live.counts();
                sum.advance(before, &now);
                *before = now;
            }
        }
        two.record_failure("why");
        sum.advance(&before[1], &two.counts());
        let total = |counter: &AtomicU64| counter.load(Relaxed);
        let totals = [&sum.connected, &sum.sent, &sum.broken].map(total);
        assert_eq!(totals, [8, 18, 1]);
        assert_eq!(sum.trouble().as_deref(), Some("why"));
    }
}
