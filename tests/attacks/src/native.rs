//! Attacks with the native protocol on the inner port of a gateway.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use protocol::{
    CloseCodes, CloseFrame, CloseKind, Command, ConnectionId, Excluded, Fields, Filter, Group,
    InstanceId, Keep, Message, MessageKind, Query, Recipients, Retention, Session,
    Target as Recipient, Uid,
    bounded::MAX_TARGETS,
    close::MAX_REASON,
    link::{MAGIC, Role, ToGateway},
};
use suite_tests::{Peer, peer::encoded};

use crate::{presence, rng::Rng, target::Target, wire::Wire};

/// Input of a peer without the secret.
pub(crate) async fn stranger(target: &Target, rng: &mut Rng) -> Option<()> {
    let mut wire = Wire::connect(target.inner, rng).await?;
    let length = rng.amount(200_000);
    let bytes = match rng.below(4) {
        0 => rng.bytes(length),
        // An incomplete frame.
        1 => [&MAGIC[..], &(length as u32).to_be_bytes(), &[2, 0]].concat(),
        2 => {
            let key = rng.word(length.min(60_000));
            let role = Role::Worker { key, instance: InstanceId::from_random(rng.number()) };
            let hello = ToGateway::Hello { role, nonce: [1; 32], proof: [2; 32] };
            [&MAGIC[..], &encoded(&hello)].concat()
        }
        _ => Vec::new(),
    };
    wire.send_in_pieces(&bytes, rng).await?;
    wire.linger(rng, 3000).await
}

async fn link(target: &Target, role: Role) -> Option<Wire> {
    let peer = Peer::try_open(target.inner, &target.secret, role).await.ok()?.ok()?;
    Some(Wire::of(peer))
}

fn back_end(rng: &mut Rng) -> Role {
    Role::Backend { instance: InstanceId::from_random(rng.number()) }
}

/// Commands of a back end, up to the limits and beyond them.
pub(crate) async fn commands(target: &Target, rng: &mut Rng) -> Option<()> {
    let mut wire = link(target, back_end(rng)).await?;
    let mut seq = 0_u64;
    for _ in 0..rng.amount(20) {
        let command = command(target, rng);
        let mut all = BytesMut::new();
        for _ in 0..rng.amount(200) {
            seq += 1;
            let command = command.clone();
            let message = match seq.is_multiple_of(3) {
                // Of which the answers may never be read.
                true => ToGateway::ReportedCommand { seq, request: seq, command },
                false => ToGateway::Command { seq, command },
            };
            all.extend_from_slice(&encoded(&message));
            if 1 << 20 < all.len() {
                break;
            }
        }
        send_or_break(&mut wire, all.to_vec(), rng).await?;
    }
    wire.linger(rng, 1000).await
}

