//! Handshakes that workers decide: accepted with a grant, refused, late, and interrupted.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::SocketAddr;

use protocol::{CloseReason, Command, Event, Grant, Message, Query, codec::gateway_worker::Opcode};
use suite_tests::{
    Answer, Call, Peer, Php, Raw, Report, Suite, TestWorker,
    process::Signal,
    raw::{handshake, masked},
    suite::Builder,
};

fn builder() -> Builder {
    Suite::builder().gateways(1).gateway_flag("--handshake-auth", "worker")
}

/// A request that asks the test worker for an answer; see `suite_tests::answers`.
fn request(answer: &str) -> String {
    let request = handshake("Sec-WebSocket-Protocol: v1, v2\r\n");
    request.replacen("GET / ", &format!("GET /?{answer} "), 1)
}

/// A connection that has sent that request.
async fn requested(gateway: SocketAddr, answer: &str) -> Raw {
    let mut raw = Raw::connect(gateway).await;
    raw.send(request(answer).as_bytes()).await;
    raw
}

/// The head of the response.
async fn head(raw: &mut Raw) -> Answer {
    Answer::parse(raw.head().await.as_bytes()).unwrap()
}

/// Everything up to the end of the connection, as one response.
async fn refused(raw: &mut Raw) -> Answer {
    let bytes = raw.read_to_end().await;
    let text = String::from_utf8_lossy(&bytes);
    assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{text}");
    Answer::parse(&bytes).unwrap()
}

/// The reports about the next client, up to its last one.
async fn life(worker: &mut TestWorker) -> Vec<Report> {
    let mut reports = Vec::new();
    loop {
        reports.push(worker.next_report().await);
        if matches!(reports.last().unwrap().call, Call::Close(_)) {
            return reports;
        }
    }
}

/// The close event of a client that was never open, after its connect and its request.
async fn only_close(worker: &mut TestWorker) -> CloseReason {
    let reports = life(worker).await;
    let calls: Vec<_> = reports.iter().map(|report| &report.call).collect();
    match calls[..] {
        [Call::Connect, Call::WebSocketConnect(_), Call::Close(reason)] => *reason,
        _ => panic!("{calls:?}"),
    }
}

fn refused_total(reason: &str) -> String {
    format!("pushsuite_gateway_handshakes_refused_total{{reason=\"{reason}\"}}")
}

/// The client of the next two events of a worker, whose handshake awaits an answer. They are not
/// acknowledged, as by a handler that has not returned.
async fn undecided(worker: &mut Peer) -> protocol::ConnectionId {
    let connect = worker.event().await;
    assert_eq!(connect.event, Event::Connect);
    let asked = worker.event().await;
    assert_eq!(asked.client, connect.client);
    assert!(matches!(asked.event, Event::WebSocketRequest(_)), "{asked:?}");
    connect.client
}

#[tokio::test]
async fn accepted_client_has_its_grant_and_is_reached_by_uid_and_group() {
    let suite = builder().gateway_flag("--subprotocol", "v1").start().await;
    let mut worker = TestWorker::start(&suite, "1").await;
    let mut raw = requested(suite.gateways[0].clients, "send").await;
    let answer = head(&mut raw).await;
    assert_eq!(answer.status, 101);
    assert_eq!(answer.header("sec-websocket-protocol"), "v2", "in place of the configured one");
    assert_eq!(answer.header("x-granted"), "yes");
    for expected in ["before", "uid", "group"] {
        assert_eq!(raw.frame().await.unwrap().payload, expected.as_bytes());
    }
    raw.send(&masked(0x81, b"echo here")).await;
    assert_eq!(raw.frame().await.unwrap().payload, b"here");
    for session in ["", "", r#"{"note":"granted"}"#] {
        assert_eq!(worker.next_report().await.session, session);
    }
    let cluster = suite.cluster().await;
    let clients = cluster.clients_of_uid("ann").await.unwrap();
    assert_eq!(clients.len(), 1);
    assert_eq!(
        cluster.session(clients[0]).await.unwrap().unwrap().as_encoded(),
        "{\"note\":\"granted\"}"
    );
}

