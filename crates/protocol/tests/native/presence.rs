//! Members, snapshots and reports: values for the golden bytes, random ones, and limits.

use bytes::{Bytes, BytesMut};
use proptest::{collection::vec, option, prelude::*};
use push_suite_protocol::{
    Command, ConnectionId, LocalMember, Member, MemberChange, MemberId, MessageKind, Part,
    PresenceAnswer, PresenceNotified, PresenceReport, Query, Snapshot,
    bounded::MAX_TARGETS,
    codec::native::{DecodeError, MAX_FRAME, decode, encode},
    link::{LinkMessage, ToGateway},
    presence::{MAX_MEMBER, MAX_MEMBER_ID, MAX_PARTS, MAX_PREFIXES, MAX_SNAPSHOT},
};

use crate::{
    cases::group,
    strategies::{group as any_group, message},
};

pub(crate) fn id() -> MemberId {
    MemberId::new("ann").unwrap()
}

pub(crate) fn member() -> Member {
    Member::new(id(), &b"\"ann\""[..], &b"\"ann\":{}"[..]).unwrap()
}

pub(crate) fn snapshot() -> Snapshot {
    let parts = vec![Part::Bytes(Bytes::from_static(b"[")), Part::Count, Part::Ids, Part::Entries];
    Snapshot::new(MessageKind::Text, parts).unwrap()
}

pub(crate) fn added() -> MemberChange {
    MemberChange::Added(Box::new(member()))
}

pub(crate) fn removed() -> MemberChange {
    MemberChange::Removed(id())
}

pub(crate) fn report() -> PresenceReport {
    PresenceReport {
        group: group("r"),
        shard: 2,
        number: 300,
        full: false,
        more: false,
        clients: 70_000,
        members: vec![LocalMember { member: member(), clients: 0 }],
        view: None,
        wants_view: true,
    }
}

pub(crate) fn full_report() -> PresenceReport {
    let view = Some(vec![id(), MemberId::new([0xff]).unwrap()]);
    PresenceReport { full: true, more: true, wants_view: false, view, ..report() }
}

pub(crate) fn notified_command() -> Command {
    Command::PresenceNotified { shard: 2, group: group("r"), number: 300 }
}

pub(crate) fn notified() -> PresenceNotified {
    let (group, members) = (group("r"), vec![id(), MemberId::new([0xff]).unwrap()]);
    PresenceNotified { group, shard: 2, number: 300, occupied: true, members }
}

pub(crate) fn answer() -> PresenceAnswer {
    PresenceAnswer { clients: 300, members: vec![LocalMember { member: member(), clients: 2 }] }
}

fn any_id() -> impl Strategy<Value = MemberId> {
    prop_oneof![8 => vec(any::<u8>(), 1..20), 1 => vec(any::<u8>(), MAX_MEMBER_ID)]
        .prop_map(|id| MemberId::new(id).unwrap())
}

fn any_member() -> impl Strategy<Value = Member> {
    (any_id(), vec(any::<u8>(), 0..40), vec(any::<u8>(), 0..40))
        .prop_map(|(id, listed, detailed)| Member::new(id, listed, detailed).unwrap())
}

fn any_snapshot() -> impl Strategy<Value = Snapshot> {
    let part = prop_oneof![
        vec(any::<u8>(), 0..40).prop_map(|bytes| Part::Bytes(bytes.into())),
        Just(Part::Count),
        Just(Part::Ids),
        Just(Part::Entries),
    ];
    vec(part, 0..=MAX_PARTS).prop_map(|parts| Snapshot::new(MessageKind::Binary, parts).unwrap())
}

fn local_members() -> impl Strategy<Value = Vec<LocalMember>> {
    let local =
        (any_member(), any::<u32>()).prop_map(|(member, clients)| LocalMember { member, clients });
    vec(local, 0..4)
}

pub(crate) fn commands() -> impl Strategy<Value = Command> {
    let change = prop_oneof![
        any_member().prop_map(|member| MemberChange::Added(Box::new(member))),
        any_id().prop_map(MemberChange::Removed),
    ];
    prop_oneof![
        (any::<u32>(), any_group(), any_member(), any_snapshot()).prop_map(
            |(client, group, member, snapshot)| Command::JoinPresence {
                client: ConnectionId(client),
                group,
                member: Box::new(member),
                snapshot: Box::new(snapshot),
            }
        ),
        (any::<u16>(), any_group(), any::<u64>())
            .prop_map(|(shard, group, number)| { Command::PresenceTaken { shard, group, number } }),
        (any::<(u16, bool, bool)>(), any_group(), vec(any_member(), 0..4)).prop_map(
            |((shard, first, last), group, members)| Command::PresenceView {
                shard,
                group,
                first,
                last,
                members,
            }
        ),
        (any_group(), change, option::of(message()))
            .prop_map(|(group, change, message)| { Command::SetMember { group, change, message } }),
        (any::<u16>(), any_group(), any::<u64>()).prop_map(|(shard, group, number)| {
            Command::PresenceSettled { shard, group, number }
        }),
        (any::<u16>(), any_group(), any::<u64>()).prop_map(|(shard, group, number)| {
            Command::PresenceNotified { shard, group, number }
        }),
    ]
}

pub(crate) fn queries() -> impl Strategy<Value = Query> {
    (any_group(), option::of(vec(any_id(), 0..4)))
        .prop_map(|(group, members)| Query::Presence { group, members })
}

