//! Messages about streams.

use bytes::BytesMut;
use proptest::{collection::vec, option, prelude::*};
use push_suite_protocol::{
    Answer, Command, ConnectionId, Epoch, Excluded, Message, Position, Query, StreamName, Uid,
    codec::native::{MAX_FRAME, decode, encode},
    link::{ToGateway, ToPeer},
    streaming::{Enclosed, Held, Hold, MAX_GAPS, MAX_RELEASED, Release, Released, StreamGap},
};

use crate::{
    cases::{group, uid},
    strategies::{group as any_group, message},
};

fn position() -> Position {
    Position::new(Epoch::from_bits(0x0102_0304_0506_0708), 300)
}

fn stream() -> StreamName {
    StreamName::Group(group("r"))
}

pub(crate) fn publish(shard: Option<u16>) -> Command {
    let exclude = Excluded { clients: vec![ConnectionId(7)], uids: vec![uid("ann")] };
    let (stream, position, message) = (stream(), position(), Message::text("hi"));
    Command::Publish { stream, position, exclude, shard, message }
}

pub(crate) fn read() -> Command {
    let known = Some(Position { offset: 2, ..position() });
    Command::StreamRead { shard: 2, stream: stream(), known, top: position() }
}

pub(crate) fn reset() -> Command {
    let (stream, message) = (StreamName::Uid(uid("ann")), Message::text("hi"));
    Command::ResetStream { shard: 2, stream, after: position(), to: position().next(), message }
}

pub(crate) fn hold() -> Query {
    let lost = Enclosed(Message::text("lost").uncompressed());
    let (client, stream) = (ConnectionId(7), stream());
    let (number, joins, ordinal) = (300, true, 0);
    Query::HoldStream(Box::new(Hold { client, number, stream, joins, lost, ordinal }))
}

pub(crate) fn release() -> Query {
    let messages = vec![Enclosed(Message::text("a")), Enclosed(Message::binary(vec![0xff]))];
    Query::ReleaseStream(Box::new(Release {
        client: ConnectionId(7),
        number: 300,
        stream: stream(),
        top: Some(position()),
        recovered: true,
        messages,
    }))
}

pub(crate) fn gaps() -> ToPeer {
    let gap = |known, is_last| StreamGap { stream: stream(), after: position(), known, is_last };
    ToPeer::StreamGaps {
        shard: 2,
        gaps: vec![gap(Some(position().next()), true), gap(None, false)],
    }
}

fn positions() -> impl Strategy<Value = Position> {
    (any::<u64>(), 0..1_u64 << 53)
        .prop_map(|(epoch, offset)| Position::new(Epoch::from_bits(epoch), offset))
}

fn streams() -> impl Strategy<Value = StreamName> {
    prop_oneof![
        any_group().prop_map(StreamName::Group),
        any_group().prop_map(|name| StreamName::Uid(Uid::new(name.as_bytes()).unwrap())),
    ]
}

fn enclosed() -> impl Strategy<Value = Enclosed> {
    message().prop_map(Enclosed)
}

pub(crate) fn commands() -> impl Strategy<Value = Command> {
    let clients = vec(any::<u32>().prop_map(ConnectionId), 0..4);
    prop_oneof![
        (streams(), positions(), clients, option::of(any::<u16>()), message()).prop_map(
            |(stream, position, clients, shard, message)| {
                let exclude = Excluded { clients, uids: Vec::new() };
                Command::Publish { stream, position, exclude, shard, message }
            }
        ),
        (any::<u16>(), streams(), option::of(positions()), positions()).prop_map(
            |(shard, stream, known, top)| Command::StreamRead { shard, stream, known, top }
        ),
        (any::<u16>(), streams(), positions(), positions(), message()).prop_map(
            |(shard, stream, after, to, message)| {
                Command::ResetStream { shard, stream, after, to, message }
            }
        ),
    ]
}

pub(crate) fn queries() -> impl Strategy<Value = Query> {
    let client = || any::<u32>().prop_map(ConnectionId);
    prop_oneof![
        (client(), any::<u64>(), streams(), any::<bool>(), enclosed()).prop_map(
            |(client, number, stream, joins, lost)| {
                let hold = Hold { client, number, stream, joins, lost, ordinal: 0 };
                Query::HoldStream(Box::new(hold))
            }
        ),
        (
            client(),
            any::<(u64, bool)>(),
            streams(),
            option::of(positions()),
            vec(enclosed(), 0..4),
        ).prop_map(
            |(client, (number, recovered), stream, top, messages)| {
                let release = Release { client, number, stream, top, recovered, messages };
                Query::ReleaseStream(Box::new(release))
            }
        ),
    ]
}

pub(crate) fn answers() -> impl Strategy<Value = Answer> {
    prop_oneof![
        Just(Answer::Held(Held::Offline)),
        Just(Answer::Held(Held::Held)),
        Just(Answer::Held(Held::Refused)),
        any::<bool>().prop_map(|recovered| Answer::Held(Held::Ended { recovered })),
        Just(Answer::Released(Released::Done)),
        Just(Answer::Released(Released::Again)),
        Just(Answer::Released(Released::Ended)),
    ]
}

pub(crate) fn any_gaps() -> impl Strategy<Value = ToPeer> {
    let gap = (streams(), positions(), option::of(positions()), any::<bool>())
        .prop_map(|(stream, after, known, is_last)| StreamGap { stream, after, known, is_last });
    (any::<u16>(), vec(gap, 0..4)).prop_map(|(shard, gaps)| ToPeer::StreamGaps { shard, gaps })
}

/// Whether a message of that many items is decoded.
fn is_decoded(message: &ToPeer) -> bool {
    let mut buffer = BytesMut::new();
    encode(message, &mut buffer).unwrap();
    decode::<ToPeer>(&mut buffer, MAX_FRAME).is_ok()
}

#[test]
fn lists_are_bounded() {
    let gap = StreamGap { stream: stream(), after: position(), known: None, is_last: false };
    for (count, fits) in [(MAX_GAPS, true), (MAX_GAPS + 1, false)] {
        let gaps = ToPeer::StreamGaps { shard: 0, gaps: vec![gap.clone(); count] };
        assert_eq!(is_decoded(&gaps), fits, "{count}");
    }
    for (count, fits) in [(MAX_RELEASED, true), (MAX_RELEASED + 1, false)] {
        let Query::ReleaseStream(mut release) = release() else { unreachable!() };
        release.messages = vec![Enclosed::default(); count];
        let query = ToGateway::Query { request: 1, query: Query::ReleaseStream(release) };
        let mut buffer = BytesMut::new();
        encode(&query, &mut buffer).unwrap();
        assert_eq!(decode::<ToGateway>(&mut buffer, MAX_FRAME).is_ok(), fits, "{count}");
    }
}

#[test]
fn offset_that_json_could_not_carry_is_refused() {
    let Command::Publish { stream, exclude, message, .. } = publish(None) else { unreachable!() };
    let position = Position { offset: 1 << 53, ..position() };
    let command = Command::Publish { stream, position, exclude, shard: None, message };
    let mut buffer = BytesMut::new();
    encode(&ToGateway::Command { seq: 1, command }, &mut buffer).unwrap();
    assert!(decode::<ToGateway>(&mut buffer, MAX_FRAME).is_err());
}
