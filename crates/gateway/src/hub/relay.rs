//! Passes on what workers say to each other.

use protocol::{Instance, link::ToPeer, standby::WorkerMessage};

use super::{Hub, ended::Ended};
use crate::exchange::LinkId;

/// How many bytes besides events may wait for a worker before nothing more is relayed to it: it is
/// sent again until it is answered.
const UNREAD: usize = 4 * 1024 * 1024;

impl Hub {
    /// Passes a worker's message on to another, if that is linked and reads.
    pub(super) fn relay(
        &mut self,
        from: LinkId,
        to: &Instance,
        message: WorkerMessage,
    ) -> Result<(), Ended> {
        let link = self.links.get(&from);
        let sender = link.and_then(|link| link.worker.as_ref()?.instance.clone());
        // Other peers have nothing to say to workers.
        let sender = sender.ok_or(Ended::OutOfTurn)?;
        if let Some(id) = self.natives.get(to).copied()
            && let Some(link) = self.links.get(&id)
            && link.worker.is_some()
            && link.queued_answers() < UNREAD
        {
            self.say(id, &ToPeer::Relayed { from: sender, message });
        }
        Ok(())
    }

    /// A peer has begun or finished events.
    pub(super) fn works(&mut self, id: LinkId) {
        if let Some(link) = self.links.get_mut(&id) {
            link.works();
        }
    }
}
