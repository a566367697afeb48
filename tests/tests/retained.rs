//! The last message of a group, which gateways retain for clients that join later.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use protocol::{Answer, ClientId, Command, Excluded, Query, Retained, Retention};
use push_suite_cluster::{Cluster, Exclude, Message};
use suite_tests::{
    Browser, Scene, Suite, TestWorker, eventually, names::group, on_one_and_three_threads,
    suite::Builder,
};

on_one_and_three_threads!(
    late_client_of_either_gateway_receives_the_last_message,
    client_gets_the_message_instead_if_none_is_retained,
    member_receives_the_last_message_once_whenever_it_joins,
    message_is_retained_for_its_time_and_no_time_forgets_it,
    gateway_that_is_started_later_is_filled_by_what_is_found_elsewhere,
    message_that_was_superseded_is_not_brought_back_by_what_was_found,
    retained_messages_outlive_members_and_workers_but_not_their_gateway,
    oldest_messages_go_first_and_memory_is_bounded,
    effects_are_reported,
    retained_message_is_one_copy_for_all_threads,
);

const HOUR: Duration = Duration::from_secs(3600);

async fn retain(cluster: &Cluster, text: &str) {
    cluster.send_and_retain("prices", &[], text, HOUR).await.unwrap();
}

/// Sends each client the retained message, and returns what it has received.
async fn last(scene: &mut Scene) -> [Vec<String>; 4] {
    for id in scene.ids {
        scene.cluster.send_retained(id, "prices", "none").await.unwrap();
    }
    scene.received().await
}

async fn late_client_of_either_gateway_receives_the_last_message(threads: usize) {
    let mut scene = Scene::start(threads).await;
    let cluster = &scene.cluster;
    cluster.join_group(scene.ids[0], "prices").await.unwrap();
    cluster.join_group(scene.ids[1], "prices").await.unwrap();
    cluster.flush().await.unwrap();
    retain(cluster, "first").await;
    let exclude = Exclude::from(&[scene.ids[1]]);
    cluster.send_and_retain("prices", exclude, "second", HOUR).await.unwrap();
    let received = scene.received().await;
    assert_eq!(received[0], ["first", "second"], "a member has both");
    assert_eq!(received[1], ["first"], "it is excluded from the second");
    let found = scene.cluster.retained("prices").await.unwrap().unwrap();
    assert_eq!(found.message, Message::text("second"));
    assert!(found.retention.age() < HOUR / 60 && HOUR / 2 < found.retention.left(), "{found:?}");
    // A member has it, or was excluded from it; others get it.
    let received = last(&mut scene).await;
    assert_eq!(received, [vec![], vec![], vec!["second"], vec!["second"]]);
    // Binary ones and those of another group stay as they are.
    let binary = Message::binary(vec![0, 255]);
    scene.cluster.send_and_retain("other", &[], binary.clone(), HOUR).await.unwrap();
    let found = scene.cluster.retained("other").await.unwrap().unwrap();
    assert_eq!(found.message, binary);
    assert_eq!(scene.cluster.retained("third").await.unwrap(), None);
}

async fn client_gets_the_message_instead_if_none_is_retained(threads: usize) {
    let mut scene = Scene::start(threads).await;
    scene.cluster.send_to_group("prices", "not retained").await.unwrap();
    let received = last(&mut scene).await;
    assert!(received.iter().all(|received| received == &["none"]), "{received:?}");
    assert_eq!(scene.cluster.retained("prices").await.unwrap(), None);
}

