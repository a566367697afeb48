//! Relays messages between workers.

use protocol::{InstanceId, link::ToPeer, standby::WorkerMessage};

use super::{Hub, link_closed::LinkClosed};
use crate::thread_messages::LinkId;

/// Maximum queued bytes besides events for a worker to which messages are still relayed. Senders
/// retry until they get an answer.
const MAX_QUEUED: usize = 4 * 1024 * 1024;

impl Hub {
    /// Relays a worker's message to another worker, if that is linked and reads.
    pub(super) fn relay(
        &mut self,
        from: LinkId,
        to: &InstanceId,
        message: WorkerMessage,
    ) -> Result<(), LinkClosed> {
        let link = self.links.get(&from);
        let sender = link.and_then(|link| link.worker.as_ref()?.instance.clone());
        // Back ends may not send messages to workers.
        let sender = sender.ok_or(LinkClosed::OutOfTurn)?;
        if let Some(id) = self.natives.get(to).copied()
            && let Some(link) = self.links.get(&id)
            && link.worker.is_some()
            && link.queued_answers() < MAX_QUEUED
        {
            self.send(id, &ToPeer::Relayed { from: sender, message });
        }
        Ok(())
    }
}
