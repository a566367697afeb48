//! Negotiation of permessage-deflate (RFC 7692, 7.1), as the server.

use std::{fmt, num::NonZeroU8};

use crate::http::Request;

/// The extension as both sides agreed on it. Every message is compressed on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PerMessageDeflate {
    /// Base-2 logarithm of the client's window in bytes, or [`UNLIMITED`].
    window: NonZeroU8,
}

/// The window of a client that does not limit it. In one byte, since every connection has one.
const UNLIMITED: NonZeroU8 = NonZeroU8::new(16).unwrap();

/// The largest window of the compression format, and that of the compressor.
const LARGEST: u8 = 15;

impl PerMessageDeflate {
    /// The first offer of a request that can be accepted. An offer that is malformed, or has a
    /// parameter that is unknown, invalid or repeated, is declined; others are still considered.
    pub(super) fn negotiate(request: &Request) -> Option<Self> {
        let headers = request.handshake.headers.iter();
        headers
            .filter(|header| header.name.eq_ignore_ascii_case("Sec-WebSocket-Extensions"))
            .flat_map(|header| split(&header.value, b','))
            .find_map(accept)
    }

    /// Whether a client can decompress a message of this size. A compressor refers back within a
    /// message only, so that a message that fits the client's window can be compressed with any
    /// window.
    pub(crate) fn admits(self, size: usize) -> bool {
        LARGEST <= self.window.get() || size <= 1 << self.window.get()
    }
}

/// The value of the response header.
impl fmt::Display for PerMessageDeflate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("permessage-deflate; server_no_context_takeover; client_no_context_takeover")?;
        match self.window {
            UNLIMITED => Ok(()),
            bits => write!(f, "; server_max_window_bits={bits}"),
        }
    }
}

/// Evaluates one offer.
fn accept(offer: &[u8]) -> Option<PerMessageDeflate> {
    let mut parts = split(offer, b';');
    if parts.next() != Some(b"permessage-deflate") {
        return None;
    }
    let mut names: Vec<&[u8]> = Vec::new();
    let mut window = UNLIMITED;
    for part in parts {
        let mut halves = part.splitn(2, |byte| *byte == b'=').map(<[u8]>::trim_ascii);
        let (name, value) = (halves.next()?, halves.next());
        if names.contains(&name) {
            return None;
        }
        names.push(name);
        match (name, value) {
            (b"server_no_context_takeover" | b"client_no_context_takeover", None) => {}
            (b"server_max_window_bits", Some(value)) => window = window_bits(value)?,
            // A statement about the client; the decompressor has the largest window.
            (b"client_max_window_bits", None) => {}
            (b"client_max_window_bits", Some(value)) => drop(window_bits(value)?),
            _ => return None,
        }
    }
    Some(PerMessageDeflate { window })
}

/// A window of 8 to 15 bits, as a token or a quoted string (RFC 6455, 9.1).
fn window_bits(value: &[u8]) -> Option<NonZeroU8> {
    let unquoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
    let bits = match unquoted.unwrap_or(value) {
        b"8" => 8,
        b"9" => 9,
        [b'1', digit @ b'0'..=b'5'] => 10 + digit - b'0',
        _ => return None,
    };
    NonZeroU8::new(bits)
}

/// The parts between separators outside of quoted strings, without surrounding spaces.
fn split(list: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let parts = list.split(move |byte| {
        let was_escaped = std::mem::take(&mut is_escaped);
        match byte {
            b'"' if !was_escaped => is_quoted = !is_quoted,
            b'\\' if is_quoted && !was_escaped => is_escaped = true,
            _ => {}
        }
        !is_quoted && *byte == separator
    });
    parts.map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests;
