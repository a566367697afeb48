//! What standbys are told: workers that close the clients of others if these and the gateway die.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::{ConnectionId, Instance, Session};

/// What a standby needs to know of a client besides its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandbyClient {
    /// The client.
    pub client: ConnectionId,
    /// Its address.
    pub remote: SocketAddr,
    /// The port of the listener it came to.
    pub listener_port: u16,
}

/// What a worker says to another, relayed by a gateway that both are linked to. The gateway may drop
/// it: each message is sent again until it is answered.
///
/// Variants are only ever appended: the codec numbers them by position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WorkerMessage {
    /// Clients of a gateway that is out of reach, or gone: the receiver becomes one more standby of
    /// them, since others may be gone.
    Handover(Handover),
    /// The handover of that number was taken.
    HandoverTaken { number: u64 },
}

/// Clients that a worker hands over to one that was started later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handover {
    /// The sender's number of this handover; the answer carries it.
    pub number: u64,
    /// The inner address of the gateway, as its client ids carry it.
    pub address: SocketAddr,
    /// The instance of the gateway.
    pub gateway: Instance,
    /// As in [`Standby`](crate::link::ToPeer::Standby); the receiver is the last.
    pub holders: Vec<Instance>,
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
    /// Its session as the sender knows it; empty if it is longer than the sender passes on.
    pub session: Session,
}

/// Identifies a set of clients, in whatever order: two holders that know of the same clients compute
/// the same. Not for anything that an adversary must not forge.
pub fn digest(clients: impl IntoIterator<Item = ConnectionId>) -> u64 {
    // The finalizer of SplitMix64, so that sums of neighbours differ.
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
