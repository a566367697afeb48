//! Shutdown of processes: graceful at the first signal, immediate at the second.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use protocol::{CloseReason, Event};
use suite_tests::{Browser, Peer, Raw, Received, Suite, on_one_and_three_threads, process::Signal};
use tokio::time::sleep;

on_one_and_three_threads!(
    every_process_exits_cleanly_on_sigterm,
    draining_gateway_notifies_clients_and_workers,
    draining_gateway_accepts_no_new_clients,
    draining_gateway_sends_retry_after,
    draining_gateway_closes_clients_gradually_and_serves_them_until_then,
    second_signal_exits_at_once,
    client_that_does_not_read_does_not_delay_a_drain,
    messages_sent_before_the_close_frame_is_received_are_handled,
    client_of_a_busy_worker_loses_nothing_when_its_gateway_drains,
    draining_gateway_without_worker_waits_for_one,
);

async fn every_process_exits_cleanly_on_sigterm(threads: usize) {
    let mut suite = Suite::builder().workers(2).threads(threads).start().await;
    let browsers = [suite.browser(0).await, suite.browser(1).await];
    for (gateway, mut browser) in suite.gateways.iter_mut().zip(browsers) {
        gateway.signal(Signal::Term);
        assert_eq!(browser.closed().await, Some(1001));
        assert_eq!(gateway.wait_exit().await.code(), Some(0), "{}", gateway.name);
    }
    for worker in &mut suite.workers {
        assert_eq!(worker.stop().await.code(), Some(0), "{}", worker.name);
    }
    assert_eq!(suite.registers[0].stop().await.code(), Some(0));
}

async fn draining_gateway_notifies_clients_and_workers(threads: usize) {
    let mut suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let mut browsers = Vec::new();
    for _ in 0..5 {
        browsers.push(suite.browser(0).await);
    }
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(None);
    }
    for _ in 0..10 {
        let delivery = worker.event().await;
        worker.ack(&delivery).await;
        if delivery.event == Event::Connect {
            *ids.iter_mut().find(|id| id.is_none()).unwrap() = Some(delivery.client);
        }
    }
    suite.gateways[0].signal(Signal::Term);
    for browser in &mut browsers {
        assert_eq!(browser.receive().await, Received::Closed(Some(1001)));
    }
    let mut closed = Vec::new();
    for _ in 0..5 {
        let delivery = worker.event().await;
        worker.ack(&delivery).await;
        assert_eq!(delivery.event, Event::Close(CloseReason::Shutdown));
        closed.push(Some(delivery.client));
    }
    closed.sort();
    ids.sort();
    assert_eq!(closed, ids);
    worker.closed().await;
    assert_eq!(suite.gateways[0].wait_exit().await.code(), Some(0));
}

async fn draining_gateway_accepts_no_new_clients(threads: usize) {
    let builder = Suite::builder().gateways(1).threads(threads);
    let mut suite = builder.gateway_flag("--grace", "2").start().await;
    let secret = suite.secret();
    // A worker that never acknowledges keeps the gateway draining.
    let mut worker = suite.worker_link(0, "w:1").await;
    let mut ann = suite.browser(0).await;
    let gateway = &mut suite.gateways[0];
    worker.event().await;
    gateway.signal(Signal::Term);
    assert_eq!(ann.receive().await, Received::Closed(Some(1001)));
    let refused = tokio::net::TcpStream::connect(gateway.clients).await;
    if let Ok(mut stream) = refused {
        use tokio::io::AsyncReadExt as _;
        // The kernel may have accepted it, but it is closed.
        assert!(matches!(stream.read(&mut [0; 1]).await, Ok(0) | Err(_)));
    }
    drop((worker, secret));
    assert_eq!(gateway.wait_exit().await.code(), Some(0));
}

async fn draining_gateway_sends_retry_after(threads: usize) {
    let mut suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(Raw::websocket(suite.gateways[0].clients).await);
    }
    suite.gateways[0].signal(Signal::Term);
    let mut times = Vec::new();
    for client in &mut clients {
        let (code, reason) = client.close_frame().await;
        assert_eq!(code, 1001);
        let seconds: f64 = reason.strip_prefix("retry-after=").unwrap().parse().unwrap();
        assert!((0.0..=1.0).contains(&seconds), "{reason}");
        times.push(seconds);
    }
    // The times differ, so that clients do not reconnect at once.
    assert!(times.iter().any(|time| *time != times[0]), "{times:?}");
    drop(clients);
    assert_eq!(suite.gateways[0].wait_exit().await.code(), Some(0));
}

async fn draining_gateway_closes_clients_gradually_and_serves_them_until_then(threads: usize) {
    const CLIENTS: usize = 1500;
    let mut suite = Suite::builder().gateways(1).workers(1).threads(threads).start().await;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(suite.browser(0).await);
    }
    suite.gateways[0].signal(Signal::Term);
    // Clients that are still open are served after others were closed.
    let (mut closed, mut served) = (0, 0);
    for client in &mut clients {
        match echoed(client).await {
            true => served += usize::from(0 < closed),
            false => closed += 1,
        }
    }
    assert!(
        0 < served && 0 < closed,
        "{served} were served after the first of {closed} was closed"
    );
    for mut client in clients {
        let code = client.closed().await;
        // Clients closed above have already received their close frame.
        assert!(matches!(code, Some(1001) | None), "{code:?}");
    }
    let gateway = &mut suite.gateways[0];
    assert_eq!(gateway.wait_exit().await.code(), Some(0));
    assert!(!gateway.log().contains("gave up"), "the drain finished within the grace period");
}

