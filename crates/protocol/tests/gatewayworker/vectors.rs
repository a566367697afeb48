//! The recorded frames, line by line.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use push_suite_protocol::{
    Answer, Event, Handshake, Message, Row, Session,
    codec::gateway_worker::{
        Frame, MAX_FRAME, Opcode, decode,
        from_peer::{PeerMessage, read},
        reply::Reply,
        to_peer::{self, Origin},
    },
    event::{CloseReason, Header},
    php::{Key, Value, serialize, unserialize},
};
use serde_json::Value as Json;

use crate::{group, id, uid};

const LINES: &str = include_str!("vectors.jsonl");

/// One line.
pub(crate) struct Vector {
    pub(crate) fields: Json,
    pub(crate) bytes: Vec<u8>,
}

impl Vector {
    pub(crate) fn text(&self, field: &str) -> &str {
        self.fields[field].as_str().unwrap_or_default()
    }

    fn is(&self, from: &str, kind: &str) -> bool {
        self.text("from") == from && self.text("kind") == kind
    }

    fn frame(&self) -> Frame {
        let mut buffer = BytesMut::from(&self.bytes[..]);
        let frame = decode(&mut buffer, MAX_FRAME).unwrap().unwrap();
        assert!(buffer.is_empty());
        frame
    }
}

pub(crate) fn all() -> Vec<Vector> {
    let vectors: Vec<Vector> = LINES
        .lines()
        .map(|line| {
            let fields: Json = serde_json::from_str(line).unwrap();
            let hex = fields["hex"].as_str().unwrap();
            let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
            let bytes = (0..hex.len()).step_by(2).map(byte).collect();
            Vector { fields, bytes }
        })
        .collect();
    assert_eq!(vectors.len(), 168);
    vectors
}

/// The bytes of all frames and replies, in both directions.
pub(crate) fn wire() -> Vec<Vec<u8>> {
    let wire = all().into_iter().filter(|vector| vector.text("kind") != "register");
    wire.map(|vector| vector.bytes).collect()
}

/// All lines to and from a register.
pub(crate) fn register_lines() -> Vec<Vec<u8>> {
    let lines: Vec<_> =
        all().into_iter().filter(|vector| vector.text("kind") == "register").collect();
    assert_eq!(lines.len(), 168 - wire().len());
    lines.into_iter().map(|vector| vector.bytes).collect()
}

#[test]
fn recorded_frame_is_decoded_and_encoded_to_the_same_bytes() {
    let mut frames = 0;
    for vector in all().iter().filter(|vector| vector.text("kind") == "frame") {
        let frame = vector.frame();
        let field = |name: &str| vector.fields[name].as_u64().unwrap();
        assert_eq!(u64::from(frame.cmd), field("cmd"));
        assert_eq!(u64::from(frame.connection_id), field("connection_id"));
        assert_eq!(u64::from(frame.flag), field("flag"));
        assert_eq!(u64::from(frame.local_port), field("local_port"));
        assert_eq!(u64::from(frame.gateway_port), field("gateway_port"));
        assert_eq!(frame.ext_data, vector.text("ext_data"));
        assert_eq!(frame.body, vector.text("body"));
        assert!(Opcode::try_from(frame.cmd).is_ok());
        let mut again = BytesMut::new();
        frame.encode(&mut again).unwrap();
        assert_eq!(again, vector.bytes);
        frames += 1;
    }
    assert_eq!(frames, 99);
}

#[test]
fn recorded_event_is_encoded_to_the_same_bytes() {
    let mut events = 0;
    for vector in all().iter().filter(|vector| vector.is("gateway>peer", "frame")) {
        let frame = vector.frame();
        let origin = Origin {
            gateway: ([127, 0, 0, 1], frame.local_port).into(),
            remote: ([127, 0, 0, 1], frame.client_port).into(),
            connection: id(frame.connection_id),
            listener_port: frame.gateway_port,
        };
        let event = match Opcode::try_from(frame.cmd).unwrap() {
            Opcode::OnConnect => Event::Connect,
            Opcode::OnMessage => {
                Event::Message(Message { body: frame.body.clone(), ..Message::default() })
            }
            Opcode::OnClose => Event::Close(CloseReason::Client),
            Opcode::OnWebsocketConnect => Event::WebSocketConnect(handshake(&frame.body)),
            other => panic!("not an event: {other:?}"),
        };
        let session = Session::from_php(frame.ext_data).unwrap();
        let mut written = BytesMut::new();
        to_peer::event(&origin, &session, &event, &mut written).unwrap();
        assert_eq!(written, vector.bytes, "{}", vector.text("step"));
        events += 1;
    }
    assert_eq!(events, 10);
}

