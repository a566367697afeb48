//! What a worker is told of a client: everything, in order, once.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use bytes::Bytes;
use protocol::{CloseReason, Command, Event, Message, MessageKind};
use suite_tests::{Browser, Heard, Raw, Suite, on_one_and_three_threads, raw::masked};
use tokio_tungstenite::tungstenite::{client::IntoClientRequest as _, http::HeaderValue};

on_one_and_three_threads!(
    a_clients_life_is_told_in_order_and_once,
    a_handshake_is_told_as_it_was_sent,
    a_client_that_never_shakes_hands_connects_and_closes,
    a_connection_that_breaks_is_a_close,
    what_was_sent_before_a_goodbye_is_told_before_the_close,
    a_worker_that_closes_a_client_is_told_so,
    fragments_are_one_message_and_pings_between_them_are_answered,
    the_largest_message_arrives_whole_and_so_does_an_empty_one,
    every_client_of_a_crowd_connects_once_and_closes_once,
);

async fn a_clients_life_is_told_in_order_and_once(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let mut ann = suite.browser(0).await;

    let connect = worker.event().await;
    let context = connect.context.clone().expect("the first event tells what there is to know");
    assert_eq!(connect.event, Event::Connect);
    assert_eq!(context.remote, ann.addr());
    assert_eq!(context.listener_port, ann.gateway().port());
    assert!(context.session.is_empty());
    assert!(!connect.redelivered);
    worker.done(&connect).await;
    let id = connect.client;
    assert_ne!(id.0, 0, "zero means nobody");

    let opened = worker.event().await;
    assert!(matches!(opened.event, Event::WebSocketConnect(_)), "{opened:?}");
    assert_eq!(opened.context, None, "told once");
    worker.done(&opened).await;

    ann.send("héllo").await;
    ann.send_binary(vec![0, 159, 146, 150]).await;
    assert_eq!(worker.event_of(id).await, Event::Message(Message::text("héllo")));
    let binary = Message::binary(vec![0, 159, 146, 150]);
    assert_eq!(worker.event_of(id).await, Event::Message(binary));

    ann.close().await;
    assert_eq!(worker.event_of(id).await, Event::Close(CloseReason::Client));
    assert!(worker.has_no_event().await);
}

async fn a_handshake_is_told_as_it_was_sent(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let gateway = suite.gateways[0].clients;
    let mut request =
        format!("ws://{gateway}/chat/r%201?name=ann&a[]=1").into_client_request().unwrap();
    let headers = request.headers_mut();
    headers.insert("cookie", HeaderValue::from_static("a=1; b=2"));
    headers.insert("x-bytes", HeaderValue::from_bytes(b"\xff").unwrap());
    let _ann = Browser::open_with(gateway, request).await.unwrap();

    let connect = worker.event().await;
    let Event::WebSocketConnect(handshake) = worker.event_of(connect.client).await else {
        panic!("a handshake was expected");
    };
    assert_eq!(handshake.target, "/chat/r%201?name=ann&a[]=1");
    assert_eq!(handshake.path(), "/chat/r%201");
    assert_eq!(handshake.query(), "name=ann&a[]=1");
    assert_eq!(handshake.header("COOKIE"), Some("a=1; b=2"));
    assert_eq!(handshake.header("host"), Some(gateway.to_string().as_str()));
    let bytes = handshake.headers.iter().find(|header| header.name == "x-bytes").unwrap();
    assert_eq!(bytes.value, b"\xff");
}

/// Where no page is served, whoever connects is a client.
async fn a_client_that_never_shakes_hands_connects_and_closes(threads: usize) {
    let builder = Suite::builder().gateways(1).threads(threads);
    let suite = builder.gateway_switch("--no-web").start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let mut shy = Raw::connect(suite.gateways[0].clients).await;
    shy.send(b"GET / HTTP/1.1\r\nUpgrade: webso").await;
    let connect = worker.event().await;
    assert_eq!(connect.event, Event::Connect);
    drop(shy);
    let close = worker.event_of(connect.client).await;
    let reasons = [CloseReason::Handshake, CloseReason::Client];
    assert!(reasons.iter().any(|reason| close == Event::Close(*reason)), "{close:?}");
    assert!(worker.has_no_event().await);
}

