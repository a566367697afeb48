//! How processes end: in order when asked, at once when asked twice.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use protocol::{CloseReason, Event};
use suite_tests::{Browser, Heard, Peer, Raw, Suite, on_one_and_three_threads, process::Signal};
use tokio::time::sleep;

on_one_and_three_threads!(
    every_process_ends_well_when_asked,
    a_gateway_that_goes_down_tells_clients_and_workers,
    a_gateway_that_goes_down_takes_no_one_new,
    a_gateway_that_goes_down_says_when_to_come_back,
    many_clients_are_closed_one_after_the_other_and_served_until_then,
    a_second_signal_ends_at_once,
    a_client_that_does_not_read_does_not_hold_up_a_drain,
    what_a_client_sends_before_it_hears_of_the_end_is_handled,
    client_that_waits_for_its_busy_worker_loses_nothing_when_its_gateway_goes_down,
    a_gateway_that_goes_down_without_a_worker_waits_for_one,
);

async fn every_process_ends_well_when_asked(threads: usize) {
    let mut suite = Suite::builder().workers(2).threads(threads).start().await;
    let browsers = [suite.browser(0).await, suite.browser(1).await];
    for (gateway, mut browser) in suite.gateways.iter_mut().zip(browsers) {
        gateway.signal(Signal::Term);
        assert_eq!(browser.ends().await, Some(1001));
        assert_eq!(gateway.ended().await.code(), Some(0), "{}", gateway.name);
    }
    for worker in &mut suite.workers {
        assert_eq!(worker.stop().await.code(), Some(0), "{}", worker.name);
    }
    assert_eq!(suite.registers[0].stop().await.code(), Some(0));
}

async fn a_gateway_that_goes_down_tells_clients_and_workers(threads: usize) {
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
        worker.done(&delivery).await;
        if delivery.event == Event::Connect {
            *ids.iter_mut().find(|id| id.is_none()).unwrap() = Some(delivery.client);
        }
    }
    suite.gateways[0].signal(Signal::Term);
    for browser in &mut browsers {
        assert_eq!(browser.hears().await, Heard::End(Some(1001)));
    }
    let mut closed = Vec::new();
    for _ in 0..5 {
        let delivery = worker.event().await;
        worker.done(&delivery).await;
        assert_eq!(delivery.event, Event::Close(CloseReason::Shutdown));
        closed.push(Some(delivery.client));
    }
    closed.sort();
    ids.sort();
    assert_eq!(closed, ids);
    worker.ends().await;
    assert_eq!(suite.gateways[0].ended().await.code(), Some(0));
}

async fn a_gateway_that_goes_down_takes_no_one_new(threads: usize) {
    let builder = Suite::builder().gateways(1).threads(threads);
    let mut suite = builder.gateway_flag("--grace", "2").start().await;
    let secret = suite.secret();
    // A worker that is never done keeps the gateway from ending at once.
    let mut worker = suite.worker_link(0, "w:1").await;
    let mut ann = suite.browser(0).await;
    let gateway = &mut suite.gateways[0];
    worker.event().await;
    gateway.signal(Signal::Term);
    assert_eq!(ann.hears().await, Heard::End(Some(1001)));
    let refused = tokio::net::TcpStream::connect(gateway.clients).await;
    if let Ok(mut stream) = refused {
        use tokio::io::AsyncReadExt as _;
        // It was accepted by the kernel at most, and hung up on.
        assert!(matches!(stream.read(&mut [0; 1]).await, Ok(0) | Err(_)));
    }
    drop((worker, secret));
    assert_eq!(gateway.ended().await.code(), Some(0));
}

async fn a_gateway_that_goes_down_says_when_to_come_back(threads: usize) {
    let mut suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(Raw::websocket(suite.gateways[0].clients).await);
    }
    suite.gateways[0].signal(Signal::Term);
    let mut times = Vec::new();
    for client in &mut clients {
        let (code, reason) = client.goodbye().await;
        assert_eq!(code, 1001);
        let seconds: f64 = reason.strip_prefix("retry-after=").unwrap().parse().unwrap();
        assert!((0.0..=1.0).contains(&seconds), "{reason}");
        times.push(seconds);
    }
    // Each is told another time, so that they do not come back together.
    assert!(times.iter().any(|time| *time != times[0]), "{times:?}");
    drop(clients);
    assert_eq!(suite.gateways[0].ended().await.code(), Some(0));
}

async fn many_clients_are_closed_one_after_the_other_and_served_until_then(threads: usize) {
    const CLIENTS: usize = 1500;
    let mut suite = Suite::builder().gateways(1).workers(1).threads(threads).start().await;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(suite.browser(0).await);
    }
    suite.gateways[0].signal(Signal::Term);
    // Whoever is not closed yet is served as ever, after others were closed.
    let (mut closed, mut served) = (0, 0);
    for client in &mut clients {
        match echoed(client).await {
            true => served += usize::from(0 < closed),
            false => closed += 1,
        }
    }
    assert!(0 < served && 0 < closed, "{served} were served behind one of {closed} closed ones");
    for mut client in clients {
        let code = client.ends().await;
        // Those that were closed above have heard it already.
        assert!(matches!(code, Some(1001) | None), "{code:?}");
    }
    let gateway = &mut suite.gateways[0];
    assert_eq!(gateway.ended().await.code(), Some(0));
    assert!(!gateway.log().contains("gave up"), "everything was done within the grace");
}

