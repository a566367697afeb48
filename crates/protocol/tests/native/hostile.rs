//! The native codec on hostile bytes.

use bytes::{BufMut, BytesMut};
use proptest::{collection::vec, prelude::*};
use push_suite_protocol::{
    Command, ConnectionId, Effect, Fields, Filter, Group, Query, Recipients, Uid,
    bounded::MAX_TARGETS,
    close::MAX_REASON,
    codec::native::{
        DecodeError, MAX_FRAME, MAX_UNAUTHENTICATED_FRAME, PREFIX, VERSION, decode, encode,
    },
    link::{LinkMessage, MAGIC, MAX_EFFECTS, ToGateway, ToPeer},
    name::MAX_NAME,
    session::{MAX_PHP_SESSION, MAX_SESSION},
};

use crate::{cases, strategies};

/// Variant numbers, as in the golden bytes.
const COMMAND: u8 = 1;
const QUERY: u8 = 2;
const LEAVING: u8 = 4;
const SEQ: u8 = 1;
const JOIN_GROUP: u8 = 8;
const SET_SESSION: u8 = 11;
const CLIENTS_OF_UIDS: u8 = 3;
const CLIENT: u8 = 7;
const EDIT: u8 = 0;
const JSON: u8 = 0;
const PHP: u8 = 1;

/// 2^62 as a variable-length integer.
const HUGE: [u8; 9] = [253, 0, 0, 0, 0, 0, 0, 0, 0x40];

#[test]
fn frame_over_the_limit_is_refused_by_its_length_alone() {
    for (limit, length) in
        [(MAX_UNAUTHENTICATED_FRAME, MAX_UNAUTHENTICATED_FRAME + 1), (MAX_FRAME, usize::MAX)]
    {
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        let mut buffer = BytesMut::from(&length.to_be_bytes()[..]);
        let error = decode::<ToGateway>(&mut buffer, limit).unwrap_err();
        assert!(matches!(error, DecodeError::TooLarge { .. }), "{error}");
    }
}

#[test]
fn frame_of_exactly_the_limit_is_awaited() {
    let mut buffer = BytesMut::from(&(MAX_UNAUTHENTICATED_FRAME as u32).to_be_bytes()[..]);
    assert!(decode::<ToGateway>(&mut buffer, MAX_UNAUTHENTICATED_FRAME).unwrap().is_none());
    assert!(buffer.capacity() < 64, "waiting reserves nothing");
}

#[test]
fn frame_shorter_than_its_prefix_is_refused() {
    for length in 0..PREFIX as u32 - 4 {
        let mut buffer = BytesMut::from(&length.to_be_bytes()[..]);
        let error = decode::<ToGateway>(&mut buffer, MAX_FRAME).unwrap_err();
        assert!(matches!(error, DecodeError::TooShort(_)), "{length}: {error}");
    }
}

#[test]
fn other_versions_and_flags_are_refused() {
    for (version, flags) in [(0, 0), (1, 0), (3, 0), (255, 0), (VERSION, 1), (VERSION, 0x80)] {
        let mut buffer = BytesMut::from(&frame(&[LEAVING], b"")[..]);
        buffer[4] = version;
        buffer[5] = flags;
        let error = decode::<ToGateway>(&mut buffer, MAX_FRAME).unwrap_err();
        assert!(matches!(error, DecodeError::Version { .. }), "{error}");
    }
}

#[test]
fn header_beyond_its_frame_is_refused() {
    for header in [2, 1 << 20, u32::MAX] {
        let mut buffer = BytesMut::from(&frame(&[LEAVING], b"")[..]);
        buffer[6..PREFIX].copy_from_slice(&header.to_be_bytes());
        // The bytes of the next frame must not be read as part of this header.
        buffer.extend_from_slice(&frame(&[LEAVING], b""));
        let error = decode::<ToGateway>(&mut buffer, MAX_FRAME).unwrap_err();
        assert!(matches!(error, DecodeError::HeaderLength { .. }), "{error}");
    }
}

#[test]
fn trailing_bytes_in_a_header_are_refused() {
    refused_as_header(&[LEAVING, 0]);
}

#[test]
fn unknown_variant_is_refused() {
    refused_as_header(&[250]);
    refused_as_header(&[COMMAND, SEQ, 250]);
    refused_as_header(&[]);
}

#[test]
fn unexpected_payload_is_refused() {
    for header in [&[LEAVING][..], &[COMMAND, SEQ, JOIN_GROUP, CLIENT, 1, b'r']] {
        assert!(decode_frame::<ToGateway>(&frame(header, b"")).is_ok());
        let error = decode_frame::<ToGateway>(&frame(header, b"x")).unwrap_err();
        assert!(matches!(error, DecodeError::Payload(1)), "{error}");
    }
}

