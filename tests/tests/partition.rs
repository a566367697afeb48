//! A temporary partition between a gateway and its peers: messages sent meanwhile are not lost.

use std::{cell::Cell, time::Duration};

use protocol::{Command, Message, Recipients};
use push_suite_cluster::ClusterGuard;
use suite_tests::{
    Browser, Call, Peer, Suite, TestWorker, eventually, on_one_and_three_threads, peer::back_end,
};

on_one_and_three_threads!(
    messages_of_a_worker_during_a_partition_arrive_once_and_in_order,
    messages_in_flight_on_breaking_links_arrive_once_and_in_order,
    messages_of_a_back_end_during_a_partition_arrive,
    killed_gateway_does_not_block_callers,
    gateway_reports_acknowledged_commands_to_a_new_link_and_closes_the_old,
    partitioned_worker_leaves_its_events_to_a_fully_connected_one,
    workers_keep_their_events_if_all_are_partitioned,
);

/// Two gateways with a member of the room on each; the second member also has the uid bob.
async fn room(threads: usize) -> (Suite, Browser, Browser) {
    let suite = Suite::builder().threads(threads).workers(1).relayed().start().await;
    let (mut ann, mut bob) = (suite.browser(0).await, suite.browser(1).await);
    for client in [&mut ann, &mut bob] {
        client.send("jroom").await;
        assert_eq!(client.receive_text().await, "jroom");
    }
    bob.send("ubob").await;
    assert_eq!(bob.receive_text().await, "ubob");
    (suite, ann, bob)
}

/// Waits until the first worker is linked to this many gateways.
async fn linked(suite: &Suite, count: f64) {
    suite.workers[0].wait_for_metric("pushsuite_worker_links", count).await;
}

async fn messages_of_a_worker_during_a_partition_arrive_once_and_in_order(threads: usize) {
    let (suite, mut ann, mut bob) = room(threads).await;
    suite.gateways[1].partition();
    linked(&suite, 1.0).await;
    let mut expected = Vec::new();
    for number in 0..100 {
        let text = if number % 3 == 0 { format!("t{number}@bob") } else { format!("g{number}") };
        ann.send(text.as_str()).await;
        if text.starts_with('g') {
            assert_eq!(ann.receive_text().await, text, "other clients are not blocked");
        }
        expected.push(text);
    }
    // Events of the partitioned gateway wait for the worker and are handled later.
    bob.send("emine").await;
    let held = suite.gateways[0].metric("pushsuite_gateway_events_in_flight_bytes").await;
    assert!(held.is_some_and(|bytes| 0.0 < bytes), "unacknowledged: {held:?}");
    suite.gateways[1].heal();
    for text in expected {
        assert_eq!(bob.receive_text().await, text);
    }
    assert_eq!(bob.receive_text().await, "emine");
    ann.send("glast").await;
    assert_eq!(bob.receive_text().await, "glast", "no duplicates");
    suite.gateways[0].wait_for_metric("pushsuite_gateway_events_in_flight_bytes", 0.0).await;
}

async fn messages_in_flight_on_breaking_links_arrive_once_and_in_order(threads: usize) {
    const CUTS: usize = 8;
    let (suite, mut ann, mut bob) = room(threads).await;
    let gateway = &suite.gateways[1];
    let (cuts, sent) = (Cell::new(0), Cell::new(0));
    let talk = async {
        while cuts.get() < CUTS {
            for _ in 0..50 {
                ann.send(format!("t{}@bob", sent.get())).await;
                sent.set(sent.get() + 1);
            }
            ann.send("e").await;
            assert_eq!(ann.receive_text().await, "e");
        }
        ann.send("tlast@bob").await;
    };
    let listen = async {
        let mut count = 0;
        loop {
            match bob.receive_text().await {
                last if last == "tlast@bob" => break,
                text => assert_eq!(text, format!("t{count}@bob")),
            }
            count += 1;
        }
        assert_eq!(count, sent.get(), "complete, without duplicates");
    };
    let cut = async {
        while cuts.get() < CUTS {
            gateway.partition();
            linked(&suite, 1.0).await;
            gateway.heal();
            linked(&suite, 2.0).await;
            tokio::time::sleep(Duration::from_millis(40)).await;
            cuts.set(cuts.get() + 1);
        }
    };
    tokio::join!(talk, listen, cut);
}

async fn messages_of_a_back_end_during_a_partition_arrive(threads: usize) {
    let (suite, _ann, mut bob) = room(threads).await;
    let cluster: ClusterGuard = suite.cluster().await;
    suite.gateways[1].partition();
    eventually("the lost link to be noticed", async || {
        (cluster.status().linked == 1).then_some(())
    })
    .await;
    for number in 0..10 {
        cluster.send_to_uid("bob", format!("uid {number}")).await.expect("it is queued");
        cluster.send_to_group("room", format!("room {number}")).await.expect("it is queued");
    }
    suite.gateways[1].heal();
    for number in 0..10 {
        assert_eq!(bob.receive_text().await, format!("uid {number}"));
        assert_eq!(bob.receive_text().await, format!("room {number}"));
    }
    cluster.flush().await.expect("every gateway acknowledges");
    cluster.close().await;
}

async fn killed_gateway_does_not_block_callers(threads: usize) {
    let builder = Suite::builder().threads(threads).workers(1);
    // Long enough for any wait on it to fail the test.
    let mut suite = builder.worker_flag("--gateway-grace", "600").start().await;
    let mut ann = suite.browser(0).await;
    ann.send("jroom").await;
    assert_eq!(ann.receive_text().await, "jroom");
    suite.gateways[1].kill();
    for number in 0..20 {
        ann.send(format!("g{number}")).await;
        assert_eq!(ann.receive_text().await, format!("g{number}"));
    }
    suite.gateways[0].wait_for_metric("pushsuite_gateway_events_in_flight_bytes", 0.0).await;
}

