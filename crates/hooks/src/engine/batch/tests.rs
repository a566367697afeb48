//! Batches of events without and with receivers.

use http::HeaderMap;
use prometheus_client::{encoding::text, registry::Registry};
use test_support::receiver::{Receiver, Reply};

use super::*;
use crate::{
    engine::{Delivery, Engine, QUEUE, Target},
    url::HookUrl,
};

fn batching(most: usize) -> Arc<Batching> {
    let wrap = |body: Bytes| HookRequest::new(HeaderMap::new(), body);
    Arc::new(Batching { most, wrap: Box::new(wrap) })
}

fn event(json: &str, batching: &Arc<Batching>) -> Event {
    Event {
        json: json.to_owned().into(),
        batching: Arc::clone(batching),
        settled: Settled::Unreported,
    }
}

#[test]
fn batch_has_events_of_one_kind_in_order_up_to_its_limits() {
    let (three, other) = (batching(3), batching(9));
    let mut batches = Batches::new(QUEUE);
    for (number, batching) in [1, 2, 3, 4].map(|number| (number, &three)) {
        let starts = batches.push(event(&number.to_string(), batching)).unwrap();
        assert_eq!(starts, number == 1);
    }
    let (sender, waits) = oneshot::channel();
    batches.push(Event { settled: Settled::Awaited(sender), ..event("5", &three) }).unwrap();
    drop(waits);
    let long = "x".repeat(LONGEST);
    for json in ["6", &long, "7"] {
        batches.push(event(json, &other)).unwrap();
    }
    let mut bodies = Vec::new();
    let mut left_out = 0;
    loop {
        let (batch, (count, _)) = batches.next();
        left_out += count;
        let Some(batch) = batch else { break };
        batches.done((batch.count, batch.bytes));
        bodies.push(String::from_utf8(batch.request.body.to_vec()).unwrap());
    }
    assert_eq!(bodies, ["[1,2,3]", "[4]", "[6]", &format!("[{long}]"), "[7]"]);
    assert_eq!((left_out, batches.count, batches.bytes), (1, 0, 0), "one was cancelled");
    assert!(batches.push(event("8", &three)).unwrap(), "they start again");
}

#[test]
fn waiting_events_are_bounded_with_those_under_way() {
    let one = batching(2);
    let mut batches = Batches::new(Limits { count: 3, bytes: 10 });
    assert!(batches.push(event("123456", &one)).is_ok());
    assert_eq!(batches.push(event("12345", &one)), Err(QueueFull), "too many bytes");
    assert!(batches.push(event("1", &one)).is_ok());
    let (batch, _) = batches.next();
    assert!(batches.push(event("2", &one)).is_ok());
    assert_eq!(batches.push(event("3", &one)), Err(QueueFull), "two are under way");
    let Batch { count, bytes, .. } = batch.unwrap();
    batches.done((count, bytes));
    assert!(batches.push(event("3", &one)).is_ok());
}

#[tokio::test]
async fn events_that_come_meanwhile_are_in_the_next_batch_and_a_failed_one_is_the_same_again() {
    let receiver = Receiver::start(|request| match request.number {
        0 => Reply::Hang,
        1 => Reply::status(500),
        _ => Reply::status(204),
    })
    .await;
    let (mut registry, engine) = (Registry::default(), Engine::new(QUEUE));
    engine.register_metrics(&mut registry);
    let delivery = Delivery {
        timeout: std::time::Duration::from_secs(1),
        retry: std::time::Duration::from_secs(60),
        retry_refused: false,
    };
    let target = Target::new(HookUrl::parse(&receiver.url("/")).unwrap());
    let (endpoint, two) = (engine.endpoint(&target, delivery).unwrap(), batching(2));
    endpoint.post_in_batch("1".into(), &two).unwrap();
    receiver.wait_for(1).await;
    endpoint.post_in_batch("2".into(), &two).unwrap();
    let settled = endpoint.deliver_in_batch("3".into(), &two).unwrap();
    drop(endpoint.deliver_in_batch("left out".into(), &two).unwrap());
    endpoint.post_in_batch("4".into(), &two).unwrap();
    settled.await.unwrap();
    engine.flush().await;
    let received = receiver.received();
    let bodies: Vec<_> = received.iter().map(|it| String::from_utf8_lossy(&it.body)).collect();
    assert_eq!(bodies, ["[1]", "[1]", "[1]", "[2,3]", "[4]"]);
    receiver.answer(|_| Reply::status(422));
    let settled = endpoint.deliver_in_batch("5".into(), &two).unwrap();
    endpoint.post_in_batch("6".into(), &two).unwrap();
    settled.await.unwrap();
    engine.flush().await;
    let mut metrics = String::new();
    text::encode(&mut metrics, &registry).unwrap();
    for expected in [
        "batched_events_total 4",
        "dropped_total{reason=\"refused\"} 2",
        "queued 0",
        "queued_bytes 0",
    ] {
        assert!(metrics.contains(expected), "{expected} in {metrics}");
    }
}
