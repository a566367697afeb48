//! Everybody who was told of a client is told of its end, once, whoever dies in whichever order.

use std::{collections::BTreeMap, iter, time::Duration};

use business_worker::{ClientId, CloseReason};
use protocol::{Event, Query, link::ToGateway};
use suite_tests::{
    Browser, Suite, TestWorker, Told, eventually, on_one_and_three_threads, process::Signal,
};

on_one_and_three_threads!(
    a_worker_closes_the_clients_of_a_gateway_that_died,
    a_gateway_that_is_back_as_another_ends_the_life_before,
    whoever_took_over_from_a_dead_worker_closes_its_clients,
    a_standby_closes_what_a_worker_could_not,
    the_second_standby_closes_what_neither_worker_nor_first_standby_could,
    the_second_standby_closes_nothing_that_the_first_has_closed,
    clients_are_handed_over_to_a_worker_that_was_started_after_their_gateway_died,
    a_gateway_and_a_worker_may_die_together,
    what_a_standby_need_not_do_it_does_not,
    what_was_in_hand_when_a_gateway_died_is_finished_first,
    clients_move_at_once_when_their_worker_is_gone,
    ends_of_clients_that_have_moved_are_marked_if_no_register_knew_of_the_gateway,
    ends_of_clients_that_have_moved_are_not_marked_otherwise,
    a_reassigned_client_is_marked_only_if_its_former_worker_may_have_closed_it,
    a_close_that_waited_for_a_worker_is_marked_only_if_its_former_worker_may_have_closed_it,
    a_gateway_that_others_took_for_dead_begins_anew,
    a_gateway_that_is_on_its_way_to_its_end_says_so_too_if_others_took_it_for_dead,
);

/// How each client ended, and whether that was marked.
type Ends = BTreeMap<ClientId, Vec<(CloseReason, bool)>>;

/// Takes what workers were told of ends, until that many clients have theirs.
async fn ends<'a>(workers: impl IntoIterator<Item = &'a mut TestWorker>, clients: usize) -> Ends {
    let mut workers: Vec<_> = workers.into_iter().collect();
    let mut ends = Ends::new();
    eventually("every client to be closed", async || {
        take_ends(workers.iter_mut().map(|worker| &mut **worker), &mut ends);
        (clients <= ends.len()).then_some(())
    })
    .await;
    // Whoever else thinks it should tell as well has time to.
    tokio::time::sleep(Duration::from_secs(3)).await;
    take_ends(workers.iter_mut().map(|worker| &mut **worker), &mut ends);
    ends
}

fn take_ends<'a>(workers: impl Iterator<Item = &'a mut TestWorker>, ends: &mut Ends) {
    for worker in workers {
        for report in iter::from_fn(|| worker.told_already()) {
            if let Told::Close(reason) = report.told {
                ends.entry(report.client).or_default().push((reason, report.redelivered));
            }
        }
    }
}

/// Everybody has one end of that kind.
fn all_ended(ends: &Ends, clients: usize, end: (CloseReason, bool)) {
    assert_eq!(ends.len(), clients);
    assert!(ends.values().all(|told| *told == [end]), "{ends:?}");
}

async fn browsers(suite: &Suite, gateway: usize, count: usize) -> Vec<Browser> {
    let mut browsers = Vec::new();
    for at in 0..count {
        let mut browser = suite.browser(gateway).await;
        browser.send(format!("remember {at}")).await;
        browser.send("echo here").await;
        assert_eq!(browser.hears_text().await, "here");
        browsers.push(browser);
    }
    browsers
}

async fn a_worker_closes_the_clients_of_a_gateway_that_died(threads: usize) {
    let mut suite = Suite::builder().threads(threads).start().await;
    let mut worker = TestWorker::start(&suite, "1").await;
    let _lost = browsers(&suite, 0, 5).await;
    let mut kept = browsers(&suite, 1, 1).await;
    suite.gateways[0].kill();
    all_ended(&ends([&mut worker], 5).await, 5, (CloseReason::GatewayLost, false));
    kept[0].send("echo still here").await;
    assert_eq!(kept[0].hears_text().await, "still here");
}

