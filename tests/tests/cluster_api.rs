//! Cluster-wide calls: they reach the right gateways, and answers are merged.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use protocol::{ClientId, Fields, Message};
use push_suite_cluster::{
    Close, Cluster, Config, Error, Exclude, Filter, InvalidClose, Recipients, Row,
};
use serde_json::{Map, Value, json};
use suite_tests::{
    Received, Scene, Suite,
    names::{group, uid},
    on_one_and_three_threads,
};

on_one_and_three_threads!(
    messages_reach_their_recipients_on_both_gateways_only,
    uids_and_groups_span_gateways,
    close_and_destroy_reach_the_gateway_of_the_client,
    uid_is_closed_and_grouped_on_every_gateway,
    excluded_uids_are_excluded_on_every_gateway,
    invalid_arguments_are_typed_errors_and_send_nothing,
    sessions_are_stored_on_the_gateway_of_the_client,
    counts_are_summed_and_lists_are_merged,
    rows_are_ordered_by_gateway_and_connection,
    unknown_clients_are_reported_as_absent,
    commands_and_queries_of_one_task_stay_in_order,
    call_right_after_a_gateway_joined_reaches_it,
    unreachable_gateway_is_named_in_the_error,
    wrong_secret_is_told_apart_from_a_missing_register,
);

async fn messages_reach_their_recipients_on_both_gateways_only(threads: usize) {
    let mut scene = Scene::start(threads).await;
    let ([a, b, c, d], cluster) = (scene.ids, scene.cluster.clone());
    cluster.send_to_client(a, "to a").await.unwrap();
    cluster.send_to_client(d, Message::text("to d")).await.unwrap();
    cluster.send_to_all(Recipients::All, "to all").await.unwrap();
    cluster.send_to_all(Recipients::Only(vec![a, b]), "to a and b").await.unwrap();
    cluster.send_to_all(Recipients::Only(vec![]), "to none").await.unwrap();
    cluster.send_to_all(Recipients::Except(vec![c]), "not to c").await.unwrap();
    assert_eq!(
        scene.received().await,
        [
            vec!["to a", "to all", "to a and b", "not to c"],
            vec!["to all", "to a and b", "not to c"],
            vec!["to all"],
            vec!["to d", "to all", "not to c"],
        ]
    );
}

async fn uids_and_groups_span_gateways(threads: usize) {
    let mut scene = Scene::start(threads).await;
    let ([a, b, c, d], cluster) = (scene.ids, scene.cluster.clone());
    for (client, uid) in [(a, "ann"), (b, "ann"), (c, "bob")] {
        cluster.bind_uid(client, uid).await.unwrap();
    }
    for (client, group) in [(c, "r"), (d, "r"), (d, "s")] {
        cluster.join_group(client, group).await.unwrap();
    }
    cluster.send_to_uid("ann", "to ann").await.unwrap();
    cluster.send_to_uids(["bob", "ann", "bob"], "to both").await.unwrap();
    cluster.send_to_group("r", "to r").await.unwrap();
    cluster.send_to_groups(["r", "s"], &[c, a], "to d").await.unwrap();
    assert_eq!(
        scene.received().await,
        [
            vec!["to ann", "to both"],
            vec!["to ann", "to both"],
            vec!["to both", "to both", "to r"],
            vec!["to r", "to d", "to d"],
        ]
    );
    cluster.unbind_uid(b).await.unwrap();
    cluster.leave_group(d, "r").await.unwrap();
    cluster.ungroup("s").await.unwrap();
    cluster.send_to_uid("ann", "to a").await.unwrap();
    cluster.send_to_groups(["r", "s"], &[], "to c").await.unwrap();
    assert_eq!(scene.received().await, [vec!["to a"], vec![], vec!["to c"], vec![]]);
}