async fn a_connection_that_breaks_is_a_close(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let ann = suite.browser(0).await;
    let id = worker.welcomes().await;
    drop(ann);
    assert_eq!(worker.event_of(id).await, Event::Close(CloseReason::Client));
}

async fn what_was_sent_before_a_goodbye_is_told_before_the_close(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let mut ann = suite.browser(0).await;
    let id = worker.welcomes().await;
    for at in 0..200 {
        ann.send(at.to_string()).await;
    }
    ann.close().await;
    for at in 0..200 {
        assert_eq!(worker.event_of(id).await, Event::Message(at.to_string().into()));
    }
    assert_eq!(worker.event_of(id).await, Event::Close(CloseReason::Client));
}

async fn a_worker_that_closes_a_client_is_told_so(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let mut ann = suite.browser(0).await;
    let ann_id = worker.welcomes().await;
    let mut bob = Raw::websocket(suite.gateways[0].clients).await;
    let bob_id = worker.welcomes().await;

    worker.command(Command::Close { client: ann_id, farewell: None }).await;
    assert_eq!(ann.ends().await, Some(1000));
    assert_eq!(worker.event_of(ann_id).await, Event::Close(CloseReason::Worker));

    worker.command(Command::Destroy { client: bob_id }).await;
    assert!(bob.until_the_end().await.is_empty(), "cut off without a goodbye");
    assert_eq!(worker.event_of(bob_id).await, Event::Close(CloseReason::Worker));
    assert!(worker.has_no_event().await);
}

async fn fragments_are_one_message_and_pings_between_them_are_answered(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let mut ann = Raw::websocket(suite.gateways[0].clients).await;
    let id = worker.welcomes().await;

    ann.send(&masked(0x01, "héll".as_bytes())).await;
    ann.send(&masked(0x89, b"are you there")).await;
    let pong = ann.frame().await.unwrap();
    assert_eq!((pong.first, &pong.payload[..]), (0x8a, &b"are you there"[..]));
    ann.send(&masked(0x00, b"o, ")).await;
    ann.send(&masked(0x80, b"world")).await;
    assert_eq!(worker.event_of(id).await, Event::Message("héllo, world".into()));
}

async fn the_largest_message_arrives_whole_and_so_does_an_empty_one(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let mut ann = suite.browser(0).await;
    let id = worker.welcomes().await;
    let large: Bytes = (0..1 << 20).map(|at: u32| (at % 251) as u8).collect();

    ann.send_binary(large.clone()).await;
    ann.send("").await;
    let binary = Message { kind: MessageKind::Binary, body: large };
    assert_eq!(worker.event_of(id).await, Event::Message(binary.clone()));
    assert_eq!(worker.event_of(id).await, Event::Message(Message::text("")));

    // And back, in the same sizes.
    let body = binary.body.clone();
    worker.command(Command::SendToClient { to: id, message: binary }).await;
    worker.command(Command::SendToClient { to: id, message: Message::text("") }).await;
    assert_eq!(ann.hears().await, Heard::Binary(body));
    assert_eq!(ann.hears().await, "".into());
}

async fn every_client_of_a_crowd_connects_once_and_closes_once(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let mut crowd = Vec::new();
    for at in 0..40 {
        let mut browser = suite.browser(0).await;
        browser.send(at.to_string()).await;
        crowd.push(browser);
    }
    drop(crowd);
    let mut lives = std::collections::BTreeMap::<_, Vec<Event>>::new();
    for _ in 0..40 * 4 {
        let delivery = worker.event().await;
        worker.done(&delivery).await;
        lives.entry(delivery.client).or_default().push(delivery.event);
    }
    assert_eq!(lives.len(), 40);
    for life in lives.values() {
        use Event::{Close, Connect, Message, WebSocketConnect};
        let whole = matches!(&life[..], [Connect, WebSocketConnect(_), Message(_), Close(_)]);
        assert!(whole, "{life:?}");
    }
    assert!(worker.has_no_event().await);
}
