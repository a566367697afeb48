//! A cursor, case by case.

use super::*;

const A: Epoch = Epoch::from_bits(1);
const B: Epoch = Epoch::from_bits(2);

fn at(epoch: Epoch, offset: u64) -> Position {
    Position::new(epoch, offset)
}

fn arrive(cursor: &mut Cursor<u64>, epoch: Epoch, offset: u64) -> Arrival<u64> {
    cursor.arrive(at(epoch, offset), offset, |message| (message, 1))
}

fn taken(cursor: &mut Cursor<u64>) -> Vec<u64> {
    std::iter::from_fn(|| cursor.take_next()).map(|(_, message)| message).collect()
}

#[test]
fn next_goes_out_older_is_dropped_later_waits() {
    let mut cursor = Cursor::new(at(A, 5));
    assert_eq!(arrive(&mut cursor, A, 5), Arrival::Older);
    assert_eq!(arrive(&mut cursor, A, 6), Arrival::Next(6));
    assert_eq!(arrive(&mut cursor, A, 9), Arrival::Later);
    assert_eq!(arrive(&mut cursor, A, 8), Arrival::Later);
    assert_eq!((cursor.missing(), cursor.bytes()), (Some(at(A, 9)), 2));
    assert_eq!(arrive(&mut cursor, A, 7), Arrival::Next(7));
    assert_eq!(taken(&mut cursor), [8, 9]);
    assert_eq!((cursor.at(), cursor.missing(), cursor.bytes()), (at(A, 9), None, 0));
}

#[test]
fn waiting_is_bounded_and_what_does_not_fit_is_still_missing() {
    let mut cursor = Cursor::new(at(A, 0));
    let last = 2 * WAITING as u64;
    for offset in 2..=last {
        assert_eq!(arrive(&mut cursor, A, offset), Arrival::Later);
    }
    assert_eq!(cursor.bytes(), WAITING);
    assert_eq!(arrive(&mut cursor, A, 1), Arrival::Next(1));
    assert_eq!(taken(&mut cursor).len(), WAITING);
    assert_eq!(cursor.missing(), Some(at(A, last)), "to be asked for");
    let large = WAITING_BYTES / 2;
    for offset in [last, last - 1, last - 2] {
        let kept = cursor.arrive(at(A, offset), offset, |message| (message, large));
        assert_eq!(kept, Arrival::Later);
    }
    assert_eq!(cursor.bytes(), 2 * large, "the latest goes first");
}

#[test]
fn new_epoch_waits_for_its_reset_and_the_old_one_is_over_then() {
    let mut cursor = Cursor::new(at(A, 5));
    assert_eq!(arrive(&mut cursor, A, 7), Arrival::Later);
    assert_eq!(arrive(&mut cursor, B, 3), Arrival::Later);
    assert_eq!((cursor.missing(), cursor.bytes()), (Some(at(B, 3)), 1));
    // Late, and still the next of the old epoch.
    assert_eq!(arrive(&mut cursor, A, 6), Arrival::Next(6));
    assert_eq!(cursor.reset(at(A, 5), at(B, 3)), None, "asked before");
    assert_eq!(cursor.reset(at(A, 6), at(B, 3)), Some(at(B, 2)), "the third is here");
    assert_eq!(taken(&mut cursor), [3]);
    assert_eq!(arrive(&mut cursor, A, 7), Arrival::Older);
    assert_eq!(cursor.reset(at(B, 3), at(A, 9)), None);
    assert_eq!(arrive(&mut cursor, B, 4), Arrival::Next(4));
}

#[test]
fn message_of_an_older_epoch_is_found_out_by_an_answer() {
    let mut cursor = Cursor::new(at(B, 5));
    assert_eq!(arrive(&mut cursor, B, 7), Arrival::Later);
    assert_eq!(arrive(&mut cursor, A, 40), Arrival::Later);
    // The store was read before that message arrived: it may be of a newer epoch.
    cursor.answered(Some(at(B, 7)), at(B, 7));
    assert_eq!(cursor.missing(), Some(at(A, 40)));
    cursor.answered(cursor.missing(), at(B, 7));
    assert_eq!((cursor.missing(), cursor.bytes()), (Some(at(B, 7)), 0));
    assert_eq!(arrive(&mut cursor, A, 41), Arrival::Older);
}

#[test]
fn reset_within_an_epoch_skips_no_message_that_waits() {
    let mut cursor = Cursor::new(at(A, 5));
    assert_eq!(arrive(&mut cursor, A, 10), Arrival::Later);
    assert_eq!(arrive(&mut cursor, A, 12), Arrival::Later);
    assert_eq!(cursor.reset(at(A, 5), at(A, 5)), None, "not behind it");
    assert_eq!(cursor.reset(at(A, 5), at(A, 12)), Some(at(A, 9)));
    assert_eq!(taken(&mut cursor), [10]);
    assert_eq!(cursor.missing(), Some(at(A, 12)));
    assert_eq!(cursor.reset(at(A, 5), at(A, 12)), None, "the same again");
}

#[test]
fn known_position_is_missing_until_it_is_passed() {
    let mut cursor = Cursor::new(at(A, 5));
    cursor.learn(at(A, 5));
    assert_eq!(cursor.missing(), None);
    cursor.learn(at(A, 7));
    assert_eq!(arrive(&mut cursor, A, 6), Arrival::Next(6));
    assert_eq!(cursor.missing(), Some(at(A, 7)));
    assert_eq!(arrive(&mut cursor, A, 7), Arrival::Next(7));
    assert_eq!(cursor.missing(), None);
}

#[test]
fn epochs_that_are_over_are_remembered_for_some_time() {
    let mut cursor = Cursor::<u64>::new(at(A, 1));
    for epoch in 10..10 + RETIRED as u64 {
        let to = at(Epoch::from_bits(epoch), 1);
        assert_eq!(cursor.reset(cursor.at(), to), Some(to));
    }
    assert_eq!(arrive(&mut cursor, A, 2), Arrival::Older);
    assert_eq!(cursor.retired.len(), RETIRED);
}
