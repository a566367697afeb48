//! `--app webhook`: events as HTTP requests, and answers as commands, over real sockets.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use suite_tests::{
    Answer, Browser, Raw, eventually, on_one_and_three_threads,
    process::Signal,
    raw::handshake,
    tokens::now,
    webhooks::{HookFile, by_subject, kinds},
};
use test_support::receiver::{Received, Receiver, Reply};
use tokio::sync::Barrier;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

on_one_and_three_threads!(
    client_is_accepted_messages_are_answered_and_its_close_is_reported,
    expiring_connection_is_renewed_or_closed_by_the_answer,
    messages_of_a_client_are_sent_one_at_a_time_and_in_order
);

/// Accepts with everything there is, and answers each message with itself.
fn full(request: &Received) -> Reply {
    match request.header("ce-type") {
        "gw.connect" => Reply::json(
            r#"{"uid":"u7","groups":["lobby"],"session":{"n":1},"subprotocol":"v2",
                "send":["welcome"],"headers":{"set-cookie":"c=d"}}"#,
        ),
        "gw.message" => echo(request),
        _ => Reply::status(204),
    }
}

fn echo(request: &Received) -> Reply {
    let head = "content-type: text/plain\r\n".to_owned();
    Reply::Answer(200, head, request.body.clone())
}

/// Accepts everything, and answers each message with itself.
fn plain(request: &Received) -> Reply {
    match request.header("ce-type") {
        "gw.message" => echo(request),
        _ => Reply::status(204),
    }
}

async fn client_is_accepted_messages_are_answered_and_its_close_is_reported(threads: usize) {
    let receiver = Receiver::start(full).await;
    let file = HookFile::new(&[(receiver.url("/hook"), "headers = [\"cookie\"]")]);
    let builder = file.suite().threads(threads).gateway_flag("--handshake-auth", "worker");
    let suite = builder.workers(1).start().await;
    let cluster = suite.cluster().await;

    let gateway = suite.gateways[0].clients;
    let mut request = format!("ws://{gateway}/chat?room=1").into_client_request().unwrap();
    for (name, value) in [("cookie", "a=b"), ("sec-websocket-protocol", "v1, v2")] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let mut browser = Browser::open_with(gateway, request).await.unwrap();
    assert_eq!(browser.receive_text().await, "welcome");
    assert_eq!(cluster.uid_client_count("u7").await.unwrap(), 1);
    assert_eq!(cluster.group_count("lobby").await.unwrap(), 1);
    browser.exchange("hi", "hi").await;
    browser.close_with(4007, "enough").await;
    let received = receiver.wait_for(3).await;
    assert_eq!(kinds(&received), ["connect", "message", "close"]);
    let subject = received[0].header("ce-subject");
    assert!(received.iter().all(|it| it.header("ce-subject") == subject));
    let numbers: Vec<u64> =
        received.iter().map(|it| it.header("ce-gwseq").parse().unwrap()).collect();
    assert!(numbers.is_sorted() && numbers[0] < numbers[2], "{numbers:?}");
    assert_eq!(received[1].header("ce-gwuid"), "u7");
    let connect = String::from_utf8_lossy(&received[0].body);
    assert!(connect.contains("\"cookie\":\"a=b\"") && connect.contains("\"/chat\""), "{connect}");
    let close = String::from_utf8_lossy(&received[2].body);
    assert!(close.contains("\"by\":\"client\"") && close.contains("{\"n\":1}"), "{close}");
    assert!(close.contains("\"code\":4007,\"text\":\"enough\",\"connected_ms\":"), "{close}");
}