pub(crate) fn answers() -> impl Strategy<Value = PresenceAnswer> {
    (any::<u64>(), local_members())
        .prop_map(|(clients, members)| PresenceAnswer { clients, members })
}

pub(crate) fn notifications() -> impl Strategy<Value = PresenceNotified> {
    (any_group(), any::<(u16, u64, bool)>(), vec(any_id(), 0..4)).prop_map(
        |(group, (shard, number, occupied), members)| PresenceNotified {
            group,
            shard,
            number,
            occupied,
            members,
        },
    )
}

pub(crate) fn reports() -> impl Strategy<Value = PresenceReport> {
    let view = option::of(vec(any_id(), 0..4));
    let numbers = any::<(u16, u64, bool, bool, u64, bool)>();
    (any_group(), numbers, local_members(), view).prop_map(
        |(group, (shard, number, full, more, clients, wants_view), members, view)| PresenceReport {
            group,
            shard,
            number,
            full,
            more,
            clients,
            members,
            view,
            wants_view,
        },
    )
}

fn encoded(command: Command) -> Vec<u8> {
    let mut frame = BytesMut::new();
    encode(&ToGateway::Command { seq: 1, command }, &mut frame).unwrap();
    frame.to_vec()
}

fn decoded<T: LinkMessage>(frame: &[u8]) -> Result<Option<T>, DecodeError> {
    decode(&mut BytesMut::from(frame), MAX_FRAME)
}

fn is_refused(frame: &[u8]) {
    let error = decoded::<ToGateway>(frame).unwrap_err();
    assert!(matches!(error, DecodeError::Header(_)), "{error}");
}

/// A frame with the first `from` replaced by `to`, of another length: lengths are adjusted.
fn edited(frame: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = frame.windows(from.len()).position(|part| part == from).unwrap();
    let mut edited = [&frame[..at], to, &frame[at + from.len()..]].concat();
    for (place, less) in [(0, 4), (6, 10)] {
        let length = (edited.len() - less) as u32;
        edited[place..place + 4].copy_from_slice(&length.to_be_bytes());
    }
    edited
}

/// A byte string with a length of up to 65,535 as it is encoded.
fn string(length: usize) -> Vec<u8> {
    let mut encoded = match length {
        0..251 => vec![length as u8],
        _ => [&[251][..], &(length as u16).to_le_bytes()].concat(),
    };
    encoded.resize(encoded.len() + length, b'x');
    encoded
}

#[test]
fn limits_of_members_and_snapshots_are_checked_on_decoding() {
    let member = |id: &str, listed: &'static str, detailed: &'static str| {
        Member::new(MemberId::new(id).unwrap(), listed, detailed).unwrap()
    };
    let part = |text: &'static str| Part::Bytes(Bytes::from_static(text.as_bytes()));
    let join = encoded(Command::JoinPresence {
        client: ConnectionId(7),
        group: group("r"),
        member: Box::new(member("IDID", "LISTED", "DETAILED")),
        snapshot: Box::new(
            Snapshot::new(MessageKind::Text, vec![part("PART"), part("B")]).unwrap(),
        ),
    });
    let id = |length| edited(&join, b"\x04IDID", &string(length));
    assert!(decoded::<ToGateway>(&id(MAX_MEMBER_ID)).is_ok());
    is_refused(&id(MAX_MEMBER_ID + 1));
    is_refused(&id(0));
    let listed = |length| edited(&join, b"\x06LISTED", &string(length));
    assert!(decoded::<ToGateway>(&listed(MAX_MEMBER - 8)).is_ok());
    is_refused(&listed(MAX_MEMBER - 7));
    let own = |length| edited(&join, b"\x04PART", &string(length));
    assert!(decoded::<ToGateway>(&own(MAX_SNAPSHOT - 1)).is_ok());
    is_refused(&own(MAX_SNAPSHOT));
    // Further parts, each a count.
    let parts = |more: u8| {
        let parts = [&[2 + more, 0, 4][..], b"PART\0\x01B", &vec![1; more.into()]].concat();
        edited(&join, b"\x02\0\x04PART\0\x01B", &parts)
    };
    assert!(decoded::<ToGateway>(&parts(MAX_PARTS as u8 - 2)).is_ok());
    is_refused(&parts(MAX_PARTS as u8 - 1));
}

#[test]
fn lists_of_members_and_prefixes_are_bounded() {
    let frame = |message: &ToGateway| {
        let mut frame = BytesMut::new();
        encode(message, &mut frame).unwrap();
        frame.to_vec()
    };
    let watch = |count| frame(&ToGateway::Watch { prefixes: vec![group("r"); count] });
    assert!(decoded::<ToGateway>(&watch(MAX_PREFIXES)).is_ok());
    is_refused(&watch(MAX_PREFIXES + 1));
    let query = |count| {
        let query = Query::Presence { group: group("r"), members: Some(vec![id(); count]) };
        frame(&ToGateway::Query { request: 1, query })
    };
    assert!(decoded::<ToGateway>(&query(MAX_TARGETS)).is_ok());
    is_refused(&query(MAX_TARGETS + 1));
    let view = |count| {
        let members = vec![member(); count];
        encoded(Command::PresenceView {
            shard: 0,
            group: group("r"),
            first: true,
            last: true,
            members,
        })
    };
    assert!(decoded::<ToGateway>(&view(MAX_TARGETS)).is_ok());
    is_refused(&view(MAX_TARGETS + 1));
}
