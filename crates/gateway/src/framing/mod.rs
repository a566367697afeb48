//! How messages are framed for clients, and taken out of what they send. No I/O.

mod framed;
mod length;
mod line;
mod partial;
pub(crate) mod websocket;

use thiserror::Error;

pub(crate) use self::framed::Framed;
use self::{length::LengthDecoder, line::LineDecoder, partial::Partial};

/// What is spoken at a listener; the names are `GatewayWorker`'s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// RFC 6455, after a handshake over HTTP.
    WebSocket,
    /// A line each.
    Text,
    /// A length before each: four bytes, big-endian, counting themselves.
    Frame,
    /// None: whatever a read brings is a message.
    Tcp,
}

/// What a text frame may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Texts {
    /// UTF-8, as the WebSocket protocol says.
    Utf8,
    /// Anything.
    Any,
}

/// What a client sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received<'a> {
    /// A whole text message. On a WebSocket it is UTF-8, unless [`Texts::Any`] is let in.
    Text(&'a [u8]),
    /// A whole binary message.
    Binary(&'a [u8]),
    /// A ping, to be answered with the same payload.
    Ping(&'a [u8]),
    /// A pong, which answers nothing of ours.
    Pong,
    /// It says goodbye; nothing follows. The code is the one to answer with.
    Close(Option<u16>),
}

/// What ends a connection by the rules of its protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum Violation {
    /// Wrong framing: 1002.
    #[error("{0}")]
    Protocol(&'static str),
    /// Text that is not UTF-8: 1007.
    #[error("text that is not UTF-8")]
    Utf8,
    /// A message over the limit: 1009.
    #[error("a message of {size} bytes is longer than {limit}")]
    TooLong { size: u64, limit: usize },
}

impl Violation {
    /// The WebSocket close code to answer with.
    pub(crate) fn code(self) -> u16 {
        match self {
            Self::Protocol(_) => 1002,
            Self::Utf8 => 1007,
            Self::TooLong { .. } => 1009,
        }
    }
}

/// Takes bytes as they come and gives messages. Between messages it keeps nothing.
#[derive(Debug)]
pub(crate) enum Decoder {
    WebSocket(websocket::Decoder),
    Text(LineDecoder),
    Frame(LengthDecoder),
    Tcp(Unframed),
}

/// Takes whatever comes as messages.
#[derive(Debug, Default)]
pub(crate) struct Unframed {
    partial: Partial,
}

impl Decoder {
    pub(crate) fn new(framing: Framing) -> Self {
        match framing {
            Framing::WebSocket => Self::WebSocket(websocket::Decoder::default()),
            Framing::Text => Self::Text(LineDecoder::default()),
            Framing::Frame => Self::Frame(LengthDecoder::default()),
            Framing::Tcp => Self::Tcp(Unframed::default()),
        }
    }

    /// Bytes of memory held for a message that has not come whole.
    pub(crate) fn held(&self) -> usize {
        match self {
            Self::WebSocket(decoder) => decoder.held(),
            Self::Text(decoder) => decoder.held(),
            Self::Frame(decoder) => decoder.held(),
            Self::Tcp(decoder) => decoder.partial.held(),
        }
    }

    /// Bytes that have come of a message that has not come whole, and, where the last
    /// [`feed`](Self::feed) was stopped, behind it.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::WebSocket(decoder) => decoder.len(),
            Self::Text(decoder) => decoder.len(),
            Self::Frame(decoder) => decoder.len(),
            Self::Tcp(decoder) => decoder.partial.len(),
        }
    }

    /// Takes what was read from the socket; it may be changed in place. `on` is called with each thing
    /// that a client sent, in order, and returns whether to go on. What comes behind the one at which
    /// it does not is kept, and taken with the next call, also if that brings no more bytes.
    ///
    /// # Errors
    /// When the client broke the rules. What came before was still told. Do not call again.
    pub(crate) fn feed(
        &mut self,
        bytes: &mut [u8],
        limit: usize,
        texts: Texts,
        mut on: impl FnMut(Received<'_>) -> bool,
    ) -> Result<(), Violation> {
        match self {
            Self::WebSocket(decoder) => decoder.feed(bytes, limit, texts, on),
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
