//! Whether workers are there and answer, and what peers and operators are told of that.

use std::time::{Duration, Instant};

use protocol::link::ToPeer;
use service::{clock, outage::Outage, rate_limit::Throttle};

use super::{Hub, STALLED, link::Link};
use crate::exchange::{LinkId, ToShard};

/// What was logged of whether there are workers.
#[derive(Debug)]
pub(super) struct Attendance {
    /// Whether a worker was ever linked.
    ever: bool,
    /// The time without any.
    without: Outage,
    late_warnings: Throttle,
}

impl Default for Attendance {
    fn default() -> Self {
        let late_warnings = Throttle::per_second();
        Self { ever: false, without: Outage::default(), late_warnings }
    }
}

impl Hub {
    /// Logs that no worker is linked, at growing intervals, and once that one is again. Called after every
    /// turn, so that a link that replaces another is not taken for a gap, and now and then.
    pub(super) fn note_attendance(&mut self, now: Instant) {
        if self.undrained.is_some() {
            return;
        }
        let attendance = &mut self.attendance;
        if !self.workers.is_empty() {
            attendance.ever = true;
            if let Some(after) = attendance.without.ends(now) {
                tracing::info!(after = ?seconds(after), "a worker is linked again");
            }
            return;
        }
        let clients = self.host.metrics.clients.get();
        // A gateway that has just been started is not worth a line.
        if !attendance.ever && clients == 0 {
            return;
        }
        let Some(lasts) = attendance.without.fails(now) else {
            return;
        };
        if attendance.ever {
            tracing::warn!(clients, lasts = ?seconds(lasts), "no worker is linked any more; clients wait");
        } else {
            tracing::warn!(
                clients,
                lasts = ?seconds(lasts),
                address = %self.host.address,
                "no worker has linked yet; clients wait. Workers connect to this address: can they reach it?"
            );
        }
    }

    /// A peer begins to be late to answer, or no longer is.
    pub(super) fn set_late(&mut self, id: LinkId, late: bool) {
        let Some(link) = self.links.get_mut(&id).filter(|link| link.late != late) else {
            return;
        };
        link.late = late;
        if let Some(worker) = &link.worker {
            let (worker, remote) = (worker.key.as_str(), link.remote);
            match late {
                true => {
                    if let Some(suppressed) = self.attendance.late_warnings.admit(clock::now()) {
                        tracing::warn!(worker, %remote, suppressed, "worker is late to answer");
                    }
                }
                false => tracing::info!(worker, %remote, "worker answers again"),
            }
        }
        self.tell_health();
    }

    /// Says whether there is a worker that answers.
    pub(super) fn tell_health(&self) {
        let workers = self.workers.values().filter_map(|id| self.links.get(id));
        let (mut linked, mut late) = (0, 0);
        for link in workers {
            linked += 1;
            late += i64::from(link.late);
        }
        self.host.metrics.workers_late.set(late);
        match (linked, linked - late) {
            (0, _) => self.health.set_not_ready("worker", "no worker is linked"),
            (_, 0) => self.health.set_not_ready("worker", "none answers"),
            (_, _) => self.health.set_ready("worker"),
        }
    }

    /// Ends the links of native workers that have read nothing for `STALLED` calls in a row, though
    /// something else than events waited for them: as standbys they are of no use, and others cannot
    /// take their place while they are linked. What waits for them is bounded, so this is about time and
    /// not about amounts; the next link begins anew.
    pub(super) fn cut_off_stalled(&mut self) {
        let native = |link: &Link| link.worker.is_some() && link.native.is_some();
        let links = self.links.iter_mut().filter(|(_, link)| native(link));
        let stalled = links.filter_map(|(id, link)| (STALLED <= link.stalled()).then_some(*id));
        for id in stalled.collect::<Vec<_>>() {
            if let Some(link) = self.links.get(&id) {
                let (remote, waiting) = (link.remote, link.queued());
                match self.strangers.warnings.admit(clock::now()) {
                    Some(suppressed) => {
                        tracing::warn!(%remote, waiting, suppressed, "worker does not read; link closed");
                    }
                    None => tracing::debug!(%remote, waiting, "worker does not read; link closed"),
                }
            }
            self.remove(id);
        }
    }

    /// Has every shard close its clients, and tells peers that their links end in order.
    pub(super) fn drain(&mut self, grace: Duration) {
        self.undrained = Some((0..self.outgoing.len() as u16).collect());
        self.tell(None, || ToShard::Drain { grace });
        let natives = self.links.iter().filter(|(_, link)| link.native.is_some());
        for id in natives.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.say_draining(id);
        }
        self.call();
    }

    /// Tells a native peer that the gateway drains, if it does.
    pub(super) fn say_draining(&mut self, id: LinkId) {
        if self.undrained.is_some() {
            let clients = u64::try_from(self.host.metrics.clients.get()).unwrap_or_default();
            self.say(id, &ToPeer::Draining { clients });
        }
    }
}

/// To the second.
const fn seconds(time: Duration) -> Duration {
    Duration::from_secs(time.as_secs())
}