#[test]
fn name_length_is_checked_on_decoding() {
    let join = |name: &[u8]| {
        let mut header = vec![COMMAND, SEQ, JOIN_GROUP, CLIENT];
        header.extend_from_slice(&varint(name.len()));
        header.extend_from_slice(name);
        header
    };
    assert!(decode_frame::<ToGateway>(&frame(&join(&[b'x'; MAX_NAME]), b"")).is_ok());
    refused_as_header(&join(&[b'x'; MAX_NAME + 1]));
    refused_as_header(&join(b""));
}

#[test]
fn session_length_is_checked_on_decoding() {
    let set = |form: u8, length: usize| {
        let mut header = vec![COMMAND, SEQ, SET_SESSION, CLIENT, EDIT, form];
        header.extend_from_slice(&varint(length));
        header.resize(header.len() + length, b' ');
        header
    };
    for (form, limit) in [(JSON, MAX_SESSION), (PHP, MAX_PHP_SESSION)] {
        assert!(decode_frame::<ToGateway>(&frame(&set(form, limit), b"")).is_ok());
        refused_as_header(&set(form, limit + 1));
    }
    refused_as_header(&set(PHP + 1, 1));
}

#[test]
fn list_over_the_limit_of_targets_is_refused() {
    let uids = |count| vec![Uid::new("u").unwrap(); count];
    let send = |count| {
        let command = Command::SendToUids { uids: uids(count), message: "hi".into() };
        decode_frame::<ToGateway>(&encoded(&ToGateway::Command { seq: 1, command }))
    };
    assert!(send(MAX_TARGETS).is_ok());
    let error = send(MAX_TARGETS + 1).unwrap_err();
    assert!(error.to_string().contains("more than 10000"), "{error}");
    let clients = vec![ConnectionId(7); MAX_TARGETS + 1];
    let exclude = Recipients::Except(clients.clone());
    let groups = vec![Group::new("g").unwrap(); MAX_TARGETS + 1];
    let any = Filter::Any { groups: vec![], uids: vec![], clients };
    for message in [
        command(Command::SendToAll { to: exclude, message: "hi".into() }),
        query(Query::ClientsOfUids { uids: uids(MAX_TARGETS + 1) }),
        query(Query::Counts { groups }),
        query(Query::Select { fields: Fields::default(), filter: any }),
    ] {
        assert!(decode_frame::<ToGateway>(&encoded(&message)).is_err());
    }
}

#[test]
fn effects_over_the_limit_are_refused() {
    let effects = |count| ToPeer::Effects { effects: vec![(1, Effect::default()); count] };
    assert!(decode_frame::<ToPeer>(&encoded(&effects(MAX_EFFECTS))).is_ok());
    let error = decode_frame::<ToPeer>(&encoded(&effects(MAX_EFFECTS + 1))).unwrap_err();
    assert!(error.to_string().contains("more than 4096"), "{error}");
}

#[test]
fn close_code_and_reason_are_checked_on_decoding() {
    // Sequence number 0, variant 13, client 7; then the code, the reason and no farewell.
    let header = |code: u16, reason: &[u8]| {
        let code = varint(usize::from(code));
        [&[1, 0, 13, 7][..], &code, &varint(reason.len()), reason, &[0]].concat()
    };
    let longest = "x".repeat(MAX_REASON);
    assert!(decode_frame::<ToGateway>(&frame(&header(4000, longest.as_bytes()), b"")).is_ok());
    for code in [0, 1001, 1005, 1011, 2999, 5000, u16::MAX] {
        refused_as_header(&header(code, b""));
    }
    refused_as_header(&header(4000, format!("{longest}x").as_bytes()));
    refused_as_header(&header(4000, &[0xff]));
}

fn command(command: Command) -> ToGateway {
    ToGateway::Command { seq: 1, command }
}

fn query(query: Query) -> ToGateway {
    ToGateway::Query { request: 1, query }
}

#[test]
fn length_beyond_all_memory_is_refused() {
    let name = [&[COMMAND, SEQ, JOIN_GROUP, CLIENT][..], &HUGE].concat();
    let session = [&[COMMAND, SEQ, SET_SESSION, CLIENT, EDIT, JSON][..], &HUGE].concat();
    let list = [&[QUERY, 1, CLIENTS_OF_UIDS][..], &HUGE].concat();
    for header in [name, session, list] {
        refused_as_header(&header);
    }
}

#[test]
fn magic_exceeds_the_frame_limits_of_both_protocols() {
    const GATEWAYWORKER_LIMIT: u32 = 10 * 1024 * 1024;
    let read_as_length = u32::from_be_bytes(MAGIC);
    assert!(GATEWAYWORKER_LIMIT < read_as_length);
    assert!(MAX_FRAME < read_as_length as usize);
}

