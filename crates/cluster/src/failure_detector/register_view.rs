//! The merged reports of the connected registers.

use protocol::{
    InstanceId,
    discovery::{CleanupRecord, Gateway, Takeover},
};
use rustc_hash::FxHashSet;

use super::Disconnected;

/// The merged view of several registers.
#[derive(Clone, Debug, Default)]
pub(crate) struct RegisterView {
    pub(crate) gateways: Vec<Gateway>,
    /// Workers that are present; `None` if no register reports workers.
    pub(crate) workers: Option<FxHashSet<InstanceId>>,
    pub(crate) settled: Vec<CleanupRecord>,
    pub(crate) takeovers: Vec<Takeover>,
}

impl RegisterView {
    /// A register that does not report instances may mean any.
    pub(super) fn may_list(&self, instance: &InstanceId) -> bool {
        let mut gateways = self.gateways.iter();
        gateways.any(|gateway| gateway.instance.as_ref().is_none_or(|named| named == instance))
    }

    /// A register that does not report instances lists an address.
    pub(super) fn lists(&self, away: &Disconnected) -> bool {
        self.gateways.iter().any(|gateway| match &gateway.instance {
            Some(instance) => *instance == away.instance,
            None => *gateway.address == *away.address,
        })
    }
}
