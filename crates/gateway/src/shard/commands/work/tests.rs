//! Slicing of commands and queries about many clients, and the order of those after them.

use protocol::{CloseFrame, Command, Filter, Message, Query, Recipients, Session, Uid};

use super::*;
use crate::{
    shard::test_shard::TestShard,
    thread_messages::{PartialAnswer, ToShard},
};

fn uid(name: &str) -> Uid {
    Uid::new(name).unwrap()
}

/// Two clients, the first of them with a uid.
async fn two_clients() -> TestShard {
    let mut test = TestShard::with(2, "text://").await;
    let client = test.shard.connections[test.keys[0]].id.unwrap();
    test.command([Command::BindUid { client, uid: uid("ann") }]);
    while test.run_once() {}
    test
}

fn lines(test: &mut TestShard) -> [usize; 2] {
    let received = test.received();
    [0, 1].map(|client| received[client].lines().count())
}

#[tokio::test]
async fn fan_out_is_queued_in_slices_and_later_messages_stay_behind_it() {
    let mut test = two_clients().await;
    let uids = vec![uid("ann"); 5 * SLICE];
    let last = Command::SendToClient { to: test.last(), message: Message::text("last") };
    test.command([Command::SendToUids { uids, message: Message::text("x") }, last]);
    let mut all = 0;
    while test.run_once() {
        let [ann, bob] = lines(&mut test);
        assert!(0 < ann && ann <= SLICE, "{ann} in one pass");
        all += ann;
        assert!(bob == 0 || all == 5 * SLICE, "overtaken after {all}");
    }
    let [ann, _] = lines(&mut test);
    assert_eq!(all + ann, 5 * SLICE);
}

#[tokio::test]
async fn client_is_read_between_two_slices() {
    let mut test = two_clients().await;
    let uids = vec![uid("ann"); 3 * SLICE];
    test.command([Command::SendToUids { uids, message: Message::text("x") }]);
    assert!(test.run_once());
    test.send(1, b"hello\n");
    test.poll(1).await;
    assert_eq!(test.shard.tally.messages_in, 1);
    assert!(test.shard.commands.work.is_some(), "the rest is still to be sent");
    while test.run_once() {}
    assert_eq!(lines(&mut test)[0], 3 * SLICE);
}

#[tokio::test]
async fn query_about_many_reflects_the_commands_before_it_only() {
    let mut test = two_clients().await;
    let (before, token) = (vec![uid("ann"); SLICE * 2], Token(7));
    test.command([Command::SendToUids { uids: before, message: Message::text("x") }]);
    let filter = Filter::Any { groups: vec![], uids: vec![uid("ann"); 9000], clients: vec![] };
    let query = Query::Select { fields: protocol::Fields::default(), filter };
    let gateway = test.shard.gateway.clone();
    gateway.send_to_shard(
        0,
        &mut vec![ToShard::Query { token, from: LinkId(1), query, in_php: false }],
    );
    let client = test.shard.connections[test.keys[0]].id.unwrap();
    test.command([Command::UnbindUid { client }]);
    let mut passes = 0;
    while test.run_once() {
        passes += 1;
    }
    assert!(10 <= passes, "{passes} passes for 11,000 names");
    let mut messages = Vec::new();
    let cx = &mut std::task::Context::from_waker(std::task::Waker::noop());
    assert!(gateway.hub.poll_take(cx, &mut messages).is_ready());
    let part = messages.into_iter().find_map(|message| match message {
        ToHub::PartialAnswer { token: Token(7), part: PartialAnswer::Rows(rows) } => Some(rows),
        _ => None,
    });
    assert_eq!(part.unwrap().len(), 1, "it was bound when the query arrived");
}