proptest! {
    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in vec(any::<u8>(), 0..2_000)) {
        drain::<ToGateway>(&bytes);
        drain::<ToPeer>(&bytes);
    }

    #[test]
    fn arbitrary_header_does_not_panic(
        header in vec(any::<u8>(), 0..200),
        payload in vec(any::<u8>(), 0..20),
    ) {
        drain::<ToGateway>(&frame(&header, &payload));
        drain::<ToPeer>(&frame(&header, &payload));
    }

    /// Headers with a valid start pass more checks than arbitrary bytes.
    #[test]
    fn header_of_known_variants_does_not_panic(
        start in (0_u8..8, 0_u8..3, 0_u8..20),
        header in vec(prop_oneof![0_u8..4, any::<u8>(), Just(253_u8)], 0..60),
    ) {
        let header = [&[start.0, start.1, start.2][..], &header].concat();
        drain::<ToGateway>(&frame(&header, b""));
        drain::<ToPeer>(&frame(&header, b""));
    }

    #[test]
    fn flipped_bit_in_a_peer_frame_does_not_panic(
        message in strategies::to_gateway(),
        flips in vec(any::<prop::sample::Index>(), 1..4),
    ) {
        drain::<ToGateway>(&flipped(&message, &flips));
    }

    #[test]
    fn flipped_bit_in_a_gateway_frame_does_not_panic(
        message in strategies::to_peer(),
        flips in vec(any::<prop::sample::Index>(), 1..4),
    ) {
        drain::<ToPeer>(&flipped(&message, &flips));
    }
}

#[test]
fn flipped_bit_in_a_golden_frame_does_not_panic() {
    fn flip_each<T: LinkMessage>(cases: Vec<(String, T)>) {
        for (_, message) in cases {
            let frame = encoded(&message);
            for bit in 0..frame.len() * 8 {
                let mut frame = frame.clone();
                frame[bit / 8] ^= 1 << (bit % 8);
                drain::<T>(&frame);
            }
        }
    }
    flip_each(cases::to_gateway());
    flip_each(cases::to_peer());
}

/// The frame's length is adjusted, so that the missing bytes are detected inside of it.
#[test]
fn truncated_golden_frame_does_not_panic() {
    fn cut_each<T: LinkMessage>(cases: Vec<(String, T)>) {
        for (_, message) in cases {
            let frame = encoded(&message);
            for end in 4..frame.len() {
                let length = (end as u32 - 4).to_be_bytes();
                drain::<T>(&[&length[..], &frame[4..end]].concat());
                // With the header's length adjusted as well.
                if let Some(header) = end.checked_sub(PREFIX) {
                    let header = (header as u32).to_be_bytes();
                    let parts = [&length[..], &frame[4..6], &header, &frame[PREFIX..end]];
                    drain::<T>(&parts.concat());
                }
            }
        }
    }
    cut_each(cases::to_gateway());
    cut_each(cases::to_peer());
}

fn refused_as_header(header: &[u8]) {
    let error = decode_frame::<ToGateway>(&frame(header, b"")).unwrap_err();
    assert!(matches!(error, DecodeError::Header(_)), "{header:?}: {error}");
}

fn frame(header: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.put_u32((PREFIX - 4 + header.len() + payload.len()) as u32);
    frame.put_u8(VERSION);
    frame.put_u8(0);
    frame.put_u32(header.len() as u32);
    frame.put_slice(header);
    frame.put_slice(payload);
    frame
}

/// A variable-length integer as in the header, for numbers below 2^32.
fn varint(number: usize) -> Vec<u8> {
    match number {
        0..251 => vec![number as u8],
        251..65_536 => [&[251][..], &(number as u16).to_le_bytes()].concat(),
        _ => [&[252][..], &(number as u32).to_le_bytes()].concat(),
    }
}

fn encoded(message: &impl LinkMessage) -> BytesMut {
    let mut frame = BytesMut::new();
    encode(message, &mut frame).unwrap();
    frame
}

fn flipped(message: &impl LinkMessage, flips: &[prop::sample::Index]) -> BytesMut {
    let mut frame = encoded(message);
    for flip in flips {
        let bit = flip.index(frame.len() * 8);
        frame[bit / 8] ^= 1 << (bit % 8);
    }
    frame
}

fn decode_frame<T: LinkMessage>(bytes: &[u8]) -> Result<Option<T>, DecodeError> {
    decode(&mut BytesMut::from(bytes), MAX_FRAME)
}

/// Decodes until more bytes are needed or the bytes are refused.
fn drain<T: LinkMessage>(bytes: &[u8]) {
    let mut buffer = BytesMut::from(bytes);
    while let Ok(Some(_)) = decode::<T>(&mut buffer, MAX_FRAME) {}
}
