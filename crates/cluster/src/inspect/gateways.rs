//! The reports of gateways, and the workers that follow from them.

use std::net::SocketAddr;

use protocol::{
    InstanceId,
    inspect::{GatewayStatus, PeerStatus},
};

use crate::Error;

/// A known gateway, and its status.
#[derive(Debug)]
#[non_exhaustive]
pub struct GatewayReport {
    /// The inner address that it announces.
    pub address: String,
    /// Its status, or why there is none.
    pub status: Result<GatewayStatus, Error>,
}

impl GatewayReport {
    pub(crate) const fn new(address: String, status: Result<GatewayStatus, Error>) -> Self {
        Self { address, status }
    }
}

/// A worker, and its links as gateways report them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerReport {
    /// Its key, `ip:name:id`. Seen from several gateways, `ip` may differ: each has its own.
    pub key: String,
    /// Its instance; `None` for a PHP worker.
    pub instance: Option<InstanceId>,
    /// The inner address of each gateway that it is linked to, with the status of the link.
    pub links: Vec<(SocketAddr, PeerStatus)>,
    /// Gateways that have answered and that it is not linked to.
    pub missing: Vec<SocketAddr>,
}

impl WorkerReport {
    /// Clients that are assigned to it, over all gateways.
    pub fn clients(&self) -> u64 {
        self.links.iter().map(|(_, link)| link.clients).sum()
    }

    /// Events that it has not acknowledged, over all gateways, and their bytes.
    pub fn in_flight(&self) -> (u64, u64) {
        let sum = |of: fn(&PeerStatus) -> u64| self.links.iter().map(|(_, link)| of(link)).sum();
        (sum(|link| link.in_flight), sum(|link| link.in_flight_bytes))
    }

    /// Milliseconds for which it has acknowledged no event of a gateway although there are some:
    /// the longest of all gateways. It grows while the worker stands still.
    pub fn stalled(&self) -> Option<u64> {
        self.links.iter().filter_map(|(_, link)| link.stalled).max()
    }

    /// Whether it is the same worker process as another one of that key and instance: the
    /// instance identifies a worker of the native protocol, the key one of PHP.
    fn is(&self, key: &str, instance: Option<&InstanceId>) -> bool {
        match (&self.instance, instance) {
            (Some(known), Some(instance)) => known == instance,
            (None, None) => self.key == key,
            _ => false,
        }
    }
}

/// The workers that these gateways report, ordered by key.
pub fn workers(gateways: &[GatewayReport]) -> Vec<WorkerReport> {
    let answered = || gateways.iter().filter_map(|gateway| gateway.status.as_ref().ok());
    let mut workers: Vec<WorkerReport> = Vec::new();
    for status in answered() {
        for peer in status.workers() {
            let (key, instance) = (peer.worker.clone().unwrap_or_default(), peer.instance.as_ref());
            let link = (status.address, peer.clone());
            match workers.iter_mut().find(|known| known.is(&key, instance)) {
                Some(known) => known.links.push(link),
                None => workers.push(WorkerReport {
                    key,
                    instance: instance.cloned(),
                    links: vec![link],
                    missing: Vec::new(),
                }),
            }
        }
    }
    for worker in &mut workers {
        let linked = |gateway| worker.links.iter().any(|(at, _)| *at == gateway);
        let missing = answered().map(|status| status.address).filter(|at| !linked(*at));
        worker.missing = missing.collect();
    }
    workers.sort_by(|one, other| (&one.key, &one.instance).cmp(&(&other.key, &other.instance)));
    workers
}