fn to_all(text: &str) -> Command {
    Command::SendToAll { to: Recipients::All, message: Message::text(text) }
}

async fn gateway_reports_acknowledged_commands_to_a_new_link_and_closes_the_old(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let gateway = suite.gateways[0].inner;
    let role = back_end();
    let mut worker = suite.worker_link(0, "w:1").await;
    let mut ann = suite.browser(0).await;
    worker.accept_client().await;
    let mut before = 0;
    for round in 0..20 {
        let mut old = Peer::open(gateway, &suite.secret(), role.clone())
            .await
            .expect("the handshake is accepted");
        assert_eq!(old.acked_before, before, "round {round}");
        for text in ["one", "two"] {
            old.command(to_all(text)).await;
            assert_eq!(ann.receive_text().await, text);
        }
        // The old link's command may or may not be read before the new link opens. In both cases
        // resending what is not acknowledged delivers it exactly once.
        old.command(to_all("three")).await;
        let mut new = Peer::open(gateway, &suite.secret(), role.clone())
            .await
            .expect("the handshake is accepted");
        match new.acked_before - before {
            3 => {}
            2 => new.command(to_all("three")).await,
            other => panic!("{other} acknowledged"),
        }
        assert_eq!(ann.receive_text().await, "three");
        old.closed().await;
        before += 3;
        // The number is also kept after a link closes without a replacement.
        drop(new);
    }
    let mut new_peer =
        Peer::open(gateway, &suite.secret(), back_end()).await.expect("the handshake is accepted");
    assert_eq!(new_peer.acked_before, 0);
    new_peer.command(to_all("last")).await;
    assert_eq!(ann.receive_text().await, "last", "no duplicates");
    new_peer.acknowledged().await;
}

/// Grace period of the workers. After three quarters of it they leave their events to others.
const GRACE: Duration = Duration::from_secs(4);

/// Two gateways with a member of the room on each, and two workers. Ann is on the first gateway and
/// assigned to the first worker.
async fn two_workers(threads: usize) -> (Suite, [TestWorker; 2], Browser, Browser) {
    let suite = Suite::builder().threads(threads).plain().relayed().start().await;
    let mut workers = [
        TestWorker::start_with(&suite, "1", GRACE).await,
        TestWorker::start_with(&suite, "2", GRACE).await,
    ];
    // Until a client is assigned to the first worker.
    let ann = loop {
        let mut ann = suite.browser(0).await;
        ann.send("echo here").await;
        assert_eq!(ann.receive_text().await, "here");
        if workers[0].try_next_report().is_some() {
            break ann;
        }
    };
    let (mut ann, mut bob) = (ann, suite.browser(1).await);
    for client in [&mut ann, &mut bob] {
        client.send("join room").await;
        client.send("echo joined").await;
        assert_eq!(client.receive_text().await, "joined");
    }
    // Both workers have reported to registers that they reach every gateway.
    tokio::time::sleep(Duration::from_millis(500)).await;
    (suite, workers, ann, bob)
}

async fn partitioned_worker_leaves_its_events_to_a_fully_connected_one(threads: usize) {
    let (suite, mut workers, mut ann, mut bob) = two_workers(threads).await;
    while workers[1].try_next_report().is_some() {}
    suite.gateways[1].partition_from("test:1");
    suite.gateways[1].wait_for_metric("pushsuite_gateway_workers", 1.0).await;
    for number in 0..10 {
        ann.send(format!("room {number}")).await;
    }
    // The partition still lasts.
    let mut received = Vec::new();
    while received.len() < 10 {
        let text = bob.receive_text().await;
        if !received.contains(&text) {
            received.push(text);
        }
    }
    assert_eq!(received, (0..10).map(|number| number.to_string()).collect::<Vec<_>>());
    suite.gateways[0].wait_for_metric("pushsuite_gateway_workers", 1.0).await;
    suite.gateways[0].wait_for_metric("pushsuite_gateway_events_in_flight_bytes", 0.0).await;
    // The first worker continues to push, like code that runs outside of handlers.
    let reports = std::iter::from_fn(|| workers[1].try_next_report());
    let messages = reports.filter(|report| matches!(report.call, Call::Message(_)));
    let marked: Vec<_> = messages.map(|report| report.redelivered).collect();
    assert!(marked.len() >= 10 && marked.iter().any(|marked| *marked), "{marked:?}");
    suite.gateways[1].heal();
    for gateway in [0, 1] {
        suite.gateways[gateway].wait_for_metric("pushsuite_gateway_workers", 2.0).await;
    }
    ann.send("room again").await;
    while bob.receive_text().await != "again" {}
}

async fn workers_keep_their_events_if_all_are_partitioned(threads: usize) {
    let (suite, _workers, mut ann, mut bob) = two_workers(threads).await;
    for worker in ["test:1", "test:2"] {
        suite.gateways[1].partition_from(worker);
    }
    suite.gateways[1].wait_for_metric("pushsuite_gateway_workers", 0.0).await;
    ann.send("room hello").await;
    tokio::time::sleep(GRACE * 2).await;
    assert_eq!(suite.gateways[0].metric("pushsuite_gateway_workers").await, Some(2.0));
    suite.gateways[1].heal();
    assert_eq!(bob.receive_text().await, "hello");
}