async fn close_and_destroy_reach_the_gateway_of_the_client(threads: usize) {
    let mut scene = Scene::start(threads).await;
    let ([a, b, c, _], cluster) = (scene.ids, scene.cluster.clone());
    cluster.close_client(a, "bye").await.unwrap();
    cluster.close_client(b, None).await.unwrap();
    cluster.destroy_client(c).await.unwrap();
    let [first, second, third, fourth] = &mut scene.browsers;
    assert_eq!(first.receive_text().await, "bye");
    assert_eq!(first.receive().await, Received::Closed(Some(1000)));
    assert_eq!(second.receive().await, Received::Closed(Some(1000)));
    assert_eq!(third.receive().await, Received::Closed(None));
    cluster.send_to_all(Recipients::All, "who is left?").await.unwrap();
    assert_eq!(fourth.receive_text().await, "who is left?");
    assert_eq!(cluster.count().await.unwrap(), 1);
}

async fn uid_is_closed_and_grouped_on_every_gateway(threads: usize) {
    let mut scene = Scene::start(threads).await;
    let ([a, b, c, d], cluster) = (scene.ids, scene.cluster.clone());
    for (client, uid) in [(a, "ann"), (b, "ann"), (c, "ann"), (d, "bob")] {
        cluster.bind_uid(client, uid).await.unwrap();
    }
    cluster.join_group(b, "r").await.unwrap();
    cluster.join_group_by_uid("ann", "r").await.unwrap();
    cluster.join_group_by_uid("ann", "s").await.unwrap();
    cluster.join_group_by_uid("unknown", "r").await.unwrap();
    cluster.leave_group_by_uid("ann", "s").await.unwrap();
    let mut members = cluster.clients_in_group("r").await.unwrap();
    members.sort();
    let mut expected = [a, b, c];
    expected.sort();
    assert_eq!(members, expected, "each once");
    assert_eq!(cluster.group_count("s").await.unwrap(), 0);

    cluster.close_uid("unknown", None).await.unwrap();
    cluster.close_uid_except("ann", &[a], (4409, "signed in elsewhere")).await.unwrap();
    let close = Close::new(4403, "banned").unwrap().with_last_message("bye");
    cluster.close_uid("bob", close).await.unwrap();
    let [first, second, third, fourth] = &mut scene.browsers;
    for browser in [second, third] {
        assert_eq!(browser.receive_close().await, Some((4409, "signed in elsewhere".to_owned())));
    }
    assert_eq!(fourth.receive_text().await, "bye");
    assert_eq!(fourth.receive_close().await, Some((4403, "banned".to_owned())));
    assert_eq!(cluster.clients_of_uid("ann").await.unwrap(), [a]);
    cluster.close_client(a, (1000, "done")).await.unwrap();
    assert_eq!(first.receive_close().await, Some((1000, "done".to_owned())));
    assert_eq!(cluster.count().await.unwrap(), 0);
}

async fn excluded_uids_are_excluded_on_every_gateway(threads: usize) {
    let mut scene = Scene::start(threads).await;
    let ([a, b, c, d], cluster) = (scene.ids, scene.cluster.clone());
    for (client, uid) in [(a, "ann"), (b, "ann"), (c, "bob")] {
        cluster.bind_uid(client, uid).await.unwrap();
    }
    for client in scene.ids {
        cluster.join_group(client, "r").await.unwrap();
    }
    cluster.send_to_all(Recipients::ExceptUids(vec![uid("ann")]), "not ann").await.unwrap();
    let exclude = Exclude::uids(["ann", "none"]).unwrap().and_clients(&[d]);
    cluster.send_to_groups(["r"], exclude, "bob").await.unwrap();
    cluster.send_to_uids_except(["ann", "bob"], &[a], "not a").await.unwrap();
    cluster.send_to_uids_except(["ann"], &[], "ann").await.unwrap();
    assert_eq!(
        scene.received().await,
        [vec!["ann"], vec!["not a", "ann"], vec!["not ann", "bob", "not a"], vec!["not ann"]]
    );
}