async fn a_gateway_that_is_back_as_another_ends_the_life_before(threads: usize) {
    let mut suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = TestWorker::start(&suite, "1").await;
    let _lost = browsers(&suite, 0, 5).await;
    suite.gateways[0].kill();
    suite.gateways[0].start_again().await;
    let mut back = browsers(&suite, 0, 1).await;
    all_ended(&ends([&mut worker], 5).await, 5, (CloseReason::GatewayLost, false));
    back[0].send("echo and back").await;
    assert_eq!(back[0].hears_text().await, "and back");
}

async fn whoever_took_over_from_a_dead_worker_closes_its_clients(threads: usize) {
    let mut suite = Suite::builder().gateways(1).threads(threads).start().await;
    let first = TestWorker::start(&suite, "1").await;
    let _lost = browsers(&suite, 0, 5).await;
    let mut second = TestWorker::start(&suite, "2").await;
    drop(first);
    eventually("the first worker to be gone", async || {
        (suite.gateways[0].metric("gateway_workers").await == Some(1.0)).then_some(())
    })
    .await;
    // Every shard knows by then, and has told the second worker.
    suite.peer(0).await.ask(Query::Groups).await;
    // The clients have said nothing since.
    suite.gateways[0].kill();
    all_ended(&ends([&mut second], 5).await, 5, (CloseReason::GatewayLost, false));
}

async fn a_standby_closes_what_a_worker_could_not(threads: usize) {
    let mut suite = Suite::builder().gateways(1).threads(threads).start().await;
    let first = TestWorker::start(&suite, "1").await;
    let _lost = browsers(&suite, 0, 5).await;
    let mut second = TestWorker::start(&suite, "2").await;
    suite.gateways[0].kill();
    tokio::time::sleep(Duration::from_millis(200)).await;
    drop(first);
    all_ended(&ends([&mut second], 5).await, 5, (CloseReason::GatewayLost, true));
}

async fn the_second_standby_closes_what_neither_worker_nor_first_standby_could(threads: usize) {
    let mut suite = Suite::builder().gateways(1).threads(threads).start().await;
    let first = TestWorker::start(&suite, "1").await;
    let _lost = browsers(&suite, 0, 10).await;
    let second = TestWorker::start(&suite, "2").await;
    let mut third = TestWorker::start(&suite, "3").await;
    told(&suite).await;
    suite.gateways[0].kill();
    drop((first, second));
    all_ended(&ends([&mut third], 10).await, 10, (CloseReason::GatewayLost, true));
}

async fn the_second_standby_closes_nothing_that_the_first_has_closed(threads: usize) {
    let mut suite = Suite::builder().gateways(1).threads(threads).start().await;
    let first = TestWorker::start(&suite, "1").await;
    let _lost = browsers(&suite, 0, 10).await;
    let mut second = TestWorker::start(&suite, "2").await;
    let mut third = TestWorker::start(&suite, "3").await;
    told(&suite).await;
    suite.gateways[0].kill();
    drop(first);
    let ends = ends([&mut second, &mut third], 10).await;
    all_ended(&ends, 10, (CloseReason::GatewayLost, true));
}

/// Both that know the clients die before either has decided that their gateway is gone.
async fn clients_are_handed_over_to_a_worker_that_was_started_after_their_gateway_died(
    threads: usize,
) {
    const GRACE: Duration = Duration::from_secs(6);
    let mut suite = Suite::builder().gateways(2).threads(threads).start().await;
    let first = TestWorker::start_with(&suite, "1", GRACE).await;
    let second = TestWorker::start_with(&suite, "2", GRACE).await;
    let _lost = browsers(&suite, 0, 10).await;
    // So that they do not count as newcomers.
    tokio::time::sleep(Duration::from_secs(6)).await;
    suite.gateways[0].kill();
    let mut third = TestWorker::start_with(&suite, "3", GRACE).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    drop((first, second));
    let ends = ends([&mut third], 10).await;
    all_ended(&ends, 10, (CloseReason::GatewayLost, true));
}

