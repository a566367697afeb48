//! The membership: which peer is sent which list, and when. Decides and queues; never waits.

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

/// The announced gateways, and the subscribers to them.
///
/// Invariant: `is_stale` is true only while the list is not complete, or inside a method; otherwise
/// every subscriber has been sent a response to each request, and the latest list.
#[derive(Debug)]
pub(crate) struct Membership {
    addresses: Addresses,
    /// All subscribers, in order of arrival.
    subscribers: BTreeMap<PeerId, Subscriber>,
    /// The native workers among them.
    workers: Workers,
    is_stale: bool,
    /// The register is shutting down: nothing more is sent.
    closed: bool,
    /// The encoded list, until it changes: one-shot back ends request it often.
    line: Option<Bytes>,
    /// The same for native workers, with the additional fields.
    workers_line: Option<Bytes>,
    last_peer: PeerId,
    /// Which peer has announced which address.
    claims: Claims,
    /// Further state of these peers.
    claimants: HashMap<PeerId, Claimant>,
    metrics: Metrics,
}

/// A connection that has announced a gateway.
#[derive(Debug)]
struct Claimant {
    from: SocketAddr,
    /// Its announcement, while it is not listed yet.
    waiting: Option<Gateway>,
    /// Whether it has announced its shutdown.
    drained: bool,
    mailbox: Mailbox,
    status: ClaimStatus,
}

/// The state of a connection's claim to an address. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClaimStatus(Arc<watch::Sender<ClaimState>>);

#[derive(Debug, Default, PartialEq, Eq)]
enum ClaimState {
    #[default]
    Accepted,
    Waiting,
    Refused {
        address: String,
        holder: SocketAddr,
    },
}

impl ClaimStatus {
    fn set(&self, state: ClaimState) {
        self.0.send_replace(state);
    }

