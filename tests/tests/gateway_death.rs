//! Every client of a dead gateway has exactly one close event, whichever other processes die and in
//! whichever order.

use std::time::Duration;

use protocol::{Event, Query, link::ToGateway};
use push_suite_worker::CloseReason;
use suite_tests::{
    Browser, Call, Closes, Suite, TestWorker, eventually, on_one_and_three_threads,
    process::Signal, take_closes,
};

on_one_and_three_threads!(
    worker_closes_the_clients_of_a_dead_gateway,
    restarted_gateway_ends_its_previous_instance,
    successor_of_a_dead_worker_closes_its_clients,
    standby_closes_clients_of_a_dead_owner,
    second_standby_closes_clients_if_owner_and_first_standby_died,
    second_standby_closes_nothing_already_closed_by_the_first,
    clients_are_handed_over_to_a_worker_started_after_their_gateway_died,
    simultaneous_death_of_gateway_and_worker_ends_every_client_once,
    standby_does_not_repeat_cleanup,
    events_in_flight_finish_before_the_close_of_a_dead_gateway,
    clients_are_reassigned_at_once_when_their_worker_dies,
    close_of_reassigned_client_is_marked_if_no_register_listed_the_gateway,
    close_of_reassigned_client_is_not_marked_otherwise,
    reassigned_client_is_marked_only_if_its_former_worker_may_have_closed_it,
    unassigned_close_is_marked_only_if_the_former_worker_may_have_closed_the_client,
    fenced_gateway_exits_with_failure,
    fenced_draining_gateway_exits_with_failure,
);

/// Collects close events until this many clients have one.
async fn collect_closes<'a>(
    workers: impl IntoIterator<Item = &'a mut TestWorker>,
    clients: usize,
) -> Closes {
    let mut workers: Vec<_> = workers.into_iter().collect();
    let mut closes = Closes::new();
    eventually("every client to be closed", async || {
        take_closes(workers.iter_mut().map(|worker| &mut **worker), &mut closes);
        (clients <= closes.len()).then_some(())
    })
    .await;
    // Time for duplicates by other workers.
    tokio::time::sleep(Duration::from_secs(3)).await;
    take_closes(workers.iter_mut().map(|worker| &mut **worker), &mut closes);
    closes
}

/// Asserts that every client has exactly one close event of this kind.
fn assert_each_closed_once(closes: &Closes, clients: usize, close: (CloseReason, bool)) {
    assert_eq!(closes.len(), clients);
    assert!(closes.values().all(|of_client| *of_client == [close]), "{closes:?}");
}

async fn browsers(suite: &Suite, gateway: usize, count: usize) -> Vec<Browser> {
    let mut browsers = Vec::new();
    for at in 0..count {
        let mut browser = suite.browser(gateway).await;
        browser.send(format!("remember {at}")).await;
        browser.send("echo here").await;
        assert_eq!(browser.receive_text().await, "here");
        browsers.push(browser);
    }
    browsers
}

async fn worker_closes_the_clients_of_a_dead_gateway(threads: usize) {
    let mut suite = Suite::builder().threads(threads).start().await;
    let mut worker = TestWorker::start(&suite, "1").await;
    let _lost = browsers(&suite, 0, 5).await;
    let mut kept = browsers(&suite, 1, 1).await;
    suite.gateways[0].kill();
    assert_each_closed_once(
        &collect_closes([&mut worker], 5).await,
        5,
        (CloseReason::GatewayLost, false),
    );
    kept[0].send("echo still here").await;
    assert_eq!(kept[0].receive_text().await, "still here");
}

async fn restarted_gateway_ends_its_previous_instance(threads: usize) {
    let mut suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = TestWorker::start(&suite, "1").await;
    let _lost = browsers(&suite, 0, 5).await;
    suite.gateways[0].kill();
    suite.gateways[0].restart().await;
    let mut back = browsers(&suite, 0, 1).await;
    assert_each_closed_once(
        &collect_closes([&mut worker], 5).await,
        5,
        (CloseReason::GatewayLost, false),
    );
    back[0].send("echo and back").await;
    assert_eq!(back[0].receive_text().await, "and back");
}

