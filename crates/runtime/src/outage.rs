//! Logs an outage of a peer once, and then at growing intervals.

use std::time::{Duration, Instant};

/// When an outage is logged again, counted from its beginning; then once an hour.
const REMINDERS: [Duration; 3] =
    [Duration::from_secs(60), Duration::from_secs(600), Duration::from_secs(3600)];

/// An outage that begins this soon after the last counts as the same one, and is not logged again.
const SAME: Duration = Duration::from_secs(60);

/// The outages of one peer. A value without a clock: callers pass the time.
///
/// ```
/// # use std::time::Instant;
/// # use push_suite_runtime::outage::Outage;
/// # let now = Instant::now();
/// let mut outage = Outage::default();
/// if let Some(lasts) = outage.fails(now) {
///     tracing::warn!(?lasts, "register unreachable; retrying");
/// }
/// if let Some(lasted) = outage.ends(now) {
///     tracing::info!(?lasted, "register is back");
/// }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Outage {
    /// When it began, also for a while after it has ended.
    began: Option<Instant>,
    ended: Option<Instant>,
    /// How often it was logged.
    logged: u32,
    /// Whether the outage was logged and its end was not.
    is_known: bool,
}

impl Outage {
    /// The peer is unreachable at `now`. Returns the duration of the outage if it is to be logged.
    pub fn fails(&mut self, now: Instant) -> Option<Duration> {
        if let Some(ended) = self.ended.take()
            && SAME <= now.saturating_duration_since(ended)
        {
            *self = Self::default();
        }
        let began = *self.began.get_or_insert(now);
        let lasts = now.saturating_duration_since(began);
        if lasts < self.next() {
            return None;
        }
        self.logged = self.logged.saturating_add(1);
        self.is_known = true;
        Some(lasts)
    }

    /// The peer is reachable at `now`. Returns the duration of the outage if that was logged and its
    /// end was not.
    pub fn ends(&mut self, now: Instant) -> Option<Duration> {
        let began = self.began?;
        self.ended.get_or_insert(now);
        std::mem::take(&mut self.is_known).then(|| now.saturating_duration_since(began))
    }

    /// Whether the outage lasts.
    #[must_use]
    pub const fn lasts(&self) -> bool {
        self.began.is_some() && self.ended.is_none()
    }

    fn next(&self) -> Duration {
        let [.., hour] = REMINDERS;
        match self.logged.checked_sub(1) {
            None => Duration::ZERO,
            Some(at) => match REMINDERS.get(at as usize) {
                Some(reminder) => *reminder,
                None => hour * (at + 2 - REMINDERS.len() as u32),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn outage_is_logged_once_and_then_at_growing_intervals() {
        let (mut outage, start) = (Outage::default(), Instant::now());
        let mut logged = Vec::new();
        for second in 0..4 * 3600 {
            logged.extend(outage.fails(start + second * SECOND));
        }
        let seconds: Vec<_> = logged.iter().map(Duration::as_secs).collect();
        assert_eq!(seconds, [0, 60, 600, 3600, 7200, 10800]);
        assert!(outage.lasts());
        assert_eq!(outage.ends(start + 14_400 * SECOND), Some(14_400 * SECOND));
        assert_eq!(outage.ends(start + 14_401 * SECOND), None, "once");
        assert!(!outage.lasts());
    }

    #[test]
    fn outage_long_after_the_end_of_the_last_is_another_one() {
        let (mut outage, start) = (Outage::default(), Instant::now());
        assert!(outage.fails(start).is_some());
        for second in 1..600 {
            outage.ends(start + second * SECOND);
        }
        assert_eq!(outage.fails(start + 600 * SECOND), Some(Duration::ZERO));
    }

    #[test]
    fn flapping_peer_is_not_logged_each_time() {
        let (mut outage, start) = (Outage::default(), Instant::now());
        let (mut away, mut back) = (0, 0);
        for second in 0..3600 {
            away += usize::from(outage.fails(start + second * SECOND).is_some());
            back += usize::from(outage.ends(start + second * SECOND + SECOND / 2).is_some());
        }
        assert_eq!((away, back), (3, 3));
        let later = start + 7200 * SECOND;
        assert_eq!(outage.fails(later), Some(Duration::ZERO), "another one");
    }

    #[test]
    fn end_without_an_outage_is_not_logged() {
        assert_eq!(Outage::default().ends(Instant::now()), None);
    }
}
