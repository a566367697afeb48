//! Lifecycle events: recorded where they happen, the last ones kept (`--event-ring`).
//!
//! None is on the path of a message: a client that is assigned, refused or closed costs some hundred
//! nanoseconds.

mod ring;

use std::{net::SocketAddr, sync::Arc};

use protocol::{
    ConnectionId,
    inspect::{ClosedBy, Closing, History as Asked, LifecycleEvent, LifecycleKind},
};
use runtime::clock;

use self::ring::Ring;
use super::{Shard, connections::Connection};
use crate::{
    closed::CloseCause,
    thread_messages::{GatewayState, Worker},
};

/// The last lifecycle events of a shard.
#[derive(Debug)]
pub(super) struct History {
    ring: Ring,
    gateway: Arc<GatewayState>,
}

impl History {
    /// Keeps up to `most` events.
    pub(super) fn new(most: usize, gateway: Arc<GatewayState>) -> Self {
        Self { ring: Ring::new(most), gateway }
    }

    /// Whether no event is recorded.
    pub(super) const fn is_off(&self) -> bool {
        self.ring.is_off()
    }

    /// Records an event, which is not made if none are kept.
    pub(super) fn record(
        &mut self,
        client: Option<ConnectionId>,
        kind: impl FnOnce() -> LifecycleKind,
    ) {
        if self.ring.is_off() {
            return;
        }
        let (number, at) = (self.gateway.ordinal().0, clock::unix_millis());
        self.ring.push(LifecycleEvent { number, at, client, kind: kind() });
    }

    /// Records that a client is assigned to a worker.
    pub(super) fn assigned(&mut self, connection: &Connection, worker: Option<&Worker>) {
        let (Some(client), Some(worker)) = (connection.id, worker) else { return };
        // It has lost its worker, or has done more than connect and complete its handshake.
        let again = connection.route.is_some() || 2 < connection.events;
        self.record(Some(client), || LifecycleKind::Assigned { worker: worker.key.clone(), again });
    }

    /// Records that a connection is refused.
    pub(super) fn refused(
        &mut self,
        client: Option<ConnectionId>,
        (remote, listener): (SocketAddr, SocketAddr),
        reason: &'static str,
    ) {
        let reason = || reason.to_owned();
        self.record(client, || LifecycleKind::Refused { remote, listener, reason: reason() });
    }

    /// The last events that match, oldest first.
    pub(super) fn find(&self, asked: &Asked) -> Vec<LifecycleEvent> {
        self.ring.find(asked)
    }
}

impl Shard {
    /// The end of a client, to be recorded once it is known how it is closed; `None` if it is no
    /// client.
    pub(super) fn closing(&self, connection: &Connection, cause: &CloseCause) -> Option<Closing> {
        let client = self.directory.get(connection.id?).filter(|_| !self.history.is_off())?;
        let reason = cause.reason();
        let by = match cause {
            CloseCause::ByClient(_) | CloseCause::Ended | CloseCause::Lost(_) => ClosedBy::Client,
            CloseCause::ByWorker(_) | CloseCause::Destroyed => {
                let key = self.commands.from().and_then(|link| self.delivery.workers.key(link));
                ClosedBy::Peer { worker: key.map(str::to_owned) }
            }
            _ => ClosedBy::Gateway,
        };
        Some(Closing {
            remote: connection.remote,
            uid: client.uid().cloned(),
            code: None,
            reason: reason.name().to_owned(),
            cause: cause.to_string(),
            by,
            age: u64::from(self.age().saturating_sub(connection.since)) * 100,
            queue_bytes: connection.queued() as u64,
            events: connection.events,
        })
    }

    /// Records the end of a client.
    pub(super) fn record_closed(
        &mut self,
        client: Option<ConnectionId>,
        closing: Option<Closing>,
        code: Option<u16>,
    ) {
        let Some(mut closing) = closing else { return };
        closing.code = code;
        self.history.record(client, || LifecycleKind::Closed(Box::new(closing)));
    }
}
