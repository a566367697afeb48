//! The statements of the store, within a transaction. The time is an argument.

use bytes::Bytes;
use protocol::{Epoch, Position, StreamName, stream::MAX_OFFSET};
use runtime::random;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{database::Epochs, failure::Failure};
use crate::{
    Append, Appended, Limit, Range,
    append::KEY_LIFETIME,
    plan::{Extent, plan},
    read::{Item, Reading},
};

/// The most messages that one append removes. The rest is removed by later ones.
const MOST_TRIMMED: i64 = 1000;

/// The row of a stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stream {
    pub(super) id: i64,
    epoch: Epoch,
    first: u64,
    top: u64,
    bytes: u64,
    ttl_ms: u64,
    last_ms: u64,
    due_ms: u64,
}

const STREAM: &str = "SELECT id, epoch, first, top, bytes, ttl_ms, last_ms, due_ms FROM streams";

/// A number that has no sign, as it is stored.
pub(super) fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, number))
}

impl Stream {
    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            epoch: Epoch::from_bits(row.get::<_, i64>(1)?.cast_unsigned()),
            first: unsigned(row, 2)?,
            top: unsigned(row, 3)?,
            bytes: unsigned(row, 4)?,
            ttl_ms: unsigned(row, 5)?,
            last_ms: unsigned(row, 6)?,
            due_ms: unsigned(row, 7)?,
        })
    }

    fn check(self) -> Result<Self, Failure> {
        let is_valid = 0 < self.first && self.first <= self.top + 1 && self.top < MAX_OFFSET;
        match is_valid {
            true => Ok(self),
            false => Err(Failure::Damaged(format!("a stream has the messages {self:?}"))),
        }
    }

    fn find(connection: &Connection, name: &StreamName) -> Result<Option<Self>, Failure> {
        let mut statement = connection.prepare_cached(&format!("{STREAM} WHERE name = ?1"))?;
        statement.query_row([name.to_key()], Self::of).optional()?.map(Self::check).transpose()
    }

    pub(super) fn due(connection: &Connection, now: u64, most: i64) -> Result<Vec<Self>, Failure> {
        let sql = format!("{STREAM} WHERE due_ms <= ?1 ORDER BY due_ms LIMIT ?2");
        let mut statement = connection.prepare_cached(&sql)?;
        let streams = statement.query_map([stored(now), most], Self::of)?;
        streams.map(|stream| stream?.check()).collect()
    }

    fn insert(
        connection: &Connection,
        append: &Append,
        epoch: Epoch,
        now: u64,
    ) -> Result<Self, Failure> {
        let name = append.stream.to_key();
        let due_ms = now.saturating_add(append.rule.ttl_ms());
        let mut statement = connection.prepare_cached(
            "INSERT INTO streams \
             (name, epoch, first, top, bytes, ttl_ms, retention_ms, last_ms, due_ms) \
             VALUES (?1, ?2, 1, 0, 0, 0, 0, 0, ?3)",
        )?;
        let id = statement.insert(params![name, epoch.to_bits().cast_signed(), stored(due_ms)])?;
        Ok(Self { id, epoch, first: 1, top: 0, bytes: 0, ttl_ms: 0, last_ms: 0, due_ms })
    }

    fn position(&self, epochs: Epochs) -> Position {
        Position::new(epochs.salted(self.epoch), self.top)
    }

    /// The oldest message that has not expired. Times never decrease, so it is found by halving.
    pub(super) fn first_live(&self, connection: &Connection, now: u64) -> Result<u64, Failure> {
        let mut time = connection
            .prepare_cached("SELECT appended_ms FROM items WHERE stream = ?1 AND number = ?2")?;
        let mut is_expired = |number: u64| {
            let time = time.query_row([self.id, stored(number)], |row| unsigned(row, 0));
            match time.optional()? {
                Some(time) => Ok(time.saturating_add(self.ttl_ms) <= now),
                None => Err(Failure::Damaged(format!("message {number} of a stream is missing"))),
            }
        };
        let (mut first, mut end) = (self.first, self.top + 1);
        if first == end || !is_expired(first)? {
            return Ok(first);
        }
        // All up to `first` have expired; `end` has not, or does not exist.
        while first + 1 < end {
            let middle = first + (end - first) / 2;
            match is_expired(middle)? {
                true => first = middle,
                false => end = middle,
            }
        }
        Ok(end)
    }

    pub(super) const fn first(&self) -> u64 {
        self.first
    }

    /// When the oldest message expires; without any, when the stream is forgotten.
    pub(super) fn next_due(&self, connection: &Connection) -> Result<u64, Failure> {
        if self.first <= self.top {
            let mut time = connection.prepare_cached(
                "SELECT appended_ms FROM items WHERE stream = ?1 AND number = ?2",
            )?;
            let time = time.query_row([self.id, stored(self.first)], |row| unsigned(row, 0))?;
            return Ok(time.saturating_add(self.ttl_ms));
        }
        let mut retention =
            connection.prepare_cached("SELECT retention_ms FROM streams WHERE id = ?1")?;
        let retention = retention.query_row([self.id], |row| unsigned(row, 0))?;
        Ok(self.last_ms.saturating_add(retention))
    }

    /// Writes which messages are kept.
    pub(super) fn save_extent(&self, connection: &Connection) -> Result<(), Failure> {
        let mut update =
            connection.prepare_cached("UPDATE streams SET first = ?2, bytes = ?3 WHERE id = ?1")?;
        update.execute([self.id, stored(self.first), stored(self.bytes)])?;
        Ok(())
    }

    /// Removes the messages below a number.
    pub(super) fn remove_below(
        &mut self,
        connection: &Connection,
        first: u64,
    ) -> Result<(), Failure> {
        if first <= self.first {
            return Ok(());
        }
        let range = [self.id, stored(self.first), stored(first)];
        let mut weigh = connection.prepare_cached(
            "SELECT coalesce(sum(length(payload) + length(metadata)), 0) FROM items \
             WHERE stream = ?1 AND ?2 <= number AND number < ?3",
        )?;
        let bytes = weigh.query_row(range, |row| unsigned(row, 0))?;
        let mut remove = connection.prepare_cached(
            "DELETE FROM items WHERE stream = ?1 AND ?2 <= number AND number < ?3",
        )?;
        remove.execute(range)?;
        (self.first, self.bytes) = (first, self.bytes.saturating_sub(bytes));
        Ok(())
    }
}