/// Another back end sends to the group without end while clients join.
async fn member_receives_the_last_message_once_whenever_it_joins(threads: usize) {
    let mut scene = Scene::start(threads).await;
    let sender = scene.suite.cluster().await;
    let sending = tokio::spawn(async move {
        for number in 0.. {
            sender.send_and_retain("prices", &[], format!("{number}"), HOUR).await.unwrap();
            sender.flush().await.unwrap();
        }
    });
    eventually("a first message", async || scene.cluster.retained("prices").await.unwrap()).await;
    for _ in 0..30 {
        for id in scene.ids {
            scene.cluster.join_group(id, "prices").await.unwrap();
            tokio::task::yield_now().await;
            scene.cluster.send_retained(id, "prices", "none").await.unwrap();
            scene.cluster.send_to_client(id, "joined").await.unwrap();
        }
        for (browser, id) in scene.browsers.iter_mut().zip(scene.ids) {
            let mut numbers = Vec::new();
            let mut after = None;
            while after.is_none_or(|after| numbers.len() < after + 2) {
                match browser.receive_text().await.parse::<u64>() {
                    Ok(number) => numbers.push(number),
                    // It has the last message by then.
                    Err(_) => after = Some(numbers.len()),
                }
            }
            assert!(after != Some(0), "nothing before the end of the join");
            let is_next = |pair: &[u64]| pair[0] + 1 == pair[1];
            assert!(numbers.windows(2).all(is_next), "{numbers:?}: one is missing or twice");
            scene.cluster.leave_group(id, "prices").await.unwrap();
        }
        for (browser, id) in scene.browsers.iter_mut().zip(scene.ids) {
            scene.cluster.send_to_client(id, "left").await.unwrap();
            while browser.receive_text().await != "left" {}
        }
    }
    sending.abort();
}

async fn message_is_retained_for_its_time_and_no_time_forgets_it(threads: usize) {
    let mut scene = Scene::start(threads).await;
    let cluster = &scene.cluster;
    cluster.send_and_retain("prices", &[], "brief", Duration::from_secs(1)).await.unwrap();
    eventually("the message to expire", async || {
        cluster.retained("prices").await.unwrap().is_none().then_some(())
    })
    .await;
    assert_eq!(last(&mut scene).await[0], ["none"]);
    retain(&scene.cluster, "kept").await;
    assert_eq!(last(&mut scene).await[3], ["kept"]);
    scene.cluster.send_and_retain("prices", &[], "the end", Duration::ZERO).await.unwrap();
    assert_eq!(last(&mut scene).await[3], ["none"]);
    for gateway in &scene.suite.gateways {
        // Removed as well, some time after it has expired.
        gateway.wait_for_metric("pushsuite_gateway_retained_messages", 0.0).await;
        gateway.wait_for_metric("pushsuite_gateway_retained_bytes", 0.0).await;
    }
}

/// A worker, and a client of the gateway.
async fn client(suite: &Suite, gateway: usize, worker: &mut TestWorker) -> (Browser, ClientId) {
    let browser = suite.browser(gateway).await;
    let id = worker.next_report().await.client;
    worker.next_report().await;
    (browser, id)
}

async fn gateway_that_is_started_later_is_filled_by_what_is_found_elsewhere(threads: usize) {
    let mut suite = Suite::builder().gateways(1).threads(threads).start().await;
    let cluster = suite.cluster().await;
    retain(&cluster, "10").await;
    cluster.flush().await.unwrap();
    suite.add_gateway().await;
    let mut worker = TestWorker::start(&suite, "1").await;
    let (mut early, early_id) = client(&suite, 1, &mut worker).await;
    let (mut ann, ann_id) = client(&suite, 1, &mut worker).await;
    eventually("the new gateway to be linked", async || {
        (cluster.status().linked == 2).then_some(())
    })
    .await;
    cluster.join_group(early_id, "prices").await.unwrap();
    cluster.send_retained(ann_id, "prices", "none").await.unwrap();
    assert_eq!(ann.receive_text().await, "none", "it has none");
    let found = cluster.retained("prices").await.unwrap().unwrap();
    cluster.send_retained_or_found(ann_id, "prices", found.clone()).await.unwrap();
    assert_eq!(ann.receive_text().await, "10");
    // It is filled: also for a member that had joined before.
    cluster.send_retained(ann_id, "prices", "none").await.unwrap();
    assert_eq!(ann.receive_text().await, "10");
    cluster.send_retained(early_id, "prices", "none").await.unwrap();
    assert_eq!(early.receive_text().await, "10");
    let filled = suite.gateways[1].metric("pushsuite_gateway_retained_messages").await;
    assert_eq!(filled, Some(1.0));
    // A newer one that has arrived meanwhile is not replaced by what was found.
    retain(&cluster, "11").await;
    assert_eq!(early.receive_text().await, "11");
    cluster.send_retained_or_found(ann_id, "prices", found).await.unwrap();
    assert_eq!(ann.receive_text().await, "11");
}