async fn invalid_arguments_are_typed_errors_and_send_nothing(threads: usize) {
    let mut scene = Scene::start(threads).await;
    let ([a, ..], cluster) = (scene.ids, scene.cluster.clone());
    cluster.bind_uid(a, "ann").await.unwrap();
    let huge = "x".repeat(10_000_000);
    for code in [0, 999, 1001, 1005, 1006, 1015, 2999, 5000, u16::MAX] {
        let refused = [
            cluster.close_client(a, (code, "no")).await,
            cluster.close_uid("ann", (code, "no")).await,
            cluster.close_uid_except("ann", &[], (code, "no")).await,
        ];
        for refused in refused {
            let is_code =
                matches!(refused, Err(Error::Close(InvalidClose::Code(it))) if it == code);
            assert!(is_code, "{refused:?}");
        }
    }
    for reason in ["x".repeat(124), "字".repeat(42), huge.clone()] {
        let refused = cluster.close_client(a, (4000, &reason)).await;
        let length = reason.len();
        let is_reason =
            matches!(refused, Err(Error::Close(InvalidClose::Reason(it))) if it == length);
        assert!(is_reason, "{refused:?}");
        assert!(matches!(cluster.close_uid("ann", (4000, &reason)).await, Err(Error::Close(_))));
    }
    for name in ["", &huge] {
        let refused = [
            cluster.close_uid(name, "bye").await,
            cluster.close_uid_except(name, &[a], None).await,
            cluster.join_group_by_uid(name, "r").await,
            cluster.join_group_by_uid("ann", name).await,
            cluster.leave_group_by_uid(name, "r").await,
            cluster.leave_group_by_uid("ann", name).await,
            cluster.send_to_uids_except([name], &[], "no").await,
            Exclude::uids([name]).map(drop),
        ];
        for refused in refused {
            assert!(matches!(refused, Err(Error::Name(_))), "{refused:?}");
        }
    }
    let (ids, uids) = (vec![a; 10_001], vec![uid("none"); 10_001]);
    let many = Exclude::uids(uids.clone()).unwrap();
    let refused = [
        cluster.close_uid_except("ann", &ids, "bye").await,
        cluster.send_to_all(Recipients::ExceptUids(uids), "no").await,
        cluster.send_to_groups(["r"], many.clone(), "no").await,
        cluster.send_to_uids_except(["ann"], many, "no").await,
        cluster.send_to_uids_except(["ann"], &ids, "no").await,
    ];
    for refused in refused {
        assert!(matches!(refused, Err(Error::TooMany { count: 10_001, .. })), "{refused:?}");
    }
    let message = Message::binary(vec![0; 33 << 20]);
    let close = Close::new(4000, "").unwrap().with_last_message(message.clone());
    let refused = [
        cluster.close_client(a, close.clone()).await,
        cluster.close_uid("ann", close).await,
        cluster.send_to_uids_except(["ann"], &[], message).await,
    ];
    for refused in refused {
        assert!(matches!(refused, Err(Error::TooLarge { .. })), "{refused:?}");
    }
    assert_eq!(scene.received().await, [const { Vec::<String>::new() }; 4]);
    assert_eq!(cluster.group_count("r").await.unwrap(), 0);
}

async fn sessions_are_stored_on_the_gateway_of_the_client(threads: usize) {
    let scene = Scene::start(threads).await;
    let ([a, b, ..], cluster) = (scene.ids, scene.cluster.clone());
    cluster.set_session(a, &object(json!({"n": {"x": 1}}))).await.unwrap();
    cluster.update_session(a, &object(json!({"n": {"y": 2}}))).await.unwrap();
    cluster.update_session(b, &object(json!({"b": true}))).await.unwrap();
    let session = cluster.session(a).await.unwrap().unwrap();
    assert_eq!(session.decode().unwrap(), object(json!({"n": {"x": 1, "y": 2}})));

    cluster.join_group(b, "r").await.unwrap();
    let of_group = cluster.group_sessions("r").await.unwrap();
    assert_eq!(of_group.len(), 1);
    assert_eq!(of_group[0].0, b);
    assert_eq!(of_group[0].1.decode().unwrap(), object(json!({"b": true})));
    let all = cluster.all_sessions().await.unwrap();
    let clients: Vec<ClientId> = all.iter().map(|(client, _)| *client).collect();
    assert_eq!(clients, scene.by_gateway(&[0, 1, 2, 3]).await);
}

