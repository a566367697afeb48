//! Incremental sweep over the connection slab. A value.

/// A sweep over the slots of a table.
#[derive(Debug, Default)]
pub(super) struct Pass {
    next: usize,
    end: usize,
}

impl Pass {
    /// Starts a sweep over this many slots, unless one is in progress, which is completed instead.
    pub(super) fn begin(&mut self, slots: usize) {
        if self.is_over() {
            *self = Self { next: 0, end: slots };
        }
    }

    /// Whether every slot was visited.
    pub(super) const fn is_over(&self) -> bool {
        self.end <= self.next
    }

    /// The next slot.
    pub(super) fn next(&mut self) -> Option<usize> {
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
    fn pass_visits_every_slot_once_before_it_restarts() {
        let mut pass = Pass::default();
        assert!(pass.is_over() && pass.next().is_none());
        pass.begin(3);
        assert_eq!((pass.next(), pass.next()), (Some(0), Some(1)));
        pass.begin(9);
        assert_eq!((pass.next(), pass.next()), (Some(2), None));
        pass.begin(1);
        assert_eq!((pass.next(), pass.next()), (Some(0), None));
    }
}