/// Waits until standbys have been told of all clients and their sessions.
async fn told(suite: &Suite) {
    eventually("standbys to be told", async || {
        let pending = suite.gateways[0].metric("gateway_standby_updates_pending").await?;
        (pending == 0.0).then_some(())
    })
    .await;
}

async fn a_gateway_and_a_worker_may_die_together(threads: usize) {
    let mut suite = Suite::builder().gateways(1).threads(threads).start().await;
    let first = TestWorker::start(&suite, "1").await;
    let mut second = TestWorker::start(&suite, "2").await;
    let _lost = browsers(&suite, 0, 10).await;
    suite.gateways[0].kill();
    drop(first);
    let ends = ends([&mut second], 10).await;
    assert_eq!(ends.len(), 10);
    let marked = |told: &Vec<_>| *told == [(CloseReason::GatewayLost, true)];
    let plain = |told: &Vec<_>| *told == [(CloseReason::GatewayLost, false)];
    assert!(ends.values().all(|told| marked(told) || plain(told)), "{ends:?}");
    assert!(ends.values().any(marked) && ends.values().any(plain), "each had some: {ends:?}");
}

async fn what_a_standby_need_not_do_it_does_not(threads: usize) {
    let mut suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut first = TestWorker::start(&suite, "1").await;
    let mut second = TestWorker::start(&suite, "2").await;
    let mut lost = browsers(&suite, 0, 10).await;
    for browser in lost.drain(5..) {
        browser.close().await;
    }
    let told = ends([&mut first, &mut second], 5).await;
    assert_eq!(told.len(), 5, "these left by themselves");
    suite.gateways[0].kill();
    let told = ends([&mut first, &mut second], 5).await;
    all_ended(&told, 5, (CloseReason::GatewayLost, false));
    // One had settled its part before it died: nobody does that again.
    drop(first);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(second.told_already().is_none());
}

