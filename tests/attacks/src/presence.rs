//! Commands about members of watched groups, of a worker that may own them or not.

use protocol::{
    Command, ConnectionId, Group, Member, MemberChange, MemberId, MessageKind, Part, Snapshot,
    presence::{MAX_MEMBER, MAX_PARTS},
};

use crate::rng::Rng;

fn id(rng: &mut Rng) -> MemberId {
    let length = rng.amount(3);
    MemberId::new(rng.word(length)).expect("a short word")
}

fn member(rng: &mut Rng) -> Member {
    let length = rng.amount(MAX_MEMBER);
    Member::new(id(rng), "", "x".repeat(length)).expect("short enough")
}

fn snapshot(rng: &mut Rng) -> Snapshot {
    let part = |rng: &mut Rng| match rng.below(4) {
        0 => Part::Bytes("x".into()),
        1 => Part::Count,
        2 => Part::Ids,
        _ => Part::Entries,
    };
    let parts = (0..rng.amount(MAX_PARTS)).map(|_| part(rng)).collect();
    Snapshot::new(MessageKind::Text, parts).expect("few parts")
}

/// A command about a member, or of an owner.
pub(crate) fn command(client: ConnectionId, group: Group, rng: &mut Rng) -> Command {
    let (shard, number) = (rng.below(4) as u16, rng.number());
    match rng.below(7) {
        0 | 1 => {
            let (member, snapshot) = (Box::new(member(rng)), Box::new(snapshot(rng)));
            Command::JoinPresence { client, group, member, snapshot }
        }
        2 => Command::PresenceTaken { shard, group, number },
        3 => {
            let members = (0..rng.amount(20)).map(|_| member(rng)).collect();
            let (first, last) = (rng.once_in(2), rng.once_in(2));
            Command::PresenceView { shard, group, first, last, members }
        }
        4 => {
            let change = match rng.once_in(2) {
                true => MemberChange::Added(Box::new(member(rng))),
                false => MemberChange::Removed(id(rng)),
            };
            Command::SetMember { group, change, message: None }
        }
        5 => Command::PresenceNotified { shard, group, number },
        _ => Command::PresenceSettled { shard, group, number },
    }
}
