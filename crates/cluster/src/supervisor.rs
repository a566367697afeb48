//! Starts the tasks of a cluster: one for each register and for each gateway, and those of the
//! failover.

use std::sync::Arc;

use crate::{discovery, gateway, shared::Shared, streams};

/// Starts to subscribe to every register, until the cluster is closed.
pub(crate) fn start(shared: &Arc<Shared>) {
    shared.spawn_supervised(Arc::clone(shared).run_failure_detector());
    if shared.has_events() {
        shared.spawn_supervised(Arc::clone(shared).watch_reachability());
    }
    if shared.streams.is_served() {
        shared.spawn_supervised(streams::serve(Arc::clone(shared)));
    }
    for (index, register) in shared.register_addresses().into_iter().enumerate() {
        shared.spawn_supervised(discovery::follow(Arc::clone(shared), index, register, link));
    }
}

/// Starts to maintain the link to a gateway that a register has listed.
fn link(shared: &Arc<Shared>, address: Arc<str>) {
    shared.spawn_supervised(gateway::maintain_link(Arc::clone(shared), address));
}