    /// Waits until the connection is refused. Returns the announced address, and the address that
    /// its holder connects from.
    pub(crate) async fn refused(&self) -> (String, SocketAddr) {
        let mut states = self.0.subscribe();
        loop {
            if let ClaimState::Refused { address, holder } = &*states.borrow_and_update() {
                return (address.clone(), *holder);
            }
            // Never fails: `self` holds the sender.
            if states.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits until the connection's announcement, if any, is listed.
    pub(crate) async fn accepted(&self) {
        let _ = self.0.subscribe().wait_for(|state| *state == ClaimState::Accepted).await;
    }
}

#[derive(Debug)]
struct Subscriber {
    mailbox: Mailbox,
    /// Number of requests without a response.
    pending_responses: usize,
    /// Whether the list has changed since it was last sent.
    stale: bool,
}

impl Membership {
    pub(crate) fn new(grace: bool, metrics: Metrics) -> Self {
        Self {
            addresses: Addresses::new(grace),
            subscribers: BTreeMap::new(),
            workers: Workers::default(),
            is_stale: false,
            closed: false,
            line: None,
            workers_line: None,
            last_peer: 0,
            claims: Claims::default(),
            claimants: HashMap::new(),
            metrics,
        }
    }

    /// Assigns an id to a new peer.
    pub(crate) const fn new_peer_id(&mut self) -> PeerId {
        self.last_peer += 1;
        self.last_peer
    }

    /// Announces a gateway to all subscribers, unless another live gateway holds its address.
    pub(crate) fn announce(
        &mut self,
        peer: PeerId,
        from: SocketAddr,
        gateway: Gateway,
        (mailbox, status): (&Mailbox, &ClaimStatus),
        now: Instant,
    ) {
        if self.claims.has(peer, &gateway) {
            return;
        }
        let admitted = self.claims.remove(peer);
        let decision = self.claims.announce(peer, from, &gateway, now);
        let address = &gateway.address;
        let mut waiting = None;
        match decision {
            Decision::Refuse { holder } => {
                status.set(ClaimState::Refused { address: gateway.address, holder });
            }
            Decision::Accept => {
                tracing::info!(address, %from, peer, "gateway announced");
                status.set(ClaimState::Accepted);
                self.addresses.announce(peer, gateway);
                self.changed();
            }
            Decision::Wait { holder } => {
                status.set(ClaimState::Waiting);
                if let Some(holder) = self.claimants.get(&holder) {
                    tracing::debug!(
                        address, %from, peer, holder = %holder.from,
                        "another gateway holds this address; probing it"
                    );
                    holder.mailbox.push_line(probe());
                }
                waiting = Some(gateway);
            }
        }
        if decision != Decision::Accept && self.addresses.withdraw(peer).is_some() {
            // Its previous address is no longer listed.
            self.changed();
        }
        let (mailbox, status) = (mailbox.clone(), status.clone());
        let claimant = Claimant { from, waiting, drained: false, mailbox, status };
        self.claimants.insert(peer, claimant);
        self.admit(admitted);
    }

    /// Records that a peer has sent a request of any kind. Other peers that announce the address it
    /// holds are refused.
    pub(crate) fn note_activity(&mut self, peer: PeerId) {
        for Refusal { peer, holder } in self.claims.note_activity(peer) {
            let Some(claimant) = self.claimants.remove(&peer) else { continue };
            let listed = self.addresses.withdraw(peer);
            let was_listed = listed.is_some();
            if let Some(Gateway { address, .. }) = claimant.waiting.or(listed) {
                claimant.status.set(ClaimState::Refused { address, holder });
            }
            if was_listed && !self.closed {
                self.changed();
            }
        }
    }

    /// Records that a gateway is draining.
    pub(crate) fn note_draining(&mut self, peer: PeerId) {
        if let Some(claimant) = self.claimants.get_mut(&peer) {
            claimant.drained = true;
        }
    }

    /// Admits gateways that have waited for long enough.
    pub(crate) fn admit_due(&mut self, now: Instant) {
        let due = self.claims.due(now);
        self.admit(due);
    }

    fn admit(&mut self, peers: Vec<PeerId>) {
        for peer in peers {
            let Some(claimant) = self.claimants.get_mut(&peer) else { continue };
            claimant.status.set(ClaimState::Accepted);
            let Some(gateway) = claimant.waiting.take() else { continue };
            let (address, from) = (&gateway.address, claimant.from);
            tracing::info!(address, %from, peer, "gateway announced");
            self.addresses.announce(peer, gateway);
            self.changed();
        }
    }

    /// Subscribes a worker to changes, and responds with the list. Only this worker is sent
    /// anything, unless its request contains new records for other workers.
    pub(crate) fn subscribe(
        &mut self,
        peer: PeerId,
        mailbox: &Mailbox,
        mut request: WorkerConnect,
    ) {
        if self.closed {
            return;
        }
        let fresh = || Subscriber { mailbox: mailbox.clone(), pending_responses: 0, stale: false };
        self.subscribers.entry(peer).or_insert_with(fresh).pending_responses += 1;
        self.metrics.workers.set(count(self.subscribers.len()));
        self.addresses.remember(std::mem::take(&mut request.known));
        let is_worker = request.instance.is_some();
        if self.workers.update(peer, request) {
            self.workers_changed();
        } else if self.is_stale {
            self.broadcast();
        } else if self.addresses.is_complete() {
            let line = if is_worker { self.workers_line() } else { self.line() };
            if let Some(subscriber) = self.subscribers.get_mut(&peer) {
                subscriber.send(&line);
            }
        } else {
            self.is_stale = true;
        }
    }

    /// Removes a disconnected peer. If it was a gateway, all subscribers are notified.
    pub(crate) fn remove_peer(&mut self, peer: PeerId) {
        if self.subscribers.remove(&peer).is_some() {
            self.metrics.workers.set(count(self.subscribers.len()));
        }
        if self.workers.remove(peer) && !self.closed {
            self.workers_changed();
        }
        let claimant = self.claimants.remove(&peer);
        let admitted = self.claims.remove(peer);
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
        self.admit(admitted);
    }

    /// Starts shutdown. Gateways whose connection the register closes are still alive, so
    /// subscribers not closed yet must not be notified of their removal.
    pub(crate) fn close(&mut self) {
        self.closed = true;
    }

    /// Ends the grace period: from now on the list counts as complete, empty or not.
    pub(crate) fn end_grace(&mut self) {
        self.addresses.end_grace();
        self.broadcast();
    }

    fn changed(&mut self) {
        (self.line, self.workers_line) = (None, None);
        self.metrics.gateways.set(count(self.addresses.announced().len()));
        self.subscribers.values_mut().for_each(|subscriber| subscriber.stale = true);
        self.is_stale = true;
        self.broadcast();
    }

    fn workers_changed(&mut self) {
        self.workers_line = None;
        for (peer, subscriber) in &mut self.subscribers {
            subscriber.stale |= self.workers.has(*peer);
        }
        self.is_stale = true;
        self.broadcast();
    }

    /// Sends pending responses and changes to all subscribers, if the list is complete.
    fn broadcast(&mut self) {
        if self.closed || !self.is_stale || !self.addresses.is_complete() {
            return;
        }
        let (line, workers_line) = (self.line(), self.workers_line());
        for (peer, subscriber) in &mut self.subscribers {
            subscriber.send(if self.workers.has(*peer) { &workers_line } else { &line });
        }
        self.metrics.broadcasts.inc();
        self.is_stale = false;
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

impl Subscriber {
    /// Sends one line per pending request. Without any, sends one line if the list has changed,
    /// replacing an unwritten one.
    fn send(&mut self, line: &Bytes) {
        for _ in 0..self.pending_responses {
            self.mailbox.push_response(line.clone());
        }
        if self.pending_responses == 0 && self.stale {
            self.mailbox.push_list(line.clone());
        }
        (self.pending_responses, self.stale) = (0, false);
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