#[tokio::test]
async fn refused_client_gets_the_status_and_body_and_its_worker_one_close() {
    let suite = builder().start().await;
    let mut worker = TestWorker::start(&suite, "1").await;
    let gateway = &suite.gateways[0];
    let answer = refused(&mut requested(gateway.clients, "refuse").await).await;
    assert_eq!((answer.status, &*answer.body), (401, "sign in first"));
    assert_eq!(answer.header("www-authenticate"), "Bearer");
    assert_eq!(only_close(&mut worker).await, CloseReason::Handshake);
    let answer = refused(&mut requested(gateway.clients, "forbid").await).await;
    assert_eq!((answer.status, &*answer.body), (403, "not you"));
    assert_eq!(only_close(&mut worker).await, CloseReason::Handshake);
    gateway.wait_for_metric(&refused_total("unauthorized"), 1.0).await;
    gateway.wait_for_metric(&refused_total("forbidden"), 1.0).await;
    gateway.wait_for_metric("pushsuite_gateway_connections_requests", 0.0).await;
    assert!(worker.stop().await.is_empty(), "one close each");
}

#[tokio::test]
async fn handler_without_an_answer_accepts_and_a_failing_one_refuses_with_503() {
    let suite = builder().start().await;
    let mut worker = TestWorker::start(&suite, "1").await;
    let gateway = suite.gateways[0].clients;
    for answer in ["fail", "panic", "other-subprotocol"] {
        let refused = refused(&mut requested(gateway, answer).await).await;
        assert_eq!(refused.status, 503, "{answer}");
        assert!(0 < refused.header("retry-after").parse().unwrap(), "{answer}");
        assert_eq!(only_close(&mut worker).await, CloseReason::Handshake);
    }
    let answer = refused(&mut requested(gateway, "close").await).await;
    assert_eq!((answer.status, &*answer.body), (403, ""), "closed before it was accepted");
    assert_eq!(only_close(&mut worker).await, CloseReason::Worker);
    let mut browser = suite.browser(0).await;
    browser.exchange("echo here", "here").await;
}

#[tokio::test]
async fn first_of_several_answers_counts() {
    let suite = builder().start().await;
    let _worker = TestWorker::start(&suite, "1").await;
    let mut raw = requested(suite.gateways[0].clients, "twice").await;
    assert_eq!(head(&mut raw).await.status, 101);
    raw.send(&masked(0x81, b"echo here")).await;
    assert_eq!(raw.frame().await.unwrap().payload, b"here", "nothing in between");
}

#[tokio::test]
async fn bytes_behind_the_request_are_read_once_it_is_accepted() {
    let suite = builder().start().await;
    let mut worker = suite.worker_link(0, "test:1").await;
    let mut raw = Raw::connect(suite.gateways[0].clients).await;
    let early = [request("").as_bytes(), &masked(0x81, b"early")].concat();
    raw.send(&early).await;
    let client = undecided(&mut worker).await;
    raw.send(&masked(0x81, b"later")).await;
    assert!(worker.has_no_event().await);
    worker.command(Command::AcceptHandshake { client, edit: 0, grant: Box::default() }).await;
    assert_eq!(head(&mut raw).await.status, 101);
    for text in ["early", "later"] {
        assert_eq!(worker.event_of(client).await, Event::Message(Message::text(text)));
    }
}

