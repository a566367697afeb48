//! Overlapping faults: harmless alone, and together they lose no event and no close of a client.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use protocol::Event;
use push_suite_worker::CloseReason;
use suite_tests::{
    Closes, Raw, Suite, TIMEOUT, TestWorker, on_one_and_three_threads, process::Signal,
    raw::masked, take_closes,
};
use tokio::time::sleep;

on_one_and_three_threads!(
    half_closed_clients_of_a_draining_gateway_are_handled_after_a_worker_stall,
    clients_are_closed_once_while_one_of_three_registers_is_stalled,
    unassigned_clients_are_reassigned_while_their_gateway_drains,
);

/// The worker does not read while its gateway drains, and clients have shut down their write half.
async fn half_closed_clients_of_a_draining_gateway_are_handled_after_a_worker_stall(
    threads: usize,
) {
    const CLIENTS: usize = 6;
    const MESSAGES: usize = 20;
    let mut suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(Raw::websocket(suite.gateways[0].clients).await);
        worker.accept_client().await;
    }
    // The worker's link is not read from here on.
    for client in &mut clients[..CLIENTS / 2] {
        for at in 0..MESSAGES {
            client.send(&masked(0x81, format!("{at}").as_bytes())).await;
        }
        client.shutdown_write().await;
    }
    suite.gateways[0].signal(Signal::Term);
    for client in &mut clients[CLIENTS / 2..] {
        for at in 0..MESSAGES {
            client.send(&masked(0x81, format!("{at}").as_bytes())).await;
        }
        client.shutdown_write().await;
    }
    sleep(Duration::from_secs(1)).await;
    let mut handled: BTreeMap<_, Vec<Event>> = BTreeMap::new();
    let mut closed = 0;
    while closed < CLIENTS {
        let delivery = worker.event().await;
        worker.ack(&delivery).await;
        closed += usize::from(matches!(delivery.event, Event::Close(_)));
        handled.entry(delivery.client).or_default().push(delivery.event);
    }
    assert_eq!(handled.len(), CLIENTS);
    for events in handled.values() {
        let (close, messages) = events.split_last().unwrap();
        assert!(matches!(close, Event::Close(_)), "{events:?}");
        let texts = (0..MESSAGES).map(|at| Event::Message(format!("{at}").as_str().into()));
        assert!(messages.iter().cloned().eq(texts), "{events:?}");
    }
    assert_eq!(suite.gateways[0].wait_exit().await.code(), Some(0));
}

/// A stalled register keeps its connections open and keeps listing a gateway that died.
async fn clients_are_closed_once_while_one_of_three_registers_is_stalled(threads: usize) {
    const CLIENTS: usize = 5;
    let mut suite = Suite::builder().registers(3).threads(threads).start().await;
    let mut workers = [TestWorker::start(&suite, "1").await, TestWorker::start(&suite, "2").await];
    let mut lost = Vec::new();
    for _ in 0..CLIENTS {
        lost.push(suite.served_browser(0).await);
    }
    let mut kept = suite.served_browser(1).await;
    suite.registers[1].pause().await;
    suite.gateways[0].kill();
    let began = Instant::now();
    let mut closes = Closes::new();
    // Takes until the register is considered unreachable, plus the grace period. Other clients are
    // served meanwhile: stale data of that register makes no worker passive.
    while closes.len() < CLIENTS {
        kept.send("echo meanwhile").await;
        assert_eq!(kept.receive_text().await, "meanwhile");
        sleep(Duration::from_millis(200)).await;
        take_closes(&mut workers, &mut closes);
        assert!(began.elapsed() < 4 * TIMEOUT, "{closes:?}");
    }
    // The resumed register announces its stale list.
    suite.registers[1].resume();
    sleep(Duration::from_secs(3)).await;
    take_closes(&mut workers, &mut closes);
    assert_eq!(closes.len(), CLIENTS);
    // Marked, since the gateway may have been running while a register listed it.
    assert!(
        closes.values().all(|of_client| *of_client == [(CloseReason::GatewayLost, true)]),
        "{closes:?}"
    );
    kept.send("echo still here").await;
    assert_eq!(kept.receive_text().await, "still here");
}

/// The only worker is killed while its gateway drains; another is started after that.
async fn unassigned_clients_are_reassigned_while_their_gateway_drains(threads: usize) {
    const CLIENTS: usize = 4;
    let mut suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut first = suite.worker_link(0, "w:1").await;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(suite.browser(0).await);
        first.accept_client().await;
    }
    for client in &mut clients {
        client.send("under way").await;
    }
    suite.gateways[0].signal(Signal::Term);
    for client in &mut clients {
        assert_eq!(client.closed().await, Some(1001));
    }
    drop(first);
    let mut second = suite.worker_link(0, "w:2").await;
    let mut handled: BTreeMap<_, Vec<Event>> = BTreeMap::new();
    let mut closed = 0;
    while closed < CLIENTS {
        let delivery = second.event().await;
        second.ack(&delivery).await;
        closed += usize::from(matches!(delivery.event, Event::Close(_)));
        handled.entry(delivery.client).or_default().push(delivery.event);
    }
    let expected = [Event::Message("under way".into()), Event::Close(CloseReason::Shutdown)];
    assert!(handled.values().all(|events| *events == expected), "{handled:?}");
    assert_eq!(suite.gateways[0].wait_exit().await.code(), Some(0));
}