/// Appends a message that was [checked](Append::check).
pub(super) fn append(
    connection: &Connection,
    epochs: Epochs,
    append: &Append,
    now_ms: u64,
) -> Result<Appended, Failure> {
    let mut stream = match Stream::find(connection, &append.stream)? {
        Some(stream) => stream,
        None => {
            let epoch = epochs.salted(epochs.unused);
            Stream::insert(connection, append, epoch, now_ms)?
        }
    };
    let now = now_ms.max(stream.last_ms);
    if let Some(offset) = use_key(connection, &stream, append, now)? {
        let position = Position::new(epochs.salted(stream.epoch), offset);
        return Ok(Appended { position, repeated: true });
    }
    if append.renew {
        stream.epoch = Epoch::from_random(random::random());
    }
    (stream.top, stream.last_ms, stream.ttl_ms) = (stream.top + 1, now, append.rule.ttl_ms());
    stream.bytes = stream.bytes.saturating_add(append.weight() as u64);
    let mut insert = connection.prepare_cached(
        "INSERT INTO items (stream, number, appended_ms, metadata, payload) \
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    insert.execute(params![
        stream.id,
        stored(stream.top),
        stored(now),
        append.metadata.as_ref(),
        append.payload.as_ref(),
    ])?;
    trim(connection, &mut stream, append, now)?;
    let mut update = connection.prepare_cached(
        "UPDATE streams SET epoch = ?2, first = ?3, top = ?4, bytes = ?5, ttl_ms = ?6, \
         retention_ms = ?7, last_ms = ?8 WHERE id = ?1",
    )?;
    update.execute(params![
        stream.id,
        stream.epoch.to_bits().cast_signed(),
        stored(stream.first),
        stored(stream.top),
        stored(stream.bytes),
        stored(stream.ttl_ms),
        stored(append.rule.retention_ms()),
        stored(stream.last_ms),
    ])?;
    // Not with each append, since it is the key of an index.
    let expires = now.saturating_add(stream.ttl_ms);
    if expires < stream.due_ms {
        set_due(connection, stream.id, expires)?;
    }
    Ok(Appended { position: stream.position(epochs), repeated: false })
}

/// Remembers the key of the next message. Returns the offset of the message that had it already.
fn use_key(
    connection: &Connection,
    stream: &Stream,
    append: &Append,
    now: u64,
) -> Result<Option<u64>, Failure> {
    let expired = now.saturating_sub(KEY_LIFETIME.as_millis() as u64);
    let mut insert = connection.prepare_cached(
        "INSERT INTO keys (stream, key, number, used_ms) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT DO UPDATE SET number = ?3, used_ms = ?4 WHERE used_ms < ?5",
    )?;
    let key = append.key.as_bytes();
    let inserted = insert.execute(params![
        stream.id,
        key,
        stored(stream.top + 1),
        stored(now),
        stored(expired)
    ])?;
    if inserted != 0 {
        return Ok(None);
    }
    let mut find =
        connection.prepare_cached("SELECT number FROM keys WHERE stream = ?1 AND key = ?2")?;
    let offset = find.query_row(params![stream.id, key], |row| unsigned(row, 0))?;
    match offset <= stream.top {
        true => Ok(Some(offset)),
        false => Err(Failure::Damaged(format!("message {offset} of a stream is not there"))),
    }
}

