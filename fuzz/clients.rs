//! Input of clients: HTTP requests, and messages in each framing.

use bytes::BytesMut;
use framing::{
    Decoder, FrameLayout, Framed, Framing, Received, TextValidation, http,
    shared_frames::SharedFrameBytes,
    websocket::{
        Deflater, HandshakePolicy, Inflater, PerMessageDeflate, Reply, close_frame, evaluate,
        pong_frame,
    },
};
use protocol::{
    ConnectionId, Event, Grant, Message, Session,
    codec::gateway_worker::to_peer::{self, Origin},
};

/// Maximum message size in bytes.
const LIMIT: usize = 1000;

/// An HTTP request, up to the response to the client and the event to a PHP worker.
pub fn request(bytes: &[u8]) {
    read(bytes, http::parse, false);
    read(bytes, http::workerman::parse, true);
}

type Parse = fn(&[u8]) -> Result<Option<(http::Request, usize)>, http::BadRequest>;

fn read(bytes: &[u8], parse: Parse, like_workerman: bool) {
    let Ok(Some((request, length))) = parse(bytes) else {
        return;
    };
    assert!(length <= bytes.len());
    // A truncated head is incomplete. The tested position is derived from the input.
    let cut = bytes.iter().map(|byte| usize::from(*byte)).sum::<usize>() % length;
    assert!(matches!(parse(&bytes[..cut]), Ok(None)), "complete at {cut} of {length}");
    let strict = HandshakePolicy {
        origins: vec!["https://here.example".to_owned()],
        headers: vec!["X-Ours: yes".parse().expect("a header")],
        subprotocols: vec!["chat".parse().expect("a name"), "*".parse().expect("any")],
        deflate: true,
        like_workerman,
    };
    for policy in [&HandshakePolicy { like_workerman, ..HandshakePolicy::default() }, &strict] {
        // The longest response, if the client offers this subprotocol.
        let grant = Grant::new().with_header("X-Granted", "yes").expect("a header");
        let grant = grant.with_subprotocol("chat").expect("a name");
        let answers = match evaluate(&request, policy) {
            Reply::Accept(upgrade) => {
                let granted = upgrade.response_with(&grant).ok();
                granted.into_iter().chain([upgrade.response()]).collect::<Vec<_>>()
            }
            Reply::Refuse(answer, _) => vec![answer],
            Reply::Ordinary => Vec::new(),
        };
        for answer in answers {
            let text = std::str::from_utf8(&answer).expect("the response is UTF-8");
            assert!(text.ends_with("\r\n\r\n"));
            assert_eq!(
                text.matches("\r\n\r\n").count(),
                1,
                "the request is not reflected in the response"
            );
        }
    }
    let origin = Origin {
        gateway: ([127, 0, 0, 1], 2900).into(),
        remote: ([127, 0, 0, 1], 4321).into(),
        connection: ConnectionId(1),
        listener_port: 7272,
    };
    let event = Event::WebSocketConnect(request.handshake);
    to_peer::event(&origin, &Session::default(), &event, &mut BytesMut::new())
        .expect("a head is short");
}

/// Frames of a WebSocket client, with and without compression.
pub fn websocket(bytes: &[u8]) {
    for texts in [TextValidation::Utf8, TextValidation::Any] {
        messages(bytes, Framing::WebSocket, texts, false);
        messages(bytes, Framing::WebSocket, texts, true);
    }
}

/// The value of a `Sec-WebSocket-Extensions` header, up to the first line break; behind it, the
/// payload of a compressed message, which is also compressed itself. The first byte is the level.
pub fn deflate(bytes: &[u8]) {
    let Some((level, bytes)) = bytes.split_first() else {
        return;
    };
    let at = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (offers, payload) = (&bytes[..at], bytes.get(at + 1..).unwrap_or_default());
    let extension = negotiated(offers).or_else(|| negotiated(b"permessage-deflate"));
    let mut inflater = Inflater::default();
    let mut received = |frame: &[u8], limit: usize| {
        let (mut decoder, mut message) = (Decoder::new(Framing::WebSocket), None);
        let (inflater, texts) = (Some(&mut inflater), TextValidation::Any);
        let fed = decoder.feed_deflated(&mut frame.to_vec(), limit, texts, inflater, |received| {
            if let Received::Text(body) | Received::Binary(body) = received {
                message = Some(body.to_vec());
            }
            true
        });
        fed.map(|()| message)
    };
    // Any payload: a message within the limit, or a violation.
    if let Ok(message) = received(&masked(0xc2, payload), LIMIT) {
        assert!(message.expect("a whole frame").len() <= LIMIT);
    }
    // The payload as a message: the same after compression and decompression.
    let (mut deflater, counter) = (Deflater::new(level % 9 + 1), SharedFrameBytes::default());
    let mut framed =
        Framed::new(Message::binary(payload.to_vec()), TextValidation::Any).deflate_from(0);
    let extension = extension.expect("a plain offer is accepted");
    if let Some(frame) = framed.deflated(extension, &mut deflater, &counter) {
        let header = if frame[1] < 126 { 2 } else { 4 };
        let compressed = &frame[header..];
        assert!(frame[0] == 0xc2 && compressed.len() < payload.len());
        let message = received(&masked(0xc2, compressed), payload.len());
        assert_eq!(message, Ok(Some(payload.to_vec())));
    }
}

