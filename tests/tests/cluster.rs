//! Processes join, leave, and are restarted without disrupting others.

use protocol::Query;
use suite_tests::{Browser, Received, Suite, eventually, on_one_and_three_threads};

on_one_and_three_threads!(
    third_gateway_joins_and_leaves_without_disruption,
    register_restart_does_not_disrupt_the_suite,
    restarted_gateway_is_relinked_and_serves_clients,
    rolling_worker_restart_does_not_disrupt_clients,
    killed_worker_is_replaced_by_the_other,
    gateway_started_before_its_register_connects_to_it,
    two_registers_tolerate_the_loss_of_either,
);

async fn third_gateway_joins_and_leaves_without_disruption(threads: usize) {
    let mut suite = Suite::builder().workers(2).threads(threads).start().await;
    let mut ann = member(&suite, 0).await;
    let mut bob = member(&suite, 1).await;
    assert_room_works(&mut [&mut ann, &mut bob], "two").await;

    suite.add_gateway().await;
    let mut eve = member(&suite, 2).await;
    assert_room_works(&mut [&mut ann, &mut bob, &mut eve], "three").await;

    let status = suite.gateways[2].stop().await;
    assert!(status.success(), "{status}");
    assert_eq!(eve.receive().await, Received::Closed(Some(1001)));
    assert_room_works(&mut [&mut ann, &mut bob], "two again").await;
    // A gateway that joins later works as well.
    suite.add_gateway().await;
    let mut eve = member(&suite, 3).await;
    assert_room_works(&mut [&mut ann, &mut bob, &mut eve], "three again").await;
}

async fn register_restart_does_not_disrupt_the_suite(threads: usize) {
    let builder = Suite::builder().startup_grace(3).workers(1).threads(threads);
    let mut suite = builder.start().await;
    let mut ann = member(&suite, 0).await;
    let mut bob = member(&suite, 1).await;

    suite.registers[0].kill();
    assert_room_works(&mut [&mut ann, &mut bob], "without a register").await;
    for gateway in &suite.gateways {
        let reasons = gateway.unready_reasons().await.expect("a page");
        assert_eq!(reasons, [""; 0], "a load balancer would remove a working gateway");
    }
    suite.registers[0].restart().await;
    // Some gateways may not have reconnected yet; a new worker must still learn of both.
    suite.add_worker().await;
    suite.workers[0].kill();
    assert_room_works(&mut [&mut ann, &mut bob], "by the new worker alone").await;
    suite.add_gateway().await;
    let mut eve = member(&suite, 2).await;
    assert_room_works(&mut [&mut ann, &mut bob, &mut eve], "three").await;
}

async fn restarted_gateway_is_relinked_and_serves_clients(threads: usize) {
    let mut suite = Suite::builder().workers(2).threads(threads).start().await;
    let mut ann = member(&suite, 0).await;
    let mut bob = member(&suite, 1).await;
    let old_id = first_id(&suite, 1).await;

    suite.gateways[1].kill();
    assert_eq!(bob.receive().await, Received::Closed(None));
    assert_room_works(&mut [&mut ann], "alone").await;
    suite.gateways[1].restart().await;
    let mut bob = member(&suite, 1).await;
    assert_ne!(first_id(&suite, 1).await, old_id, "ids of the previous instance are not reused");
    assert_room_works(&mut [&mut ann, &mut bob], "two").await;
}

async fn rolling_worker_restart_does_not_disrupt_clients(threads: usize) {
    let mut suite = Suite::builder().workers(2).threads(threads).start().await;
    let mut ann = member(&suite, 0).await;
    let mut bob = member(&suite, 1).await;
    for at in 0..2 {
        let status = suite.workers[at].stop().await;
        assert!(status.success(), "{status}");
        assert_room_works(&mut [&mut ann, &mut bob], "by one").await;
        suite.workers[at].restart().await;
        assert_room_works(&mut [&mut ann, &mut bob], "by two").await;
    }
}

async fn killed_worker_is_replaced_by_the_other(threads: usize) {
    let mut suite = Suite::builder().workers(2).threads(threads).start().await;
    let mut ann = suite.browser(0).await;
    // Echoes arrive in order, from either worker; duplicates are no error.
    ann.send("e0").await;
    assert_eq!(ann.receive_text().await, "e0");
    for at in 1..100 {
        ann.send(format!("e{at}")).await;
        if at == 30 {
            suite.workers[0].kill();
        }
        if at == 60 {
            suite.workers[0].restart().await;
            suite.workers[1].kill();
        }
    }
    let mut last = 0;
    while last < 99 {
        let echo = ann.receive_text().await;
        let at: i32 = echo[1..].parse().unwrap_or_else(|_| panic!("{echo}"));
        assert!(at <= last + 1, "{at} came after {last}: messages in between are lost");
        last = last.max(at);
    }
}

async fn gateway_started_before_its_register_connects_to_it(threads: usize) {
    let mut suite = Suite::builder().gateways(1).workers(1).threads(threads).start().await;
    suite.registers[0].kill();
    suite.spawn_gateway();
    suite.registers[0].restart().await;
    suite.gateways[1].ready().await;
    let mut ann = member(&suite, 0).await;
    let mut bob = member(&suite, 1).await;
    assert_room_works(&mut [&mut ann, &mut bob], "two").await;
}

async fn two_registers_tolerate_the_loss_of_either(threads: usize) {
    let mut suite =
        Suite::builder().registers(2).gateways(1).workers(1).threads(threads).start().await;
    let mut ann = member(&suite, 0).await;
    suite.registers[0].kill();
    suite.add_gateway().await;
    let mut bob = member(&suite, 1).await;
    assert_room_works(&mut [&mut ann, &mut bob], "announced by the second").await;
    suite.registers[0].restart().await;
    suite.registers[1].kill();
    suite.add_gateway().await;
    let mut eve = member(&suite, 2).await;
    assert_room_works(&mut [&mut ann, &mut bob, &mut eve], "announced by the first").await;
}

/// A client in the room.
async fn member(suite: &Suite, gateway: usize) -> Browser {
    let mut browser = suite.browser(gateway).await;
    browser.send("jroom").await;
    assert_eq!(browser.receive_text().await, "jroom");
    browser
}

/// Checks that messages of the first member reach all members. The first attempts may not: workers
/// need a moment to link to a new gateway.
async fn assert_room_works(members: &mut [&mut Browser], what: &str) {
    let (text, marker) = (format!("g{what}"), format!("g{what}, all"));
    let (first, others) = members.split_first_mut().expect("the room has a member");
    if let Some(last) = others.last_mut() {
        let mut reached = false;
        while !reached {
            first.send(text.clone()).await;
            reached = last.receives_within(&text, std::time::Duration::from_millis(500)).await;
        }
    }
    first.send(marker.clone()).await;
    for member in members {
        loop {
            let received = member.receive_text().await;
            if received == marker {
                break;
            }
            assert_eq!(received, text);
        }
    }
}

/// The id of the first client of a gateway.
async fn first_id(suite: &Suite, gateway: usize) -> protocol::ConnectionId {
    let mut peer = suite.peer(gateway).await;
    eventually("a client", async || match peer.query(Query::Sessions { group: None }).await {
        protocol::Answer::Sessions(rows) => rows.first().map(|(id, _)| *id),
        other => panic!("expected sessions, received {other:?}"),
    })
    .await
}
