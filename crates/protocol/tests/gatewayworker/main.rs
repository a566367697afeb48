//! `GatewayWorker`'s inner protocol: recorded bytes of the original processes, their decoding, the
//! replies, and hostile variations.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bodies;
mod events;
mod frames;
mod hostile;
mod peer_messages;
mod replies;
mod vectors;

use bytes::Bytes;
use push_suite_protocol::{
    Answer, ConnectionId, Group, Session, Uid,
    codec::gateway_worker::{
        BODY_IS_SCALAR, Frame, Opcode,
        from_peer::{PeerMessage, read},
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

/// A gateway's reply to a query with this answer.
#[track_caller]
fn reply(opcode: Opcode, ext: &'static str, answer: &Answer) -> String {
    let bytes = match read(&frame(opcode, 2, ext)).unwrap() {
        PeerMessage::Query(_, reply) => reply.encode(answer).unwrap(),
        PeerMessage::Reply(reply) => reply,
        other => panic!("not a query: {other:?}"),
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
