//! Decoding of client frames into messages.

use std::io::Cursor;

use bytes::BytesMut;
use tokio_tungstenite::tungstenite::protocol::frame::{
    FrameHeader,
    coding::{CloseCode, Control, Data, OpCode},
};

use super::Inflater;
use crate::{Partial, Received, TextValidation, Violation};

/// Incremental decoder of messages.
///
/// Complete frames are decoded without a copy. Only incomplete ones are buffered, so an idle client
/// uses no memory.
#[derive(Debug, Default)]
pub struct Decoder {
    /// An incomplete frame.
    partial: Partial,
    /// The fragments of an incomplete message.
    fragments: Option<Box<Fragments>>,
}

/// How messages of a connection are decoded.
#[derive(Debug)]
pub(crate) struct Rules<'a> {
    /// Maximum size of a message in bytes.
    pub(crate) limit: usize,
    pub(crate) texts: TextValidation,
    /// The decompressor, if permessage-deflate was negotiated.
    pub(crate) inflater: Option<&'a mut Inflater>,
}

#[derive(Debug)]
struct Fragments {
    text: bool,
    /// Whether `body` is a compressed payload.
    is_deflated: bool,
    body: BytesMut,
    /// Length of the text that is validated as UTF-8, which excludes a split character at the end.
    checked: usize,
}

impl Decoder {
    /// Bytes of memory held for an incomplete message.
    pub(crate) fn held(&self) -> usize {
        let fragments = self.fragments.as_ref();
        self.partial.held() + fragments.map_or(0, |fragments| fragments.body.capacity())
    }

    pub(crate) fn partial(&mut self) -> &mut Partial {
        &mut self.partial
    }

    /// Buffered bytes.
    pub(crate) fn len(&self) -> usize {
        let fragments = self.fragments.as_ref();
        self.partial.len() + fragments.map_or(0, |fragments| fragments.body.len())
    }

