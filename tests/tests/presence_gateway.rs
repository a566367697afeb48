//! Occupancy and presence on one gateway, with scripted workers: joins that wait for the view,
//! snapshots, changes of members, owners, reports.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{collections::BTreeMap, time::Duration};

use protocol::{
    Answer, Command, ConnectionId, Event, Excluded, Member, MemberId, Message, Query, Retention,
    codec::gateway_worker::Opcode,
    link::{ToGateway, ToPeer},
    rendezvous::rendezvous,
};
use suite_tests::{
    Browser, Peer, Php, Suite, eventually,
    names::{group, uid},
    on_one_and_three_threads,
    suite::Builder,
    watcher::{Watcher, added, join, member, removed, room, shown, snapshot},
};

on_one_and_three_threads!(
    join_waits_for_the_view_and_receives_exactly_its_bytes,
    retained_message_for_a_join_that_waits_comes_behind_its_snapshot,
    members_of_one_id_are_one_and_do_not_see_themselves,
    owner_that_ends_is_replaced_and_gets_full_reports,
    worker_that_is_leaving_owns_nothing_again,
    commands_of_others_than_the_owner_are_ignored,
    departures_are_reported_again_until_they_are_settled,
    every_way_to_join_and_leave_is_reported,
    thousand_joins_that_wait_are_completed_in_order,
);

const IGNORED: &str = "pushsuite_gateway_presence_commands_ignored_total";

fn suite(threads: usize) -> Builder {
    Suite::builder().gateways(1).threads(threads)
}

/// A worker that receives events, which watches nothing, and a client.
async fn client(suite: &Suite, events: &mut Peer) -> (Browser, ConnectionId) {
    let browser = suite.browser(0).await;
    (browser, events.accept_client().await)
}

async fn clients(suite: &Suite, events: &mut Peer, count: usize) -> Vec<(Browser, ConnectionId)> {
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(client(suite, events).await);
    }
    all
}

/// The messages of a client before `mark`, which is sent to it now.
async fn before_mark(
    events: &mut Peer,
    (browser, id): &mut (Browser, ConnectionId),
) -> Vec<String> {
    events.command(Command::SendToClient { to: *id, message: Message::text("mark") }).await;
    let mut all = Vec::new();
    loop {
        match browser.receive_text().await {
            mark if mark == "mark" => return all,
            text => all.push(text),
        }
    }
}

/// Sends as a back end, so that the only link that receives events is that of `events`.
async fn scene(threads: usize, count: usize) -> (Suite, Peer, Vec<(Browser, ConnectionId)>) {
    let suite = suite(threads).start().await;
    let mut events = suite.worker_link(0, "events:1").await;
    let clients = clients(&suite, &mut events, count).await;
    (suite, events, clients)
}

async fn join_waits_for_the_view_and_receives_exactly_its_bytes(threads: usize) {
    let (suite, mut events, mut clients) = scene(threads, 6).await;
    for (at, (_, id)) in clients.iter().enumerate() {
        events.command(join(*id, &format!("m{at}"))).await;
    }
    // Not in the group: neither its messages nor its count.
    let message = Message::text("to the group");
    let to_group = Command::SendToGroups { groups: vec![room()], exclude: vec![], message };
    events.command(to_group.clone()).await;
    assert_eq!(events.query(Query::Count { group: Some(room()) }).await, Answer::Count(0));
    let gateway = &suite.gateways[0];
    gateway.wait_for_metric("pushsuite_gateway_presence_waiting", 6.0).await;
    for client in &mut clients {
        assert!(before_mark(&mut events, client).await.is_empty());
    }

    let mut owner = Watcher::new(&suite, "owner:1").await;
    let names = ["m0", "m1", "m2", "m3", "m4", "m5"];
    owner.wait_for(6, &names.map(|name| (name, 1))).await;
    let mut shards = owner.wanting();
    shards.dedup();
    assert_eq!(shards.len(), threads);
    // `m5` is not among the announced members, and `z` is on another gateway.
    owner.send_views(&["m0", "m1", "m2", "m3", "m4", "z"]).await;
    let announced = ["m0", "m1", "m2", "m3", "m4", "z"];
    for client in &mut clients[..5] {
        assert_eq!(client.0.receive_text().await, shown(&announced));
    }
    let all = ["m0", "m1", "m2", "m3", "m4", "m5", "z"];
    assert_eq!(clients[5].0.receive_text().await, shown(&all));
    assert_eq!(events.query(Query::Count { group: Some(room()) }).await, Answer::Count(6));
    events.command(to_group).await;
    for client in &mut clients {
        assert_eq!(before_mark(&mut events, client).await, ["to the group"]);
    }
    // Once there is a view, a join waits no longer, even without the owner.
    drop(owner);
    let mut late = client(&suite, &mut events).await;
    events.command(join(late.1, "late")).await;
    let mut with_late = announced.to_vec();
    with_late.insert(0, "late");
    assert_eq!(late.0.receive_text().await, shown(&with_late));
    // Again: the same members, and it stays the one that it is.
    events.command(join(late.1, "other")).await;
    assert_eq!(late.0.receive_text().await, shown(&with_late));
    let Answer::Presence(answer) =
        events.query(Query::Presence { group: room(), members: None }).await
    else {
        panic!("members")
    };
    let members: Vec<_> =
        answer.members.iter().map(|it| (it.member.id().to_string(), it.clients)).collect();
    let expected = ["late", "m0", "m1", "m2", "m3", "m4", "m5"].map(|name| (name.to_owned(), 1));
    assert_eq!((answer.clients, members), (7, expected.to_vec()));
    assert_eq!(answer.members[1].member, member("m0"));
}

