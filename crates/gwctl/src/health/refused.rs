//! Judges the peers that registers refuse.

use std::time::Duration;

use push_suite_cluster::{RefusedKind, RefusedPeer, RegisterRefusals};
use serde::Serialize;

use super::{Finding, Severity, Topic};
use crate::{names::plain, output::age};

/// For how long after its last refusal a peer counts as refused, in milliseconds: gateways and
/// workers try again every few seconds.
const RECENT: u64 = 30_000;

/// A peer that a register refuses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Refused {
    pub(crate) register: String,
    #[serde(flatten)]
    pub(crate) peer: RefusedPeer,
}

/// The peers that registers have refused lately.
pub(crate) fn refused(refusals: &[RegisterRefusals]) -> Vec<Refused> {
    let of = |report: &RegisterRefusals| {
        let register = report.register.clone();
        let peers = report.peers.clone().unwrap_or_default();
        let recent = peers.into_iter().filter(|peer| peer.ago <= RECENT);
        recent.map(|peer| Refused { register: register.clone(), peer }).collect::<Vec<_>>()
    };
    refusals.iter().flat_map(of).collect()
}

impl Refused {
    /// Its kind and address, by its own statement, and its host.
    pub(crate) fn name(&self) -> String {
        let from = self.peer.from;
        match (self.peer.kind, self.peer.address.as_deref().map(plain)) {
            (RefusedKind::Gateway, Some(address)) => format!("gateway {address} (from {from})"),
            (RefusedKind::Gateway, None) => format!("a gateway on {from}"),
            (RefusedKind::Worker, _) => format!("a worker on {from}"),
            (RefusedKind::Other, _) => format!("a peer on {from}"),
        }
    }

    /// Why, in words.
    pub(crate) fn why(&self) -> String {
        match self.peer.reason.as_str() {
            "wrong_key" => "it has another secret".to_owned(),
            "plain" => "it does not use TLS".to_owned(),
            "tls" => "its TLS handshake fails".to_owned(),
            "address_taken" => "another gateway has that inner address".to_owned(),
            other => plain(other),
        }
    }

    fn finding(&self) -> Finding {
        let (name, why) = (self.name(), self.why());
        let last = age(Duration::from_millis(self.peer.ago));
        let times = match self.peer.times {
            1 => format!("once, {last} ago"),
            times => format!("{times} times, the last {last} ago"),
        };
        Finding {
            // No worker serves the clients of such a gateway.
            severity: match self.peer.kind {
                RefusedKind::Gateway => Severity::Critical,
                RefusedKind::Worker | RefusedKind::Other => Severity::Warning,
            },
            topic: Topic::Connection,
            problem: format!("register {} refuses {name}: {why} ({times})", self.register),
            next: self.next(),
        }
    }

    fn next(&self) -> String {
        let unit = match self.peer.kind {
            RefusedKind::Gateway => "its gateway",
            RefusedKind::Worker => "its workers",
            RefusedKind::Other => "the process",
        };
        match self.peer.reason.as_str() {
            "wrong_key" => format!(
                "make GW_SECRET_KEY in /etc/push-suite/secret.env of {} that of the cluster, and \
                 restart {unit}; `gwctl registers` shows what is refused",
                self.peer.from
            ),
            "address_taken" => {
                "give it an inner address of its own (--lan-ip, --lan-port), and restart it"
                    .to_owned()
            }
            _ => "compare --inner-tls-cert and --inner-tls-ca of its host with those of the \
                  cluster; docs/running.md describes TLS between processes"
                .to_owned(),
        }
    }
}

/// Finds the peers that take no part in the cluster. Each counts once, whichever registers refuse
/// it.
pub(crate) fn judge(refused: impl Iterator<Item = Refused>) -> Vec<Finding> {
    let mut once: Vec<Refused> = Vec::new();
    for it in refused {
        if !once.iter().any(|before| before.peer.is_same(&it.peer)) {
            once.push(it);
        }
    }
    once.iter().map(Refused::finding).collect()
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn peer(kind: RefusedKind, reason: &str, ago: u64) -> RefusedPeer {
        let (from, reason) = (IpAddr::from([10, 0, 0, 2]), reason.to_owned());
        let address = (kind == RefusedKind::Gateway).then(|| "10.0.0.2:2900".to_owned());
        RefusedPeer { from, kind, address, reason, times: 3, ago }
    }

    fn found(peers: &[RefusedPeer]) -> Vec<(Severity, String)> {
        let register = |register: &str, peer: &RefusedPeer| Refused {
            register: register.to_owned(),
            peer: peer.clone(),
        };
        let refused: Vec<_> =
            peers.iter().flat_map(|it| [register("r:1", it), register("r:2", it)]).collect();
        let findings = judge(refused.into_iter());
        findings.into_iter().map(|it| (it.severity, it.problem)).collect()
    }

    #[test]
    fn gateway_with_another_secret_is_critical_and_named_once() {
        let peers = [
            peer(RefusedKind::Gateway, "wrong_key", 400),
            peer(RefusedKind::Worker, "tls", 2_000),
            peer(RefusedKind::Other, "new\u{1b}[2J", 0),
        ];
        let expected = [
            (
                Severity::Critical,
                "register r:1 refuses gateway 10.0.0.2:2900 (from 10.0.0.2): it has another \
                 secret (3 times, the last 400ms ago)",
            ),
            (
                Severity::Warning,
                "register r:1 refuses a worker on 10.0.0.2: its TLS handshake fails (3 times, \
                 the last 2.0s ago)",
            ),
        ];
        let found = found(&peers);
        for ((severity, problem), expected) in found.iter().zip(expected) {
            assert_eq!((*severity, problem.as_str()), expected);
        }
        assert!(found[2].1.contains("a peer on 10.0.0.2: new\\u{1b}[2J"), "{found:?}");
        assert_eq!(found.len(), 3);
    }
}
