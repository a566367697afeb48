//! The reports of registers on peers that they refuse.

use protocol::discovery::RefusedPeer;

/// A register of the settings, and the peers that it has refused lately.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegisterRefusals {
    /// Its address, as in the settings.
    pub register: String,
    /// The peers; `None` if it is not reachable, does not accept the secret, or keeps none, as a
    /// register of PHP.
    pub peers: Option<Vec<RefusedPeer>>,
}

impl RegisterRefusals {
    pub(crate) const fn new(register: String, peers: Option<Vec<RefusedPeer>>) -> Self {
        Self { register, peers }
    }
}
