//! `GatewayWorker`'s inner protocol: what PHP workers and `GatewayClient` speak with a gateway.
//!
//! ```text
//! 0   u32  length of all of it, these bytes included
//! 4   u8   command, see `Opcode`
//! 5   u32  the gateway's inner IPv4 address   ┐
//! 9   u16  its inner port                     │ of the client that an event is about;
//! 11  u32  the client's IPv4 address          │ 0 in what peers send
//! 15  u16  its port                           ┘
//! 17  u32  connection id
//! 21  u8   flags: 1 the body is bytes as they are, else it is serialized; 2 it is framed already
//! 22  u16  the port that the client came to
//! 24  u32  length of what follows
//! 28  …    extra data: a session, a name, or JSON, as the command has it
//!     …    body
//! ```
//!
//! All numbers are big-endian. A reply has no such header: a u32 length, which does not count
//! itself, then PHP's serialized form, in the order of the queries.
//!
//! - [`from_peer`] reads what a peer says, [`to_peer`] writes events, [`reply`] writes replies;
//! - `body`, `names`, `select` and `handshake` know the parts.

mod body;
pub mod from_peer;
mod handshake;
mod names;
mod opcode;
pub mod reply;
mod select;
pub mod to_peer;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use thiserror::Error;

pub use opcode::{Opcode, UnknownOpcode};

/// Bytes before the extra data.
pub const HEADER: usize = 28;

/// The largest frame, header included: what PHP takes at either end. A longer one makes it cut the
/// link.
pub const MAX_FRAME: usize = 10 * 1024 * 1024;

/// The largest frame of a stranger: a name and a secret, with room to spare.
pub const MAX_STRANGER_FRAME: usize = 64 * 1024;

/// Flag: the body is bytes as they are, not serialized.
pub const BODY_IS_SCALAR: u8 = 0x01;

/// Flag: the body is framed for the client already.
pub const BODY_IS_FRAMED: u8 = 0x02;

/// One frame, either way.
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
    /// Which client, or 0.
    pub connection_id: u32,
    /// How to take the body.
    pub flag: u8,
    /// The port that the client came to.
    pub gateway_port: u16,
    /// What the command is about, beside the client and the body.
    pub ext_data: Bytes,
    /// What is said.
    pub body: Bytes,
}

/// Why bytes are not a frame. The link that they came on is of no further use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// Longer than the reader allows.
    #[error("a frame of {size} bytes is longer than {limit}")]
    TooLarge { size: usize, limit: usize },
    /// Shorter than a header.
    #[error("a frame of {0} bytes is shorter than its header")]
    TooShort(usize),
    /// The extra data reaches beyond its frame.
    #[error("{extra} bytes of extra data in a frame of {frame}")]
    ExtraLength { extra: usize, frame: usize },
}

/// A frame would be longer than PHP takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a frame of {size} bytes is longer than {MAX_FRAME}")]
pub struct TooLarge {
    /// How long it would be.
    pub size: usize,
}

/// Takes one frame off the front of `buffer`, or `None` until more bytes come: nothing is consumed
/// then, and nothing reserved. The frame's parts are slices of the buffer.
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
    /// When it is longer than [`MAX_FRAME`]; `out` is as it was then.
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), TooLarge> {
        self.encode_parts(&self.ext_data, &self.body, out)
    }

    /// Appends the frame with extra data and a body that lie elsewhere.
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

    /// Whether a peer introduces itself with it: all that a stranger may say.
    pub fn is_hello(&self) -> bool {
        matches!(
            Opcode::try_from(self.cmd),
            Ok(Opcode::WorkerConnect | Opcode::GatewayClientConnect)
        )
    }

    /// Whether the body is bytes as they are.
    pub fn body_is_scalar(&self) -> bool {
        self.flag & BODY_IS_SCALAR != 0
    }

    /// Whether the body is framed for the client already.
    pub fn body_is_framed(&self) -> bool {
        self.flag & BODY_IS_FRAMED != 0
    }
}
