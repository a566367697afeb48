//! The client side of WebSocket framing, as far as a generator needs it: messages from a template,
//! and a decoder that does not keep payloads.

use flate2::{Decompress, FlushDecompress, Status};

use crate::{
    protocol::{self, Protocol},
    stamp::{self, Stamp},
};

/// Clients must mask; the key need not be a secret here.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// The mark of a compressed message.
const RSV1: u8 = 0x40;

/// One message as a masked frame.
pub(crate) fn encode(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.push(0x80 | opcode);
    match payload.len() {
        len @ ..126 => out.push(0x80 | u8::try_from(len).unwrap_or(0)),
        len @ ..65_536 => {
            out.push(0x80 | 126);
            out.extend_from_slice(&u16::try_from(len).unwrap_or(0).to_be_bytes());
        }
        len => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    let start = out.len();
    out.extend_from_slice(payload);
    mask(&mut out[start..], 0);
}

/// `at` is where `bytes` stand in the payload.
fn mask(bytes: &mut [u8], at: usize) {
    for (n, byte) in bytes.iter_mut().enumerate() {
        *byte ^= MASK[(at + n) % 4];
    }
}

/// A text message.
pub(crate) fn text(payload: &[u8], out: &mut Vec<u8>) {
    encode(TEXT, payload, out);
}

/// The close frame (1000).
pub(crate) fn close(out: &mut Vec<u8>) {
    encode(CLOSE, &1000_u16.to_be_bytes(), out);
}

/// The answer to a ping.
pub(crate) fn pong(payload: &[u8], out: &mut Vec<u8>) {
    encode(PONG, payload, out);
}

/// The recipient token at the end of a message, after an `@`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Token {
    Group(&'static str),
    /// Each sender sends to one of that many uids.
    Uid {
        uids: usize,
    },
}

impl Token {
    /// A uid, as clients bind it and messages name it.
    pub(crate) fn uid(number: usize) -> [u8; 6] {
        let mut name = [0; 6];
        stamp::hex(&mut name, number as u64);
        name
    }

    /// Bytes, with the `@`.
    pub(crate) fn size(&self) -> usize {
        self.text(0).len()
    }

    fn text(&self, sender: usize) -> Vec<u8> {
        match self {
            Self::Group(group) => [b"@", group.as_bytes()].concat(),
            Self::Uid { uids } => [b"@".as_slice(), &Self::uid(sender % uids)].concat(),
        }
    }
}

/// A message that is framed and masked once; only its first byte, stamp and token change.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    frame: Vec<u8>,
    /// The first byte, of even and of odd messages.
    ops: [u8; 2],
    token: Option<Token>,
    /// Where the message begins and ends in the frame.
    start: usize,
    end: usize,
    /// The prefix of the protocol.
    front: usize,
}

impl Template {
    pub(crate) fn new(
        ops: [u8; 2],
        content: &[u8],
        token: Option<Token>,
        protocol: Protocol,
        binary: bool,
    ) -> Self {
        let payload = protocol.wrap(content);
        let mut frame = Vec::new();
        encode(if binary { BINARY } else { TEXT }, &payload, &mut frame);
        let front = protocol.front();
        let start = frame.len() - payload.len() + front;
        Self { frame, ops, token, start, end: start + content.len(), front }
    }

    /// Appends the message with this stamp.
    pub(crate) fn append(&self, stamp: &Stamp, out: &mut Vec<u8>) {
        let frame = out.len();
        out.extend_from_slice(&self.frame);
        let mut put = |at: usize, bytes: &[u8]| {
            let place = &mut out[frame + at..frame + at + bytes.len()];
            place.copy_from_slice(bytes);
            mask(place, at - self.start + self.front);
        };
        put(self.start, &[self.ops[(stamp.number & 1) as usize]]);
        put(self.start + 1, &stamp.text());
        if let Some(token) = &self.token {
            let text = token.text(stamp.sender as usize);
            put(self.end - text.len(), &text);
        }
    }
}

/// A message of the server.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Received<'a> {
    /// The first bytes of a message, and its length.
    Message {
        front: &'a [u8],
        size: u64,
    },
    Ping(&'a [u8]),
    Close,
}

/// A server broke the protocol.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Broken;

/// Reads frames from bytes as they come, in whatever pieces.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    header: [u8; 10],
    have: usize,
    /// Bytes of the frame's payload still to come, once the header is read.
    left: Option<u64>,
    /// The message in progress, which pings may interrupt.
    front: Front,
    size: u64,
    control: Vec<u8>,
    /// Set if messages may be compressed.
    inflater: Option<Decompress>,
    /// The payload of the compressed message in progress.
    compressed: Option<Vec<u8>>,
}

