//! Poison messages: one that crashes every worker process is dropped after a few attempts, and only
//! delays other clients.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use protocol::{Event, link::ToGateway};
use suite_tests::{Browser, Process, Received, Suite, eventually, suite};
use tokio::{task::JoinHandle, time::sleep};

/// Workers that are restarted after a crash, as by a service manager.
struct Workers {
    crashes: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
    restarting: JoinHandle<Vec<Process>>,
}

impl Workers {
    async fn start(suite: &Suite, count: usize) -> Self {
        let mut workers: Vec<_> = (1..=count).map(|id| worker(suite, id)).collect();
        for worker in &mut workers {
            worker.ready().await;
        }
        let (crashes, over) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let (counted, ended) = (Arc::clone(&crashes), Arc::clone(&over));
        let restarting = tokio::spawn(async move {
            while !ended.load(Ordering::Relaxed) {
                sleep(Duration::from_millis(200)).await;
                for worker in &mut workers {
                    if worker.is_running() {
                        continue;
                    }
                    counted.fetch_add(1, Ordering::Relaxed);
                    worker.respawn();
                }
            }
            workers
        });
        Self { crashes, over, restarting }
    }

    fn crash_count(&self) -> usize {
        self.crashes.load(Ordering::Relaxed)
    }

    /// Kills them; returns the number of crashes before that.
    async fn stop(self) -> usize {
        self.over.store(true, Ordering::Relaxed);
        drop(self.restarting.await.unwrap());
        self.crashes.load(Ordering::Relaxed)
    }
}

fn worker(suite: &Suite, id: usize) -> Process {
    let (name, id) = (format!("crash-{id}"), id.to_string());
    let binary = env!("CARGO_BIN_EXE_crash-worker");
    suite.start_process(&name, binary, &["--name", "crash", "--id", &id])
}

fn suite() -> suite::Builder {
    Suite::builder().gateways(1)
}

async fn wait_dropped(suite: &Suite, count: usize) {
    eventually(format!("{count} events to be dropped"), async || {
        let given_up = suite.gateways[0].metric("pushsuite_gateway_events_given_up_total").await?;
        (given_up == count as f64).then_some(())
    })
    .await;
}

/// Sends messages one at a time and waits for each echo until `over` is set; returns the number of
/// echoes.
fn echoes(mut browser: Browser, over: Arc<AtomicBool>, what: &'static str) -> JoinHandle<usize> {
    tokio::spawn(async move {
        let mut answers = 0;
        while !over.load(Ordering::Relaxed) {
            let text = format!("{what} {answers}");
            browser.send(text.clone()).await;
            // A message handled by a process that crashed may have two echoes.
            loop {
                match browser.receive().await {
                    Received::Text(echo) if echo == text => break,
                    Received::Text(echo)
                        if answers == 0 || echo == format!("{what} {}", answers - 1) => {}
                    other => panic!("{other:?} instead of {text}"),
                }
            }
            answers += 1;
            sleep(Duration::from_millis(5)).await;
        }
        answers
    })
}

#[tokio::test]
async fn poison_message_is_dropped_and_other_clients_are_served() {
    for poison in ["die", "die-later 30"] {
        let suite = suite().threads(2).start().await;
        let workers = Workers::start(&suite, 3).await;
        let over = Arc::<AtomicBool>::default();
        let mut others = Vec::new();
        for at in 0..12 {
            let what = if at % 4 == 0 { "slow 20" } else { "hello" };
            others.push(echoes(suite.browser(0).await, Arc::clone(&over), what));
        }
        let mut sender = suite.browser(0).await;
        sender.send(poison).await;
        sender.send("next message").await;
        assert_eq!(sender.closed().await, Some(1011), "{poison}");
        wait_dropped(&suite, 1).await;
        over.store(true, Ordering::Relaxed);
        for other in others {
            assert!(0 < other.await.unwrap(), "every client has echoes");
        }
        // First attempt among others; then suspect, perhaps in a group; then isolated.
        let crashes = workers.crash_count();
        assert!((3..=4).contains(&crashes), "{poison}: {crashes}");
        sleep(Duration::from_millis(500)).await;
        assert_eq!(workers.stop().await, crashes, "{poison}: no further crash");
        let log = suite.gateways[0].log();
        let mut lines = log.lines().filter(|line| line.contains("event given up"));
        let line = lines.next().unwrap();
        assert!(
            line.contains("ERROR") && line.contains("event=3") && line.contains("client="),
            "{line}"
        );
        assert!(lines.next().is_none());
        assert!(!log.contains("next message"));
    }
}