async fn successor_of_a_dead_worker_closes_its_clients(threads: usize) {
    let mut suite = Suite::builder().gateways(1).threads(threads).start().await;
    let first = TestWorker::start(&suite, "1").await;
    let _lost = browsers(&suite, 0, 5).await;
    let mut second = TestWorker::start(&suite, "2").await;
    drop(first);
    suite.gateways[0].wait_for_metric("pushsuite_gateway_workers", 1.0).await;
    // Once this is answered, every shard has reassigned the clients to the second worker.
    suite.peer(0).await.query(Query::Groups).await;
    // The clients have sent nothing since.
    suite.gateways[0].kill();
    assert_each_closed_once(
        &collect_closes([&mut second], 5).await,
        5,
        (CloseReason::GatewayLost, false),
    );
}

async fn standby_closes_clients_of_a_dead_owner(threads: usize) {
    let mut suite = Suite::builder().gateways(1).threads(threads).start().await;
    let first = TestWorker::start(&suite, "1").await;
    let _lost = browsers(&suite, 0, 5).await;
    let mut second = TestWorker::start(&suite, "2").await;
    suite.gateways[0].kill();
    tokio::time::sleep(Duration::from_millis(200)).await;
    drop(first);
    assert_each_closed_once(
        &collect_closes([&mut second], 5).await,
        5,
        (CloseReason::GatewayLost, true),
    );
}

async fn second_standby_closes_clients_if_owner_and_first_standby_died(threads: usize) {
    let mut suite = Suite::builder().gateways(1).threads(threads).start().await;
    let first = TestWorker::start(&suite, "1").await;
    let _lost = browsers(&suite, 0, 10).await;
    let second = TestWorker::start(&suite, "2").await;
    let mut third = TestWorker::start(&suite, "3").await;
    standbys_updated(&suite).await;
    suite.gateways[0].kill();
    drop((first, second));
    assert_each_closed_once(
        &collect_closes([&mut third], 10).await,
        10,
        (CloseReason::GatewayLost, true),
    );
}

async fn second_standby_closes_nothing_already_closed_by_the_first(threads: usize) {
    let mut suite = Suite::builder().gateways(1).threads(threads).start().await;
    let first = TestWorker::start(&suite, "1").await;
    let _lost = browsers(&suite, 0, 10).await;
    let mut second = TestWorker::start(&suite, "2").await;
    let mut third = TestWorker::start(&suite, "3").await;
    standbys_updated(&suite).await;
    suite.gateways[0].kill();
    drop(first);
    let ends = collect_closes([&mut second, &mut third], 10).await;
    assert_each_closed_once(&ends, 10, (CloseReason::GatewayLost, true));
}

/// Both workers that hold the clients die before either declares the gateway dead.
async fn clients_are_handed_over_to_a_worker_started_after_their_gateway_died(threads: usize) {
    const GRACE: Duration = Duration::from_secs(6);
    let mut suite = Suite::builder().gateways(2).threads(threads).start().await;
    let first = TestWorker::start_with(&suite, "1", GRACE).await;
    let second = TestWorker::start_with(&suite, "2", GRACE).await;
    let _lost = browsers(&suite, 0, 10).await;
    // So that they do not count as new workers.
    tokio::time::sleep(Duration::from_secs(6)).await;
    suite.gateways[0].kill();
    let mut third = TestWorker::start_with(&suite, "3", GRACE).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    drop((first, second));
    let ends = collect_closes([&mut third], 10).await;
    assert_each_closed_once(&ends, 10, (CloseReason::GatewayLost, true));
}

/// Waits until standbys have received all clients and sessions.
async fn standbys_updated(suite: &Suite) {
    eventually("standbys to be up to date", async || {
        let pending = suite.gateways[0].metric("pushsuite_gateway_standby_updates_pending").await?;
        (pending == 0.0).then_some(())
    })
    .await;
}

