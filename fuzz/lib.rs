//! Fuzz targets for everything that a gateway, a worker or a register parses. Each function must
//! return quickly and without a panic for any input.

mod clients;
mod hook_answers;
mod link;
mod proxies;
mod push_api;
mod pusher_messages;
mod pusher_requests;
mod redis_answers;
mod tokens;

pub use clients::{deflate, device_frames, other_framings, request, websocket};
pub use hook_answers::hook_answer;
pub use link::link;
pub use proxies::{forwarded, proxy_header};
pub use push_api::push_api;
pub use pusher_messages::pusher;
pub use pusher_requests::pusher_http;
pub use redis_answers::redis_answer;
pub use tokens::token;

use bytes::{Bytes, BytesMut};
use protocol::{
    Answer, Command, Session,
    codec::{
        gateway_worker::{
            Frame, MAX_FRAME, decode,
            from_peer::{PeerMessage, read},
        },
        json_lines::Lines,
    },
    discovery::{AboutRegister, FromRegister, RefusedPeers, ToRegister},
    php::{Document, Value, json_decode, json_encode, parse_str, query_of, serialize, unserialize},
};

/// A stored session that updates are merged into.
const STORED: &[u8] =
    br#"a:4:{s:1:"n";a:2:{i:0;i:1;s:1:"k";a:0:{}}s:1:"m";R:2;s:1:"o";O:1:"A":1:{s:1:"p";r:5;}i:5;d:0.5;}"#;

/// Frames from a PHP peer on the inner port.
pub fn frames(bytes: &[u8]) {
    let mut buffer = BytesMut::from(bytes);
    while let Ok(Some(frame)) = decode(&mut buffer, MAX_FRAME) {
        handle(&frame);
        let mut again = BytesMut::new();
        frame.encode(&mut again).expect("a decoded frame is within the limit");
        assert_eq!(decode(&mut again, MAX_FRAME), Ok(Some(frame)));
    }
    assert!(buffer.capacity() <= bytes.len().max(64));
}

fn handle(frame: &Frame) {
    match read(frame) {
        Ok(PeerMessage::Query(_, reply)) => assert!(reply.encode(&Answer::Unavailable).is_err()),
        Ok(PeerMessage::Reply(reply)) => assert!(4 < reply.len()),
        Ok(PeerMessage::Command(Command::UpdateSession { changes, .. })) => update(&changes),
        Ok(_) | Err(_) => {}
    }
}

/// A session in PHP's serialization, valid or not.
pub fn session(text: &[u8]) {
    if let Ok(session) = Session::from_php(Bytes::copy_from_slice(text)) {
        update(&session);
        let _ = session.decode();
        assert!(session.equals(&session.clone()));
        let (mut kept, before) = (session.clone(), session);
        if kept.remove(&["n", "0", "a"]).is_err() {
            assert_eq!(kept, before);
        }
    }
}

fn update(changes: &Session) {
    let stored = Session::from_php(Bytes::from_static(STORED)).expect("within the limit");
    let (mut merged, mut other) = (stored.clone(), changes.clone());
    match merged.merge(changes) {
        Ok(()) if changes.is_empty() => assert_eq!(merged, stored),
        Ok(()) => drop(unserialize(&merged.to_php()).expect("encoded values can be decoded")),
        Err(_) => assert_eq!(merged, stored),
    }
    let _ = other.merge(&stored);
}

/// Keys, removed from a stored session.
fn remove(keys: &[String]) {
    let mut session = Session::from_php(Bytes::from_static(STORED)).expect("within the limit");
    session.remove(keys).expect("it has no opaque objects");
    if !session.is_empty() {
        unserialize(&session.to_php()).expect("encoded values can be decoded");
    }
}

/// A serialized PHP value: decoding, encoding and decoding again yields the same value.
pub fn value(text: &[u8]) {
    if let Ok(document) = unserialize(&Bytes::copy_from_slice(text)) {
        let once = written(&document);
        let again = unserialize(&once.clone().into()).expect("encoded values can be decoded");
        assert_eq!(written(&again), once);
        let _ = json_encode(&document, 1 << 20);
    }
}

/// JSON: the targets of a PHP peer's command, or a native session.
pub fn json(text: &[u8]) {
    let text = Bytes::copy_from_slice(text);
    if let Ok(value) = json_decode(&text) {
        let document = Document::from(value);
        let once = written(&document);
        let again = unserialize(&once.clone().into()).expect("encoded values can be decoded");
        assert_eq!(written(&again), once);
        // Infinite numbers can be decoded, but not encoded.
        if let Ok(json) = json_encode(&document, usize::MAX) {
            json_decode(&json.into()).expect("encoded values can be decoded");
        }
    }
    if let Ok(mut session) = Session::from_encoded(text) {
        let _ = session.to_php();
        let _ = session
            .merge(&Session::from_php(Bytes::from_static(STORED)).expect("within the limit"));
    }
}

/// The target of an HTTP request.
pub fn query(target: &[u8]) {
    let variables = parse_str(target);
    assert!(variables.len() <= 1000);
    written(&Value::Array(variables).into());
    if let Ok(target) = std::str::from_utf8(target) {
        parse_str(&query_of(target));
    }
}

/// Lines between a register and its peers, in both directions.
pub fn lines(bytes: &[u8]) {
    const LIMIT: usize = 4096;
    let (mut lines, mut buffer) = (Lines::new(LIMIT), BytesMut::from(bytes));
    while let Ok(Some(line)) = lines.next(&mut buffer) {
        assert!(line.len() <= LIMIT);
        let mut again = BytesMut::new();
        if let Ok(message) = ToRegister::parse(&line) {
            message.encode(&mut again);
        }
        let _ = AboutRegister::parse(&line);
        if let Ok(message) = FromRegister::parse(&line) {
            message.encode(&mut again);
        }
        if let Ok(peers) = RefusedPeers::parse(&line) {
            again.clear();
            peers.encode(&mut again);
            assert_eq!(RefusedPeers::parse(again.trim_ascii_end()), Ok(peers));
        }
    }
}

fn written(document: &Document) -> Vec<u8> {
    let mut text = Vec::new();
    serialize(document, usize::MAX, &mut text).expect("no deeper than the decoded input");
    text
}
