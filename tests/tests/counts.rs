//! Counts and online states over all gateways.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use protocol::ConnectionId;
use push_suite_cluster::{ClientId, ClusterGuard, Error};
use suite_tests::{
    Browser, Suite,
    names::{group, uid},
    on_one_and_three_threads,
};

on_one_and_three_threads!(
    uid_on_two_gateways_counts_once,
    single_gateway_counts_its_uids_itself,
    clients_of_every_group_are_counted,
    online_states_are_in_the_order_asked,
    counting_calls_with_invalid_arguments_are_typed_errors,
);

/// Gateways, that many clients in turn, and a back end.
async fn scene(
    threads: usize,
    gateways: usize,
    clients: usize,
) -> (Suite, Vec<Browser>, Vec<ClientId>, ClusterGuard) {
    let suite = Suite::builder().gateways(gateways).threads(threads).start().await;
    let mut workers = Vec::new();
    for gateway in 0..gateways {
        workers.push(suite.worker_link(gateway, "w:1").await);
    }
    let (mut browsers, mut ids) = (Vec::new(), Vec::new());
    for at in 0..clients {
        let gateway = at % gateways;
        browsers.push(suite.browser(gateway).await);
        let connection = workers[gateway].accept_client().await;
        ids.push(ClientId::new(suite.gateways[gateway].inner, connection));
    }
    let cluster = suite.cluster().await;
    (suite, browsers, ids, cluster)
}

async fn uid_on_two_gateways_counts_once(threads: usize) {
    let (mut suite, _browsers, ids, cluster) = scene(threads, 2, 6).await;
    assert_eq!(cluster.uid_count().await.unwrap(), 0);
    for (client, uid) in ids.iter().zip(["ann", "ann", "ann", "bob"]) {
        cluster.bind_uid(*client, uid).await.unwrap();
    }
    for (client, group) in [(0, "r"), (1, "r"), (3, "r"), (4, "r"), (2, "s"), (5, "t")] {
        cluster.join_group(ids[client], group).await.unwrap();
    }
    assert_eq!(cluster.uid_count().await.unwrap(), 2);
    assert_eq!(cluster.group_uid_count("r").await.unwrap(), 2, "ann, bob, and one without a uid");
    assert_eq!(cluster.group_uid_count("s").await.unwrap(), 1);
    assert_eq!(cluster.group_uid_count("t").await.unwrap(), 0);
    assert_eq!(cluster.group_uid_count("none").await.unwrap(), 0);
    let mut all = cluster.all_uids().await.unwrap();
    all.sort();
    assert_eq!(all, [uid("ann"), uid("bob")]);
    let mut in_group = cluster.uids_in_group("r").await.unwrap();
    in_group.sort();
    assert_eq!(in_group, all);
    let mut by_group = cluster.uid_counts_by_group().await.unwrap();
    by_group.sort();
    assert_eq!(by_group, [(group("r"), 2), (group("s"), 1)]);
    let mut lists = cluster.uids_by_group().await.unwrap();
    lists.iter_mut().for_each(|(_, uids)| uids.sort());
    lists.sort();
    assert_eq!(lists, [(group("r"), all), (group("s"), vec![uid("ann")])]);
    assert_eq!(cluster.uid_client_count("ann").await.unwrap(), 3);
    assert_eq!(
        cluster.uid_client_counts(["bob", "none", "ann", "bob"]).await.unwrap(),
        [1, 0, 3, 1]
    );

    // A count is complete or an error.
    suite.gateways[1].pause().await;
    let late = suite.gateways[1].inner.to_string();
    let calls = tokio::join!(
        cluster.uid_count(),
        cluster.group_uid_count("r"),
        cluster.uid_client_count("ann"),
        cluster.are_online(&ids),
    );
    let errors = [calls.0.map(drop), calls.1.map(drop), calls.2.map(drop), calls.3.map(drop)];
    for error in errors {
        let is_named = matches!(&error, Err(Error::Timeout { gateway }) if *gateway == late);
        assert!(is_named, "{error:?}");
    }
    suite.gateways[1].resume();
}

