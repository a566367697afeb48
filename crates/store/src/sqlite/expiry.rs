//! Removes what has expired, and gives the space back, a bounded step at a time.

use rusqlite::{Connection, params};

use super::{
    database::{Database, random_bits},
    failure::Failure,
    rows::{Stream, set_due, stored},
};
use crate::append::KEY_LIFETIME;

/// The most streams, messages of a stream, and keys of one step.
const MOST_STREAMS: i64 = 32;
const MOST_ITEMS: u64 = 500;
const MOST_KEYS: i64 = 1000;

/// Free pages that are kept for what comes next, and the most that one step gives back.
const SPARE_PAGES: i64 = 1024;
const MOST_PAGES: i64 = 256;

/// Runs one step. Returns whether there is more to do.
pub(super) fn step(database: &Database, now_ms: u64) -> Result<bool, Failure> {
    let mut more = false;
    if is_due(&database.connection, now_ms)? {
        let (transaction, _) = database.begin()?;
        let keys = remove_keys(&transaction, now_ms)?;
        let streams = expire_streams(&transaction, now_ms)?;
        transaction.commit()?;
        more = keys || streams;
    }
    Ok(give_back(&database.connection)? || more)
}

/// Whether something has expired, without a lock that would delay other processes.
fn is_due(connection: &Connection, now_ms: u64) -> Result<bool, Failure> {
    let mut due = connection.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM streams WHERE due_ms <= ?1) \
         OR EXISTS (SELECT 1 FROM (SELECT used_ms FROM keys ORDER BY id LIMIT 1) WHERE used_ms < ?2)",
    )?;
    let times = params![stored(now_ms), stored(oldest_key(now_ms))];
    Ok(due.query_row(times, |row| row.get(0))?)
}

const fn oldest_key(now_ms: u64) -> u64 {
    now_ms.saturating_sub(KEY_LIFETIME.as_millis() as u64)
}

fn remove_keys(connection: &Connection, now_ms: u64) -> Result<bool, Failure> {
    let mut remove = connection.prepare_cached(
        "DELETE FROM keys WHERE used_ms < ?1 AND id IN (SELECT id FROM keys ORDER BY id LIMIT ?2)",
    )?;
    let removed = remove.execute([stored(oldest_key(now_ms)), MOST_KEYS])?;
    Ok(MOST_KEYS <= removed as i64)
}

fn expire_streams(connection: &Connection, now_ms: u64) -> Result<bool, Failure> {
    let due = Stream::due(connection, now_ms, MOST_STREAMS)?;
    let mut more = MOST_STREAMS <= due.len() as i64;
    for mut stream in due {
        let live = stream.first_live(connection, now_ms)?;
        let first = live.min(stream.first().saturating_add(MOST_ITEMS));
        stream.remove_below(connection, first)?;
        stream.save_extent(connection)?;
        if first < live {
            more = true;
            continue;
        }
        match stream.next_due(connection)? {
            due if now_ms < due => set_due(connection, stream.id, due)?,
            _ => forget(connection, &stream)?,
        }
    }
    Ok(more)
}

/// Forgets a stream whose messages expired long ago. Its epoch must never come again, so streams
/// without a row get another one.
fn forget(connection: &Connection, stream: &Stream) -> Result<(), Failure> {
    for sql in ["DELETE FROM keys WHERE stream = ?1", "DELETE FROM streams WHERE id = ?1"] {
        connection.prepare_cached(sql)?.execute([stream.id])?;
    }
    connection.prepare_cached("UPDATE store SET unused = ?1")?.execute([random_bits()])?;
    Ok(())
}

/// Gives free pages back to the file system.
fn give_back(connection: &Connection) -> Result<bool, Failure> {
    let free: i64 = connection.query_row("PRAGMA freelist_count", [], |row| row.get(0))?;
    if free <= SPARE_PAGES {
        return Ok(false);
    }
    let pages = MOST_PAGES.min(free - SPARE_PAGES);
    let mut vacuum = connection.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
    let mut rows = vacuum.query([])?;
    // Each row is a page.
    while rows.next()?.is_some() {}
    Ok(pages < free - SPARE_PAGES)
}