async fn what_was_in_hand_when_a_gateway_died_is_finished_first(threads: usize) {
    let mut suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = TestWorker::start(&suite, "1").await;
    let mut browser = suite.browser(0).await;
    for word in ["wait", "one", "two"] {
        browser.send(word).await;
    }
    worker.has_waiting(1).await;
    eventually("all three to be there", async || {
        let unread = suite.gateways[0].metric("gateway_events_total").await;
        (unread >= Some(5.0)).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    suite.gateways[0].kill();
    tokio::time::sleep(Duration::from_secs(2)).await;
    worker.let_go(1);
    let mut told = Vec::new();
    while !matches!(told.last(), Some(Told::Close(_))) {
        told.push(worker.told().await.told);
    }
    let messages = told.iter().filter(|told| matches!(told, Told::Message(_))).count();
    assert_eq!(
        messages, 2,
        "the first fails, since nobody can be answered; the others come: {told:?}"
    );
    assert_eq!(told.last(), Some(&Told::Close(CloseReason::GatewayLost)));
}

async fn clients_move_at_once_when_their_worker_is_gone(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut first = suite.worker_link(0, "test:1").await;
    let _browser = suite.browser(0).await;
    let client = first.welcomes().await;
    let mut second = suite.worker_link(0, "test:2").await;
    drop(first);
    let adopted = second.event().await;
    assert_eq!((adopted.client, &adopted.event), (client, &Event::Adopt));
    assert!(adopted.context.is_some());
}

/// Kills the register and waits until the gateway knows.
async fn kill_register(suite: &mut Suite) {
    suite.registers[0].kill();
    suite.gateways[0].logs(&["register unreachable"]).await;
}

/// Waits until a gauge of the first gateway has this value.
async fn has(suite: &Suite, gauge: &str, value: f64) {
    eventually(format!("{gauge} to be {value}"), async || {
        (suite.gateways[0].metric(gauge).await? == value).then_some(())
    })
    .await;
}

/// The former worker may be alive, have declared the gateway dead and closed its clients there. If
/// the gateway dies now, the new worker closes them, and marks that if `Adopt` was marked.
async fn a_reassigned_client_is_marked_only_if_its_former_worker_may_have_closed_it(
    threads: usize,
) {
    for without_register in [true, false] {
        let mut suite = Suite::builder().gateways(1).threads(threads).start().await;
        let mut first = suite.worker_link(0, "test:1").await;
        let _browser = suite.browser(0).await;
        let client = first.welcomes().await;
        let mut second = suite.worker_link(0, "test:2").await;
        if without_register {
            kill_register(&mut suite).await;
        }
        drop(first);
        let adopted = second.event().await;
        assert_eq!((adopted.client, &adopted.event), (client, &Event::Adopt));
        assert_eq!(adopted.redelivered, without_register);
    }
}

/// The same for a client that leaves while no worker is linked: when its close was queued, a register
/// knew of the gateway; when a worker takes it, the gateway may have been declared dead.
async fn a_close_that_waited_for_a_worker_is_marked_only_if_its_former_worker_may_have_closed_it(
    threads: usize,
) {
    for without_register in [true, false] {
        let mut suite = Suite::builder().gateways(1).threads(threads).start().await;
        let mut first = suite.worker_link(0, "test:1").await;
        let browser = suite.browser(0).await;
        let client = first.welcomes().await;
        drop(first);
        has(&suite, "gateway_workers", 0.0).await;
        browser.close().await;
        has(&suite, "gateway_clients", 0.0).await;
        if without_register {
            kill_register(&mut suite).await;
        }
        let mut second = suite.worker_link(0, "test:2").await;
        let end = second.event().await;
        assert_eq!((end.client, &end.event), (client, &Event::Close(CloseReason::Client)));
        assert_eq!(end.redelivered, without_register);
    }
}

/// How a second worker is told of the ends of two clients, the first of which had a worker before that is
/// lost: whether each is marked.
async fn ends_after_a_move(suite: &mut Suite, without_register: bool) -> [bool; 2] {
    let mut first = suite.worker_link(0, "test:1").await;
    let moves = suite.browser(0).await;
    let moved = first.welcomes().await;
    let mut second = suite.worker_link(0, "test:2").await;
    if without_register {
        kill_register(suite).await;
    }
    drop(first);
    assert_eq!(second.event_of(moved).await, Event::Adopt);
    let stays = suite.browser(0).await;
    let stayed = second.welcomes().await;
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

/// The worker that is lost may live, take the gateway for gone, and close its former clients.
async fn ends_of_clients_that_have_moved_are_marked_if_no_register_knew_of_the_gateway(
    threads: usize,
) {
    let mut suite = Suite::builder().gateways(1).threads(threads).start().await;
    assert_eq!(ends_after_a_move(&mut suite, true).await, [true, false]);
}

async fn ends_of_clients_that_have_moved_are_not_marked_otherwise(threads: usize) {
    let mut suite = Suite::builder().gateways(1).threads(threads).start().await;
    assert_eq!(ends_after_a_move(&mut suite, false).await, [false, false]);
}

async fn a_gateway_that_others_took_for_dead_begins_anew(threads: usize) {
    let mut suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = TestWorker::start(&suite, "1").await;
    let mut lost = browsers(&suite, 0, 3).await;
    let mut other = suite.worker_link(0, "test:2").await;
    other.say(&ToGateway::WrittenOff).await;
    assert_eq!(suite.gateways[0].ended().await.code(), Some(1));
    assert_eq!(lost[0].ends().await, None, "without a word");
    all_ended(&ends([&mut worker], 3).await, 3, (CloseReason::GatewayLost, false));
}

async fn a_gateway_that_is_on_its_way_to_its_end_says_so_too_if_others_took_it_for_dead(
    threads: usize,
) {
    let mut suite = Suite::builder().gateways(1).threads(threads).start().await;
    // What it does not deal with keeps the gateway from its end.
    let mut worker = suite.worker_link(0, "test:1").await;
    let mut browser = suite.browser(0).await;
    worker.welcomes().await;
    suite.gateways[0].signal(Signal::Term);
    assert_eq!(browser.ends().await, Some(1001));
    worker.say(&ToGateway::WrittenOff).await;
    assert_eq!(suite.gateways[0].ended().await.code(), Some(1));
}
