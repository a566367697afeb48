//! Status of gateways and details of clients, as a back end gets them from a running cluster.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::HashSet;

use protocol::ClientId;
use push_suite_cluster::{
    ClientDetails, ClientFilter, ClientState, Cluster, Error, GatewayStatus, InspectedClient,
    ListenerKind, PageStart, PeerKind, WorkerReport,
};
use suite_tests::{
    Scene, Suite, eventually,
    names::{group, uid},
    on_one_and_three_threads,
};

on_one_and_three_threads!(
    gateway_reports_itself_its_clients_and_its_peers,
    client_is_described,
    clients_of_all_gateways_are_listed_page_by_page,
    clients_are_selected_on_all_gateways,
    slow_client_is_found_by_its_queue,
    worker_that_stands_still_is_found_by_its_events,
    gateway_that_does_not_answer_is_named,
);

async fn statuses(cluster: &Cluster) -> Vec<GatewayStatus> {
    let reports = cluster.gateways().await.unwrap();
    reports.into_iter().map(|report| report.status.unwrap()).collect()
}

async fn status_of(scene: &Scene, gateway: usize) -> GatewayStatus {
    let address = scene.suite.gateways[gateway].inner;
    let all = statuses(&scene.cluster).await;
    all.into_iter().find(|status| status.address == address).unwrap()
}

async fn details(cluster: &Cluster, client: ClientId) -> ClientDetails {
    cluster.inspect_client(client).await.unwrap().unwrap()
}

/// All clients that match, in pages of `limit`.
async fn all(cluster: &Cluster, filter: &ClientFilter, limit: u32) -> Vec<InspectedClient> {
    let (mut all, mut from) = (Vec::new(), None);
    loop {
        let page = cluster.inspect(filter, limit, from).await.unwrap();
        assert!(page.clients.len() <= limit as usize && page.unanswered.is_empty(), "{page:?}");
        all.extend(page.clients);
        match page.next {
            None => return all,
            // As text, as a command line passes it on.
            Some(next) => from = Some(next.to_string().parse::<PageStart>().unwrap()),
        }
    }
}

async fn gateway_reports_itself_its_clients_and_its_peers(threads: usize) {
    let (mut scene, _workers) = Scene::with_workers(threads).await;
    let cluster = &scene.cluster;
    for id in scene.ids {
        cluster.bind_uid(id, "ann").await.unwrap();
        cluster.join_group(id, "r").await.unwrap();
    }
    cluster.join_group(scene.ids[0], "s").await.unwrap();
    scene.browsers[0].send("hello").await;
    cluster.flush().await.unwrap();
    scene.received().await;
    let both = statuses(&scene.cluster).await;
    assert_eq!(both.len(), 2);
    assert!(both[0].address < both[1].address, "they are ordered");
    assert_ne!(both[0].instance, both[1].instance);
    let first = scene.suite.gateways[0].inner;
    for status in &both {
        assert_eq!(status.version, env!("CARGO_PKG_VERSION"));
        assert_eq!((status.clients, status.connections, status.uids), (2, 2, 1));
        assert_eq!(status.groups, if status.address == first { 2 } else { 1 });
        assert!(status.names_exact && !status.draining && status.not_ready.is_empty());
        assert_eq!(status.threads.len(), threads);
        assert_eq!(status.threads.iter().map(|thread| thread.clients).sum::<u64>(), 2);
        assert_eq!(status.listeners.len(), 1);
        assert_eq!(status.listeners[0].kind, ListenerKind::WebSocket);
        assert!(1_700_000_000_000 < status.now && 0 < status.uptime);
        assert!(2 <= status.traffic.accepted && 2 <= status.traffic.messages_out);
        assert!(0 < status.traffic.bytes_in && 0 < status.traffic.bytes_out);
        assert!(status.resident_bytes.is_some_and(|bytes| 1024 * 1024 < bytes));
        assert!(
            status.descriptors.zip(status.descriptor_limit).is_none_or(|(now, most)| now < most)
        );
        assert!(2 < status.max_connections);
        let workers: Vec<_> = status.workers().collect();
        assert_eq!(workers.len(), 1, "{status:?}");
        assert!(workers[0].worker.as_ref().is_some_and(|key| key.ends_with(":w:1")));
        assert_eq!((workers[0].kind, workers[0].clients), (PeerKind::Native, 2));
        // The worker of the scene has acknowledged all but the message.
        let in_flight = u64::from(status.address == first);
        assert_eq!(workers[0].in_flight, in_flight, "{status:?}");
        assert_eq!(workers[0].in_flight_bytes != 0, in_flight != 0);
        assert!(workers[0].in_flight_bytes < workers[0].window_bytes);
        assert!(status.peers.iter().any(|peer| peer.worker.is_none()), "this back end");
    }
    assert_eq!(status_of(&scene, 0).await.traffic.messages_in, 1);
    // A closed client is counted by its reason.
    let [first, ..] = scene.browsers;
    first.close().await;
    eventually("the close is counted", async || {
        let both = statuses(&scene.cluster).await;
        let closed = both.iter().flat_map(|status| &status.closed).map(|(_, count)| count);
        (closed.sum::<u64>() == 1).then_some(())
    })
    .await;
}

