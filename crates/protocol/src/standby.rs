//! Messages for standbys: workers that close the clients of an owner if it and the gateway die.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::{ConnectionId, InstanceId, Session};

/// The data of a client that a standby needs besides its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandbyClient {
    /// The client.
    pub client: ConnectionId,
    /// Its address.
    pub remote: SocketAddr,
    /// The port of the listener that accepted it.
    pub listener_port: u16,
}

/// A message between workers, relayed by a gateway that both are linked to. The gateway may drop
/// it: each message is resent until it is answered.
///
/// Variants are only ever appended: the codec numbers them by position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WorkerMessage {
    /// Clients of a gateway that is unreachable or dead: the receiver becomes an additional standby
    /// of them, since others may be dead.
    Handover(Handover),
    /// Acknowledges the handover of that number.
    HandoverTaken { number: u64 },
}

/// Clients that a worker hands over to one that was started later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handover {
    /// The sender's number of this handover; the acknowledgement carries it.
    pub number: u64,
    /// The inner address of the gateway, as its client ids carry it.
    pub address: SocketAddr,
    /// The instance of the gateway.
    pub gateway: InstanceId,
    /// As in [`Standby`](crate::link::ToPeer::Standby); the receiver is the last.
    pub holders: Vec<InstanceId>,
    /// The clients.
    pub clients: Vec<HandedOver>,
}

/// One client of a [`Handover`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandedOver {
    /// The client.
    pub client: StandbyClient,
    /// As in [`Standby`](crate::link::ToPeer::Standby).
    pub confirmed: bool,
    /// The sender's copy of its session; empty if that exceeds the sender's limit for handovers.
    pub session: Session,
}

/// Digest of a set of clients, independent of order: two holders that have the same clients compute
/// the same digest. Not cryptographic: it can be forged.
pub fn digest(clients: impl IntoIterator<Item = ConnectionId>) -> u64 {
    // The finalizer of SplitMix64, so that sums of neighboring ids differ.
    let mix = |ConnectionId(id): ConnectionId| {
        let mut mixed = u64::from(id).wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    clients.into_iter().map(mix).fold(0, u64::wrapping_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_of_a_set_depends_on_its_members_and_not_on_their_order() {
        let of = |ids: &[u32]| digest(ids.iter().copied().map(ConnectionId));
        assert_eq!(of(&[1, 2, 3]), of(&[3, 1, 2]));
        for other in [&[1, 2][..], &[1, 2, 4], &[0, 2, 4], &[1, 2, 3, 3], &[]] {
            assert_ne!(of(&[1, 2, 3]), of(other));
        }
    }
}
