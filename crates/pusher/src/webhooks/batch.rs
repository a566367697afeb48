//! Events that wait to be sent together. Values without a clock: callers pass the time.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::payload::{MAX_EVENTS, WebhookEvent};

/// The longest time that an event waits for others.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// The bytes of data at which a batch is full; one event may exceed it alone.
const MAX_BYTES: usize = 256 << 10;

/// The events of each place `P` that wait, in order.
#[derive(Debug)]
pub(crate) struct Batches<P> {
    waiting: BTreeMap<P, Batch>,
}

#[derive(Debug)]
struct Batch {
    events: Vec<WebhookEvent>,
    bytes: usize,
    due: Instant,
}

impl<P> Default for Batches<P> {
    fn default() -> Self {
        Self { waiting: BTreeMap::new() }
    }
}

/// The outcome of adding an event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Added {
    /// It waits, as the first of its place: the batch is due after [`LONGEST_WAIT`].
    First,
    /// It waits with others.
    Waits,
    /// The events of its place, this one included, are to be sent now.
    Full(Vec<WebhookEvent>),
}

impl<P: Clone + Ord> Batches<P> {
    /// Adds an event.
    pub(crate) fn add(&mut self, place: P, event: WebhookEvent, now: Instant) -> Added {
        let new = || Batch { events: Vec::new(), bytes: 0, due: now + LONGEST_WAIT };
        let batch = self.waiting.entry(place.clone()).or_insert_with(new);
        batch.bytes += size(&event);
        batch.events.push(event);
        match batch.events.len() {
            MAX_EVENTS.. => {}
            _ if MAX_BYTES <= batch.bytes => {}
            1 => return Added::First,
            _ => return Added::Waits,
        }
        Added::Full(self.take(&place).unwrap_or_default())
    }

    /// Takes the batch of a place if it is due.
    pub(crate) fn take_due(&mut self, place: &P, now: Instant) -> Option<Vec<WebhookEvent>> {
        match self.waiting.get(place)?.due <= now {
            true => self.take(place),
            false => None,
        }
    }

    /// Takes the batch of a place.
    pub(crate) fn take(&mut self, place: &P) -> Option<Vec<WebhookEvent>> {
        self.waiting.remove(place).map(|batch| batch.events)
    }
}

/// Bytes of an event, nearly.
pub(crate) fn size(event: &WebhookEvent) -> usize {
    let data = match event {
        WebhookEvent::ClientEvent { event, data, .. } => event.len() + data.len(),
        _ => 0,
    };
    100 + event.channel().len() + data
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(number: usize) -> WebhookEvent {
        WebhookEvent::ChannelOccupied { channel: number.to_string() }
    }

    #[test]
    fn batch_is_sent_when_full_or_after_a_second() {
        let (mut batches, start) = (Batches::default(), Instant::now());
        assert_eq!(batches.add("a", event(0), start), Added::First);
        for number in 1..99 {
            assert_eq!(batches.add("a", event(number), start), Added::Waits);
        }
        assert_eq!(batches.add("b", event(7), start + LONGEST_WAIT / 2), Added::First);
        let expected = (0..100).map(event).collect();
        assert_eq!(batches.add("a", event(99), start), Added::Full(expected), "in order");
        assert_eq!(batches.add("a", event(100), start + LONGEST_WAIT), Added::First);
        assert_eq!(batches.take_due(&"a", start + LONGEST_WAIT), None, "that of another batch");
        assert_eq!(batches.take_due(&"b", start + LONGEST_WAIT), None);
        assert_eq!(batches.take_due(&"b", start + LONGEST_WAIT * 3 / 2), Some(vec![event(7)]));
        assert_eq!(batches.take(&"a"), Some(vec![event(100)]));
        assert_eq!(batches.take(&"a"), None);
    }

    #[test]
    fn batch_is_bounded_in_bytes() {
        let (mut batches, start) = (Batches::default(), Instant::now());
        let large = |kib: usize| WebhookEvent::ClientEvent {
            channel: "private-a".to_owned(),
            event: "client-e".to_owned(),
            data: "x".repeat(kib << 10),
            socket_id: "1.2".to_owned(),
            user_id: None,
        };
        assert_eq!(batches.add((), large(100), start), Added::First);
        assert_eq!(batches.add((), large(100), start), Added::Waits);
        let Added::Full(events) = batches.add((), large(100), start) else { panic!("full") };
        assert_eq!(events.len(), 3);
        assert!(matches!(batches.add((), large(300), start), Added::Full(_)));
    }
}
