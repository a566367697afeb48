//! The peers that were refused lately, for operators. A value.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use protocol::discovery::{MAX_REFUSED_PEERS, RefusedKind, RefusedPeer, RefusedPeers};

use crate::closed::{Reason, Refused};

/// How long a peer that is not refused again is kept.
const KEPT: Duration = Duration::from_secs(600);

/// The peers that were refused lately: each once, however often it tries again.
///
/// Invariant: at most [`MAX_REFUSED_PEERS`], in the order of their last refusals.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    peers: Vec<Refusal>,
}

#[derive(Debug)]
struct Refusal {
    peer: Applicant,
    reason: &'static str,
    times: u64,
    last: Instant,
}

/// An unauthenticated peer, by its own statement, and the host that it connects from.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Applicant {
    from: IpAddr,
    kind: RefusedKind,
    address: Option<String>,
}

impl Refusals {
    /// Records a refusal that takes an operator to mend: a wrong secret, TLS on one side only, an
    /// inner address that is taken.
    pub(crate) fn record(&mut self, from: IpAddr, refused: &Refused, now: Instant) {
        let (kind, address) = match refused {
            Refused::WrongKey { kind, address } => (*kind, address.clone()),
            Refused::AddressTaken { address, .. } => (RefusedKind::Gateway, Some(address.clone())),
            Refused::Gate(_) => (RefusedKind::Other, None),
            _ => return,
        };
        let reason = Reason::from(refused).name();
        let peer = Applicant { from, kind, address };
        let known = self.peers.iter().position(|it| it.peer == peer && it.reason == reason);
        let times = known.map_or(0, |at| self.peers.remove(at).times);
        if self.peers.len() == MAX_REFUSED_PEERS {
            self.peers.remove(0);
        }
        self.peers.push(Refusal { peer, reason, times: times.saturating_add(1), last: now });
    }

    /// A gateway of this host has presented the secret: that it was refused before is mended.
    pub(crate) fn forget(&mut self, from: IpAddr, address: &str) {
        let is_mended = |Refusal { peer, reason, .. }: &Refusal| {
            peer.from == from && peer.address.as_deref() == Some(address) && *reason == "wrong_key"
        };
        self.peers.retain(|refusal| !is_mended(refusal));
    }

    /// The refused peers, the last one first.
    pub(crate) fn report(&self, now: Instant) -> RefusedPeers {
        let ago = |refusal: &Refusal| now.saturating_duration_since(refusal.last);
        let kept = self.peers.iter().rev().filter(|refusal| ago(refusal) < KEPT);
        let peer = |refusal: &Refusal| {
            let Applicant { from, kind, address } = refusal.peer.clone();
            let (reason, times) = (refusal.reason.to_owned(), refusal.times);
            let ago = u64::try_from(ago(refusal).as_millis()).unwrap_or(u64::MAX);
            RefusedPeer { from, kind, address, reason, times, ago }
        };
        RefusedPeers(kept.map(peer).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    fn gateway(address: &str) -> Refused {
        Refused::WrongKey { kind: RefusedKind::Gateway, address: Some(address.to_owned()) }
    }

    #[test]
    fn peer_that_tries_again_is_reported_once_with_its_last_time() {
        let (start, mut refusals) = (Instant::now(), Refusals::default());
        let at = |seconds| start + Duration::from_secs(seconds);
        refusals.record(HOST, &gateway("10.0.0.2:2900"), at(0));
        refusals.record(HOST, &gateway("10.0.0.2:2901"), at(1));
        refusals.record(HOST, &gateway("10.0.0.2:2900"), at(2));
        refusals.record(HOST, &Refused::Timeout, at(2));
        let shown: Vec<_> = refusals
            .report(at(3))
            .0
            .into_iter()
            .map(|it| (it.address.unwrap_or_default(), it.times, it.ago))
            .collect();
        let expected =
            [("10.0.0.2:2900".to_owned(), 2, 1000), ("10.0.0.2:2901".to_owned(), 1, 2000)];
        assert_eq!(shown, expected);
        assert_eq!(refusals.report(at(2) + KEPT).0, [], "that is long ago");
    }

    #[test]
    fn gateway_that_is_accepted_is_mended_and_others_are_not() {
        let (now, mut refusals) = (Instant::now(), Refusals::default());
        refusals.record(HOST, &gateway("10.0.0.2:2900"), now);
        let worker = Refused::WrongKey { kind: RefusedKind::Worker, address: None };
        refusals.record(HOST, &worker, now);
        refusals.forget(IpAddr::from([10, 0, 0, 3]), "10.0.0.2:2900");
        refusals.forget(HOST, "10.0.0.2:2901");
        assert_eq!(refusals.report(now).0.len(), 2);
        let holder = std::net::SocketAddr::from(([10, 0, 0, 3], 1));
        let taken = Refused::AddressTaken { address: "10.0.0.2:2900".to_owned(), holder };
        refusals.record(HOST, &taken, now);
        refusals.forget(HOST, "10.0.0.2:2900");
        let kinds: Vec<_> = refusals.report(now).0.iter().map(|it| it.kind).collect();
        assert_eq!(kinds, [RefusedKind::Gateway, RefusedKind::Worker], "its address is taken");
    }

    #[test]
    fn refused_peers_are_bounded_and_the_last_ones_are_kept() {
        let (now, mut refusals) = (Instant::now(), Refusals::default());
        for port in 1..=200 {
            refusals.record(HOST, &gateway(&format!("10.0.0.2:{port}")), now);
        }
        let shown = refusals.report(now).0;
        assert_eq!(shown.len(), MAX_REFUSED_PEERS);
        assert_eq!(shown[0].address.as_deref(), Some("10.0.0.2:200"));
    }
}