async fn counts_are_summed_and_lists_are_merged(threads: usize) {
    let scene = Scene::start(threads).await;
    let ([a, b, c, d], cluster) = (scene.ids, scene.cluster.clone());
    for client in [d, b, a] {
        cluster.join_group(client, "r").await.unwrap();
    }
    cluster.join_group(c, "s").await.unwrap();
    for client in [c, a, b] {
        cluster.bind_uid(client, "ann").await.unwrap();
    }
    assert_eq!(cluster.count().await.unwrap(), 4);
    assert_eq!(cluster.group_count("r").await.unwrap(), 3);
    assert_eq!(cluster.group_count("none").await.unwrap(), 0);
    let counts = cluster.group_counts(["s", "none", "r"]).await.unwrap();
    assert_eq!(counts, [(group("s"), 1), (group("none"), 0), (group("r"), 3)]);
    let mut groups = cluster.groups().await.unwrap();
    groups.sort();
    assert_eq!(groups, [group("r"), group("s")], "each once");

    // Ordered by join or bind, per gateway.
    let members: Vec<ClientId> =
        cluster.group_sessions("r").await.unwrap().into_iter().map(|(id, _)| id).collect();
    assert_eq!(members, scene.by_gateway(&[3, 1, 0]).await);
    let ann = scene.by_gateway(&[2, 0, 1]).await;
    assert_eq!(cluster.clients_of_uid("ann").await.unwrap(), ann);
    let both = cluster.clients_of_uids(["unknown", "ann"]).await.unwrap();
    assert_eq!(both, [(uid("unknown"), vec![]), (uid("ann"), ann)]);
    assert!(cluster.is_uid_online("ann").await.unwrap());
    assert!(!cluster.is_uid_online("unknown").await.unwrap());
    assert_eq!(cluster.all_uids().await.unwrap(), [uid("ann")]);
    assert_eq!(cluster.uids_in_group("s").await.unwrap(), [uid("ann")]);
    assert_eq!(cluster.uid_of_client(c).await.unwrap(), Some(uid("ann")));
    assert_eq!(cluster.uid_of_client(d).await.unwrap(), None);
}

async fn rows_are_ordered_by_gateway_and_connection(threads: usize) {
    let scene = Scene::start(threads).await;
    let ([a, b, ..], cluster) = (scene.ids, scene.cluster.clone());
    cluster.join_group(b, "r").await.unwrap();
    cluster.join_group(b, "s").await.unwrap();
    cluster.bind_uid(a, "ann").await.unwrap();
    let fields = Fields { uid: true, groups: true, session: false };
    let expected: Vec<_> = scene
        .by_gateway(&[0, 1, 2, 3])
        .await
        .into_iter()
        .map(|client| {
            let groups = if client == b { vec![group("r"), group("s")] } else { vec![] };
            (client, (client == a).then(|| uid("ann")), groups, None)
        })
        .collect();
    let parts = |row: Row| (row.client, row.uid, row.groups, row.session);
    let rows = cluster.select(fields, Filter::All).await.unwrap();
    assert_eq!(rows.into_iter().map(parts).collect::<Vec<_>>(), expected);
    let any = Filter::Any { groups: vec![group("s")], uids: vec![uid("ann")], clients: vec![a] };
    let chosen: Vec<_> =
        expected.into_iter().filter(|(client, ..)| *client == a || *client == b).collect();
    let rows = cluster.select(fields, any).await.unwrap();
    assert_eq!(rows.into_iter().map(parts).collect::<Vec<_>>(), chosen);
    assert_eq!(cluster.clients_in_group("r").await.unwrap(), [b]);
    assert_eq!(cluster.groups_of_client(b).await.unwrap(), [group("r"), group("s")]);
    assert_eq!(cluster.groups_of_client(a).await.unwrap(), []);
    let mut by_group = cluster.clients_by_group().await.unwrap();
    by_group.sort();
    assert_eq!(by_group, [(group("r"), vec![b]), (group("s"), vec![b])]);
}

