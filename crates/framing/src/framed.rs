//! An outgoing message to any number of clients, encoded once per framing.

use bytes::{BufMut, Bytes, BytesMut};
use protocol::{Message, MessageKind};

use super::{FrameLayout, Framing, TextValidation, websocket};
use crate::{
    shared_frames::{SMALL, SharedFrameBytes},
    websocket::{Deflater, PerMessageDeflate},
};

/// A message and its encoded forms, created on demand.
#[derive(Debug)]
pub struct Framed {
    message: Message,
    texts: TextValidation,
    forms: [Option<Bytes>; 4],
    /// Frames in layouts other than `GatewayWorker`'s; `None` where the message has none.
    frames: Vec<(FrameLayout, Option<Bytes>)>,
    /// Minimum size in bytes for compression.
    deflate_from: usize,
    /// The compressed form for WebSockets, once it was asked for, if it is smaller.
    deflated: Option<Option<Bytes>>,
}

impl Framed {
    /// A text message that fails the validation of `texts` is sent as a binary one.
    pub fn new(message: Message, texts: TextValidation) -> Self {
        Self {
            message,
            texts,
            forms: [const { None }; 4],
            frames: Vec::new(),
            deflate_from: usize::MAX,
            deflated: None,
        }
    }

    /// Permits compression of the message if it has at least this many bytes.
    #[must_use]
    pub fn deflate_from(self, bytes: usize) -> Self {
        Self { deflate_from: bytes, ..self }
    }

    /// The message.
    pub const fn message(&self) -> &Message {
        &self.message
    }

    /// Size of the message in bytes.
    pub fn size(&self) -> usize {
        self.message.body.len()
    }

    /// The bytes for clients with this framing, which `counter` counts. `None` if the message
    /// cannot be framed: its length does not fit a [`FrameLayout`], or it ends within its header.
    pub fn form(&mut self, framing: Framing, counter: &SharedFrameBytes) -> Option<&Bytes> {
        let slot = match framing {
            Framing::WebSocket => 0,
            Framing::Text => 1,
            Framing::Tcp => 2,
            Framing::Frame(FrameLayout::GATEWAY_WORKER) => 3,
            Framing::Frame(layout) => return self.frame(layout, counter),
        };
        if self.forms[slot].is_none() {
            let form = encode(&self.message, framing, self.texts);
            self.forms[slot] = form.map(|form| counter.count(form));
        }
        self.forms[slot].as_ref()
    }

    fn frame(&mut self, layout: FrameLayout, counter: &SharedFrameBytes) -> Option<&Bytes> {
        // There are few listeners, so few layouts.
        let known = self.frames.iter().position(|(known, _)| *known == layout);
        let at = known.unwrap_or_else(|| {
            let form = encode(&self.message, Framing::Frame(layout), self.texts);
            self.frames.push((layout, form.map(|form| counter.count(form))));
            self.frames.len() - 1
        });
        self.frames[at].1.as_ref()
    }

    /// The compressed bytes for WebSocket clients with this extension, if compression is permitted
    /// and makes the message smaller. It is compressed once for all of them.
    pub fn deflated(
        &mut self,
        extension: PerMessageDeflate,
        deflater: &mut Deflater,
        counter: &SharedFrameBytes,
    ) -> Option<&Bytes> {
        let (message, texts) = (&self.message, self.texts);
        let size = message.body.len();
        if message.uncompressed || size < self.deflate_from || !extension.admits(size) {
            return None;
        }
        let form = || Some(counter.count(websocket::deflated_frame(message, texts, deflater)?));
        self.deflated.get_or_insert_with(form).as_ref()
    }
}

