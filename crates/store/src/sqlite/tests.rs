//! The rows of the store with given times: expiry, forgotten streams, and damage.

use std::{path::Path, time::Duration};

use rusqlite::params;
use tempfile::TempDir;

use super::{database::Database, failure::Failure, *};
use crate::{Key, Limit, Page, Range, Reason, Rule};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

fn open(folder: &TempDir) -> Database {
    Database::open(&folder.path().join("streams.db"), None).unwrap()
}

fn message(number: u64, ttl_ms: u64) -> Append {
    let rule = Rule::new(100_000, Duration::from_millis(ttl_ms), 1 << 30).unwrap();
    let stream = StreamName::Group(1.into());
    Append::new(stream, Key::from_random(number.into()), vec![b'x'; 100], rule)
}

fn append(database: &Database, append: &Append, now_ms: u64) -> Position {
    let (transaction, epochs) = database.begin().unwrap();
    let appended = rows::append(&transaction, epochs, append, now_ms).unwrap();
    transaction.commit().unwrap();
    appended.position
}

/// Appends the messages 1 to `count`, one each 10 ms.
fn fill(database: &Database, count: u64, ttl_ms: u64) -> Position {
    let (transaction, epochs) = database.begin().unwrap();
    let mut top = None;
    for number in 1..=count {
        let message = message(number, ttl_ms);
        top = Some(rows::append(&transaction, epochs, &message, number * 10).unwrap().position);
    }
    transaction.commit().unwrap();
    top.unwrap()
}

fn read(database: &Database, range: Range, now_ms: u64) -> Result<Reading, Failure> {
    let (snapshot, epochs) = database.snapshot().unwrap();
    let limit = Limit { items: 10_000, bytes: 1 << 24 };
    rows::read(&snapshot, epochs, &StreamName::Group(1.into()), (range, limit), now_ms)
}

fn page(database: &Database, range: Range, now_ms: u64) -> Page {
    match read(database, range, now_ms).unwrap() {
        Reading::Page(page) => page,
        Reading::Refused(refused) => panic!("{refused:?}"),
    }
}

fn count(database: &Database, table: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {table}");
    database.connection.query_row(&sql, [], |row| row.get(0)).unwrap()
}

/// Steps until nothing is left to do.
fn expire(database: &Database, now_ms: u64) -> usize {
    (1..).find(|_| !expiry::step(database, now_ms).unwrap()).unwrap()
}

#[test]
fn expired_messages_are_hidden_at_once_and_removed_later() {
    let folder = TempDir::new().unwrap();
    let database = open(&folder);
    let top = fill(&database, 100, 5000);
    let edges = [(5009, 1), (5010, 2), (5019, 2), (5499, 50), (5500, 51), (5999, 100), (6000, 101)];
    for (now, first) in edges {
        let page = page(&database, Range::Oldest, now);
        assert_eq!((page.first, page.items.len() as u64), (first, 101 - first), "{now}");
        assert_eq!(page.top, top);
        let before = Position { offset: first - 1, ..top };
        assert_eq!(
            self::page(&database, Range::Missed(before), now).items.len() as u64,
            101 - first
        );
        if 1 < first {
            let earlier = Position { offset: first - 2, ..top };
            let Reading::Refused(refused) = read(&database, Range::Missed(earlier), now).unwrap()
            else {
                panic!("{earlier:?} at {now}");
            };
            assert_eq!((refused.reason, refused.first), (Reason::Trimmed, first));
        }
    }
    assert_eq!(count(&database, "items"), 100);
    expire(&database, 5500);
    assert_eq!((count(&database, "items"), count(&database, "streams")), (50, 1));
    assert_eq!(page(&database, Range::Oldest, 5500).first, 51);
    expire(&database, 6000);
    assert_eq!((count(&database, "items"), count(&database, "streams")), (0, 1));
    assert_eq!(append(&database, &message(101, 500), 6000), top.next());
}

#[test]
fn expiry_takes_bounded_steps() {
    let folder = TempDir::new().unwrap();
    let database = open(&folder);
    fill(&database, 1700, 500_000);
    let before = count(&database, "items");
    expiry::step(&database, DAY_MS / 2).unwrap();
    assert_eq!(count(&database, "items"), before - 500);
    assert_eq!(count(&database, "keys"), before - 1000);
    assert!(2 < expire(&database, DAY_MS / 2));
    assert_eq!((count(&database, "items"), count(&database, "keys")), (0, 0));
}

#[test]
fn stream_is_forgotten_after_its_retention_and_its_epoch_never_comes_again() {
    let folder = TempDir::new().unwrap();
    let database = open(&folder);
    let top = fill(&database, 10, 500);
    expire(&database, DAY_MS + 99);
    assert_eq!(page(&database, Range::Missed(top), DAY_MS + 99).items, []);
    expire(&database, DAY_MS + 100);
    assert_eq!((count(&database, "streams"), count(&database, "keys")), (0, 0));
    let again = append(&database, &message(1, 500), DAY_MS + 100);
    assert_eq!(again.offset, 1);
    assert_ne!(again.epoch, top.epoch);
}

