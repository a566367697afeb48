//! Backpressure: workers and clients that are slow.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use bytes::Bytes;
use protocol::{Answer, CloseReason, Command, Event, Message, Query, Recipients, link::Delivery};
use suite_tests::{Browser, Peer, Raw, Suite, eventually, on_one_and_three_threads, with_timeout};

on_one_and_three_threads!(
    client_of_slow_worker_gets_backpressure_without_loss,
    client_without_worker_gets_backpressure_without_loss,
    slow_worker_does_not_block_clients_of_other_workers,
    heavy_sender_does_not_block_other_clients_of_its_worker,
    many_heavy_senders_do_not_block_light_senders,
    slow_client_misses_messages_in_drop_mode,
    close_of_unread_client_takes_effect_at_once,
);

const MESSAGES: usize = 400;
const SIZE: usize = 60_000;

/// Much less than the client sends, and much more than one message.
const WINDOW: &str = "1000000";

async fn client_of_slow_worker_gets_backpressure_without_loss(threads: usize) {
    let builder = Suite::builder().gateways(1).threads(threads);
    let suite = builder.gateway_flag("--worker-window", WINDOW).start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let ann = suite.browser(0).await;
    let id = worker.accept_client().await;
    let sending = tokio::spawn(send_all(ann));

    let delivered = fill_window(&mut worker).await;
    assert!(!sending.is_finished(), "{MESSAGES} messages do not fit a window and two sockets");

    for delivery in &delivered {
        worker.ack(delivery).await;
    }
    let mut received: Vec<Event> = delivered.into_iter().map(|delivery| delivery.event).collect();
    while received.len() < MESSAGES {
        received.push(worker.event_of(id).await);
    }
    assert!(received.iter().enumerate().all(|(at, event)| *event == numbered(at)));
    let _ann = with_timeout("the client to send everything", sending).await.unwrap();
    assert!(worker.has_no_event().await);
}

async fn client_without_worker_gets_backpressure_without_loss(threads: usize) {
    let builder = Suite::builder().gateways(1).threads(threads);
    let suite = builder.gateway_flag("--worker-window", WINDOW).start().await;
    let sending = tokio::spawn(send_all(suite.browser(0).await));
    // Its socket is paused well before the worker links.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!sending.is_finished());
    let mut worker = suite.worker_link(0, "w:1").await;
    let id = worker.accept_client().await;
    for at in 0..MESSAGES {
        let event = worker.event_of(id).await;
        assert!(event == numbered(at), "message {at} is out of order");
    }
    let _ann = with_timeout("the client to send everything", sending).await.unwrap();
}

async fn slow_worker_does_not_block_clients_of_other_workers(threads: usize) {
    let builder = Suite::builder().gateways(1).threads(threads);
    let suite = builder.gateway_flag("--worker-window", WINDOW).start().await;
    let mut stuck = suite.worker_link(0, "w:1").await;
    let ann = suite.browser(0).await;
    let ann_id = stuck.accept_client().await;
    let sending = tokio::spawn(send_all(ann));
    assert!(fill_window(&mut stuck).await.iter().all(|event| event.client == ann_id));
    // The other has no clients yet, so it is assigned the next.
    let mut other = suite.worker_link(0, "w:2").await;
    let mut bob = suite.browser(0).await;
    let bob_id = other.accept_client().await;
    bob.send("hello").await;
    assert_eq!(other.event_of(bob_id).await, Event::Message("hello".into()));
    other.command(Command::SendToClient { to: bob_id, message: "hi".into() }).await;
    assert_eq!(bob.receive_text().await, "hi");
    sending.abort();
}

async fn heavy_sender_does_not_block_other_clients_of_its_worker(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let mut bob = suite.browser(0).await;
    let bob_id = worker.accept_client().await;
    let ann = suite.browser(0).await;
    let ann_id = worker.accept_client().await;
    let sending = tokio::spawn(send_all(ann));
    // The worker acknowledges none of Ann's events: they fill her quota, not the whole window.
    let mut delivered = fill_window(&mut worker).await;
    for word in ["he", "says", "what", "he", "has", "to", "say"] {
        bob.send(word).await;
        // An acknowledged event of Bob implies that Ann's earlier ones were started, so more of
        // hers may arrive.
        let delivery = loop {
            let delivery = worker.event().await;
            match delivery.client == ann_id {
                true => delivered.push(delivery),
                false => break delivery,
            }
        };
        assert_eq!((delivery.client, &delivery.event), (bob_id, &Event::Message(word.into())));
        worker.ack(&delivery).await;
    }
    assert!((1..40).contains(&delivered.len()), "{} messages of {SIZE} bytes", delivered.len());
    // Once hers are acknowledged, she may send more.
    for delivery in &delivered {
        worker.ack(delivery).await;
    }
    let next = worker.event().await;
    assert!(next.client == ann_id && next.event == numbered(delivered.len()));
    sending.abort();
}

