//! Who has announced itself, and whether that may be told yet. A value: no I/O, no clock.

use std::collections::{HashMap, HashSet, hash_map::Entry};

use protocol::discovery::Gateway;

/// One connection; never given out twice.
pub(crate) type PeerId = u64;

/// The gateways that are here, in the order in which they came.
///
/// Invariant: a peer is at most once in `gateways`.
#[derive(Debug)]
pub(crate) struct Addresses {
    gateways: Vec<(PeerId, Gateway)>,
    grace: Grace,
}

/// After a start nobody is here yet, which does not mean that nobody is left.
#[derive(Debug)]
enum Grace {
    /// Some may still be missing: those that workers knew, as far as they have told us.
    Running {
        known: HashSet<String>,
    },
    Over,
}

impl Addresses {
    /// Nobody is here; with `grace`, that is not the whole truth yet.
    pub(crate) fn new(grace: bool) -> Self {
        let grace = if grace { Grace::Running { known: HashSet::new() } } else { Grace::Over };
        Self { gateways: Vec::new(), grace }
    }

    /// A gateway is here. Said again by the same peer, it replaces what it said before.
    pub(crate) fn announce(&mut self, peer: PeerId, gateway: Gateway) {
        match self.gateways.iter_mut().find(|(known, _)| *known == peer) {
            Some((_, before)) => *before = gateway,
            None => self.gateways.push((peer, gateway)),
        }
    }

    /// The peer is gone; gives what it had announced, if anything.
    pub(crate) fn withdraw(&mut self, peer: PeerId) -> Option<Gateway> {
        let at = self.gateways.iter().position(|(known, _)| *known == peer)?;
        Some(self.gateways.remove(at).1)
    }

    /// A worker was told of these before; whoever of them is alive will come back.
    pub(crate) fn remember(&mut self, addresses: Vec<String>) {
        if let Grace::Running { known } = &mut self.grace {
            let room = (MAX_KNOWN + 1).saturating_sub(known.len());
            known.extend(addresses.into_iter().take(room));
        }
    }

    /// Whoever is not back by now is gone.
    pub(crate) fn end_grace(&mut self) {
        self.grace = Grace::Over;
    }

    /// Whether the list may be told. It may once the grace is over; before, when some worker knew
    /// gateways and all that any worker knew are here.
    pub(crate) fn settled(&self) -> bool {
        match &self.grace {
            Grace::Over => true,
            Grace::Running { known } => {
                let here: HashSet<&str> =
                    self.gateways.iter().map(|(_, gateway)| gateway.address.as_str()).collect();
                (1..=MAX_KNOWN).contains(&known.len())
                    && known.iter().all(|address| here.contains(address.as_str()))
            }
        }
    }

    /// Each address once, where it was first announced. Of several announcements of one address
    /// the last says whose it is: a gateway is back before its old connection is found dead.
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

/// Past this many remembered addresses the grace is simply waited for.
const MAX_KNOWN: usize = 10_000;

#[cfg(test)]
mod tests {
    use protocol::Instance;

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
    fn gateways_are_listed_in_the_order_they_came() {
        let mut addresses = Addresses::new(false);
        addresses.announce(7, gateway("b"));
        addresses.announce(3, gateway("a"));
        addresses.announce(7, gateway("c"));
        assert_eq!(listed(&addresses), ["c", "a"], "said again, it keeps its place");
        assert_eq!(addresses.withdraw(7), Some(gateway("c")));
        assert_eq!(addresses.withdraw(7), None);
        assert_eq!(listed(&addresses), ["a"]);
    }

    #[test]
    fn an_address_announced_twice_stays_until_the_last_is_gone() {
        let mut addresses = Addresses::new(false);
        let newer = Gateway { native: true, instance: Instance::new("2").ok(), ..gateway("a") };
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
    fn without_a_grace_everything_may_be_told() {
        assert!(Addresses::new(false).settled());
    }

    #[test]
    fn a_grace_ends_early_once_all_that_were_known_are_back() {
        let mut addresses = Addresses::new(true);
        addresses.announce(1, gateway("a"));
        assert!(!addresses.settled(), "nobody has said who was known");
        addresses.remember(known(&["a", "b"]));
        assert!(!addresses.settled());
        addresses.announce(2, gateway("b"));
        assert!(addresses.settled());
        addresses.remember(known(&["c"]));
        assert!(!addresses.settled(), "another worker knew one more");
        addresses.announce(3, gateway("c"));
        addresses.withdraw(1);
        assert!(!addresses.settled(), "one may be about to come back once more");
        addresses.end_grace();
        assert!(addresses.settled());
        addresses.remember(known(&["d"]));
        assert!(addresses.settled(), "too late to wait for");
    }

    #[test]
    fn too_many_known_addresses_wait_out_the_grace() {
        let mut addresses = Addresses::new(true);
        addresses.remember((0..MAX_KNOWN * 2).map(|n| n.to_string()).collect());
        for peer in 0..=MAX_KNOWN as u64 {
            addresses.announce(peer, gateway(&peer.to_string()));
        }
        let Grace::Running { known } = &addresses.grace else { unreachable!("not ended") };
        assert_eq!(known.len(), MAX_KNOWN + 1, "bounded");
        assert!(!addresses.settled());
    }
}
