//! Members of groups on a shard with sockets: slices, limits, and the cost without watchers.

use std::task::{Context, Waker};

use bytes::BytesMut;
use protocol::{
    Command, InstanceId, MemberChange, MemberId, Message, MessageKind, Part, PresenceReport,
    codec::native::{MAX_FRAME, decode},
    link::ToPeer,
};

use super::*;
use crate::shard::test_shard::TestShard;

/// The link of the commands of a test.
const OWNER: LinkId = LinkId(1);

fn room() -> Group {
    Group::new("p-room").unwrap()
}

fn member(name: &str) -> Member {
    Member::new(MemberId::new(name).unwrap(), name.to_owned(), "").unwrap()
}

/// `=` and the ids of the members.
fn snapshot() -> Box<Snapshot> {
    let parts = vec![Part::Bytes("=".into()), Part::Ids];
    Box::new(Snapshot::new(MessageKind::Text, parts).unwrap())
}

fn join(client: ConnectionId, name: &str) -> Command {
    let member = Box::new(member(name));
    Command::JoinPresence { client, group: room(), member, snapshot: snapshot() }
}

fn view(names: &[&str]) -> Command {
    let members = names.iter().map(|name| member(name)).collect();
    Command::PresenceView { shard: 0, group: room(), first: true, last: true, members }
}

fn watch(test: &mut TestShard) {
    let instance = InstanceId::from_random(1);
    let prefixes = vec![Group::new("p-").unwrap()];
    let watcher = Watcher { link: OWNER, instance, declaration: 1, prefixes };
    test.shard.set_watchers([watcher].into());
}

fn ids(test: &TestShard) -> Vec<ConnectionId> {
    test.keys.iter().map(|key| test.shard.connections[*key].id.unwrap()).collect()
}

/// The reports that the hub has got since the last call, each of which the owner takes.
fn reports(test: &mut TestShard) -> Vec<PresenceReport> {
    while test.run_once() {}
    let cx = &mut Context::from_waker(Waker::noop());
    let mut messages = Vec::new();
    while test.shard.gateway.hub.poll_take(cx, &mut messages).is_ready() {}
    let mut reports = Vec::new();
    for message in messages {
        if let ToHub::Presence { link: OWNER, shard: 0, frames } = message {
            let mut frames = BytesMut::from(&frames[..]);
            while let Some(ToPeer::Presence(report)) = decode(&mut frames, MAX_FRAME).unwrap() {
                reports.push(*report);
            }
        }
    }
    let taken = reports.iter().filter(|report| report.full).map(|report| {
        let (group, number) = (report.group.clone(), report.number);
        Command::PresenceTaken { shard: 0, group, number }
    });
    test.command(taken.collect::<Vec<_>>());
    reports
}

#[tokio::test]
async fn groups_cost_nothing_without_a_watcher() {
    let mut test = TestShard::with(2, "text://").await;
    let [one, two] = ids(&test)[..] else { panic!("two clients") };
    let plain = |client| Command::JoinGroup { client, group: room() };
    test.command([plain(one), plain(two), Command::LeaveGroup { client: one, group: room() }]);
    assert!(reports(&mut test).is_empty() && test.shard.presence.is_idle());
    // Groups that are there when a worker begins to watch are reported then.
    watch(&mut test);
    let [report] = &reports(&mut test)[..] else { panic!("one report") };
    assert!(report.full && report.clients == 1 && report.view.is_none());
}

#[tokio::test]
async fn joins_that_wait_are_completed_in_slices_and_later_commands_stay_behind_them() {
    const CLIENTS: usize = 2 * WELCOMED + 10;
    let mut test = TestShard::with(CLIENTS, "text://").await;
    watch(&mut test);
    let all = ids(&test);
    let joins: Vec<_> = all.iter().map(|client| join(*client, "a")).collect();
    test.command(joins);
    let [report] = &reports(&mut test)[..] else { panic!("one report") };
    assert_eq!((report.clients, report.members[0].clients as usize), (CLIENTS as u64, CLIENTS));
    let added = MemberChange::Added(Box::new(member("b")));
    let message = Some(Message::text("+b"));
    test.command([view(&["a"]), Command::SetMember { group: room(), change: added, message }]);
    assert!(test.run_once());
    let first = test.received();
    let welcomed = first.iter().filter(|text| *text == "=a\n").count();
    assert!((1..=2 * WELCOMED).contains(&welcomed), "{welcomed}");
    assert!(test.shard.commands.work.is_some(), "the rest is still to be completed");
    assert!(first.iter().all(|text| !text.contains("+b")), "overtaken");
    // One that disconnects meanwhile.
    let last = test.keys[CLIENTS - 1];
    test.shard.close(last, crate::closed::CloseCause::Destroyed);
    while test.run_once() {}
    let rest = test.received();
    for client in 0..CLIENTS - 1 {
        assert_eq!(format!("{}{}", first[client], rest[client]), "=a\n+b\n", "{client}");
    }
    assert_eq!((&*first[CLIENTS - 1], &*rest[CLIENTS - 1]), ("", ""));
    assert_eq!(test.shard.presence.totals().waiting, 0);
    assert_eq!(reports(&mut test)[0].clients, CLIENTS as u64 - 1);
}

#[tokio::test]
async fn join_is_refused_if_the_client_is_in_too_many_groups_by_then() {
    let mut test = TestShard::with_flags(2, "text://", &["--max-groups-per-client", "2"]).await;
    watch(&mut test);
    let [one, two] = ids(&test)[..] else { panic!("two clients") };
    let plain = |name: &str| Command::JoinGroup { client: one, group: Group::new(name).unwrap() };
    test.command([join(one, "a"), join(two, "b"), plain("c"), plain("d")]);
    assert_eq!(reports(&mut test)[0].clients, 2);
    test.command([view(&["a", "b"])]);
    let report = &reports(&mut test)[0];
    let left: Vec<_> =
        report.members.iter().map(|it| (it.member.id().to_string(), it.clients)).collect();
    assert_eq!((report.clients, left), (1, vec![("a".to_owned(), 0)]));
    assert_eq!(test.received(), ["", "=a,b\n"]);
    assert_eq!(test.shard.gateway.metrics.joins_refused.get(), 1);
    // The groups that a client waits to join count.
    test.command([Command::LeaveGroup { client: one, group: Group::new("c").unwrap() }]);
    let other = |name: &str| Command::JoinPresence {
        client: one,
        group: Group::new(name).unwrap(),
        member: Box::new(member("a")),
        snapshot: snapshot(),
    };
    test.command([other("p-one"), other("p-two")]);
    while test.run_once() {}
    assert_eq!(test.shard.gateway.metrics.joins_refused.get(), 2);
    assert_eq!(test.shard.presence.waiting_of(one), 1);
}
