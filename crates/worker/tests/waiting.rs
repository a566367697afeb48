//! Handlers that wait for an answer of a gateway: without a task, in order, and to their end.

mod running;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use protocol::{
    Answer, Command, Effect, Query,
    link::{ToGateway, ToPeer},
};
use push_suite_worker::{Client, Message, Process, Worker};
use running::start_one;
use test_support::fakes::{FakeLink, sent_to, soon};
use tokio::{
    runtime::Handle,
    sync::{Semaphore, mpsc},
};

const REACHED: Effect = Effect { matched: 1, reached: 1, dropped: 0 };

/// Waits for answers, and says what they were.
#[derive(Clone)]
struct Requester {
    permits: Arc<Semaphore>,
    said: mpsc::Sender<String>,
    stopped: Arc<AtomicBool>,
}

impl Requester {
    fn new() -> (Self, mpsc::Receiver<String>) {
        let (said, hears) = mpsc::channel(16);
        (Self { permits: Arc::new(Semaphore::new(0)), said, stopped: Arc::default() }, hears)
    }
}

impl Worker for Requester {
    async fn on_message(&self, client: &Client, message: Message) -> anyhow::Result<()> {
        let text = message.as_text().unwrap_or_default().to_owned();
        let answer = match text.split(' ').next() {
            Some("groups") => format!("{} groups", client.groups().await?.len()),
            Some("short") => {
                client.send(&*text).report_within(Duration::from_millis(20)).await?.to_string()
            }
            Some("plain") => "plain".to_owned(),
            _ => client.send(&*text).report().await?.to_string(),
        };
        if text.starts_with("twice") {
            self.permits.acquire().await?.forget();
        }
        self.said.send(format!("{text}: {answer}")).await?;
        Ok(client.send(format!("did {text}")).await?)
    }

    async fn on_worker_stop(&self, _: &Process) -> anyhow::Result<()> {
        self.stopped.store(true, Ordering::SeqCst);
        Ok(())
    }
}

/// The next command with a request, and the number of that.
async fn reported(link: &mut FakeLink) -> (u64, Command) {
    loop {
        match link.next().await {
            ToGateway::ReportedCommand { request, command, .. } => return (request, command),
            other => link.note(other).await,
        }
    }
}

async fn answer(link: &mut FakeLink, request: u64, effect: Effect) {
    link.send(ToPeer::Answer { request, answer: Answer::Effect(effect) }).await;
}

async fn heard(hears: &mut mpsc::Receiver<String>) -> String {
    soon(hears.recv()).await.expect("the worker runs")
}

#[tokio::test]
async fn handlers_that_wait_for_answers_have_no_tasks() {
    let (requester, mut hears) = Requester::new();
    let (_running, _gateway, mut link) = start_one(requester).await;
    tokio::spawn(async move { while hears.recv().await.is_some() {} });
    link.message(0, "plain").await;
    assert_eq!(link.command().await, sent_to(0, "did plain"));
    let before = Handle::current().metrics().num_alive_tasks();
    // On a busy machine handlers may seem to compute for long, and then have lanes for a while.
    let mut tasks = Vec::new();
    for _ in 0..200 {
        tasks.push(tasks_of_waiting_handlers(&mut link).await.saturating_sub(before));
        if tasks.ends_with(&[0]) {
            return;
        }
    }
    panic!("each time handlers had tasks: {tasks:?}");
}

/// Lets handlers wait, counts all tasks meanwhile, and answers in another order.
async fn tasks_of_waiting_handlers(link: &mut FakeLink) -> usize {
    const CLIENTS: u32 = 20;
    let mut requests = Vec::new();
    for client in 1..=CLIENTS {
        link.message(client, "send").await;
        let (request, command) = reported(link).await;
        assert_eq!(command, sent_to(client, "send"));
        requests.push((client, request));
    }
    link.message(0, "groups").await;
    let (groups, query) = link.query().await;
    assert!(matches!(query, Query::Select { .. }), "{query:?}");
    let tasks = Handle::current().metrics().num_alive_tasks();
    for (client, request) in requests.into_iter().rev() {
        answer(link, request, REACHED).await;
        assert_eq!(link.command().await, sent_to(client, "did send"));
    }
    link.send(ToPeer::Answer { request: groups, answer: Answer::Rows(Vec::new()) }).await;
    assert_eq!(link.command().await, sent_to(0, "did groups"));
    tasks
}

