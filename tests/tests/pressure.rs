//! Those who are behind: workers and clients.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use bytes::Bytes;
use protocol::{Answer, CloseReason, Command, Event, Message, Query, Recipients, link::Delivery};
use suite_tests::{Browser, Peer, Raw, Suite, eventually, on_one_and_three_threads, soon};

on_one_and_three_threads!(
    a_client_whose_worker_is_behind_is_slowed_down_and_nothing_is_lost,
    a_client_without_a_worker_is_slowed_down_and_nothing_is_lost,
    a_worker_that_is_behind_does_not_hold_up_anothers_clients,
    a_client_that_sends_much_does_not_hold_up_its_workers_others,
    many_clients_that_send_much_do_not_hold_up_those_who_send_little,
    a_slow_client_may_miss_messages_where_that_is_wanted,
    a_close_does_not_wait_behind_a_client_that_does_not_read,
);

const MESSAGES: usize = 400;
const SIZE: usize = 60_000;

/// Far less than the client sends, and far more than one message.
const WINDOW: &str = "1000000";

async fn a_client_whose_worker_is_behind_is_slowed_down_and_nothing_is_lost(threads: usize) {
    let builder = Suite::builder().gateways(1).threads(threads);
    let suite = builder.gateway_flag("--worker-window", WINDOW).start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let ann = suite.browser(0).await;
    let id = worker.welcomes().await;
    let sending = tokio::spawn(sends_much(ann));

    let given = takes_its_window(&mut worker).await;
    assert!(!sending.is_finished(), "{MESSAGES} messages do not fit a window and two sockets");

    for delivery in &given {
        worker.done(delivery).await;
    }
    let mut heard: Vec<Event> = given.into_iter().map(|delivery| delivery.event).collect();
    while heard.len() < MESSAGES {
        heard.push(worker.event_of(id).await);
    }
    assert!(heard.iter().enumerate().all(|(at, event)| *event == numbered(at)));
    let _ann = soon("the client to have sent all", sending).await.unwrap();
    assert!(worker.has_no_event().await);
}

async fn a_client_without_a_worker_is_slowed_down_and_nothing_is_lost(threads: usize) {
    let builder = Suite::builder().gateways(1).threads(threads);
    let suite = builder.gateway_flag("--worker-window", WINDOW).start().await;
    let sending = tokio::spawn(sends_much(suite.browser(0).await));
    // It is held back some time before the worker comes.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!sending.is_finished());
    let mut worker = suite.worker_link(0, "w:1").await;
    let id = worker.welcomes().await;
    for at in 0..MESSAGES {
        let event = worker.event_of(id).await;
        assert!(event == numbered(at), "message {at} is another");
    }
    let _ann = soon("the client to have sent all", sending).await.unwrap();
}

async fn a_worker_that_is_behind_does_not_hold_up_anothers_clients(threads: usize) {
    let builder = Suite::builder().gateways(1).threads(threads);
    let suite = builder.gateway_flag("--worker-window", WINDOW).start().await;
    let mut stuck = suite.worker_link(0, "w:1").await;
    let ann = suite.browser(0).await;
    let ann_id = stuck.welcomes().await;
    let sending = tokio::spawn(sends_much(ann));
    assert!(takes_its_window(&mut stuck).await.iter().all(|event| event.client == ann_id));
    // The other has no clients yet, so it gets the next.
    let mut other = suite.worker_link(0, "w:2").await;
    let mut bob = suite.browser(0).await;
    let bob_id = other.welcomes().await;
    bob.send("hello").await;
    assert_eq!(other.event_of(bob_id).await, Event::Message("hello".into()));
    other.command(Command::SendToClient { to: bob_id, message: "hi".into() }).await;
    assert_eq!(bob.hears_text().await, "hi");
    sending.abort();
}

async fn a_client_that_sends_much_does_not_hold_up_its_workers_others(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let mut bob = suite.browser(0).await;
    let bob_id = worker.welcomes().await;
    let ann = suite.browser(0).await;
    let ann_id = worker.welcomes().await;
    let sending = tokio::spawn(sends_much(ann));
    // The worker finishes nothing of hers: she gets a part of the window, and not all of it.
    let mut given = takes_its_window(&mut worker).await;
    for word in ["he", "says", "what", "he", "has", "to", "say"] {
        bob.send(word).await;
        // That his are finished says that hers were begun with, so more of them may come.
        let delivery = loop {
            let delivery = worker.event().await;
            match delivery.client == ann_id {
                true => given.push(delivery),
                false => break delivery,
            }
        };
        assert_eq!((delivery.client, &delivery.event), (bob_id, &Event::Message(word.into())));
        worker.done(&delivery).await;
    }
    assert!((1..40).contains(&given.len()), "{} messages of {SIZE} bytes", given.len());
    // As soon as hers are finished, she may send more.
    for delivery in &given {
        worker.done(delivery).await;
    }
    let next = worker.event().await;
    assert!(next.client == ann_id && next.event == numbered(given.len()));
    sending.abort();
}