#[tokio::test]
async fn expensive_commands_yield_to_sockets() {
    let mut test = two_clients().await;
    let client = test.last();
    let text = format!(r#"{{"large":"{}"}}"#, "x".repeat(200_000));
    let session = Session::from_encoded(text.into()).unwrap();
    test.command([Command::SetSession { client, edit: 0, session }]);
    let changes = Session::from_encoded(r#"{"small":1}"#.into()).unwrap();
    let update = Command::UpdateSession { client, edit: 0, changes };
    test.command(vec![update; 2000]);
    test.command([Command::SendToAll { to: Recipients::All, message: Message::text("done") }]);
    assert!(test.run_once(), "2,000 updates are more work than one pass");
    let mut passes = 1;
    while test.run_once() {
        passes += 1;
    }
    assert_eq!(lines(&mut test), [1, 1]);
    assert!(1 < passes);
}

#[tokio::test]
async fn ungroup_removes_all_members_before_the_next_command() {
    let mut test = two_clients().await;
    let group = Group::new("room").unwrap();
    let ids = test.keys.iter().map(|key| test.shard.connections[*key].id.unwrap());
    let ids: Vec<_> = ids.collect();
    let join = |client| Command::JoinGroup { client, group: group.clone() };
    test.command(ids.iter().map(|id| join(*id)).collect::<Vec<_>>());
    test.command([Command::Ungroup { group: group.clone() }, join(ids[1])]);
    while test.run_once() {}
    assert_eq!(test.shard.directory.member_count(&group), 1);
    assert_eq!(test.shard.directory.get(ids[0]).unwrap().group_count(), 0);
    assert_eq!(test.shard.directory.get(ids[1]).unwrap().group_count(), 1);
}

/// All clients with one uid, and their ids.
async fn clients_of_one_uid(count: usize) -> (TestShard, Vec<ConnectionId>) {
    let mut test = TestShard::with(count, "text://").await;
    let ids = test.keys.iter().map(|key| test.shard.connections[*key].id.unwrap());
    let ids: Vec<_> = ids.collect();
    let bind = |client: &ConnectionId| Command::BindUid { client: *client, uid: uid("ann") };
    test.command(ids.iter().map(bind).collect::<Vec<_>>());
    while test.run_once() {}
    (test, ids)
}

#[tokio::test]
async fn membership_by_uid_is_as_if_each_had_joined_before_the_next_command() {
    let (mut test, ids) = clients_of_one_uid(3).await;
    let group = Group::new("room").unwrap();
    let join = |client| Command::JoinGroup { client, group: group.clone() };
    let by_uid = Command::JoinGroupByUid { uid: uid("ann"), group: group.clone() };
    test.command([join(ids[2]), Command::UnbindUid { client: ids[1] }, by_uid.clone()]);
    test.command([join(ids[1]), by_uid]);
    while test.run_once() {}
    let members = test.shard.directory.members_after(&group, Ordinal(0));
    let members: Vec<_> = members.map(|(_, id, _)| id).collect();
    assert_eq!(members, [ids[2], ids[0], ids[1]], "each once, in order of joining");
    test.command([Command::LeaveGroupByUid { uid: uid("ann"), group: group.clone() }]);
    while test.run_once() {}
    assert_eq!(test.shard.directory.member_count(&group), 1);
    assert!(test.shard.directory.get(ids[1]).unwrap().is_in(&group), "it has no uid");
    for client in [ids[1], ids[2]] {
        test.command([Command::LeaveGroup { client, group: group.clone() }]);
    }
    while test.run_once() {}
    assert_eq!(test.shard.directory.groups().count(), 0);
}

#[tokio::test]
async fn close_by_uid_leaves_the_excluded_and_those_bound_later() {
    let (mut test, ids) = clients_of_one_uid(4).await;
    test.command([
        Command::UnbindUid { client: ids[3] },
        Command::CloseUid {
            uid: uid("ann"),
            exclude: vec![ids[1]],
            frame: CloseFrame::new(4001, "bye").unwrap(),
            farewell: Some(Message::text("last")),
        },
        Command::BindUid { client: ids[3], uid: uid("ann") },
        Command::SendToUids { uids: vec![uid("ann")], message: Message::text("left") },
    ]);
    while test.run_once() {}
    let left = ids.iter().filter(|id| test.shard.directory.get(**id).is_some());
    assert_eq!(left.collect::<Vec<_>>(), [&ids[1], &ids[3]]);
    assert_eq!(test.received(), ["last\n", "left\n", "last\n", "left\n"]);
}

#[tokio::test]
async fn close_by_uid_is_done_in_slices_before_the_next_command() {
    let (mut test, ids) = clients_of_one_uid(3 * CLOSED + 1).await;
    let frame = CloseFrame::default();
    let close = Command::CloseUid { uid: uid("ann"), exclude: vec![], frame, farewell: None };
    let bind = Command::BindUid { client: ids[3 * CLOSED], uid: uid("bob") };
    test.command([close, bind]);
    let mut left = ids.len();
    while test.run_once() {
        let now = test.shard.directory.len();
        // The pass that applies the command takes two slices.
        assert!(left - now <= 2 * CLOSED, "{left} to {now} in one pass");
        left = now;
    }
    assert_eq!(test.shard.directory.len(), 0);
    assert_eq!(test.shard.directory.bound_count(&uid("bob")), 0);
}
