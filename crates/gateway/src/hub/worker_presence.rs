//! Availability of workers: logs, readiness, and notification of peers during the drain.

use std::time::{Duration, Instant};

use protocol::link::ToPeer;
use runtime::{clock, outage::Outage, rate_limit::Throttle};

use super::{Hub, STALLED, link::Link};
use crate::thread_messages::{LinkId, ToShard};

/// Log state about linked workers.
#[derive(Debug)]
pub(super) struct WorkerPresence {
    /// Whether a worker was linked before.
    ever: bool,
    /// The outage without a worker.
    without: Outage,
    unresponsive_warnings: Throttle,
}

impl Default for WorkerPresence {
    fn default() -> Self {
        let unresponsive_warnings = Throttle::per_second();
        Self { ever: false, without: Outage::default(), unresponsive_warnings }
    }
}

impl Hub {
    /// Logs that no worker is linked, at growing intervals, and once when one is linked again.
    /// Called after every run, so that the replacement of a link does not count as an outage, and
    /// periodically.
    pub(super) fn report_worker_presence(&mut self, now: Instant) {
        if self.undrained.is_some() {
            return;
        }
        let presence = &mut self.presence;
        if !self.workers.is_empty() {
            presence.ever = true;
            if let Some(after) = presence.without.ends(now) {
                tracing::info!(after = ?seconds(after), "a worker is linked again");
            }
            return;
        }
        let clients = self.gateway.metrics.clients.get();
        // Expected right after startup.
        if !presence.ever && clients == 0 {
            return;
        }
        let Some(lasts) = presence.without.fails(now) else {
            return;
        };
        if presence.ever {
            tracing::warn!(
                clients,
                lasts = ?seconds(lasts),
                "no worker is linked any more; clients wait"
            );
        } else {
            tracing::warn!(
                clients,
                lasts = ?seconds(lasts),
                address = %self.gateway.address,
                "no worker has linked yet; clients wait. Check that workers can connect to this \
                 address"
            );
        }
    }

    /// Sets whether a peer is late to respond to liveness probes.
    pub(super) fn set_unresponsive(&mut self, id: LinkId, late: bool) {
        let Some(link) = self.links.get_mut(&id).filter(|link| link.late != late) else {
            return;
        };
        link.late = late;
        if let Some(worker) = &link.worker {
            let (worker, remote) = (worker.key.as_str(), link.remote);
            match late {
                true => {
                    if let Some(suppressed) =
                        self.presence.unresponsive_warnings.admit(clock::now())
                    {
                        tracing::warn!(worker, %remote, suppressed, "worker is unresponsive");
                    }
                }
                false => tracing::info!(worker, %remote, "worker responds again"),
            }
        }
        self.update_health();
    }

    /// Updates readiness: ready if at least one worker is linked and responsive.
    pub(super) fn update_health(&self) {
        let workers = self.workers.values().filter_map(|id| self.links.get(id));
        let (mut linked, mut late) = (0, 0);
        for link in workers {
            linked += 1;
            late += i64::from(link.late);
        }
        self.gateway.metrics.workers_late.set(late);
        match (linked, linked - late) {
            (0, _) => self.health.set_not_ready("worker", "no worker is linked"),
            (_, 0) => self.health.set_not_ready("worker", "none answers"),
            (_, _) => self.health.set_ready("worker"),
        }
    }

    /// Closes the links of native workers that have read nothing for `STALLED` consecutive calls
    /// while data other than events was queued for them. Such a worker is useless as a standby, and
    /// no other can replace it while it is linked. The queued data is bounded, so the limit is a
    /// time and not a size.
    pub(super) fn close_stalled_links(&mut self) {
        let native = |link: &Link| link.worker.is_some() && link.native.is_some();
        let links = self.links.iter_mut().filter(|(_, link)| native(link));
        let stalled = links.filter_map(|(id, link)| (STALLED <= link.stalled()).then_some(*id));
        for id in stalled.collect::<Vec<_>>() {
            if let Some(link) = self.links.get(&id) {
                let (remote, waiting) = (link.remote, link.queued());
                match self.presence.unresponsive_warnings.admit(clock::now()) {
                    Some(suppressed) => {
                        tracing::warn!(
                            %remote, waiting, suppressed,
                            "worker stopped reading; link closed"
                        );
                    }
                    None => {
                        tracing::debug!(%remote, waiting, "worker stopped reading; link closed")
                    }
                }
            }
            self.close_link(id);
        }
    }

    /// Starts the drain: every shard closes its clients, and native peers are notified.
    pub(super) fn drain(&mut self, grace: Duration) {
        self.undrained = Some((0..self.outgoing.len() as u16).collect());
        self.send_to_shards(None, || ToShard::Drain { grace });
        let natives = self.links.iter().filter(|(_, link)| link.native.is_some());
        for id in natives.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.send_draining(id);
        }
        self.schedule_run();
    }

    /// Notifies a native peer if the gateway is draining.
    pub(super) fn send_draining(&mut self, id: LinkId) {
        if self.undrained.is_some() {
            let clients = u64::try_from(self.gateway.metrics.clients.get()).unwrap_or_default();
            self.send(id, &ToPeer::Draining { clients });
        }
    }
}

/// Truncates to whole seconds.
const fn seconds(time: Duration) -> Duration {
    Duration::from_secs(time.as_secs())
}
