//! `--compat strict`: behavior that clients and PHP peers observe only in this mode.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use protocol::{Message, Query, codec::gateway_worker::Opcode};
use suite_tests::{
    Php, Raw, Suite, eventually, on_one_and_three_threads,
    process::Signal,
    raw::{Frame, handshake, masked},
};

on_one_and_three_threads!(
    clients_are_closed_without_a_close_code,
    client_without_a_worker_is_disconnected,
    client_of_a_dead_worker_is_disconnected_at_its_next_message,
    on_connect_is_sent_at_accept_and_pages_are_not_served,
    text_is_not_validated_in_either_direction,
    odd_handshakes_get_the_status_of_workerman,
    client_that_does_not_read_misses_messages_and_stays_connected,
    events_not_sent_to_a_dead_php_worker_are_lost,
    events_beyond_the_buffer_of_a_php_worker_are_lost,
    rows_are_ordered_by_connection,
);

async fn clients_are_closed_without_a_close_code(threads: usize) {
    let (mut suite, mut worker) = strict(threads, &[]).await;
    let gateway = suite.gateways[0].clients;
    let mut client = Raw::websocket(gateway).await;
    let id = worker.accept_client().await;
    worker.send(Opcode::Kick, id, "", "bye").await;
    assert_eq!(client.read_to_end().await, b"\x81\x03bye");
    assert_eq!(worker.event().await.0, Opcode::OnClose);

    for wrong in [
        masked(0x83, b""),
        b"\x81\x02hi\0\0\0\0".to_vec(),
        // A frame header with a length over 10 MiB.
        [&b"\x82\xff"[..], &(11u64 << 20).to_be_bytes(), &[0; 4]].concat(),
    ] {
        let mut client = Raw::websocket(gateway).await;
        worker.accept_client().await;
        client.send(&wrong).await;
        assert_eq!(client.read_to_end().await, b"");
        assert_eq!(worker.event().await.0, Opcode::OnClose);
    }
    // A close frame is answered, always in the same way.
    let mut client = Raw::websocket(gateway).await;
    worker.accept_client().await;
    client.send(&masked(0x88, &3000u16.to_be_bytes())).await;
    assert_eq!(client.read_to_end().await, b"\x88\x02\x03\xe8");
    assert_eq!(worker.event().await.0, Opcode::OnClose);

    let mut client = Raw::websocket(gateway).await;
    worker.accept_client().await;
    suite.gateways[0].signal(Signal::Term);
    assert_eq!(client.read_to_end().await, b"");
    drop(worker);
    assert_eq!(suite.gateways[0].wait_exit().await.code(), Some(0));
}

async fn client_without_a_worker_is_disconnected(threads: usize) {
    let (suite, worker) = strict(threads, &[]).await;
    drop(worker);
    without_a_worker(&suite).await;
    for _ in 0..3 {
        let mut client = Raw::connect(suite.gateways[0].clients).await;
        // The gateway may close before the request is sent.
        let _ = client.try_send(handshake("").as_bytes()).await;
        assert_eq!(client.read_to_end().await, b"");
    }
    let mut worker = php(&suite, "late:0").await;
    let _client = Raw::websocket(suite.gateways[0].clients).await;
    worker.accept_client().await;
}

async fn client_of_a_dead_worker_is_disconnected_at_its_next_message(threads: usize) {
    let (suite, mut worker) = strict(threads, &[]).await;
    let mut sender = Raw::websocket(suite.gateways[0].clients).await;
    worker.accept_client().await;
    let mut idle = Raw::websocket(suite.gateways[0].clients).await;
    worker.accept_client().await;
    drop(worker);
    without_a_worker(&suite).await;
    sender.send(&masked(0x81, b"hello?")).await;
    assert_eq!(sender.read_to_end().await, b"");
    // An idle client is assigned to another worker by its next message, with no other event.
    let mut worker = php(&suite, "next:0").await;
    idle.send(&masked(0x81, b"here I am")).await;
    assert_eq!(worker.message().await, "here I am");
}