/// Whether a client gets an echo; `false` if it is closed.
async fn echoed(client: &mut Browser) -> bool {
    if !client.try_send("e").await {
        return false;
    }
    match client.receive().await {
        Received::Text(text) => text == "e",
        Received::Closed(Some(1001) | None) => false,
        other => panic!("{other:?}"),
    }
}

async fn second_signal_exits_at_once(threads: usize) {
    let mut suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let _ann = suite.browser(0).await;
    worker.event().await;
    let gateway = &mut suite.gateways[0];
    gateway.signal(Signal::Term);
    gateway.wait_for_log(&["draining"]).await;
    // The drain may already have finished.
    if gateway.is_running() {
        gateway.signal(Signal::Term);
    }
    let code = gateway.wait_exit().await.code();
    assert!(matches!(code, Some(0 | 143)), "{code:?}");
}

async fn messages_sent_before_the_close_frame_is_received_are_handled(threads: usize) {
    let mut suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let (mut ann, mut bob) = (suite.browser(0).await, suite.browser(0).await);
    worker.accept_client().await;
    worker.accept_client().await;
    suite.gateways[0].signal(Signal::Term);
    // Both are sent a close frame at about the same time; Ann has not read hers yet.
    assert_eq!(bob.closed().await, Some(1001));
    drop(bob);
    sleep(Duration::from_millis(100)).await;
    ann.send("under way").await;
    assert_eq!(ann.closed().await, Some(1001));
    drop(ann);
    let mut events = Vec::new();
    while events.iter().filter(|(_, event)| matches!(event, Event::Close(_))).count() < 2 {
        let delivery = worker.event().await;
        worker.ack(&delivery).await;
        events.push((delivery.client, delivery.event));
    }
    let client = events.iter().find(|(_, event)| matches!(event, Event::Message(_))).unwrap().0;
    events.retain(|(of, _)| *of == client);
    let expected =
        [Event::Message(protocol::Message::text("under way")), Event::Close(CloseReason::Shutdown)];
    assert!(events.iter().map(|(_, event)| event).eq(&expected), "{events:?}");
    assert_eq!(suite.gateways[0].wait_exit().await.code(), Some(0));
}

async fn client_of_a_busy_worker_loses_nothing_when_its_gateway_drains(threads: usize) {
    const MESSAGES: usize = 40;
    let builder = Suite::builder().gateways(1).threads(threads);
    let mut suite = builder.gateway_flag("--worker-window", "4096").start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let mut ann = suite.browser(0).await;
    let client = worker.accept_client().await;
    for _ in 0..MESSAGES {
        ann.send("m".repeat(1000)).await;
    }
    suite.gateways[0].signal(Signal::Term);
    let ends = tokio::spawn(async move { ann.closed().await });
    // Longer than the timeout for a client's close frame.
    sleep(Duration::from_secs(6)).await;
    for at in 0..MESSAGES {
        assert!(matches!(worker.event_of(client).await, Event::Message(_)), "{at}");
    }
    assert_eq!(ends.await.unwrap(), Some(1001));
    assert_eq!(worker.event_of(client).await, Event::Close(CloseReason::Shutdown));
    assert_eq!(suite.gateways[0].wait_exit().await.code(), Some(0));
}

async fn draining_gateway_without_worker_waits_for_one(threads: usize) {
    let mut suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut ann = suite.browser(0).await;
    ann.send("unassigned").await;
    suite.gateways[0].signal(Signal::Term);
    assert_eq!(ann.closed().await, Some(1001));
    drop(ann);
    // Registers still list it, and it still accepts workers.
    let cluster = suite.cluster().await;
    assert_eq!(cluster.status().linked, 1);
    cluster.close().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let mut events = Vec::new();
    while !matches!(events.last(), Some(Event::Close(_))) {
        let delivery = worker.event().await;
        worker.ack(&delivery).await;
        events.push(delivery.event);
    }
    assert_eq!(events[2], Event::Message(protocol::Message::text("unassigned")));
    assert_eq!(events[3], Event::Close(CloseReason::Shutdown));
    worker.closed().await;
    assert_eq!(suite.gateways[0].wait_exit().await.code(), Some(0));
}

async fn client_that_does_not_read_does_not_delay_a_drain(threads: usize) {
    let builder = Suite::builder().gateways(1).threads(threads);
    let mut suite = builder.gateway_flag("--grace", "2").start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let _stuck = Raw::websocket(suite.gateways[0].clients).await;
    let id = worker.accept_client().await;
    fill(&mut worker, id).await;
    // Not beyond the grace period, that is.
    assert_eq!(suite.gateways[0].stop().await.code(), Some(0));
}

/// Sends more than the kernel buffers, and less than the limit for slow clients.
async fn fill(worker: &mut Peer, to: protocol::ConnectionId) {
    for _ in 0..100 {
        let message = protocol::Message::binary(vec![0; 60_000]);
        worker.command(protocol::Command::SendToClient { to, message }).await;
    }
    worker.acknowledged().await;
}
