//! Times during which no register announced this gateway to workers.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use runtime::sync::{Mutex, MutexGuard};

/// A shorter outage cannot have caused a worker to declare this gateway dead: workers wait longer
/// while a register of theirs does not list it. An outage that still lasts counts from its start,
/// since its length is unknown.
const BRIEF: Duration = Duration::from_secs(2);

/// Maximum number of outages recorded separately.
const REMEMBERED: usize = 64;

/// Times during which no register listed this gateway.
///
/// Workers that are disconnected from the gateway at such a time may declare it dead and close
/// their clients on its behalf, without the redelivered mark if its registers lost it at the same
/// time. The gateway therefore sets that mark on the close events of these clients, which it has
/// reassigned to other workers by then.
#[derive(Clone, Debug)]
pub(crate) struct RegisterOutages {
    peer_timeout: Duration,
    unseen: Arc<Mutex<Unseen>>,
}

#[derive(Debug, Default)]
struct Unseen {
    /// Start of the current outage.
    since: Option<Instant>,
    /// Start and end of earlier outages, oldest first, without brief ones.
    before: VecDeque<(Instant, Instant)>,
}

impl RegisterOutages {
    /// Outages of a gateway whose peers and registers may be silent for `peer_timeout`.
    pub(crate) fn new(peer_timeout: Duration) -> Self {
        Self { peer_timeout, unseen: Arc::default() }
    }

    /// How long a failure of a link or register may go undetected.
    pub(crate) const fn peer_timeout(&self) -> Duration {
        self.peer_timeout
    }

    /// Begins an outage: no register has listed this gateway since then.
    pub(crate) fn begin(&self, since: Instant) {
        self.lock().since = Some(since);
    }

    /// Ends the outage: a register lists this gateway again.
    pub(crate) fn end(&self, now: Instant) {
        let mut unseen = self.lock();
        let Some(from) = unseen.since.take().filter(|from| *from + BRIEF <= now) else {
            return;
        };
        unseen.before.push_back((from, now));
        if REMEMBERED < unseen.before.len()
            && let (Some((oldest, _)), Some((from, _))) =
                (unseen.before.pop_front(), unseen.before.front_mut())
        {
            // Merging errs on the safe side: the time between counts as outage too.
            *from = oldest;
        }
    }

    /// Whether a worker whose link was lost at that time may declare this gateway dead, or has done
    /// so. Once `true` it stays so, except during an outage that turns out to be brief.
    pub(crate) fn may_be_declared_dead(&self, lost: Instant) -> bool {
        let unseen = self.lock();
        unseen.since.is_some_and(|since| self.concerns(lost, since, None))
            || unseen.before.iter().any(|(from, to)| self.concerns(lost, *from, Some(*to)))
    }

    /// The same for outages that have ended, so that the result is final if `true`.
    pub(crate) fn may_have_been_declared_dead(&self, lost: Instant) -> bool {
        let unseen = self.lock();
        unseen.before.iter().any(|(from, to)| self.concerns(lost, *from, Some(*to)))
    }

    /// Whether the link and the registers may have been lost at the same time: each loss may have
    /// gone undetected for the peer timeout, on either side. A worker whose link was lost long
    /// before saw that registers listed this gateway meanwhile, and marks the close events itself.
    fn concerns(&self, lost: Instant, from: Instant, to: Option<Instant>) -> bool {
        from <= lost + self.peer_timeout + BRIEF
            && to.is_none_or(|to| lost <= to + self.peer_timeout)
    }

    fn lock(&self) -> MutexGuard<'_, Unseen> {
        self.unseen.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER_TIMEOUT: Duration = Duration::from_secs(30);
    const SOON: Duration = Duration::from_secs(1);

    /// A gateway with one past outage of that length, and its start.
    fn after_outage(time: Duration) -> (RegisterOutages, Instant) {
        let (outages, from) =
            (RegisterOutages::new(PEER_TIMEOUT), Instant::now() + PEER_TIMEOUT * 9);
        outages.begin(from);
        outages.end(from + time);
        (outages, from)
    }

    #[test]
    fn listed_gateway_cannot_be_declared_dead() {
        let outages = RegisterOutages::new(PEER_TIMEOUT);
        outages.end(Instant::now());
        assert!(!outages.may_be_declared_dead(Instant::now()));
    }

    #[test]
    fn worker_lost_during_outage_may_declare_gateway_dead() {
        let (outages, from) = after_outage(BRIEF);
        for lost in [from, from + BRIEF, from + BRIEF + PEER_TIMEOUT, from - BRIEF - PEER_TIMEOUT] {
            assert!(
                outages.may_be_declared_dead(lost) && outages.may_have_been_declared_dead(lost)
            );
        }
    }

    #[test]
    fn worker_lost_long_before_or_after_outage_does_not_declare_gateway_dead() {
        let (outages, from) = after_outage(BRIEF);
        assert!(!outages.may_be_declared_dead(from - BRIEF - PEER_TIMEOUT - SOON));
        assert!(!outages.may_be_declared_dead(from + BRIEF + PEER_TIMEOUT + SOON));
    }

    #[test]
    fn brief_outage_counts_only_while_it_lasts() {
        let (outages, from) = (RegisterOutages::new(PEER_TIMEOUT), Instant::now());
        outages.begin(from);
        assert!(outages.may_be_declared_dead(from) && !outages.may_have_been_declared_dead(from));
        outages.end(from + SOON);
        assert!(!outages.may_be_declared_dead(from));
    }

    #[test]
    fn recorded_outages_are_bounded_and_merged_conservatively() {
        let (outages, from) = after_outage(BRIEF);
        let mut now = from;
        for _ in 0..REMEMBERED * 2 {
            now += PEER_TIMEOUT * 9;
            outages.begin(now);
            outages.end(now + BRIEF);
        }
        assert_eq!(outages.lock().before.len(), REMEMBERED);
        assert!(outages.may_be_declared_dead(from) && outages.may_be_declared_dead(now));
        assert!(!outages.may_be_declared_dead(now + PEER_TIMEOUT * 2));
    }
}
