//! Lifecycle events of clients, which gateways keep for operators.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use protocol::{ClientId, Command};
use push_suite_cluster::{
    Close, ClosedBy, Closing, Cluster, HistoryEvent, HistoryFilter, LifecycleKind,
};
use suite_tests::{
    Browser, Scene, Suite, eventually,
    names::{group, uid},
    on_one_and_three_threads,
};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

on_one_and_three_threads!(
    life_of_a_client_is_recorded_from_connect_to_close,
    history_of_a_uid_outlives_its_clients,
    events_of_all_gateways_are_in_order_of_time,
    refused_handshake_is_recorded_with_its_reason,
    client_closed_by_a_worker_or_a_back_end_names_it,
    worker_that_is_lost_is_recorded_with_its_clients,
    ring_keeps_the_last_events_only,
    gateway_without_a_ring_records_nothing,
);

async fn events(cluster: &Cluster, filter: HistoryFilter) -> Vec<HistoryEvent> {
    let history = cluster.history(&filter).await.unwrap();
    assert!(history.unanswered.is_empty(), "{history:?}");
    history.events
}

fn of_client(client: ClientId) -> HistoryFilter {
    HistoryFilter { client: Some(client), ..HistoryFilter::default() }
}

fn names(events: &[HistoryEvent]) -> Vec<&'static str> {
    events.iter().map(|event| event.kind.name()).collect()
}

/// The end of a client, once it is recorded.
async fn closing(cluster: &Cluster, client: ClientId) -> Closing {
    eventually("the close is recorded", async || {
        events(cluster, of_client(client)).await.into_iter().find_map(|event| match event.kind {
            LifecycleKind::Closed(closing) => Some(*closing),
            _ => None,
        })
    })
    .await
}

async fn life_of_a_client_is_recorded_from_connect_to_close(threads: usize) {
    let (scene, _workers) = Scene::with_workers(threads).await;
    let (cluster, id) = (&scene.cluster, scene.ids[0]);
    cluster.bind_uid(id, "ann").await.unwrap();
    cluster.join_group(id, "r").await.unwrap();
    cluster.flush().await.unwrap();
    let [browser, ..] = scene.browsers;
    let remote = browser.addr();
    browser.close().await;
    let closing = closing(cluster, id).await;
    assert_eq!(
        (closing.remote, closing.uid, closing.by),
        (remote, Some(uid("ann")), ClosedBy::Client)
    );
    assert_eq!(closing.reason, "client");
    assert_eq!((closing.events, closing.queue_bytes), (2, 0));
    let events = events(cluster, of_client(id)).await;
    assert_eq!(names(&events), ["connected", "assigned", "bound", "closed"]);
    assert!(events.iter().all(|event| event.client == Some(id) && event.gateway == id.gateway));
    assert!(events.is_sorted_by_key(|event| (event.at, event.number)));
    let listener = scene.suite.gateways[0].clients;
    assert_eq!(events[0].kind, LifecycleKind::Connected { remote, listener });
    let LifecycleKind::Assigned { worker, again: false } = &events[1].kind else {
        panic!("{events:?}");
    };
    assert!(worker.ends_with(":w:1"), "{worker}");
}

async fn history_of_a_uid_outlives_its_clients(threads: usize) {
    let (scene, _workers) = Scene::with_workers(threads).await;
    let cluster = &scene.cluster;
    for at in [0, 1] {
        cluster.bind_uid(scene.ids[at], "ann").await.unwrap();
    }
    cluster.flush().await.unwrap();
    let [first, ..] = scene.browsers;
    first.close().await;
    closing(cluster, scene.ids[0]).await;
    let of_ann = HistoryFilter { uid: Some(uid("ann")), ..HistoryFilter::default() };
    let found = events(cluster, of_ann.clone()).await;
    let of = |at: usize| found.iter().filter(move |event| event.client == Some(scene.ids[at]));
    assert_eq!((of(0).count(), of(1).count(), found.len()), (4, 3, 7), "{found:?}");
    // Polled from there on, nothing comes twice.
    let since = found.last().unwrap().at + 1;
    let later = events(cluster, HistoryFilter { since, ..of_ann }).await;
    assert!(later.is_empty(), "{later:?}");
}

async fn events_of_all_gateways_are_in_order_of_time(threads: usize) {
    let (scene, _workers) = Scene::with_workers(threads).await;
    let all = events(&scene.cluster, HistoryFilter::default()).await;
    assert!(all.is_sorted_by_key(|event| event.at));
    let connected: Vec<_> = all.iter().filter(|event| event.kind.name() == "connected").collect();
    assert_eq!(connected.len(), scene.ids.len());
    // The clients connect one after the other, alternately to the gateways; two of them may do so
    // within the resolution of the time.
    let at = |id| connected.iter().find(|event| event.client == Some(id)).unwrap().at;
    assert!(scene.ids.iter().is_sorted_by_key(|id| at(*id)), "{connected:?}");
    let limit = 3;
    let last = events(&scene.cluster, HistoryFilter { limit, ..HistoryFilter::default() }).await;
    assert_eq!(last, all[all.len() - 3..]);
    let gateway = Some(scene.ids[1].gateway);
    let one = events(&scene.cluster, HistoryFilter { gateway, ..HistoryFilter::default() }).await;
    assert!(one.iter().all(|event| event.gateway == scene.ids[1].gateway));
    assert_eq!(one.len(), all.iter().filter(|event| Some(event.gateway) == gateway).count());
}

