//! Going through all connections, a few at a time. A value.

/// A pass over the places of a table.
#[derive(Debug, Default)]
pub(super) struct Pass {
    next: usize,
    end: usize,
}

impl Pass {
    /// Begins a pass over so many places, unless one is under way: that one is finished instead.
    pub(super) fn begin(&mut self, places: usize) {
        if self.is_over() {
            *self = Self { next: 0, end: places };
        }
    }

    /// Whether every place was taken.
    pub(super) const fn is_over(&self) -> bool {
        self.end <= self.next
    }

    /// Takes the next place.
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
    fn pass_takes_every_place_once_and_is_not_begun_anew_before() {
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
