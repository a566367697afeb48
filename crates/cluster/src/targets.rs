//! Splits the recipients of a call by gateway: functions of the addresses alone.

use std::net::SocketAddr;

use protocol::{
    ClientId, Command, ConnectionId, Excluded, Message, Recipients as OnGateway, Target, Uid,
};
use rustc_hash::FxHashMap;

use crate::{Error, error::at_most_targets};

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
    /// All clients except those of these uids.
    ExceptUids(Vec<Uid>),
    /// All clients except some of both kinds.
    AllBut(Exclude),
}

/// The clients that do not receive a message: `&[client.id()]` excludes one, `&[]` none, and
/// [`Exclude::uids`] those of some uids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exclude {
    /// These clients.
    pub clients: Vec<ClientId>,
    /// Every client that is bound to one of these uids when the message arrives at its gateway.
    pub uids: Vec<Uid>,
}

impl Exclude {
    /// Excludes the clients of some uids.
    ///
    /// # Errors
    /// When one of them is not a name.
    pub fn uids(
        uids: impl IntoIterator<Item: TryInto<Uid, Error: Into<Error>>>,
    ) -> Result<Self, Error> {
        Ok(Self { clients: Vec::new(), uids: names(uids)? })
    }

    /// Excludes these clients as well.
    #[must_use]
    pub fn and_clients(mut self, clients: &[ClientId]) -> Self {
        self.clients.extend(clients);
        self
    }

    /// The exclusions on one gateway.
    pub(crate) fn on(&self, gateway: SocketAddr) -> Excluded {
        Excluded { clients: on(gateway, &self.clients), uids: self.uids.clone() }
    }

    /// Rejects lists that are too long for one command.
    pub(crate) fn check(&self) -> Result<(), Error> {
        at_most_targets(most_on_one(&self.clients))?;
        at_most_targets(self.uids.len())
    }
}

impl From<&[ClientId]> for Exclude {
    fn from(clients: &[ClientId]) -> Self {
        Self { clients: clients.to_vec(), uids: Vec::new() }
    }
}

impl<const N: usize> From<&[ClientId; N]> for Exclude {
    fn from(clients: &[ClientId; N]) -> Self {
        clients[..].into()
    }
}

impl From<&Vec<ClientId>> for Exclude {
    fn from(clients: &Vec<ClientId>) -> Self {
        clients[..].into()
    }
}

impl From<Vec<ClientId>> for Exclude {
    fn from(clients: Vec<ClientId>) -> Self {
        Self { clients, uids: Vec::new() }
    }
}

/// Converts and validates names.
pub(crate) fn names<N>(
    given: impl IntoIterator<Item: TryInto<N, Error: Into<Error>>>,
) -> Result<Vec<N>, Error> {
    given.into_iter().map(|name| name.try_into().map_err(Into::into)).collect()
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

/// The command that sends to the recipients on one gateway; `None` if it has none of them.
pub(crate) fn send(gateway: SocketAddr, to: &Recipients, message: &Message) -> Option<Command> {
    let message = message.clone();
    let to = match to {
        Recipients::All => OnGateway::All,
        Recipients::Only(clients) => match on(gateway, clients) {
            none if none.is_empty() => return None,
            some => OnGateway::Only(some),
        },
        Recipients::Except(clients) => match on(gateway, clients) {
            none if none.is_empty() => OnGateway::All,
            some => OnGateway::Except(some),
        },
        Recipients::ExceptUids(uids) => {
            let exclude = Excluded { clients: Vec::new(), uids: uids.clone() };
            return Some(Command::SendExcept { to: Target::All, exclude, message });
        }
        Recipients::AllBut(exclude) => {
            let exclude = exclude.on(gateway);
            return Some(Command::SendExcept { to: Target::All, exclude, message });
        }
    };
    Some(Command::SendToAll { to, message })
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

    /// The recipients on one gateway, of those that are not uids.
    fn recipients(gateway: SocketAddr, to: &Recipients) -> Option<OnGateway> {
        match send(gateway, to, &Message::default())? {
            Command::SendToAll { to, .. } => Some(to),
            other => panic!("{other:?}"),
        }
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
