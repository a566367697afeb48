//! Deadlines of connections, and checks that are done a few times a second.

use std::time::Instant;

use crate::{
    closed::CloseCause,
    settings::NoWorker,
    shard::{
        Shard,
        connections::{Connection, Page, Phase},
        pressure,
    },
};

impl Shard {
    /// Handles everything with a deadline. Called a few times a second.
    pub(in crate::shard) fn tick(&mut self, now: Instant) {
        while let Some(key) = self.connections.take_expired(now) {
            if self.renew_for_page(key) {
                continue;
            }
            let connection = &self.connections[key];
            match connection.phase {
                // There was no room for its first events; see `hold_pending_client`.
                Phase::Request(_) | Phase::Open(_)
                    if connection.gate.is_paused_by_worker() && connection.id.is_none() =>
                {
                    self.close_without_worker(key, pressure::retry_after());
                }
                Phase::Request(_)
                    if !connection.gate.is_paused_by_worker()
                        && self.becomes_client(key)
                        && !self.awaits_forwarded(key) =>
                {
                    self.register_silent(key);
                }
                // The rest of its last page is still written, as long as the peer reads.
                Phase::Request(_) if connection.page != Page::None => {
                    self.close(key, CloseCause::Answered);
                }
                Phase::ProxyHeader(_) | Phase::Request(_) => {
                    self.abort(key, CloseCause::HandshakeTimeout)
                }
                Phase::Undecided(_) => {
                    let retry_after = pressure::retry_after();
                    self.close(key, CloseCause::Undecided { retry_after });
                }
                // The close frame was sent, and earlier messages are not read yet because the
                // worker is busy.
                Phase::Leaving(_) if connection.gate.is_paused_by_worker() => {
                    self.set_close_deadline(key)
                }
                Phase::Leaving(_) => {
                    self.gateway.drain_summary.aborted();
                    self.abort(key, CloseCause::Ended);
                }
                Phase::Closing { .. } => {
                    self.tally.close_timeouts += 1;
                    self.abort(key, CloseCause::Ended);
                }
                Phase::Open(_) => self.auth_deadline_passed(key),
                Phase::Over => {}
            }
        }
        self.check_expiries();
        self.give_up_suspects(now);
        self.tick_budget(now);
        self.tick_standbys();
        self.tick_streams(now);
        self.delivery.workers.check_progress(now);
        self.report_overload();
        self.delivery.workers.publish();
        self.update_held_since(now);
        if let NoWorker::Wait(Some(timeout)) = self.settings.no_worker
            && self.delivery.holds_any()
        {
            let late = |connection: &Connection| {
                connection.held_since.is_some_and(|since| since + timeout <= now)
            };
            let late = self.connections.iter().filter(|(_, connection)| late(connection));
            for key in late.map(|(key, _)| key).collect::<Vec<_>>() {
                self.close_without_worker(key, pressure::retry_after());
            }
        }
        if !self.traces.is_empty() {
            self.finish_traces(now);
        }
        self.warnings.flush(now);
    }
}
