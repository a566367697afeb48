//! Messages that are not retained any more, without their content: a value.
//!
//! A message that a query has found at another gateway may be older than such a one.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use protocol::{Group, Retention};

use crate::thread_messages::Ordinal;

/// How long one is remembered: longer than a query about it takes, with the command that follows.
pub(super) const REMEMBERED: Duration = Duration::from_secs(15);

/// The age of a message that a query has found lacks at most the duration of that query.
const QUERY: Duration = Duration::from_secs(10);

/// Maximum number of messages that are remembered. Beyond it, the oldest is forgotten.
const MOST: usize = 16 * 1024;

/// A message that is not retained any more, or never was for lack of time or space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::hub) struct Former {
    /// The command that sent it to the group.
    pub(in crate::hub) sent: Ordinal,
    /// When it was sent.
    pub(super) since: Instant,
}

impl Former {
    /// Whether a message that a query has found is not certainly newer.
    pub(in crate::hub) fn supersedes(&self, found: Retention, now: Instant) -> bool {
        let since = now.checked_sub(found.age()).unwrap_or(now);
        since <= self.since + QUERY
    }
}

/// The last message of each group that has lost it lately.
#[derive(Debug, Default)]
pub(super) struct Gone {
    // Group names are untrusted input, so the hash is keyed.
    by_group: HashMap<Group, (Former, u64)>,
    /// When each is forgotten, unless its group has another by then.
    order: VecDeque<(Instant, u64, Group)>,
    last: u64,
}

impl Gone {
    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    pub(super) fn add(&mut self, group: &Group, former: Former, now: Instant) {
        self.last += 1;
        self.by_group.insert(group.clone(), (former, self.last));
        self.order.push_back((now + REMEMBERED, self.last, group.clone()));
        if MOST < self.order.len() {
            self.forget_first();
        }
    }

    pub(super) fn get(&self, group: &Group) -> Option<Former> {
        self.by_group.get(group).map(|(former, _)| *former)
    }

    /// Another message is retained.
    pub(super) fn remove(&mut self, group: &Group) {
        self.by_group.remove(group);
    }

    /// Forgets up to `most` of those whose time is over.
    pub(super) fn forget(&mut self, now: Instant, most: usize) {
        for _ in 0..most {
            if self.order.front().is_none_or(|(over, ..)| now < *over) {
                return;
            }
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some((_, number, group)) = self.order.pop_front()
            && self.by_group.get(&group).is_some_and(|(_, last)| *last == number)
        {
            self.by_group.remove(&group);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(number: usize) -> Group {
        Group::new(format!("cache-{number}")).unwrap()
    }

    #[test]
    fn messages_are_remembered_for_a_while_and_up_to_a_bound() {
        let (mut gone, now) = (Gone::default(), Instant::now());
        let former = |sent| Former { sent: Ordinal(sent), since: now };
        gone.add(&group(0), former(1), now);
        gone.add(&group(1), former(2), now);
        gone.add(&group(0), former(3), now + Duration::from_secs(1));
        gone.forget(now + REMEMBERED, 10);
        assert_eq!((gone.get(&group(0)), gone.get(&group(1))), (Some(former(3)), None));
        gone.remove(&group(0));
        assert_eq!(gone.get(&group(0)), None);
        (0..2 * MOST).for_each(|number| gone.add(&group(number), former(4), now));
        assert_eq!((gone.order.len(), gone.by_group.len()), (MOST, MOST));
        assert_eq!((gone.get(&group(0)), gone.get(&group(2 * MOST - 1))), (None, Some(former(4))));
        gone.forget(now + 2 * REMEMBERED, usize::MAX);
        assert!(gone.is_empty() && gone.by_group.is_empty());
    }

    #[test]
    fn found_message_is_older_unless_it_was_certainly_sent_later() {
        let now = Instant::now();
        let former = Former { sent: Ordinal(1), since: now };
        let found = |age| Retention::new(Duration::from_secs(age), Duration::from_secs(60));
        // Its age is that of the answer, which has taken its time.
        assert!(former.supersedes(found(0), now + Duration::from_secs(5)));
        assert!(former.supersedes(found(15), now + Duration::from_secs(20)));
        assert!(!former.supersedes(found(1), now + Duration::from_secs(20)));
    }
}
