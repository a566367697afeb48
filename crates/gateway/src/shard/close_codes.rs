//! The close codes that workers have declared: a value. Many workers declare the same, which is kept
//! once; a connection refers to its codes by one byte.

use protocol::CloseCodes;

/// Maximum number of different declarations that are in use.
const MOST: usize = 32;

/// Refers to the close codes of a connection or a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CodesId(u8);

/// As many declarations are in use as are kept.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

/// The declarations in use. Those that are not are replaced once there is no space.
#[derive(Debug, Default)]
pub(super) struct CodesOfWorkers(Vec<CloseCodes>);

impl CodesId {
    /// No declaration: the codes are the gateway's own.
    pub(super) const NONE: Self = Self(0);

    /// This one, or the other if this is none.
    pub(super) const fn or(self, other: Self) -> Self {
        if self.0 == 0 { other } else { self }
    }

    fn index(self) -> Option<usize> {
        usize::from(self.0).checked_sub(1)
    }
}

impl CodesOfWorkers {
    /// The codes; `None` if they are the gateway's own.
    pub(super) fn get(&self, id: CodesId) -> Option<&CloseCodes> {
        self.0.get(id.index()?)
    }

    /// Keeps a declaration; `in_use` are those of all connections and workers, and only needed
    /// without space for another.
    pub(super) fn add(
        &mut self,
        codes: CloseCodes,
        in_use: impl Iterator<Item = CodesId>,
    ) -> Result<CodesId, Full> {
        if codes.is_empty() {
            return Ok(CodesId::NONE);
        }
        let known = self.0.iter().position(|known| *known == codes);
        let at = match known {
            Some(at) => at,
            None if self.0.len() < MOST => {
                self.0.push(codes);
                self.0.len() - 1
            }
            None => {
                let mut is_used = [false; MOST];
                in_use.filter_map(CodesId::index).for_each(|at| is_used[at] = true);
                let at = is_used.iter().position(|is_used| !is_used).ok_or(Full)?;
                self.0[at] = codes;
                at
            }
        };
        Ok(CodesId(at as u8 + 1))
    }
}

#[cfg(test)]
mod tests {
    use std::iter::empty;

    use protocol::CloseKind;

    use super::*;

    fn codes(code: usize) -> CloseCodes {
        CloseCodes::new([(CloseKind::Shutdown, 3000 + code as u16)]).unwrap()
    }

    #[test]
    fn equal_declarations_are_kept_once() {
        let mut all = CodesOfWorkers::default();
        let first = all.add(codes(1), empty()).unwrap();
        let second = all.add(codes(2), empty()).unwrap();
        assert_eq!(all.add(codes(1), empty()), Ok(first));
        assert_eq!((all.get(first), all.get(second)), (Some(&codes(1)), Some(&codes(2))));
        assert_eq!(all.add(CloseCodes::default(), empty()), Ok(CodesId::NONE));
        assert_eq!(all.get(CodesId::NONE), None);
        assert_eq!((first.or(second), CodesId::NONE.or(second)), (first, second));
    }

    #[test]
    fn declarations_in_use_are_bounded_and_never_replaced() {
        let mut all = CodesOfWorkers::default();
        let ids: Vec<_> = (0..MOST).map(|at| all.add(codes(at), empty()).unwrap()).collect();
        assert_eq!(all.add(codes(MOST), ids.iter().copied()), Err(Full));
        // One client of each, but for the seventh.
        let others = ids.iter().copied().filter(|id| *id != ids[7]);
        assert_eq!(all.add(codes(MOST), others), Ok(ids[7]));
        assert_eq!(all.get(ids[7]), Some(&codes(MOST)));
        assert_eq!(all.0.len(), MOST);
        assert_eq!(all.add(codes(3), empty()), Ok(ids[3]));
    }
}
