//! What the links to one life of a gateway have in common, one after the other.

use std::{net::SocketAddr, sync::Arc};

use protocol::Instance;

use super::{outgoing::Outgoing, taken::Taken};
use crate::metrics::Metrics;

/// All links to one life of a gateway. There is at most one at a time; while there is none, what is
/// to outlive a link waits here.
#[derive(Debug)]
pub(crate) struct Line {
    pub(super) gateway: SocketAddr,
    /// The same as text, for errors and logs.
    pub(super) name: String,
    pub(super) instance: Instance,
    pub(super) outgoing: Outgoing,
    pub(super) taken: Taken,
}

impl Line {
    /// One without a link yet. The gateway has taken every command of ours up to `taken`, by links
    /// that we know nothing of any more.
    pub(super) fn new(
        gateway: SocketAddr,
        instance: Instance,
        taken: u64,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        let outgoing = Outgoing::parked(taken, metrics);
        let name = gateway.to_string();
        Arc::new(Self { gateway, name, instance, outgoing, taken: Taken::default() })
    }

    /// There is a new link; says the how many-th it is.
    pub(super) fn resume(&self, taken: u64) -> Option<u64> {
        let link = self.outgoing.resume(taken);
        self.taken.advance(taken);
        link
    }

    /// The gateway is gone: it has taken all that it will ever take.
    pub(super) fn close(&self) {
        self.outgoing.close();
        self.taken.advance(u64::MAX);
    }

    /// Events that are not done are left to other workers. Does nothing to what a link has.
    pub(super) fn leave_events(&self) {
        self.outgoing.drop_scoped();
        self.taken.drop_events();
    }

    /// No link is made any more, though the gateway may be there: nobody will know what it has
    /// taken, so what waits for that is left undone.
    pub(super) fn forsake(&self) {
        if self.outgoing.forsake() {
            self.taken.forsake();
        }
    }
}