/// Removes what exceeds the rule, oldest first.
fn trim(
    connection: &Connection,
    stream: &mut Stream,
    append: &Append,
    now: u64,
) -> Result<(), Failure> {
    let mut oldest = connection.prepare_cached(
        "SELECT number, appended_ms, length(payload) + length(metadata) FROM items \
         WHERE stream = ?1 AND ?2 <= number ORDER BY number LIMIT ?3",
    )?;
    let mut rows = oldest.query([stream.id, stored(stream.first), MOST_TRIMMED])?;
    let (mut first, mut bytes) = (stream.first, stream.bytes);
    while let Some(row) = rows.next()? {
        let (number, time, weight) = (unsigned(row, 0)?, unsigned(row, 1)?, unsigned(row, 2)?);
        let is_needless = u64::from(append.rule.size()) < stream.top + 1 - number
            || append.rule.max_bytes() < bytes
            || time.saturating_add(stream.ttl_ms) <= now;
        if !is_needless || number == stream.top {
            break;
        }
        (first, bytes) = (number + 1, bytes.saturating_sub(weight));
    }
    drop(rows);
    if stream.first < first {
        let mut remove = connection.prepare_cached(
            "DELETE FROM items WHERE stream = ?1 AND ?2 <= number AND number < ?3",
        )?;
        remove.execute([stream.id, stored(stream.first), stored(first)])?;
        (stream.first, stream.bytes) = (first, bytes);
    }
    Ok(())
}

pub(super) fn set_due(connection: &Connection, stream: i64, due_ms: u64) -> Result<(), Failure> {
    let mut update = connection.prepare_cached("UPDATE streams SET due_ms = ?2 WHERE id = ?1")?;
    update.execute([stream, stored(due_ms)])?;
    Ok(())
}

pub(super) fn read(
    connection: &Connection,
    epochs: Epochs,
    name: &StreamName,
    (range, limit): (Range, Limit),
    now_ms: u64,
) -> Result<Reading, Failure> {
    let stream = Stream::find(connection, name)?;
    let extent = match &stream {
        Some(stream) => Extent {
            first: stream.first_live(connection, now_ms.max(stream.last_ms))?,
            top: stream.position(epochs),
        },
        None => Extent { first: 1, top: Position::start(epochs.unused) },
    };
    let mut plan = match plan(range, limit, extent) {
        Ok(plan) => plan,
        Err(refused) => return Ok(refused),
    };
    if let Some(stream) = stream
        && plan.wants_more()
    {
        let sql = match plan.backwards {
            true => {
                "SELECT number, appended_ms, payload, metadata FROM items \
                 WHERE stream = ?1 AND number BETWEEN ?2 AND ?3 ORDER BY number DESC"
            }
            false => {
                "SELECT number, appended_ms, payload, metadata FROM items \
                 WHERE stream = ?1 AND number BETWEEN ?2 AND ?3 ORDER BY number"
            }
        };
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query([stream.id, stored(plan.from), stored(plan.to)])?;
        while plan.wants_more()
            && let Some(row) = rows.next()?
        {
            plan.take(item(row)?)?;
        }
    }
    Ok(plan.finish()?)
}

fn item(row: &Row<'_>) -> rusqlite::Result<Item> {
    let blob = |column| {
        let blob = row.get_ref(column)?.as_blob().map_err(|_| {
            rusqlite::Error::InvalidColumnType(column, String::new(), rusqlite::types::Type::Null)
        })?;
        Ok::<_, rusqlite::Error>(Bytes::copy_from_slice(blob))
    };
    let (offset, appended_ms) = (unsigned(row, 0)?, unsigned(row, 1)?);
    Ok(Item { offset, appended_ms, payload: blob(2)?, metadata: blob(3)? })
}

pub(super) fn top(
    connection: &Connection,
    epochs: Epochs,
    name: &StreamName,
) -> Result<Position, Failure> {
    let stream = Stream::find(connection, name)?;
    Ok(stream.map_or(Position::start(epochs.unused), |stream| stream.position(epochs)))
}

/// Removes all messages of a stream, and returns its newest position.
pub(super) fn delete(
    connection: &Connection,
    epochs: Epochs,
    name: &StreamName,
) -> Result<Position, Failure> {
    let Some(mut stream) = Stream::find(connection, name)? else {
        return Ok(Position::start(epochs.unused));
    };
    stream.remove_below(connection, stream.top + 1)?;
    stream.save_extent(connection)?;
    Ok(stream.position(epochs))
}
