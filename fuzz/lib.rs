//! What a gateway, a worker or a register does with bytes that came from somewhere. Each function
//! must end, soon and without a panic, whatever the bytes are.

mod clients;
mod link;

// The gateway's own decoders, taken in as they stand: nobody else is to see them.
#[allow(dead_code, unused_imports, reason = "not all of it decodes")]
#[path = "../crates/gateway/src/framing/mod.rs"]
mod framing;
#[allow(dead_code, reason = "not all of it decodes")]
mod http;
#[allow(dead_code, reason = "not all of it decodes")]
#[path = "../crates/gateway/src/ledger.rs"]
mod ledger;

pub use clients::{other_framings, request, websocket};
pub use link::link;

use bytes::{Bytes, BytesMut};
use protocol::{
    Answer, Command, Session,
    codec::{
        gateway_worker::{
            Frame, MAX_FRAME, decode,
            from_peer::{Said, read},
        },
        json_lines::Lines,
    },
    discovery::{FromRegister, ToRegister},
    php::{Document, Value, json_decode, json_encode, parse_str, query_of, serialize, unserialize},
};

/// A stored session that updates go into.
const STORED: &[u8] =
    br#"a:4:{s:1:"n";a:2:{i:0;i:1;s:1:"k";a:0:{}}s:1:"m";R:2;s:1:"o";O:1:"A":1:{s:1:"p";r:7;}i:5;d:0.5;}"#;

/// What a PHP peer sends on the inner port.
pub fn frames(bytes: &[u8]) {
    let mut buffer = BytesMut::from(bytes);
    while let Ok(Some(frame)) = decode(&mut buffer, MAX_FRAME) {
        obey(&frame);
        let mut again = BytesMut::new();
        frame.encode(&mut again).expect("it was within the limit");
        assert_eq!(decode(&mut again, MAX_FRAME), Ok(Some(frame)));
    }
    assert!(buffer.capacity() <= bytes.len().max(64));
}

fn obey(frame: &Frame) {
    match read(frame) {
        Ok(Said::Query(_, reply)) => assert!(reply.encode(&Answer::Unavailable).is_err()),
        Ok(Said::Reply(reply)) => assert!(4 < reply.len()),
        Ok(Said::Command(Command::UpdateSession { changes, .. })) => update(&changes),
        Ok(_) | Err(_) => {}
    }
}

/// A session, as PHP wrote it or did not.
pub fn session(text: &[u8]) {
    if let Ok(session) = Session::from_php(Bytes::copy_from_slice(text)) {
        update(&session);
        let _ = session.decode();
    }
}

fn update(changes: &Session) {
    let stored = Session::from_php(Bytes::from_static(STORED)).expect("it is short");
    let (mut merged, mut other) = (stored.clone(), changes.clone());
    match merged.merge(changes) {
        Ok(()) if changes.is_empty() => assert_eq!(merged, stored),
        Ok(()) => drop(unserialize(&merged.to_php()).expect("what we write can be read")),
        Err(_) => assert_eq!(merged, stored),
    }
    let _ = other.merge(&stored);
}

/// A serialized value: what was read is written, and reads back as the same.
pub fn value(text: &[u8]) {
    if let Ok(document) = unserialize(&Bytes::copy_from_slice(text)) {
        let once = written(&document);
        let again = unserialize(&once.clone().into()).expect("what we write can be read");
        assert_eq!(written(&again), once);
        let _ = json_encode(&document, 1 << 20);
    }
}

/// JSON, as a peer's targets or as a session of ours.
pub fn json(text: &[u8]) {
    let text = Bytes::copy_from_slice(text);
    if let Ok(value) = json_decode(&text) {
        let document = Document::from(value);
        let once = written(&document);
        let again = unserialize(&once.clone().into()).expect("what we write can be read");
        assert_eq!(written(&again), once);
        // An infinite number is read, but not written.
        if let Ok(json) = json_encode(&document, usize::MAX) {
            json_decode(&json.into()).expect("what we write can be read");
        }
    }
    if let Ok(mut session) = Session::from_encoded(text) {
        let _ = session.to_php();
        let _ = session.merge(&Session::from_php(Bytes::from_static(STORED)).expect("it is short"));
    }
}

/// The target of a request.
pub fn query(target: &[u8]) {
    let variables = parse_str(target);
    assert!(variables.len() <= 1000);
    written(&Value::Array(variables).into());
    if let Ok(target) = std::str::from_utf8(target) {
        parse_str(&query_of(target));
    }
}

/// What a peer says to a register, and a register to a peer.
pub fn lines(bytes: &[u8]) {
    const LIMIT: usize = 4096;
    let (mut lines, mut buffer) = (Lines::new(LIMIT), BytesMut::from(bytes));
    while let Ok(Some(line)) = lines.next(&mut buffer) {
        assert!(line.len() <= LIMIT);
        let mut again = BytesMut::new();
        if let Ok(said) = ToRegister::parse(&line) {
            said.encode(&mut again);
        }
        if let Ok(said) = FromRegister::parse(&line) {
            said.encode(&mut again);
        }
    }
}

fn written(document: &Document) -> Vec<u8> {
    let mut text = Vec::new();
    serialize(document, usize::MAX, &mut text).expect("it is no deeper than it was read");
    text
}
