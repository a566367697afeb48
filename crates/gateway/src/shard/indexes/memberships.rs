//! The groups of one client: a value.

use std::collections::{BTreeMap, HashMap};

use protocol::Group;

use crate::thread_messages::Ordinal;

/// The groups of one client, in order of joining. Finding, adding and removing one costs the same
/// however many there are; the usual few are a plain list.
#[derive(Debug)]
pub(super) enum Memberships {
    Few(Vec<(Group, Ordinal)>),
    Many(Box<Many>),
}

#[derive(Debug, Default)]
pub(super) struct Many {
    // Group names are untrusted input, so the hash is keyed.
    by_name: HashMap<Group, Ordinal>,
    by_age: BTreeMap<Ordinal, Group>,
}

/// Up to this many groups are a plain list.
const FEW: usize = 16;

impl Default for Memberships {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl Memberships {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Few(list) => list.len(),
            Self::Many(many) => many.by_name.len(),
        }
    }

    /// Whether it contains this group.
    pub(super) fn contains(&self, group: &Group) -> bool {
        match self {
            Self::Few(list) => list.iter().any(|(joined, _)| joined == group),
            Self::Many(many) => many.by_name.contains_key(group),
        }
    }

    /// Since when the client is in this group; `None` if it is not.
    pub(super) fn since(&self, group: &Group) -> Option<Ordinal> {
        match self {
            Self::Few(list) => {
                list.iter().find(|(joined, _)| joined == group).map(|(_, since)| *since)
            }
            Self::Many(many) => many.by_name.get(group).copied(),
        }
    }

    /// Adds a group that it does not contain, behind all others.
    pub(super) fn add(&mut self, group: Group, since: Ordinal) {
        match self {
            Self::Few(list) if list.len() < FEW => list.push((group, since)),
            Self::Few(list) => {
                let mut many = Box::<Many>::default();
                for (group, since) in std::mem::take(list).into_iter().chain([(group, since)]) {
                    many.add(group, since);
                }
                *self = Self::Many(many);
            }
            Self::Many(many) => many.add(group, since),
        }
    }

    /// Removes a group. Returns since when the client was a member.
    pub(super) fn remove(&mut self, group: &Group) -> Option<Ordinal> {
        let since = match self {
            Self::Few(list) => {
                let at = list.iter().position(|(joined, _)| joined == group)?;
                Some(list.remove(at).1)
            }
            Self::Many(many) => {
                let since = many.by_name.remove(group)?;
                many.by_age.remove(&since);
                Some(since)
            }
        };
        if self.len() == 0 {
            *self = Self::default();
        }
        since
    }

    /// All of them, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Group, Ordinal)> {
        let (few, many) = match self {
            Self::Few(list) => (Some(list), None),
            Self::Many(many) => (None, Some(&many.by_age)),
        };
        let few = few.into_iter().flatten().map(|(group, since)| (group, *since));
        few.chain(many.into_iter().flatten().map(|(since, group)| (group, *since)))
    }
}

impl Many {
    fn add(&mut self, group: Group, since: Ordinal) {
        self.by_age.insert(since, group.clone());
        self.by_name.insert(group, since);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(number: usize) -> Group {
        Group::new(number.to_string()).unwrap()
    }

    #[test]
    fn order_of_joining_is_kept_for_few_and_for_many() {
        for count in [1, FEW, FEW + 1, 100] {
            let mut groups = Memberships::default();
            for number in 0..count {
                assert!(!groups.contains(&group(number)));
                groups.add(group(number), Ordinal(number as u64 + 7));
            }
            assert_eq!(groups.len(), count);
            let all: Vec<_> = groups.iter().map(|(group, since)| (group.clone(), since)).collect();
            let expected = (0..count).map(|number| (group(number), Ordinal(number as u64 + 7)));
            assert_eq!(all, expected.collect::<Vec<_>>());
            for number in (0..count).rev() {
                assert!(groups.contains(&group(number)));
                assert_eq!(groups.remove(&group(number)), Some(Ordinal(number as u64 + 7)));
                assert_eq!(groups.remove(&group(number)), None);
            }
            assert!(matches!(&groups, Memberships::Few(list) if list.capacity() == 0));
        }
    }
}
