//! A gateway that its peers are cut off from for a while: what they send meanwhile is not lost.

use std::{cell::Cell, time::Duration};

use client::Cluster;
use protocol::{Command, Message, Recipients};
use suite_tests::{
    Browser, Peer, Suite, TestWorker, Told, eventually, on_one_and_three_threads, peer::back_end,
};

on_one_and_three_threads!(
    what_a_worker_sends_to_a_group_and_a_uid_meanwhile_arrives_once_and_in_order,
    what_is_on_its_way_when_links_break_again_and_again_arrives_once_and_in_order,
    what_a_back_end_sends_meanwhile_arrives_too,
    a_gateway_that_is_killed_holds_nobody_up,
    a_gateway_says_how_far_it_has_taken_the_commands_of_a_peer_and_ends_its_old_link,
    a_worker_that_is_cut_off_leaves_its_events_to_one_that_reaches_every_gateway,
    no_worker_leaves_its_events_if_all_are_cut_off,
);

/// A suite of two gateways, with a member of the room on each; the second is bob's, too.
async fn room(threads: usize) -> (Suite, Browser, Browser) {
    let suite = Suite::builder().threads(threads).workers(1).relayed().start().await;
    let (mut ann, mut bob) = (suite.browser(0).await, suite.browser(1).await);
    for client in [&mut ann, &mut bob] {
        client.send("jroom").await;
        assert_eq!(client.hears_text().await, "jroom");
    }
    bob.send("ubob").await;
    assert_eq!(bob.hears_text().await, "ubob");
    (suite, ann, bob)
}

/// Waits until the first worker is linked to that many gateways.
async fn linked(suite: &Suite, count: f64) {
    eventually(format!("{count} links"), async || {
        (suite.workers[0].metric("worker_links").await? == count).then_some(())
    })
    .await;
}

async fn what_a_worker_sends_to_a_group_and_a_uid_meanwhile_arrives_once_and_in_order(
    threads: usize,
) {
    let (suite, mut ann, mut bob) = room(threads).await;
    suite.gateways[1].cut_off();
    linked(&suite, 1.0).await;
    let mut expected = Vec::new();
    for number in 0..100 {
        let text = if number % 3 == 0 { format!("t{number}@bob") } else { format!("g{number}") };
        ann.send(text.as_str()).await;
        if text.starts_with('g') {
            assert_eq!(ann.hears_text().await, text, "others are not held up");
        }
        expected.push(text);
    }
    // Its own events wait for the worker, and come behind.
    bob.send("emine").await;
    let held = suite.gateways[0].metric("gateway_events_in_flight_bytes").await;
    assert!(held.is_some_and(|bytes| 0.0 < bytes), "not done with: {held:?}");
    suite.gateways[1].let_back();
    for text in expected {
        assert_eq!(bob.hears_text().await, text);
    }
    assert_eq!(bob.hears_text().await, "emine");
    ann.send("glast").await;
    assert_eq!(bob.hears_text().await, "glast", "and nothing twice");
    eventually("every event to be done with", async || {
        (suite.gateways[0].metric("gateway_events_in_flight_bytes").await? == 0.0).then_some(())
    })
    .await;
}

async fn what_is_on_its_way_when_links_break_again_and_again_arrives_once_and_in_order(
    threads: usize,
) {
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
            assert_eq!(ann.hears_text().await, "e");
        }
        ann.send("tlast@bob").await;
    };
    let listen = async {
        let mut heard = 0;
        loop {
            match bob.hears_text().await {
                last if last == "tlast@bob" => break,
                text => assert_eq!(text, format!("t{heard}@bob")),
            }
            heard += 1;
        }
        assert_eq!(heard, sent.get(), "all of them, and nothing twice");
    };
    let cut = async {
        while cuts.get() < CUTS {
            gateway.cut_off();
            linked(&suite, 1.0).await;
            gateway.let_back();
            linked(&suite, 2.0).await;
            tokio::time::sleep(Duration::from_millis(40)).await;
            cuts.set(cuts.get() + 1);
        }
    };
    tokio::join!(talk, listen, cut);
}

async fn what_a_back_end_sends_meanwhile_arrives_too(threads: usize) {
    let (suite, _ann, mut bob) = room(threads).await;
    let cluster: Cluster = suite.cluster().await;
    suite.gateways[1].cut_off();
    eventually("the loss to be noticed", async || (cluster.status().linked == 1).then_some(()))
        .await;
    for number in 0..10 {
        cluster.send_to_uid("bob", format!("uid {number}")).await.expect("they are known");
        cluster.send_to_group("room", format!("room {number}")).await.expect("they are known");
    }
    suite.gateways[1].let_back();
    for number in 0..10 {
        assert_eq!(bob.hears_text().await, format!("uid {number}"));
        assert_eq!(bob.hears_text().await, format!("room {number}"));
    }
    cluster.flush().await.expect("all are reached");
    cluster.close().await;
}

async fn a_gateway_that_is_killed_holds_nobody_up(threads: usize) {
    let builder = Suite::builder().threads(threads).workers(1);
    // So long that whoever waited for it would be found.
    let mut suite = builder.worker_flag("--gateway-grace", "600").start().await;
    let mut ann = suite.browser(0).await;
    ann.send("jroom").await;
    assert_eq!(ann.hears_text().await, "jroom");
    suite.gateways[1].kill();
    for number in 0..20 {
        ann.send(format!("g{number}")).await;
        assert_eq!(ann.hears_text().await, format!("g{number}"));
    }
    eventually("every event to be done with", async || {
        (suite.gateways[0].metric("gateway_events_in_flight_bytes").await? == 0.0).then_some(())
    })
    .await;
}

