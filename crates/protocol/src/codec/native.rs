//! The native wire format: frames of a bincode header followed by the raw payload.
//!
//! ```text
//! 0   u32  length of the rest, big-endian
//! 4   u8   version, 2
//! 5   u8   flags, all 0 in version 2
//! 6   u32  length of the header, big-endian
//! 10  …    header: bincode (variable-length integers), see `link`
//!     …    payload: the body of a message from or to a client, unchanged
//! ```
//!
//! The payload stays outside of the bincode body so that decoding does not copy it: it is a slice
//! of the read buffer.

use std::io;

use bincode::Options;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::Serialize;
use thiserror::Error;

use crate::link::LinkMessage;

/// The version that this codec writes, and the only one that it reads. In version 1 the proofs of
/// the handshake covered only the nonces.
pub const VERSION: u8 = 2;

/// Bytes before the header.
pub const PREFIX: usize = 10;

/// The largest frame of an authenticated peer, in bytes. It bounds the memory that one link can
/// occupy, and with it the largest message and the largest answer.
pub const MAX_FRAME: usize = 32 * 1024 * 1024;

/// The largest frame of an unauthenticated peer, in bytes: a `Hello` with room to spare.
pub const MAX_UNAUTHENTICATED_FRAME: usize = 4 * 1024;

/// Why bytes are not a frame. The link that they arrived on is unusable from there on.
#[derive(Debug, Error)]
pub enum DecodeError {
    /// Longer than the reader's limit.
    #[error("a frame of {size} bytes is longer than {limit}")]
    TooLarge { size: usize, limit: usize },
    /// Shorter than its own fixed part.
    #[error("a frame of {0} bytes is shorter than its prefix")]
    TooShort(usize),
    /// Of another version, or with flags that this version does not define.
    #[error(
        "link version {version} (flags {flags:#04x}) is not supported, only version {VERSION}: \
         run the same release on both ends"
    )]
    Version { version: u8, flags: u8 },
    /// The header extends beyond its frame.
    #[error("a header of {header} bytes in a frame of {frame}")]
    HeaderLength { header: usize, frame: usize },
    /// The header cannot be decoded.
    #[error("invalid header: {0}")]
    Header(bincode::Error),
    /// The message has a payload and cannot carry one.
    #[error("unexpected payload of {0} bytes")]
    Payload(usize),
}

/// A message that cannot be encoded. Names, sessions and answers are bounded where they are
/// created, so only a message that is too large as a whole causes it.
#[derive(Debug, Error)]
#[error("does not fit in a frame")]
pub struct EncodeError(#[source] bincode::Error);

fn options() -> impl Options {
    bincode::DefaultOptions::new().with_limit(MAX_FRAME as u64)
}

/// Appends a message.
///
/// # Errors
/// When it does not fit in a frame; `out` is unchanged then.
pub fn encode(message: &impl LinkMessage, out: &mut BytesMut) -> Result<(), EncodeError> {
    encode_parts(message, message.payload(), out)
}

/// Appends a message with a separate payload: `header` is the message with an empty payload. This
/// saves a copy if the payload is in a buffer that is not the message's own.
///
/// # Errors
/// When it does not fit in a frame; `out` is unchanged then.
pub fn encode_parts(
    header: &impl Serialize,
    payload: &[u8],
    out: &mut BytesMut,
) -> Result<(), EncodeError> {
    let start = out.len();
    out.reserve(PREFIX + 32 + payload.len());
    out.put_bytes(0, PREFIX);
    let frame = Bounded { out: &mut *out, left: MAX_FRAME };
    let written = options().with_no_limit().serialize_into(frame, header);
    let header = out.len() - start - PREFIX;
    let length = PREFIX - 4 + header + payload.len();
    let written = written.and_then(|()| match MAX_FRAME < length {
        true => Err(bincode::ErrorKind::SizeLimit.into()),
        false => Ok(()),
    });
    if let Err(error) = written {
        out.truncate(start);
        return Err(EncodeError(error));
    }
    let mut prefix = &mut out[start..start + PREFIX];
    prefix.put_u32(length as u32);
    prefix.put_u8(VERSION);
    prefix.put_u8(0);
    prefix.put_u32(header as u32);
    out.extend_from_slice(payload);
    Ok(())
}

/// Refuses what does not fit in a frame. The encoder's own limit would serialize each message twice,
/// since it computes the size first.
struct Bounded<'a> {
    out: &'a mut BytesMut,
    left: usize,
}

impl io::Write for Bounded<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(left) = self.left.checked_sub(bytes.len()) else {
            return Err(io::ErrorKind::FileTooLarge.into());
        };
        self.left = left;
        self.out.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Takes one message off the front of `buffer`. `None` if the frame is incomplete: nothing is
/// consumed or reserved then.
///
/// # Errors
/// When the bytes are not a frame. Do not call again.
pub fn decode<T: LinkMessage>(
    buffer: &mut BytesMut,
    limit: usize,
) -> Result<Option<T>, DecodeError> {
    let Some(length) = buffer.first_chunk::<4>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*length) as usize;
    if limit < length {
        return Err(DecodeError::TooLarge { size: length, limit });
    }
    if length < PREFIX - 4 {
        return Err(DecodeError::TooShort(length));
    }
    if buffer.len() < 4 + length {
        return Ok(None);
    }
    let (mut prefix, frame) = buffer[4..4 + length].split_at(PREFIX - 4);
    let (version, flags) = (prefix.get_u8(), prefix.get_u8());
    if (version, flags) != (VERSION, 0) {
        return Err(DecodeError::Version { version, flags });
    }
    let header = prefix.get_u32() as usize;
    let Some((encoded, payload)) = frame.split_at_checked(header) else {
        return Err(DecodeError::HeaderLength { header, frame: length });
    };
    let mut message: T = options().deserialize(encoded).map_err(DecodeError::Header)?;
    let payload = payload.len();
    buffer.advance(PREFIX + header);
    // Most messages have none, and share no memory with the buffer then.
    let payload = match payload {
        0 => Bytes::new(),
        length => buffer.split_to(length).freeze(),
    };
    match payload.len() {
        surplus if !message.set_payload(payload) => Err(DecodeError::Payload(surplus)),
        _ => Ok(Some(message)),
    }
}
