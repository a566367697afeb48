//! Splits the recipients of a call by gateway: functions of the addresses alone.

use std::net::SocketAddr;

use protocol::{ClientId, ConnectionId, Recipients as OnGateway};
use rustc_hash::FxHashMap;

/// Recipients of a message among the clients of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Recipients {
    /// All clients.
    All,
    /// These clients. Nothing is sent for an empty list.
    Only(Vec<ClientId>),
    /// All clients except these.
    Except(Vec<ClientId>),
}

/// The clients on one gateway, in the given order.
pub(crate) fn on(gateway: SocketAddr, clients: &[ClientId]) -> Vec<ConnectionId> {
    let here = clients.iter().filter(|client| client.gateway == gateway);
    here.map(|client| client.connection).collect()
}

/// The number of clients on the gateway that has the most of them.
pub(crate) fn most_on_one(clients: &[ClientId]) -> usize {
    let mut counts = FxHashMap::<SocketAddr, usize>::default();
    clients.iter().for_each(|client| *counts.entry(client.gateway).or_default() += 1);
    counts.into_values().max().unwrap_or(0)
}

/// The recipients on one gateway; `None` if it has none of them.
pub(crate) fn recipients(gateway: SocketAddr, of_all: &Recipients) -> Option<OnGateway> {
    match of_all {
        Recipients::All => Some(OnGateway::All),
        Recipients::Only(clients) => match on(gateway, clients) {
            none if none.is_empty() => None,
            some => Some(OnGateway::Only(some)),
        },
        Recipients::Except(clients) => match on(gateway, clients) {
            none if none.is_empty() => Some(OnGateway::All),
            some => Some(OnGateway::Except(some)),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn gateway(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn clients() -> impl Strategy<Value = Vec<ClientId>> {
        prop::collection::vec(
            (1..4_u16, 1..5_u32).prop_map(|(at, id)| ClientId::new(gateway(at), ConnectionId(id))),
            0..8,
        )
    }

    /// The clients reached in total, with five clients on each of three gateways.
    fn reached(to: &Recipients) -> BTreeSet<ClientId> {
        let all = |at| (1..=5).map(move |id| ClientId::new(gateway(at), ConnectionId(id)));
        (1..=3)
            .flat_map(|at| {
                let on_gateway = recipients(gateway(at), to);
                all(at).filter(move |client| match &on_gateway {
                    None => false,
                    Some(OnGateway::All) => true,
                    Some(OnGateway::Only(these)) => these.contains(&client.connection),
                    Some(OnGateway::Except(these)) => !these.contains(&client.connection),
                })
            })
            .collect()
    }

    #[test]
    fn gateway_without_recipients_receives_nothing() {
        let one = Recipients::Only(vec![ClientId::new(gateway(1), ConnectionId(7))]);
        assert_eq!(recipients(gateway(1), &one), Some(OnGateway::Only(vec![ConnectionId(7)])));
        assert_eq!(recipients(gateway(2), &one), None);
    }

    proptest! {
        #[test]
        fn split_over_gateways_it_reaches_the_same_clients(these in clients()) {
            let named: BTreeSet<ClientId> = these.iter().copied().collect();
            let all = reached(&Recipients::All);
            prop_assert_eq!(all.len(), 15);
            prop_assert_eq!(&reached(&Recipients::Only(these.clone())), &named);
            let rest: BTreeSet<ClientId> = all.difference(&named).copied().collect();
            prop_assert_eq!(reached(&Recipients::Except(these)), rest);
        }
    }
}
