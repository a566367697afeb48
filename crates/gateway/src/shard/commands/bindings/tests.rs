//! Bindings with a limit of connections for each uid.

use std::task::{Context, Waker};

use protocol::Command;

use super::*;
use crate::shard::test_shard::TestShard;

fn uid(name: &str) -> Uid {
    Uid::new(name).unwrap()
}

async fn clients(count: usize, flags: &[&str]) -> (TestShard, Vec<ConnectionId>) {
    let test = TestShard::with_flags(count, "text://", flags).await;
    let ids = test.keys.iter().map(|key| test.shard.connections[*key].id.unwrap());
    let ids = ids.collect();
    (test, ids)
}

/// The bindings that the shard has reported since the last call.
fn bound(test: &mut TestShard) -> Vec<Uid> {
    while test.run_once() {}
    let cx = &mut Context::from_waker(Waker::noop());
    let (mut messages, mut all) = (Vec::new(), Vec::new());
    while test.shard.gateway.hub.poll_take(cx, &mut messages).is_ready() {
        for message in messages.drain(..) {
            if let ToHub::Bound { uid } = message {
                all.push(uid);
            }
        }
    }
    all
}

#[tokio::test]
async fn binding_is_reported_once_and_keeps_its_place() {
    let (mut test, ids) = clients(2, &["--max-connections-per-uid=1"]).await;
    let bind = |at: usize, name| Command::BindUid { client: ids[at], uid: uid(name) };
    test.command([bind(0, "ann"), bind(1, "ann"), bind(0, "ann")]);
    let unknown = Command::BindUid { client: ConnectionId(u32::MAX), uid: uid("eve") };
    test.command([unknown]);
    assert_eq!(bound(&mut test), [uid("ann"), uid("ann")]);
    let order = |test: &TestShard| {
        let bound = test.shard.directory.bound_after(&uid("ann"), Ordinal(0));
        bound.map(|(_, id, _)| id).collect::<Vec<_>>()
    };
    assert_eq!(order(&test), [ids[0], ids[1]]);
    test.command([bind(0, "bob"), bind(0, "ann")]);
    assert_eq!(bound(&mut test), [uid("bob"), uid("ann")]);
    assert_eq!(order(&test), [ids[1], ids[0]], "another uid in between is a new binding");
}

#[tokio::test]
async fn binding_is_not_reported_without_a_limit() {
    let (mut test, ids) = clients(2, &[]).await;
    test.command(ids.iter().map(|id| Command::BindUid { client: *id, uid: uid("ann") }));
    assert_eq!(bound(&mut test), []);
}

#[tokio::test]
async fn binding_is_closed_only_if_it_is_the_named_one() {
    let (mut test, ids) = clients(2, &["--max-connections-per-uid=1"]).await;
    let bind = |name| Command::BindUid { client: ids[0], uid: uid(name) };
    test.command([bind("ann")]);
    while test.run_once() {}
    let since = |test: &TestShard| test.shard.directory.get(ids[0]).unwrap().bound_since().unwrap();
    let before = since(&test).0;
    test.command([bind("bob"), bind("ann")]);
    let close = |since| Command::CloseBinding { client: ids[0], since, keep: Keep::Newest };
    let other = Command::CloseBinding { client: ids[1], since: before, keep: Keep::Newest };
    test.command([close(before), close(0), other]);
    while test.run_once() {}
    assert_eq!(test.shard.directory.len(), 2);
    let since = since(&test).0;
    test.command([close(since), close(since)]);
    while test.run_once() {}
    assert!(test.shard.directory.get(ids[0]).is_none());
    assert!(test.shard.directory.get(ids[1]).is_some());
}

#[tokio::test]
async fn every_uid_is_found_in_slices() {
    let (mut test, ids) = clients(10, &["--max-connections-per-uid=1"]).await;
    let names: Vec<_> = (0..7).map(|name| uid(&name.to_string())).collect();
    let binds = ids.iter().zip(&names);
    let binds = binds.map(|(client, uid)| Command::BindUid { client: *client, uid: uid.clone() });
    test.command(binds.collect::<Vec<_>>());
    while test.run_once() {}
    for most in [1, 3, 5, 10, 11] {
        let (mut found, mut after) = (Vec::new(), Some(Ordinal(0)));
        while let Some(from) = after {
            let (uids, next) = test.shard.uids_after(from, most);
            assert!(uids.len() <= most);
            found.extend(uids);
            after = next;
        }
        assert_eq!(found, names, "{most} at a time");
    }
}
