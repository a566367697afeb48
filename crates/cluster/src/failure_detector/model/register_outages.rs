//! Outages of a gateway's register connection, as in `register_outages.rs` of the gateway.

use super::{Duration, Instant, PATIENCE, PROMPT};

#[derive(Debug, Default)]
pub(super) struct RegisterOutages {
    since: Option<Instant>,
    before: Vec<(Instant, Instant)>,
}

impl RegisterOutages {
    pub(super) fn begin(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    pub(super) fn end(&mut self, now: Instant) {
        self.before.extend(self.since.take().map(|from| (from, now)));
    }

    pub(super) fn may_be_presumed_dead(&self, lost: Instant) -> bool {
        self.since.is_some_and(|since| since <= lost + AROUND)
            || self.may_have_been_presumed_dead(lost)
    }

    pub(super) fn may_have_been_presumed_dead(&self, lost: Instant) -> bool {
        let mut before = self.before.iter().filter(|(from, to)| *from + PROMPT <= *to);
        before.any(|(from, to)| *from <= lost + AROUND && lost <= *to + AROUND)
    }
}

const AROUND: Duration = PATIENCE.saturating_add(PROMPT);