async fn simultaneous_death_of_gateway_and_worker_ends_every_client_once(threads: usize) {
    let mut suite = Suite::builder().gateways(1).threads(threads).start().await;
    let first = TestWorker::start(&suite, "1").await;
    let mut second = TestWorker::start(&suite, "2").await;
    let _lost = browsers(&suite, 0, 10).await;
    suite.gateways[0].kill();
    drop(first);
    let ends = collect_closes([&mut second], 10).await;
    assert_eq!(ends.len(), 10);
    let marked = |closes: &Vec<_>| *closes == [(CloseReason::GatewayLost, true)];
    let plain = |closes: &Vec<_>| *closes == [(CloseReason::GatewayLost, false)];
    assert!(ends.values().all(|closes| marked(closes) || plain(closes)), "{ends:?}");
    assert!(
        ends.values().any(marked) && ends.values().any(plain),
        "each worker had some: {ends:?}"
    );
}

async fn standby_does_not_repeat_cleanup(threads: usize) {
    let mut suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut first = TestWorker::start(&suite, "1").await;
    let mut second = TestWorker::start(&suite, "2").await;
    let mut lost = browsers(&suite, 0, 10).await;
    for browser in lost.drain(5..) {
        browser.close().await;
    }
    let ends_by_client = collect_closes([&mut first, &mut second], 5).await;
    assert_eq!(ends_by_client.len(), 5, "these closed by themselves");
    suite.gateways[0].kill();
    let ends_by_client = collect_closes([&mut first, &mut second], 5).await;
    assert_each_closed_once(&ends_by_client, 5, (CloseReason::GatewayLost, false));
    // The first worker had recorded its cleanup before it died: it is not repeated.
    drop(first);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(second.try_next_report().is_none());
}