async fn message_that_was_superseded_is_not_brought_back_by_what_was_found(threads: usize) {
    let mut scene = Scene::start(threads).await;
    scene.cluster.join_group(scene.ids[0], "prices").await.unwrap();
    retain(&scene.cluster, "10").await;
    let found = scene.cluster.retained("prices").await.unwrap().unwrap();
    // Between the query and the command about its answer.
    scene.cluster.send_and_retain("prices", &[], "11", Duration::ZERO).await.unwrap();
    scene.cluster.send_retained_or_found(scene.ids[0], "prices", found).await.unwrap();
    assert_eq!(scene.received().await[0], ["10", "11"], "in this order, and once");
    assert_eq!(scene.cluster.retained("prices").await.unwrap(), None);
}

async fn retained_messages_outlive_members_and_workers_but_not_their_gateway(threads: usize) {
    let mut suite = Suite::builder().gateways(1).threads(threads).start().await;
    let cluster = suite.cluster().await;
    {
        let mut worker = TestWorker::start(&suite, "1").await;
        let (member, id) = client(&suite, 0, &mut worker).await;
        cluster.join_group(id, "prices").await.unwrap();
        retain(&cluster, "last").await;
        cluster.flush().await.unwrap();
        drop(member);
    }
    let mut worker = TestWorker::start(&suite, "2").await;
    eventually("the group to be empty", async || (cluster.count().await.ok()? == 0).then_some(()))
        .await;
    while worker.try_next_report().is_some() {}
    let (mut late, id) = client(&suite, 0, &mut worker).await;
    cluster.send_retained(id, "prices", "none").await.unwrap();
    assert_eq!(late.receive_text().await, "last");
    suite.gateways[0].kill();
    suite.gateways[0].restart().await;
    let found = eventually("an answer", async || cluster.retained("prices").await.ok()).await;
    assert_eq!(found, None);
}

fn bounded(threads: usize, bytes: usize) -> Builder {
    let builder = Suite::builder().gateways(1).threads(threads);
    builder.gateway_flag("--retained-message-budget", &bytes.to_string())
}

async fn oldest_messages_go_first_and_memory_is_bounded(threads: usize) {
    let suite = bounded(threads, 100_000).start().await;
    let cluster = suite.cluster().await;
    let message = "x".repeat(1000);
    for at in 0..1000 {
        let group = format!("group-{at}");
        cluster.send_and_retain(group, &[], message.clone(), HOUR).await.unwrap();
    }
    cluster.send_and_retain("group-large", &[], "x".repeat(100_000), HOUR).await.unwrap();
    cluster.flush().await.unwrap();
    let metric = async |name: &str| {
        suite.gateways[0].metric(&format!("pushsuite_gateway_retained_{name}")).await.unwrap()
    };
    let (kept, bytes) = (metric("messages").await, metric("bytes").await);
    assert!((50.0..100.0).contains(&kept) && bytes <= 100_000.0, "{kept} in {bytes} bytes");
    assert_eq!(metric("messages_dropped_total").await, 1001.0 - kept);
    let retained = async |at: usize| cluster.retained(format!("group-{at}")).await.unwrap();
    let oldest = 1000 - kept as usize;
    assert_eq!(retained(oldest - 1).await, None);
    assert!(retained(oldest).await.is_some() && retained(999).await.is_some());
    assert_eq!(cluster.retained("group-large").await.unwrap(), None);
}

