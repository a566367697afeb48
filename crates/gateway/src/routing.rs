//! Routing of clients to workers.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    net::IpAddr,
};

use serde::{Deserialize, Serialize};

/// How a worker is chosen for a client without one; the client stays with it while that worker is
/// linked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Router {
    /// The worker with the fewest clients of this gateway, the first of several.
    #[default]
    LeastConnections,
    /// Any.
    Random,
    /// One after the other.
    RoundRobin,
    /// The same for every client of one address, as long as the workers stay the same.
    HashIp,
}

/// Chooses a worker. `clients` has the number of clients of each worker, in order of arrival,
/// `random` is any random number, and `turn` counts the choices. `None` if there is no worker.
pub(crate) fn choose(
    router: Router,
    clients: impl ExactSizeIterator<Item = usize>,
    client: IpAddr,
    random: usize,
    turn: usize,
) -> Option<usize> {
    let workers = clients.len();
    match router {
        Router::LeastConnections => {
            clients.enumerate().min_by_key(|(_, clients)| *clients).map(|(at, _)| at)
        }
        Router::Random => random.checked_rem(workers),
        Router::RoundRobin => turn.checked_rem(workers),
        Router::HashIp => hash(client).checked_rem(workers),
    }
}

/// Identical in every gateway and after a restart, unlike a map's hash.
fn hash(ip: IpAddr) -> usize {
    let mut hasher = DefaultHasher::new();
    ip.hash(&mut hasher);
    hasher.finish() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(router: Router, clients: &[usize], random: usize, turn: usize) -> Option<usize> {
        choose(router, clients.iter().copied(), "10.0.0.1".parse().unwrap(), random, turn)
    }

    #[test]
    fn the_first_with_the_fewest_clients() {
        assert_eq!(chosen(Router::LeastConnections, &[3, 1, 1], 0, 0), Some(1));
    }

    #[test]
    fn each_router_stays_within_the_workers() {
        for router in [Router::LeastConnections, Router::Random, Router::RoundRobin, Router::HashIp]
        {
            assert_eq!(chosen(router, &[], 5, 5), None);
            for turn in 0..10 {
                assert!(chosen(router, &[1, 2, 3], turn * 7, turn).unwrap() < 3);
            }
        }
        assert_eq!(chosen(Router::RoundRobin, &[0, 0], 0, 3), Some(1));
    }

    #[test]
    fn addresses_spread_over_the_workers() {
        let mut hits = [0; 4];
        for last in 0..=255u8 {
            let ip = IpAddr::from([10, 0, 0, last]);
            hits[choose(Router::HashIp, [0; 4].into_iter(), ip, 0, 0).unwrap()] += 1;
        }
        assert!(hits.iter().all(|hits| 20 < *hits), "{hits:?}");
    }
}
