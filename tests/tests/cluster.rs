//! Processes come, go, and are restarted; nobody else notices.

use protocol::Query;
use suite_tests::{Browser, Heard, Suite, eventually, on_one_and_three_threads};

on_one_and_three_threads!(
    a_third_gateway_joins_serves_and_leaves_and_nobody_else_notices,
    a_register_may_be_restarted_under_a_running_suite,
    a_restarted_gateway_gets_its_workers_and_clients_back,
    workers_may_be_restarted_one_after_the_other_without_a_client_noticing,
    a_worker_that_was_killed_is_replaced_by_the_other,
    a_gateway_that_starts_before_its_register_finds_it,
    with_two_registers_either_may_be_gone,
);

async fn a_third_gateway_joins_serves_and_leaves_and_nobody_else_notices(threads: usize) {
    let mut suite = Suite::builder().workers(2).threads(threads).start().await;
    let mut ann = member(&suite, 0).await;
    let mut bob = member(&suite, 1).await;
    room_hears(&mut [&mut ann, &mut bob], "two").await;

    suite.add_gateway().await;
    let mut eve = member(&suite, 2).await;
    room_hears(&mut [&mut ann, &mut bob, &mut eve], "three").await;

    let status = suite.gateways[2].stop().await;
    assert!(status.success(), "{status}");
    assert_eq!(eve.hears().await, Heard::End(Some(1001)));
    room_hears(&mut [&mut ann, &mut bob], "two again").await;
    // And the next to join is no stranger either.
    suite.add_gateway().await;
    let mut eve = member(&suite, 3).await;
    room_hears(&mut [&mut ann, &mut bob, &mut eve], "three again").await;
}

async fn a_register_may_be_restarted_under_a_running_suite(threads: usize) {
    let builder = Suite::builder().startup_grace(3).workers(1).threads(threads);
    let mut suite = builder.start().await;
    let mut ann = member(&suite, 0).await;
    let mut bob = member(&suite, 1).await;

    suite.registers[0].kill();
    room_hears(&mut [&mut ann, &mut bob], "without a register").await;
    for gateway in &suite.gateways {
        let lacks = gateway.lacks().await.expect("a page");
        assert_eq!(lacks, [""; 0], "a load balancer would take away what works");
    }
    suite.registers[0].start_again().await;
    // It may not have heard of all gateways yet; whoever asks now must still be told of both.
    suite.add_worker().await;
    suite.workers[0].kill();
    room_hears(&mut [&mut ann, &mut bob], "by the new worker alone").await;
    suite.add_gateway().await;
    let mut eve = member(&suite, 2).await;
    room_hears(&mut [&mut ann, &mut bob, &mut eve], "three").await;
}

async fn a_restarted_gateway_gets_its_workers_and_clients_back(threads: usize) {
    let mut suite = Suite::builder().workers(2).threads(threads).start().await;
    let mut ann = member(&suite, 0).await;
    let mut bob = member(&suite, 1).await;
    let old_id = first_id(&suite, 1).await;

    suite.gateways[1].kill();
    assert_eq!(bob.hears().await, Heard::End(None));
    room_hears(&mut [&mut ann], "alone").await;
    suite.gateways[1].start_again().await;
    let mut bob = member(&suite, 1).await;
    assert_ne!(first_id(&suite, 1).await, old_id, "a stranger's id is not given away again");
    room_hears(&mut [&mut ann, &mut bob], "two").await;
}

async fn workers_may_be_restarted_one_after_the_other_without_a_client_noticing(threads: usize) {
    let mut suite = Suite::builder().workers(2).threads(threads).start().await;
    let mut ann = member(&suite, 0).await;
    let mut bob = member(&suite, 1).await;
    for at in 0..2 {
        let status = suite.workers[at].stop().await;
        assert!(status.success(), "{status}");
        room_hears(&mut [&mut ann, &mut bob], "by one").await;
        suite.workers[at].start_again().await;
        room_hears(&mut [&mut ann, &mut bob], "by two").await;
    }
}

async fn a_worker_that_was_killed_is_replaced_by_the_other(threads: usize) {
    let mut suite = Suite::builder().workers(2).threads(threads).start().await;
    let mut ann = suite.browser(0).await;
    // Echoes come in order, whoever makes them; one that was made twice is not an error.
    ann.send("e0").await;
    assert_eq!(ann.hears_text().await, "e0");
    for at in 1..100 {
        ann.send(format!("e{at}")).await;
        if at == 30 {
            suite.workers[0].kill();
        }
        if at == 60 {
            suite.workers[0].start_again().await;
            suite.workers[1].kill();
        }
    }
    let mut last = 0;
    while last < 99 {
        let echo = ann.hears_text().await;
        let at: i32 = echo[1..].parse().unwrap_or_else(|_| panic!("{echo}"));
        assert!(at <= last + 1, "{at} came after {last}: what is between them is lost");
        last = last.max(at);
    }
}

async fn a_gateway_that_starts_before_its_register_finds_it(threads: usize) {
    let mut suite = Suite::builder().gateways(1).workers(1).threads(threads).start().await;
    suite.registers[0].kill();
    suite.spawn_gateway();
    suite.registers[0].start_again().await;
    suite.gateways[1].ready().await;
    let mut ann = member(&suite, 0).await;
    let mut bob = member(&suite, 1).await;
    room_hears(&mut [&mut ann, &mut bob], "two").await;
}

async fn with_two_registers_either_may_be_gone(threads: usize) {
    let mut suite =
        Suite::builder().registers(2).gateways(1).workers(1).threads(threads).start().await;
    let mut ann = member(&suite, 0).await;
    suite.registers[0].kill();
    suite.add_gateway().await;
    let mut bob = member(&suite, 1).await;
    room_hears(&mut [&mut ann, &mut bob], "told by the second").await;
    suite.registers[0].start_again().await;
    suite.registers[1].kill();
    suite.add_gateway().await;
    let mut eve = member(&suite, 2).await;
    room_hears(&mut [&mut ann, &mut bob, &mut eve], "told by the first").await;
}

/// A client that is in the room.
async fn member(suite: &Suite, gateway: usize) -> Browser {
    let mut browser = suite.browser(gateway).await;
    browser.send("jroom").await;
    assert_eq!(browser.hears_text().await, "jroom");
    browser
}

/// What the first member says, all of them hear. Workers may need a moment until they are linked
/// to a gateway that has just come, so the first tries may not reach all.
async fn room_hears(members: &mut [&mut Browser], what: &str) {
    let (text, marker) = (format!("g{what}"), format!("g{what}, all"));
    let (first, others) = members.split_first_mut().expect("somebody is in the room");
    if let Some(last) = others.last_mut() {
        let mut reached = false;
        while !reached {
            first.send(text.clone()).await;
            reached = last.hears_within(&text, std::time::Duration::from_millis(500)).await;
        }
    }
    first.send(marker.clone()).await;
    for member in members {
        loop {
            let heard = member.hears_text().await;
            if heard == marker {
                break;
            }
            assert_eq!(heard, text);
        }
    }
}

/// The id of the client that came to a gateway first.
async fn first_id(suite: &Suite, gateway: usize) -> protocol::ConnectionId {
    let mut peer = suite.peer(gateway).await;
    eventually("a client", async || match peer.ask(Query::Sessions { group: None }).await {
        protocol::Answer::Sessions(rows) => rows.first().map(|(id, _)| *id),
        other => panic!("sessions were expected, not {other:?}"),
    })
    .await
}
