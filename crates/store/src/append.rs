//! The input of an append: the message, its idempotency key, and the limits of its stream.

use std::{fmt, time::Duration};

use bytes::Bytes;
use protocol::StreamName;
use thiserror::Error;

/// The longest idempotency key, in bytes.
pub const MAX_KEY: usize = 64;

/// The largest message with its metadata, in bytes. It fits in a frame to a gateway.
pub const MAX_MESSAGE: usize = 16 * 1024 * 1024;

/// The most messages that a stream keeps.
pub const MAX_SIZE: u32 = 1_000_000;

/// The longest time for which a stream keeps a message: a year.
pub const MAX_TTL: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The most bytes that a stream keeps.
pub const MAX_BYTES: u64 = 1 << 30;

/// The time for which a store remembers an idempotency key at least: longer than an event may be
/// redelivered.
pub const KEY_LIFETIME: Duration = Duration::from_secs(300);

/// An append that no store accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidAppend {
    /// A key of no bytes, or longer than [`MAX_KEY`].
    #[error("an idempotency key has 1 to {MAX_KEY} bytes, not {0}")]
    Key(usize),
    /// A message larger than [`MAX_MESSAGE`].
    #[error("a message of a stream has at most {MAX_MESSAGE} bytes, not {0}")]
    Message(usize),
    /// No messages, or more than [`MAX_SIZE`].
    #[error("a stream keeps 1 to {MAX_SIZE} messages, not {0}")]
    Size(u32),
    /// Less than a millisecond, or longer than [`MAX_TTL`].
    #[error("a stream keeps messages for 1 ms to {} s, not for {} s", MAX_TTL.as_secs(), .0.as_secs_f64())]
    Ttl(Duration),
    /// No bytes, or more than [`MAX_BYTES`].
    #[error("a stream keeps 1 to {MAX_BYTES} bytes, not {0}")]
    Bytes(u64),
}

/// An idempotency key: the same key in the same stream again appends nothing.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Key(Bytes);

impl Key {
    /// Validates a key.
    ///
    /// # Errors
    /// When it is empty or longer than [`MAX_KEY`].
    pub fn new(key: impl Into<Bytes>) -> Result<Self, InvalidAppend> {
        let key = key.into();
        match key.len() {
            // A copy, since a slice would keep the buffer that it is a part of.
            1..=MAX_KEY => Ok(Self(Bytes::copy_from_slice(&key))),
            length => Err(InvalidAppend::Key(length)),
        }
    }

    /// A key that no other append has, from a random number.
    pub fn from_random(random: u128) -> Self {
        Self(Bytes::copy_from_slice(&random.to_be_bytes()))
    }

    /// The key's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.0.escape_ascii())
    }
}

/// How much a stream keeps. Messages beyond a limit are removed, oldest first; the newest one is kept
/// whatever its size. The rule of the last append applies to the whole stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    size: u32,
    ttl: Duration,
    max_bytes: u64,
}

impl Rule {
    /// A rule that keeps this many messages, for this long, and so many bytes of them. The time
    /// counts in whole milliseconds.
    ///
    /// # Errors
    /// When a limit is zero or above its maximum.
    pub const fn new(size: u32, ttl: Duration, max_bytes: u64) -> Result<Self, InvalidAppend> {
        if size == 0 || MAX_SIZE < size {
            return Err(InvalidAppend::Size(size));
        }
        if ttl.as_millis() == 0 || MAX_TTL.as_millis() < ttl.as_millis() {
            return Err(InvalidAppend::Ttl(ttl));
        }
        if max_bytes == 0 || MAX_BYTES < max_bytes {
            return Err(InvalidAppend::Bytes(max_bytes));
        }
        Ok(Self { size, ttl, max_bytes })
    }

    /// The most messages.
    pub const fn size(&self) -> u32 {
        self.size
    }

    /// The age at which a message is removed.
    pub const fn ttl(&self) -> Duration {
        self.ttl
    }

    /// The age at which a message is removed, in milliseconds.
    pub(crate) const fn ttl_ms(&self) -> u64 {
        self.ttl.as_millis() as u64
    }

