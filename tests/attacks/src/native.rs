//! Attacks with the native protocol on the inner port of a gateway.

use bytes::{Bytes, BytesMut};
use protocol::{
    CloseFrame, Command, ConnectionId, Excluded, Fields, Filter, Group, InstanceId, Message,
    MessageKind, Query, Recipients, Session, Target as Recipient, Uid,
    bounded::MAX_TARGETS,
    close::MAX_REASON,
    link::{MAGIC, Role, ToGateway},
};
use suite_tests::{Peer, peer::encoded};

use crate::{dice::Dice, target::Target, wire::Wire};

/// Input of a peer without the secret.
pub(crate) async fn stranger(target: &Target, dice: &mut Dice) -> Option<()> {
    let mut wire = Wire::connect(target.inner, dice).await?;
    let length = dice.amount(200_000);
    let bytes = match dice.below(4) {
        0 => dice.bytes(length),
        // An incomplete frame.
        1 => [&MAGIC[..], &(length as u32).to_be_bytes(), &[2, 0]].concat(),
        2 => {
            let key = dice.word(length.min(60_000));
            let role = Role::Worker { key, instance: InstanceId::from_random(dice.number()) };
            let hello = ToGateway::Hello { role, nonce: [1; 32], proof: [2; 32] };
            [&MAGIC[..], &encoded(&hello)].concat()
        }
        _ => Vec::new(),
    };
    wire.send_in_pieces(&bytes, dice).await?;
    wire.linger(dice, 3000).await
}

async fn link(target: &Target, role: Role) -> Option<Wire> {
    let peer = Peer::try_open(target.inner, &target.secret, role).await.ok()?.ok()?;
    Some(Wire::of(peer))
}

fn back_end(dice: &mut Dice) -> Role {
    Role::Backend { instance: InstanceId::from_random(dice.number()) }
}

/// Commands of a back end, up to the limits and beyond them.
pub(crate) async fn commands(target: &Target, dice: &mut Dice) -> Option<()> {
    let mut wire = link(target, back_end(dice)).await?;
    let mut seq = 0;
    for _ in 0..dice.amount(20) {
        let command = command(target, dice);
        let mut all = BytesMut::new();
        for _ in 0..dice.amount(200) {
            seq += 1;
            all.extend_from_slice(&encoded(&ToGateway::Command { seq, command: command.clone() }));
            if 1 << 20 < all.len() {
                break;
            }
        }
        send_or_break(&mut wire, all.to_vec(), dice).await?;
    }
    wire.linger(dice, 1000).await
}

fn command(target: &Target, dice: &mut Dice) -> Command {
    let client = target.client(dice);
    match dice.below(15) {
        0 => Command::SendToClient { to: client, message: message(dice, 100_000) },
        1 => {
            let to = match dice.below(3) {
                0 => Recipients::All,
                1 => Recipients::Only(clients(target, dice)),
                _ => Recipients::Except(clients(target, dice)),
            };
            Command::SendToAll { to, message: message(dice, 2000) }
        }
        2 => Command::SendToUids { uids: uids(dice), message: message(dice, 2000) },
        3 => {
            let (groups, exclude) = (groups(dice), clients(target, dice));
            Command::SendToGroups { groups, exclude, message: message(dice, 2000) }
        }
        4 => {
            let client = target.any_client(dice);
            let farewell = dice.once_in(2).then(|| message(dice, 1000));
            Command::Close { client, farewell }
        }
        5 => Command::BindUid { client, uid: uid(dice) },
        6 | 7 => Command::JoinGroup { client, group: group(dice) },
        8 => Command::Ungroup { group: group(dice) },
        9 => {
            // A uid of almost always no client, so that the target keeps its clients.
            let uid = Uid::new(dice.word(12)).expect("a word");
            let (exclude, farewell) = (clients(target, dice), Some(message(dice, 1000)));
            let length = dice.amount(MAX_REASON);
            let frame = CloseFrame::new(4000, dice.word(length)).expect("a short reason");
            match dice.once_in(2) {
                true => Command::CloseUid { uid, exclude, frame, farewell },
                false => Command::CloseWith { client: target.any_client(dice), frame, farewell },
            }
        }
        10 => Command::JoinGroupByUid { uid: uid(dice), group: group(dice) },
        11 => Command::LeaveGroupByUid { uid: uid(dice), group: group(dice) },
        12 => {
            let to = match dice.below(3) {
                0 => Recipient::All,
                1 => Recipient::Uids(uids(dice)),
                _ => Recipient::Groups(groups(dice)),
            };
            let exclude = Excluded { clients: clients(target, dice), uids: uids(dice) };
            Command::SendExcept { to, exclude, message: message(dice, 2000) }
        }
        13 => Command::SetSession { client, edit: 0, session: session(dice) },
        _ => Command::UpdateSession { client, edit: 0, changes: session(dice) },
    }
}

