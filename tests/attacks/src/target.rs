//! The target of the attacks.

use std::net::SocketAddr;

use protocol::{ConnectionId, Secret};

use crate::rng::Rng;

/// Addresses and credentials for attackers.
#[derive(Debug)]
pub(crate) struct Target {
    /// Client port of a gateway.
    pub(crate) clients: SocketAddr,
    /// Its inner port.
    pub(crate) inner: SocketAddr,
    /// Port of the register.
    pub(crate) register: SocketAddr,
    pub(crate) secret: Secret,
    /// Clients that peers may manipulate; they are not checked.
    pub(crate) connections: Vec<ConnectionId>,
}

impl Target {
    /// One of [`Self::connections`], or sometimes a random id.
    pub(crate) fn client(&self, rng: &mut Rng) -> ConnectionId {
        match rng.once_in(8) {
            true => self.any_client(rng),
            false => *rng.pick(&self.connections),
        }
    }

    /// A random id, almost always of no client.
    pub(crate) fn any_client(&self, rng: &mut Rng) -> ConnectionId {
        ConnectionId(rng.number() as u32)
    }
}
