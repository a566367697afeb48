//! Who is told what, and when. Decides and queues; never waits.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use protocol::discovery::{FromRegister, Gateway, WorkerConnect};

use crate::{
    addresses::{Addresses, PeerId},
    metrics::Metrics,
    outbox::Mailbox,
    presence::Workers,
};

/// The gateways that are here, and the workers that want to hear of them.
///
/// Invariant: `behind` is true only while the addresses may not be told, or inside a method;
/// otherwise every worker has been sent an answer for each question and the latest list.
#[derive(Debug)]
pub(crate) struct Board {
    addresses: Addresses,
    /// Everybody who asked, in the order in which they came.
    askers: BTreeMap<PeerId, Asker>,
    /// Those of them that are workers of ours.
    workers: Workers,
    behind: bool,
    /// Nobody is told anything any more.
    closed: bool,
    /// The list as a line, until it changes: one-shot clients ask often.
    line: Option<Bytes>,
    /// The same for workers of ours, who are told more.
    workers_line: Option<Bytes>,
    last_peer: PeerId,
    metrics: Metrics,
}

#[derive(Debug)]
struct Asker {
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
            askers: BTreeMap::new(),
            workers: Workers::default(),
            behind: false,
            closed: false,
            line: None,
            workers_line: None,
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

    /// A worker asks. It alone is answered, unless it brings news for other workers; from now on it
    /// hears of changes.
    pub(crate) fn ask(&mut self, peer: PeerId, mailbox: &Mailbox, mut asks: WorkerConnect) {
        if self.closed {
            return;
        }
        let fresh = || Asker { mailbox: mailbox.clone(), owed: 0, stale: false };
        self.askers.entry(peer).or_insert_with(fresh).owed += 1;
        self.metrics.workers.set(count(self.askers.len()));
        self.addresses.remember(std::mem::take(&mut asks.known));
        let is_worker = asks.instance.is_some();
        if self.workers.enter(peer, asks) {
            self.workers_changed();
        } else if self.behind {
            self.catch_up();
        } else if self.addresses.settled() {
            let line = if is_worker { self.workers_line() } else { self.line() };
            if let Some(asker) = self.askers.get_mut(&peer) {
                asker.tell(&line);
            }
        } else {
            self.behind = true;
        }
    }

    /// A peer is gone, whatever it was. If it was a gateway, all workers hear of it.
    pub(crate) fn leave(&mut self, peer: PeerId) {
        if self.askers.remove(&peer).is_some() {
            self.metrics.workers.set(count(self.askers.len()));
        }
        if self.workers.leave(peer) && !self.closed {
            self.workers_changed();
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
        (self.line, self.workers_line) = (None, None);
        self.metrics.gateways.set(count(self.addresses.list().len()));
        self.askers.values_mut().for_each(|asker| asker.stale = true);
        self.behind = true;
        self.catch_up();
    }

    fn workers_changed(&mut self) {
        self.workers_line = None;
        for (peer, asker) in &mut self.askers {
            asker.stale |= self.workers.has(*peer);
        }
        self.behind = true;
        self.catch_up();
    }

    /// Tells everybody what they have not heard, if it may be told.
    fn catch_up(&mut self) {
        if self.closed || !self.behind || !self.addresses.settled() {
            return;
        }
        let (line, workers_line) = (self.line(), self.workers_line());
        for (peer, asker) in &mut self.askers {
            asker.tell(if self.workers.has(*peer) { &workers_line } else { &line });
        }
        self.metrics.broadcasts.inc();
        self.behind = false;
    }

    fn line(&mut self) -> Bytes {
        let encode = || {
            let mut line = BytesMut::new();
            let gateways = self.addresses.list();
            FromRegister::BroadcastAddresses { gateways, presence: None }.encode(&mut line);
            line.freeze()
        };
        self.line.get_or_insert_with(encode).clone()
    }

    fn workers_line(&mut self) -> Bytes {
        let encode = || {
            let mut line = BytesMut::new();
            let (gateways, presence) = (self.addresses.list(), Some(self.workers.presence()));
            FromRegister::BroadcastAddresses { gateways, presence }.encode(&mut line);
            line.freeze()
        };
        self.workers_line.get_or_insert_with(encode).clone()
    }
}

impl Asker {
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
