//! Which messages are read, at the edges of what a stream has and of the limits.

use bytes::Bytes;
use protocol::Epoch;

use super::*;

const EPOCH: Epoch = Epoch::from_bits(7);

/// A stream that keeps the messages 5 to 9, each of 10 bytes.
const EXTENT: Extent = Extent { first: 5, top: at(9) };

const fn at(offset: u64) -> Position {
    Position::new(EPOCH, offset)
}

fn item(offset: u64) -> Item {
    let payload = Bytes::from_static(&[0; 10]);
    Item { offset, appended_ms: 0, payload, metadata: Bytes::new() }
}

fn read_from(extent: Extent, range: Range, items: u32, bytes: u64) -> Reading {
    let mut plan = match plan(range, Limit { items, bytes }, extent) {
        Ok(plan) => plan,
        Err(refused) => return refused,
    };
    while plan.wants_more() {
        let taken = plan.items.len() as u64;
        plan.take(item(if plan.backwards { plan.to - taken } else { plan.from + taken })).unwrap();
    }
    plan.finish().unwrap()
}

fn offsets(reading: Reading) -> (Vec<u64>, bool) {
    let Reading::Page(page) = reading else { panic!("refused: {reading:?}") };
    assert_eq!((page.first, page.top), (5, at(9)));
    (page.items.iter().map(|item| item.offset).collect(), page.more)
}

fn reason(reading: Reading) -> Reason {
    let Reading::Refused(refused) = reading else { panic!("not refused: {reading:?}") };
    assert_eq!((refused.first, refused.top), (5, at(9)));
    refused.reason
}

#[test]
fn missed_messages_are_read_wholly_or_not_at_all() {
    let read = |offset| read_from(EXTENT, Range::Missed(at(offset)), 300, 1000);
    assert_eq!(reason(read(0)), Reason::Trimmed);
    assert_eq!(reason(read(3)), Reason::Trimmed);
    assert_eq!(offsets(read(4)), (vec![5, 6, 7, 8, 9], false));
    assert_eq!(offsets(read(5)), (vec![6, 7, 8, 9], false));
    assert_eq!(offsets(read(9)), (vec![], false));
    assert_eq!(reason(read(10)), Reason::Ahead);
    assert_eq!(reason(read(u64::MAX)), Reason::Ahead);
    let other = Position::new(Epoch::from_bits(8), 9);
    assert_eq!(reason(read_from(EXTENT, Range::Missed(other), 300, 1000)), Reason::Epoch);
}

#[test]
fn more_than_the_limit_is_refused_to_a_client_that_comes_back() {
    let read = |items, bytes| read_from(EXTENT, Range::Missed(at(4)), items, bytes);
    assert_eq!(offsets(read(5, 50)), (vec![5, 6, 7, 8, 9], false));
    assert_eq!(reason(read(4, 50)), Reason::Limit);
    assert_eq!(reason(read(5, 49)), Reason::Limit);
    assert_eq!(reason(read(0, 0)), Reason::Limit);
    assert_eq!(offsets(read(u32::MAX, u64::MAX)).0.len(), 5);
}

#[test]
fn pages_forwards_end_at_the_limit() {
    let read = |offset, items, bytes| read_from(EXTENT, Range::After(at(offset)), items, bytes);
    assert_eq!(offsets(read(4, 2, 1000)), (vec![5, 6], true));
    assert_eq!(offsets(read(6, 3, 1000)), (vec![7, 8, 9], false));
    assert_eq!(offsets(read(4, 300, 25)), (vec![5, 6], true));
    assert_eq!(offsets(read(4, 300, 0)), (vec![5], true), "at least one");
    assert_eq!(offsets(read(9, 300, 1000)), (vec![], false));
    assert_eq!(reason(read(3, 300, 1000)), Reason::Trimmed);
    assert_eq!(offsets(read_from(EXTENT, Range::Oldest, 2, 1000)), (vec![5, 6], true));
}

#[test]
fn pages_backwards_end_at_the_limit_and_are_in_ascending_order() {
    let read = |offset, items, bytes| read_from(EXTENT, Range::Before(at(offset)), items, bytes);
    assert_eq!(offsets(read(10, 2, 1000)), (vec![8, 9], true));
    assert_eq!(offsets(read(8, 3, 1000)), (vec![5, 6, 7], false));
    assert_eq!(offsets(read(8, 2, 1000)), (vec![6, 7], true));
    assert_eq!(offsets(read(8, 300, 0)), (vec![7], true));
    for before_all in [0, 1, 4, 5] {
        assert_eq!(offsets(read(before_all, 300, 1000)), (vec![], false), "{before_all}");
    }
    assert_eq!(reason(read(11, 300, 1000)), Reason::Ahead);
    let newest = read_from(EXTENT, Range::Newest, 300, 1000);
    assert_eq!(offsets(newest), (vec![5, 6, 7, 8, 9], false));
}

#[test]
fn empty_stream_has_empty_pages() {
    for (first, top) in [(1, 0), (10, 9)] {
        let extent = Extent { first, top: at(top) };
        for range in [
            Range::Top,
            Range::Oldest,
            Range::Newest,
            Range::Missed(at(top)),
            Range::After(at(top)),
            Range::Before(at(top)),
        ] {
            let page = Page { items: Vec::new(), more: false, first, top: at(top) };
            assert_eq!(read_from(extent, range, 300, 1000), Reading::Page(page), "{range:?}");
        }
    }
}

#[test]
fn missing_message_is_an_error_and_not_a_shorter_page() {
    let plan = || plan(Range::Oldest, Limit::default(), EXTENT).unwrap();
    let hole = |expected, found| Hole { expected, found };
    assert_eq!(plan().take(item(6)), Err(hole(5, Some(6))));
    let mut second = plan();
    second.take(item(5)).unwrap();
    assert_eq!(second.take(item(7)), Err(hole(6, Some(7))));
    assert_eq!(second.finish(), Err(hole(6, None)));
    assert_eq!(plan().finish(), Err(hole(5, None)));
}
