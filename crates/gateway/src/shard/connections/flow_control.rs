//! Flow control of one client towards its worker: how much it may have in flight. A value.
//!
//! Heavy senders must not delay light ones. Reads of a client pause for one of three reasons: its
//! worker's window is full; the client has used its quota of that window; or the worker's backlog
//! is above the busy threshold and contains events of the client, which then waits in the fair
//! queue. A client with at most [`LIGHT`] in flight is never queued there, and a larger window
//! applies to it.

/// Backlog that a client may have at its worker without being queued in the fair queue, in bytes.
pub(in crate::shard) const LIGHT: usize = 4 * 1024;

/// Bytes that an event counts in addition to its payload: many small events are work as well.
const EVENT: usize = 64;

/// Busy threshold: the backlog of a worker above which clients are read round-robin. Large enough
/// to keep the worker busy until its next progress report, and small enough for a new client to be
/// served soon.
const BUSY_BYTES: usize = 256 * 1024;
const BUSY_EVENTS: u64 = 1024;

/// A client's quota is the free part of three quarters of its worker's window, divided by this. The
/// free part shrinks as other clients use their quotas, and the last quarter is reserved for clients
/// without events in flight, so that a new client can always send something.
const QUOTA_DIVISOR: usize = 8;

/// Progress of a worker with the events of a shard.
#[derive(Clone, Copy, Debug)]
pub(in crate::shard) struct Progress {
    /// Sequence number of the last event, sent or not.
    pub(in crate::shard) last: u64,
    /// All events up to this one are started.
    pub(in crate::shard) started: u64,
    /// All events up to this one are acknowledged.
    pub(in crate::shard) finished: u64,
    /// Bytes of events that are not started.
    pub(in crate::shard) waiting: usize,
    /// Bytes of events that are not acknowledged.
    pub(in crate::shard) unfinished: usize,
}

impl Progress {
    /// Whether the backlog is above the busy threshold.
    pub(in crate::shard) fn is_busy(&self) -> bool {
        BUSY_BYTES < self.waiting || BUSY_EVENTS < self.last - self.started
    }

    /// Whether a client of the fair queue may be resumed: the worker is below its busy threshold,
    /// or has started [`BUSY_EVENTS`] events since `before`, its watermark at the last resume. The
    /// latter prevents starvation.
    pub(in crate::shard) fn may_resume(&self, before: u64) -> bool {
        !self.is_busy() || before + BUSY_EVENTS <= self.started
    }
}

/// Upper bounds of what a client has in flight at its worker.
#[derive(Debug, Default)]
pub(in crate::shard) struct FlowControl {
    /// Sequence number of its last event.
    last: u64,
    /// Bytes of its events since all were last acknowledged.
    unfinished: u32,
    /// Bytes of its events since all were last started.
    waiting: u32,
}

/// Limits of the unacknowledged bytes of a worker.
#[derive(Clone, Copy, Debug)]
pub(in crate::shard) struct Window {
    /// Including events of clients that send much.
    pub(in crate::shard) bulk: usize,
    /// For clients that have [`LIGHT`] or less in flight; at least `bulk`.
    pub(in crate::shard) total: usize,
}

/// Condition for resuming reads of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::shard) enum Blocked {
    /// Its worker is below its window again.
    WorkerWindow,
    /// Its worker has acknowledged the client's last event, which has this number.
    ClientQuota(u64),
    /// The fair queue resumes it.
    FairQueue,
}

impl FlowControl {
    /// Adds the worker's last event, which is this client's. Returns why reads of the client must
    /// pause, if they must.
    pub(in crate::shard) fn add(
        &mut self,
        payload: usize,
        worker: &Progress,
        window: Window,
    ) -> Option<Blocked> {
        let bytes = u32::try_from(payload + EVENT).unwrap_or(u32::MAX);
        if self.last <= worker.finished {
            self.unfinished = 0;
        }
        if self.last <= worker.started {
            self.waiting = 0;
        }
        self.unfinished = self.unfinished.saturating_add(bytes);
        self.waiting = self.waiting.saturating_add(bytes);
        self.last = worker.last;
        let is_light = self.unfinished as usize <= LIGHT;
        let limit = if is_light { window.total } else { window.bulk };
        if limit < worker.unfinished {
            return Some(Blocked::WorkerWindow);
        }
        let left = (window.bulk / 4 * 3).saturating_sub(worker.unfinished);
        if left / QUOTA_DIVISOR < self.unfinished as usize {
            return Some(Blocked::ClientQuota(self.last));
        }
        (worker.is_busy() && LIGHT < self.waiting as usize).then_some(Blocked::FairQueue)
    }

