//! The limit of connections for each uid in the whole cluster: a value, the same for gateways and
//! workers.
//!
//! Each binding of a client to a uid has a stamp, by which all bindings of the cluster have one
//! order. A check closes what is over the limit by that order alone. So it may see the bindings of
//! some gateways earlier than those of others: a binding that is over the limit among some of the
//! uid's bindings is over it among all of them.

use serde::{Deserialize, Serialize};

use crate::ClientId;

/// The limit of connections for each uid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UidLimit {
    /// Maximum number of clients that are bound to one uid; 0 counts as 1.
    pub connections: u32,
    /// Which of them stay when there are more.
    pub keep: Keep,
}

/// Which clients of a uid stay connected when there are more than the limit allows.
///
/// Variants are only ever appended: the codec numbers them by position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Keep {
    /// Those that were bound first: new ones are refused.
    Oldest,
    /// Those that were bound last: older ones are closed.
    Newest,
}

/// A client that is bound to a uid. Bindings are ordered by their stamps; of two gateways that have
/// assigned the same one, by client id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Binding {
    /// The stamp that its gateway has assigned: nanoseconds since 1970, or more if the gateway has
    /// seen a higher one. Unique on that gateway.
    pub since: u64,
    /// The client.
    pub client: ClientId,
}

impl UidLimit {
    /// The bindings of one uid that are over the limit, in order. Empty if `bindings` are no more
    /// than the limit allows.
    pub fn excess(self, mut bindings: Vec<Binding>) -> Vec<Binding> {
        bindings.sort_unstable();
        let most = self.connections.max(1) as usize;
        let over = bindings.len().saturating_sub(most);
        match self.keep {
            Keep::Oldest => bindings.split_off(bindings.len() - over),
            Keep::Newest => {
                bindings.truncate(over);
                bindings
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::ConnectionId;

    fn binding((since, gateway, connection): (u64, u16, u32)) -> Binding {
        let gateway = ([127, 0, 0, 1], 2900 + gateway).into();
        Binding { since, client: ClientId::new(gateway, ConnectionId(connection)) }
    }

    fn keep() -> impl Strategy<Value = Keep> {
        prop_oneof![Just(Keep::Oldest), Just(Keep::Newest)]
    }

    /// Bindings of three gateways, some with the same stamp; each with whether a check sees it.
    fn bindings() -> impl Strategy<Value = Vec<(Binding, bool)>> {
        vec(((0..20_u64, 0..3_u16, 1..4_u32), any::<bool>()), 0..30).prop_map(|all| {
            let mut all: Vec<_> = all.into_iter().map(|(it, seen)| (binding(it), seen)).collect();
            all.sort_unstable();
            all.dedup_by_key(|(binding, _)| *binding);
            all
        })
    }

    #[test]
    fn oldest_or_newest_stay() {
        let all = [(5, 0, 1), (3, 1, 1), (9, 0, 2), (3, 0, 3)].map(binding);
        let limit = |connections, keep| UidLimit { connections, keep };
        let over = |limit: UidLimit| limit.excess(all.to_vec());
        assert_eq!(over(limit(2, Keep::Oldest)), [(5, 0, 1), (9, 0, 2)].map(binding));
        assert_eq!(over(limit(2, Keep::Newest)), [(3, 0, 3), (3, 1, 1)].map(binding));
        assert_eq!(over(limit(3, Keep::Oldest)), [(9, 0, 2)].map(binding));
        assert_eq!(over(limit(3, Keep::Newest)), [(3, 0, 3)].map(binding));
        for keep in [Keep::Oldest, Keep::Newest] {
            assert_eq!(over(limit(4, keep)), []);
            assert_eq!(over(limit(u32::MAX, keep)), []);
            assert_eq!(over(limit(0, keep)), over(limit(1, keep)), "one stays");
            assert_eq!(limit(1, keep).excess(Vec::new()), []);
        }
    }

    proptest! {
        #[test]
        fn binding_over_the_limit_among_some_is_over_it_among_all(
            all in bindings(), connections in 1..6_u32, keep in keep(),
        ) {
            let limit = UidLimit { connections, keep };
            let seen = all.iter().filter(|(_, seen)| *seen).map(|(binding, _)| *binding);
            let among_some = limit.excess(seen.collect());
            let among_all = limit.excess(all.iter().map(|(binding, _)| *binding).collect());
            prop_assert!(among_some.iter().all(|binding| among_all.contains(binding)));
        }

        #[test]
        fn order_of_answers_does_not_matter(
            all in bindings(), connections in 1..6_u32, keep in keep(),
        ) {
            let limit = UidLimit { connections, keep };
            let all: Vec<_> = all.iter().map(|(binding, _)| *binding).collect();
            let reversed = all.iter().rev().copied().collect();
            prop_assert_eq!(limit.excess(all), limit.excess(reversed));
        }

        #[test]
        fn checks_with_partial_views_leave_exactly_the_limit(
            all in bindings(), order in vec(any::<prop::sample::Index>(), 0..40),
            connections in 1..6_u32, keep in keep(),
        ) {
            let limit = UidLimit { connections, keep };
            let all: Vec<_> = all.iter().map(|(binding, _)| *binding).collect();
            let mut open = all.clone();
            for index in order {
                // A check that sees some of the open ones; what it closes is closed.
                let seen: Vec<_> = open.iter().copied().take(index.index(all.len() + 1)).collect();
                let over = limit.excess(seen);
                open.retain(|binding| !over.contains(binding));
            }
            let over = limit.excess(open.clone());
            open.retain(|binding| !over.contains(binding));
            prop_assert_eq!(open.len(), all.len().min(connections as usize));
        }
    }
}
