//! An outgoing message to any number of clients, encoded once per framing.

use bytes::{BufMut, Bytes, BytesMut};
use protocol::{Message, MessageKind};

use super::{Framing, TextValidation, websocket};
use crate::shared_frames::{SMALL, SharedFrameBytes};

/// A message and its encoded forms, created on demand.
#[derive(Debug)]
pub struct Framed {
    message: Message,
    texts: TextValidation,
    forms: [Option<Bytes>; 4],
}

impl Framed {
    /// A text message that fails the validation of `texts` is sent as a binary one.
    pub fn new(message: Message, texts: TextValidation) -> Self {
        Self { message, texts, forms: [const { None }; 4] }
    }

    /// The bytes for clients with this framing. `counter` counts them.
    pub fn form(&mut self, framing: Framing, counter: &SharedFrameBytes) -> &Bytes {
        let (message, texts) = (&self.message, self.texts);
        self.forms[framing as usize]
            .get_or_insert_with(|| counter.count(frame(message, framing, texts)))
    }
}

fn frame(message: &Message, framing: Framing, texts: TextValidation) -> Bytes {
    let body = &message.body;
    match framing {
        _ if message.kind == MessageKind::Raw => unshared(body),
        Framing::WebSocket => websocket::message_frame(message, texts),
        Framing::Text => {
            let mut out = BytesMut::with_capacity(body.len() + 1);
            out.put_slice(body);
            out.put_u8(b'\n');
            out.freeze()
        }
        Framing::Frame => {
            let mut out = BytesMut::with_capacity(body.len() + 4);
            // Cannot overflow: frames of peers are limited to 32 MiB.
            out.put_u32((body.len() + 4) as u32);
            out.put_slice(body);
            out.freeze()
        }
        Framing::Tcp => unshared(body),
    }
}

/// Copies large bodies. A body is a slice of the read buffer of its link, which must not be kept in
/// memory by a client that reads slowly.
fn unshared(body: &Bytes) -> Bytes {
    // Small bodies are copied into each client's write queue anyway.
    if SMALL < body.len() { Bytes::copy_from_slice(body) } else { body.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_is_encoded_for_each_framing() {
        let message = Message::text("hello");
        let mut framed = Framed::new(message, TextValidation::Utf8);
        assert_eq!(
            framed.form(Framing::WebSocket, &SharedFrameBytes::default()),
            &b"\x81\x05hello"[..]
        );
        assert_eq!(framed.form(Framing::Text, &SharedFrameBytes::default()), &b"hello\n"[..]);
        assert_eq!(
            framed.form(Framing::Frame, &SharedFrameBytes::default()),
            &b"\x00\x00\x00\x09hello"[..]
        );
        assert_eq!(framed.form(Framing::Tcp, &SharedFrameBytes::default()), &b"hello"[..]);
    }

    #[test]
    fn invalid_utf8_is_sent_as_text_only_without_validation() {
        let message = Message { kind: MessageKind::Text, body: Bytes::from_static(b"\xff") };
        let first = |texts| {
            Framed::new(message.clone(), texts)
                .form(Framing::WebSocket, &SharedFrameBytes::default())[0]
        };
        assert_eq!((first(TextValidation::Utf8), first(TextValidation::Any)), (0x82, 0x81));
    }

    #[test]
    fn raw_message_is_sent_unchanged() {
        let message = Message { kind: MessageKind::Raw, body: Bytes::from_static(b"\x81\x02ab") };
        let mut framed = Framed::new(message.clone(), TextValidation::Utf8);
        for framing in [Framing::WebSocket, Framing::Text, Framing::Frame, Framing::Tcp] {
            assert_eq!(framed.form(framing, &SharedFrameBytes::default()), &message.body);
        }
    }
}