    /// Reads of the client were resumed.
    pub(in crate::shard) fn resumed(&mut self) {
        self.waiting = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANY: usize = 8 * 1024 * 1024;
    const WINDOW: Window = Window { bulk: MANY, total: 2 * MANY };

    fn busy() -> Progress {
        let waiting = BUSY_BYTES + 1;
        Progress { last: 100, started: 50, finished: 50, waiting, unfinished: waiting }
    }

    #[test]
    fn light_sender_is_never_queued_for_fairness() {
        let mut flow = FlowControl::default();
        for last in 100..1000 {
            // Earlier events are acknowledged meanwhile.
            let worker = Progress { last, started: last - 1, finished: last - 1, ..busy() };
            assert_eq!(flow.add(1000, &worker, WINDOW), None);
        }
    }

    #[test]
    fn heavy_sender_is_queued_for_fairness_while_the_worker_is_busy() {
        let idle = Progress { waiting: BUSY_BYTES, ..busy() };
        assert_eq!(FlowControl::default().add(LIGHT, &idle, WINDOW), None);
        let mut flow = FlowControl::default();
        assert_eq!(flow.add(LIGHT / 2, &busy(), WINDOW), None);
        assert_eq!(flow.add(LIGHT / 2, &busy(), WINDOW), Some(Blocked::FairQueue));
        flow.resumed();
        assert_eq!(flow.add(LIGHT / 2, &busy(), WINDOW), None);
        let small = Progress { last: 50 + BUSY_EVENTS + 1, waiting: 0, ..busy() };
        assert_eq!(FlowControl::default().add(LIGHT, &small, WINDOW), Some(Blocked::FairQueue));
    }

    #[test]
    fn client_cannot_use_the_whole_window() {
        let (mut flow, mut worker) = (FlowControl::default(), busy());
        worker.unfinished = 0;
        let mut sent = 0;
        let last = loop {
            worker.last += 1;
            worker.started = worker.last;
            worker.unfinished += 1000;
            sent += 1000;
            match flow.add(1000 - EVENT, &worker, WINDOW) {
                None => {}
                Some(Blocked::ClientQuota(last)) => break last,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(last, worker.last);
        assert!(MANY / 4 * 3 / (QUOTA_DIVISOR + 2) < sent && sent < MANY / QUOTA_DIVISOR, "{sent}");
        // Once that is acknowledged, its quota is free again.
        worker.finished = worker.last;
        worker.last += 1;
        assert_eq!(flow.add(1000, &worker, WINDOW), None);
    }

    #[test]
    fn new_client_can_send_though_others_have_used_their_quotas() {
        let mut worker = busy();
        (worker.unfinished, worker.waiting) = (0, 0);
        for _ in 0..10_000 {
            let mut flow = FlowControl::default();
            loop {
                worker.last += 1;
                worker.started = worker.last;
                worker.unfinished += 100 + EVENT;
                if flow.add(100, &worker, WINDOW).is_some() {
                    break;
                }
            }
        }
        worker.last += 1;
        worker.started = worker.last;
        worker.unfinished += 100 + EVENT;
        // It sends one message at a time, and does not wait for other clients.
        let blocked = FlowControl::default().add(100, &worker, WINDOW);
        assert_eq!(blocked, Some(Blocked::ClientQuota(worker.last)), "{worker:?}");
    }

    #[test]
    fn full_window_pauses_heavy_senders_first() {
        let full = Progress { unfinished: MANY + 1, ..busy() };
        assert_eq!(FlowControl::default().add(LIGHT, &full, WINDOW), Some(Blocked::WorkerWindow));
        assert_eq!(
            FlowControl::default().add(100, &full, WINDOW),
            Some(Blocked::ClientQuota(full.last))
        );
        let over = Progress { unfinished: 2 * MANY + 1, ..busy() };
        assert_eq!(FlowControl::default().add(0, &over, WINDOW), Some(Blocked::WorkerWindow));
    }

    #[test]
    fn fair_queue_resumes_clients_while_the_worker_stays_busy() {
        let progress = busy();
        assert!(!progress.may_resume(progress.started));
        assert!(Progress { started: 50 + BUSY_EVENTS, last: 5000, ..progress }.may_resume(50));
        assert!(Progress { waiting: 0, ..progress }.may_resume(progress.started));
    }

    #[test]
    fn single_message_may_fill_the_window() {
        let idle = Progress { last: 1, started: 0, finished: 0, waiting: 0, unfinished: MANY };
        assert_eq!(FlowControl::default().add(MANY, &idle, WINDOW), Some(Blocked::ClientQuota(1)));
    }
}