#[tokio::test]
async fn poison_message_of_a_closed_client_is_dropped_and_its_close_delivered() {
    let suite = suite().start().await;
    let workers = Workers::start(&suite, 2).await;
    let mut watcher = Browser::open(suite.gateways[0].clients, "/?watcher").await;
    watcher.send("hello").await;
    assert_eq!(watcher.receive_text().await, "hello");
    let mut sender = suite.browser(0).await;
    sender.send("die").await;
    drop(sender);
    wait_dropped(&suite, 1).await;
    assert!(watcher.receive_text().await.ends_with(" Client"));
    assert!((3..=4).contains(&workers.stop().await));
}

#[tokio::test]
async fn poison_handshake_is_dropped() {
    let suite = suite().start().await;
    let workers = Workers::start(&suite, 2).await;
    let mut sender = Browser::open(suite.gateways[0].clients, "/?die").await;
    assert_eq!(sender.closed().await, Some(1011));
    assert!((3..=4).contains(&workers.stop().await));
}

#[tokio::test]
async fn client_stays_connected_without_its_poison_message_if_configured() {
    let suite = suite()
        .gateway_flag("--undeliverable", "skip")
        .gateway_flag("--max-delivery-attempts", "2")
        .start()
        .await;
    let workers = Workers::start(&suite, 2).await;
    let mut sender = suite.browser(0).await;
    for text in ["before", "die", "behind 1", "behind 2"] {
        sender.send(text).await;
    }
    assert_eq!(sender.receive_text().await, "before");
    let mut received = Vec::new();
    while received.last().is_none_or(|last| last != "behind 2") {
        match sender.receive_text().await {
            again if again == "before" => {}
            text => received.push(text),
        }
    }
    assert_eq!(received, ["behind 1", "behind 2"]);
    assert!((2..=3).contains(&workers.stop().await));
}

#[tokio::test]
async fn repeatedly_killed_worker_has_no_event_dropped() {
    let suite = suite().start().await;
    let mut workers = [worker(&suite, 1), worker(&suite, 2)];
    for worker in &mut workers {
        worker.ready().await;
    }
    let over = Arc::<AtomicBool>::default();
    let mut clients = Vec::new();
    for at in 0..10 {
        // Far shorter than the time between kills: an event that is hit three times in a row, the
        // last time while it runs alone, is a poison message by the rule.
        let what = if at % 2 == 0 { "slow 20" } else { "slow 10" };
        clients.push(echoes(suite.browser(0).await, Arc::clone(&over), what));
    }
    for round in 0..6 {
        sleep(Duration::from_millis(150)).await;
        workers[round % 2].kill();
        if round % 3 == 0 {
            // Both at the same time.
            workers[1 - round % 2].kill();
            workers[1 - round % 2].restart().await;
        }
        workers[round % 2].restart().await;
    }
    over.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(
        suite.gateways[0].metric("pushsuite_gateway_events_given_up_total").await,
        Some(0.0)
    );
}

/// Two worker processes end while they handle an event; the third handles it.
#[tokio::test]
async fn client_whose_suspect_is_cleared_is_read_again() {
    let suite = Suite::builder().gateways(1).start().await;
    let mut first = suite.worker_link(0, "w:1").await;
    let mut client = suite.browser(0).await;
    let id = first.accept_client().await;
    client.send("suspect").await;
    first.event().await;
    let mut second = suite.worker_link(0, "w:2").await;
    drop(first);
    let redelivered = second.event().await;
    assert_eq!(redelivered.event, Event::Message("suspect".into()));
    let (shard, seq) = (redelivered.shard, redelivered.seq);
    second.send(&ToGateway::HandlerStarted { shard, seq, alone: false }).await;
    // No worker links from here on: that would resume every client.
    let mut third = suite.worker_link(0, "w:3").await;
    drop(second);
    let mut isolated = third.event().await;
    if isolated.event == Event::Reassigned {
        third.ack(&isolated).await;
        isolated = third.event().await;
    }
    assert_eq!(isolated.event, Event::Message("suspect".into()));
    let (shard, seq) = (isolated.shard, isolated.seq);
    third.send(&ToGateway::HandlerStarted { shard, seq, alone: true }).await;
    third.ack(&isolated).await;
    client.send("next").await;
    assert_eq!(third.event_of(id).await, Event::Message("next".into()));
}
