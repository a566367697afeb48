//! Streams on a shard with sockets.

use std::{
    task::{Context, Waker},
    time::Duration,
};

use protocol::{
    Command, Epoch, Group, Query, Recipients, Uid,
    streaming::{Enclosed, StreamGap},
};

use super::*;
use crate::{
    shard::test_shard::TestShard,
    thread_messages::{PartialAnswer, ToShard, Token},
};

const EPOCH: Epoch = Epoch::from_bits(1);

fn room() -> Group {
    Group::new("r").unwrap()
}

fn stream() -> StreamName {
    StreamName::Group(room())
}

fn at(offset: u64) -> Position {
    Position::new(EPOCH, offset)
}

fn publish_to(stream: StreamName, offset: u64, exclude: Excluded) -> Command {
    let message = Message::text(format!("{offset} "));
    Command::Publish { stream, position: at(offset), exclude, shard: None, message }
}

fn publish(offset: u64) -> Command {
    publish_to(stream(), offset, Excluded::default())
}

/// A shard with clients in one group.
async fn members(clients: usize) -> (TestShard, Vec<ConnectionId>) {
    let mut test = TestShard::with(clients, "tcp://").await;
    for client in 0..clients {
        test.send(client, b"x");
        test.poll(client).await;
    }
    let keys = test.keys.iter();
    let ids: Vec<_> = keys.map(|key| test.shard.connections[*key].id.unwrap()).collect();
    let join = |client: &ConnectionId| Command::JoinGroup { client: *client, group: room() };
    test.command(ids.iter().map(join));
    run(&mut test);
    (test, ids)
}

fn run(test: &mut TestShard) {
    while test.run_once() {}
}

/// The answer to a query about one client.
fn ask(test: &mut TestShard, query: Query) -> PartialAnswer {
    let gateway = test.shard.gateway.clone();
    let cx = &mut Context::from_waker(Waker::noop());
    let mut answers = Vec::new();
    while gateway.hub.poll_take(cx, &mut answers).is_ready() {
        answers.clear();
    }
    let query = ToShard::Query { token: Token(1), from: LinkId(1), query, in_php: false };
    gateway.send_to_shard(0, &mut vec![query]);
    run(test);
    while gateway.hub.poll_take(cx, &mut answers).is_ready() {
        for message in answers.drain(..) {
            if let ToHub::PartialAnswer { part, .. } = message {
                return part;
            }
        }
    }
    panic!("no answer")
}

fn hold(test: &mut TestShard, client: ConnectionId, stream: StreamName, joins: bool) -> Held {
    let (lost, ordinal) = (Enclosed(Message::text("lost ")), test.shard.gateway.ordinal().0);
    let hold = Hold { client, number: 7, stream, joins, lost, ordinal };
    match ask(test, Query::HoldStream(Box::new(hold))) {
        PartialAnswer::Held([held]) => held,
        other => panic!("{other:?}"),
    }
}