/// Whether a client gets an echo; if not, it is closed.
async fn echoed(client: &mut Browser) -> bool {
    if !client.try_send("e").await {
        return false;
    }
    match client.hears().await {
        Heard::Text(text) => text == "e",
        Heard::End(Some(1001) | None) => false,
        other => panic!("{other:?}"),
    }
}

async fn a_second_signal_ends_at_once(threads: usize) {
    let mut suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let _ann = suite.browser(0).await;
    worker.event().await;
    let gateway = &mut suite.gateways[0];
    gateway.signal(Signal::Term);
    gateway.logs(&["draining"]).await;
    // It may be done by itself by now, since nobody can be sure what it waits for.
    if gateway.is_running() {
        gateway.signal(Signal::Term);
    }
    let code = gateway.ended().await.code();
    assert!(matches!(code, Some(0 | 143)), "{code:?}");
}

async fn what_a_client_sends_before_it_hears_of_the_end_is_handled(threads: usize) {
    let mut suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let (mut ann, mut bob) = (suite.browser(0).await, suite.browser(0).await);
    worker.welcomes().await;
    worker.welcomes().await;
    suite.gateways[0].signal(Signal::Term);
    // Both are told at about the same time; ann has not looked yet.
    assert_eq!(bob.ends().await, Some(1001));
    drop(bob);
    sleep(Duration::from_millis(100)).await;
    ann.send("under way").await;
    assert_eq!(ann.ends().await, Some(1001));
    drop(ann);
    let mut told = Vec::new();
    while told.iter().filter(|(_, event)| matches!(event, Event::Close(_))).count() < 2 {
        let delivery = worker.event().await;
        worker.done(&delivery).await;
        told.push((delivery.client, delivery.event));
    }
    let client = told.iter().find(|(_, event)| matches!(event, Event::Message(_))).unwrap().0;
    told.retain(|(of, _)| *of == client);
    let expected =
        [Event::Message(protocol::Message::text("under way")), Event::Close(CloseReason::Shutdown)];
    assert!(told.iter().map(|(_, event)| event).eq(&expected), "{told:?}");
    assert_eq!(suite.gateways[0].ended().await.code(), Some(0));
}

async fn client_that_waits_for_its_busy_worker_loses_nothing_when_its_gateway_goes_down(
    threads: usize,
) {
    const MESSAGES: usize = 40;
    let builder = Suite::builder().gateways(1).threads(threads);
    let mut suite = builder.gateway_flag("--worker-window", "4096").start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let mut ann = suite.browser(0).await;
    let client = worker.welcomes().await;
    for _ in 0..MESSAGES {
        ann.send("m".repeat(1000)).await;
    }
    suite.gateways[0].signal(Signal::Term);
    let ends = tokio::spawn(async move { ann.ends().await });
    // Longer than a client may take to answer.
    sleep(Duration::from_secs(6)).await;
    for at in 0..MESSAGES {
        assert!(matches!(worker.event_of(client).await, Event::Message(_)), "{at}");
    }
    assert_eq!(ends.await.unwrap(), Some(1001));
    assert_eq!(worker.event_of(client).await, Event::Close(CloseReason::Shutdown));
    assert_eq!(suite.gateways[0].ended().await.code(), Some(0));
}

async fn a_gateway_that_goes_down_without_a_worker_waits_for_one(threads: usize) {
    let mut suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut ann = suite.browser(0).await;
    ann.send("for whom it concerns").await;
    suite.gateways[0].signal(Signal::Term);
    assert_eq!(ann.ends().await, Some(1001));
    drop(ann);
    // It is still named, and still lets workers in.
    let cluster = suite.cluster().await;
    assert_eq!(cluster.status().linked, 1);
    cluster.close().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let mut told = Vec::new();
    while !matches!(told.last(), Some(Event::Close(_))) {
        let delivery = worker.event().await;
        worker.done(&delivery).await;
        told.push(delivery.event);
    }
    assert_eq!(told[2], Event::Message(protocol::Message::text("for whom it concerns")));
    assert_eq!(told[3], Event::Close(CloseReason::Shutdown));
    worker.ends().await;
    assert_eq!(suite.gateways[0].ended().await.code(), Some(0));
}

async fn a_client_that_does_not_read_does_not_hold_up_a_drain(threads: usize) {
    let builder = Suite::builder().gateways(1).threads(threads);
    let mut suite = builder.gateway_flag("--grace", "2").start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let _stuck = Raw::websocket(suite.gateways[0].clients).await;
    let id = worker.welcomes().await;
    fill(&mut worker, id).await;
    // Not for longer than the grace, that is.
    assert_eq!(suite.gateways[0].stop().await.code(), Some(0));
}

/// Sends more than the kernel takes, and less than makes a client a slow one.
async fn fill(worker: &mut Peer, to: protocol::ConnectionId) {
    for _ in 0..100 {
        let message = protocol::Message::binary(vec![0; 60_000]);
        worker.command(protocol::Command::SendToClient { to, message }).await;
    }
    worker.taken().await;
}
