//! A message that ends every worker process that handles it: it is given up after a few, and nobody else
//! has anything of it but delay.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use suite_tests::{Browser, Heard, Process, Suite, eventually, suite};
use tokio::{task::JoinHandle, time::sleep};

/// Workers that are started again when they have ended, as a service manager does it.
struct Workers {
    ends: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
    restarting: JoinHandle<Vec<Process>>,
}

impl Workers {
    async fn start(suite: &Suite, count: usize) -> Self {
        let mut workers: Vec<_> = (1..=count).map(|id| worker(suite, id)).collect();
        for worker in &mut workers {
            worker.ready().await;
        }
        let (ends, over) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let (counted, ended) = (Arc::clone(&ends), Arc::clone(&over));
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
        Self { ends, over, restarting }
    }

    fn ends(&self) -> usize {
        self.ends.load(Ordering::Relaxed)
    }

    /// Ends them, and says how many had ended before.
    async fn stop(self) -> usize {
        self.over.store(true, Ordering::Relaxed);
        drop(self.restarting.await.unwrap());
        self.ends.load(Ordering::Relaxed)
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

async fn given_up(suite: &Suite, count: usize) {
    eventually(format!("{count} events to be given up"), async || {
        let given_up = suite.gateways[0].metric("gateway_events_given_up_total").await?;
        (given_up == count as f64).then_some(())
    })
    .await;
}

/// Has a client say one thing after the other and wait for the answers, until told to stop; says how many
/// it has had.
fn echoes(mut browser: Browser, over: Arc<AtomicBool>, what: &'static str) -> JoinHandle<usize> {
    tokio::spawn(async move {
        let mut answers = 0;
        while !over.load(Ordering::Relaxed) {
            let text = format!("{what} {answers}");
            browser.send(text.clone()).await;
            // Where it was handled by a process that ended, there may be two answers.
            loop {
                match browser.hears().await {
                    Heard::Text(heard) if heard == text => break,
                    Heard::Text(heard)
                        if answers == 0 || heard == format!("{what} {}", answers - 1) => {}
                    other => panic!("{other:?} in place of {text}"),
                }
            }
            answers += 1;
            sleep(Duration::from_millis(5)).await;
        }
        answers
    })
}

#[tokio::test]
async fn message_that_ends_worker_processes_is_given_up_and_others_are_served() {
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
        sender.send("what is behind it").await;
        assert_eq!(sender.ends().await, Some(1011), "{poison}");
        given_up(&suite, 1).await;
        over.store(true, Ordering::Relaxed);
        for other in others {
            assert!(0 < other.await.unwrap(), "all are answered");
        }
        // The first time it is among others, then it is watched, perhaps in a group, and then alone.
        let ends = workers.ends();
        assert!((3..=4).contains(&ends), "{poison}: {ends}");
        sleep(Duration::from_millis(500)).await;
        assert_eq!(workers.stop().await, ends, "{poison}: it is over");
        let log = suite.gateways[0].log();
        let mut lines = log.lines().filter(|line| line.contains("event given up"));
        let line = lines.next().unwrap();
        assert!(
            line.contains("ERROR") && line.contains("event=3") && line.contains("client="),
            "{line}"
        );
        assert!(lines.next().is_none());
        assert!(!log.contains("what is behind it"));
    }
}

#[tokio::test]
async fn message_whose_sender_has_left_is_given_up_and_its_end_is_told() {
    let suite = suite().start().await;
    let workers = Workers::start(&suite, 2).await;
    let mut watcher = Browser::open(suite.gateways[0].clients, "/?watcher").await;
    watcher.send("hello").await;
    assert_eq!(watcher.hears_text().await, "hello");
    let mut sender = suite.browser(0).await;
    sender.send("die").await;
    drop(sender);
    given_up(&suite, 1).await;
    assert!(watcher.hears_text().await.ends_with(" Client"));
    assert!((3..=4).contains(&workers.stop().await));
}

#[tokio::test]
async fn handshake_that_ends_worker_processes_is_given_up() {
    let suite = suite().start().await;
    let workers = Workers::start(&suite, 2).await;
    let mut sender = Browser::open(suite.gateways[0].clients, "/?die").await;
    assert_eq!(sender.ends().await, Some(1011));
    assert!((3..=4).contains(&workers.stop().await));
}

#[tokio::test]
async fn client_goes_on_without_the_message_where_that_is_set() {
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
    assert_eq!(sender.hears_text().await, "before");
    let mut heard = Vec::new();
    while heard.last().is_none_or(|last| last != "behind 2") {
        match sender.hears_text().await {
            again if again == "before" => {}
            text => heard.push(text),
        }
    }
    assert_eq!(heard, ["behind 1", "behind 2"]);
    assert!((2..=3).contains(&workers.stop().await));
}

#[tokio::test]
async fn worker_killed_again_and_again_has_no_event_given_up() {
    let suite = suite().start().await;
    let mut workers = [worker(&suite, 1), worker(&suite, 2)];
    for worker in &mut workers {
        worker.ready().await;
    }
    let over = Arc::<AtomicBool>::default();
    let mut clients = Vec::new();
    for at in 0..10 {
        let what = if at % 2 == 0 { "slow 100" } else { "slow 10" };
        clients.push(echoes(suite.browser(0).await, Arc::clone(&over), what));
    }
    for round in 0..6 {
        sleep(Duration::from_millis(150)).await;
        workers[round % 2].kill();
        if round % 3 == 0 {
            // Both at once.
            workers[1 - round % 2].kill();
            workers[1 - round % 2].start_again().await;
        }
        workers[round % 2].start_again().await;
    }
    over.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(suite.gateways[0].metric("gateway_events_given_up_total").await, Some(0.0));
}