#[tokio::test]
async fn next_events_of_a_client_whose_handler_waits_for_an_answer_follow_in_order() {
    let (requester, mut hears) = Requester::new();
    let (_running, _gateway, mut link) = start_one(requester).await;
    for text in ["send 1", "plain 2", "send 3", "plain 4"] {
        link.message(1, text).await;
    }
    link.message(2, "plain 5").await;
    assert_eq!(heard(&mut hears).await, "plain 5: plain");
    let (first, command) = reported(&mut link).await;
    assert_eq!(command, sent_to(1, "send 1"));
    answer(&mut link, first, REACHED).await;
    let (third, command) = loop {
        match link.next().await {
            ToGateway::ReportedCommand { request, command, .. } => break (request, command),
            ToGateway::Command { .. } => {}
            other => link.note(other).await,
        }
    };
    assert_eq!(command, sent_to(1, "send 3"));
    answer(&mut link, third, Effect { reached: 0, ..REACHED }).await;
    for said in [
        "send 1: 1 matched, 1 reached, 0 dropped",
        "plain 2: plain",
        "send 3: 1 matched, 0 reached, 0 dropped",
        "plain 4: plain",
    ] {
        assert_eq!(heard(&mut hears).await, said);
    }
}

#[tokio::test]
async fn handler_that_waits_for_something_else_after_an_answer_goes_on() {
    let (requester, mut hears) = Requester::new();
    let permits = Arc::clone(&requester.permits);
    let (_running, _gateway, mut link) = start_one(requester).await;
    link.message(1, "twice").await;
    let (request, _) = reported(&mut link).await;
    answer(&mut link, request, REACHED).await;
    link.message(2, "plain").await;
    assert_eq!(heard(&mut hears).await, "plain: plain");
    permits.add_permits(1);
    assert_eq!(heard(&mut hears).await, "twice: 1 matched, 1 reached, 0 dropped");
}

#[tokio::test]
async fn report_that_does_not_come_in_time_names_the_gateway() {
    let (requester, mut hears) = Requester::new();
    let (_running, gateway, mut link) = start_one(requester).await;
    link.message(1, "short").await;
    let (request, _) = reported(&mut link).await;
    let silent = format!("0 matched, 0 reached, 0 dropped; no answer from {}", gateway.addr());
    assert_eq!(heard(&mut hears).await, format!("short: {silent}"));
    assert_eq!(link.command().await, sent_to(1, "did short"));
    // Too late, and for nothing.
    answer(&mut link, request, REACHED).await;
    link.message(1, "send").await;
    let (request, _) = reported(&mut link).await;
    answer(&mut link, request, REACHED).await;
    assert_eq!(heard(&mut hears).await, "send: 1 matched, 1 reached, 0 dropped");
}

#[tokio::test]
async fn client_on_a_newer_link_waits_for_its_handler_of_the_lost_one() {
    let (requester, mut hears) = Requester::new();
    let permits = Arc::clone(&requester.permits);
    let (_running, gateway, mut link) = start_one(requester).await;
    link.message(1, "twice").await;
    reported(&mut link).await;
    drop(link);
    let mut link = soon(gateway.link()).await;
    link.message(1, "plain again").await;
    link.message(2, "plain other").await;
    assert_eq!(heard(&mut hears).await, "plain other: plain");
    permits.add_permits(1);
    let silent = format!("0 matched, 0 reached, 0 dropped; no answer from {}", gateway.addr());
    assert_eq!(heard(&mut hears).await, format!("twice: {silent}"));
    assert_eq!(heard(&mut hears).await, "plain again: plain");
}

#[tokio::test]
async fn worker_that_stops_waits_for_a_handler_that_waits_for_an_answer() {
    let (requester, mut hears) = Requester::new();
    let stopped = Arc::clone(&requester.stopped);
    let (running, _gateway, mut link) = start_one(requester).await;
    link.message(1, "send").await;
    let (request, _) = reported(&mut link).await;
    running.stop.cancel();
    assert!(link.sends_nothing().await);
    assert!(!stopped.load(Ordering::SeqCst) && !running.ended.is_finished());
    answer(&mut link, request, REACHED).await;
    assert_eq!(heard(&mut hears).await, "send: 1 matched, 1 reached, 0 dropped");
    let commands = link.until_closed().await;
    assert_eq!(commands, [sent_to(1, "did send")]);
    assert_eq!(link.done, [(0, 1, 1)]);
    running.ended().await.unwrap();
    assert!(stopped.load(Ordering::SeqCst));
}
