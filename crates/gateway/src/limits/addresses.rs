//! The connections and handshake rates of addresses, over all threads of a gateway.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
    time::{Duration, Instant},
};

use runtime::sync::Mutex;

use super::{AddressLimits, network::Network, recent_buckets::RecentBuckets};

/// Number of parts of the table, each with a lock of its own, held for one step.
const PARTS: usize = 16;

/// Maximum number of addresses in a generation of one part: some 130,000 in all, of which each
/// takes some 50 bytes. Addresses with open connections are counted besides.
const RECENT: usize = 4096;

/// A limit of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum AddressLimit {
    /// `--max-connections-per-address`.
    Connections,
    /// `--max-handshakes-per-second-per-address`.
    Handshakes,
}

/// A limit that is exceeded, and the time after which the client may try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Excess {
    pub(crate) limit: AddressLimit,
    /// `None` if it depends on other connections.
    pub(crate) retry_after: Option<Duration>,
}

impl AddressLimit {
    /// The name in metrics and logs.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections_per_address",
            Self::Handshakes => "handshakes_per_address",
        }
    }

    /// The limit of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Connections, Self::Handshakes].into_iter().find(|limit| limit.name() == name)
    }
}

/// The addresses with open connections, and those that have connected recently.
#[derive(Debug)]
pub(crate) struct Addresses {
    parts: [Mutex<Part>; PARTS],
}

#[derive(Debug)]
struct Part {
    /// Open connections of each address; never 0.
    open: HashMap<Network, usize>,
    recent: RecentBuckets,
}

impl Default for Addresses {
    fn default() -> Self {
        let part = || Part { open: HashMap::new(), recent: RecentBuckets::new(RECENT) };
        Self { parts: std::array::from_fn(|_| Mutex::new(part())) }
    }
}

impl Addresses {
    /// Counts a new connection of an address. Each has to be [released](Self::release).
    ///
    /// # Errors
    /// When a limit is exceeded; the connection is not counted then. It counts for the rate all the
    /// same if only the number of connections is exceeded.
    pub(crate) fn admit(
        &self,
        ip: IpAddr,
        limits: &AddressLimits,
        now: Instant,
    ) -> Result<(), Excess> {
        let network = Network::from(ip);
        let mut part = self.part(network).lock();
        if let Some(rate) = limits.handshakes {
            let taken = part.recent.bucket(network, rate, now).try_take(rate, 1, now);
            taken.map_err(|wait| Excess {
                limit: AddressLimit::Handshakes,
                retry_after: Some(wait),
            })?;
        }
        let most = limits.connections.unwrap_or(usize::MAX);
        match part.open.entry(network) {
            Entry::Occupied(mut open) if *open.get() < most => *open.get_mut() += 1,
            Entry::Vacant(place) if 0 < most => {
                place.insert(1);
            }
            Entry::Occupied(_) | Entry::Vacant(_) => {
                return Err(Excess { limit: AddressLimit::Connections, retry_after: None });
            }
        }
        Ok(())
    }

    /// Releases a connection of an address.
    pub(crate) fn release(&self, ip: IpAddr) {
        let network = Network::from(ip);
        let mut part = self.part(network).lock();
        if let Entry::Occupied(mut open) = part.open.entry(network) {
            *open.get_mut() -= 1;
            if *open.get() == 0 {
                open.remove();
            }
        }
    }

    fn part(&self, network: Network) -> &Mutex<Part> {
        &self.parts[network.spread() % PARTS]
    }
}

#[cfg(test)]
mod tests {
    use runtime::token_bucket::Rate;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn connections_of_an_address_are_limited_until_they_are_released() {
        let limits = AddressLimits { connections: Some(2), ..AddressLimits::default() };
        let (addresses, now) = (Addresses::default(), Instant::now());
        let excess = Excess { limit: AddressLimit::Connections, retry_after: None };
        for (first, second) in [
            ("192.0.2.7", "::ffff:192.0.2.7"),
            ("2001:db8::1", "2001:db8::ffff:1"),
            ("192.0.2.8", "192.0.2.8"),
        ] {
            assert_eq!(addresses.admit(ip(first), &limits, now), Ok(()));
            assert_eq!(addresses.admit(ip(second), &limits, now), Ok(()));
            assert_eq!(addresses.admit(ip(first), &limits, now), Err(excess));
            assert_eq!(addresses.admit(ip(second), &limits, now), Err(excess));
            addresses.release(ip(second));
            assert_eq!(addresses.admit(ip(first), &limits, now), Ok(()));
        }
    }

    #[test]
    fn address_without_connections_has_no_entry() {
        let limits = AddressLimits { connections: Some(9), ..AddressLimits::default() };
        let (addresses, now) = (Addresses::default(), Instant::now());
        let all = || (0..=255_u8).map(|last| IpAddr::from([192, 0, 2, last]));
        all().for_each(|ip| addresses.admit(ip, &limits, now).unwrap());
        let entries = || addresses.parts.iter().map(|part| part.lock().open.len()).sum::<usize>();
        assert_eq!(entries(), 256);
        all().for_each(|ip| addresses.release(ip));
        assert_eq!(entries(), 0);
        addresses.release(ip("192.0.2.7"));
    }

    #[test]
    fn rate_of_an_address_has_a_time_to_retry() {
        let rate = Some(Rate::new(2, 2));
        let limits = AddressLimits { handshakes: rate, ..AddressLimits::default() };
        let (addresses, now) = (Addresses::default(), Instant::now());
        let admit = |text: &str, now| addresses.admit(ip(text), &limits, now);
        assert_eq!([admit("::1", now), admit("::2", now)], [Ok(()), Ok(())]);
        let half = Duration::from_millis(500);
        let excess = Excess { limit: AddressLimit::Handshakes, retry_after: Some(half) };
        assert_eq!(admit("::3", now), Err(excess));
        assert_eq!(admit("192.0.2.7", now), Ok(()));
        assert_eq!(admit("::3", now + half), Ok(()));
    }
}