fn command(target: &Target, rng: &mut Rng) -> Command {
    let client = target.client(rng);
    match rng.below(20) {
        0 => Command::SendToClient { to: client, message: message(rng, 100_000) },
        1 => {
            let to = match rng.below(3) {
                0 => Recipients::All,
                1 => Recipients::Only(clients(target, rng)),
                _ => Recipients::Except(clients(target, rng)),
            };
            Command::SendToAll { to, message: message(rng, 2000) }
        }
        2 => Command::SendToUids { uids: uids(rng), message: message(rng, 2000) },
        3 => {
            let (groups, exclude) = (groups(rng), clients(target, rng));
            Command::SendToGroups { groups, exclude, message: message(rng, 2000) }
        }
        4 => {
            let client = target.any_client(rng);
            let farewell = rng.once_in(2).then(|| message(rng, 1000));
            Command::Close { client, farewell }
        }
        5 => Command::BindUid { client, uid: uid(rng) },
        6 | 7 => Command::JoinGroup { client, group: group(rng) },
        8 => Command::Ungroup { group: group(rng) },
        9 => {
            // A uid of almost always no client, so that the target keeps its clients.
            let uid = Uid::new(rng.word(12)).expect("a word");
            let (exclude, farewell) = (clients(target, rng), Some(message(rng, 1000)));
            let length = rng.amount(MAX_REASON);
            let frame = CloseFrame::new(4000, rng.word(length)).expect("a short reason");
            match rng.once_in(2) {
                true => Command::CloseUid { uid, exclude, frame, farewell },
                false => Command::CloseWith { client: target.any_client(rng), frame, farewell },
            }
        }
        10 => Command::JoinGroupByUid { uid: uid(rng), group: group(rng) },
        11 => Command::LeaveGroupByUid { uid: uid(rng), group: group(rng) },
        12 => {
            let to = match rng.below(3) {
                0 => Recipient::All,
                1 => Recipient::Uids(uids(rng)),
                _ => Recipient::Groups(groups(rng)),
            };
            let exclude = Excluded { clients: clients(target, rng), uids: uids(rng) };
            Command::SendExcept { to, exclude, message: message(rng, 2000) }
        }
        13 => {
            let keep = if rng.once_in(2) { Keep::Oldest } else { Keep::Newest };
            Command::CloseBinding { client, since: rng.number(), keep }
        }
        14 => {
            let exclude = Excluded { clients: clients(target, rng), uids: uids(rng) };
            let retention = retention(rng);
            Command::SendAndRetain {
                group: group(rng),
                exclude,
                retention,
                message: message(rng, 2000),
            }
        }
        15 => {
            let found = rng.once_in(2).then(|| retention(rng));
            let (group, message) = (group(rng), message(rng, 2000));
            Command::SendRetained { client: target.any_client(rng), group, found, message }
        }
        18 => presence::command(client, group(rng), rng),
        16 => Command::SetSession { client, edit: 0, session: session(rng) },
        17 => {
            let keys = (0..rng.amount(MAX_TARGETS + 100)).map(|_| rng.word(3)).collect();
            Command::RemoveSessionKeys { client, edit: 0, keys }
        }
        _ => Command::UpdateSession { client, edit: 0, changes: session(rng) },
    }
}

fn message(rng: &mut Rng, most: usize) -> Message {
    let length = rng.amount(most);
    let kind = *rng.pick(&[MessageKind::Text, MessageKind::Binary, MessageKind::Raw]);
    // Raw bytes are written unframed: they must be valid frames, or probers lose their framing.
    let body = match kind {
        MessageKind::Raw => [&[0x8a, 0x02][..], b"ok"].concat(),
        MessageKind::Text | MessageKind::Binary => vec![b'y'; length],
    };
    let uncompressed = kind != MessageKind::Raw && rng.amount(2) == 0;
    Message { kind, body: body.into(), uncompressed }
}

fn clients(target: &Target, rng: &mut Rng) -> Vec<ConnectionId> {
    (0..rng.amount(MAX_TARGETS + 100)).map(|_| target.client(rng)).collect()
}

fn uid(rng: &mut Rng) -> Uid {
    let length = rng.amount(3);
    Uid::new(rng.word(length)).expect("a short word")
}

fn group(rng: &mut Rng) -> Group {
    let length = rng.amount(3);
    Group::new(rng.word(length)).expect("a short word")
}

fn uids(rng: &mut Rng) -> Vec<Uid> {
    (0..rng.amount(MAX_TARGETS + 100)).map(|_| uid(rng)).collect()
}

fn groups(rng: &mut Rng) -> Vec<Group> {
    (0..rng.amount(MAX_TARGETS + 100)).map(|_| group(rng)).collect()
}

fn session(rng: &mut Rng) -> Session {
    let (name, length) = (rng.amount(5), rng.amount(60_000));
    let text = format!("{{\"{}\":\"{}\"}}", rng.word(name), "z".repeat(length));
    Session::from_encoded(text.into()).expect("JSON")
}

