//! Encoding of server frames: one unmasked frame per message.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use protocol::{Message, MessageKind};
use tokio_tungstenite::tungstenite::protocol::frame::{
    FrameHeader,
    coding::{Control, Data, OpCode},
};

use super::Deflater;
use crate::TextValidation;

/// Maximum header size of an unmasked frame, in bytes.
const MAX_HEADER: usize = 10;

/// Encodes a message.
pub(crate) fn message_frame(message: &Message, texts: TextValidation) -> Bytes {
    match opcode(message, texts) {
        Some(opcode) => frame(opcode, &message.body),
        None => message.body.clone(),
    }
}

/// Encodes a message with a compressed payload; `None` if that is not smaller.
pub(crate) fn deflated_frame(
    message: &Message,
    texts: TextValidation,
    deflater: &mut Deflater,
) -> Option<Bytes> {
    let opcode = opcode(message, texts)?;
    let payload = deflater.deflate(&message.body);
    let header = FrameHeader { is_final: true, rsv1: true, opcode, ..FrameHeader::default() };
    let frame = payload.map(|payload| encode(&header, payload));
    deflater.release();
    frame
}

/// The type of a message's frame; `None` if it is framed already.
fn opcode(message: &Message, texts: TextValidation) -> Option<OpCode> {
    let data = match message.kind {
        MessageKind::Raw => return None,
        MessageKind::Binary => Data::Binary,
        // A client must fail the connection if a text frame is not valid UTF-8.
        MessageKind::Text
            if texts == TextValidation::Utf8 && std::str::from_utf8(&message.body).is_err() =>
        {
            Data::Binary
        }
        MessageKind::Text => Data::Text,
    };
    Some(OpCode::Data(data))
}

/// A ping frame, whose payload comes back in the pong.
pub fn ping_frame(payload: &[u8]) -> Bytes {
    frame(OpCode::Control(Control::Ping), payload)
}

/// A pong frame in reply to a ping.
pub fn pong_frame(payload: &[u8]) -> Bytes {
    frame(OpCode::Control(Control::Pong), payload)
}

/// A close frame with a code (RFC 6455, 7.4), or without one in reply to a client that sent none.
pub fn close_frame(code: Option<u16>) -> Bytes {
    match code {
        Some(code) => close_frame_with(code, ""),
        None => frame(OpCode::Control(Control::Close), &[]),
    }
}

/// A close frame with a code and a reason of at most [`MAX_REASON`](protocol::close::MAX_REASON)
/// bytes.
pub fn close_frame_with(code: u16, reason: &str) -> Bytes {
    let payload = [&code.to_be_bytes(), reason.as_bytes()].concat();
    frame(OpCode::Control(Control::Close), &payload)
}

/// A close frame with the reason `retry-after=SECONDS`, with one decimal.
pub fn retry_after_frame(code: u16, after: Duration) -> Bytes {
    close_frame_with(code, &format!("retry-after={:.1}", after.as_secs_f64()))
}

fn frame(opcode: OpCode, payload: &[u8]) -> Bytes {
    encode(&FrameHeader { is_final: true, opcode, ..FrameHeader::default() }, payload)
}

fn encode(header: &FrameHeader, payload: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(MAX_HEADER + payload.len()).writer();
    header.format(payload.len() as u64, &mut out).expect("writing to memory cannot fail");
    let mut out = out.into_inner();
    out.put_slice(payload);
    out.freeze()
}
