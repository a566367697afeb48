//! Whether a pass of a shard's event loop is scheduled. A value.

use std::task::Waker;

/// The schedule of the next pass. However often one is requested, its task is woken once.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    is_requested: bool,
    /// Of the task that runs the passes; set by the first pass.
    waker: Option<Waker>,
}

impl Schedule {
    /// Requests a pass after everything that is ready.
    pub(super) fn request(&mut self) {
        if !self.is_requested {
            self.is_requested = true;
            if let Some(waker) = &self.waker {
                waker.wake_by_ref();
            }
        }
    }

    /// A pass begins: what is requested now is done before it ends.
    pub(super) fn begin(&mut self, waker: &Waker) {
        match &mut self.waker {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        self.is_requested = true;
    }

    /// The pass ends: what is requested from now on needs another.
    pub(super) fn end(&mut self) {
        self.is_requested = false;
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::Wake,
    };

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn task_is_woken_once_per_pass_and_not_during_one() {
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let count = || woken.0.load(Ordering::Relaxed);
        let mut schedule = Schedule::default();
        schedule.begin(&waker);
        schedule.request();
        assert_eq!(count(), 0);
        schedule.end();
        schedule.request();
        schedule.request();
        assert_eq!(count(), 1);
        schedule.begin(&waker);
        schedule.end();
        schedule.request();
        assert_eq!(count(), 2);
    }
}
