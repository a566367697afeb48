//! A worker with scripted gateways: order, concurrency, failures.

mod running;

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use protocol::{
    Answer, Command, Event,
    event::Header,
    link::{ToGateway, ToPeer},
};
use push_suite_worker::{Client, CloseReason, Handshake, Message, Worker};
use running::{Reporter, start_one};
use serde_json::{Value, json};
use test_support::fakes::{self, sent_to};

#[tokio::test]
async fn event_of_each_kind_calls_its_handler_with_its_client() {
    let (_running, _gateway, mut link) = start_one(Reporter::new()).await;
    link.event(1, Event::Connect).await;
    let headers = vec![Header { name: "Origin".to_owned(), value: b"here".to_vec() }];
    let handshake = Handshake { target: "/chat?x=1".to_owned(), headers };
    link.event(1, Event::WebSocketConnect(handshake)).await;
    link.message(1, "hello").await;
    link.event(1, Event::Close(CloseReason::Timeout)).await;
    for text in [
        "connect from 192.0.2.7:4321 to 7272",
        "opened /chat Some(\"here\")",
        "did hello",
        "closed Timeout",
    ] {
        assert_eq!(link.command().await, sent_to(1, text));
    }
    link.done(4).await;
    assert_eq!(link.events_done(), 4);
}

#[tokio::test]
async fn waiting_handler_delays_only_its_own_client() {
    let reporter = Reporter::new();
    let (_running, _gateway, mut link) = start_one(reporter.clone()).await;
    for text in ["wait 1", "2", "wait 3", "4"] {
        link.message(1, text).await;
    }
    for text in ["a", "b"] {
        link.message(2, text).await;
    }
    for text in ["did a", "did b"] {
        assert_eq!(link.command().await, sent_to(2, text));
    }
    link.done(2).await;
    assert!(link.sends_nothing().await, "one at a time");
    reporter.permits.add_permits(1);
    for text in ["did wait 1", "did 2"] {
        assert_eq!(link.command().await, sent_to(1, text));
    }
    assert!(link.sends_nothing().await);
    reporter.permits.add_permits(1);
    for text in ["did wait 3", "did 4"] {
        assert_eq!(link.command().await, sent_to(1, text));
    }
    link.done(6).await;
}

