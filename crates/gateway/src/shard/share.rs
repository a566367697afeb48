//! How much one client may have at its worker: a value.
//!
//! Those who send much must not stand in the way of those who send little. Three things can make a
//! client wait, that is, leave its socket unread: its worker's window is full, for everybody; the
//! client has too much of that window for itself; or more waits for the worker than keeps it busy,
//! and some of that is the client's, which then waits for its turn. A client that sends less than
//! [`LIGHT`] at a time waits for the first of these only.

/// What a client may have waiting for its worker without being asked to wait for its turn, in bytes.
pub(super) const LIGHT: usize = 4 * 1024;

/// What an event counts besides its payload: many small ones are work too.
const EVENT: usize = 64;

/// How much may wait for a worker before turns are taken: enough to keep it busy while it says how
/// far it is, and so little that whoever comes next is soon heard.
const BUSY_BYTES: usize = 256 * 1024;
const BUSY_EVENTS: u64 = 1024;

/// Which part of what is left of three quarters of a worker's window one client may have. What is left
/// shrinks as others take their part, and the last quarter is for those who have nothing there yet: so
/// however many take all they may, the next one can still say something.
const PART: usize = 8;

/// How far a worker is with the events of a shard.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    /// The number of the last event, sent or not.
    pub(super) last: u64,
    /// The last event up to which the worker has begun with all.
    pub(super) begun: u64,
    /// The last event up to which the worker has finished all.
    pub(super) finished: u64,
    /// Bytes of events that it has not begun with.
    pub(super) waiting: usize,
    /// Bytes of events that it has not finished.
    pub(super) unfinished: usize,
}

impl Progress {
    /// Whether more waits for the worker than keeps it busy.
    pub(super) fn is_busy(&self) -> bool {
        BUSY_BYTES < self.waiting || BUSY_EVENTS < self.last - self.begun
    }

    /// Whether it may be somebody's turn who was made to wait, if it was somebody's when the worker had
    /// begun with `before`. While others keep it busy it is now and then, or it would never be.
    pub(super) fn has_turns(&self, before: u64) -> bool {
        !self.is_busy() || before + BUSY_EVENTS <= self.begun
    }
}

/// What a client has at its worker, at the most.
#[derive(Debug, Default)]
pub(super) struct Share {
    /// The number of its last event.
    last: u64,
    /// Bytes of its events since none was unfinished.
    unfinished: u32,
    /// Bytes of its events since none was waiting.
    waiting: u32,
}

/// How many bytes of events a worker may have unfinished.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// With those of clients that send much.
    pub(super) of_many: usize,
    /// With those of clients that have [`LIGHT`] or less there: no less.
    pub(super) in_all: usize,
}

/// What a client has to wait for before it is read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// That its worker has caught up, with everybody's events.
    Worker,
    /// That its worker has finished the client's own last event, which has this number.
    Own(u64),
    /// That it is its turn.
    Turn,
}

impl Share {
    /// Adds the worker's last event, which is this client's, and says whether and for what the client
    /// has to wait.
    pub(super) fn add(
        &mut self,
        payload: usize,
        worker: &Progress,
        window: Window,
    ) -> Option<Wait> {
        let bytes = u32::try_from(payload + EVENT).unwrap_or(u32::MAX);
        if self.last <= worker.finished {
            self.unfinished = 0;
        }
        if self.last <= worker.begun {
            self.waiting = 0;
        }
        self.unfinished = self.unfinished.saturating_add(bytes);
        self.waiting = self.waiting.saturating_add(bytes);
        self.last = worker.last;
        let has_little = self.unfinished as usize <= LIGHT;
        if if has_little { window.in_all } else { window.of_many } < worker.unfinished {
            return Some(Wait::Worker);
        }
        let left = (window.of_many / 4 * 3).saturating_sub(worker.unfinished);
        if left / PART < self.unfinished as usize {
            return Some(Wait::Own(self.last));
        }
        (worker.is_busy() && LIGHT < self.waiting as usize).then_some(Wait::Turn)
    }

