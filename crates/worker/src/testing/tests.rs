//! The test cluster behaves as a gateway does towards handlers.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::{Close, Error, Exclude, Fields, Filter, Recipients, Report, SessionSwap};

#[tokio::test]
async fn commands_take_effect_before_the_next_query() {
    let cluster = TestCluster::start();
    let (ann, bob) = (cluster.client(), cluster.client());
    ann.bind_uid(42).await.unwrap();
    for client in [&ann, &bob] {
        client.join_group("room").await.unwrap();
    }
    assert_eq!(ann.cluster().group_count("room").await.unwrap(), 2);
    assert_eq!(ann.uid().await.unwrap(), Some(Uid::from(42)));
    assert_eq!(ann.groups().await.unwrap(), [Group::try_from("room").unwrap()]);
    assert_eq!(ann.cluster().clients_of_uid(42).await.unwrap(), [ann.id()]);
    ann.cluster().send_to_groups(["room"], &[ann.id()], json!({"from": ann.id()})).await.unwrap();
    cluster.cluster().send_to_all(Recipients::All, "to all").await.unwrap();
    assert_eq!(cluster.received(ann.id()), ["to all".into()]);
    let from_ann = json!({"from": ann.id()}).into();
    assert_eq!(cluster.received(bob.id()), [from_ann, "to all".into()]);
    assert_eq!(cluster.received(bob.id()), []);
    let fields = Fields { uid: true, groups: true, session: false };
    let rows = cluster.cluster().select(fields, Filter::All).await.unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!((&rows[0].uid, rows[0].groups.len()), (&Some(Uid::from(42)), 1));
}

#[tokio::test]
async fn unavailable_cluster_executes_commands_and_answers_no_query() {
    let cluster = TestCluster::start();
    let ann = cluster.client();
    cluster.set_unavailable(true);
    ann.join_group("room").await.unwrap();
    let error = cluster.cluster().group_count("room").await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }) && error.is_retryable(), "{error}");
    cluster.set_unavailable(false);
    assert_eq!(cluster.cluster().group_count("room").await.unwrap(), 1);
}

#[tokio::test]
async fn worker_of_a_test_is_ready_and_the_first() {
    let cluster = TestCluster::start();
    let process = cluster.process("Test", "3");
    assert_eq!((process.name(), process.index()), ("Test", Some(3)));
    let status = process.cluster().status();
    assert_eq!((status.registers, status.linked, status.settled), (1, 1, true));
    assert!(process.cluster().is_first_worker());
}

#[tokio::test]
async fn closed_client_has_its_last_message_and_is_offline() {
    let cluster = TestCluster::start();
    let (ann, bob) = (cluster.client(), cluster.client());
    ann.join_group("room").await.unwrap();
    ann.close("bye").await.unwrap();
    bob.cluster().close_client(bob.id(), None).await.unwrap();
    assert_eq!(cluster.received(ann.id()), ["bye".into()]);
    assert!(cluster.is_closed(ann.id()) && cluster.is_closed(bob.id()));
    assert!(!cluster.cluster().is_online(ann.id()).await.unwrap());
    assert_eq!(cluster.cluster().group_count("room").await.unwrap(), 0);
    assert_eq!(cluster.close_frame(ann.id()), Some(CloseFrame::default()));
}

#[tokio::test]
async fn calls_by_uid_apply_to_every_client_of_it() {
    let cluster = TestCluster::start();
    let clients = [cluster.client(), cluster.client(), cluster.client()];
    let [phone, desk, bob] = &clients;
    for (client, uid) in [(phone, "ann"), (desk, "ann"), (bob, "bob")] {
        client.bind_uid(uid).await.unwrap();
    }
    let calls = cluster.cluster();
    calls.join_group_by_uid("ann", "room").await.unwrap();
    calls.send_to_groups(["room"], &[desk.id()], "a").await.unwrap();
    calls.send_to_groups(["room"], Exclude::uids(["ann"]).unwrap(), "b").await.unwrap();
    calls.send_to_uids_except(["ann"], &[phone.id()], "c").await.unwrap();
    calls.send_to_all(Recipients::ExceptUids(vec!["ann".try_into().unwrap()]), "d").await.unwrap();
    calls.leave_group_by_uid("ann", "room").await.unwrap();
    assert_eq!(cluster.groups(phone.id()), []);
    calls.close_uid_except("ann", &[desk.id()], (4409, "elsewhere")).await.unwrap();
    desk.close(Close::new(4401, "").unwrap().with_last_message("bye")).await.unwrap();
    calls.destroy_client(bob.id()).await.unwrap();
    let frames = clients.each_ref().map(|client| {
        cluster.close_frame(client.id()).map(|frame| (frame.code(), frame.reason().to_owned()))
    });
    assert_eq!(frames, [Some((4409, "elsewhere".to_owned())), Some((4401, String::new())), None]);
    let received = clients.each_ref().map(|client| cluster.received(client.id()));
    assert_eq!(received, [vec!["a".into()], vec!["c".into(), "bye".into()], vec!["d".into()]]);
    assert!(matches!(desk.close((1001, "no")).await, Err(Error::Close(_))));
}

