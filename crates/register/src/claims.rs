//! Resolves conflicts between gateways that announce the same inner address: a value, without a
//! socket or a clock.
//!
//! A native gateway announces its instance id, which distinguishes two gateways with one address
//! from one gateway that reconnects. The second instance may be a restart of the first, whose old
//! connection is half-open, or another gateway with the same settings. The difference is whether
//! the first is still active: the register probes it, and it pings at least every 25 seconds in any
//! case.
//!
//! - The second waits. If the first sends a line, the second is refused; if the first's connection
//!   ends, the second is admitted.
//! - If both connect from one host, the second is admitted after [`SAME_HOST_DELAY`], since it is
//!   usually a restart of the first. It is still refused if the first sends a line after that.
//! - A first that is silent for [`PROBE_TIMEOUT`] loses its address to the second.
//!
//! A refused instance is refused immediately while the connection of the holder stays open.
//! Gateways without an instance id, such as PHP gateways, are all admitted, as in the reference.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use protocol::{InstanceId, discovery::Gateway};

use crate::addresses::PeerId;

/// How long the first gateway has to respond: longer than its ping interval.
pub(crate) const PROBE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a second gateway on the same host waits: enough for the response to a probe.
pub(crate) const SAME_HOST_DELAY: Duration = Duration::from_secs(1);

/// Maximum number of refused instances kept.
const MAX_REFUSED: usize = 256;

/// The announcements with an instance id.
///
/// Invariant: each claimed address has at least one held claim, and all its held claims are of one
/// instance.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    /// In order of arrival.
    claims: Vec<Claim>,
    /// The refused instances, each with the peer that held the address; oldest first.
    refused: Vec<(InstanceId, PeerId)>,
}

#[derive(Debug)]
struct Claim {
    peer: PeerId,
    from: SocketAddr,
    address: String,
    instance: InstanceId,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Held,
    /// Not listed yet.
    Waiting {
        since: Instant,
        same_host: bool,
    },
    /// Listed, until the previous holder sends a line.
    Provisional {
        since: Instant,
    },
}

/// The outcome of an announcement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Accept,
    /// It may be admitted later. The caller must probe the holder.
    Wait {
        holder: PeerId,
    },
    /// A live gateway, which connects from this address, is the holder.
    Refuse {
        holder: SocketAddr,
    },
}

/// A gateway that is refused after it waited or was admitted provisionally.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) peer: PeerId,
    /// The address that the holder connects from.
    pub(crate) holder: SocketAddr,
}

impl Claims {
    /// Whether a connected peer has already made this announcement.
    pub(crate) fn has(&self, peer: PeerId, gateway: &Gateway) -> bool {
        self.claims.iter().any(|claim| {
            claim.peer == peer
                && claim.address == gateway.address
                && Some(&claim.instance) == gateway.instance.as_ref()
        })
    }

    /// Adds the announcement of a peer without a claim.
    pub(crate) fn announce(
        &mut self,
        peer: PeerId,
        from: SocketAddr,
        gateway: &Gateway,
        now: Instant,
    ) -> Decision {
        debug_assert!(self.claims.iter().all(|claim| claim.peer != peer), "one claim per peer");
        let Some(instance) = &gateway.instance else {
            return Decision::Accept;
        };
        let holder = self.claims.iter().rfind(|claim| {
            claim.stage == Stage::Held
                && claim.address == gateway.address
                && claim.instance != *instance
        });
        let (stage, decision) = match holder {
            None => (Stage::Held, Decision::Accept),
            Some(holder) if self.refused.contains(&(instance.clone(), holder.peer)) => {
                return Decision::Refuse { holder: holder.from };
            }
            Some(holder) => {
                let same_host = holder.from.ip() == from.ip();
                let wait = Decision::Wait { holder: holder.peer };
                (Stage::Waiting { since: now, same_host }, wait)
            }
        };
        let (address, instance) = (gateway.address.clone(), instance.clone());
        self.claims.push(Claim { peer, from, address, instance, stage });
        decision
    }

    /// Records that a peer has sent a request. Returns the gateways that are refused because of it.
    pub(crate) fn note_activity(&mut self, peer: PeerId) -> Vec<Refusal> {
        let holder = self.claims.iter().find(|it| it.peer == peer && it.stage == Stage::Held);
        let Some(Claim { from, address, .. }) = holder else {
            return Vec::new();
        };
        let (holder, address) = (*from, address.clone());
        let contends = |claim: &mut Claim| claim.stage != Stage::Held && claim.address == address;
        let contenders: Vec<_> = self.claims.extract_if(.., contends).collect();
        for contender in &contenders {
            if self.refused.len() == MAX_REFUSED {
                self.refused.remove(0);
            }
            self.refused.push((contender.instance.clone(), peer));
        }
        contenders.iter().map(|contender| Refusal { peer: contender.peer, holder }).collect()
    }

    /// Removes a peer. Returns the gateways that are admitted because of it.
    pub(crate) fn remove(&mut self, peer: PeerId) -> Vec<PeerId> {
        self.refused.retain(|(_, holder)| *holder != peer);
        let Some(at) = self.claims.iter().position(|claim| claim.peer == peer) else {
            return Vec::new();
        };
        let address = self.claims.remove(at).address;
        let mut others = self.claims.iter().enumerate().filter(|(_, it)| it.address == address);
        if others.clone().any(|(_, it)| it.stage == Stage::Held) {
            return Vec::new();
        }
        // A listed claim takes precedence over a waiting one.
        let is_listed = |stage: Stage| matches!(stage, Stage::Provisional { .. });
        let next = others.clone().find(|(_, it)| is_listed(it.stage)).or_else(|| others.next());
        match next.map(|(at, _)| at) {
            Some(at) => self.hold(at),
            None => Vec::new(),
        }
    }

    /// Returns the gateways that have waited for long enough and are admitted.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<PeerId> {
        let mut admitted = Vec::new();
        for at in 0..self.claims.len() {
            match self.claims[at].stage {
                Stage::Waiting { since, .. } | Stage::Provisional { since }
                    if since + PROBE_TIMEOUT <= now =>
                {
                    let address = self.claims[at].address.clone();
                    for claim in self.claims.iter_mut().filter(|it| it.address == address) {
                        if claim.stage == Stage::Held {
                            claim.stage = Stage::Provisional { since: now };
                        }
                    }
                    admitted.extend(self.hold(at));
                }
                Stage::Waiting { since, same_host: true } if since + SAME_HOST_DELAY <= now => {
                    self.claims[at].stage = Stage::Provisional { since };
                    admitted.push(self.claims[at].peer);
                }
                Stage::Held | Stage::Waiting { .. } | Stage::Provisional { .. } => {}
            }
        }
        admitted
    }

    /// Marks the claim at this index as held, with all others of the same instance. Returns the
    /// peers of those that waited.
    fn hold(&mut self, at: usize) -> Vec<PeerId> {
        let (address, instance) =
            (self.claims[at].address.clone(), self.claims[at].instance.clone());
        let same =
            self.claims.iter_mut().filter(|it| it.address == address && it.instance == instance);
        same.filter_map(|claim| {
            let waited = matches!(claim.stage, Stage::Waiting { .. });
            claim.stage = Stage::Held;
            waited.then_some(claim.peer)
        })
        .collect()
    }
}

#[cfg(test)]
mod tests;