async fn on_connect_is_sent_at_accept_and_pages_are_not_served(threads: usize) {
    let (suite, mut worker) = strict(threads, &[]).await;
    let mut silent = Raw::connect(suite.gateways[0].clients).await;
    let (connect, first) = worker.event().await;
    assert_eq!(connect, Opcode::OnConnect);
    assert!((1..=threads as u32).contains(&first.connection_id), "{first:?}");
    worker.send(Opcode::Destroy, first.connection_id, "", "").await;
    silent.read_to_end().await;
    assert_eq!(worker.event().await.0, Opcode::OnClose);
    // Health checks create clients, too.
    for (method, path) in [("GET", "/"), ("GET", "/healthz"), ("OPTIONS", "/")] {
        let answer = Raw::request(suite.gateways[0].clients, method, path).await.unwrap();
        assert_eq!(answer.status, 400, "{method} {path}");
        assert_eq!(worker.event().await.0, Opcode::OnConnect);
        assert_eq!(worker.event().await.0, Opcode::OnClose);
    }
}

/// The statuses were recorded from Workerman 5.2.2 with exactly these requests.
async fn odd_handshakes_get_the_status_of_workerman(threads: usize) {
    const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    const VERSION: &str = "Sec-WebSocket-Version: 13\r\n";
    let both = format!("{KEY}{VERSION}");
    let line = |line: &[u8]| [line, b"\r\n", both.as_bytes(), b"\r\n"].concat();
    let fields = |fields: &str| format!("GET / HTTP/1.1\r\n{fields}\r\n").into_bytes();
    let (suite, mut worker) = strict(threads, &[]).await;
    for (request, status) in [
        (line(b"GET /?n=\xc4\xe3 HTTP/1.1"), 101),
        (line(b"GET /?n=a b HTTP/1.1"), 101),
        (line(b"GET /\0 HTTP/1.1"), 101),
        (line(b"GET / HTTP/2.0"), 101),
        (line(b"GET / HTTP/1.0"), 101),
        (line(b"GET /"), 101),
        (line(b"GETX / HTTP/1.1"), 101),
        (line(b"get / HTTP/1.1"), 400),
        (line(b"POST / HTTP/1.1"), 400),
        (line(b"\r\nGET / HTTP/1.1"), 400),
        (fields(&format!("{}{both}", "X: y\r\n".repeat(150))), 101),
        (fields(&format!("no colon\r\nX: y\r\n z\r\nX: a\nb\r\n{both}")), 101),
        (fields(&format!("{both}Content-Length: 0\r\nContent-Length: 5\r\n")), 101),
        (fields(&format!("{both}Transfer-Encoding: chunked\r\n")), 101),
        (fields(&format!("X-{KEY}X-{VERSION}")), 101),
        (fields(&format!("{both}{}", VERSION.replace("13", "8"))), 101),
        (fields(&format!("{KEY}{}{VERSION}", VERSION.replace("13", "8"))), 426),
        (fields(&format!("{KEY}{}", VERSION.replace("13", "13 "))), 426),
        (fields(&format!("{KEY}{}", VERSION.replace("13", "13, 8"))), 426),
        (fields(&VERSION.replace("13", "8")), 426),
        (fields(KEY), 400),
        (fields(VERSION), 400),
        (fields(&format!("{}{VERSION}", KEY.replace(':', " :"))), 400),
    ] {
        let mut raw = Raw::connect(suite.gateways[0].clients).await;
        raw.send(&request).await;
        let head = raw.head().await;
        let request = request.escape_ascii();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {head}");
        drop(raw);
        assert_eq!(worker.event().await.0, Opcode::OnConnect);
        if status == 101 {
            let (opcode, frame) = worker.event().await;
            assert_eq!(opcode, Opcode::OnWebsocketConnect, "{request}");
            let body = frame.body.escape_ascii().to_string();
            let has = |part: &str| assert!(body.contains(part), "{request}: {body}");
            if request.to_string().contains("n=\\xc4") {
                // The value that the client meant, percent-encoded or not.
                has(r#"s:3:\"get\";a:1:{s:1:\"n\";s:2:\"\xc4\xe3\";}"#);
            } else if request.to_string().contains("n=a b") {
                has(r#"s:3:\"get\";a:1:{s:1:\"n\";s:1:\"a\";}"#);
            }
        }
        assert_eq!(worker.event().await.0, Opcode::OnClose);
    }
}

async fn text_is_not_validated_in_either_direction(threads: usize) {
    let (suite, mut worker) = strict(threads, &[]).await;
    let mut client = Raw::websocket(suite.gateways[0].clients).await;
    let id = worker.accept_client().await;
    client.send(&masked(0x81, b"no text: \xff")).await;
    assert_eq!(worker.message().await, &b"no text: \xff"[..]);
    worker.send(Opcode::SendToOne, id, "", &b"\xff"[..]).await;
    assert_eq!(client.frame().await, Some(Frame { first: 0x81, payload: vec![0xff] }));
}

async fn client_that_does_not_read_misses_messages_and_stays_connected(threads: usize) {
    let (suite, mut worker) = strict(threads, &[]).await;
    let mut client = Raw::websocket(suite.gateways[0].clients).await;
    let id = worker.accept_client().await;
    for _ in 0..300 {
        worker.send(Opcode::SendToOne, id, "", vec![b'x'; 100_000]).await;
    }
    eventually("messages to be dropped", async || {
        let dropped = suite.gateways[0].metric("pushsuite_gateway_messages_dropped_total").await?;
        (0.0 < dropped).then_some(())
    })
    .await;
    client.send(&masked(0x81, b"still here")).await;
    assert_eq!(worker.message().await, "still here");
    let mut got = 0;
    loop {
        // Sent repeatedly, since it may be dropped as well.
        worker.send(Opcode::SendToOne, id, "", "last").await;
        match client.frame().await.unwrap().payload.as_slice() {
            b"last" => break,
            _ => got += 1,
        }
    }
    assert!(got < 300, "{got} of 300");
}

async fn events_not_sent_to_a_dead_php_worker_are_lost(threads: usize) {
    for (compat, lost) in [("strict", true), ("default", false)] {
        let flags = [("--compat", compat), ("--worker-window", "50000000")];
        let (suite, mut dies) = start(threads, &flags).await;
        let mut client = Raw::websocket(suite.gateways[0].clients).await;
        dies.accept_client().await;
        // More than socket buffers hold.
        let sending = tokio::spawn(async move {
            for number in 0..250 {
                client.send(&masked(0x82, &[number; 100_000])).await;
            }
            client
        });
        let read = has_read(&suite, if lost { Some(250.0) } else { None }).await;
        assert_eq!(read == 250.0, lost, "a client whose worker is slow is paused");
        let mut next = php(&suite, "next:0").await;
        drop(dies);
        has_workers(&suite, 1).await;
        if lost {
            sending.await.unwrap().send(&masked(0x81, b"last")).await;
        }
        let first = next.message().await;
        assert_eq!(first == "last", lost, "{compat}: {} bytes", first.len());
    }
}

/// Number of messages that the gateway has read, once it is `all` or no longer changes.
async fn has_read(suite: &Suite, all: Option<f64>) -> f64 {
    let (mut before, mut same) = (0.0, 0);
    eventually("the gateway to read messages", async || {
        let read = suite.gateways[0].metric("pushsuite_gateway_messages_in_total").await?;
        same = if 0.0 < read && read == before { same + 1 } else { 0 };
        before = read;
        all.map_or(20 <= same, |all| read == all).then_some(read)
    })
    .await
}

async fn events_beyond_the_buffer_of_a_php_worker_are_lost(threads: usize) {
    let (suite, mut worker) = strict(threads, &[("--worker-window", "200000")]).await;
    let mut client = Raw::websocket(suite.gateways[0].clients).await;
    worker.accept_client().await;
    // Everything is sent although the worker does not read: there is no backpressure.
    for number in 0..250 {
        client.send(&masked(0x82, &[number; 100_000])).await;
    }
    eventually("events to be dropped", async || {
        let read = suite.gateways[0].metric("pushsuite_gateway_messages_in_total").await?;
        let dropped = suite.gateways[0].metric("pushsuite_gateway_events_dropped_total").await?;
        (read == 250.0 && 0.0 < dropped).then_some(())
    })
    .await;
    let mut received = 0;
    loop {
        client.send(&masked(0x81, b"last")).await;
        match worker.message().await {
            message if message == "last" => break,
            message => {
                assert_eq!(message.len(), 100_000);
                received += 1;
            }
        }
    }
    assert!(received < 250, "{received} of 250");
}

async fn rows_are_ordered_by_connection(threads: usize) {
    for (compat, first_is_bare) in [("strict", true), ("default", false)] {
        let (suite, mut worker) = start(threads, &[("--compat", compat)]).await;
        let mut clients = Vec::new();
        let mut ids = Vec::new();
        for _ in 0..2 {
            clients.push(Raw::websocket(suite.gateways[0].clients).await);
            ids.push(worker.accept_client().await);
        }
        worker.send(Opcode::JoinGroup, ids[1], "g", "").await;
        let rows = worker.query(Opcode::Select, 0, r#"{"fields":["groups"],"where":[]}"#).await;
        let bare = format!(r#"i:{};a:1:{{s:6:"groups";N;}}"#, ids[0]);
        let member = format!(r#"i:{};a:1:{{s:6:"groups";a:1:{{s:1:"g";s:1:"g";}}}}"#, ids[1]);
        let in_order = if first_is_bare { [bare, member] } else { [member, bare] };
        assert_eq!(rows, format!("a:2:{{{}}}", in_order.concat()), "{compat}");
        worker.send(Opcode::LeaveGroup, ids[1], "g", "").await;
        let rows = worker.query(Opcode::Select, 0, r#"{"fields":["groups"],"where":[]}"#).await;
        assert!(rows.ends_with(r#"s:6:"groups";a:0:{}}}"#), "{compat}: {rows}");
    }
}

#[tokio::test]
async fn messages_without_a_kind_use_the_configured_frame_type() {
    for (kind, text, other) in [("auto", 0x81, 0x82), ("text", 0x81, 0x81), ("binary", 0x82, 0x82)]
    {
        let flags = [("--websocket-type", kind), ("--ping-interval", "1"), ("--ping-data", "p")];
        let (suite, mut worker) = start(1, &flags).await;
        let mut client = Raw::websocket(suite.gateways[0].clients).await;
        let id = worker.accept_client().await;
        let mut firsts = Vec::new();
        worker.send(Opcode::SendToOne, id, "", "hi").await;
        worker.send(Opcode::SendToAll, 0, "", &b"\xff"[..]).await;
        for _ in 0..2 {
            firsts.push(not_a_ping(&mut client).await.first);
        }
        assert_eq!(firsts, [text, other], "{kind}");
        while client.frame().await.unwrap() != (Frame { first: text, payload: b"p".to_vec() }) {}

        // Native peers set the type per message.
        let mut native = suite.peer(0).await;
        let to = protocol::ConnectionId(id);
        for (message, first) in [(Message::text("t"), 0x81), (Message::binary("b"), 0x82)] {
            native.command(protocol::Command::SendToClient { to, message }).await;
            assert_eq!(not_a_ping(&mut client).await.first, first, "{kind}");
        }
        worker.send(Opcode::Kick, id, "", "bye").await;
        assert_eq!(not_a_ping(&mut client).await.first, text, "{kind}");
    }
}

async fn not_a_ping(client: &mut Raw) -> Frame {
    loop {
        let frame = client.frame().await.unwrap();
        if frame.payload != b"p" {
            return frame;
        }
    }
}

async fn strict(threads: usize, flags: &[(&str, &str)]) -> (Suite, Php) {
    start(threads, &[&[("--compat", "strict")], flags].concat()).await
}

/// A gateway with these flags and a PHP worker.
async fn start(threads: usize, flags: &[(&str, &str)]) -> (Suite, Php) {
    let builder = Suite::builder().gateways(1).threads(threads);
    let builder =
        flags.iter().fold(builder, |builder, (flag, value)| builder.gateway_flag(flag, value));
    let suite = builder.start().await;
    let worker = php(&suite, "first:0").await;
    (suite, worker)
}

async fn php(suite: &Suite, name: &str) -> Php {
    Php::worker(suite.gateways[0].inner, &suite.secret(), name).await
}

async fn without_a_worker(suite: &Suite) {
    has_workers(suite, 0).await;
}

/// Waits until this many workers are left, on every shard.
async fn has_workers(suite: &Suite, left: u32) {
    suite.gateways[0].wait_for_metric("pushsuite_gateway_workers", f64::from(left)).await;
    // The metric is counted by the hub; a query is answered by every shard after that.
    suite.peer(0).await.query(Query::Groups).await;
}
