//! Retries of failed handlers.

mod running;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use protocol::{Event, link::ToGateway};
use push_suite_worker::{Client, Message, Worker};
use running::{Running, start_with};
use test_support::fakes::{FakeGateway, FakeLink, sent_to, soon};

/// Fails or panics as many times as the message requests, and counts its calls.
#[derive(Clone, Default)]
struct Flaky {
    calls: Arc<AtomicUsize>,
}

impl Worker for Flaky {
    async fn on_message(&self, client: &Client, message: Message) -> anyhow::Result<()> {
        let text = message.as_text().unwrap_or_default();
        if let Some((way, times)) = text.split_once(' ') {
            assert_eq!(self.calls.load(Ordering::SeqCst) != 0, client.redelivered());
            let failed = self.calls.fetch_add(1, Ordering::SeqCst);
            if failed < times.parse()? {
                assert_ne!(way, "panic", "requested");
                anyhow::bail!("requested");
            }
        }
        let mark = if client.redelivered() { " (again)" } else { "" };
        Ok(client.send(format!("did {text}{mark}")).await?)
    }
}

async fn flaky(retries: u32) -> (Flaky, Running, FakeGateway, FakeLink) {
    let (worker, gateway) = (Flaky::default(), FakeGateway::start().await);
    let running = start_with(worker.clone(), &[&gateway], retries).await;
    let link = gateway.link().await;
    (worker, running, gateway, link)
}

/// More retries than fit into any test.
const UNLIMITED: u32 = u32::MAX;

#[tokio::test]
async fn failed_handler_is_retried_while_next_events_of_its_client_wait() {
    for way in ["fail", "panic"] {
        let (worker, _running, _gateway, mut link) = flaky(5).await;
        link.message(1, &format!("{way} 3")).await;
        link.message(1, "next").await;
        link.message(2, "other").await;
        assert_eq!(link.command().await, sent_to(2, "did other"), "other clients do not wait");
        assert_eq!(link.command().await, sent_to(1, &format!("did {way} 3 (again)")));
        assert_eq!(link.command().await, sent_to(1, "did next"), "this event did not fail");
        link.done(3).await;
        assert_eq!(worker.calls.load(Ordering::SeqCst), 4);
    }
}

#[tokio::test]
async fn event_is_given_up_after_the_last_retry_and_the_next_is_handled() {
    for retries in [0, 2] {
        let (worker, _running, _gateway, mut link) = flaky(retries).await;
        link.message(1, "fail 100").await;
        link.message(1, "next").await;
        assert_eq!(link.command().await, sent_to(1, "did next"));
        link.done(2).await;
        assert_eq!(worker.calls.load(Ordering::SeqCst), retries as usize + 1);
    }
}

#[tokio::test]
async fn event_awaiting_retry_at_shutdown_is_left_with_later_events() {
    let (_, running, _gateway, mut link) = flaky(UNLIMITED).await;
    link.message(1, "fail 1000000").await;
    link.message(1, "behind it").await;
    link.message(2, "other").await;
    assert_eq!(link.command().await, sent_to(2, "did other"));
    running.stop.cancel();
    let ToGateway::Ping { token } = soon(async {
        loop {
            match link.next().await {
                ping @ ToGateway::Ping { .. } => break ping,
                other => link.note(other).await,
            }
        }
    })
    .await
    else {
        unreachable!()
    };
    // In flight when the gateway received the drain.
    link.message(1, "behind all").await;
    link.message(2, "late").await;
    link.send(protocol::link::ToPeer::Pong { token }).await;
    assert_eq!(link.until_closed().await, [sent_to(2, "did late")]);
    // The third and the fifth; the gateway redelivers the rest to another worker.
    let done: Vec<_> = link.done.iter().map(|(_, first, last)| (*first, *last)).collect();
    assert_eq!(done, [(3, 3), (5, 5)]);
    running.ended().await.unwrap();
}

#[tokio::test]
async fn event_awaiting_retry_when_its_link_is_lost_is_left_to_redelivery() {
    let (worker, _running, gateway, mut link) = flaky(UNLIMITED).await;
    link.message(1, "fail 1000000").await;
    link.message(2, "other").await;
    assert_eq!(link.command().await, sent_to(2, "did other"));
    drop(link);
    let mut link = gateway.link().await;
    // The gateway has not redelivered it to this worker, so no retry may run here.
    let calls = worker.calls.load(Ordering::SeqCst);
    link.event(1, Event::Connect).await;
    link.message(1, "next").await;
    assert_eq!(link.command().await, sent_to(1, "did next"), "no event precedes it");
    link.done(2).await;
    assert_eq!(worker.calls.load(Ordering::SeqCst), calls);
}
