//! The limits of a stream and its keys, with given times.

use std::time::Duration;

use protocol::StreamName;

use super::*;
use crate::read::Reason;

const EPOCH: Epoch = Epoch::from_bits(1);
const RENEWED: Epoch = Epoch::from_bits(2);

fn append(key: u128, bytes: usize, rule: Rule) -> Append {
    let stream = StreamName::Uid(1.into());
    Append::new(stream, Key::from_random(key), vec![b'x'; bytes], rule)
}

fn rule(size: u32, ttl_ms: u64, bytes: u64) -> Rule {
    Rule::new(size, Duration::from_millis(ttl_ms), bytes).unwrap()
}

/// A stream with messages of 10 bytes, one each 10 ms.
fn log(messages: u64, rule: Rule) -> Log {
    let mut log = Log::new(EPOCH);
    for number in 1..=messages {
        let appended = log.append(append(number.into(), 10, rule), number * 10, RENEWED);
        assert_eq!(appended.position, Position::new(EPOCH, number));
    }
    log
}

/// The oldest message that is kept.
fn first(log: &mut Log, now_ms: u64) -> u64 {
    match log.read(Range::Oldest, Limit::default(), now_ms) {
        Reading::Page(page) => page.first,
        Reading::Refused(refused) => panic!("{refused:?}"),
    }
}

#[test]
fn oldest_messages_beyond_a_limit_are_removed() {
    assert_eq!(first(&mut log(10, rule(3, 1000, 1000)), 100), 8);
    assert_eq!(first(&mut log(10, rule(100, 1000, 39)), 100), 8);
    assert_eq!(first(&mut log(10, rule(100, 1000, 1)), 100), 10, "the newest is kept");
    let mut aged = log(10, rule(100, 30, 1000));
    assert_eq!(first(&mut aged, 109), 8);
    assert_eq!(first(&mut aged, 110), 9);
    assert_eq!(first(&mut aged, 130), 11, "all are too old");
    assert_eq!(aged.top(), Position::new(EPOCH, 10));
}

#[test]
fn clock_that_goes_back_keeps_the_order_of_times() {
    let mut log = log(3, rule(100, 30, 1000));
    log.append(append(4, 10, rule(100, 30, 1000)), 5, RENEWED);
    assert_eq!(first(&mut log, 0), 1);
    let Reading::Page(page) = log.read(Range::Oldest, Limit::default(), 0) else { panic!() };
    assert_eq!(page.items.last().unwrap().appended_ms, 30);
}

#[test]
fn key_is_remembered_after_its_message_is_removed() {
    let mut log = log(10, rule(1, 1000, 1000));
    let lifetime = KEY_LIFETIME.as_millis() as u64;
    let again = |log: &mut Log, now| log.append(append(3, 10, rule(1, 1000, 1000)), now, RENEWED);
    let position = Position::new(EPOCH, 3);
    assert_eq!(again(&mut log, 30 + lifetime), Appended { position, repeated: true });
    assert_eq!(log.top().offset, 10);
    assert_eq!(again(&mut log, 31 + lifetime).position.offset, 11);
}

#[test]
fn new_epoch_continues_the_offsets() {
    let mut log = log(2, rule(100, 1000, 1000));
    let renewing = Append { renew: true, ..append(3, 10, rule(100, 1000, 1000)) };
    let position = Position::new(RENEWED, 3);
    assert_eq!(log.append(renewing.clone(), 30, RENEWED), Appended { position, repeated: false });
    let again = log.append(renewing, 40, Epoch::from_bits(3));
    assert_eq!(again, Appended { position, repeated: true }, "renewed once");
    let old = Range::Missed(Position::new(EPOCH, 2));
    match log.read(old, Limit::default(), 40) {
        Reading::Refused(refused) => assert_eq!(refused.reason, Reason::Epoch),
        Reading::Page(page) => panic!("{page:?}"),
    }
    assert_eq!(first(&mut log, 40), 1, "history stays");
}