async fn client_is_described(threads: usize) {
    let (scene, _workers) = Scene::with_workers(threads).await;
    let (cluster, id) = (&scene.cluster, scene.ids[1]);
    let before = details(cluster, id).await;
    assert_eq!(before.client, id.connection);
    assert_eq!((before.uid, before.groups, before.session_bytes), (None, vec![], 0));
    assert_eq!(before.events, 2, "its connect and its handshake");
    cluster.bind_uid(id, "ann").await.unwrap();
    cluster.join_group(id, "r").await.unwrap();
    cluster.join_group(id, "s").await.unwrap();
    cluster.set_session(id, &serde_json::json!({"a": 1})).await.unwrap();
    cluster.flush().await.unwrap();
    let after = details(cluster, id).await;
    assert_eq!(after.uid, Some(uid("ann")));
    assert_eq!((after.groups, after.group_count), (vec![group("r"), group("s")], 2));
    assert_eq!(after.session_bytes, r#"{"a":1}"#.len() as u64);
    assert_eq!(after.remote, scene.browsers[1].addr());
    assert_eq!(after.listener, scene.suite.gateways[1].clients);
    assert_eq!((after.kind, after.state), (ListenerKind::WebSocket, ClientState::Open));
    assert_eq!((after.queue_bytes, after.blocked, after.proxy), (0, false, None));
    assert!(after.pauses.is_empty() && after.waits.is_none() && after.silent.is_some());
    assert!(after.worker.is_some_and(|worker| worker.ends_with(":w:1")));
    let now = statuses(cluster).await[0].now;
    assert!(after.connected_at <= now && now - after.connected_at < 600_000);
    assert!(after.age < 600_000);
    // Another client, and one that has never been.
    let gone = ClientId::new(id.gateway, protocol::ConnectionId(id.connection.0 ^ 0x4000_0000));
    assert_eq!(cluster.inspect_client(gone).await.unwrap(), None);
}

async fn clients_of_all_gateways_are_listed_page_by_page(threads: usize) {
    let suite = Suite::builder().threads(threads).start().await;
    let mut workers = [suite.worker_link(0, "w:1").await, suite.worker_link(1, "w:1").await];
    let (mut browsers, mut by_gateway) = (Vec::new(), [Vec::new(), Vec::new()]);
    for at in 0..7 {
        browsers.push(suite.browser(at % 2).await);
        let connection = workers[at % 2].accept_client().await;
        by_gateway[at % 2].push(ClientId::new(suite.gateways[at % 2].inner, connection));
    }
    by_gateway.sort_by_key(|clients| clients[0].gateway);
    let expected = by_gateway.concat();
    let cluster = suite.cluster().await;
    for limit in [1, 2, 3, 4, 7, 1000] {
        let found = all(&cluster, &ClientFilter::default(), limit).await;
        let found: Vec<_> = found.into_iter().map(|found| found.client).collect();
        assert_eq!(found, expected, "in pages of {limit}");
    }
}

async fn clients_are_selected_on_all_gateways(threads: usize) {
    let (scene, _workers) = Scene::with_workers(threads).await;
    let cluster = &scene.cluster;
    for at in [0, 1, 2] {
        cluster.bind_uid(scene.ids[at], "ann").await.unwrap();
    }
    for at in [1, 2, 3] {
        cluster.join_group(scene.ids[at], "r").await.unwrap();
    }
    cluster.flush().await.unwrap();
    let none = ClientFilter::default;
    let (ann, r) = (Some(uid("ann")), Some(group("r")));
    let gateway = Some(scene.suite.gateways[0].inner);
    for (filter, expected) in [
        (ClientFilter { uid: ann.clone(), ..none() }, vec![0, 1, 2]),
        (ClientFilter { uid: ann.clone(), group: r.clone(), ..none() }, vec![1, 2]),
        (ClientFilter { gateway, group: r, ..none() }, vec![2]),
        (ClientFilter { clients: Some(vec![scene.ids[3], scene.ids[0]]), ..none() }, vec![0, 3]),
        (ClientFilter { worker: Some("w:1".to_owned()), ..none() }, vec![0, 1, 2, 3]),
        (ClientFilter { worker: Some("w:2".to_owned()), ..none() }, vec![]),
        (ClientFilter { ip: Some([127, 0, 0, 1].into()), uid: ann, ..none() }, vec![0, 1, 2]),
        (ClientFilter { paused: true, ..none() }, vec![]),
    ] {
        let found: HashSet<_> = all(cluster, &filter, 1).await.iter().map(|it| it.client).collect();
        let expected: HashSet<_> = expected.into_iter().map(|at: usize| scene.ids[at]).collect();
        assert_eq!(found, expected, "{filter:?}");
    }
    let clients = Some(vec![scene.ids[0]; 10_001]);
    let error = cluster.inspect(&ClientFilter { clients, ..none() }, 10, None).await.unwrap_err();
    assert!(matches!(error, Error::TooMany { count: 10_001, .. }), "{error}");
}

async fn slow_client_is_found_by_its_queue(threads: usize) {
    let (scene, _workers) = Scene::with_workers(threads).await;
    let (cluster, slow) = (&scene.cluster, scene.ids[2]);
    let filter = ClientFilter { queued: Some(1), ..ClientFilter::default() };
    assert!(all(cluster, &filter, 10).await.is_empty());
    // It does not read: more than the kernel takes, in messages that the queue takes.
    eventually("the client is slow", async || {
        cluster.send_to_client(slow, "x".repeat(64 * 1024)).await.unwrap();
        cluster.flush().await.unwrap();
        (!all(cluster, &filter, 10).await.is_empty()).then_some(())
    })
    .await;
    let found = all(cluster, &filter, 10).await;
    assert_eq!((found.len(), found[0].client), (1, slow));
    assert!(found[0].details.blocked && 0 < found[0].details.queue_bytes);
    let status = status_of(&scene, 0).await;
    assert_eq!((status.slow_clients, status.paused_clients), (1, 0));
    assert!(found[0].details.queue_bytes <= status.queue_bytes);
    let more = ClientFilter { queued: Some(found[0].details.queue_bytes + 1), ..filter };
    assert!(all(cluster, &more, 10).await.is_empty());
}

async fn worker_that_stands_still_is_found_by_its_events(threads: usize) {
    let mut suite = Suite::builder().threads(threads).workers(1).start().await;
    let cluster = suite.cluster().await;
    let mut browser = suite.browser(0).await;
    browser.echo(" once").await;
    eventually("all events are acknowledged", async || {
        let workers = cluster.workers().await.unwrap();
        let is_idle = |worker: &WorkerReport| {
            worker.in_flight() == (0, 0) && worker.stalled().is_none() && worker.links.len() == 2
        };
        (workers.len() == 1 && workers.iter().all(is_idle)).then_some(())
    })
    .await;
    let workers = cluster.workers().await.unwrap();
    assert_eq!((workers[0].clients(), workers[0].links.len(), workers[0].missing.len()), (1, 2, 0));
    suite.workers[0].pause().await;
    browser.send("e is it there").await;
    eventually("the event is not acknowledged", async || {
        let workers = cluster.workers().await.unwrap();
        let stalled = workers[0].stalled().filter(|stalled| 500 <= *stalled);
        stalled.filter(|_| workers[0].in_flight().0 == 1)
    })
    .await;
    suite.workers[0].resume();
    assert_eq!(browser.receive_text().await, "e is it there");
    eventually("it goes on", async || {
        let workers = cluster.workers().await.unwrap();
        workers[0].stalled().is_none().then_some(())
    })
    .await;
}

async fn gateway_that_does_not_answer_is_named(threads: usize) {
    let (mut scene, _workers) = Scene::with_workers(threads).await;
    let cluster = scene.cluster.cluster().clone();
    let (here, there) = (scene.suite.gateways[0].inner, scene.suite.gateways[1].inner);
    scene.suite.gateways[1].pause().await;
    let reports = cluster.gateways().await.unwrap();
    assert_eq!(reports.len(), 2);
    for report in &reports {
        match &report.status {
            Ok(status) => assert_eq!((status.address, status.clients), (here, 2)),
            Err(error) => {
                assert_eq!(report.address, there.to_string());
                assert!(matches!(error, Error::Timeout { .. }), "{error}");
            }
        }
    }
    assert_eq!(reports.iter().filter(|report| report.status.is_err()).count(), 1);
    let page = cluster.inspect(&ClientFilter::default(), 100, None).await.unwrap();
    let found: Vec<_> = page.clients.iter().map(|found| found.client).collect();
    assert_eq!(found, [scene.ids[0], scene.ids[2]]);
    assert_eq!(page.unanswered.len(), 1);
    assert_eq!(page.unanswered[0].0, there.to_string());
    // One that is asked for alone is not missed.
    let filter = ClientFilter { gateway: Some(here), ..ClientFilter::default() };
    let page = cluster.inspect(&filter, 100, None).await.unwrap();
    assert!(page.unanswered.is_empty() && page.next.is_none());
    scene.suite.gateways[1].resume();
}
