//! Links of workers: what their start, end and acknowledgements change for clients.

use std::sync::Arc;

use protocol::{CloseCodes, inspect::LifecycleKind};
use runtime::clock;

use crate::{
    shard::{
        Shard,
        close_codes::{CodesId, Full},
        delivery::Acked,
    },
    thread_messages::{LinkEnd, LinkId, Worker},
};

impl Shard {
    pub(in crate::shard) fn worker_up(&mut self, link: LinkId, worker: Arc<Worker>) {
        if self.index == 0 {
            let worker = || worker.key.clone();
            self.history.record(None, || LifecycleKind::WorkerLinked { worker: worker() });
        }
        let feed = self.new_feed();
        self.delivery.worker_up(link, worker, feed);
        self.deliver_unassigned();
        self.begin_standby_sweep();
    }

    /// The worker has declared codes for its clients, which those without any take over.
    pub(in crate::shard) fn declare_close_codes(&mut self, link: LinkId, codes: CloseCodes) {
        let Some(worker) = self.delivery.workers.get_mut(link) else {
            return;
        };
        worker.close_codes = CodesId::NONE;
        let of_clients = self.connections.iter().map(|(_, connection)| connection.close_codes);
        let in_use = of_clients.chain(self.delivery.workers.close_codes());
        let id = match self.close_codes.add(codes, in_use) {
            Ok(id) => id,
            Err(Full) => {
                if let Some(suppressed) = self.warnings.close_codes.admit(clock::now()) {
                    tracing::warn!(
                        suppressed,
                        "workers have declared too many sets of close codes; \
                         clients of the last one are closed with the gateway's own codes"
                    );
                }
                return;
            }
        };
        if let Some(worker) = self.delivery.workers.get_mut(link) {
            worker.close_codes = id;
        }
        for (_, connection) in self.connections.iter_mut().filter(|(_, it)| it.route == Some(link))
        {
            connection.close_codes = connection.close_codes.or(id);
        }
    }

    /// The worker drains. Events of its clients wait until it has acknowledged earlier ones, so
    /// that they stay in order, and then go to other workers.
    pub(in crate::shard) fn worker_leaving(&mut self, link: LinkId) {
        if self.delivery.workers.leave(link) {
            self.begin_standby_sweep();
        }
    }

    pub(in crate::shard) fn worker_down(&mut self, link: LinkId, end: LinkEnd) {
        let lost = self.delivery.workers.worker(link).filter(|_| self.index == 0);
        if let Some((worker, clients)) = lost.map(|it| (it.key.clone(), it.clients() as u64)) {
            self.history.record(None, || LifecycleKind::WorkerLost { worker, clients });
        }
        self.stream_worker_down(link, end);
        let Some(removed) = self.delivery.worker_down(link, end) else {
            return;
        };
        if removed.instance.is_some() {
            self.record_lost_owner(link);
        }
        self.redeliver(removed.events);
        self.connections.resume_by_worker(removed.paused);
        self.resume_paused();
        self.begin_standby_sweep();
    }

    pub(in crate::shard) fn event_started(&mut self, link: LinkId, through: u64) {
        if self.delivery.event_started(link, through) {
            // The fair queue may resume a connection.
            self.schedule.request();
        }
    }

    pub(in crate::shard) fn event_ack(&mut self, link: LinkId, first: u64, last: u64) {
        let window = self.windows();
        let Some(acked) = self.delivery.ack(link, first, last, window) else {
            return;
        };
        let Acked { closed, suspects, confirmed, resumable, is_drained } = acked;
        if is_drained {
            self.deliver_unassigned();
        } else {
            self.connections.resume_by_worker(resumable);
        }
        self.release_closing(closed);
        self.release_suspects(suspects);
        self.confirm(link, confirmed);
        // Publishes the bytes in flight, and continues reassigning clients.
        self.schedule.request();
    }

    /// Records the loss of the owner of these clients. The worker may be alive, and close them on
    /// behalf of this gateway once it declares it dead.
    fn record_lost_owner(&mut self, link: LinkId) {
        let now = clock::now();
        for (_, connection) in self.connections.iter_mut().filter(|(_, it)| it.route == Some(link))
        {
            // An earlier owner that may have done so is not replaced by a later one.
            let before = connection
                .lost
                .filter(|lost| self.gateway.register_outages.may_have_been_declared_dead(*lost));
            connection.lost = before.or(Some(now));
        }
    }

    /// Delivers unassigned events, and resumes reads that were paused with them.
    fn deliver_unassigned(&mut self) {
        let held = self.delivery.take_unassigned();
        self.redeliver(held);
        self.resume_paused();
    }

    /// Resumes all paused reads if the queue of unassigned events has room: some may be paused
    /// because it had none.
    fn resume_paused(&mut self) {
        if self.delivery.has_room_unassigned(self.windows()) {
            let paused = self.connections.paused_by_worker();
            self.connections.resume_by_worker(paused);
        }
    }
}
