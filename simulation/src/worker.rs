//! A worker's records and reports, and its part in the poison message.

use std::time::Duration;

use simulated::control;
use test_support::{
    message::Request,
    presence::member_of,
    record::Record,
    worker::{Recorder, Reported},
};

use crate::{crowd, journal, poison, reports};

/// One instance of a worker.
#[derive(Debug)]
pub(crate) struct Instance {
    /// Its number.
    pub(crate) number: usize,
    /// Whether it asks for reports.
    pub(crate) reports: bool,
    /// Whether it decides about handshakes.
    pub(crate) handshakes: bool,
    /// Whether it watches a group.
    pub(crate) watches: bool,
    /// Number of zeros behind its messages.
    pub(crate) padding: usize,
}

/// How long a handler waits for a report: shorter than most faults.
const REPORT_TIMEOUT: Duration = Duration::from_millis(500);

impl Recorder for Instance {
    fn now(&self) -> u64 {
        control::now()
    }

    fn record(&self, record: Record) -> anyhow::Result<()> {
        if !poison::has_crashed(self.number) {
            journal::append(self.number, record);
        }
        Ok(())
    }

    async fn before_answer(&self, request: Request) {
        if poison::is_poison(request) {
            poison::crash(self.number).await;
        }
    }

    fn padding(&self) -> usize {
        self.padding
    }

    fn watches(&self) -> bool {
        self.watches
    }

    fn decides_handshakes(&self) -> bool {
        self.handshakes
    }

    fn report_within(&self, request: Request) -> Option<Duration> {
        // Of two messages to a uid one, and of two to a group.
        let asks = self.reports && matches!(request.number % 32, 3 | 23 | 27);
        let is_other = crowd::is_member(request.from) || member_of(request.from).is_some();
        let asks = asks && !is_other;
        asks.then_some(REPORT_TIMEOUT)
    }

    fn reported(&self, reported: Reported) {
        if !poison::has_crashed(self.number) {
            reports::append(self.number, reported);
        }
    }
}