    /// What it has waited for has come.
    pub(super) fn waited(&mut self) {
        self.waiting = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANY: usize = 8 * 1024 * 1024;
    const WINDOW: Window = Window { of_many: MANY, in_all: 2 * MANY };

    fn busy() -> Progress {
        let waiting = BUSY_BYTES + 1;
        Progress { last: 100, begun: 50, finished: 50, waiting, unfinished: waiting }
    }

    #[test]
    fn who_sends_little_never_waits_for_a_turn() {
        let mut share = Share::default();
        for last in 100..1000 {
            // What it sent before is finished meanwhile.
            let worker = Progress { last, begun: last - 1, finished: last - 1, ..busy() };
            assert_eq!(share.add(1000, &worker, WINDOW), None);
        }
    }

    #[test]
    fn who_sends_much_waits_for_its_turn_while_the_worker_is_busy() {
        let idle = Progress { waiting: BUSY_BYTES, ..busy() };
        assert_eq!(Share::default().add(LIGHT, &idle, WINDOW), None);
        let mut share = Share::default();
        assert_eq!(share.add(LIGHT / 2, &busy(), WINDOW), None);
        assert_eq!(share.add(LIGHT / 2, &busy(), WINDOW), Some(Wait::Turn));
        share.waited();
        assert_eq!(share.add(LIGHT / 2, &busy(), WINDOW), None);
        let small = Progress { last: 50 + BUSY_EVENTS + 1, waiting: 0, ..busy() };
        assert_eq!(Share::default().add(LIGHT, &small, WINDOW), Some(Wait::Turn));
    }

    #[test]
    fn nobody_has_the_window_for_itself() {
        let (mut share, mut worker) = (Share::default(), busy());
        worker.unfinished = 0;
        let mut sent = 0;
        let last = loop {
            worker.last += 1;
            worker.begun = worker.last;
            worker.unfinished += 1000;
            sent += 1000;
            match share.add(1000 - EVENT, &worker, WINDOW) {
                None => {}
                Some(Wait::Own(last)) => break last,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(last, worker.last);
        assert!(MANY / 4 * 3 / (PART + 2) < sent && sent < MANY / PART, "{sent}");
        // Once that is finished, it begins anew.
        worker.finished = worker.last;
        worker.last += 1;
        assert_eq!(share.add(1000, &worker, WINDOW), None);
    }

    #[test]
    fn however_many_have_their_part_the_next_can_still_say_something() {
        let mut worker = busy();
        (worker.unfinished, worker.waiting) = (0, 0);
        for _ in 0..10_000 {
            let mut share = Share::default();
            loop {
                worker.last += 1;
                worker.begun = worker.last;
                worker.unfinished += 100 + EVENT;
                if share.add(100, &worker, WINDOW).is_some() {
                    break;
                }
            }
        }
        worker.last += 1;
        worker.begun = worker.last;
        worker.unfinished += 100 + EVENT;
        // It says one thing at a time, and does not wait for others.
        let wait = Share::default().add(100, &worker, WINDOW);
        assert_eq!(wait, Some(Wait::Own(worker.last)), "{worker:?}");
    }

    #[test]
    fn a_full_window_stops_those_who_send_much_first() {
        let full = Progress { unfinished: MANY + 1, ..busy() };
        assert_eq!(Share::default().add(LIGHT, &full, WINDOW), Some(Wait::Worker));
        assert_eq!(Share::default().add(100, &full, WINDOW), Some(Wait::Own(full.last)));
        let over = Progress { unfinished: 2 * MANY + 1, ..busy() };
        assert_eq!(Share::default().add(0, &over, WINDOW), Some(Wait::Worker));
    }

    #[test]
    fn turns_come_though_others_keep_the_worker_busy() {
        let progress = busy();
        assert!(!progress.has_turns(progress.begun));
        assert!(Progress { begun: 50 + BUSY_EVENTS, last: 5000, ..progress }.has_turns(50));
        assert!(Progress { waiting: 0, ..progress }.has_turns(progress.begun));
    }

    #[test]
    fn one_message_may_be_as_long_as_it_likes() {
        let idle = Progress { last: 1, begun: 0, finished: 0, waiting: 0, unfinished: MANY };
        assert_eq!(Share::default().add(MANY, &idle, WINDOW), Some(Wait::Own(1)));
    }
}