async fn refused_handshake_is_recorded_with_its_reason(threads: usize) {
    let allowed = "https://allowed.example";
    let suite =
        Suite::builder().gateways(1).threads(threads).gateway_flag("--allowed-origin", allowed);
    let suite = suite.start().await;
    let cluster = suite.cluster().await;
    let gateway = suite.gateways[0].clients;
    let mut request = format!("ws://{gateway}/").into_client_request().unwrap();
    request.headers_mut().insert("origin", "https://other.example".parse().unwrap());
    assert!(Browser::open_with(gateway, request).await.is_err());
    let refused = eventually("the refusal is recorded", async || {
        let all = events(&cluster, HistoryFilter::default()).await;
        all.into_iter().find(|event| event.kind.name() == "refused")
    })
    .await;
    let LifecycleKind::Refused { remote, listener, reason } = refused.kind else { panic!() };
    assert_eq!(
        (reason.as_str(), listener, refused.client),
        ("origin", suite.gateways[0].clients, None)
    );
    let ip = Some(remote.ip());
    let of_address = events(&cluster, HistoryFilter { ip, ..HistoryFilter::default() }).await;
    assert_eq!(of_address.len(), 1);
}

async fn client_closed_by_a_worker_or_a_back_end_names_it(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let clients = suite.accepted_clients(&mut worker, 2).await;
    let id = |at: usize| ClientId::new(suite.gateways[0].inner, clients[at].1);
    let cluster = suite.cluster().await;
    worker.command(Command::Close { client: clients[0].1, farewell: None }).await;
    let closed = closing(&cluster, id(0)).await;
    assert_eq!(closed.reason, "worker");
    let ClosedBy::Peer { worker: Some(key) } = closed.by else { panic!("{closed:?}") };
    assert!(key.ends_with(":w:1"), "{key}");
    let frame = Close::new(4001, "enough").unwrap();
    cluster.close_client(id(1), frame).await.unwrap();
    let closed = closing(&cluster, id(1)).await;
    assert_eq!((closed.code, closed.by), (Some(4001), ClosedBy::Peer { worker: None }));
}

async fn worker_that_is_lost_is_recorded_with_its_clients(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut first = suite.worker_link(0, "w:1").await;
    let clients = suite.accepted_clients(&mut first, 2).await;
    let cluster = suite.cluster().await;
    drop(first);
    let lost = eventually("the loss is recorded", async || {
        let all = events(&cluster, HistoryFilter::default()).await;
        all.into_iter().find(|event| event.kind.name() == "worker-lost")
    })
    .await;
    let LifecycleKind::WorkerLost { worker, clients: count } = lost.kind else { panic!() };
    assert!(worker.ends_with(":w:1") && lost.client.is_none());
    assert_eq!(count, 2);
    let _second = suite.worker_link(0, "w:2").await;
    let client = ClientId::new(suite.gateways[0].inner, clients[0].1);
    let worker = eventually("the client is reassigned", async || {
        let mut all = events(&cluster, of_client(client)).await.into_iter();
        all.find_map(|event| match event.kind {
            LifecycleKind::Assigned { worker, again: true } => Some(worker),
            _ => None,
        })
    })
    .await;
    assert!(worker.ends_with(":w:2"), "{worker}");
}

async fn ring_keeps_the_last_events_only(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).gateway_flag("--event-ring", "16");
    let suite = suite.start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let clients = suite.accepted_clients(&mut worker, 1).await;
    let cluster = suite.cluster().await;
    let id = ClientId::new(suite.gateways[0].inner, clients[0].1);
    for number in 0..100 {
        cluster.bind_uid(id, number).await.unwrap();
    }
    cluster.flush().await.unwrap();
    let last = events(&cluster, of_client(id)).await;
    // Three quarters: the rest is for frequent events.
    assert_eq!(last.len(), 12);
    assert_eq!(last[11].kind, LifecycleKind::Bound { uid: uid("99") });
    assert!(!names(&last).contains(&"connected"));
}

async fn gateway_without_a_ring_records_nothing(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).gateway_flag("--event-ring", "0");
    let suite = suite.start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let clients = suite.accepted_clients(&mut worker, 1).await;
    let cluster = suite.cluster().await;
    let id = ClientId::new(suite.gateways[0].inner, clients[0].1);
    cluster.join_group(id, group("r")).await.unwrap();
    cluster.close_client(id, Close::default()).await.unwrap();
    cluster.flush().await.unwrap();
    assert!(events(&cluster, HistoryFilter::default()).await.is_empty());
}