async fn retained_message_for_a_join_that_waits_comes_behind_its_snapshot(threads: usize) {
    let (suite, mut events, mut clients) = scene(threads, 3).await;
    let retain = |text: &str| Command::SendAndRetain {
        group: room(),
        exclude: Excluded { clients: Vec::new(), uids: Vec::new() },
        retention: Retention::new(Duration::ZERO, Duration::from_secs(600)),
        message: Message::text(text),
    };
    for (at, (_, id)) in clients.iter().enumerate() {
        events.command(join(*id, &format!("m{at}"))).await;
    }
    let send = |client, text: &str| Command::SendRetained {
        client,
        group: room(),
        found: None,
        message: Message::text(text),
    };
    events.command(send(clients[0].1, "none")).await;
    events.command(retain("old")).await;
    events.command(send(clients[1].1, "none")).await;
    events.command(send(clients[1].1, "none")).await;
    // The clients are no members yet, so that this does not reach them either.
    events.command(retain("new")).await;
    for client in &mut clients {
        assert!(before_mark(&mut events, client).await.is_empty());
    }
    let mut owner = Watcher::new(&suite, "owner:1").await;
    let names = ["m0", "m1", "m2"];
    owner.wait_for(3, &names.map(|name| (name, 1))).await;
    owner.send_views(&names).await;
    for (client, retained) in clients.iter_mut().zip([&["new"][..], &["new"], &[]]) {
        assert_eq!(client.0.receive_text().await, shown(&names));
        for text in retained {
            assert_eq!(client.0.receive_text().await, *text);
        }
    }
    // From here on they are members.
    events.command(retain("newer")).await;
    for client in &mut clients {
        assert_eq!(before_mark(&mut events, client).await, ["newer"]);
    }
}

async fn members_of_one_id_are_one_and_do_not_see_themselves(threads: usize) {
    let (suite, mut events, mut clients) = scene(threads, 6).await;
    let mut owner = Watcher::new(&suite, "owner:1").await;
    // Three clients of `a`, three of `b`, whatever their shards.
    for (at, (_, id)) in clients.iter().enumerate() {
        events.command(join(*id, ["a", "b"][at / 3])).await;
    }
    owner.wait_for(6, &[("a", 3), ("b", 3)]).await;
    owner.send_views(&["a"]).await;
    for (at, client) in clients.iter_mut().enumerate() {
        let seen = if at < 3 { shown(&["a"]) } else { shown(&["a", "b"]) };
        assert_eq!(client.0.receive_text().await, seen);
    }
    for command in [added("b"), added("b"), added("c"), removed("d"), removed("c"), removed("c")] {
        owner.command(command).await;
    }
    for (at, client) in clients.iter_mut().enumerate() {
        let seen: &[&str] = if at < 3 { &["+b", "+c", "-c"] } else { &["+c", "-c"] };
        assert_eq!(before_mark(&mut events, client).await, seen);
    }
    // A client that leaves one member does not see it any more; the others stay.
    let left = clients[3].1;
    events.command(Command::LeaveGroup { client: left, group: room() }).await;
    owner.wait_for(5, &[("a", 3), ("b", 2)]).await;
    owner.command(removed("b")).await;
    for (at, client) in clients.iter_mut().enumerate() {
        let seen: &[&str] = if at < 3 { &["-b"] } else { &[] };
        assert_eq!(before_mark(&mut events, client).await, seen, "{at}");
    }
}

