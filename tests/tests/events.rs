//! Events of a client at its worker: complete, in order, once.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use protocol::{CloseFrame, CloseInfo, CloseReason, Command, Event, Message};
use suite_tests::{
    Browser, Raw, Received, Suite, eventually, on_one_and_three_threads, ports, raw::masked,
};
use tokio_tungstenite::tungstenite::{client::IntoClientRequest as _, http::HeaderValue};

on_one_and_three_threads!(
    client_events_arrive_in_order_and_once,
    handshake_is_delivered_as_sent,
    connection_without_handshake_has_connect_and_close_events,
    broken_connection_is_reported_as_close,
    messages_before_a_close_frame_are_delivered_before_the_close,
    close_by_a_worker_is_reported_to_it,
    close_event_has_the_close_frame_and_the_time_of_the_connection,
    fragments_form_one_message_and_pings_between_them_are_answered,
    largest_and_empty_messages_arrive_intact,
    concurrent_clients_have_one_connect_and_one_close_each,
);

async fn client_events_arrive_in_order_and_once(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let mut ann = suite.browser(0).await;

    let connect = worker.event().await;
    let context = connect.context.clone().expect("the first event carries the context");
    assert_eq!(connect.event, Event::Connect);
    assert_eq!(context.remote, ann.addr());
    assert_eq!(context.listener_port, ann.gateway().port());
    assert!(context.session.is_empty());
    assert!(!connect.redelivered);
    worker.ack(&connect).await;
    let id = connect.client;
    assert_ne!(id.0, 0, "zero is not a valid id");

    let opened = worker.event().await;
    assert!(matches!(opened.event, Event::WebSocketConnect(_)), "{opened:?}");
    assert_eq!(opened.context, None, "the context is sent once");
    worker.ack(&opened).await;

    ann.send("héllo").await;
    ann.send_binary(vec![0, 159, 146, 150]).await;
    assert_eq!(worker.event_of(id).await, Event::Message(Message::text("héllo")));
    let binary = Message::binary(vec![0, 159, 146, 150]);
    assert_eq!(worker.event_of(id).await, Event::Message(binary));

    ann.close().await;
    assert_eq!(worker.event_of(id).await, Event::Close(CloseReason::Client));
    assert!(worker.has_no_event().await);
}

async fn handshake_is_delivered_as_sent(threads: usize) {
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
        panic!("expected a handshake");
    };
    assert_eq!(handshake.target, "/chat/r%201?name=ann&a[]=1");
    assert_eq!(handshake.path(), "/chat/r%201");
    assert_eq!(handshake.query(), "name=ann&a[]=1");
    assert_eq!(handshake.header("COOKIE"), Some("a=1; b=2"));
    assert_eq!(handshake.header("host"), Some(gateway.to_string().as_str()));
    let bytes = handshake.headers.iter().find(|header| header.name == "x-bytes").unwrap();
    assert_eq!(bytes.value, b"\xff");
}

