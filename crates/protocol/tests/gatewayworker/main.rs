//! `GatewayWorker`'s inner protocol: the bytes that the original processes exchanged, what they
//! mean, what is answered, and hostile variations of them.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bodies;
mod events;
mod frames;
mod hostile;
mod replies;
mod said;
mod vectors;

use bytes::Bytes;
use protocol::{
    Answer, ConnectionId, Group, Session, Uid,
    codec::gateway_worker::{
        BODY_IS_SCALAR, Frame, Opcode,
        from_peer::{Said, read},
    },
};

/// A frame as a PHP peer sends it.
fn frame(opcode: Opcode, connection_id: u32, ext: impl Into<Bytes>) -> Frame {
    Frame {
        cmd: opcode.into(),
        connection_id,
        flag: BODY_IS_SCALAR,
        ext_data: ext.into(),
        ..Frame::default()
    }
}

/// What a gateway replies to a query that has this answer.
#[track_caller]
fn reply(opcode: Opcode, ext: &'static str, answer: &Answer) -> String {
    let bytes = match read(&frame(opcode, 2, ext)).unwrap() {
        Said::Query(_, reply) => reply.encode(answer).unwrap(),
        Said::Reply(reply) => reply,
        other => panic!("no query: {other:?}"),
    };
    let length = u32::from_be_bytes(bytes[..4].try_into().unwrap());
    assert_eq!(length as usize, bytes.len() - 4);
    String::from_utf8(bytes[4..].to_vec()).unwrap()
}

fn id(id: u32) -> ConnectionId {
    ConnectionId(id)
}

fn uid(name: &str) -> Uid {
    Uid::new(name).unwrap()
}

fn group(name: &str) -> Group {
    Group::new(name).unwrap()
}

fn php(text: &str) -> Session {
    Session::from_php(Bytes::copy_from_slice(text.as_bytes())).unwrap()
}
