//! `GatewayWorker`'s inner protocol, between a gateway and PHP workers or `GatewayClient`.
//!
//! ```text
//! 0   u32  length of the frame, including these bytes
//! 4   u8   command, see `Opcode`
//! 5   u32  the gateway's inner IPv4 address   ┐
//! 9   u16  its inner port                     │ of the client that an event is about;
//! 11  u32  the client's IPv4 address          │ 0 in frames of peers
//! 15  u16  its port                           ┘
//! 17  u32  connection id
//! 21  u8   flags: 1 the body is raw bytes, else it is serialized; 2 it is framed already
//! 22  u16  the port that the client connected to
//! 24  u32  length of the extra data
//! 28  …    extra data: a session, a name, or JSON, depending on the command
//!     …    body
//! ```
//!
//! All numbers are big-endian. A reply has no such header: it is a u32 length, excluding itself,
//! then PHP's serialized form. Replies are sent in the order of their queries.
//!
//! - [`from_peer`] reads messages of peers, [`to_peer`] writes events, [`reply`] writes replies;
//! - `body`, `names`, `select` and `handshake` handle parts of them;
//! - [`InvalidRequest`] is a frame that ends its link.

mod body;
pub mod from_peer;
mod handshake;
mod invalid_request;
mod names;
mod opcode;
pub mod reply;
mod select;
pub mod to_peer;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use thiserror::Error;

pub use invalid_request::InvalidRequest;
pub use opcode::{Opcode, UnknownOpcode};

/// Bytes before the extra data.
pub const HEADER: usize = 28;

/// The largest frame, including the header, that PHP accepts at either end. It closes the link on a
/// longer one.
pub const MAX_FRAME: usize = 10 * 1024 * 1024;

/// The largest frame of an unauthenticated peer: a name and a secret, with room to spare.
pub const MAX_UNAUTHENTICATED_FRAME: usize = 64 * 1024;

/// Flag: the body is raw bytes, not serialized.
pub const BODY_IS_SCALAR: u8 = 0x01;

/// Flag: the body is already framed for the client.
pub const BODY_IS_FRAMED: u8 = 0x02;

/// One frame, in either direction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// The command's number; an [`Opcode`] if it is known.
    pub cmd: u8,
    /// The gateway's inner address.
    pub local_ip: u32,
    /// The gateway's inner port.
    pub local_port: u16,
    /// The client's address.
    pub client_ip: u32,
    /// The client's port.
    pub client_port: u16,
    /// The client, or 0.
    pub connection_id: u32,
    /// How the body is encoded.
    pub flag: u8,
    /// The port that the client connected to.
    pub gateway_port: u16,
    /// Arguments of the command besides the client and the body.
    pub ext_data: Bytes,
    /// The payload.
    pub body: Bytes,
}

/// Why bytes are not a frame. The link that they arrived on is unusable from there on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// Longer than the reader's limit.
    #[error("a frame of {size} bytes is longer than {limit}")]
    TooLarge { size: usize, limit: usize },
    /// Shorter than a header.
    #[error("a frame of {0} bytes is shorter than its header")]
    TooShort(usize),
    /// The extra data extends beyond its frame.
    #[error("{extra} bytes of extra data in a frame of {frame}")]
    ExtraLength { extra: usize, frame: usize },
}

/// A frame would be longer than PHP accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a frame of {size} bytes is longer than {MAX_FRAME}")]
pub struct TooLarge {
    /// Its length in bytes.
    pub size: usize,
}

/// Takes one frame off the front of `buffer`. `None` if the frame is incomplete: nothing is
/// consumed or reserved then. The frame's parts are slices of the buffer.
///
/// # Errors
/// When the bytes are not a frame of at most `limit` bytes. Do not call again.
pub fn decode(buffer: &mut BytesMut, limit: usize) -> Result<Option<Frame>, DecodeError> {
    let Some(size) = buffer.first_chunk::<4>() else {
        return Ok(None);
    };
    let size = u32::from_be_bytes(*size) as usize;
    if limit < size {
        return Err(DecodeError::TooLarge { size, limit });
    }
    if size < HEADER {
        return Err(DecodeError::TooShort(size));
    }
    if buffer.len() < size {
        return Ok(None);
    }
    let mut rest = buffer.split_to(size).freeze();
    rest.advance(4);
    let mut frame = Frame {
        cmd: rest.get_u8(),
        local_ip: rest.get_u32(),
        local_port: rest.get_u16(),
        client_ip: rest.get_u32(),
        client_port: rest.get_u16(),
        connection_id: rest.get_u32(),
        flag: rest.get_u8(),
        gateway_port: rest.get_u16(),
        ..Frame::default()
    };
    let extra = rest.get_u32() as usize;
    if rest.len() < extra {
        return Err(DecodeError::ExtraLength { extra, frame: size });
    }
    frame.ext_data = rest.split_to(extra);
    frame.body = rest;
    Ok(Some(frame))
}

impl Frame {
    /// Appends the frame.
    ///
    /// # Errors
    /// When it is longer than [`MAX_FRAME`]; `out` is unchanged then.
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), TooLarge> {
        self.encode_parts(&self.ext_data, &self.body, out)
    }

    /// Appends the frame with separate extra data and body.
    fn encode_parts(&self, extra: &[u8], body: &[u8], out: &mut BytesMut) -> Result<(), TooLarge> {
        let size = HEADER + extra.len() + body.len();
        if MAX_FRAME < size {
            return Err(TooLarge { size });
        }
        out.reserve(size);
        out.put_u32(size as u32);
        out.put_u8(self.cmd);
        out.put_u32(self.local_ip);
        out.put_u16(self.local_port);
        out.put_u32(self.client_ip);
        out.put_u16(self.client_port);
        out.put_u32(self.connection_id);
        out.put_u8(self.flag);
        out.put_u16(self.gateway_port);
        out.put_u32(extra.len() as u32);
        out.put_slice(extra);
        out.put_slice(body);
        Ok(())
    }

    /// Whether it opens a handshake: the only frame that an unauthenticated peer may send.
    pub fn is_hello(&self) -> bool {
        matches!(
            Opcode::try_from(self.cmd),
            Ok(Opcode::WorkerConnect | Opcode::GatewayClientConnect)
        )
    }

    /// Whether the body is raw bytes.
    pub fn body_is_scalar(&self) -> bool {
        self.flag & BODY_IS_SCALAR != 0
    }

    /// Whether the body is already framed for the client.
    pub fn body_is_framed(&self) -> bool {
        self.flag & BODY_IS_FRAMED != 0
    }
}