/// With `--no-web`, every connection is a client from its accept on.
async fn connection_without_handshake_has_connect_and_close_events(threads: usize) {
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

async fn broken_connection_is_reported_as_close(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let ann = suite.browser(0).await;
    let id = worker.accept_client().await;
    drop(ann);
    assert_eq!(worker.event_of(id).await, Event::Close(CloseReason::Client));
}

async fn messages_before_a_close_frame_are_delivered_before_the_close(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let mut ann = suite.browser(0).await;
    let id = worker.accept_client().await;
    for at in 0..200 {
        ann.send(at.to_string()).await;
    }
    ann.close().await;
    for at in 0..200 {
        assert_eq!(worker.event_of(id).await, Event::Message(at.to_string().into()));
    }
    assert_eq!(worker.event_of(id).await, Event::Close(CloseReason::Client));
}

async fn close_by_a_worker_is_reported_to_it(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let mut ann = suite.browser(0).await;
    let ann_id = worker.accept_client().await;
    let mut bob = Raw::websocket(suite.gateways[0].clients).await;
    let bob_id = worker.accept_client().await;

    worker.command(Command::Close { client: ann_id, farewell: None }).await;
    assert_eq!(ann.closed().await, Some(1000));
    assert_eq!(worker.event_of(ann_id).await, Event::Close(CloseReason::Worker));

    worker.command(Command::Destroy { client: bob_id }).await;
    assert!(bob.read_to_end().await.is_empty(), "closed without a close frame");
    assert_eq!(worker.event_of(bob_id).await, Event::Close(CloseReason::Worker));
    assert!(worker.has_no_event().await);
}

async fn close_event_has_the_close_frame_and_the_time_of_the_connection(threads: usize) {
    let listener = ports::free();
    let builder = Suite::builder().gateways(1).threads(threads);
    let suite = builder.gateway_flag("--listen", &format!("text://{listener}")).start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let ann = suite.browser(0).await;
    let id = worker.accept_client().await;
    let since = Instant::now();
    eventually("some tenths of a second to pass", async || {
        (Duration::from_millis(350) < since.elapsed()).then_some(())
    })
    .await;
    ann.close_with(4001, "gone for lünch").await;
    assert_eq!(worker.event_of(id).await, Event::Close(CloseReason::Client));
    let most = u64::try_from(since.elapsed().as_millis()).unwrap() + 1000;
    let info = worker.closes.pop().unwrap();
    assert!((300..most).contains(&info.connected_ms), "{info:?}, at most {most}");
    let frame = |info: &CloseInfo| (info.reason, info.code, info.text.clone());
    assert_eq!(frame(&info), (CloseReason::Client, Some(4001), "gone for lünch".to_owned()));

    // Without a code, and without a close frame.
    suite.browser(0).await.close().await;
    let id = worker.accept_client().await;
    worker.event_of(id).await;
    drop(suite.browser(0).await);
    let id = worker.accept_client().await;
    worker.event_of(id).await;
    for info in worker.closes.drain(..) {
        assert_eq!(frame(&info), (CloseReason::Client, None, String::new()));
        assert!(info.connected_ms < most + 10_000, "not the time of the gateway: {info:?}");
    }

    // That of a worker, of the gateway, and none to a client whose protocol has none.
    let mut bob = suite.browser(0).await;
    let id = worker.accept_client().await;
    let kicked = CloseFrame::new(4005, "kicked").unwrap();
    let close = |client| Command::CloseWith { client, frame: kicked.clone(), farewell: None };
    worker.command(close(id)).await;
    assert_eq!(bob.receive_close().await, Some((4005, "kicked".into())));
    worker.event_of(id).await;
    let mut raw = Raw::websocket(suite.gateways[0].clients).await;
    let id = worker.accept_client().await;
    raw.send(&masked(0x83, b"")).await;
    worker.event_of(id).await;
    let _text = Raw::connect(listener).await;
    let id = worker.event().await.client;
    worker.command(close(id)).await;
    let closed = worker.event().await;
    worker.ack(&closed).await;
    let expected = [
        (CloseReason::Worker, Some(4005), "kicked".to_owned()),
        (CloseReason::Protocol, Some(1002), String::new()),
        (CloseReason::Worker, None, String::new()),
    ];
    assert_eq!(worker.closes.iter().map(frame).collect::<Vec<_>>(), expected);
}

async fn fragments_form_one_message_and_pings_between_them_are_answered(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let mut ann = Raw::websocket(suite.gateways[0].clients).await;
    let id = worker.accept_client().await;

    ann.send(&masked(0x01, "héll".as_bytes())).await;
    ann.send(&masked(0x89, b"are you there")).await;
    let pong = ann.frame().await.unwrap();
    assert_eq!((pong.first, &pong.payload[..]), (0x8a, &b"are you there"[..]));
    ann.send(&masked(0x00, b"o, ")).await;
    ann.send(&masked(0x80, b"world")).await;
    assert_eq!(worker.event_of(id).await, Event::Message("héllo, world".into()));
}

async fn largest_and_empty_messages_arrive_intact(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let mut ann = suite.browser(0).await;
    let id = worker.accept_client().await;
    let large: Bytes = (0..1 << 20).map(|at: u32| (at % 251) as u8).collect();

    ann.send_binary(large.clone()).await;
    ann.send("").await;
    let binary = Message::binary(large);
    assert_eq!(worker.event_of(id).await, Event::Message(binary.clone()));
    assert_eq!(worker.event_of(id).await, Event::Message(Message::text("")));

    // Echoes have the same sizes.
    let body = binary.body.clone();
    worker.command(Command::SendToClient { to: id, message: binary }).await;
    worker.command(Command::SendToClient { to: id, message: Message::text("") }).await;
    assert_eq!(ann.receive().await, Received::Binary(body));
    assert_eq!(ann.receive().await, "".into());
}

async fn concurrent_clients_have_one_connect_and_one_close_each(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let mut clients = Vec::new();
    for at in 0..40 {
        let mut browser = suite.browser(0).await;
        browser.send(at.to_string()).await;
        clients.push(browser);
    }
    drop(clients);
    let mut by_client = std::collections::BTreeMap::<_, Vec<Event>>::new();
    for _ in 0..40 * 4 {
        let delivery = worker.event().await;
        worker.ack(&delivery).await;
        by_client.entry(delivery.client).or_default().push(delivery.event);
    }
    assert_eq!(by_client.len(), 40);
    for events in by_client.values() {
        use Event::{Close, Connect, Message, WebSocketConnect};
        let complete = matches!(&events[..], [Connect, WebSocketConnect(_), Message(_), Close(_)]);
        assert!(complete, "{events:?}");
    }
    assert!(worker.has_no_event().await);
}