#[test]
fn keys_are_remembered_for_their_time() {
    let folder = TempDir::new().unwrap();
    let database = open(&folder);
    let first = append(&database, &message(1, 500), 1000);
    let lifetime = KEY_LIFETIME_MS;
    expire(&database, 1000 + lifetime);
    assert_eq!(append(&database, &message(1, 500), 1000 + lifetime), first);
    assert_eq!(append(&database, &message(1, 500), 1001 + lifetime), first.next(), "not removed");
    expire(&database, 1002 + 2 * lifetime);
    assert_eq!(count(&database, "keys"), 0);
}

const KEY_LIFETIME_MS: u64 = crate::append::KEY_LIFETIME.as_millis() as u64;

#[test]
fn free_space_is_given_back() {
    let folder = TempDir::new().unwrap();
    let database = open(&folder);
    let message = |number| Append { payload: vec![0; 1 << 20].into(), ..message(number, 500) };
    for number in 1..=10 {
        append(&database, &message(number), 1000);
    }
    let pages =
        || database.connection.query_row("PRAGMA page_count", [], |row| row.get::<_, i64>(0));
    assert!(2500 < pages().unwrap());
    assert!(2 < expire(&database, 2000), "in several steps");
    assert!(pages().unwrap() < 1100);
}

#[test]
fn damage_is_an_error_and_never_a_gap() {
    let folder = TempDir::new().unwrap();
    let database = open(&folder);
    let top = fill(&database, 10, 500_000);
    let change = |sql: &str| database.connection.execute(sql, params![]).unwrap();
    let damaged = |range| match read(&database, range, 200).unwrap_err() {
        Failure::Damaged(cause) => cause,
        other => panic!("{other:?}"),
    };
    change("DELETE FROM items WHERE number = 5");
    assert!(damaged(Range::Missed(Position { offset: 3, ..top })).contains("message 5"));
    assert!(damaged(Range::Newest).contains("message 5"));
    assert_eq!(page(&database, Range::Missed(Position { offset: 5, ..top }), 200).items.len(), 5);
    change("DELETE FROM items WHERE number = 1");
    assert!(damaged(Range::Top).contains("message 1"));
    for sql in ["top = 1 << 60", "top = 3, first = 5", "first = 0", "first = -1", "top = -1"] {
        change(&format!("UPDATE streams SET {sql}"));
        let error = read(&database, Range::Top, 200).unwrap_err().error(&"file".into());
        assert_eq!(error.kind, ErrorKind::Corrupt, "{sql}: {error}");
        change("UPDATE streams SET first = 2, top = 10");
    }
    change("UPDATE keys SET number = 11 WHERE number = 9");
    let (transaction, epochs) = database.begin().unwrap();
    let error = rows::append(&transaction, epochs, &message(9, 500_000), 200).unwrap_err();
    assert!(matches!(error, Failure::Damaged(_)), "{error:?}");
}

/// The epoch of the stream, as a process sees it that opens the file.
fn epoch_at(path: &Path) -> protocol::Epoch {
    page(&Database::open(path, None).unwrap(), Range::Top, 0).top.epoch
}

#[test]
fn epochs_change_after_a_boot_that_may_have_lost_writes() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("streams.db");
    let database = Database::open(&path, None).unwrap();
    let top = fill(&database, 10, 500);
    let unused = database.snapshot().unwrap().1.unused;
    drop(database);
    assert_eq!(epoch_at(&path), top.epoch, "the end of a process loses nothing");
    let database = Database::open(&path, None).unwrap();
    database.connection.execute("UPDATE store SET dirty = 'another boot'", []).unwrap();
    drop(database);
    let database = Database::open(&path, None).unwrap();
    let renewed = page(&database, Range::Top, 0).top;
    assert_eq!(renewed.offset, top.offset);
    assert_ne!(renewed.epoch, top.epoch);
    assert_ne!(database.snapshot().unwrap().1.unused, unused);
    assert_eq!(append(&database, &message(11, 500), 110), renewed.next());
    assert_eq!(append(&database, &message(10, 500), 110), renewed, "keys are remembered");
}

#[test]
fn epochs_stay_after_a_boot_that_was_ended_in_order() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("streams.db");
    let (database, other) = (open(&folder), open(&folder));
    let top = fill(&database, 10, 500);
    let dirty = || {
        let sql = "SELECT dirty FROM store";
        other.connection.query_row(sql, [], |row| row.get::<_, Option<String>>(0)).unwrap()
    };
    assert!(dirty().is_some());
    database.settle().unwrap();
    assert_eq!(dirty(), None, "what another boot finds");
    assert_eq!(append(&other, &message(11, 500), 110), top.next());
    assert!(dirty().is_some(), "marked again before the next write of another process");
    drop(database);
    assert_eq!(epoch_at(&path), top.epoch);
}

#[test]
fn copy_of_a_file_has_other_epochs() {
    let folder = TempDir::new().unwrap();
    let database = open(&folder);
    let top = fill(&database, 10, 500);
    database.settle().unwrap();
    drop(database);
    let copy = folder.path().join("copy.db");
    std::fs::copy(folder.path().join("streams.db"), &copy).unwrap();
    let renewed = epoch_at(&copy);
    assert_ne!(renewed, top.epoch);
    assert_eq!(epoch_at(&copy), renewed);
    assert_eq!(epoch_at(&folder.path().join("streams.db")), top.epoch);
}