/// The request from which the body of a handshake event was built.
fn handshake(body: &Bytes) -> Handshake {
    let document = unserialize(body).unwrap();
    let server = document.as_array().unwrap().get_str("server").unwrap().as_array().unwrap();
    let text = |value: &Value| match value {
        Value::Str(text) => text.clone(),
        other => panic!("not a string: {other:?}"),
    };
    let headers = server.iter().filter_map(|(key, value)| {
        let name = String::from_utf8(key.to_text().to_vec()).unwrap();
        let name = name.strip_prefix("HTTP_")?.replace('_', "-");
        Some(Header { name, value: text(value).to_vec() })
    });
    let target = String::from_utf8(text(server.get_str("REQUEST_URI").unwrap()).to_vec());
    Handshake { target: target.unwrap(), headers: headers.collect() }
}

#[test]
fn recorded_reply_is_decoded_and_encoded_to_the_same_bytes() {
    let mut replies = 0;
    let mut pending = BTreeMap::<String, Reply>::new();
    for vector in all() {
        if vector.is("peer>gateway", "frame")
            && let Ok(PeerMessage::Query(_, reply)) = read(&vector.frame())
        {
            pending.insert(vector.text("step").to_owned(), reply);
        }
        if vector.text("kind") != "reply" {
            continue;
        }
        let text = Bytes::copy_from_slice(&vector.bytes[4..]);
        assert_eq!(text, vector.text("php"));
        let document = unserialize(&text).unwrap();
        let mut again = Vec::new();
        serialize(&document, usize::MAX, &mut again).unwrap();
        assert_eq!(again, text);
        let step = vector.text("step");
        let answer = answer(step, &document.root, &text);
        assert_eq!(pending[step].encode(&answer).unwrap(), vector.bytes, "{step}: {answer:?}");
        replies += 1;
    }
    assert_eq!(replies, 57);
}

/// The answer that a reply encodes, derived from the PHP function that was called.
fn answer(step: &str, reply: &Value, text: &Bytes) -> Answer {
    let int = |value: &Value| match value {
        Value::Int(int) => *int as u64,
        other => panic!("not an int: {other:?}"),
    };
    let entries = || reply.as_array().unwrap().iter();
    let client = |key: &Key| match key {
        Key::Int(client) => id(*client as u32),
        Key::Str(_) => panic!("not a client: {key:?}"),
    };
    let called = step.split("::").nth(1).unwrap().split('(').next().unwrap();
    match called {
        "isOnline" => Answer::Online(int(reply) == 1),
        "getClientCountByGroup" | "getAllClientCount" => Answer::Count(int(reply)),
        "getSession" => Answer::Session(Some(Session::from_php(text.clone()).unwrap())),
        "getClientIdByUid" | "isUidOnline" => {
            let clients = entries().map(|(_, client)| id(int(client) as u32)).collect();
            Answer::Clients(vec![(uid("alice"), clients)])
        }
        "batchGetClientIdByUid" => {
            Answer::Clients(vec![(uid("alice"), vec![]), (uid("7"), vec![])])
        }
        "batchGetClientIdCountByGroup" => Answer::Counts(vec![(group("red"), 0)]),
        "getAllGroupIdList" => Answer::Groups(entries().map(|(_, it)| group(&name(it))).collect()),
        "getAllClientSessions" | "getClientSessionsByGroup" => {
            let session = |it: &Value| Session::from_php(name(it).into()).unwrap();
            Answer::Sessions(entries().map(|(key, it)| (client(key), session(it))).collect())
        }
        _ => Answer::Rows(
            entries()
                .map(|(key, columns)| {
                    let columns = columns.as_array().unwrap();
                    let groups = columns.get_str("groups").and_then(Value::as_array);
                    Row {
                        client: client(key),
                        uid: columns.get_str("uid").map(|it| uid(&name(it))),
                        groups: groups
                            .map_or(vec![], |it| it.values().map(|it| group(&name(it))).collect()),
                        session: None,
                        joined: groups.is_some(),
                    }
                })
                .collect(),
        ),
    }
}

fn name(value: &Value) -> String {
    match value {
        Value::Str(text) => String::from_utf8(text.to_vec()).unwrap(),
        Value::Int(int) => int.to_string(),
        other => panic!("not a name: {other:?}"),
    }
}

#[test]
fn recorded_session_updates_give_the_recorded_result() {
    let mut session = Session::default();
    let mut seen = 0;
    for vector in all() {
        let frame = match vector.text("kind") {
            "frame" if vector.text("from") == "peer>gateway" => vector.frame(),
            "reply" if vector.text("step").contains("::getSession") => {
                assert_eq!(session.to_php(), vector.text("php"));
                seen += 1;
                continue;
            }
            _ => continue,
        };
        let sent = Session::from_php(frame.ext_data).unwrap();
        match Opcode::try_from(frame.cmd).unwrap() {
            Opcode::SetSession => session = sent,
            Opcode::UpdateSession => session.merge(&sent).unwrap(),
            _ => {}
        }
    }
    assert_eq!(seen, 4);
}
