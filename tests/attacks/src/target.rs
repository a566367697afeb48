//! What is attacked.

use std::net::SocketAddr;

use protocol::{ConnectionId, Secret};

use crate::dice::Dice;

/// Where attackers go, and what they know.
#[derive(Debug)]
pub(crate) struct Target {
    /// A gateway's port for clients.
    pub(crate) clients: SocketAddr,
    /// Its port for peers.
    pub(crate) inner: SocketAddr,
    /// The register's port.
    pub(crate) register: SocketAddr,
    pub(crate) secret: Secret,
    /// Clients that are there for peers to do something with, and of which nobody cares what becomes.
    pub(crate) crowd: Vec<ConnectionId>,
}

impl Target {
    /// One of the crowd, or nobody.
    pub(crate) fn client(&self, dice: &mut Dice) -> ConnectionId {
        match dice.once_in(8) {
            true => self.any_client(dice),
            false => *dice.pick(&self.crowd),
        }
    }

    /// Hardly ever anybody.
    pub(crate) fn any_client(&self, dice: &mut Dice) -> ConnectionId {
        ConnectionId(dice.number() as u32)
    }
}