async fn events_in_flight_finish_before_the_close_of_a_dead_gateway(threads: usize) {
    let mut suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = TestWorker::start(&suite, "1").await;
    let mut browser = suite.browser(0).await;
    for word in ["wait", "one", "two"] {
        browser.send(word).await;
    }
    worker.wait_until_blocked(1).await;
    eventually("all three messages to be delivered", async || {
        let unread = suite.gateways[0].metric("pushsuite_gateway_events_total").await;
        (unread >= Some(5.0)).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    suite.gateways[0].kill();
    tokio::time::sleep(Duration::from_secs(2)).await;
    worker.release(1);
    let mut calls = Vec::new();
    while !matches!(calls.last(), Some(Call::Close(_))) {
        calls.push(worker.next_report().await.call);
    }
    let messages = calls.iter().filter(|call| matches!(call, Call::Message(_))).count();
    assert_eq!(
        messages, 2,
        "the first fails, since the reply cannot be sent; the others are handled: {calls:?}"
    );
    assert_eq!(calls.last(), Some(&Call::Close(CloseReason::GatewayLost)));
}

async fn clients_are_reassigned_at_once_when_their_worker_dies(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut first = suite.worker_link(0, "test:1").await;
    let _browser = suite.browser(0).await;
    let client = first.accept_client().await;
    let mut second = suite.worker_link(0, "test:2").await;
    drop(first);
    let reassigned = second.event().await;
    assert_eq!((reassigned.client, &reassigned.event), (client, &Event::Reassigned));
    assert!(reassigned.context.is_some());
}

/// Kills the register and waits until the gateway has noticed.
async fn kill_register(suite: &mut Suite) {
    suite.registers[0].kill();
    suite.gateways[0].wait_for_log(&["register unreachable"]).await;
}

/// The former worker may still run, have declared the gateway dead, and have closed its clients. If
/// the gateway dies now, the new worker closes them, marked if `Reassigned` was marked.
async fn reassigned_client_is_marked_only_if_its_former_worker_may_have_closed_it(threads: usize) {
    for without_register in [true, false] {
        let mut suite = Suite::builder().gateways(1).threads(threads).start().await;
        let mut first = suite.worker_link(0, "test:1").await;
        let _browser = suite.browser(0).await;
        let client = first.accept_client().await;
        let mut second = suite.worker_link(0, "test:2").await;
        if without_register {
            kill_register(&mut suite).await;
        }
        drop(first);
        let reassigned = second.event().await;
        assert_eq!((reassigned.client, &reassigned.event), (client, &Event::Reassigned));
        assert_eq!(reassigned.redelivered, without_register);
    }
}

/// The same for a client that closes while no worker is linked: a register listed the gateway when
/// the close was queued, but the gateway may be declared dead when a worker receives it.
async fn unassigned_close_is_marked_only_if_the_former_worker_may_have_closed_the_client(
    threads: usize,
) {
    for without_register in [true, false] {
        let mut suite = Suite::builder().gateways(1).threads(threads).start().await;
        let mut first = suite.worker_link(0, "test:1").await;
        let browser = suite.browser(0).await;
        let client = first.accept_client().await;
        drop(first);
        suite.gateways[0].wait_for_metric("pushsuite_gateway_workers", 0.0).await;
        browser.close().await;
        suite.gateways[0].wait_for_metric("pushsuite_gateway_clients", 0.0).await;
        if without_register {
            kill_register(&mut suite).await;
        }
        let mut second = suite.worker_link(0, "test:2").await;
        let end = second.event().await;
        assert_eq!((end.client, &end.event), (client, &Event::Close(CloseReason::Client)));
        assert_eq!(end.redelivered, without_register);
    }
}

/// Whether a second worker receives the close events of two clients as redelivered. The first
/// client was reassigned from a lost worker, the second was not.
async fn closes_after_reassignment(suite: &mut Suite, without_register: bool) -> [bool; 2] {
    let mut first = suite.worker_link(0, "test:1").await;
    let moves = suite.browser(0).await;
    let moved = first.accept_client().await;
    let mut second = suite.worker_link(0, "test:2").await;
    if without_register {
        kill_register(suite).await;
    }
    drop(first);
    assert_eq!(second.event_of(moved).await, Event::Reassigned);
    let stays = suite.browser(0).await;
    let stayed = second.accept_client().await;
    moves.close().await;
    let of_moved = second.event().await;
    stays.close().await;
    let of_stayed = second.event().await;
    [(moved, of_moved), (stayed, of_stayed)].map(|(client, end)| {
        assert_eq!(end.client, client);
        assert!(matches!(end.event, Event::Close(_)), "{end:?}");
        end.redelivered
    })
}

/// The lost worker may still run, declare the gateway dead, and close its former clients.
async fn close_of_reassigned_client_is_marked_if_no_register_listed_the_gateway(threads: usize) {
    let mut suite = Suite::builder().gateways(1).threads(threads).start().await;
    assert_eq!(closes_after_reassignment(&mut suite, true).await, [true, false]);
}

async fn close_of_reassigned_client_is_not_marked_otherwise(threads: usize) {
    let mut suite = Suite::builder().gateways(1).threads(threads).start().await;
    assert_eq!(closes_after_reassignment(&mut suite, false).await, [false, false]);
}

async fn fenced_gateway_exits_with_failure(threads: usize) {
    let mut suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = TestWorker::start(&suite, "1").await;
    let mut lost = browsers(&suite, 0, 3).await;
    let mut other = suite.worker_link(0, "test:2").await;
    other.send(&ToGateway::Fenced).await;
    assert_eq!(suite.gateways[0].wait_exit().await.code(), Some(1));
    assert_eq!(lost[0].closed().await, None, "without a close frame");
    assert_each_closed_once(
        &collect_closes([&mut worker], 3).await,
        3,
        (CloseReason::GatewayLost, false),
    );
}

async fn fenced_draining_gateway_exits_with_failure(threads: usize) {
    let mut suite = Suite::builder().gateways(1).threads(threads).start().await;
    // Its unacknowledged events keep the gateway draining.
    let mut worker = suite.worker_link(0, "test:1").await;
    let mut browser = suite.browser(0).await;
    worker.accept_client().await;
    suite.gateways[0].signal(Signal::Term);
    assert_eq!(browser.closed().await, Some(1001));
    worker.send(&ToGateway::Fenced).await;
    assert_eq!(suite.gateways[0].wait_exit().await.code(), Some(1));
}