/// The extension that is agreed on, which must be an answer to one of the offers.
fn negotiated(offers: &[u8]) -> Option<PerMessageDeflate> {
    const HEAD: &[u8] = b"GET / HTTP/1.1\r\nSec-WebSocket-Key: k\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Extensions: ";
    let head = [HEAD, offers, b"\r\n\r\n"].concat();
    let Ok(Some((request, _))) = http::parse(&head) else {
        return None;
    };
    let policy = HandshakePolicy { deflate: true, ..HandshakePolicy::default() };
    let Reply::Accept(upgrade) = evaluate(&request, &policy) else {
        panic!("offers fail no handshake");
    };
    let extension = upgrade.deflate();
    let offered = |name: &[u8]| offers.windows(name.len()).any(|part| part == name);
    if let Some(extension) = extension {
        assert!(offered(b"permessage-deflate"));
        let answer = extension.to_string();
        assert!(!answer.contains("max_window_bits") || offered(b"server_max_window_bits"));
    }
    extension
}

/// A frame with a mask of zeros.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u64).to_be_bytes();
    [&[first, 0x80 | 127], &length[..], &[0; 4], payload].concat()
}

/// The framings other than WebSocket.
pub fn other_framings(bytes: &[u8]) {
    for framing in [Framing::Text, Framing::Frame(FrameLayout::GATEWAY_WORKER), Framing::Tcp] {
        messages(bytes, framing, TextValidation::Utf8, false);
    }
}

/// A layout of frames, up to a line feed, and the frames of a client.
pub fn device_frames(bytes: &[u8]) {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
        return;
    };
    let (query, input) = (&bytes[..end], &bytes[end + 1..]);
    let Some(layout) = std::str::from_utf8(query).ok().and_then(|query| query.parse().ok()) else {
        return;
    };
    let written = FrameLayout::to_string(&layout);
    assert_eq!(written.parse(), Ok(layout), "{written}");
    let framing = Framing::Frame(layout);
    messages(input, framing, TextValidation::Utf8, false);
    // Frames that are decoded are those that their messages are encoded in.
    let (mut decoder, mut frames) = (Decoder::new(framing), Vec::new());
    let mut input = input.get(1..).unwrap_or_default().to_vec();
    let _ = decoder.feed(&mut input.clone(), LIMIT, TextValidation::Utf8, |received| {
        let (Received::Text(body) | Received::Binary(body)) = received else {
            panic!("{received:?}")
        };
        let mut framed = Framed::new(Message::binary(body.to_vec()), TextValidation::Utf8);
        let form = framed.form(framing, &SharedFrameBytes::default());
        frames.extend_from_slice(form.expect("a decoded message has a frame"));
        true
    });
    input.truncate(frames.len());
    assert_eq!(input, frames);
}

/// Checks that the result does not depend on how the bytes are split. The first byte is the size of
/// the pieces.
fn messages(bytes: &[u8], framing: Framing, texts: TextValidation, inflates: bool) {
    let Some((piece, bytes)) = bytes.split_first() else {
        return;
    };
    let piece = usize::from(*piece).max(1);
    let (whole, in_pieces) = (decoded(&[bytes], framing, texts, inflates), {
        let pieces: Vec<&[u8]> = bytes.chunks(piece).collect();
        decoded(&pieces, framing, texts, inflates)
    });
    if framing != Framing::Tcp {
        assert_eq!(whole, in_pieces);
    }
}

/// The decoded items, and the close code if the decoder failed.
fn decoded(
    pieces: &[&[u8]],
    framing: Framing,
    texts: TextValidation,
    inflates: bool,
) -> (Vec<String>, Option<u16>) {
    let (mut decoder, mut all) = (Decoder::new(framing), Vec::new());
    let mut inflater = inflates.then(Inflater::default);
    for piece in pieces {
        let mut goes_on = true;
        let (piece, inflater) = (&mut piece.to_vec(), inflater.as_mut());
        let fed = decoder.feed_deflated(piece, LIMIT, texts, inflater, |received| {
            goes_on = !matches!(received, Received::Close(..));
            all.push(handled(received, framing, texts));
            goes_on
        });
        assert!(decoder.held() <= 4 * LIMIT + 1024, "{} bytes are held", decoder.held());
        match fed {
            Err(violation) => return (all, Some(violation.code())),
            Ok(()) if !goes_on => break,
            Ok(()) => {}
        }
    }
    (all, None)
}

/// Replies as the gateway does, and describes the item.
fn handled(received: Received<'_>, framing: Framing, texts: TextValidation) -> String {
    match received {
        Received::Text(text) => {
            assert!(text.len() <= LIMIT);
            if framing == Framing::WebSocket && texts == TextValidation::Utf8 {
                std::str::from_utf8(text).expect("text is UTF-8");
            }
            let message = Message::binary(text.to_vec());
            let mut framed = Framed::new(message, texts);
            let form = framed.form(framing, &SharedFrameBytes::default());
            assert!(form.is_some_and(|form| text.len() <= form.len()));
            format!("text {text:?}")
        }
        Received::Binary(bytes) => {
            assert!(bytes.len() <= LIMIT);
            format!("binary {bytes:?}")
        }
        Received::Ping(bytes) => {
            assert_eq!(pong_frame(bytes).len(), 2 + bytes.len(), "a short frame");
            format!("ping {bytes:?}")
        }
        Received::Pong(payload) => format!("pong {payload:?}"),
        Received::Close(code, reason) => {
            assert!(close_frame(code).len() <= 4 && reason.len() <= 123);
            // 1005, 1006 and 1015 must never be sent (RFC 6455, 7.4.1).
            assert!(code.is_none_or(|code| !matches!(code, 0..1000 | 1005 | 1006 | 1015)));
            format!("close {code:?}")
        }
    }
}