async fn single_gateway_counts_its_uids_itself(threads: usize) {
    let (_suite, _browsers, ids, cluster) = scene(threads, 1, 4).await;
    for (client, uid) in ids.iter().zip(["ann", "bob", "ann"]) {
        cluster.bind_uid(*client, uid).await.unwrap();
    }
    for client in [0, 2, 3] {
        cluster.join_group(ids[client], "r").await.unwrap();
    }
    assert_eq!(cluster.uid_count().await.unwrap(), 2);
    assert_eq!(cluster.group_uid_count("r").await.unwrap(), 1);
    cluster.unbind_uid(ids[1]).await.unwrap();
    assert_eq!(cluster.uid_count().await.unwrap(), 1);
    assert_eq!(cluster.all_uids().await.unwrap(), [uid("ann")]);
}

async fn clients_of_every_group_are_counted(threads: usize) {
    let (_suite, _browsers, ids, cluster) = scene(threads, 2, 6).await;
    assert_eq!(cluster.counts_by_group().await.unwrap(), []);
    for client in &ids {
        cluster.join_group(*client, "all").await.unwrap();
    }
    cluster.join_group(ids[1], "few").await.unwrap();
    cluster.join_group(ids[3], "few").await.unwrap();
    let mut counts = cluster.counts_by_group().await.unwrap();
    counts.sort();
    assert_eq!(counts, [(group("all"), 6), (group("few"), 2)]);
}

async fn online_states_are_in_the_order_asked(threads: usize) {
    let (_suite, _browsers, ids, cluster) = scene(threads, 2, 4).await;
    let nobody = ClientId::new(ids[0].gateway, ConnectionId(0));
    let nowhere = ClientId::new("127.0.0.1:1".parse().unwrap(), ids[0].connection);
    let asked = [ids[3], nobody, ids[0], nowhere, ids[1], ids[3]];
    let online = cluster.are_online(&asked).await.unwrap();
    assert_eq!(online, [true, false, true, false, true, true]);
    assert!(cluster.are_online(&[]).await.unwrap().is_empty());
    let online = cluster.are_online(&vec![ids[1]; 10_001]).await.unwrap();
    assert!(online.len() == 10_001 && online.iter().all(|online| *online));
    cluster.bind_uid(ids[1], "ann").await.unwrap();
    cluster.bind_uid(ids[2], 10_500).await.unwrap();
    let online = cluster.are_uids_online(["bob", "ann", "bob", "ann"]).await.unwrap();
    assert_eq!(online, [false, true, false, true]);
    assert!(cluster.is_uid_online("ann").await.unwrap());
    assert!(!cluster.is_uid_online("bob").await.unwrap());
    let many = cluster.are_uids_online(0..10_501).await.unwrap();
    assert_eq!(many.iter().position(|online| *online), Some(10_500));
    assert_eq!(many.len(), 10_501);
    assert!(cluster.are_uids_online(Vec::<String>::new()).await.unwrap().is_empty());
}

async fn counting_calls_with_invalid_arguments_are_typed_errors(threads: usize) {
    let (_suite, _browsers, _ids, cluster) = scene(threads, 1, 1).await;
    let huge = "x".repeat(10_000_000);
    for name in ["", &huge] {
        for error in [
            cluster.group_uid_count(name).await.map(drop),
            cluster.uid_client_count(name).await.map(drop),
            cluster.uid_client_counts(["ann", name]).await.map(drop),
            cluster.are_uids_online(["ann", name]).await.map(drop),
            cluster.uids_in_group(name).await.map(drop),
        ] {
            assert!(matches!(error, Err(Error::Name(_))), "{error:?}");
        }
    }
    cluster.close().await;
    for error in [
        cluster.uid_count().await.map(drop),
        cluster.counts_by_group().await.map(drop),
        cluster.uid_counts_by_group().await.map(drop),
        cluster.are_uids_online(["ann"]).await.map(drop),
    ] {
        assert!(matches!(error, Err(Error::Closed)), "{error:?}");
    }
}
