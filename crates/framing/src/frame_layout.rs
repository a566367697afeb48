//! Layout of length-prefixed frames: where the length is, what it counts, and which part of a frame
//! is the message.

mod query;

use bytes::{BufMut, Bytes, BytesMut};

pub use self::query::InvalidLayout;
use super::{Received, Violation};

/// How messages and length-prefixed frames are converted into each other, in both directions.
///
/// The *header* of a frame is everything up to the end of its length. Its text form is the query of
/// a listener's URL: `length=u16le&offset=2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameLayout {
    length: LengthField,
    /// Bytes before the length.
    offset: u8,
    counts: Counts,
    /// Added to each length that is read, and subtracted from each that is written.
    adjust: i16,
    header: Header,
    kind: Kind,
}

/// Encoding of a length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LengthField {
    /// Bytes, from 1 to 4.
    width: u8,
    order: Order,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    BigEndian,
    LittleEndian,
}

/// The part of a frame that a length counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counts {
    /// The bytes behind the length.
    Payload,
    /// The whole frame.
    Frame,
}

/// Whether the header is part of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Header {
    /// The message is the whole frame.
    Keep,
    /// The message is the bytes behind the length.
    Strip,
}

/// The kind of the messages of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Binary,
    Text,
}

impl FrameLayout {
    /// `GatewayWorker`'s frames: four bytes, big-endian, that count the whole frame and are not part
    /// of the message.
    pub const GATEWAY_WORKER: Self = Self {
        length: LengthField { width: 4, order: Order::BigEndian },
        offset: 0,
        counts: Counts::Frame,
        adjust: 0,
        header: Header::Strip,
        kind: Kind::Binary,
    };

    /// Size of the smallest message that clients can send, in bytes.
    pub fn smallest_message(self) -> usize {
        match self.header {
            Header::Keep => self.header_size(),
            Header::Strip => 0,
        }
    }

    /// Whether a message of this many bytes can be framed.
    pub fn can_frame(self, message: usize) -> bool {
        self.length_of(message).is_some()
    }

    /// Decodes the first frame of `bytes`, and returns its message and its size. `None` if it is
    /// incomplete.
    ///
    /// # Errors
    /// When its length ends within its header, or its message exceeds `limit`. Both are detected
    /// once the header is complete.
    pub(crate) fn decode(
        self,
        bytes: &[u8],
        limit: usize,
    ) -> Result<Option<(&[u8], usize)>, Violation> {
        let header_size = self.header_size();
        let Some(field) = bytes.get(usize::from(self.offset)..header_size) else {
            return Ok(None);
        };
        let size = self.uncounted() + i64::from(self.length.read(field)) + i64::from(self.adjust);
        let Some(size) = u64::try_from(size).ok().filter(|size| header_size as u64 <= *size) else {
            return Err(Violation::Protocol("a length that ends within its header"));
        };
        let start = match self.header {
            Header::Keep => 0,
            Header::Strip => header_size,
        };
        let message_size = size - start as u64;
        if (limit as u64) < message_size {
            return Err(Violation::TooLong { size: message_size, limit });
        }
        // At most `limit` and the header.
        let size = size as usize;
        Ok(bytes.get(start..size).map(|message| (message, size)))
    }

    /// Encodes a message as one frame. With its header in the message, the length is written into
    /// that. `None` if there is no such frame: the length does not fit its field, or the message
    /// ends within its header.
    pub(crate) fn encode(self, message: &[u8]) -> Option<Bytes> {
        let length = self.length_of(message.len())?;
        let mut frame = BytesMut::with_capacity(self.header_size() + message.len());
        let rest = match self.header {
            // `length_of` is `None` for a message without a whole header.
            Header::Keep => {
                frame.put_slice(message.get(..usize::from(self.offset))?);
                message.get(self.header_size()..)?
            }
            Header::Strip => message,
        };
        self.length.write(length, &mut frame);
        frame.put_slice(rest);
        Some(frame.freeze())
    }

    /// A message of a client, of the declared kind.
    pub(crate) fn received(self, message: &[u8]) -> Received<'_> {
        match self.kind {
            Kind::Binary => Received::Binary(message),
            Kind::Text => Received::Text(message),
        }
    }

    /// The length in the frame of a message of this many bytes.
    fn length_of(self, message: usize) -> Option<u32> {
        let header_size = self.header_size();
        let size = match self.header {
            Header::Keep if message < header_size => return None,
            Header::Keep => message,
            Header::Strip => header_size.checked_add(message)?,
        };
        let length = i64::try_from(size).ok()? - self.uncounted() - i64::from(self.adjust);
        u32::try_from(length).ok().filter(|length| *length <= self.length.max())
    }

    /// Bytes of a frame that its length does not count, besides those of `adjust`.
    fn uncounted(self) -> i64 {
        match self.counts {
            Counts::Payload => self.header_size() as i64,
            Counts::Frame => 0,
        }
    }

    /// Bytes up to the end of the length.
    fn header_size(self) -> usize {
        usize::from(self.offset) + usize::from(self.length.width)
    }
}

impl LengthField {
    /// The largest length.
    fn max(self) -> u32 {
        u32::MAX >> (32 - 8 * u32::from(self.width))
    }

    /// Decodes a length of `width` bytes.
    fn read(self, field: &[u8]) -> u32 {
        let append = |length: u32, byte: &u8| length << 8 | u32::from(*byte);
        match self.order {
            Order::BigEndian => field.iter().fold(0, append),
            Order::LittleEndian => field.iter().rev().fold(0, append),
        }
    }

    /// Encodes a length, which is at most [`max`](Self::max).
    fn write(self, length: u32, frame: &mut BytesMut) {
        let width = usize::from(self.width);
        match self.order {
            Order::BigEndian => frame.put_uint(u64::from(length), width),
            Order::LittleEndian => frame.put_uint_le(u64::from(length), width),
        }
    }
}

#[cfg(test)]
mod tests;
