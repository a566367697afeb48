//! The answers of the scripts, as values.

use bytes::Bytes;
use protocol::{Epoch, Position, stream::MAX_OFFSET};
use thiserror::Error;

use super::resp::Value;
use crate::{
    Appended, Limit, Range,
    plan::{Extent, Hole, plan},
    read::{Item, Reading},
};

/// An answer that no script returns.
#[derive(Debug, Error)]
pub(super) enum Unreadable {
    #[error("it answers with something else than was asked for")]
    Shape,
    #[error("message {found:?} where message {expected} of a stream is expected")]
    Hole { expected: u64, found: Option<u64> },
}

impl From<Hole> for Unreadable {
    fn from(Hole { expected, found }: Hole) -> Self {
        Self::Hole { expected, found }
    }
}

fn array<const N: usize>(value: Value) -> Result<[Value; N], Unreadable> {
    match value {
        Value::Array(values) => values.try_into().map_err(|_| Unreadable::Shape),
        _ => Err(Unreadable::Shape),
    }
}

fn bytes(value: Value) -> Result<Bytes, Unreadable> {
    match value {
        Value::Bulk(bytes) => Ok(bytes),
        _ => Err(Unreadable::Shape),
    }
}

fn number(value: Value) -> Result<u64, Unreadable> {
    let text = bytes(value)?;
    let digits = text.iter().all(u8::is_ascii_digit).then_some(&text[..]);
    let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
    match digits.and_then(|digits| digits.parse().ok()) {
        Some(number @ 0..=MAX_OFFSET) => Ok(number),
        _ => Err(Unreadable::Shape),
    }
}

fn epoch(value: Value) -> Result<Epoch, Unreadable> {
    let text = bytes(value)?;
    let text = std::str::from_utf8(&text).map_err(|_| Unreadable::Shape)?;
    text.parse().map_err(|_| Unreadable::Shape)
}

/// The answer to an append: epoch, offset, and `1` if the key was known.
pub(super) fn appended(value: Value) -> Result<Appended, Unreadable> {
    let [e, offset, repeated] = array(value)?;
    let position = Position::new(epoch(e)?, number(offset)?);
    Ok(Appended { position, repeated: number(repeated)? == 1 })
}

/// Epoch and newest offset.
pub(super) fn top(value: Value) -> Result<Position, Unreadable> {
    let [e, offset] = array(value)?;
    Ok(Position::new(epoch(e)?, number(offset)?))
}

/// Epoch, newest offset, oldest offset, and the messages in the order of the plan.
pub(super) fn reading(value: Value, range: Range, limit: Limit) -> Result<Reading, Unreadable> {
    let [e, newest, first, items] = array(value)?;
    let top = Position::new(epoch(e)?, number(newest)?);
    let first = number(first)?;
    if first == 0 || top.offset + 1 < first {
        return Err(Unreadable::Shape);
    }
    let mut plan = match plan(range, limit, Extent { first, top }) {
        Ok(plan) => plan,
        Err(refused) => return Ok(refused),
    };
    let Value::Array(items) = items else { return Err(Unreadable::Shape) };
    let mut items = items.into_iter();
    while plan.wants_more()
        && let Some(value) = items.next()
    {
        let [offset, time, payload, metadata] = array(value)?;
        plan.take(Item {
            offset: number(offset)?,
            appended_ms: number(time)?,
            payload: bytes(payload)?,
            metadata: bytes(metadata)?,
        })?;
    }
    Ok(plan.finish()?)
}

#[cfg(test)]
mod tests;
