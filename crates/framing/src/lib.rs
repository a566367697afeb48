//! Framing of client connections: encoding and decoding of messages, and the HTTP requests that
//! WebSocket connections begin with. Values only, without I/O, so that fuzz targets depend on
//! them as the gateway does.

mod frame_layout;
mod framed;
pub mod http;
mod length;
mod line;
mod partial;
pub mod proxy_protocol;
pub mod shared_frames;
pub mod websocket;

use thiserror::Error;

pub use self::{
    frame_layout::{FrameLayout, InvalidLayout},
    framed::Framed,
};
use self::{
    length::LengthDecoder,
    line::LineDecoder,
    partial::Partial,
    websocket::{Inflater, Rules},
};

/// The framing of a listener. The names are `GatewayWorker`'s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// RFC 6455, after a handshake over HTTP.
    WebSocket,
    /// One message per line.
    Text,
    /// Length-prefixed messages.
    Frame(FrameLayout),
    /// No framing: the bytes of each read are a message.
    Tcp,
}

/// Validation of the payload of text frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextValidation {
    /// Must be UTF-8, as the WebSocket protocol requires.
    Utf8,
    /// Not validated.
    Any,
}

/// Decoded input of a client.
#[derive(Debug, PartialEq, Eq)]
pub enum Received<'a> {
    /// A complete text message. On a WebSocket it is UTF-8, except with [`TextValidation::Any`].
    Text(&'a [u8]),
    /// A complete binary message.
    Binary(&'a [u8]),
    /// A ping, to be answered with the same payload.
    Ping(&'a [u8]),
    /// A pong with its payload, which is that of a ping if it answers one.
    Pong(&'a [u8]),
    /// A close frame, with the code to reply with, and its reason. Nothing follows.
    Close(Option<u16>, &'a str),
}

/// A protocol violation, because of which the connection must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Violation {
    /// Invalid framing: 1002.
    #[error("{0}")]
    Protocol(&'static str),
    /// Text that is not UTF-8: 1007.
    #[error("text is not valid UTF-8")]
    Utf8,
    /// A compressed payload that cannot be decompressed: 1007.
    #[error("compressed payload is not valid")]
    Deflate,
    /// A message over the limit: 1009.
    #[error("message of {size} bytes exceeds the limit of {limit} bytes")]
    TooLong { size: u64, limit: usize },
}

impl Violation {
    /// The WebSocket close code to reply with.
    pub fn code(self) -> u16 {
        match self {
            Self::Protocol(_) => 1002,
            Self::Utf8 | Self::Deflate => 1007,
            Self::TooLong { .. } => 1009,
        }
    }
}

/// Incremental decoder of messages. It holds no memory between messages.
#[derive(Debug)]
pub enum Decoder {
    WebSocket(websocket::Decoder),
    Text(LineDecoder),
    Frame(LengthDecoder),
    Tcp(Unframed),
}

/// Decoder without framing: all bytes are messages.
#[derive(Debug, Default)]
pub struct Unframed {
    partial: Partial,
}

impl Decoder {
    pub fn new(framing: Framing) -> Self {
        match framing {
            Framing::WebSocket => Self::WebSocket(websocket::Decoder::default()),
            Framing::Text => Self::Text(LineDecoder::default()),
            Framing::Frame(layout) => Self::Frame(LengthDecoder::new(layout)),
            Framing::Tcp => Self::Tcp(Unframed::default()),
        }
    }

    /// Bytes of memory held for an incomplete message.
    pub fn held(&self) -> usize {
        match self {
            Self::WebSocket(decoder) => decoder.held(),
            Self::Text(decoder) => decoder.held(),
            Self::Frame(decoder) => decoder.held(),
            Self::Tcp(decoder) => decoder.partial.held(),
        }
    }

    /// Buffered bytes: those of an incomplete message, and those behind the message at which the
    /// last [`feed`](Self::feed) was stopped.
    pub fn buffered(&self) -> usize {
        match self {
            Self::WebSocket(decoder) => decoder.len(),
            Self::Text(decoder) => decoder.len(),
            Self::Frame(decoder) => decoder.len(),
            Self::Tcp(decoder) => decoder.partial.len(),
        }
    }

    /// Buffers bytes without decoding them; the next [`feed`](Self::feed) does, even if that passes
    /// no bytes.
    pub fn hold(&mut self, bytes: &[u8]) {
        self.partial().hold(bytes);
    }

    fn partial(&mut self) -> &mut Partial {
        match self {
            Self::WebSocket(decoder) => decoder.partial(),
            Self::Text(decoder) => decoder.partial(),
            Self::Frame(decoder) => decoder.partial(),
            Self::Tcp(decoder) => &mut decoder.partial,
        }
    }

    /// Decodes bytes that were read from the socket; they may be modified in place. `on` is called
    /// with each item in order, and returns whether to continue. If it returns `false`, the rest is
    /// buffered and decoded with the next call, even if that passes no bytes.
    ///
    /// # Errors
    /// When the client violates the protocol. Items before that were passed to `on`. The decoder
    /// must not be used afterwards.
    pub fn feed(
        &mut self,
        bytes: &mut [u8],
        limit: usize,
        texts: TextValidation,
        on: impl FnMut(Received<'_>) -> bool,
    ) -> Result<(), Violation> {
        self.feed_deflated(bytes, limit, texts, None, on)
    }

    /// The same for a connection that may send compressed messages, if `inflater` is set.
    /// Decompression stops at `limit`, as large as the message may be.
    ///
    /// # Errors
    /// As [`feed`](Self::feed).
    pub fn feed_deflated(
        &mut self,
        bytes: &mut [u8],
        limit: usize,
        texts: TextValidation,
        inflater: Option<&mut Inflater>,
        mut on: impl FnMut(Received<'_>) -> bool,
    ) -> Result<(), Violation> {
        match self {
            Self::WebSocket(decoder) => {
                decoder.feed(bytes, &mut Rules { limit, texts, inflater }, on)
            }
            Self::Text(decoder) => decoder.feed(bytes, limit, on),
            Self::Frame(decoder) => decoder.feed(bytes, limit, on),
            Self::Tcp(decoder) => decoder.partial.feed(bytes, |all| {
                let mut consumed = 0;
                for chunk in all.chunks(limit) {
                    consumed += chunk.len();
                    if !on(Received::Binary(chunk)) {
                        break;
                    }
                }
                Ok(consumed)
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn held_bytes_are_decoded_with_the_next_ones_or_without_any() {
        for (framing, held, rest) in [
            (Framing::Text, &b"one\nt"[..], &b"wo\n"[..]),
            (Framing::Text, b"one\ntwo\n", b""),
            (Framing::Frame(FrameLayout::GATEWAY_WORKER), b"\0\0\0\x07one\0\0", b"\0\x07two"),
            (Framing::Tcp, b"onetwo", b""),
            (Framing::WebSocket, b"\x82\x83\0\0\0\0one\x82", b"\x83\0\0\0\0two"),
        ] {
            let (mut decoder, mut all) = (Decoder::new(framing), Vec::new());
            decoder.hold(held);
            assert_eq!(decoder.buffered(), held.len(), "{framing:?}");
            let fed = decoder.feed(&mut rest.to_vec(), 100, TextValidation::Utf8, |received| {
                match received {
                    Received::Text(bytes) | Received::Binary(bytes) => all.extend_from_slice(bytes),
                    other => panic!("{other:?}"),
                }
                true
            });
            assert_eq!((fed, &all[..]), (Ok(()), &b"onetwo"[..]), "{framing:?}");
        }
    }
}
