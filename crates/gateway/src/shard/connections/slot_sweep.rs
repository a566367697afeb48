//! A sweep over the slots of a table, a few at a time. A value.

/// The progress of a sweep.
#[derive(Debug, Default)]
pub(in crate::shard) struct SlotSweep {
    next: usize,
    end: usize,
}

impl SlotSweep {
    /// Starts a sweep over this many slots, unless one is in progress, which is completed instead.
    pub(in crate::shard) fn begin(&mut self, slots: usize) {
        if self.is_over() {
            *self = Self { next: 0, end: slots };
        }
    }

    /// Whether every slot was visited.
    pub(in crate::shard) const fn is_over(&self) -> bool {
        self.end <= self.next
    }

    /// The next slot.
    pub(in crate::shard) fn next(&mut self) -> Option<usize> {
        if self.is_over() {
            return None;
        }
        self.next += 1;
        Some(self.next - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sweep_visits_every_slot_once_before_it_restarts() {
        let mut sweep = SlotSweep::default();
        assert!(sweep.is_over() && sweep.next().is_none());
        sweep.begin(3);
        assert_eq!((sweep.next(), sweep.next()), (Some(0), Some(1)));
        sweep.begin(9);
        assert_eq!((sweep.next(), sweep.next()), (Some(2), None));
        sweep.begin(1);
        assert_eq!((sweep.next(), sweep.next()), (Some(0), None));
    }
}
