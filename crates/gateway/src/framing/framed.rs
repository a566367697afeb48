//! A message on its way to any number of clients: framed once for each framing among them.

use bytes::{BufMut, Bytes, BytesMut};
use protocol::{Message, MessageKind};

use super::{Framing, websocket};
use crate::ledger::Ledger;

/// A message and its framed forms, as far as they were needed.
#[derive(Debug)]
pub(crate) struct Framed<'a> {
    message: &'a Message,
    forms: [Option<Bytes>; 4],
}

impl<'a> Framed<'a> {
    pub(crate) fn new(message: &'a Message) -> Self {
        Self { message, forms: [const { None }; 4] }
    }

    /// The bytes for a client of this framing; `ledger` counts them.
    pub(crate) fn form(&mut self, framing: Framing, ledger: &Ledger) -> &Bytes {
        let message = self.message;
        self.forms[framing as usize].get_or_insert_with(|| ledger.count(frame(message, framing)))
    }
}

fn frame(message: &Message, framing: Framing) -> Bytes {
    let body = &message.body;
    match framing {
        _ if message.kind == MessageKind::Raw => body.clone(),
        Framing::WebSocket => websocket::message_frame(message),
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
        Framing::Tcp => body.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_framing_has_its_form() {
        let message = Message::text("hello");
        let mut framed = Framed::new(&message);
        assert_eq!(framed.form(Framing::WebSocket, &Ledger::default()), &b"\x81\x05hello"[..]);
        assert_eq!(framed.form(Framing::Text, &Ledger::default()), &b"hello\n"[..]);
        assert_eq!(framed.form(Framing::Frame, &Ledger::default()), &b"\x00\x00\x00\x09hello"[..]);
        assert_eq!(framed.form(Framing::Tcp, &Ledger::default()), &b"hello"[..]);
    }

    #[test]
    fn raw_bytes_are_left_alone() {
        let message = Message { kind: MessageKind::Raw, body: Bytes::from_static(b"\x81\x02ab") };
        let mut framed = Framed::new(&message);
        for framing in [Framing::WebSocket, Framing::Text, Framing::Frame, Framing::Tcp] {
            assert_eq!(framed.form(framing, &Ledger::default()), &message.body);
        }
    }
}