/// The one of two that owns the room, and the other.
fn by_owner(one: Watcher, two: Watcher) -> (Watcher, Watcher) {
    let instances = [&one, &two].map(|it| it.peer.instance().clone());
    match rendezvous(room().as_bytes(), instances.iter().zip([1, 2])) {
        Some(1) => (one, two),
        _ => (two, one),
    }
}

async fn owner_that_ends_is_replaced_and_gets_full_reports(threads: usize) {
    let (suite, mut events, mut clients) = scene(threads, 3).await;
    let first = Watcher::new(&suite, "owner:1").await;
    let second = Watcher::new(&suite, "owner:2").await;
    let (mut owner, mut other) = by_owner(first, second);
    for (at, (_, id)) in clients.iter().enumerate() {
        events.command(join(*id, ["a", "b", "c"][at])).await;
    }
    let all = [("a", 1), ("b", 1), ("c", 1)];
    owner.wait_for(3, &all).await;
    owner.send_views(&["a", "b", "c"]).await;
    for client in &mut clients {
        assert_eq!(client.0.receive_text().await, shown(&["a", "b", "c"]));
    }
    assert!(other.rest().await.is_empty());
    // It watches no more, and is no owner from here on.
    owner.peer.send(&ToGateway::Watch { prefixes: vec![] }).await;
    other.wait_for(3, &all).await;
    for (report, _) in other.told.values() {
        let view: Vec<_> = report.view.iter().flatten().map(MemberId::to_string).collect();
        assert!(report.full && !report.wants_view, "{report:?}");
        assert_eq!(view, ["a", "b", "c"]);
    }
    owner.command(added("ignored")).await;
    other.command(added("d")).await;
    for client in &mut clients {
        assert_eq!(before_mark(&mut events, client).await, ["+d"]);
    }
    // It watches again, under the same link: the other one loses the room, and it begins anew.
    owner.told.clear();
    owner.peer.send(&ToGateway::Watch { prefixes: vec![group("presence-")] }).await;
    owner.wait_for(3, &all).await;
    assert!(owner.told.values().all(|(report, _)| report.view.as_ref().unwrap().len() == 4));
    let mut lost = Vec::new();
    while lost.len() < threads {
        if let ToPeer::PresenceLost { group, shard } = other.peer.next().await.unwrap() {
            assert_eq!(group, room());
            lost.push(shard);
        }
    }
    lost.sort_unstable();
    assert_eq!(lost, (0..threads as u16).collect::<Vec<_>>());
    // Its link ends.
    other.told.clear();
    drop(owner);
    other.wait_for(3, &all).await;
    other.command(removed("d")).await;
    for client in &mut clients {
        assert_eq!(before_mark(&mut events, client).await, ["-d"]);
    }
}

async fn worker_that_is_leaving_owns_nothing_again(threads: usize) {
    let (suite, mut events, clients) = scene(threads, 3).await;
    let first = Watcher::new(&suite, "owner:1").await;
    let second = Watcher::new(&suite, "owner:2").await;
    let (mut owner, mut other) = by_owner(first, second);
    owner.peer.send(&ToGateway::Leaving).await;
    // On its way when it began to leave.
    owner.peer.send(&ToGateway::Watch { prefixes: vec![group("presence-")] }).await;
    assert!(owner.rest().await.is_empty());
    for (at, (_, id)) in clients.iter().enumerate() {
        events.command(join(*id, ["a", "b", "c"][at])).await;
    }
    other.wait_for(3, &[("a", 1), ("b", 1), ("c", 1)]).await;
    assert!(owner.rest().await.is_empty());
}