async fn unknown_clients_are_reported_as_absent(threads: usize) {
    let scene = Scene::start(threads).await;
    let cluster = &scene.cluster;
    let absent = ClientId::new(scene.ids[0].gateway, protocol::ConnectionId(0));
    let nowhere = ClientId::new("127.0.0.1:1".parse().unwrap(), scene.ids[0].connection);
    for client in [absent, nowhere] {
        assert!(!cluster.is_online(client).await.unwrap());
        assert_eq!(cluster.session(client).await.unwrap(), None);
        assert_eq!(cluster.uid_of_client(client).await.unwrap(), None);
    }
    for client in scene.ids {
        assert!(cluster.is_online(client).await.unwrap());
    }
    cluster.send_to_client(absent, "hello?").await.unwrap();
    let refused = cluster.send_to_client(nowhere, "hello?").await;
    assert!(matches!(refused, Err(Error::Unreachable { .. })), "{refused:?}");
    assert!(matches!(cluster.send_to_uid("", "hello?").await, Err(Error::Name(_))));
}

async fn commands_and_queries_of_one_task_stay_in_order(threads: usize) {
    let scene = Scene::start(threads).await;
    for at in 0..100_u64 {
        let client = scene.ids[at as usize % 4];
        scene.cluster.join_group(client, "r").await.unwrap();
        assert_eq!(scene.cluster.group_count("r").await.unwrap(), 1);
        scene.cluster.ungroup("r").await.unwrap();
        assert_eq!(scene.cluster.clients_in_group("r").await.unwrap(), []);
    }
}

async fn call_right_after_a_gateway_joined_reaches_it(threads: usize) {
    let mut scene = Scene::start(threads).await;
    scene.suite.add_gateway().await;
    let mut late = scene.suite.browser(2).await;
    // The gateway is ready, so the register has announced it; the back end may not have received
    // the announcement yet.
    suite_tests::eventually("the new gateway to be linked", async || {
        (scene.cluster.status().linked == 3).then_some(())
    })
    .await;
    scene.cluster.send_to_all(Recipients::All, "hello").await.unwrap();
    assert_eq!(late.receive_text().await, "hello");
}

async fn unreachable_gateway_is_named_in_the_error(threads: usize) {
    let mut scene = Scene::start(threads).await;
    scene.suite.gateways[1].pause().await;
    // An unresponsive gateway makes a query fail rather than return a wrong answer, and does not
    // block messages to others.
    scene.cluster.send_to_all(Recipients::All, "hello").await.unwrap();
    assert_eq!(scene.browsers[0].receive_text().await, "hello");
    let stuck = scene.suite.gateways[1].inner.to_string();
    let error = scene.cluster.count().await.unwrap_err();
    assert!(error.to_string().contains(&stuck), "{error}");
    scene.suite.gateways[1].resume();
    assert_eq!(scene.browsers[1].receive_text().await, "hello");
}

async fn wrong_secret_is_told_apart_from_a_missing_register(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let register = suite.register_addrs[0].to_string();
    let wrong = Cluster::start(Config::new([&register], "wrong").tls(suite.tls()));
    let error = wrong.count().await.unwrap_err();
    assert!(matches!(error, Error::WrongSecret { .. }), "{error:?}");
    assert!(error.to_string().contains(&register), "{error}");
    let nowhere = Cluster::start(Config::new(["127.0.0.1:1"], suite.secret()).tls(suite.tls()));
    let error = nowhere.count().await.unwrap_err();
    assert!(matches!(error, Error::NoRegister { .. }), "{error:?}");
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        other => panic!("expected an object, not {other}"),
    }
}
