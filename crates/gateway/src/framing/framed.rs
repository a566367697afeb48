//! A message on its way to any number of clients: framed once for each framing among them.

use bytes::{BufMut, Bytes, BytesMut};
use protocol::{Message, MessageKind};

use super::{Framing, Texts, websocket};
use crate::ledger::{Ledger, SMALL};

/// A message and its framed forms, as far as they were needed.
#[derive(Debug)]
pub(crate) struct Framed {
    message: Message,
    texts: Texts,
    forms: [Option<Bytes>; 4],
}

impl Framed {
    /// A text message that `texts` does not let into a text frame goes out as a binary one.
    pub(crate) fn new(message: Message, texts: Texts) -> Self {
        Self { message, texts, forms: [const { None }; 4] }
    }

    /// The bytes for a client of this framing; `ledger` counts them.
    pub(crate) fn form(&mut self, framing: Framing, ledger: &Ledger) -> &Bytes {
        let (message, texts) = (&self.message, self.texts);
        self.forms[framing as usize]
            .get_or_insert_with(|| ledger.count(frame(message, framing, texts)))
    }
}

fn frame(message: &Message, framing: Framing, texts: Texts) -> Bytes {
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
            // Messages come in frames of at most 32 MiB.
            out.put_u32((body.len() + 4) as u32);
            out.put_slice(body);
            out.freeze()
        }
        Framing::Tcp => unshared(body),
    }
}

/// The same bytes. A body is a slice of the buffer that a whole read of its link went into, which
/// must not stay in memory for as long as a client does not read.
fn unshared(body: &Bytes) -> Bytes {
    // Fewer are copied into each client's queue anyway.
    if SMALL < body.len() { Bytes::copy_from_slice(body) } else { body.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_framing_has_its_form() {
        let message = Message::text("hello");
        let mut framed = Framed::new(message, Texts::Utf8);
        assert_eq!(framed.form(Framing::WebSocket, &Ledger::default()), &b"\x81\x05hello"[..]);
        assert_eq!(framed.form(Framing::Text, &Ledger::default()), &b"hello\n"[..]);
        assert_eq!(framed.form(Framing::Frame, &Ledger::default()), &b"\x00\x00\x00\x09hello"[..]);
        assert_eq!(framed.form(Framing::Tcp, &Ledger::default()), &b"hello"[..]);
    }

    #[test]
    fn what_is_no_text_is_framed_as_text_only_where_anything_is() {
        let message = Message { kind: MessageKind::Text, body: Bytes::from_static(b"\xff") };
        let first = |texts| {
            Framed::new(message.clone(), texts).form(Framing::WebSocket, &Ledger::default())[0]
        };
        assert_eq!((first(Texts::Utf8), first(Texts::Any)), (0x82, 0x81));
    }

    #[test]
    fn raw_bytes_are_left_alone() {
        let message = Message { kind: MessageKind::Raw, body: Bytes::from_static(b"\x81\x02ab") };
        let mut framed = Framed::new(message.clone(), Texts::Utf8);
        for framing in [Framing::WebSocket, Framing::Text, Framing::Frame, Framing::Tcp] {
            assert_eq!(framed.form(framing, &Ledger::default()), &message.body);
        }
    }
}
