//! The tails of a link: where their messages go.

use std::net::SocketAddr;

use protocol::inspect::Tailed;
use runtime::sync::Mutex;
use rustc_hash::FxHashMap;
use tokio::sync::mpsc;

use crate::inspect::TailBatch;

/// The open tails of a link, by number.
#[derive(Debug, Default)]
pub(crate) struct Tails(Mutex<FxHashMap<u64, Subscriber>>);

#[derive(Debug)]
struct Subscriber {
    batches: mpsc::Sender<TailBatch>,
    /// Messages that found no room, and are not reported yet.
    dropped: u64,
}

impl Tails {
    /// Messages of this tail go there from here on.
    pub(crate) fn add(&self, number: u64, batches: mpsc::Sender<TailBatch>) {
        self.0.lock().insert(number, Subscriber { batches, dropped: 0 });
    }

    /// A tail has ended.
    pub(crate) fn remove(&self, number: u64) {
        self.0.lock().remove(&number);
    }

    /// Passes messages on, without waiting: those that find no room are counted.
    pub(super) fn deliver(&self, gateway: SocketAddr, tailed: Tailed) {
        let mut tails = self.0.lock();
        let Some(subscriber) = tails.get_mut(&tailed.tail) else { return };
        let mut batch = TailBatch::new(gateway, tailed);
        batch.dropped += subscriber.dropped;
        subscriber.dropped = match subscriber.batches.try_send(batch) {
            Ok(()) => 0,
            Err(error) => {
                let batch = error.into_inner();
                batch.dropped + batch.frames.len() as u64
            }
        };
    }

    /// The link has closed, and all of them end.
    pub(super) fn close(&self) {
        self.0.lock().clear();
    }
}