async fn commands_of_others_than_the_owner_are_ignored(threads: usize) {
    let (suite, mut events, mut clients) = scene(threads, 3).await;
    let first = Watcher::new(&suite, "owner:1").await;
    let second = Watcher::new(&suite, "owner:2").await;
    let (mut owner, mut other) = by_owner(first, second);
    for (at, (_, id)) in clients.iter().enumerate() {
        events.command(join(*id, ["a", "b", "c"][at])).await;
    }
    // Joins that are read apart are reported apart: in full at first, then what has changed.
    let (mut last, mut full) = (BTreeMap::new(), BTreeMap::new());
    while last.values().sum::<u64>() < 3 {
        let report = owner.report().await;
        last.insert(report.shard, report.clients);
        if report.full {
            full.insert(report.shard, report);
        }
    }
    // The owner has not taken the reports, and the others own nothing.
    let mut back_end = suite.peer(0).await;
    for shard in full.keys().copied() {
        for (peer, number) in [(&mut other.peer, u64::MAX), (&mut back_end, u64::MAX)] {
            peer.command(Command::PresenceTaken { shard, group: room(), number }).await;
        }
        for peer in [&mut owner.peer, &mut other.peer, &mut back_end] {
            let (members, group) = (vec![member("x")], room());
            let view = Command::PresenceView { shard, group, first: true, last: true, members };
            peer.command(view).await;
            peer.acknowledged().await;
        }
    }
    assert_eq!(events.query(Query::Count { group: Some(room()) }).await, Answer::Count(0));
    suite.gateways[0].wait_for_metric(IGNORED, 5.0 * threads as f64).await;
    // A shard that does not exist, and a back end that wants to watch.
    let group_of = room();
    other.command(Command::PresenceTaken { shard: 999, group: group_of, number: 1 }).await;
    back_end.send(&ToGateway::Watch { prefixes: vec![group("presence-")] }).await;
    back_end.closed().await;
    // Once they are taken, the owner is obeyed.
    for report in full.values() {
        owner.take(report).await;
    }
    owner.wait_for(3, &[("a", 1), ("b", 1), ("c", 1)]).await;
    owner.send_views(&["a", "b", "c"]).await;
    for client in &mut clients {
        assert_eq!(client.0.receive_text().await, shown(&["a", "b", "c"]));
    }
    other.command(added("x")).await;
    other.command(removed("a")).await;
    owner.command(added("d")).await;
    for client in &mut clients {
        assert_eq!(before_mark(&mut events, client).await, ["+d"]);
    }
}

async fn departures_are_reported_again_until_they_are_settled(threads: usize) {
    let (suite, mut events, clients) = scene(threads, 3).await;
    let mut owner = Watcher::new(&suite, "owner:1").await;
    for (at, (_, id)) in clients.iter().enumerate() {
        events.command(join(*id, ["a", "b", "c"][at])).await;
    }
    owner.wait_for(3, &[("a", 1), ("b", 1), ("c", 1)]).await;
    // Clients that disconnect, while they wait.
    for (browser, _) in clients {
        browser.close().await;
        let close = events.event().await;
        assert!(matches!(close.event, Event::Close(_)), "{close:?}");
        events.ack(&close).await;
    }
    let gone = [("a", 0), ("b", 0), ("c", 0)];
    owner.wait_for(0, &gone).await;
    assert!(owner.rest().await.is_empty());
    // A new owner, which the departures are news for.
    drop(owner);
    let mut owner = Watcher::new(&suite, "owner:2").await;
    owner.wait_for(0, &gone).await;
    assert!(owner.told.values().all(|(report, _)| report.full && report.view.is_none()));
    owner.settle().await;
    suite.gateways[0].wait_for_metric("pushsuite_gateway_presence_groups", 0.0).await;
    suite.gateways[0].wait_for_metric("pushsuite_gateway_presence_bytes", 0.0).await;
    drop(owner);
    let mut owner = Watcher::new(&suite, "owner:3").await;
    let (mut browser, id) = client(&suite, &mut events).await;
    events.command(join(id, "d")).await;
    owner.wait_for(1, &[("d", 1)]).await;
    owner.send_views(&["d"]).await;
    assert_eq!(browser.receive_text().await, shown(&["d"]));
}

async fn every_way_to_join_and_leave_is_reported(threads: usize) {
    let suite = suite(threads).gateway_flag("--max-groups-per-client", "2").start().await;
    let mut events = suite.worker_link(0, "events:1").await;
    let clients = clients(&suite, &mut events, 4).await;
    let mut owner = Watcher::new(&suite, "owner:1").await;
    let [a, b, c, d] = [0, 1, 2, 3].map(|at| clients[at].1);
    let plain = |client| Command::JoinGroup { client, group: room() };
    let leave = |client| Command::LeaveGroup { client, group: room() };
    events.command(plain(a)).await;
    owner.wait_for(1, &[]).await;
    // A PHP worker's client is a client without being a member.
    let mut php = Php::back_end(suite.gateways[0].inner, &suite.secret()).await;
    php.send(Opcode::JoinGroup, b.0, "presence-room", "").await;
    owner.wait_for(2, &[]).await;
    events.command(leave(a)).await;
    owner.wait_for(1, &[]).await;
    for client in [c, d] {
        events.command(Command::BindUid { client, uid: uid("ann") }).await;
    }
    let (uid, of) = (uid("ann"), room());
    events.command(Command::JoinGroupByUid { uid: uid.clone(), group: of.clone() }).await;
    owner.wait_for(3, &[]).await;
    events.command(Command::LeaveGroupByUid { uid, group: of.clone() }).await;
    owner.wait_for(1, &[]).await;
    // A client in the group becomes a member, which waits for the view and counts once.
    events.command(join(b, "b")).await;
    events.command(join(c, "c")).await;
    owner.wait_for(2, &[("b", 1), ("c", 1)]).await;
    events.command(leave(c)).await;
    owner.wait_for(1, &[("b", 1), ("c", 0)]).await;
    events.command(join(c, "c")).await;
    events.command(join(d, "d")).await;
    owner.wait_for(3, &[("b", 1), ("c", 1), ("d", 1)]).await;
    events.command(Command::Ungroup { group: of }).await;
    owner.wait_for(0, &[("b", 0), ("c", 0), ("d", 0)]).await;
    // The limit of groups counts those that a client waits for.
    for name in ["one", "two"] {
        events.command(Command::JoinGroup { client: a, group: group(name) }).await;
    }
    events.command(join(a, "a")).await;
    events.acknowledged().await;
    suite.gateways[0].wait_for_metric("pushsuite_gateway_joins_refused_total", 1.0).await;
    assert!(owner.rest().await.is_empty());
    drop(clients);
}

