//! The announced gateways, and whether the list is complete. A value: no I/O, no clock.

use std::collections::{HashMap, HashSet, hash_map::Entry};

use protocol::discovery::Gateway;

/// The id of a connection; never reused.
pub(crate) type PeerId = u64;

/// The announced gateways, in order of arrival.
///
/// Invariant: a peer is at most once in `gateways`.
#[derive(Debug)]
pub(crate) struct Addresses {
    gateways: Vec<(PeerId, Gateway)>,
    grace: Grace,
}

/// The grace period after a start, when gateways have not reconnected yet.
#[derive(Debug)]
enum Grace {
    /// Gateways may be missing: those that workers have reported as known.
    Running {
        known: HashSet<String>,
    },
    Over,
}

impl Addresses {
    /// Creates an empty list; with `grace`, it is not complete yet.
    pub(crate) fn new(grace: bool) -> Self {
        let grace = if grace { Grace::Running { known: HashSet::new() } } else { Grace::Over };
        Self { gateways: Vec::new(), grace }
    }

    /// Adds a gateway, replacing a previous announcement of the same peer.
    pub(crate) fn announce(&mut self, peer: PeerId, gateway: Gateway) {
        match self.gateways.iter_mut().find(|(known, _)| *known == peer) {
            Some((_, before)) => *before = gateway,
            None => self.gateways.push((peer, gateway)),
        }
    }

    /// Removes and returns the announcement of a peer, if any.
    pub(crate) fn withdraw(&mut self, peer: PeerId) -> Option<Gateway> {
        let at = self.gateways.iter().position(|(known, _)| *known == peer)?;
        Some(self.gateways.remove(at).1)
    }

    /// Records gateways that a worker knew before the restart; the live ones will reconnect.
    pub(crate) fn remember(&mut self, addresses: Vec<String>) {
        if let Grace::Running { known } = &mut self.grace {
            let room = (MAX_KNOWN + 1).saturating_sub(known.len());
            known.extend(addresses.into_iter().take(room));
        }
    }

    /// Ends the grace period: gateways that have not reconnected are no longer waited for.
    pub(crate) fn end_grace(&mut self) {
        self.grace = Grace::Over;
    }

    /// The distinct announced addresses.
    pub(crate) fn announced(&self) -> HashSet<&str> {
        self.gateways.iter().map(|(_, gateway)| gateway.address.as_str()).collect()
    }

    /// Whether the list is complete and may be sent: once the grace period has ended, or earlier if
    /// some worker knew gateways and all known ones have reconnected.
    pub(crate) fn is_complete(&self) -> bool {
        match &self.grace {
            Grace::Over => true,
            Grace::Running { known } => {
                let announced = self.announced();
                (1..=MAX_KNOWN).contains(&known.len())
                    && known.iter().all(|address| announced.contains(address.as_str()))
            }
        }
    }

    /// Lists each address once, at the position of its first announcement. The last announcement of
    /// an address wins: a gateway can reconnect before its old connection is detected as dead.
    pub(crate) fn list(&self) -> Vec<Gateway> {
        let mut list: Vec<Gateway> = Vec::with_capacity(self.gateways.len());
        let mut places = HashMap::with_capacity(self.gateways.len());
        for (_, gateway) in &self.gateways {
            match places.entry(gateway.address.as_str()) {
                Entry::Vacant(place) => {
                    place.insert(list.len());
                    list.push(gateway.clone());
                }
                Entry::Occupied(place) => {
                    list[*place.get()] = gateway.clone();
                }
            }
        }
        list
    }
}

/// Maximum number of known addresses tracked; beyond it, the grace period runs to its end.
const MAX_KNOWN: usize = 10_000;

#[cfg(test)]
mod tests {
    use protocol::InstanceId;

    use super::*;

    fn gateway(address: &str) -> Gateway {
        Gateway::plain(address.to_owned())
    }

    fn listed(addresses: &Addresses) -> Vec<String> {
        addresses.list().into_iter().map(|gateway| gateway.address).collect()
    }

    fn known(addresses: &[&str]) -> Vec<String> {
        addresses.iter().map(|&address| address.to_owned()).collect()
    }

    #[test]
    fn gateways_are_listed_in_order_of_arrival() {
        let mut addresses = Addresses::new(false);
        addresses.announce(7, gateway("b"));
        addresses.announce(3, gateway("a"));
        addresses.announce(7, gateway("c"));
        assert_eq!(listed(&addresses), ["c", "a"], "announced again, it keeps its position");
        assert_eq!(addresses.withdraw(7), Some(gateway("c")));
        assert_eq!(addresses.withdraw(7), None);
        assert_eq!(listed(&addresses), ["a"]);
    }

    #[test]
    fn address_announced_twice_is_listed_until_the_last_is_withdrawn() {
        let mut addresses = Addresses::new(false);
        let newer = Gateway { native: true, instance: InstanceId::new("2").ok(), ..gateway("a") };
        addresses.announce(1, gateway("a"));
        addresses.announce(2, gateway("b"));
        addresses.announce(3, newer.clone());
        assert_eq!(addresses.list(), [newer.clone(), gateway("b")]);
        addresses.withdraw(1);
        assert_eq!(addresses.list(), [gateway("b"), newer]);
        addresses.withdraw(3);
        assert_eq!(listed(&addresses), ["b"]);
    }

    #[test]
    fn list_without_grace_is_complete() {
        assert!(Addresses::new(false).is_complete());
    }

    #[test]
    fn grace_ends_early_once_all_known_gateways_have_reconnected() {
        let mut addresses = Addresses::new(true);
        addresses.announce(1, gateway("a"));
        assert!(!addresses.is_complete(), "no worker has reported known gateways");
        addresses.remember(known(&["a", "b"]));
        assert!(!addresses.is_complete());
        addresses.announce(2, gateway("b"));
        assert!(addresses.is_complete());
        addresses.remember(known(&["c"]));
        assert!(!addresses.is_complete(), "another worker knew one more gateway");
        addresses.announce(3, gateway("c"));
        addresses.withdraw(1);
        assert!(!addresses.is_complete(), "a known gateway is missing again");
        addresses.end_grace();
        assert!(addresses.is_complete());
        addresses.remember(known(&["d"]));
        assert!(addresses.is_complete(), "reported after the end of the grace period");
    }

    #[test]
    fn too_many_known_addresses_disable_the_early_end_of_grace() {
        let mut addresses = Addresses::new(true);
        addresses.remember((0..MAX_KNOWN * 2).map(|n| n.to_string()).collect());
        for peer in 0..=MAX_KNOWN as u64 {
            addresses.announce(peer, gateway(&peer.to_string()));
        }
        let Grace::Running { known } = &addresses.grace else {
            unreachable!("the grace period has not ended")
        };
        assert_eq!(known.len(), MAX_KNOWN + 1, "bounded");
        assert!(!addresses.is_complete());
    }
}