#[tokio::test]
async fn handshake_without_an_answer_in_time_is_refused_with_503() {
    let suite = builder().gateway_flag("--handshake-auth-timeout", "1").start().await;
    let gateway = &suite.gateways[0];
    // Without a worker.
    let answer = refused(&mut requested(gateway.clients, "").await).await;
    assert_eq!(answer.status, 503);
    assert!(0 < answer.header("retry-after").parse().unwrap());
    // With one that does not answer in time, and then in vain.
    let mut worker = suite.worker_link(0, "test:1").await;
    for _ in 0..3 {
        worker.event().await;
    }
    let mut raw = requested(gateway.clients, "").await;
    let client = undecided(&mut worker).await;
    assert_eq!(refused(&mut raw).await.status, 503);
    assert_eq!(worker.event_of(client).await, Event::Close(CloseReason::Handshake));
    worker.command(Command::AcceptHandshake { client, edit: 0, grant: Box::default() }).await;
    assert!(worker.has_no_event().await);
    gateway.wait_for_metric(&refused_total("auth_timeout"), 2.0).await;
    gateway.wait_for_metric("pushsuite_gateway_clients", 0.0).await;
}

#[tokio::test]
async fn handshake_of_a_worker_that_dies_is_decided_by_another_one() {
    let suite = builder().start().await;
    let mut first = suite.worker_link(0, "first:1").await;
    let mut raw = requested(suite.gateways[0].clients, "accept").await;
    undecided(&mut first).await;
    drop(first);
    let mut worker = TestWorker::start(&suite, "2").await;
    assert_eq!(head(&mut raw).await.status, 101);
    for call in 0..2 {
        assert!(worker.next_report().await.redelivered, "{call}");
    }
    raw.send(&masked(0x81, b"echo here")).await;
    assert_eq!(raw.frame().await.unwrap().payload, b"here");
    drop(raw);
    let closes = life(&mut worker).await;
    assert_eq!(closes.last().unwrap().call, Call::Close(CloseReason::Client));
    assert!(worker.stop().await.is_empty());
}

#[tokio::test]
async fn answer_that_was_sent_before_the_worker_died_counts() {
    let suite = builder().start().await;
    let mut first = suite.worker_link(0, "first:1").await;
    let mut raw = requested(suite.gateways[0].clients, "refuse").await;
    let client = undecided(&mut first).await;
    let grant = Grant::new().with_uid("bob").unwrap();
    first.command(Command::AcceptHandshake { client, edit: 0, grant: grant.into() }).await;
    assert_eq!(head(&mut raw).await.status, 101);
    // It has acknowledged nothing.
    drop(first);
    let mut worker = TestWorker::start(&suite, "2").await;
    for _ in 0..2 {
        assert!(worker.next_report().await.redelivered);
    }
    raw.send(&masked(0x81, b"echo here")).await;
    assert_eq!(raw.frame().await.unwrap().payload, b"here");
}