#[tokio::test]
async fn acknowledgement_follows_the_commands_of_the_handler() {
    let (_running, _gateway, mut link) = start_one(Reporter::new()).await;
    for text in ["a", "b", "c"] {
        link.message(1, text).await;
    }
    let mut answered = 0;
    while link.events_done() < 3 {
        match link.next().await {
            ToGateway::Command { .. } => answered += 1,
            ToGateway::EventAck { shard, first, last } => {
                link.done.push((shard, first, last));
                assert!(last <= answered, "{last} acknowledged, {answered} answered");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn failures_and_panics_do_not_stop_the_worker() {
    let (_running, _gateway, mut link) = start_one(Reporter::new()).await;
    for text in ["fail", "panic", "late-panic", "fine"] {
        link.message(1, text).await;
    }
    assert_eq!(link.command().await, sent_to(1, "did fine"));
    link.done(4).await;
}

#[tokio::test]
async fn redelivered_event_is_marked() {
    let (_running, _gateway, mut link) = start_one(Reporter::new()).await;
    let context = Some(Box::new(fakes::context()));
    link.deliver(1, Event::Message("x".into()), context, true).await;
    assert_eq!(link.command().await, sent_to(1, "did x (again)"));
}

#[tokio::test]
async fn lost_link_leaves_queued_events_to_redelivery() {
    let reporter = Reporter::new();
    let (_running, gateway, mut link) = start_one(reporter.clone()).await;
    link.message(1, "wait 1").await;
    link.message(1, "2").await;
    link.message(2, "x").await;
    assert_eq!(link.command().await, sent_to(2, "did x"), "all were read");
    drop(link);
    let mut link = gateway.link().await;
    let ToGateway::Ping { token } = link.next().await else {
        panic!("the worker synchronizes with a ping");
    };
    link.send(ToPeer::Pong { token }).await;
    let context = Some(Box::new(fakes::context()));
    link.deliver(1, Event::Message("wait 1".into()), context, true).await;
    link.deliver(1, Event::Message("2".into()), None, true).await;
    assert!(link.is_quiet().await, "the first attempt has not completed");
    reporter.permits.add_permits(1);
    assert_eq!(link.command().await, sent_to(1, "did wait 1"), "on the new link");
    assert!(link.sends_nothing().await, "the second attempt waits");
    reporter.permits.add_permits(1);
    assert_eq!(link.command().await, sent_to(1, "did wait 1 (again)"));
    assert_eq!(link.command().await, sent_to(1, "did 2 (again)"));
    link.done(2).await;
    assert_eq!(link.events_done(), 2, "events of the old link are not acknowledged on the new");
}

/// Counts messages in the session.
struct Counter;

impl Worker for Counter {
    async fn on_message(&self, client: &Client, _message: Message) -> anyhow::Result<()> {
        let mut session = client.session::<serde_json::Map<_, _>>()?.unwrap_or_default();
        let count = session.get("count").and_then(Value::as_u64).unwrap_or_default();
        session.insert("count".to_owned(), json!(count + 1));
        client.set_session(&session).await?;
        Ok(())
    }
}

#[tokio::test]
async fn session_is_read_without_query_and_edited_at_once() {
    let (_running, _gateway, mut link) = start_one(Counter).await;
    link.event(1, Event::Connect).await;
    link.message(1, "").await;
    link.message(1, "").await;
    // Another peer's change, after the gateway has received both edits.
    link.edits = 2;
    let mut changed = fakes::context();
    changed.session = protocol::Session::from_encoded(br#"{"count":40}"#.to_vec().into()).unwrap();
    link.deliver(1, Event::Message("".into()), Some(Box::new(changed)), false).await;
    let mut edit = 0;
    for count in [1, 2, 41] {
        edit += 1;
        let command = link.command().await;
        let Command::SetSession { session, edit: number, .. } = command else { panic!() };
        assert_eq!((session.decode().unwrap()["count"].clone(), number), (json!(count), edit));
    }
}

/// Queries the gateway from its handler.
struct Querier;

impl Worker for Querier {
    async fn on_message(&self, client: &Client, _message: Message) -> anyhow::Result<()> {
        let count = client.cluster().count().await?;
        Ok(client.send(count.to_string()).await?)
    }
}

#[tokio::test]
async fn handler_may_query_the_gateway_of_its_event() {
    let (_running, _gateway, mut link) = start_one(Querier).await;
    link.message(1, "").await;
    link.message(2, "").await;
    link.answer(|_| Answer::Count(7)).await;
    link.answer(|_| Answer::Count(8)).await;
    assert_eq!(link.command().await, sent_to(1, "7"));
    assert_eq!(link.command().await, sent_to(2, "8"));
}

/// Computes for long: `long` for a fixed time, `until free` until another client sends `free`.
struct Cpu {
    free: AtomicUsize,
}

impl Worker for Cpu {
    async fn on_message(&self, client: &Client, message: Message) -> anyhow::Result<()> {
        let since = std::time::Instant::now();
        match message.as_text() {
            Some("long") => {
                while since.elapsed() < Duration::from_millis(20) {
                    std::hint::spin_loop();
                }
            }
            Some("until free") => {
                while self.free.load(Ordering::SeqCst) == 0 && since.elapsed() < fakes::PATIENCE {
                    std::hint::spin_loop();
                }
                anyhow::ensure!(since.elapsed() < fakes::PATIENCE, "no other event was handled");
            }
            _ => {
                self.free.fetch_add(1, Ordering::SeqCst);
            }
        }
        client.send(message).await?;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn handlers_that_compute_for_long_do_not_delay_other_clients() {
    let (_running, _gateway, mut link) = start_one(Cpu { free: AtomicUsize::new(0) }).await;
    link.message(1, "long").await;
    assert_eq!(link.command().await, sent_to(1, "long"));
    link.message(1, "until free").await;
    link.message(2, "free").await;
    let mut answered = [link.command().await, link.command().await];
    answered.sort_by_key(|command| command.client());
    assert_eq!(answered, [sent_to(1, "until free"), sent_to(2, "free")]);
}
