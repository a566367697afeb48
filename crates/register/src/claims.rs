//! Which gateway may announce an inner address, where two do: a value, without a socket or a clock.
//!
//! A gateway of ours names the instance that announces, so that two gateways with one address can be told
//! from one gateway that reconnects. The second may be the first after a restart, whose old connection is
//! half dead, or another gateway with the same settings. The difference is whether the first still speaks:
//! it is probed, and pings at least every 25 seconds in any case.
//!
//! - The second waits. If the first speaks, the second is refused; if its connection ends, the second is
//!   let in.
//! - Where both connect from one host, the second is let in after [`SAME_HOST`], since it then usually is
//!   the first after a restart. It is still refused if the first speaks after that.
//! - A first that is silent for [`PROBE`] has lost its address to the second.
//!
//! A refused instance is refused at once for as long as the connection lives that it was refused for.
//! Gateways without an instance, such as those of PHP, are all let in, as in the reference.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use protocol::{Instance, discovery::Gateway};

use crate::addresses::PeerId;

/// How long the first gateway has to speak: longer than the interval of its pings.
pub(crate) const PROBE: Duration = Duration::from_secs(30);

/// How long a second gateway of the same host waits, which is for the answer to a probe.
pub(crate) const SAME_HOST: Duration = Duration::from_secs(1);

/// How many refused instances are remembered.
const REMEMBERED: usize = 256;

/// The announcements that name an instance.
///
/// Invariant: of the claims of one address, those that are held are of one instance, and there is at
/// least one.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    /// In the order in which they came.
    claims: Vec<Claim>,
    /// The instances that were refused, and the peer they were refused for; oldest first.
    refused: Vec<(Instance, PeerId)>,
}

#[derive(Debug)]
struct Claim {
    peer: PeerId,
    from: SocketAddr,
    address: String,
    instance: Instance,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Held,
    /// Not told to workers yet.
    Waiting {
        since: Instant,
        same_host: bool,
    },
    /// Told to workers, unless the holder speaks.
    OnProbation {
        since: Instant,
    },
}

/// What becomes of an announcement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Accept,
    /// It may be let in later. The holder is to be probed.
    Wait {
        holder: PeerId,
    },
    /// The gateway that connects from there holds the address, and lives.
    Refuse {
        holder: SocketAddr,
    },
}

/// A gateway that is refused after it had to wait, or was let in on probation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) peer: PeerId,
    /// Where the holder of the address connects from.
    pub(crate) holder: SocketAddr,
}

impl Claims {
    /// Whether a peer has announced just that before, and not left since.
    pub(crate) fn has(&self, peer: PeerId, gateway: &Gateway) -> bool {
        self.claims.iter().any(|claim| {
            claim.peer == peer
                && claim.address == gateway.address
                && Some(&claim.instance) == gateway.instance.as_ref()
        })
    }

    /// A peer that has no claim announces a gateway.
    pub(crate) fn announce(
        &mut self,
        peer: PeerId,
        from: SocketAddr,
        gateway: &Gateway,
        now: Instant,
    ) -> Decision {
        debug_assert!(self.claims.iter().all(|claim| claim.peer != peer), "one claim a peer");
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

    /// A peer has said something. Returns the gateways that are refused for it.
    pub(crate) fn hear(&mut self, peer: PeerId) -> Vec<Refusal> {
        let holder = self.claims.iter().find(|it| it.peer == peer && it.stage == Stage::Held);
        let Some(Claim { from, address, .. }) = holder else {
            return Vec::new();
        };
        let (holder, address) = (*from, address.clone());
        let contends = |claim: &mut Claim| claim.stage != Stage::Held && claim.address == address;
        let contenders: Vec<_> = self.claims.extract_if(.., contends).collect();
        for contender in &contenders {
            if self.refused.len() == REMEMBERED {
                self.refused.remove(0);
            }
            self.refused.push((contender.instance.clone(), peer));
        }
        contenders.iter().map(|contender| Refusal { peer: contender.peer, holder }).collect()
    }

    /// A peer is gone. Returns the gateways that are let in for it.
    pub(crate) fn leave(&mut self, peer: PeerId) -> Vec<PeerId> {
        self.refused.retain(|(_, holder)| *holder != peer);
        let Some(at) = self.claims.iter().position(|claim| claim.peer == peer) else {
            return Vec::new();
        };
        let address = self.claims.remove(at).address;
        let mut others = self.claims.iter().enumerate().filter(|(_, it)| it.address == address);
        if others.clone().any(|(_, it)| it.stage == Stage::Held) {
            return Vec::new();
        }
        // One that workers have been told of goes before one that waits.
        let is_told = |stage: Stage| matches!(stage, Stage::OnProbation { .. });
        let next = others.clone().find(|(_, it)| is_told(it.stage)).or_else(|| others.next());
        match next.map(|(at, _)| at) {
            Some(at) => self.hold(at),
            None => Vec::new(),
        }
    }

    /// Returns the gateways that have waited for long enough, and are let in.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<PeerId> {
        let mut let_in = Vec::new();
        for at in 0..self.claims.len() {
            match self.claims[at].stage {
                Stage::Waiting { since, .. } | Stage::OnProbation { since }
                    if since + PROBE <= now =>
                {
                    let address = self.claims[at].address.clone();
                    for claim in self.claims.iter_mut().filter(|it| it.address == address) {
                        if claim.stage == Stage::Held {
                            claim.stage = Stage::OnProbation { since: now };
                        }
                    }
                    let_in.extend(self.hold(at));
                }
                Stage::Waiting { since, same_host: true } if since + SAME_HOST <= now => {
                    self.claims[at].stage = Stage::OnProbation { since };
                    let_in.push(self.claims[at].peer);
                }
                Stage::Held | Stage::Waiting { .. } | Stage::OnProbation { .. } => {}
            }
        }
        let_in
    }

    /// The claim at that place holds the address, and with it all of the same instance. Returns the peers
    /// of those that had to wait.
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
