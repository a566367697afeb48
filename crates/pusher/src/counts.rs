//! How often the number of subscribers of a channel is sent.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use protocol::Group;

/// Channels with more subscribers are large.
const LARGE: u64 = 100;

/// The numbers of a large channel are this far apart, at least.
const APART: Duration = Duration::from_secs(5);

/// The large channels whose number was sent lately.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    large: HashMap<Group, Large>,
}

#[derive(Debug)]
struct Large {
    sent: Instant,
    /// The number that is sent when it is time.
    next: Option<u64>,
}

impl Counts {
    /// A channel has another number of subscribers. Returns whether it is sent now.
    pub(crate) fn changed(&mut self, channel: &Group, count: u64, now: Instant) -> bool {
        if count <= LARGE {
            self.large.remove(channel);
            return true;
        }
        match self.large.get_mut(channel) {
            Some(large) if now.saturating_duration_since(large.sent) < APART => {
                large.next = Some(count);
                false
            }
            Some(large) => {
                *large = Large { sent: now, next: None };
                true
            }
            None => {
                self.large.insert(channel.clone(), Large { sent: now, next: None });
                true
            }
        }
    }

    /// The numbers that are to be sent now. Channels that do not change are forgotten.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<(Group, u64)> {
        let mut due = Vec::new();
        self.large.retain(|channel, large| {
            if now.saturating_duration_since(large.sent) < APART {
                return true;
            }
            let next = large.next.take();
            due.extend(next.map(|count| (channel.clone(), count)));
            large.sent = now;
            next.is_some()
        });
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_channel_sends_every_number() {
        let (mut counts, channel, now) = (Counts::default(), Group::from(1), Instant::now());
        assert!([1, 2, 100, 3].iter().all(|count| counts.changed(&channel, *count, now)));
        assert!(counts.large.is_empty());
    }

    #[test]
    fn large_channel_sends_one_number_in_five_seconds_and_the_last_one_always() {
        let (mut counts, channel, start) = (Counts::default(), Group::from(1), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(counts.changed(&channel, 101, at(0)));
        assert!(!counts.changed(&channel, 102, at(1)));
        assert!(!counts.changed(&channel, 103, at(4)));
        assert_eq!(counts.due(at(4)), []);
        assert_eq!(counts.due(at(5)), [(channel.clone(), 103)]);
        assert!(!counts.changed(&channel, 104, at(6)));
        assert_eq!(counts.due(at(10)), [(channel.clone(), 104)]);
        assert_eq!(counts.due(at(15)), []);
        assert!(counts.large.is_empty(), "forgotten");
        assert!(counts.changed(&channel, 105, at(16)));
        assert!(!counts.changed(&channel, 106, at(17)));
        assert!(counts.changed(&channel, 100, at(17)), "small again");
        assert_eq!(counts.due(at(99)), []);
    }
}
