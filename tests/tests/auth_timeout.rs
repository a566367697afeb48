//! Clients without a uid: closed in time, with a code, and limited in what they send meanwhile.

use protocol::{CloseReason, Command, Event, Message};
use suite_tests::{Call, Raw, Suite, TestWorker, names, raw::masked};

#[tokio::test]
async fn client_without_a_uid_is_closed_with_4408_and_one_with_a_uid_stays() {
    let suite = Suite::builder().gateways(1).gateway_flag("--auth-timeout", "2").start().await;
    let mut worker = suite.worker_link(0, "test:1").await;
    let gateway = &suite.gateways[0];
    let (mut ann, id) = suite.accepted_clients(&mut worker, 1).await.remove(0);
    worker.command(Command::BindUid { client: id, uid: names::uid("ann") }).await;
    let mut silent = Raw::websocket(gateway.clients).await;
    let silent_id = worker.accept_client().await;
    // It is closed although it sends.
    silent.send(&masked(0x81, b"hello")).await;
    let hello = Event::Message(Message::text("hello"));
    assert_eq!(worker.event_of(silent_id).await, hello);
    assert_eq!(silent.close_frame().await, (4408, "not authenticated in time".to_owned()));
    let closed = worker.event_of(silent_id).await;
    assert_eq!(closed, Event::Close(CloseReason::Unauthenticated));
    let metric = "pushsuite_gateway_clients_closed_total{reason=\"unauthenticated\"}";
    gateway.wait_for_metric(metric, 1.0).await;
    ann.send("hello").await;
    assert_eq!(worker.event_of(id).await, hello, "longer connected, and bound");
}

#[tokio::test]
async fn client_of_each_listener_without_a_handshake_is_closed_in_time() {
    let builder = Suite::builder().gateways(1).gateway_flag("--auth-timeout", "1");
    let addresses: Vec<_> = (0..3).map(|_| suite_tests::ports::free()).collect();
    let builder = ["text", "frame", "tcp"].iter().zip(&addresses).fold(builder, |builder, at| {
        builder.gateway_flag("--listen", &format!("{}://{}", at.0, at.1))
    });
    let suite = builder.start().await;
    let mut worker = TestWorker::start(&suite, "1").await;
    for address in addresses {
        let mut raw = Raw::connect(address).await;
        assert_eq!(worker.next_report().await.call, Call::Connect);
        assert!(raw.read_to_end().await.is_empty());
        let close = worker.next_report().await.call;
        assert_eq!(close, Call::Close(CloseReason::Unauthenticated), "{address}");
    }
}

#[tokio::test]
async fn message_of_a_client_without_a_uid_is_limited() {
    let builder = Suite::builder().gateways(1).gateway_flag("--max-message-size", "10000");
    let suite = builder.gateway_flag("--unauthenticated-message-size", "100").start().await;
    let mut worker = suite.worker_link(0, "test:1").await;
    let gateway = suite.gateways[0].clients;
    let mut ann = Raw::websocket(gateway).await;
    let id = worker.accept_client().await;
    ann.send(&masked(0x81, &[b'x'; 100])).await;
    assert!(matches!(worker.event_of(id).await, Event::Message(_)));
    worker.command(Command::BindUid { client: id, uid: names::uid("ann") }).await;
    worker.acknowledged().await;
    ann.send(&masked(0x81, &[b'x'; 10_000])).await;
    assert!(matches!(worker.event_of(id).await, Event::Message(_)));
    let mut guest = Raw::websocket(gateway).await;
    let id = worker.accept_client().await;
    guest.send(&masked(0x81, &[b'x'; 101])).await;
    assert_eq!(guest.close_code().await, 1009);
    assert_eq!(worker.event_of(id).await, Event::Close(CloseReason::Protocol));
}

#[tokio::test]
async fn client_whose_login_waits_for_a_worker_is_not_closed() {
    let builder = Suite::builder().gateways(1).gateway_flag("--auth-timeout", "1");
    let suite = builder.start().await;
    let mut raw = Raw::websocket(suite.gateways[0].clients).await;
    raw.send(&masked(0x81, b"echo log in")).await;
    tokio::time::sleep(std::time::Duration::from_millis(2500)).await;
    let mut worker = TestWorker::start(&suite, "1").await;
    assert_eq!(raw.frame().await.unwrap().payload, b"log in");
    assert_eq!(raw.close_code().await, 4408, "this worker binds no uid");
    for _ in 0..4 {
        worker.next_report().await;
    }
    assert!(worker.stop().await.is_empty(), "one close");
}
