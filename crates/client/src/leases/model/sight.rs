//! When a gateway was not known to the register: what `sight.rs` of the gateway does.

use super::{Duration, Instant, PATIENCE, PROMPT};

#[derive(Debug, Default)]
pub(super) struct Sight {
    since: Option<Instant>,
    before: Vec<(Instant, Instant)>,
}

impl Sight {
    pub(super) fn lose(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    pub(super) fn regain(&mut self, now: Instant) {
        self.before.extend(self.since.take().map(|from| (from, now)));
    }

    pub(super) fn is_doubtful(&self, lost: Instant) -> bool {
        self.since.is_some_and(|since| since <= lost + AROUND) || self.was_doubtful(lost)
    }

    pub(super) fn was_doubtful(&self, lost: Instant) -> bool {
        let mut before = self.before.iter().filter(|(from, to)| *from + PROMPT <= *to);
        before.any(|(from, to)| *from <= lost + AROUND && lost <= *to + AROUND)
    }
}

const AROUND: Duration = PATIENCE.saturating_add(PROMPT);