    /// The most bytes of messages and metadata.
    pub const fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// The time after which a stream without messages is forgotten, in milliseconds: its next epoch
    /// is another one. Until then clients that have missed nothing can prove it.
    #[cfg(any(feature = "redis", feature = "sqlite"))]
    pub(crate) const fn retention_ms(&self) -> u64 {
        const DAY: u64 = 24 * 60 * 60 * 1000;
        let tenfold = self.ttl_ms() * 10;
        if tenfold < DAY { DAY } else { tenfold }
    }
}

impl Default for Rule {
    /// 100 messages, 5 minutes, 256 KiB.
    fn default() -> Self {
        Self { size: 100, ttl: Duration::from_secs(300), max_bytes: 256 * 1024 }
    }
}

/// One message to append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// The stream.
    pub stream: StreamName,
    /// The same key appends nothing for at least [`KEY_LIFETIME`]. A number that may begin anew, such
    /// as that of a connection after a restart of its gateway, is no key without the instance that
    /// counts.
    pub key: Key,
    /// The message.
    pub payload: Bytes,
    /// Bytes of the caller that are kept with the message, such as the clients that it excludes.
    pub metadata: Bytes,
    /// How much the stream keeps.
    pub rule: Rule,
    /// Whether the stream gets a new epoch first, since messages were delivered that it lacks.
    pub renew: bool,
}

impl Append {
    /// A message without metadata.
    pub fn new(stream: StreamName, key: Key, payload: impl Into<Bytes>, rule: Rule) -> Self {
        let (payload, metadata) = (payload.into(), Bytes::new());
        Self { stream, key, payload, metadata, rule, renew: false }
    }

    /// The bytes that count for [`Rule::max_bytes`].
    pub fn weight(&self) -> usize {
        self.payload.len().saturating_add(self.metadata.len())
    }

    pub(crate) fn check(&self) -> Result<(), InvalidAppend> {
        match self.weight() {
            0..=MAX_MESSAGE => Ok(()),
            weight => Err(InvalidAppend::Message(weight)),
        }
    }
}

/// The outcome of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The position of the message.
    pub position: protocol::Position,
    /// Whether an earlier append with the same key had appended it.
    pub repeated: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_length_is_bounded() {
        assert_eq!(Key::new(""), Err(InvalidAppend::Key(0)));
        assert!(Key::new(vec![0; MAX_KEY]).is_ok());
        assert_eq!(Key::new(vec![0; MAX_KEY + 1]), Err(InvalidAppend::Key(MAX_KEY + 1)));
    }

    #[test]
    fn rule_limits_are_bounded() {
        let second = Duration::from_secs(1);
        assert!(Rule::new(MAX_SIZE, MAX_TTL, MAX_BYTES).is_ok());
        for (size, ttl, bytes) in [
            (0, second, 1),
            (MAX_SIZE + 1, second, 1),
            (1, Duration::ZERO, 1),
            (1, Duration::from_micros(999), 1),
            (1, MAX_TTL + second, 1),
            (1, Duration::MAX, 1),
            (1, second, 0),
            (1, second, MAX_BYTES + 1),
        ] {
            let error = Rule::new(size, ttl, bytes).unwrap_err();
            assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn message_size_is_bounded_with_its_metadata() {
        let stream = StreamName::Uid(1.into());
        let key = Key::from_random(1);
        let mut append = Append::new(stream, key, vec![0; MAX_MESSAGE], Rule::default());
        assert_eq!(append.check(), Ok(()));
        append.metadata = Bytes::from_static(b"x");
        assert_eq!(append.check(), Err(InvalidAppend::Message(MAX_MESSAGE + 1)));
    }

    #[test]
    fn key_does_not_keep_the_buffer_that_it_came_from() {
        let buffer = Bytes::from(vec![7; 1 << 16]);
        let key = Key::new(buffer.slice(..8)).unwrap();
        assert!(buffer.try_into_mut().is_ok(), "nothing else refers to it");
        assert_eq!(key.as_bytes(), [7; 8]);
    }
}