async fn effects_are_reported(threads: usize) {
    let scene = Scene::start(threads).await;
    let cluster = &scene.cluster;
    for id in &scene.ids[..3] {
        cluster.join_group(*id, "prices").await.unwrap();
    }
    let sent = cluster.send_and_retain("prices", &[], "1", HOUR).report().await.unwrap();
    assert_eq!((sent.matched, sent.reached), (3, 3));
    for id in scene.ids {
        let sent = cluster.send_retained(id, "prices", "none").report().await.unwrap();
        assert_eq!((sent.matched, sent.reached), (1, 1));
        let instead = cluster.send_retained(id, "other", "none").report().await.unwrap();
        assert_eq!((instead.matched, instead.reached), (1, 1));
    }
    let gone = ClientId::new(scene.ids[0].gateway, protocol::ConnectionId(7));
    let sent = cluster.send_retained(gone, "prices", "none").report().await.unwrap();
    assert_eq!((sent.matched, sent.reached), (0, 0));
}

async fn retained_message_is_one_copy_for_all_threads(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    // Clients on every thread.
    let mut clients = suite.accepted_clients(&mut worker, 6).await;
    let mut peer = suite.peer(0).await;
    let command = Command::SendAndRetain {
        group: group("prices"),
        exclude: Excluded::default(),
        retention: Retention::new(Duration::ZERO, HOUR),
        message: "x".repeat(50_000).into(),
    };
    peer.command(command).await;
    let answer = peer.query(Query::Retained { group: group("prices") }).await;
    assert!(matches!(answer, Answer::Retained(Some(Retained { .. }))), "{answer:?}");
    let bytes = suite.gateways[0].metric("pushsuite_gateway_retained_bytes").await.unwrap();
    assert!((50_000.0..51_000.0).contains(&bytes), "{bytes}");
    for (browser, client) in &mut clients {
        let (client, group) = (*client, group("prices"));
        let message = "none".into();
        peer.command(Command::SendRetained { client, group, found: None, message }).await;
        assert_eq!(browser.receive_text().await.len(), 50_000);
    }
    drop(worker);
}

#[tokio::test]
async fn peer_that_does_not_read_its_answers_is_not_read() {
    let suite = Suite::builder().gateways(1).start().await;
    let cluster = suite.cluster().await;
    let large = "x".repeat(8 << 20);
    cluster.send_and_retain("prices", &[], large, HOUR).await.unwrap();
    cluster.flush().await.unwrap();
    let before = suite.gateways[0].resident();
    let mut unread = suite.peer(0).await;
    for request in 1..=100 {
        let query = Query::Retained { group: group("prices") };
        unread.send(&protocol::link::ToGateway::Query { request, query }).await;
    }
    for _ in 0..20 {
        assert!(cluster.retained("prices").await.unwrap().is_some(), "others are answered");
        let grown = suite.gateways[0].resident().saturating_sub(before);
        assert!(grown < 200 << 20, "grown by {} MiB", grown >> 20);
    }
    assert!(unread.next().await.is_some());
}

#[tokio::test]
async fn strict_gateway_and_one_without_a_budget_retain_nothing() {
    let strict = Suite::builder().gateways(1).gateway_flag("--compat", "strict");
    for builder in [strict, bounded(1, 0)] {
        let suite = builder.start().await;
        let mut worker = suite.worker_link(0, "w:1").await;
        let cluster = suite.cluster().await;
        let (mut browser, connection) = suite.accepted_clients(&mut worker, 1).await.remove(0);
        let id = ClientId::new(suite.gateways[0].inner, connection);
        cluster.join_group(id, "prices").await.unwrap();
        retain(&cluster, "sent").await;
        cluster.send_retained(id, "prices", "none").await.unwrap();
        assert_eq!(browser.receive_text().await, "sent");
        assert_eq!(browser.receive_text().await, "none");
        assert_eq!(cluster.retained("prices").await.unwrap(), None);
    }
}