async fn expiring_connection_is_renewed_or_closed_by_the_answer(threads: usize) {
    let end = Arc::new(AtomicU64::new(0));
    let first = now() + 4;
    let renewed = Arc::clone(&end);
    let receiver = Receiver::start(move |request| {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        match (request.header("ce-type"), body["expires_at"].as_u64()) {
            ("gw.connect", _) => Reply::json(json!({ "expires_at": first }).to_string()),
            ("gw.refresh", Some(at)) if at == first => {
                renewed.store(now() + 4, Ordering::Relaxed);
                let expires_at = renewed.load(Ordering::Relaxed);
                Reply::json(json!({ "expires_at": expires_at }).to_string())
            }
            ("gw.refresh", _) => {
                let head = "content-type: application/json\r\n".to_owned();
                Reply::Answer(403, head, br#"{"error":{"message":"signed out"}}"#.to_vec())
            }
            _ => Reply::status(204),
        }
    })
    .await;
    let keys = "events = [\"connect\", \"refresh\"]";
    let file = HookFile::new(&[(receiver.url("/hook"), keys)]);
    let builder = file.suite().threads(threads).gateway_flag("--handshake-auth", "worker");
    let suite = builder.workers(1).start().await;
    let mut browser = suite.browser(0).await;
    assert_eq!(browser.receive_close().await, Some((4403, "signed out".into())));
    let received = receiver.received();
    assert_eq!(kinds(&received), ["connect", "refresh", "refresh"]);
    let expiries = received[1..].iter().map(|request| {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        body["expires_at"].as_u64().unwrap()
    });
    assert_eq!(expiries.collect::<Vec<_>>(), [first, end.load(Ordering::Relaxed)]);
}

async fn messages_of_a_client_are_sent_one_at_a_time_and_in_order(threads: usize) {
    const MESSAGES: usize = 30;
    const CLIENTS: usize = 5;
    // Each answer takes another time.
    let receiver = Receiver::start(|request| match request.header("ce-type") {
        "gw.message" => {
            let time = Duration::from_millis(u64::from(request.body[0] % 7 * 3));
            Reply::After(time, Box::new(echo(request)))
        }
        _ => Reply::status(204),
    })
    .await;
    let file = HookFile::new(&[(receiver.url("/"), "")]);
    let suite = file.suite().threads(threads).workers(2).start().await;
    let ready = Arc::new(Barrier::new(CLIENTS));
    let mut tasks = Vec::new();
    for number in 0..CLIENTS {
        let (mut browser, ready) = (suite.browser(number % 2).await, Arc::clone(&ready));
        tasks.push(tokio::spawn(async move {
            ready.wait().await;
            for message in 0..MESSAGES {
                browser.send(format!("{message} of {number}")).await;
            }
            for message in 0..MESSAGES {
                assert_eq!(browser.receive_text().await, format!("{message} of {number}"));
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let subjects = by_subject(&receiver.received());
    assert_eq!(subjects.len(), CLIENTS);
    for events in subjects.values() {
        let texts = events.iter().filter(|it| it.header("ce-type") == "gw.message");
        let sent: Vec<_> = texts.map(|it| String::from_utf8_lossy(&it.body).into_owned()).collect();
        let of = sent[0].split(" of ").nth(1).unwrap();
        let expected: Vec<_> = (0..MESSAGES).map(|number| format!("{number} of {of}")).collect();
        assert_eq!(sent, expected);
    }
}

#[tokio::test]
async fn handshake_is_refused_before_the_101_with_status_and_body() {
    let receiver = Receiver::start(|request| {
        let head = "content-type: application/json\r\nretry-after: 9\r\n".to_owned();
        match request.target.as_str() {
            "/" => Reply::Answer(429, head, b"{\"error\":{\"message\":\"slow down\"}}".to_vec()),
            _ => Reply::status(500),
        }
    })
    .await;
    let file = HookFile::new(&[(receiver.url("/"), "connect_timeout = 1")]);
    let mut suite =
        file.suite().gateway_flag("--handshake-auth", "worker").workers(1).start().await;
    let gateway = suite.gateways[0].clients;
    let refused = async || {
        let mut raw = Raw::connect(gateway).await;
        raw.send(handshake("").as_bytes()).await;
        Answer::parse(&raw.read_to_end().await).unwrap()
    };
    let answer = refused().await;
    assert_eq!((answer.status, answer.header("retry-after")), (429, "9"));
    assert!(answer.body.ends_with("\"slow down\"}}"), "{answer:?}");

    // A receiver that fails: 503, after the attempts of a second.
    file.write(&[(receiver.url("/fails"), "connect_timeout = 1")]);
    suite.workers[0].signal(Signal::Hup);
    suite.workers[0].wait_for_log(&["tables of the settings file", "reloaded"]).await;
    let answer = refused().await;
    assert_eq!(answer.status, 503);
    assert!(!answer.header("retry-after").is_empty());
    assert!(receiver.received().iter().all(|it| it.header("ce-type") == "gw.connect"));
}

#[tokio::test]
async fn client_that_is_refused_after_its_handshake_is_closed_with_4403_and_has_no_close_event() {
    let receiver = Receiver::start(|_| {
        let head = "content-type: application/json\r\n".to_owned();
        Reply::Answer(403, head, b"{\"error\":{\"message\":\"banned\"}}".to_vec())
    })
    .await;
    let file = HookFile::new(&[(receiver.url("/"), "")]);
    let suite = file.suite().workers(1).start().await;
    let mut browser = suite.browser(1).await;
    assert_eq!(browser.receive_close().await, Some((4403, "banned".to_owned())));
    let mut second = suite.browser(0).await;
    assert_eq!(second.receive_close().await, Some((4403, "banned".to_owned())));
    assert_eq!(kinds(&receiver.received()), ["connect", "connect"]);
}

#[tokio::test]
async fn failing_receiver_gets_the_message_again_with_its_id_and_the_client_waits() {
    let receiver = Receiver::start(|request| match request.header("ce-gwattempt") {
        "1" | "2" => Reply::status(500),
        _ => plain(request),
    })
    .await;
    let file = HookFile::new(&[(receiver.url("/"), "")]);
    let suite = file.suite().workers(1).start().await;
    let mut browser = suite.browser(0).await;
    browser.exchange("a", "a").await;
    browser.exchange("b", "b").await;
    let received = receiver.received();
    assert_eq!(kinds(&received), [["connect"; 3], ["message"; 3], ["message"; 3]].concat());
    for tries in received.chunks(3) {
        let ids: Vec<_> = tries.iter().map(|it| it.header("ce-id")).collect();
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    }
    assert_eq!(by_subject(&received).values().next().unwrap().len(), 3, "three events");
}

#[tokio::test]
async fn circuit_opens_for_a_failing_receiver_and_closes_without_a_loss() {
    let receiver = Receiver::start(plain).await;
    let file = HookFile::new(&[(receiver.url("/"), "")]);
    let suite = file.suite().workers(1).start().await;
    let mut browsers = Vec::new();
    for _ in 0..8 {
        let mut browser = suite.browser(0).await;
        browser.exchange("ready", "ready").await;
        browsers.push(browser);
    }
    receiver.answer(|_| Reply::status(500));
    for browser in &mut browsers {
        browser.send("waits").await;
    }
    suite.workers[0].wait_for_metric("pushsuite_webhook_circuits_open", 1.0).await;
    receiver.answer(plain);
    for browser in &mut browsers {
        assert_eq!(browser.receive_text().await, "waits");
    }
    suite.workers[0].wait_for_metric("pushsuite_webhook_circuits_open", 0.0).await;
}

#[tokio::test]
async fn message_without_an_answer_closes_its_client_with_4503() {
    let receiver = Receiver::start(plain).await;
    let file = HookFile::new(&[(receiver.url("/"), "message_retry = 1")]);
    let suite = file.suite().workers(1).start().await;
    let mut browser = suite.browser(0).await;
    browser.exchange("a", "a").await;
    receiver.answer(|request| match request.header("ce-type") {
        "gw.message" => Reply::status(503),
        _ => Reply::status(204),
    });
    browser.send("b").await;
    let expected = (4503, "webhook unavailable".to_owned());
    assert_eq!(browser.receive_close().await, Some(expected));
    eventually("its close", async || {
        let received = receiver.received();
        kinds(&received).last().filter(|kind| **kind == "close").map(drop)
    })
    .await;
}

#[tokio::test]
async fn receiver_that_answers_410_gets_nothing_until_sighup_and_an_invalid_file_changes_nothing() {
    let receiver = Receiver::start(plain).await;
    let file = HookFile::new(&[(receiver.url("/"), "")]);
    let mut suite = file.suite().workers(1).start().await;
    let mut browser = suite.browser(0).await;
    browser.exchange("a", "a").await;
    receiver.answer(|_| Reply::status(410));
    browser.send("dropped").await;
    suite.workers[0].wait_for_metric("pushsuite_webhook_dropped_total{reason=\"off\"}", 1.0).await;
    receiver.answer(plain);
    browser.send("dropped too").await;
    suite.workers[0].wait_for_metric("pushsuite_webhook_dropped_total{reason=\"off\"}", 2.0).await;

    let worker = &mut suite.workers[0];
    worker.signal(Signal::Hup);
    worker.wait_for_log(&["reloaded"]).await;
    browser.exchange("b", "b").await;

    file.write(&[("ftp://127.0.0.1/".to_owned(), "")]);
    let worker = &mut suite.workers[0];
    worker.signal(Signal::Hup);
    let line = worker.wait_for_log(&["reload failed"]).await;
    assert!(line.contains("[[webhook]]") && line.contains("url"), "{line}");
    browser.exchange("c", "c").await;

    // A file without webhooks would accept everybody, and lose what they send.
    file.write(&[]);
    suite.workers[0].signal(Signal::Hup);
    suite.workers[0].wait_for_log(&["reload failed", "has no [[webhook]]"]).await;
    browser.exchange("c2", "c2").await;

    let other = Receiver::start(plain).await;
    file.write(&[(other.url("/"), "")]);
    let before = suite.workers[0].log_lines("reloaded").len();
    suite.workers[0].signal(Signal::Hup);
    eventually("the reload", async || {
        (before < suite.workers[0].log_lines("reloaded").len()).then_some(())
    })
    .await;
    browser.exchange("d", "d").await;
    assert_eq!(kinds(&other.received()), ["message"]);
}

#[tokio::test]
async fn commands_of_an_answer_reach_other_clients_and_a_failed_one_does_not_stop_the_next() {
    let receiver = Receiver::start(|request| match request.header("ce-type") {
        "gw.connect" => Reply::json(r#"{"groups":["room"]}"#),
        "gw.message" => {
            let client = request.header("ce-subject");
            Reply::json(format!(
                r#"{{"commands":[
                    {{"op":"join","group":"x","client":"7f000001000100000001"}},
                    {{"op":"send","to":{{"groups":["room"]}},"exclude":{{"clients":["{client}"]}},
                      "text":"said"}},
                    {{"op":"leave","group":"room","client":"{client}"}}],"reply":["sent"]}}"#
            ))
        }
        _ => Reply::status(204),
    })
    .await;
    let file = HookFile::new(&[(receiver.url("/"), "")]);
    let suite = file.suite().workers(1).start().await;
    let cluster = suite.cluster().await;
    let (mut first, mut second) = (suite.browser(0).await, suite.browser(1).await);
    eventually("both in the group", async || {
        (cluster.group_count("room").await.unwrap() == 2).then_some(())
    })
    .await;
    first.exchange("say", "sent").await;
    assert_eq!(second.receive_text().await, "said");
    eventually("the first has left", async || {
        (cluster.group_count("room").await.unwrap() == 1).then_some(())
    })
    .await;
    let failed = suite.workers[0].metric("pushsuite_webhook_failed_commands_total").await;
    assert_eq!(failed, Some(1.0));
}

#[tokio::test]
async fn group_is_occupied_with_its_first_client_on_any_gateway_and_vacated_with_its_last() {
    let receiver = Receiver::start(|request| match request.header("ce-type") {
        "gw.connect" => Reply::json(r#"{"groups":["room-1","other"]}"#),
        _ => plain(request),
    })
    .await;
    let keys = "events = [\"connect\", \"occupied\", \"vacated\"]\ngroups = [\"room-\"]";
    let file = HookFile::new(&[(receiver.url("/"), keys)]);
    let suite = file.suite().worker_flag("--presence-grace", "0").workers(2).start().await;
    let (first, second) = (suite.browser(0).await, suite.browser(1).await);
    let of_group = async |kind: &str| {
        eventually(kind.to_owned(), async || {
            let received = receiver.received();
            received.into_iter().find(|it| it.header("ce-type") == kind)
        })
        .await
    };
    let occupied = of_group("gw.group.occupied").await;
    assert_eq!(occupied.header("ce-subject"), "room-1");
    let cluster = suite.cluster().await;
    eventually("both are members", async || {
        (cluster.group_count("room-1").await.unwrap() == 2).then_some(())
    })
    .await;
    first.close().await;
    second.close().await;
    let vacated = of_group("gw.group.vacated").await;
    let number = |it: &Received| it.header("ce-gwseq").parse::<u64>().unwrap();
    assert!(number(&occupied) < number(&vacated));
    let groups = receiver.received();
    assert!(groups.iter().all(|it| it.header("ce-subject") != "other"));
}