#[derive(Debug)]
struct Front {
    bytes: [u8; FRONT],
    len: usize,
}

/// Bytes of a message that are kept: the prefix of the protocol, and the stamp.
pub(crate) const FRONT: usize = stamp::SIZE + protocol::FRONT;

impl Default for Front {
    fn default() -> Self {
        Self { bytes: [0; FRONT], len: 0 }
    }
}

impl Decoder {
    /// A decoder of messages that may be compressed (RFC 7692), without context takeover.
    pub(crate) fn inflating() -> Self {
        Self { inflater: Some(Decompress::new(false)), ..Self::default() }
    }

    /// Decodes `bytes`, and calls `each` for every completed message.
    pub(crate) fn feed(
        &mut self,
        mut bytes: &[u8],
        mut each: impl FnMut(Received<'_>),
    ) -> Result<(), Broken> {
        loop {
            let left = match self.left {
                Some(left) => left,
                None => {
                    let Some((&byte, rest)) = bytes.split_first() else { return Ok(()) };
                    self.header[self.have] = byte;
                    self.have += 1;
                    bytes = rest;
                    let Some(len) = self.length()? else { continue };
                    if self.header[0] & RSV1 != 0 {
                        self.compressed = Some(Vec::new());
                    }
                    self.left = Some(len);
                    len
                }
            };
            let take = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
            let (payload, rest) = bytes.split_at(take);
            self.keep(payload);
            bytes = rest;
            let left = left - take as u64;
            self.left = Some(left);
            if 0 < left {
                return Ok(());
            }
            self.finish(&mut each)?;
        }
    }

    /// The payload's length, once enough of the header is there.
    fn length(&self) -> Result<Option<u64>, Broken> {
        let header = &self.header[..self.have];
        let Some(short) = header.get(1) else { return Ok(None) };
        let reserved = if self.inflater.is_some() && !self.is_control() { 0x30 } else { 0x70 };
        if header[0] & reserved != 0 || 127 < *short || (self.is_control() && 125 < *short) {
            return Err(Broken);
        }
        Ok(match (short, header.len()) {
            (..126, _) => Some(u64::from(*short)),
            (126, 4) => Some(u64::from(u16::from_be_bytes([header[2], header[3]]))),
            (127, 10) => header[2..].try_into().ok().map(u64::from_be_bytes),
            _ => None,
        })
    }

    fn is_control(&self) -> bool {
        self.header[0] & 8 != 0
    }

    fn keep(&mut self, payload: &[u8]) {
        if self.is_control() {
            self.control.extend_from_slice(payload);
            return;
        }
        match &mut self.compressed {
            Some(compressed) => compressed.extend_from_slice(payload),
            None => self.keep_content(payload),
        }
    }

    fn keep_content(&mut self, content: &[u8]) {
        let front = &mut self.front;
        let take = content.len().min(FRONT - front.len);
        front.bytes[front.len..front.len + take].copy_from_slice(&content[..take]);
        front.len += take;
        self.size += content.len() as u64;
    }

    /// Decompresses the message in progress, of which only the front is kept.
    fn inflate(&mut self) -> Result<(), Broken> {
        let Some(mut payload) = self.compressed.take() else { return Ok(()) };
        let mut inflater = self.inflater.take().ok_or(Broken)?;
        payload.extend_from_slice(&[0, 0, 0xff, 0xff]);
        inflater.reset(false);
        let (mut rest, mut out) = (&payload[..], [0; 4096]);
        loop {
            let (consumed, produced) = (inflater.total_in(), inflater.total_out());
            let status =
                inflater.decompress(rest, &mut out, FlushDecompress::None).map_err(|_| Broken)?;
            rest = &rest[usize::try_from(inflater.total_in() - consumed).unwrap_or(0)..];
            let produced = usize::try_from(inflater.total_out() - produced).unwrap_or(0);
            self.keep_content(&out[..produced]);
            if status == Status::StreamEnd || (rest.is_empty() && produced < out.len()) {
                break;
            }
            if produced == 0 {
                return Err(Broken);
            }
        }
        self.inflater = Some(inflater);
        Ok(())
    }

    fn finish(&mut self, each: &mut impl FnMut(Received<'_>)) -> Result<(), Broken> {
        self.have = 0;
        self.left = None;
        match self.header[0] & 15 {
            PING => each(Received::Ping(&self.control)),
            CLOSE => each(Received::Close),
            PONG => {}
            _ if self.header[0] & 0x80 == 0 => return Ok(()),
            _ => {
                self.inflate()?;
                let front = &self.front.bytes[..self.front.len];
                each(Received::Message { front, size: self.size });
                self.front.len = 0;
                self.size = 0;
            }
        }
        self.control.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
