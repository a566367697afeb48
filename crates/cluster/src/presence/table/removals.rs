//! Which removals a gateway was not asked about, since it was not known yet: a value.
//!
//! A gateway states of which of its members an earlier owner has notified the application. No owner
//! removes a member without having asked every gateway that it knows. But a worker that has started
//! while a gateway is cut off, or stands still, does not know that gateway: it may remove a member
//! that is there, and the gateway's statement does not hold any more.

use std::collections::BTreeMap;

use protocol::{Group, InstanceId};

/// Maximum number of groups with removals. Others are not told apart.
const GROUPS: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Removals {
    /// Number of removals.
    count: u64,
    /// The first removal of each group.
    first: BTreeMap<Group, u64>,
    /// The first removal in any other group.
    others: Option<u64>,
    /// For each gateway, the number of removals before it was known.
    before: BTreeMap<InstanceId, u64>,
}

impl Removals {
    /// A gateway is linked, perhaps for the first time: it is asked from here on.
    pub(super) fn linked(&mut self, gateway: &InstanceId) {
        self.before.entry(gateway.clone()).or_insert(self.count);
    }

    /// A gateway is dead, and does not come back.
    pub(super) fn dead(&mut self, gateway: &InstanceId) {
        self.before.remove(gateway);
    }

    /// The application is notified that a member has left a group, or that it is vacated.
    pub(super) fn removed(&mut self, group: &Group) {
        self.count += 1;
        if self.first.contains_key(group) {
            return;
        }
        if self.first.len() < GROUPS {
            self.first.insert(group.clone(), self.count);
        } else {
            self.others.get_or_insert(self.count);
        }
    }

    /// Whether a gateway was asked before every removal in a group.
    pub(super) fn have_asked(&self, gateway: &InstanceId, group: &Group) -> bool {
        let Some(first) = self.first.get(group).copied().or(self.others) else { return true };
        self.before.get(gateway).is_none_or(|before| *before < first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(number: usize) -> Group {
        Group::new(number.to_string()).unwrap()
    }

    #[test]
    fn gateway_is_asked_about_the_removals_since_it_is_known() {
        let [early, late] = [1, 2].map(InstanceId::from_random);
        let mut removals = Removals::default();
        removals.linked(&early);
        removals.removed(&group(1));
        removals.linked(&late);
        removals.removed(&group(1));
        removals.removed(&group(2));
        let asked = |gateway, number| removals.have_asked(gateway, &group(number));
        assert!(asked(&early, 1) && asked(&early, 2) && asked(&early, 3));
        assert!(!asked(&late, 1) && asked(&late, 2) && asked(&late, 3));
        // A link that is back changes nothing.
        removals.linked(&early);
        assert!(removals.have_asked(&early, &group(2)));
        removals.dead(&late);
        assert_eq!(removals.before.len(), 1);
    }

    #[test]
    fn groups_are_bounded_and_others_are_one() {
        let gateway = InstanceId::from_random(1);
        let mut removals = Removals::default();
        (0..GROUPS).for_each(|number| removals.removed(&group(number)));
        assert!(removals.have_asked(&gateway, &group(GROUPS)));
        removals.removed(&group(GROUPS));
        removals.linked(&gateway);
        assert_eq!(removals.first.len(), GROUPS);
        assert!(!removals.have_asked(&gateway, &group(GROUPS + 1)));
    }
}
