//! Retained messages against a model, their bound and their end.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn group(name: u8) -> Group {
    Group::new(format!("cache-{name}")).unwrap()
}

/// Retains a message of that length for that many seconds.
fn retain(all: &mut RetainedMessages, name: u8, length: usize, seconds: u32, now: Instant) {
    let message = Message::text("x".repeat(length));
    let retention = Retention::new(Duration::ZERO, seconds * SECOND);
    all.retain(&group(name), &message, retention, Ordinal(u64::from(name)), now);
}

fn length(all: &RetainedMessages, name: u8, now: Instant) -> Option<usize> {
    all.get(&group(name), now).map(|entry| entry.message.body.len())
}

#[test]
fn message_of_a_group_is_its_last_until_its_time_is_over() {
    let (mut all, now) = (RetainedMessages::new(1 << 20), Instant::now());
    retain(&mut all, 1, 10, 5, now);
    retain(&mut all, 2, 20, 50, now);
    retain(&mut all, 1, 11, 6, now + SECOND);
    assert_eq!((length(&all, 1, now + SECOND), length(&all, 2, now)), (Some(11), Some(20)));
    assert_eq!(length(&all, 3, now), None);
    let answer = all.answer(&group(1), now + 4 * SECOND).unwrap();
    assert_eq!(answer.retention, Retention::new(3 * SECOND, 3 * SECOND));
    assert_eq!(length(&all, 1, now + 7 * SECOND), None);
    assert_eq!(all.answer(&group(1), now + 7 * SECOND), None);
    all.remove_expired(now + 7 * SECOND, 10);
    assert_eq!((all.len(), all.size_of(&group(1)), all.take_dropped()), (1, 0, 0));
    // Without a time, the message before is not the last one either.
    retain(&mut all, 2, 1, 0, now);
    assert_eq!((all.len(), all.bytes()), (0, 0));
}

#[test]
fn oldest_message_goes_first_without_space_and_one_that_is_too_large_is_not_kept() {
    let (mut all, now) = (RetainedMessages::new(10_000), Instant::now());
    (0..8).for_each(|name| retain(&mut all, name, 500, 60, now));
    // Its place in the order is that of its last message.
    retain(&mut all, 0, 500, 60, now);
    retain(&mut all, 8, 5_000, 60, now);
    let kept: Vec<u8> = (0..9).filter(|name| length(&all, *name, now).is_some()).collect();
    let newest = 9 - all.take_dropped() as u8;
    let expected = [0].into_iter().chain((10 - newest)..9).collect::<Vec<_>>();
    assert_eq!(kept, expected);
    assert!(1 < newest && newest < 9 && all.bytes() <= 10_000);
    retain(&mut all, 8, 10_000, 60, now);
    assert_eq!((length(&all, 8, now), all.take_dropped()), (None, 1));
    let mut none = RetainedMessages::new(0);
    retain(&mut none, 1, 0, 60, now);
    assert_eq!((none.len(), none.bytes()), (0, 0));
}

#[test]
fn message_that_is_gone_is_remembered_whatever_has_ended_it() {
    let (mut all, now) = (RetainedMessages::new(2_000), Instant::now());
    let sent =
        |all: &RetainedMessages, name, now| all.former(&group(name), now).map(|former| former.sent);
    retain(&mut all, 1, 10, 5, now);
    assert_eq!(sent(&all, 1, now), None, "it is there");
    retain(&mut all, 2, 10, 0, now);
    retain(&mut all, 3, 5_000, 60, now);
    // Expired, also before it is removed.
    let later = now + 5 * SECOND;
    assert_eq!(sent(&all, 1, later), Some(Ordinal(1)));
    all.remove_expired(later, 10);
    for name in 1..=3 {
        assert_eq!(sent(&all, name, later), Some(Ordinal(u64::from(name))));
    }
    // Evicted for lack of space.
    (4..12).for_each(|name| retain(&mut all, name, 300, 60, later));
    assert_eq!((length(&all, 4, later), sent(&all, 4, later)), (None, Some(Ordinal(4))));
    assert_eq!(sent(&all, 11, later), None);
    all.remove_expired(later + 30 * SECOND, usize::MAX);
    assert_eq!(sent(&all, 4, later), None, "long ago");
    // Nothing is retained at all.
    let mut none = RetainedMessages::new(0);
    retain(&mut none, 1, 0, 60, now);
    assert!(none.is_idle());
}

#[test]
fn message_does_not_keep_the_buffer_alive_that_it_arrived_in() {
    let (mut all, now) = (RetainedMessages::new(10_000), Instant::now());
    let buffer = Bytes::from(vec![b'x'; 1 << 20]);
    let message = Message::binary(buffer.slice(10..20));
    all.retain(&group(1), &message, Retention::new(Duration::ZERO, SECOND), Ordinal(1), now);
    drop(message);
    assert!(buffer.is_unique());
}

proptest! {
    #[test]
    fn every_sequence_agrees_with_a_model_without_a_bound(
        steps in prop::collection::vec((0..6_u8, 0..40_usize, 0..9_u32, 0..3_u32), 0..60),
    ) {
        let (mut all, start) = (RetainedMessages::new(usize::MAX), Instant::now());
        let mut model: HashMap<u8, (usize, Instant)> = HashMap::new();
        let mut now = start;
        for (name, size, seconds, passed) in steps {
            now += passed * SECOND;
            retain(&mut all, name, size, seconds, now);
            model.insert(name, (size, now + seconds * SECOND));
            if size % 3 == 0 {
                all.remove_expired(now, size);
            }
            for name in 0..6 {
                let expected = model.get(&name).filter(|(_, until)| now < *until);
                prop_assert_eq!(length(&all, name, now), expected.map(|(size, _)| *size));
            }
            prop_assert_eq!(all.by_age.len(), all.len());
            prop_assert_eq!(all.by_end.len(), all.len());
        }
        all.remove_expired(now + 10 * SECOND, usize::MAX);
        prop_assert_eq!((all.len(), all.bytes()), (0, 0));
    }
}