#[tokio::test]
async fn worker_whose_answer_does_not_count_gets_the_session_of_the_one_that_does() {
    let suite = builder().start().await;
    let mut worker = suite.worker_link(0, "test:1").await;
    let mut raw = requested(suite.gateways[0].clients, "").await;
    let client = undecided(&mut worker).await;
    // As of a handler that runs again: the worker's copy has the second session then.
    for (edit, note) in [(1, "first"), (2, "second")] {
        let grant = Grant::new().with_session(&serde_json::json!({ "note": note })).unwrap();
        worker.command(Command::AcceptHandshake { client, edit, grant: grant.into() }).await;
    }
    worker.query(Query::Groups).await;
    assert_eq!(head(&mut raw).await.status, 101);
    raw.send(&masked(0x81, b"hi")).await;
    let delivery = worker.event().await;
    assert_eq!((&delivery.event, delivery.edits), (&Event::Message(Message::text("hi")), 2));
    let session = delivery.context.unwrap().session;
    assert_eq!(&session.as_encoded()[..], br#"{"note":"first"}"#);
}

#[tokio::test]
async fn undecided_client_of_a_gateway_that_shuts_down_is_refused_with_503_and_closed_once() {
    let mut suite = builder().start().await;
    let mut worker = TestWorker::start(&suite, "1").await;
    let mut raw = requested(suite.gateways[0].clients, "wait").await;
    worker.wait_until_blocked(1).await;
    suite.gateways[0].signal(Signal::Term);
    let answer = refused(&mut raw).await;
    assert_eq!(answer.status, 503);
    assert!(0 < answer.header("retry-after").parse().unwrap());
    worker.release(1);
    assert_eq!(only_close(&mut worker).await, CloseReason::Shutdown);
    assert_eq!(suite.gateways[0].wait_exit().await.code(), Some(0));
    assert!(worker.stop().await.is_empty());
}

#[tokio::test]
async fn flood_of_undecided_handshakes_leaves_room_for_clients_and_pages() {
    let builder = builder().gateway_flag("--max-handshakes", "20");
    let suite = builder.gateway_flag("--handshake-auth-timeout", "60").start().await;
    let worker = TestWorker::start(&suite, "1").await;
    let gateway = &suite.gateways[0];
    let mut ann = suite.served_browser(0).await;
    let mut flood = Vec::new();
    for _ in 0..15 {
        flood.push(requested(gateway.clients, "wait").await);
    }
    worker.wait_until_blocked(15).await;
    for _ in 0..20 {
        let answer = refused(&mut requested(gateway.clients, "wait").await).await;
        assert_eq!(answer.status, 503);
        assert!(0 < answer.header("retry-after").parse().unwrap());
    }
    gateway.wait_for_metric(&refused_total("auth_busy"), 20.0).await;
    assert_eq!(Raw::get(gateway.clients, "/").await.unwrap().status, 200);
    ann.exchange("echo still here", "still here").await;
    worker.release(15);
    for raw in &mut flood {
        assert_eq!(head(raw).await.status, 101);
    }
}

#[tokio::test]
async fn php_worker_accepts_by_a_uid_and_refuses_by_closing_the_client() {
    let suite = builder().gateway_flag("--handshake-auth-timeout", "2").start().await;
    let gateway = &suite.gateways[0];
    let mut php = Php::worker(gateway.inner, &suite.secret(), "php:1").await;
    let mut raw = requested(gateway.clients, "").await;
    let client = php.accept_client().await;
    php.send(Opcode::JoinGroup, client, "lobby", "").await;
    php.send(Opcode::SendToOne, client, "", "welcome").await;
    php.send(Opcode::BindUid, client, "ann", "").await;
    assert_eq!(head(&mut raw).await.status, 101);
    assert_eq!(raw.frame().await.unwrap().payload, b"welcome");
    raw.send(&masked(0x81, b"hi")).await;
    assert_eq!(&php.message().await[..], b"hi");
    drop(raw);
    assert_eq!(php.event().await.0, Opcode::OnClose);

    let mut raw = requested(gateway.clients, "").await;
    let client = php.accept_client().await;
    php.send(Opcode::Kick, client, "", "").await;
    assert_eq!(refused(&mut raw).await.status, 403);
    assert_eq!(php.event().await.0, Opcode::OnClose);

    // Commands that an application may send before it has seen the request accept nothing.
    let mut raw = requested(gateway.clients, "").await;
    let client = php.accept_client().await;
    php.send(Opcode::SendToOne, client, "", "your id").await;
    php.send(Opcode::JoinGroup, client, "lobby", "").await;
    php.send(Opcode::SetSession, client, "a:1:{i:0;i:1;}", "").await;
    assert_eq!(refused(&mut raw).await.status, 503);
    assert_eq!(php.event().await.0, Opcode::OnClose);
}

#[tokio::test]
async fn back_end_does_not_accept_for_a_rust_worker() {
    let suite = builder().start().await;
    let mut worker = suite.worker_link(0, "test:1").await;
    let mut raw = requested(suite.gateways[0].clients, "").await;
    let client = undecided(&mut worker).await;
    let mut php = Php::back_end(suite.gateways[0].inner, &suite.secret()).await;
    php.send(Opcode::BindUid, client.0, "ann", "").await;
    php.query(Opcode::GetGroupIdList, 0, "").await;
    worker.query(Query::Groups).await;
    let refusal = protocol::Refusal::new(403, "").unwrap().into();
    worker.command(Command::RefuseHandshake { client, refusal }).await;
    assert_eq!(refused(&mut raw).await.status, 403);
}