async fn many_heavy_senders_do_not_block_light_senders(threads: usize) {
    const MANY: usize = 100;
    const EACH: usize = 100;
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let mut senders = Vec::new();
    for _ in 0..MANY {
        senders.push(suite.browser(0).await);
        worker.accept_client().await;
    }
    let mut bob = suite.browser(0).await;
    let bob_id = worker.accept_client().await;
    let long = Message::text("x".repeat(1000));
    let flood = senders.into_iter().map(|mut sender| {
        tokio::spawn(async move {
            for _ in 0..EACH {
                sender.send_without_timeout("x".repeat(1000)).await;
            }
            sender
        })
    });
    let flood: Vec<_> = flood.collect();
    // The worker reports none as started.
    let mut delivered = fill_window(&mut worker).await;
    let threads = threads as f64;
    let most = threads * (256.0 * 1024.0 + 1024.0 * 64.0) + MANY as f64 * 2.0 * 4096.0;
    assert!((delivered.len() as f64) < most / 1000.0, "{} messages are in flight", delivered.len());
    bob.send("hello").await;
    assert_eq!(worker.event_of(bob_id).await, Event::Message("hello".into()));
    // Every client gets its turn.
    let mut received = 0;
    while received < MANY * EACH {
        for delivery in &delivered {
            assert!(delivery.event == Event::Message(long.clone()));
            worker.ack(delivery).await;
        }
        received += delivered.len();
        delivered = match received < MANY * EACH {
            true => vec![worker.event().await],
            false => Vec::new(),
        };
    }
    for sender in flood {
        with_timeout("a client to send everything", sender).await.unwrap();
    }
}

async fn slow_client_misses_messages_in_drop_mode(threads: usize) {
    let builder =
        Suite::builder().gateways(1).threads(threads).gateway_flag("--slow-client", "drop");
    let suite = builder.gateway_flag("--send-to-client-buffer-size", "100000").start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let mut slow = suite.browser(0).await;
    let id = worker.accept_client().await;
    for at in 0..MESSAGES {
        let Event::Message(message) = numbered(at) else { unreachable!("it is a message") };
        worker.command(Command::SendToClient { to: id, message }).await;
    }
    let gateway = &suite.gateways[0];
    let dropped = eventually("all to be sent or dropped", async || {
        let sent = gateway.metric("pushsuite_gateway_messages_out_total").await?;
        let dropped = gateway.metric("pushsuite_gateway_messages_dropped_total").await?;
        (sent + dropped == MESSAGES as f64).then_some(dropped as usize)
    })
    .await;
    assert!((1..MESSAGES).contains(&dropped), "{dropped}");
    // Only whole messages are missing, and the client is still connected.
    let mut received = Vec::new();
    for _ in dropped..MESSAGES {
        let text = slow.receive_text().await;
        assert_eq!(text.len(), SIZE);
        received.push(text[..8].parse::<usize>().unwrap());
    }
    assert!(received.is_sorted(), "{received:?}");
    worker.command(Command::SendToClient { to: id, message: "on we go".into() }).await;
    assert_eq!(slow.receive_text().await, "on we go");
}

async fn close_of_unread_client_takes_effect_at_once(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let _stuck = Raw::websocket(suite.gateways[0].clients).await;
    let id = worker.accept_client().await;
    let large = Message::binary(vec![0; SIZE]);
    for _ in 0..20 {
        let to = Recipients::Only(vec![id]);
        worker.command(Command::SendToAll { to, message: large.clone() }).await;
    }
    worker.command(Command::Close { client: id, farewell: Some("bye".into()) }).await;
    // It is removed although its socket still has data to write.
    assert_eq!(worker.event_of(id).await, Event::Close(CloseReason::Worker));
    let count = worker.query(Query::Count { group: None }).await;
    assert_eq!(count, Answer::Count(0));
}

/// Receives events without acknowledging any, until the gateway sends no more.
async fn fill_window(worker: &mut Peer) -> Vec<Delivery> {
    let mut delivered = vec![worker.event().await];
    let mut quiet = 0;
    while quiet < 10 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        quiet += 1;
        while !worker.has_no_event().await {
            delivered.push(worker.event().await);
            quiet = 0;
        }
    }
    delivered
}

/// Sends the numbered messages and returns the client.
async fn send_all(mut client: Browser) -> Browser {
    for at in 0..MESSAGES {
        let Event::Message(message) = numbered(at) else { unreachable!("it is a message") };
        client.send(message.as_text().unwrap()).await;
    }
    client
}

/// A large message that contains its number.
fn numbered(at: usize) -> Event {
    let mut text = format!("{at:08}").into_bytes();
    text.resize(SIZE, b'.');
    Event::Message(Message { body: Bytes::from(text), ..Message::default() })
}
