//! The native wire format: golden bytes, fragmentation, and hostile bytes.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[macro_use]
mod each_variant;

mod cases;
mod close_reasons;
mod golden;
mod handshake_answers;
mod hostile;
mod inspect;
mod presence;
mod queries;
mod recipients;
mod strategies;
mod streams;
mod tokens;

use std::fmt::Debug;

use bytes::{Bytes, BytesMut};
use proptest::{collection::vec, prelude::*};
use push_suite_protocol::{
    Command, ConnectionId, Group, Message, Query,
    codec::native::{MAX_FRAME, decode, encode, encode_parts},
    link::{LinkMessage, ToGateway, ToPeer},
    name::MAX_NAME,
};

#[test]
fn incomplete_frame_waits_without_consuming_or_reserving() {
    fn check<T: LinkMessage>(cases: Vec<(String, T)>) {
        for (name, message) in cases {
            let whole = encoded(&[message]);
            for end in 0..whole.len() {
                let mut part = BytesMut::from(&whole[..end]);
                let capacity = part.capacity();
                assert!(decode::<T>(&mut part, MAX_FRAME).unwrap().is_none(), "{name} at {end}");
                assert_eq!(part, whole[..end], "{name}: waiting consumes nothing");
                assert_eq!(part.capacity(), capacity, "{name}: waiting reserves nothing");
            }
        }
    }
    check(cases::to_gateway());
    check(cases::to_peer());
}

#[test]
fn frame_split_at_any_byte_is_decoded() {
    fn check<T: LinkMessage + Debug + PartialEq>(cases: Vec<(String, T)>) {
        for (name, message) in cases {
            let message = [message];
            let whole = encoded(&message);
            for at in 0..=whole.len() {
                let (first, second) = whole.split_at(at);
                assert_eq!(decoded::<T>([first, second]), message, "{name} split at {at}");
            }
        }
    }
    check(cases::to_gateway());
    check(cases::to_peer());
}

#[test]
fn frames_received_byte_by_byte_are_decoded() {
    fn check<T: LinkMessage + Debug + PartialEq>(cases: Vec<(String, T)>) {
        let messages: Vec<T> = cases.into_iter().map(|(_, message)| message).collect();
        assert_eq!(decoded::<T>(encoded(&messages).chunks(1)), messages);
    }
    check(cases::to_gateway());
    check(cases::to_peer());
}

#[test]
fn hundred_frames_in_one_buffer_are_a_hundred_messages() {
    let messages: Vec<ToGateway> = (0..100)
        .map(|at| ToGateway::Command {
            seq: at,
            command: Command::SendToClient {
                to: ConnectionId(at as u32),
                message: Message::text(at.to_string()),
            },
        })
        .collect();
    assert_eq!(decoded::<ToGateway>([&encoded(&messages)[..]]), messages);
}

#[test]
fn payload_is_a_slice_of_the_read_buffer() {
    let message = ToGateway::Command {
        seq: 1,
        command: Command::SendToClient { to: ConnectionId(7), message: Message::text("payload") },
    };
    let mut buffer = encoded(&[message]);
    let range = buffer.as_ptr_range();
    let decoded: ToGateway = decode(&mut buffer, MAX_FRAME).unwrap().unwrap();
    assert!(range.contains(&decoded.payload().as_ptr()));
}

#[test]
fn separate_payload_is_encoded_to_the_same_frame() {
    let with = |body: &'static str| ToGateway::Command {
        seq: 1,
        command: Command::SendToClient { to: ConnectionId(7), message: Message::text(body) },
    };
    let mut frame = BytesMut::new();
    encode_parts(&with(""), b"payload", &mut frame).unwrap();
    assert_eq!(frame, encoded(&[with("payload")]));
}

#[test]
fn frame_over_the_limit_is_not_written() {
    let message = |size: usize| ToGateway::Command {
        seq: 1,
        command: Command::SendToClient {
            to: ConnectionId(7),
            message: Message::binary(Bytes::from(vec![0; size])),
        },
    };
    let fixed = encoded(&[message(0)]).len() - 4;
    let mut largest = encoded(&[message(MAX_FRAME - fixed)]);
    assert_eq!(largest.len(), 4 + MAX_FRAME);
    assert!(decode::<ToGateway>(&mut largest, MAX_FRAME).unwrap().is_some());

    let mut out = BytesMut::from(&b"before"[..]);
    assert!(encode(&message(MAX_FRAME - fixed + 1), &mut out).is_err());
    assert_eq!(out, b"before"[..], "a failed write leaves nothing behind");
}

#[test]
fn header_over_the_limit_is_not_written() {
    let group = Group::new("x".repeat(MAX_NAME)).unwrap();
    let groups = vec![group; MAX_FRAME / MAX_NAME];
    let mut out = BytesMut::from(&b"before"[..]);
    let message = ToGateway::Query { request: 1, query: Query::Counts { groups } };
    assert!(encode(&message, &mut out).is_err());
    assert_eq!(out, b"before"[..], "a failed write leaves nothing behind");
}

proptest! {
    #[test]
    fn peer_messages_are_independent_of_fragmentation(
        messages in vec(strategies::to_gateway(), 1..4),
        piece in 1_usize..200,
    ) {
        prop_assert_eq!(decoded::<ToGateway>(encoded(&messages).chunks(piece)), messages);
    }

    #[test]
    fn gateway_messages_are_independent_of_fragmentation(
        messages in vec(strategies::to_peer(), 1..4),
        piece in 1_usize..200,
    ) {
        prop_assert_eq!(decoded::<ToPeer>(encoded(&messages).chunks(piece)), messages);
    }
}

fn encoded(messages: &[impl LinkMessage]) -> BytesMut {
    let mut out = BytesMut::new();
    messages.iter().for_each(|message| encode(message, &mut out).unwrap());
    out
}

/// The messages decoded from these pieces, which must be consumed completely.
fn decoded<'a, T: LinkMessage>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<T> {
    let (mut buffer, mut messages) = (BytesMut::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        while let Some(message) = decode(&mut buffer, MAX_FRAME).unwrap() {
            messages.push(message);
        }
    }
    assert!(buffer.is_empty(), "bytes were left over");
    messages
}