async fn many_clients_that_send_much_do_not_hold_up_those_who_send_little(threads: usize) {
    const MANY: usize = 100;
    const EACH: usize = 100;
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let mut senders = Vec::new();
    for _ in 0..MANY {
        senders.push(suite.browser(0).await);
        worker.welcomes().await;
    }
    let mut bob = suite.browser(0).await;
    let bob_id = worker.welcomes().await;
    let long = Message::text("x".repeat(1000));
    let flood = senders.into_iter().map(|mut sender| {
        tokio::spawn(async move {
            for _ in 0..EACH {
                sender.send_patiently("x".repeat(1000)).await;
            }
            sender
        })
    });
    let flood: Vec<_> = flood.collect();
    // The worker says nothing of having begun with any.
    let mut given = takes_its_window(&mut worker).await;
    let threads = threads as f64;
    let most = threads * (256.0 * 1024.0 + 1024.0 * 64.0) + MANY as f64 * 2.0 * 4096.0;
    assert!((given.len() as f64) < most / 1000.0, "{} messages wait for it", given.len());
    bob.send("hello").await;
    assert_eq!(worker.event_of(bob_id).await, Event::Message("hello".into()));
    // Everybody's turn comes.
    let mut heard = 0;
    while heard < MANY * EACH {
        for delivery in &given {
            assert!(delivery.event == Event::Message(long.clone()));
            worker.done(delivery).await;
        }
        heard += given.len();
        given = match heard < MANY * EACH {
            true => vec![worker.event().await],
            false => Vec::new(),
        };
    }
    for sender in flood {
        soon("a client to have sent all", sender).await.unwrap();
    }
}

async fn a_slow_client_may_miss_messages_where_that_is_wanted(threads: usize) {
    let builder =
        Suite::builder().gateways(1).threads(threads).gateway_flag("--slow-client", "drop");
    let suite = builder.gateway_flag("--send-to-client-buffer-size", "100000").start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let mut slow = suite.browser(0).await;
    let id = worker.welcomes().await;
    for at in 0..MESSAGES {
        let Event::Message(message) = numbered(at) else { unreachable!("it is one") };
        worker.command(Command::SendToClient { to: id, message }).await;
    }
    let gateway = &suite.gateways[0];
    let dropped = eventually("all to be sent or dropped", async || {
        let sent = gateway.metric("gateway_messages_out_total").await?;
        let dropped = gateway.metric("gateway_messages_dropped_total").await?;
        (sent + dropped == MESSAGES as f64).then_some(dropped as usize)
    })
    .await;
    assert!((1..MESSAGES).contains(&dropped), "{dropped}");
    // What is missing is missing whole, and the client is still there.
    let mut heard = Vec::new();
    for _ in dropped..MESSAGES {
        let text = slow.hears_text().await;
        assert_eq!(text.len(), SIZE);
        heard.push(text[..8].parse::<usize>().unwrap());
    }
    assert!(heard.is_sorted(), "{heard:?}");
    worker.command(Command::SendToClient { to: id, message: "on we go".into() }).await;
    assert_eq!(slow.hears_text().await, "on we go");
}

async fn a_close_does_not_wait_behind_a_client_that_does_not_read(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let _stuck = Raw::websocket(suite.gateways[0].clients).await;
    let id = worker.welcomes().await;
    let large = Message::binary(vec![0; SIZE]);
    for _ in 0..20 {
        let to = Recipients::Only(vec![id]);
        worker.command(Command::SendToAll { to, message: large.clone() }).await;
    }
    worker.command(Command::Close { client: id, farewell: Some("bye".into()) }).await;
    // Whatever its socket still has to say, it is gone.
    assert_eq!(worker.event_of(id).await, Event::Close(CloseReason::Worker));
    let count = worker.ask(Query::Count { group: None }).await;
    assert_eq!(count, Answer::Count(0));
}

/// Takes events and is done with none of them, until the gateway gives no more.
async fn takes_its_window(worker: &mut Peer) -> Vec<Delivery> {
    let mut given = vec![worker.event().await];
    let mut quiet = 0;
    while quiet < 10 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        quiet += 1;
        while !worker.has_no_event().await {
            given.push(worker.event().await);
            quiet = 0;
        }
    }
    given
}

/// Sends the numbered messages, and gives the client back.
async fn sends_much(mut client: Browser) -> Browser {
    for at in 0..MESSAGES {
        let Event::Message(message) = numbered(at) else { unreachable!("it is one") };
        client.send(message.as_text().unwrap()).await;
    }
    client
}

/// A large message that says which it is.
fn numbered(at: usize) -> Event {
    let mut text = format!("{at:08}").into_bytes();
    text.resize(SIZE, b'.');
    Event::Message(Message { body: Bytes::from(text), ..Message::default() })
}
