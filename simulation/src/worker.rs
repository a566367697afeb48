//! A worker's records and its part in the poison message.

use simulated::control;
use test_support::{message::Request, record::Record, worker::Recorder};

use crate::{journal, poison};

/// One instance of a worker.
#[derive(Debug)]
pub(crate) struct Instance(pub(crate) usize);

impl Recorder for Instance {
    fn now(&self) -> u64 {
        control::now()
    }

    fn record(&self, record: Record) -> anyhow::Result<()> {
        if !poison::has_crashed(self.0) {
            journal::append(self.0, record);
        }
        Ok(())
    }

    async fn before_answer(&self, request: Request) {
        if poison::is_poison(request) {
            poison::crash(self.0).await;
        }
    }
}