async fn thousand_joins_that_wait_are_completed_in_order(threads: usize) {
    const COUNT: usize = 1000;
    let (suite, mut events, mut clients) = scene(threads, 1).await;
    let mut owner = Watcher::new(&suite, "owner:1").await;
    let (_, id) = clients[0];
    events.command(join(id, "a")).await;
    owner.wait_for(1, &[("a", 1)]).await;
    // A thousand members elsewhere.
    let names: Vec<_> = (0..COUNT).map(|name| format!("m{name:04}")).collect();
    let mut all: Vec<_> = names.iter().map(String::as_str).collect();
    all.insert(0, "a");
    let [shard] = owner.wanting()[..] else { panic!("one shard") };
    for (at, part) in all.chunks(300).enumerate() {
        let members = part.iter().map(|name| member(name)).collect();
        let (first, last) = (at == 0, 300 * (at + 1) >= all.len());
        let view = Command::PresenceView { shard, group: room(), first, last, members };
        owner.peer.command(view).await;
    }
    owner.command(added("n")).await;
    owner.command(removed("m0500")).await;
    let client = &mut clients[0];
    assert_eq!(client.0.receive_text().await, shown(&all));
    assert_eq!(before_mark(&mut events, client).await, ["+n", "-m0500"]);
}

/// Nothing is kept for an owner that does not read: its groups are reported as they are once it
/// does, or another owns them.
#[tokio::test]
async fn owner_that_reads_nothing_is_replaced_and_costs_little() {
    let suite = suite(1).gateway_flag("--peer-timeout", "6").start().await;
    let mut events = suite.worker_link(0, "events:1").await;
    let clients = clients(&suite, &mut events, 8).await;
    let mut deaf = suite.worker_link(0, "deaf:1").await;
    deaf.send(&ToGateway::Watch { prefixes: vec![group("presence-")] }).await;
    // Its link takes no more than the buffers of the kernel hold.
    let detail = "x".repeat(8 * 1024);
    for round in 0..400 {
        for (at, (_, id)) in clients.iter().enumerate() {
            let name = MemberId::new(format!("{round}-{at}")).unwrap();
            let member = Box::new(Member::new(name, "", detail.clone()).unwrap());
            let (client, group) = (*id, group(&format!("presence-{at}")));
            events.command(Command::LeaveGroup { client, group: group.clone() }).await;
            let snapshot = snapshot();
            events.command(Command::JoinPresence { client, group, member, snapshot }).await;
        }
        events.acknowledged().await;
    }
    let gateway = &suite.gateways[0];
    // Written or not: reports stop at a bound.
    let reported = gateway.metric("pushsuite_gateway_presence_reports_total").await.unwrap();
    assert!(reported < 3200.0, "{reported}");
    // It is closed in the end, and another owner learns everything.
    eventually("the link of the worker to end", async || {
        (gateway.metric("pushsuite_gateway_workers").await == Some(1.0)).then_some(())
    })
    .await;
    let mut owner = Watcher::new(&suite, "owner:1").await;
    let mut seen = BTreeMap::new();
    while seen.len() < 8 {
        let report = owner.report().await;
        assert!(report.full);
        let present = report.members.iter().find(|local| local.clients == 1).unwrap();
        assert!(present.member.id().to_string().starts_with("399-"));
        seen.insert(report.group.clone(), report);
    }
    drop(deaf);
}