fn encode(message: &Message, framing: Framing, texts: TextValidation) -> Option<Bytes> {
    let body = &message.body;
    Some(match framing {
        _ if message.kind == MessageKind::Raw => unshared(body),
        Framing::WebSocket => websocket::message_frame(message, texts),
        Framing::Text => {
            let mut out = BytesMut::with_capacity(body.len() + 1);
            out.put_slice(body);
            out.put_u8(b'\n');
            out.freeze()
        }
        Framing::Frame(layout) => layout.encode(body)?,
        Framing::Tcp => unshared(body),
    })
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

    const FRAME: Framing = Framing::Frame(FrameLayout::GATEWAY_WORKER);

    fn form(framed: &mut Framed, framing: Framing) -> Option<Vec<u8>> {
        framed.form(framing, &SharedFrameBytes::default()).map(|form| form.to_vec())
    }

    #[test]
    fn message_is_encoded_for_each_framing() {
        let mut framed = Framed::new(Message::text("hello"), TextValidation::Utf8);
        for (framing, expected) in [
            (Framing::WebSocket, &b"\x81\x05hello"[..]),
            (Framing::Text, b"hello\n"),
            (FRAME, b"\x00\x00\x00\x09hello"),
            (Framing::Frame("length=u8".parse().unwrap()), b"\x05hello"),
            (Framing::Frame("length=u16le&counts=frame".parse().unwrap()), b"\x07\0hello"),
            (Framing::Frame("length=u8&offset=1".parse().unwrap()), b"h\x03llo"),
            (Framing::Tcp, b"hello"),
        ] {
            for _ in 0..2 {
                assert_eq!(form(&mut framed, framing).unwrap(), expected, "{framing:?}");
            }
        }
    }

    #[test]
    fn message_without_a_frame_in_one_layout_has_its_other_forms() {
        let mut framed = Framed::new(Message::binary(vec![7; 256]), TextValidation::Utf8);
        let too_narrow = Framing::Frame("length=u8".parse().unwrap());
        for _ in 0..2 {
            assert_eq!(form(&mut framed, too_narrow), None);
        }
        assert_eq!(form(&mut framed, FRAME).unwrap().len(), 260);
        assert_eq!(form(&mut framed, Framing::WebSocket).unwrap().len(), 260);
    }

    #[test]
    fn shared_frame_of_a_layout_is_counted_once() {
        let counter = SharedFrameBytes::default();
        let mut framed = Framed::new(Message::binary(vec![7; SMALL]), TextValidation::Utf8);
        let layout = Framing::Frame("length=u16be".parse().unwrap());
        let clients = [(); 2].map(|()| framed.form(layout, &counter).cloned());
        assert_eq!(counter.bytes(), SMALL + 2);
        drop((clients, framed));
        assert_eq!(counter.bytes(), 0);
    }

    #[test]
    fn invalid_utf8_is_sent_as_text_only_without_validation() {
        let message = Message { body: Bytes::from_static(b"\xff"), ..Message::default() };
        let first = |texts| {
            let mut framed = Framed::new(message.clone(), texts);
            form(&mut framed, Framing::WebSocket).unwrap()[0]
        };
        assert_eq!((first(TextValidation::Utf8), first(TextValidation::Any)), (0x82, 0x81));
    }

    #[test]
    fn raw_message_is_sent_unchanged() {
        let message = Message::raw(&b"\x81\x02ab"[..]);
        let mut framed = Framed::new(message.clone(), TextValidation::Utf8);
        let layout = Framing::Frame("length=u8&offset=200".parse().unwrap());
        for framing in [Framing::WebSocket, Framing::Text, FRAME, layout, Framing::Tcp] {
            assert_eq!(form(&mut framed, framing).unwrap(), message.body);
        }
    }

    #[test]
    fn message_is_compressed_once_if_that_is_permitted_and_of_use() {
        let counter = SharedFrameBytes::default();
        let extension = |offer: &str| {
            let head = format!(
                "GET / HTTP/1.1\r\nSec-WebSocket-Key: k\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Extensions: {offer}\r\n\r\n"
            );
            let (request, _) = crate::http::parse(head.as_bytes()).unwrap().unwrap();
            let policy = websocket::HandshakePolicy {
                deflate: true,
                ..websocket::HandshakePolicy::default()
            };
            match websocket::evaluate(&request, &policy) {
                websocket::Reply::Accept(upgrade) => upgrade.deflate().unwrap(),
                other => panic!("{other:?}"),
            }
        };
        let any = extension("permessage-deflate");
        let small = extension("permessage-deflate; server_max_window_bits=9");
        let mut deflater = Deflater::new(1);
        let text = Message::text("news ".repeat(200));
        let framed = |message: &Message| Framed::new(message.clone(), TextValidation::Utf8);
        let mut compressed = framed(&text).deflate_from(1000);
        assert!(compressed.deflated(small, &mut deflater, &counter).is_none(), "over its window");
        let first = compressed.deflated(any, &mut deflater, &counter).unwrap().clone();
        assert!(first.len() < 100 && first[0] == 0xc1, "{first:x?}");
        let again = compressed.deflated(any, &mut deflater, &counter).unwrap();
        assert_eq!(again.as_ptr(), first.as_ptr(), "the same bytes");
        assert_eq!(compressed.form(Framing::WebSocket, &counter).unwrap()[0], 0x81);
        let mut binary = framed(&Message::binary(text.body.clone())).deflate_from(0);
        assert_eq!(binary.deflated(any, &mut deflater, &counter).unwrap()[0], 0xc2);

        for mut framed in [
            framed(&text),
            framed(&text).deflate_from(1001),
            framed(&text.clone().uncompressed()).deflate_from(0),
            framed(&Message::raw(text.body.clone())).deflate_from(0),
            framed(&Message::text("short")).deflate_from(0),
        ] {
            assert!(framed.deflated(any, &mut deflater, &counter).is_none(), "{framed:?}");
        }
    }
}