fn message(dice: &mut Dice, most: usize) -> Message {
    let length = dice.amount(most);
    let kind = *dice.pick(&[MessageKind::Text, MessageKind::Binary, MessageKind::Raw]);
    // Raw bytes are written unframed: they must be valid frames, or probers lose their framing.
    let body = match kind {
        MessageKind::Raw => [&[0x8a, 0x02][..], b"ok"].concat(),
        MessageKind::Text | MessageKind::Binary => vec![b'y'; length],
    };
    Message { kind, body: body.into() }
}

fn clients(target: &Target, dice: &mut Dice) -> Vec<ConnectionId> {
    (0..dice.amount(MAX_TARGETS + 100)).map(|_| target.client(dice)).collect()
}

fn uid(dice: &mut Dice) -> Uid {
    let length = dice.amount(3);
    Uid::new(dice.word(length)).expect("a short word")
}

fn group(dice: &mut Dice) -> Group {
    let length = dice.amount(3);
    Group::new(dice.word(length)).expect("a short word")
}

fn uids(dice: &mut Dice) -> Vec<Uid> {
    (0..dice.amount(MAX_TARGETS + 100)).map(|_| uid(dice)).collect()
}

fn groups(dice: &mut Dice) -> Vec<Group> {
    (0..dice.amount(MAX_TARGETS + 100)).map(|_| group(dice)).collect()
}

fn session(dice: &mut Dice) -> Session {
    let (name, length) = (dice.amount(5), dice.amount(60_000));
    let text = format!("{{\"{}\":\"{}\"}}", dice.word(name), "z".repeat(length));
    Session::from_encoded(text.into()).expect("JSON")
}

/// Queries of a back end that reads some of the answers or none.
pub(crate) async fn queries(target: &Target, dice: &mut Dice) -> Option<()> {
    let mut wire = link(target, back_end(dice)).await?;
    for request in 0..dice.amount(50) {
        let query = match dice.below(7) {
            0 => Query::IsOnline { client: target.client(dice) },
            1 => Query::Sessions { group: dice.once_in(2).then(|| group(dice)) },
            2 => Query::ClientsOfUids { uids: uids(dice) },
            3 => Query::Counts { groups: groups(dice) },
            4 => Query::Groups,
            5 => Query::Count { group: None },
            _ => {
                let fields = Fields { uid: true, groups: dice.once_in(2), session: true };
                let (groups, uids) = (groups(dice), uids(dice));
                let any = Filter::Any { groups, uids, clients: clients(target, dice) };
                Query::Select { fields, filter: if dice.once_in(2) { Filter::All } else { any } }
            }
        };
        let query = encoded(&ToGateway::Query { request: request as u64, query });
        let times = dice.amount(1 + (1 << 20) / query.len());
        send_or_break(&mut wire, query.repeat(times), dice).await?;
        if dice.once_in(3) {
            wire.read(dice.pause(100)).await?;
        }
    }
    wire.linger(dice, 3000).await
}

/// A worker that is assigned clients and acknowledges their events, or others, or none.
pub(crate) async fn worker(target: &Target, dice: &mut Dice) -> Option<()> {
    let key = format!("attack:{}", dice.word(10));
    let role = Role::Worker { key, instance: InstanceId::from_random(dice.number()) };
    let mut wire = link(target, role).await?;
    for _ in 0..dice.amount(30) {
        let (first, last) = (dice.amount(1000) as u64, dice.amount(1000) as u64);
        let shard = dice.below(3) as u16;
        let message = match dice.below(7) {
            0 => ToGateway::EventAck { shard, first, last },
            1 => ToGateway::EventAck { shard, first: 0, last: u64::MAX },
            2 => ToGateway::EventStarted { shard, through: last },
            3 => ToGateway::HandlerStarted { shard, seq: first, alone: dice.once_in(2) },
            4 => ToGateway::Leaving,
            5 => ToGateway::Ping { token: first },
            _ => ToGateway::Command { seq: first, command: command(target, dice) },
        };
        send_or_break(&mut wire, encoded(&message).repeat(dice.amount(1000)), dice).await?;
        if dice.once_in(2) {
            wire.read(dice.pause(200)).await?;
        }
    }
    wire.linger(dice, 3000).await
}

/// Sends messages, sometimes mutated.
async fn send_or_break(wire: &mut Wire, bytes: Vec<u8>, dice: &mut Dice) -> Option<()> {
    let mut bytes = bytes;
    if dice.once_in(30) {
        dice.mutate(&mut bytes);
    }
    let bytes = Bytes::from(bytes);
    if dice.once_in(4) { wire.send_in_pieces(&bytes, dice).await } else { wire.send(&bytes).await }
}
