//! Commands and queries about many: how much of them is done in one go, and what waits meanwhile.

use protocol::{Command, Filter, Message, Query, Recipients, Session, Uid};

use super::*;
use crate::{
    exchange::{Part, ToShard},
    shard::stage::Stage,
};

fn uid(name: &str) -> Uid {
    Uid::new(name).unwrap()
}

/// Two clients, the first of them with a uid.
async fn stage() -> Stage {
    let mut stage = Stage::with(2, "text://").await;
    let client = stage.shard.connections[stage.keys[0] as usize].id.unwrap();
    stage.command([Command::BindUid { client, uid: uid("ann") }]);
    while stage.turn() {}
    stage
}

fn lines(stage: &mut Stage) -> [usize; 2] {
    let received = stage.received();
    [0, 1].map(|client| received[client].lines().count())
}

#[tokio::test]
async fn message_for_many_is_queued_in_slices_and_what_comes_later_stays_behind_it() {
    let mut stage = stage().await;
    let uids = vec![uid("ann"); 5 * SLICE];
    let last = Command::SendToClient { to: stage.last(), message: Message::text("last") };
    stage.command([Command::SendToUids { uids, message: Message::text("x") }, last]);
    let mut all = 0;
    while stage.turn() {
        let [ann, bob] = lines(&mut stage);
        assert!(0 < ann && ann <= SLICE, "{ann} in one turn");
        all += ann;
        assert!(bob == 0 || all == 5 * SLICE, "overtaken after {all}");
    }
    let [ann, _] = lines(&mut stage);
    assert_eq!(all + ann, 5 * SLICE);
}

#[tokio::test]
async fn client_is_read_between_two_slices() {
    let mut stage = stage().await;
    let uids = vec![uid("ann"); 3 * SLICE];
    stage.command([Command::SendToUids { uids, message: Message::text("x") }]);
    assert!(stage.turn());
    stage.send(1, b"hello\n");
    stage.poll(1).await;
    assert_eq!(stage.shard.tally.messages_in, 1);
    assert!(stage.shard.work.is_some(), "the rest is still to be sent");
    while stage.turn() {}
    assert_eq!(lines(&mut stage)[0], 3 * SLICE);
}

#[tokio::test]
async fn query_about_many_answers_as_of_its_place_among_commands() {
    let mut stage = stage().await;
    let (before, token) = (vec![uid("ann"); SLICE * 2], Token(7));
    stage.command([Command::SendToUids { uids: before, message: Message::text("x") }]);
    let filter = Filter::Any { groups: vec![], uids: vec![uid("ann"); 9000], clients: vec![] };
    let query = Query::Select { fields: protocol::Fields::default(), filter };
    let host = stage.shard.host.clone();
    host.tell(0, &mut vec![ToShard::Query { token, query, in_php: false }]);
    let client = stage.shard.connections[stage.keys[0] as usize].id.unwrap();
    stage.command([Command::UnbindUid { client }]);
    let mut turns = 0;
    while stage.turn() {
        turns += 1;
    }
    assert!(10 <= turns, "{turns} turns for 11,000 names");
    let mut told = Vec::new();
    let cx = &mut std::task::Context::from_waker(std::task::Waker::noop());
    assert!(host.hub.poll_take(cx, &mut told).is_ready());
    let part = told.into_iter().find_map(|told| match told {
        ToHub::Part { token: Token(7), part: Part::Rows(rows) } => Some(rows),
        _ => None,
    });
    assert_eq!(part.unwrap().len(), 1, "it was bound when that was asked");
}

#[tokio::test]
async fn expensive_commands_give_way_to_sockets() {
    let mut stage = stage().await;
    let client = stage.last();
    let text = format!(r#"{{"large":"{}"}}"#, "x".repeat(200_000));
    let session = Session::from_encoded(text.into()).unwrap();
    stage.command([Command::SetSession { client, edit: 0, session }]);
    let changes = Session::from_encoded(r#"{"small":1}"#.into()).unwrap();
    let update = Command::UpdateSession { client, edit: 0, changes };
    stage.command(vec![update; 2000]);
    stage.command([Command::SendToAll { to: Recipients::All, message: Message::text("done") }]);
    assert!(stage.turn(), "2,000 updates are more than a turn's work");
    let mut turns = 1;
    while stage.turn() {
        turns += 1;
    }
    assert_eq!(lines(&mut stage), [1, 1]);
    assert!(1 < turns);
}

#[tokio::test]
async fn group_that_ends_is_left_by_all_its_members_before_anything_else_happens() {
    let mut stage = stage().await;
    let group = Group::new("room").unwrap();
    let ids = stage.keys.iter().map(|key| stage.shard.connections[*key as usize].id.unwrap());
    let ids: Vec<_> = ids.collect();
    let join = |client| Command::JoinGroup { client, group: group.clone() };
    stage.command(ids.iter().map(|id| join(*id)).collect::<Vec<_>>());
    stage.command([Command::Ungroup { group: group.clone() }, join(ids[1])]);
    while stage.turn() {}
    assert_eq!(stage.shard.directory.member_count(&group), 1);
    assert_eq!(stage.shard.directory.get(ids[0]).unwrap().group_count(), 0);
    assert_eq!(stage.shard.directory.get(ids[1]).unwrap().group_count(), 1);
}