/// Queries of a back end that reads some of the answers or none.
pub(crate) async fn queries(target: &Target, rng: &mut Rng) -> Option<()> {
    let mut wire = link(target, back_end(rng)).await?;
    for request in 0..rng.amount(50) {
        let query = match rng.below(15) {
            0 => Query::IsOnline { client: target.client(rng) },
            1 => Query::Sessions { group: rng.once_in(2).then(|| group(rng)) },
            2 => Query::ClientsOfUids { uids: uids(rng) },
            3 => Query::Counts { groups: groups(rng) },
            4 => Query::Groups,
            5 => Query::Count { group: None },
            6 => Query::Online { clients: clients(target, rng) },
            7 => Query::CountsOfUids { uids: uids(rng) },
            8 => Query::CountsOfAllGroups,
            9 => Query::UidCount { group: rng.once_in(2).then(|| group(rng)) },
            10 => Query::Uids { group: rng.once_in(2).then(|| group(rng)) },
            11 => {
                let (client, expected) = (target.client(rng), session(rng));
                Query::SwapSession { client, edit: 0, expected, new: session(rng) }
            }
            13 => Query::Presence { group: group(rng), members: None },
            12 => Query::Bindings { uid: uid(rng), clock: rng.number() },
            _ => {
                let fields = Fields { uid: true, groups: rng.once_in(2), session: true };
                let (groups, uids) = (groups(rng), uids(rng));
                let any = Filter::Any { groups, uids, clients: clients(target, rng) };
                Query::Select { fields, filter: if rng.once_in(2) { Filter::All } else { any } }
            }
        };
        let query = encoded(&ToGateway::Query { request: request as u64, query });
        let times = rng.amount(1 + (1 << 20) / query.len());
        send_or_break(&mut wire, query.repeat(times), rng).await?;
        if rng.once_in(3) {
            wire.read(rng.pause(100)).await?;
        }
    }
    wire.linger(rng, 3000).await
}

fn retention(rng: &mut Rng) -> Retention {
    let millis = |number| Duration::from_millis(number);
    Retention::new(millis(rng.number() % 10_000), millis(rng.number() % 10_000))
}

fn close_codes(rng: &mut Rng) -> CloseCodes {
    let code = |kind| (kind, 3000 + rng.below(2000) as u16);
    CloseCodes::new(CloseKind::ALL.map(code)).unwrap_or_default()
}

/// A worker that is assigned clients and acknowledges their events, or others, or none.
pub(crate) async fn worker(target: &Target, rng: &mut Rng) -> Option<()> {
    let key = format!("attack:{}", rng.word(10));
    let role = Role::Worker { key, instance: InstanceId::from_random(rng.number()) };
    let mut wire = link(target, role).await?;
    for _ in 0..rng.amount(30) {
        let (first, last) = (rng.amount(1000) as u64, rng.amount(1000) as u64);
        let shard = rng.below(3) as u16;
        let message = match rng.below(11) {
            0 => ToGateway::EventAck { shard, first, last },
            1 => ToGateway::EventAck { shard, first: 0, last: u64::MAX },
            2 => ToGateway::EventStarted { shard, through: last },
            3 => ToGateway::HandlerStarted { shard, seq: first, alone: rng.once_in(2) },
            4 => ToGateway::Leaving,
            5 => ToGateway::Ping { token: first },
            6 => ToGateway::UidChecked { check: first, uid: uid(rng) },
            7 => ToGateway::CloseCodes { codes: close_codes(rng) },
            8 => ToGateway::Watch { prefixes: vec![group(rng); rng.amount(3)] },
            9 => ToGateway::Acknowledge,
            _ => ToGateway::Command { seq: first, command: command(target, rng) },
        };
        send_or_break(&mut wire, encoded(&message).repeat(rng.amount(1000)), rng).await?;
        if rng.once_in(2) {
            wire.read(rng.pause(200)).await?;
        }
    }
    wire.linger(rng, 3000).await
}

/// Sends messages, sometimes mutated.
async fn send_or_break(wire: &mut Wire, bytes: Vec<u8>, rng: &mut Rng) -> Option<()> {
    let mut bytes = bytes;
    if rng.once_in(30) {
        rng.mutate(&mut bytes);
    }
    let bytes = Bytes::from(bytes);
    if rng.once_in(4) { wire.send_in_pieces(&bytes, rng).await } else { wire.send(&bytes).await }
}