#[tokio::test]
async fn report_counts_as_a_gateway_does() {
    let cluster = TestCluster::start();
    let (ann, bob) = (cluster.client(), cluster.client());
    ann.bind_uid("ann").await.unwrap();
    for client in [&ann, &bob] {
        client.join_group("room").await.unwrap();
    }
    let counts = |report: Report| {
        assert!(report.is_complete());
        (report.matched, report.reached)
    };
    assert_eq!(counts(ann.send("hello").report().await.unwrap()), (1, 1));
    let calls = cluster.cluster();
    let twice = calls.send_to_groups(["room", "room", "none"], &[ann.id()], "x");
    assert_eq!(counts(twice.report().await.unwrap()), (2, 2));
    let all = calls.send_to_all(Recipients::All, "x");
    assert_eq!(counts(all.report().await.unwrap()), (2, 2));
    assert_eq!(counts(calls.leave_group(bob.id(), "room").report().await.unwrap()), (1, 1));
    assert_eq!(counts(calls.leave_group(bob.id(), "room").report().await.unwrap()), (1, 0));
    assert_eq!(counts(calls.join_group_by_uid("ann", "s").report().await.unwrap()), (1, 1));
    assert_eq!(counts(calls.ungroup("room").report().await.unwrap()), (1, 1));
    assert_eq!(counts(calls.close_uid("ann", (4001, "")).report().await.unwrap()), (1, 1));
    assert_eq!(counts(ann.send("too late").report().await.unwrap()), (0, 0));
    let late = calls.send_to_uid("ann", "too late");
    assert_eq!(counts(late.report_within(Duration::ZERO).await.unwrap()), (0, 0));
}

#[tokio::test]
async fn counts_and_online_states_are_those_of_a_gateway() {
    let cluster = TestCluster::start();
    let clients = [cluster.client(), cluster.client(), cluster.client()];
    let [phone, desk, bob] = &clients;
    for (client, uid) in [(phone, "ann"), (desk, "ann"), (bob, "bob")] {
        client.bind_uid(uid).await.unwrap();
        client.join_group("all").await.unwrap();
    }
    desk.join_group("few").await.unwrap();
    let calls = cluster.cluster();
    let name = |name: &str| Group::try_from(name).unwrap();
    assert_eq!(calls.uid_count().await.unwrap(), 2);
    assert_eq!(calls.group_uid_count("few").await.unwrap(), 1);
    assert_eq!(calls.counts_by_group().await.unwrap(), [(name("all"), 3), (name("few"), 1)]);
    assert_eq!(calls.uid_counts_by_group().await.unwrap(), [(name("all"), 2), (name("few"), 1)]);
    assert_eq!(calls.uid_client_counts(["bob", "none", "ann"]).await.unwrap(), [1, 0, 2]);
    assert_eq!(calls.are_uids_online(["none", "ann"]).await.unwrap(), [false, true]);
    bob.close(None).await.unwrap();
    assert_eq!(calls.are_online(&[bob.id(), desk.id()]).await.unwrap(), [false, true]);
    assert_eq!(calls.uids_in_group("all").await.unwrap(), ["ann".try_into().unwrap()]);
}