fn to_all(text: &str) -> Command {
    Command::SendToAll { to: Recipients::All, message: Message::text(text) }
}

async fn a_gateway_says_how_far_it_has_taken_the_commands_of_a_peer_and_ends_its_old_link(
    threads: usize,
) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let gateway = suite.gateways[0].inner;
    let role = back_end();
    let mut worker = suite.worker_link(0, "w:1").await;
    let mut ann = suite.browser(0).await;
    worker.welcomes().await;
    let mut before = 0;
    for round in 0..20 {
        let mut old =
            Peer::open(gateway, &suite.secret(), role.clone()).await.expect("they are known");
        assert_eq!(old.before, before, "round {round}");
        for text in ["one", "two"] {
            old.command(to_all(text)).await;
            assert_eq!(ann.hears_text().await, text);
        }
        // Not read before the new link comes, or read before: either way, whoever sends again what
        // the gateway says that it has not taken is heard once.
        old.command(to_all("three")).await;
        let mut new =
            Peer::open(gateway, &suite.secret(), role.clone()).await.expect("they are known");
        match new.before - before {
            3 => {}
            2 => new.command(to_all("three")).await,
            other => panic!("{other} taken"),
        }
        assert_eq!(ann.hears_text().await, "three");
        old.ends().await;
        before += 3;
        // By the end of a link that nobody replaces, it is known as well.
        drop(new);
    }
    let mut stranger =
        Peer::open(gateway, &suite.secret(), back_end()).await.expect("they are known");
    assert_eq!(stranger.before, 0);
    stranger.command(to_all("last")).await;
    assert_eq!(ann.hears_text().await, "last", "and nothing twice");
    stranger.taken().await;
}

/// How long the test's workers wait for a gateway. After three quarters of it events are left to others.
const GRACE: Duration = Duration::from_secs(4);

/// Two gateways with a member of the room on each, and two workers; the first has ann, who is on the
/// first gateway.
async fn two_workers(threads: usize) -> (Suite, [TestWorker; 2], Browser, Browser) {
    let suite = Suite::builder().threads(threads).plain().relayed().start().await;
    let mut workers = [
        TestWorker::start_with(&suite, "1", GRACE).await,
        TestWorker::start_with(&suite, "2", GRACE).await,
    ];
    // Until one is the first worker's.
    let ann = loop {
        let mut ann = suite.browser(0).await;
        ann.send("echo here").await;
        assert_eq!(ann.hears_text().await, "here");
        if workers[0].told_already().is_some() {
            break ann;
        }
    };
    let (mut ann, mut bob) = (ann, suite.browser(1).await);
    for client in [&mut ann, &mut bob] {
        client.send("join room").await;
        client.send("echo joined").await;
        assert_eq!(client.hears_text().await, "joined");
    }
    // Registers have heard that both reach all.
    tokio::time::sleep(Duration::from_millis(500)).await;
    (suite, workers, ann, bob)
}

async fn has_workers(suite: &Suite, gateway: usize, count: f64) {
    eventually(format!("{count} workers of gateway {gateway}"), async || {
        (suite.gateways[gateway].metric("gateway_workers").await? == count).then_some(())
    })
    .await;
}

async fn a_worker_that_is_cut_off_leaves_its_events_to_one_that_reaches_every_gateway(
    threads: usize,
) {
    let (suite, mut workers, mut ann, mut bob) = two_workers(threads).await;
    while workers[1].told_already().is_some() {}
    suite.gateways[1].cut_off_from("test:1");
    has_workers(&suite, 1, 1.0).await;
    for number in 0..10 {
        ann.send(format!("room {number}")).await;
    }
    // It is cut off still.
    let mut heard = Vec::new();
    while heard.len() < 10 {
        let text = bob.hears_text().await;
        if !heard.contains(&text) {
            heard.push(text);
        }
    }
    assert_eq!(heard, (0..10).map(|number| number.to_string()).collect::<Vec<_>>());
    has_workers(&suite, 0, 1.0).await;
    eventually("every event to be done with", async || {
        (suite.gateways[0].metric("gateway_events_in_flight_bytes").await? == 0.0).then_some(())
    })
    .await;
    // The first goes on to push, as code that is not bound to events does.
    let told = std::iter::from_fn(|| workers[1].told_already());
    let messages = told.filter(|report| matches!(report.told, Told::Message(_)));
    let marked: Vec<_> = messages.map(|report| report.redelivered).collect();
    assert!(marked.len() >= 10 && marked.iter().any(|marked| *marked), "{marked:?}");
    suite.gateways[1].let_back();
    for gateway in [0, 1] {
        has_workers(&suite, gateway, 2.0).await;
    }
    ann.send("room again").await;
    while bob.hears_text().await != "again" {}
}

async fn no_worker_leaves_its_events_if_all_are_cut_off(threads: usize) {
    let (suite, _workers, mut ann, mut bob) = two_workers(threads).await;
    for worker in ["test:1", "test:2"] {
        suite.gateways[1].cut_off_from(worker);
    }
    has_workers(&suite, 1, 0.0).await;
    ann.send("room hello").await;
    tokio::time::sleep(GRACE * 2).await;
    assert_eq!(suite.gateways[0].metric("gateway_workers").await, Some(2.0));
    suite.gateways[1].let_back();
    assert_eq!(bob.hears_text().await, "hello");
}
