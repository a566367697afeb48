//! Streams: the log of the messages to one group or uid, and positions in it.
//!
//! A store appends messages to a stream and numbers them. A client that comes back states the
//! position that it saw last, and receives what follows; or, if that cannot be proven to be complete,
//! the notice that it may have missed messages.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use thiserror::Error;

use crate::{Group, InvalidName, Uid};

/// The largest offset: the largest integer that every JSON reader keeps exact.
pub const MAX_OFFSET: u64 = (1 << 53) - 1;

/// The number of digits of an [`Epoch`] as text.
const EPOCH_DIGITS: usize = 16;

/// The longest text of a [`Position`], in bytes.
pub const MAX_POSITION_TEXT: usize = EPOCH_DIGITS + 1 + 16;

/// Neither a position nor the name of a stream. Holds nothing of the text, which may come from a
/// client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidStream {
    /// Not the text of an [`Epoch`].
    #[error("an epoch is {EPOCH_DIGITS} hex digits")]
    Epoch,
    /// Not a number, or larger than [`MAX_OFFSET`].
    #[error("an offset is a decimal number of at most {MAX_OFFSET}")]
    Offset,
    /// Not an epoch and an offset.
    #[error("a position is an epoch and an offset, such as 00c0ffee00c0ffee-41")]
    Position,
    /// Neither a group nor a uid.
    #[error("the name of a stream is g: and a group, or u: and a uid")]
    Kind,
    /// The name of the group, or the uid, is invalid.
    #[error(transparent)]
    Name(#[from] InvalidName),
}

/// The group or the uid to whose messages a stream belongs. Cheap to clone.
///
/// As text `g:` or `u:` and the name; `Display` replaces what is not UTF-8. In JSON
/// `{"group":"room-1"}` or `{"uid":"7"}`.
///
/// Variants are only ever appended: the native codec numbers them by position.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StreamName {
    /// The stream of a group.
    Group(Group),
    /// The stream of a uid.
    Uid(Uid),
}

impl StreamName {
    /// The bytes of the group's name, or of the uid.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Group(group) => group.as_bytes(),
            Self::Uid(uid) => uid.as_bytes(),
        }
    }

    /// A key that no other stream has: `g:` or `u:` and the bytes of the name.
    pub fn to_key(&self) -> Vec<u8> {
        let kind = match self {
            Self::Group(_) => b"g:",
            Self::Uid(_) => b"u:",
        };
        [kind, self.as_bytes()].concat()
    }

    /// The stream with this [key](Self::to_key).
    ///
    /// # Errors
    /// When it begins otherwise, or the name is empty or too long.
    pub fn from_key(key: &[u8]) -> Result<Self, InvalidStream> {
        match key {
            [b'g', b':', group @ ..] => Ok(Self::Group(Group::new(group)?)),
            [b'u', b':', uid @ ..] => Ok(Self::Uid(Uid::new(uid)?)),
            _ => Err(InvalidStream::Kind),
        }
    }

    /// Approximate memory that it takes in a list, in bytes.
    pub fn weight(&self) -> usize {
        // The pointer, plus reference counts and allocator overhead.
        size_of::<Self>() + 32 + self.as_bytes().len()
    }
}

impl From<Group> for StreamName {
    fn from(group: Group) -> Self {
        Self::Group(group)
    }
}

impl From<Uid> for StreamName {
    fn from(uid: Uid) -> Self {
        Self::Uid(uid)
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group(group) => write!(f, "g:{group}"),
            Self::Uid(uid) => write!(f, "u:{uid}"),
        }
    }
}

impl FromStr for StreamName {
    type Err = InvalidStream;

    fn from_str(text: &str) -> Result<Self, InvalidStream> {
        Self::from_key(text.as_bytes())
    }
}

/// One series of offsets of a stream. A stream gets a new epoch whenever messages may have been lost
/// from its end, so that an offset of the old one never stands for another message. Epochs are
/// random, and are compared for equality only.
///
/// As text, and in JSON, 16 lower-case hex digits. Upper case is accepted when read.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch(u64);

impl Epoch {
    /// A new epoch from a random number.
    pub const fn from_random(random: u64) -> Self {
        Self(random)
    }

    /// The number, for codecs and stores.
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// The epoch with this [number](Self::to_bits).
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Epoch({self})")
    }
}

impl FromStr for Epoch {
    type Err = InvalidStream;

    fn from_str(text: &str) -> Result<Self, InvalidStream> {
        let digits = text.as_bytes();
        if digits.len() != EPOCH_DIGITS || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(InvalidStream::Epoch);
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| InvalidStream::Epoch)
    }
}

impl Serialize for Epoch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serializer.is_human_readable() {
            true => serializer.collect_str(self),
            false => serializer.serialize_u64(self.0),
        }
    }
}

impl<'de> Deserialize<'de> for Epoch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.is_human_readable() {
            true => String::deserialize(deserializer)?.parse().map_err(D::Error::custom),
            false => u64::deserialize(deserializer).map(Self),
        }
    }
}

/// A place in a stream: that of the message with this offset in this epoch. Messages have the offsets
/// 1, 2, 3 and so on; 0 is the place before the first one.
///
/// As text `EPOCH-OFFSET`, such as `00c0ffee00c0ffee-41`; in JSON
/// `{"epoch":"00c0ffee00c0ffee","offset":41}`. Positions are ordered within an epoch only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Position {
    /// The series of offsets.
    pub epoch: Epoch,
    /// The number of the message, at most [`MAX_OFFSET`].
    #[serde(deserialize_with = "offset")]
    pub offset: u64,
}

impl Position {
    /// The position of the message with this offset.
    pub const fn new(epoch: Epoch, offset: u64) -> Self {
        Self { epoch, offset }
    }

    /// The place before the first message of an epoch.
    pub const fn start(epoch: Epoch) -> Self {
        Self { epoch, offset: 0 }
    }

    /// The position of the next message in the same epoch.
    #[must_use]
    pub const fn next(self) -> Self {
        Self { epoch: self.epoch, offset: self.offset.saturating_add(1) }
    }
}

fn offset<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    match u64::deserialize(deserializer)? {
        offset @ 0..=MAX_OFFSET => Ok(offset),
        _ => Err(D::Error::custom(InvalidStream::Offset)),
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.offset)
    }
}

impl FromStr for Position {
    type Err = InvalidStream;

    fn from_str(text: &str) -> Result<Self, InvalidStream> {
        if MAX_POSITION_TEXT < text.len() {
            return Err(InvalidStream::Position);
        }
        let (epoch, offset) = text.split_once('-').ok_or(InvalidStream::Position)?;
        // The parser of numbers would accept a sign.
        if !offset.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(InvalidStream::Offset);
        }
        match offset.parse() {
            Ok(offset @ 0..=MAX_OFFSET) => Ok(Self { epoch: epoch.parse()?, offset }),
            _ => Err(InvalidStream::Offset),
        }
    }
}

#[cfg(test)]
mod tests;