#[tokio::test]
async fn session_is_compared_and_set_and_its_keys_removed() {
    let cluster = TestCluster::start();
    let ann = cluster.client();
    let none = Session::default();
    ann.set_session(&json!({"a": 1, "b": 2})).await.unwrap();
    ann.remove_session_keys(["a", "none"]).await.unwrap();
    let kept = Session::encode(&json!({"b": 2})).unwrap();
    assert_eq!((ann.encoded_session(), cluster.session(ann.id())), (kept.clone(), kept.clone()));
    let other = ann.compare_and_set_session(&none, &json!({"c": 3})).await.unwrap();
    assert_eq!(other, SessionSwap::Other(kept.clone()));
    // Unknown to the handler.
    cluster.cluster().update_session(ann.id(), &json!({"d": 4})).await.unwrap();
    let swapped = ann.compare_and_set_session(&kept, &json!({"c": 3})).await.unwrap();
    let SessionSwap::Other(present) = swapped else { panic!("{swapped:?}") };
    assert_eq!(ann.encoded_session(), present);
    let swapped = ann.compare_and_set_session(&present, &json!({"c": 3})).await.unwrap();
    assert!(swapped.is_replaced());
    assert_eq!(ann.encoded_session(), Session::encode(&json!({"c": 3})).unwrap());
    let many = ann.remove_session_keys(vec!["x"; 10_001]).await;
    assert!(matches!(many, Err(Error::TooMany { .. })));
    ann.close(None).await.unwrap();
    let offline = ann.compare_and_set_session(&present, &json!({})).await;
    assert!(matches!(offline, Err(Error::Offline { client }) if client == ann.id()));
}

#[tokio::test]
async fn session_of_the_next_event_has_changes_by_others() {
    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Me {
        name: String,
        visits: u32,
    }
    let cluster = TestCluster::start();
    let ann = cluster.client();
    assert_eq!(ann.session::<Me>().unwrap(), None);
    ann.set_session(&Me { name: "ann".to_owned(), visits: 1 }).await.unwrap();
    cluster.cluster().update_session(ann.id(), &json!({"visits": 2})).await.unwrap();
    let next = cluster.next_event(ann.id());
    let me = next.session::<Me>().unwrap();
    assert_eq!(me, Some(Me { name: "ann".to_owned(), visits: 2 }));
    assert_eq!(next.delivery().number, 2);
    next.remove_from_session("visits").await.unwrap();
    assert!(next.session::<Me>().is_err());
    assert_eq!(cluster.session(ann.id()), Session::encode(&json!({"name": "ann"})).unwrap());
    let again = cluster.redelivered(ann.id());
    assert!(again.redelivered() && again.delivery() == next.delivery());
    assert!(matches!(ann.set_session("no object").await, Err(Error::Session(_))));
}

#[tokio::test]
async fn client_that_joins_later_is_sent_the_retained_message_once() {
    let cluster = TestCluster::start();
    let (ann, bob) = (cluster.client(), cluster.client());
    let all = cluster.cluster();
    all.join_group(ann.id(), "prices").await.unwrap();
    all.send_and_retain("prices", &[], "10", Duration::from_secs(60)).await.unwrap();
    all.join_group(bob.id(), "prices").await.unwrap();
    for client in [&ann, &bob] {
        all.send_retained(client.id(), "prices", "none").await.unwrap();
        assert_eq!(cluster.received(client.id()), ["10".into()]);
    }
    let found = all.retained("prices").await.unwrap().unwrap();
    assert_eq!(found.message, "10".into());
    // One that has left, and joins again, is not known to have it.
    all.leave_group(ann.id(), "prices").await.unwrap();
    all.join_group(ann.id(), "prices").await.unwrap();
    all.send_retained_or_found(ann.id(), "prices", found.clone()).await.unwrap();
    assert_eq!(cluster.received(ann.id()), ["10".into()]);
    all.send_and_retain("prices", &[], "over", Duration::ZERO).await.unwrap();
    assert_eq!(all.retained("prices").await.unwrap(), None);
    assert_eq!(cluster.received(ann.id()), ["over".into()]);
    all.send_retained(ann.id(), "prices", "none").await.unwrap();
    all.send_retained_or_found(ann.id(), "prices", found).await.unwrap();
    assert_eq!(cluster.received(ann.id()), ["none".into(), "10".into()]);
}
