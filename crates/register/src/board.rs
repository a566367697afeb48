//! Who is told what, and when. Decides and queues; never waits.

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};
use protocol::discovery::{FromRegister, Gateway};

use crate::{
    addresses::{Addresses, PeerId},
    metrics::Metrics,
    outbox::Mailbox,
};

/// The gateways that are here, and the workers that want to hear of them.
///
/// Invariant: `behind` is true only while the addresses may not be told, or inside a method;
/// otherwise every worker has been sent an answer for each question and the latest list.
#[derive(Debug)]
pub(crate) struct Board {
    addresses: Addresses,
    workers: HashMap<PeerId, Worker>,
    behind: bool,
    /// Nobody is told anything any more.
    closed: bool,
    /// The list as a line, until it changes: one-shot clients ask often.
    line: Option<Bytes>,
    last_peer: PeerId,
    metrics: Metrics,
}

#[derive(Debug)]
struct Worker {
    mailbox: Mailbox,
    /// Questions not answered yet.
    owed: usize,
    /// Whether the list has changed since it was last told.
    stale: bool,
}

impl Board {
    pub(crate) fn new(grace: bool, metrics: Metrics) -> Self {
        Self {
            addresses: Addresses::new(grace),
            workers: HashMap::new(),
            behind: false,
            closed: false,
            line: None,
            last_peer: 0,
            metrics,
        }
    }

    /// A name for a new peer.
    pub(crate) const fn name_peer(&mut self) -> PeerId {
        self.last_peer += 1;
        self.last_peer
    }

    /// A gateway is here; all workers hear of it.
    pub(crate) fn announce(&mut self, peer: PeerId, gateway: Gateway) {
        self.addresses.announce(peer, gateway);
        self.changed();
    }

    /// A worker asks. It alone is answered; from now on it hears of changes. `known` is what it
    /// was last told.
    pub(crate) fn ask(&mut self, peer: PeerId, mailbox: &Mailbox, known: Vec<String>) {
        if self.closed {
            return;
        }
        let fresh = || Worker { mailbox: mailbox.clone(), owed: 0, stale: false };
        self.workers.entry(peer).or_insert_with(fresh).owed += 1;
        self.metrics.workers.set(count(self.workers.len()));
        self.addresses.remember(known);
        if self.behind {
            self.catch_up();
        } else if self.addresses.settled() {
            let line = self.line();
            if let Some(worker) = self.workers.get_mut(&peer) {
                worker.tell(&line);
            }
        } else {
            self.behind = true;
        }
    }

    /// A peer is gone, whatever it was. If it was a gateway, all workers hear of it.
    pub(crate) fn leave(&mut self, peer: PeerId) {
        if self.workers.remove(&peer).is_some() {
            self.metrics.workers.set(count(self.workers.len()));
        }
        if let Some(gateway) = self.addresses.withdraw(peer)
            && !self.closed
        {
            tracing::info!(address = gateway.address, peer, "gateway gone");
            self.changed();
        }
    }

    /// The register is going down. Gateways that we close are not gone, and workers that have not
    /// been closed yet must not hear that they are.
    pub(crate) fn close(&mut self) {
        self.closed = true;
    }

    /// From here on the list is the truth, empty or not.
    pub(crate) fn end_grace(&mut self) {
        self.addresses.end_grace();
        self.catch_up();
    }

    fn changed(&mut self) {
        self.line = None;
        self.metrics.gateways.set(count(self.addresses.list().len()));
        self.workers.values_mut().for_each(|worker| worker.stale = true);
        self.behind = true;
        self.catch_up();
    }

    /// Tells everybody what they have not heard, if it may be told.
    fn catch_up(&mut self) {
        if self.closed || !self.behind || !self.addresses.settled() {
            return;
        }
        let line = self.line();
        self.workers.values_mut().for_each(|worker| worker.tell(&line));
        self.metrics.broadcasts.inc();
        self.behind = false;
    }

    fn line(&mut self) -> Bytes {
        let encode = || {
            let mut line = BytesMut::new();
            FromRegister::BroadcastAddresses(self.addresses.list()).encode(&mut line);
            line.freeze()
        };
        self.line.get_or_insert_with(encode).clone()
    }
}

impl Worker {
    /// One line for each question; one line where there was none but something changed.
    fn tell(&mut self, line: &Bytes) {
        let times = self.owed.max(usize::from(self.stale));
        for _ in 0..times {
            self.mailbox.push(line.clone());
        }
        (self.owed, self.stale) = (0, false);
    }
}

fn count(len: usize) -> i64 {
    i64::try_from(len).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
