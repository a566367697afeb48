//! State shared by successive links to one gateway instance.

use std::{net::SocketAddr, sync::Arc};

use protocol::InstanceId;

use super::{ack_tracker::AckTracker, outgoing::Outgoing};
use crate::metrics::Metrics;

/// All links to one gateway instance. At most one is open at a time; while none is, commands that
/// outlive a link wait here.
#[derive(Debug)]
pub(crate) struct GatewaySession {
    pub(super) gateway: SocketAddr,
    /// The address as text, for errors and logs.
    pub(super) name: String,
    pub(super) instance: InstanceId,
    pub(super) outgoing: Outgoing,
    pub(super) acks: AckTracker,
}

impl GatewaySession {
    /// A session without a link yet. The gateway has acknowledged every command up to `taken`, on
    /// links that are not known here any more.
    pub(super) fn new(
        gateway: SocketAddr,
        instance: InstanceId,
        taken: u64,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        let outgoing = Outgoing::parked(taken, metrics);
        let name = gateway.to_string();
        Arc::new(Self { gateway, name, instance, outgoing, acks: AckTracker::default() })
    }

    /// A link was established; returns its sequence number.
    pub(super) fn resume(&self, taken: u64) -> Option<u64> {
        let link = self.outgoing.resume(taken);
        self.acks.advance(taken);
        link
    }

    /// The gateway is given up: releases everything that waits for acknowledgements.
    pub(super) fn close(&self) {
        self.outgoing.close();
        self.acks.advance(u64::MAX);
    }

    /// Leaves unfinished events to other workers. Does not affect commands on an open link.
    pub(super) fn leave_events(&self) {
        self.outgoing.drop_scoped();
        self.acks.drop_events();
    }

    /// Prevents further links, although the gateway may be alive: its acknowledgements will never
    /// be known, so everything that waits for them is dropped.
    pub(super) fn abandon(&self) {
        if self.outgoing.abandon() {
            self.acks.abandon();
        }
    }
}
