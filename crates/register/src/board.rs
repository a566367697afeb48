//! Who is told what, and when. Decides and queues; never waits.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::Arc,
    time::Instant,
};

use bytes::{Bytes, BytesMut};
use protocol::discovery::{FromRegister, Gateway, GatewayNotice, WorkerConnect};
use tokio::sync::watch;

use crate::{
    addresses::{Addresses, PeerId},
    claims::{Claims, Decision, Refusal},
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
    /// Who has announced which address.
    claims: Claims,
    /// What else is known of those who have.
    claimants: HashMap<PeerId, Claimant>,
    metrics: Metrics,
}

/// A connection that has announced a gateway.
#[derive(Debug)]
struct Claimant {
    from: SocketAddr,
    /// What it has announced, while workers are not told.
    waiting: Option<Gateway>,
    /// Whether it has said that it goes down.
    drained: bool,
    mailbox: Mailbox,
    verdict: Verdict,
}

/// Whether a connection may announce what it has announced. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict(Arc<watch::Sender<Stand>>);

#[derive(Debug, Default, PartialEq, Eq)]
enum Stand {
    #[default]
    Accepted,
    Waiting,
    Refused {
        address: String,
        holder: SocketAddr,
    },
}

impl Verdict {
    fn set(&self, stand: Stand) {
        self.0.send_replace(stand);
    }

    /// Waits until the connection is refused. Returns the address that it has announced, and where the
    /// gateway connects from that holds it.
    pub(crate) async fn refused(&self) -> (String, SocketAddr) {
        let mut stands = self.0.subscribe();
        loop {
            if let Stand::Refused { address, holder } = &*stands.borrow_and_update() {
                return (address.clone(), *holder);
            }
            // Never fails: `self` holds the sender.
            if stands.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits until what the connection has announced, if anything, is told to workers.
    pub(crate) async fn accepted(&self) {
        let _ = self.0.subscribe().wait_for(|stand| *stand == Stand::Accepted).await;
    }
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
            claims: Claims::default(),
            claimants: HashMap::new(),
            metrics,
        }
    }

    /// A name for a new peer.
    pub(crate) const fn name_peer(&mut self) -> PeerId {
        self.last_peer += 1;
        self.last_peer
    }

    /// A gateway is here; all workers hear of it, unless another that lives holds its address.
    pub(crate) fn announce(
        &mut self,
        peer: PeerId,
        from: SocketAddr,
        gateway: Gateway,
        (mailbox, verdict): (&Mailbox, &Verdict),
        now: Instant,
    ) {
        if self.claims.has(peer, &gateway) {
            return;
        }
        let let_in = self.claims.leave(peer);
        let decision = self.claims.announce(peer, from, &gateway, now);
        let address = &gateway.address;
        let mut waiting = None;
        match decision {
            Decision::Refuse { holder } => {
                verdict.set(Stand::Refused { address: gateway.address, holder });
            }
            Decision::Accept => {
                tracing::info!(address, %from, peer, "gateway here");
                verdict.set(Stand::Accepted);
                self.addresses.announce(peer, gateway);
                self.changed();
            }
            Decision::Wait { holder } => {
                verdict.set(Stand::Waiting);
                if let Some(holder) = self.claimants.get(&holder) {
                    tracing::debug!(
                        address, %from, peer, holder = %holder.from,
                        "another gateway holds this address; probing it"
                    );
                    holder.mailbox.say(probe());
                }
                waiting = Some(gateway);
            }
        }
        if decision != Decision::Accept && self.addresses.withdraw(peer).is_some() {
            // It has announced another address before.
            self.changed();
        }
        let (mailbox, verdict) = (mailbox.clone(), verdict.clone());
        let claimant = Claimant { from, waiting, drained: false, mailbox, verdict };
        self.claimants.insert(peer, claimant);
        self.admit(let_in);
    }

    /// A peer has said something, whatever it was. Others that announce the address it holds are refused.
    pub(crate) fn hear(&mut self, peer: PeerId) {
        for Refusal { peer, holder } in self.claims.hear(peer) {
            let Some(claimant) = self.claimants.remove(&peer) else { continue };
            let told = self.addresses.withdraw(peer);
            let is_told = told.is_some();
            if let Some(Gateway { address, .. }) = claimant.waiting.or(told) {
                claimant.verdict.set(Stand::Refused { address, holder });
            }
            if is_told && !self.closed {
                self.changed();
            }
        }
    }

    /// A gateway goes down in order.
    pub(crate) fn drains(&mut self, peer: PeerId) {
        if let Some(claimant) = self.claimants.get_mut(&peer) {
            claimant.drained = true;
        }
    }

    /// Lets those gateways in that have waited for long enough.
    pub(crate) fn let_in(&mut self, now: Instant) {
        let due = self.claims.due(now);
        self.admit(due);
    }

    fn admit(&mut self, peers: Vec<PeerId>) {
        for peer in peers {
            let Some(claimant) = self.claimants.get_mut(&peer) else { continue };
            claimant.verdict.set(Stand::Accepted);
            let Some(gateway) = claimant.waiting.take() else { continue };
            tracing::info!(address = gateway.address, from = %claimant.from, peer, "gateway here");
            self.addresses.announce(peer, gateway);
            self.changed();
        }
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
        let claimant = self.claimants.remove(&peer);
        let let_in = self.claims.leave(peer);
        if let Some(gateway) = self.addresses.withdraw(peer)
            && !self.closed
        {
            let address = gateway.address;
            match claimant {
                Some(Claimant { from, drained: true, .. }) => {
                    tracing::info!(address, %from, peer, "gateway left (drained)");
                }
                Some(Claimant { from, .. }) => {
                    tracing::warn!(address, %from, peer, "gateway lost");
                }
                None => tracing::warn!(address, peer, "gateway lost"),
            }
            self.changed();
        }
        self.admit(let_in);
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
    /// One line for each question; one line, in place of any that was not written yet, where there was
    /// none but something changed.
    fn tell(&mut self, line: &Bytes) {
        for _ in 0..self.owed {
            self.mailbox.answer(line.clone());
        }
        if self.owed == 0 && self.stale {
            self.mailbox.tell(line.clone());
        }
        (self.owed, self.stale) = (0, false);
    }
}

fn probe() -> Bytes {
    let mut line = BytesMut::new();
    GatewayNotice::Probe.encode(&mut line);
    line.freeze()
}

fn count(len: usize) -> i64 {
    i64::try_from(len).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