    /// Decodes bytes that were read from the socket; they are unmasked in place. `on` is called
    /// with each item in order, and returns whether to continue.
    ///
    /// # Errors
    /// When the client violates the protocol. Items before that were passed to `on`. The decoder
    /// must not be used afterwards.
    pub(crate) fn feed(
        &mut self,
        bytes: &mut [u8],
        rules: &mut Rules<'_>,
        mut on: impl FnMut(Received<'_>) -> bool,
    ) -> Result<(), Violation> {
        // Moved out, since decoding frames borrows the decoder mutably.
        let mut partial = std::mem::take(&mut self.partial);
        let fed = partial.feed(bytes, |all| self.frames(all, rules, &mut on));
        self.partial = partial;
        fed
    }

    /// Decodes all complete frames. Returns the number of bytes consumed.
    fn frames(
        &mut self,
        bytes: &mut [u8],
        rules: &mut Rules<'_>,
        on: &mut impl FnMut(Received<'_>) -> bool,
    ) -> Result<usize, Violation> {
        let mut taken = 0;
        loop {
            let mut cursor = Cursor::new(&bytes[taken..]);
            let header = FrameHeader::parse(&mut cursor)
                .map_err(|_| Violation::Protocol("a reserved opcode"))?;
            let Some((header, length)) = header else {
                return Ok(taken);
            };
            let at = taken + cursor.position() as usize;
            let mask = self.admit(&header, length, rules)?;
            // `admit` has compared the length with a limit, so that it fits a usize.
            let end = at + length as usize;
            let Some(payload) = bytes.get_mut(at..end) else {
                return Ok(taken);
            };
            unmask(payload, mask);
            taken = end;
            if !self.take(&header, payload, rules, on)? {
                return Ok(taken);
            }
        }
    }

    /// Validates a header before its payload is buffered. Returns the mask.
    fn admit(
        &self,
        header: &FrameHeader,
        length: u64,
        rules: &Rules<'_>,
    ) -> Result<[u8; 4], Violation> {
        if (header.rsv1 && rules.inflater.is_none()) || header.rsv2 || header.rsv3 {
            return Err(Violation::Protocol("a reserved bit"));
        }
        // Of a fragmented message, the first frame says that it is compressed (RFC 7692, 6.1).
        let begins_message = matches!(header.opcode, OpCode::Data(Data::Text | Data::Binary));
        if header.rsv1 && !begins_message {
            return Err(Violation::Protocol("a compressed frame that begins no message"));
        }
        let Some(mask) = header.mask else {
            return Err(Violation::Protocol("a frame without a mask"));
        };
        match header.opcode {
            OpCode::Control(_) if !header.is_final => {
                return Err(Violation::Protocol("a fragmented control frame"));
            }
            OpCode::Control(_) if 125 < length => {
                return Err(Violation::Protocol("a long control frame"));
            }
            OpCode::Control(_) => {}
            OpCode::Data(Data::Continue) if self.fragments.is_none() => {
                return Err(Violation::Protocol("a continuation of nothing"));
            }
            OpCode::Data(Data::Text | Data::Binary) if self.fragments.is_some() => {
                return Err(Violation::Protocol("a message within a message"));
            }
            OpCode::Data(_) => {
                let fragments = self.fragments.as_ref();
                let before = fragments.map_or(0, |fragments| fragments.body.len());
                let size = length.saturating_add(before as u64);
                let is_deflated = header.rsv1 || fragments.is_some_and(|it| it.is_deflated);
                let limit = rules.limit;
                let most = if is_deflated { largest_payload(limit) } else { limit };
                if (most as u64) < size {
                    return Err(Violation::TooLong { size, limit });
                }
            }
        }
        Ok(mask)
    }

    /// Processes one complete frame. Returns whether to continue.
    fn take(
        &mut self,
        header: &FrameHeader,
        payload: &[u8],
        rules: &mut Rules<'_>,
        on: &mut impl FnMut(Received<'_>) -> bool,
    ) -> Result<bool, Violation> {
        match header.opcode {
            OpCode::Control(Control::Ping) => Ok(on(Received::Ping(payload))),
            OpCode::Control(Control::Pong) => Ok(on(Received::Pong(payload))),
            OpCode::Control(Control::Close | Control::Reserved(_)) => {
                let (code, reason) = close_frame(payload)?;
                on(Received::Close(code, reason));
                Ok(false)
            }
            OpCode::Data(Data::Continue | Data::Reserved(_)) => {
                self.append(header, payload, rules, on)
            }
            OpCode::Data(kind) if header.is_final => {
                let texts = rules.texts;
                let body = if header.rsv1 { rules.inflate(payload)? } else { payload };
                match kind {
                    Data::Text => match std::str::from_utf8(body) {
                        Err(_) if texts == TextValidation::Utf8 => Err(Violation::Utf8),
                        _ => Ok(on(Received::Text(body))),
                    },
                    _ => Ok(on(Received::Binary(body))),
                }
            }
            OpCode::Data(kind) => {
                let text = kind == Data::Text;
                let (body, is_deflated) = (BytesMut::new(), header.rsv1);
                self.fragments = Some(Box::new(Fragments { text, is_deflated, body, checked: 0 }));
                self.append(header, payload, rules, on)
            }
        }
    }

    fn append(
        &mut self,
        header: &FrameHeader,
        payload: &[u8],
        rules: &mut Rules<'_>,
        on: &mut impl FnMut(Received<'_>) -> bool,
    ) -> Result<bool, Violation> {
        let Some(fragments) = &mut self.fragments else {
            return Err(Violation::Protocol("a continuation of nothing"));
        };
        fragments.body.extend_from_slice(payload);
        let checks = fragments.text && rules.texts == TextValidation::Utf8;
        if checks && !fragments.is_deflated {
            fragments.check(header.is_final)?;
        }
        if !header.is_final {
            return Ok(true);
        }
        let Some(whole) = self.fragments.take() else {
            return Ok(true);
        };
        let body = if whole.is_deflated { rules.inflate(&whole.body)? } else { &whole.body };
        if checks && whole.is_deflated && std::str::from_utf8(body).is_err() {
            return Err(Violation::Utf8);
        }
        Ok(on(match whole.text {
            true => Received::Text(body),
            false => Received::Binary(body),
        }))
    }
}

impl Rules<'_> {
    /// The message of a compressed payload.
    fn inflate(&mut self, payload: &[u8]) -> Result<&[u8], Violation> {
        match &mut self.inflater {
            Some(inflater) => inflater.inflate(payload, self.limit),
            None => Err(Violation::Protocol("a reserved bit")),
        }
    }
}

/// Maximum size of a compressed payload. Compression enlarges data without repetitions: with the
/// smallest buffers, by five bytes for every 127.
const fn largest_payload(limit: usize) -> usize {
    limit.saturating_add(limit / 16).saturating_add(64)
}

impl Fragments {
    /// Validates the text since the last call. A character may be split between fragments, but must
    /// be complete at the end.
    fn check(&mut self, whole: bool) -> Result<(), Violation> {
        match std::str::from_utf8(&self.body[self.checked..]) {
            Ok(_) => self.checked = self.body.len(),
            Err(error) if error.error_len().is_some() || whole => return Err(Violation::Utf8),
            Err(error) => self.checked += error.valid_up_to(),
        }
        Ok(())
    }
}

/// The code to reply to a close frame with, the client's own if it is valid on the wire, and the
/// reason of the frame.
fn close_frame(payload: &[u8]) -> Result<(Option<u16>, &str), Violation> {
    match payload {
        [] => Ok((None, "")),
        [_] => Err(Violation::Protocol("half a close code")),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !CloseCode::from(code).is_allowed() {
                return Err(Violation::Protocol("a close code that may not be sent"));
            }
            let reason = std::str::from_utf8(reason).map_err(|_| Violation::Utf8)?;
            Ok((Some(code), reason))
        }
    }
}

/// XORs eight bytes at a time, which the compiler vectorizes.
fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests;