fn release(test: &mut TestShard, client: ConnectionId, stream: StreamName, top: u64) -> Released {
    let messages = vec![Enclosed(Message::text("missed "))];
    let (top, recovered) = (Some(at(top)), true);
    let release = Release { client, number: 7, stream, top, recovered, messages };
    match ask(test, Query::ReleaseStream(Box::new(release))) {
        PartialAnswer::Released([released]) => released,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn messages_go_out_in_order_each_once() {
    let (mut test, ids) = members(2).await;
    let exclude = Excluded { clients: vec![ids[1]], uids: Vec::new() };
    test.command([
        publish(1),
        publish(3),
        publish(1),
        publish_to(stream(), 2, exclude),
        publish(5),
        Command::SendToAll { to: Recipients::All, message: Message::text("other ") },
        publish(4),
    ]);
    run(&mut test);
    assert_eq!(test.received(), ["1 2 3 other 4 5 ", "1 3 other 4 5 "]);
}

#[tokio::test]
async fn many_members_receive_several_messages_in_slices() {
    let (mut test, _) = members(SLICE + 30).await;
    test.command([publish(1), publish(4), publish(3), publish(2), publish(5)]);
    run(&mut test);
    assert!(test.received().iter().all(|received| received == "1 2 3 4 5 "));
}

#[tokio::test]
async fn client_recovers_while_others_go_on() {
    let (mut test, ids) = members(2).await;
    test.command([publish(1)]);
    run(&mut test);
    test.command([Command::LeaveGroup { client: ids[0], group: room() }]);
    assert_eq!(hold(&mut test, ids[0], stream(), true), Held::Held);
    test.command([publish(2), publish(3)]);
    run(&mut test);
    assert_eq!(test.received(), ["1 ", "1 2 3 "]);
    assert_eq!(release(&mut test, ids[0], stream(), 2), Released::Done);
    test.command([publish(4)]);
    run(&mut test);
    assert_eq!(test.received(), ["missed 3 4 ", "4 "]);
    assert_eq!(hold(&mut test, ids[0], stream(), true), Held::Ended { recovered: true });
}

#[tokio::test]
async fn client_of_a_uid_recovers() {
    let (mut test, ids) = members(1).await;
    let of = |name: &str| StreamName::Uid(Uid::new(name).unwrap());
    let ann = of("ann");
    assert_eq!(hold(&mut test, ids[0], ann.clone(), true), Held::Held);
    test.command([publish_to(ann.clone(), 5, Excluded::default())]);
    assert_eq!(release(&mut test, ids[0], ann.clone(), 3), Released::Again);
    assert_eq!(release(&mut test, ids[0], ann, 4), Released::Done);
    assert_eq!(test.received(), ["missed 5 "]);
    // With another uid it leaves the stream, and with the same one it stays.
    let hold_again = |test: &mut TestShard, number| {
        let lost = Enclosed(Message::text("lost "));
        let (client, stream, ordinal) = (ids[0], of("ann"), test.shard.gateway.ordinal().0);
        let hold = Hold { client, number, stream, joins: true, lost, ordinal };
        ask(test, Query::HoldStream(Box::new(hold)))
    };
    hold_again(&mut test, 8);
    for (name, holds) in [("ann", 1), ("bob", 0)] {
        test.command([Command::BindUid { client: ids[0], uid: Uid::new(name).unwrap() }]);
        run(&mut test);
        assert_eq!(test.shard.streams.totals().holds, holds, "{name}");
    }
    hold_again(&mut test, 9);
    test.command([Command::UnbindUid { client: ids[0] }]);
    run(&mut test);
    assert_eq!(test.shard.streams.totals().holds, 0);
}

#[tokio::test]
async fn hold_ends_with_the_membership() {
    let (mut test, ids) = members(1).await;
    assert_eq!(hold(&mut test, ConnectionId(999), stream(), true), Held::Offline);
    let leave = Command::LeaveGroup { client: ids[0], group: room() };
    for command in [leave, Command::Ungroup { group: room() }, Command::Destroy { client: ids[0] }]
    {
        assert_eq!(hold(&mut test, ids[0], stream(), true), Held::Held);
        test.command([command]);
        assert_eq!(release(&mut test, ids[0], stream(), 2), Released::Ended);
    }
    assert!(test.shard.streams.all_are_members());
}

#[tokio::test]
async fn hold_of_a_client_at_the_group_limit_is_refused() {
    let flags = ["--max-groups-per-client=1"];
    let mut test = TestShard::with_flags(1, "tcp://", &flags).await;
    test.send(0, b"x");
    test.poll(0).await;
    let client = test.last();
    test.command([Command::JoinGroup { client, group: Group::new("other").unwrap() }]);
    run(&mut test);
    assert_eq!(hold(&mut test, client, stream(), true), Held::Refused);
    assert!(test.shard.streams.all_are_members());
    // It joins by other means.
    assert_eq!(hold(&mut test, client, stream(), false), Held::Held);
}

#[tokio::test]
async fn tick_ends_holds_and_asks_workers() {
    let (mut test, ids) = members(2).await;
    test.command([publish(1)]);
    assert_eq!(hold(&mut test, ids[0], stream(), false), Held::Held);
    test.shard.streams.set_servers([LinkId(3)].into());
    test.command([publish(3)]);
    run(&mut test);
    let start = clock::now();
    test.shard.tick_streams(start);
    test.shard.tick_streams(start + Duration::from_secs(11));
    run(&mut test);
    assert_eq!(test.received(), ["1 lost ", "1 "]);
    let cx = &mut Context::from_waker(Waker::noop());
    let (mut messages, mut asked) = (Vec::new(), Vec::new());
    while test.shard.gateway.hub.poll_take(cx, &mut messages).is_ready() {
        for message in messages.drain(..) {
            if let ToHub::StreamGaps { link, message } = message {
                asked.push((link, message));
            }
        }
    }
    let gap = StreamGap { stream: stream(), after: at(1), known: Some(at(3)), is_last: false };
    assert_eq!(asked, [(LinkId(3), ToPeer::StreamGaps { shard: 0, gaps: vec![gap] })]);
    let (after, to, message) = (at(1), at(3), Message::text("reset "));
    test.command([Command::ResetStream { shard: 0, stream: stream(), after, to, message }]);
    run(&mut test);
    assert_eq!(test.received(), ["reset 3 ", "reset 3 "]);
}

#[tokio::test]
async fn dead_worker_recovers_no_client_any_more() {
    let (mut test, ids) = members(1).await;
    hold(&mut test, ids[0], stream(), false);
    test.shard.stream_worker_down(LinkId(1), LinkEnd::Other);
    test.shard.tick_streams(clock::now());
    run(&mut test);
    assert_eq!(test.received(), [""], "its link may be back soon");
    test.shard.stream_worker_down(LinkId(1), LinkEnd::Closed);
    test.shard.tick_streams(clock::now());
    run(&mut test);
    assert_eq!(test.received(), ["lost "]);
}
