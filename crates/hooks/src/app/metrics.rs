//! Metrics of the app.

use prometheus_client::{metrics::counter::Counter, registry::Registry};

/// Counters over all webhooks.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    unreadable: Counter,
    closed: Counter,
    dropped_closes: Counter,
    failed_commands: Counter,
}

impl Metrics {
    /// An answer was invalid.
    pub(super) fn unreadable(&self) {
        self.unreadable.inc();
    }

    /// A client was closed, or its handshake refused, since its webhook does not answer.
    pub(super) fn closed(&self) {
        self.closed.inc();
    }

    /// A command of an answer failed.
    pub(super) fn command_failed(&self) {
        self.failed_commands.inc();
    }

    /// A close was dropped, since too many wait.
    pub(super) fn dropped_close(&self) {
        self.dropped_closes.inc();
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Answers of webhooks that were accepted and invalid";
        registry.register("invalid_answers", help, self.unreadable.clone());
        let help = "Clients that were refused or closed because their webhook did not answer";
        registry.register("unavailable_clients", help, self.closed.clone());
        let help = "Closes that were dropped because 10,000 waited for their webhook";
        registry.register("dropped_closes", help, self.dropped_closes.clone());
        let help = "Commands in answers of webhooks that failed";
        registry.register("failed_commands", help, self.failed_commands.clone());
    }
}
