//! `--app webhook` while workers, gateways and receivers fail.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use suite_tests::{
    Browser, Suite, eventually,
    process::Signal,
    webhooks::{HookFile, SECRET, by_subject, kinds},
};
use test_support::receiver::{Received, Receiver, Reply};

fn echo(request: &Received) -> Reply {
    let reply = match request.header("ce-type") {
        "gw.message" => {
            let head = "content-type: text/plain\r\n".to_owned();
            Reply::Answer(200, head, request.body.clone())
        }
        _ => Reply::status(204),
    };
    Reply::After(Duration::from_millis(u64::from(request.body.len() as u32 % 5)), Box::new(reply))
}

/// Waits until the receiver has one close of each client, by id.
async fn closes(receiver: &Receiver, clients: usize) {
    eventually("a close of each client", async || {
        let subjects = by_subject(&receiver.received());
        let closed = subjects.values().filter(|events| kinds(events).last() == Some(&"close"));
        (closed.count() == clients).then_some(())
    })
    .await;
}

/// Sends numbered messages until the end, one after the answer to the previous one, and returns how
/// many.
fn talk(mut browser: Browser, end: Arc<AtomicBool>) -> tokio::task::JoinHandle<usize> {
    tokio::spawn(async move {
        let mut sent = 0;
        while !end.load(Ordering::Relaxed) {
            browser.exchange(&format!("message {sent}"), &format!("message {sent}")).await;
            sent += 1;
        }
        browser.close().await;
        sent
    })
}

#[tokio::test]
async fn workers_replaced_under_load_lose_nothing_and_each_client_has_one_close() {
    const CLIENTS: usize = 8;
    let receiver = Receiver::start(echo).await;
    let file = HookFile::new(&[(receiver.url("/"), "")]);
    let mut suite = file.suite().threads(2).workers(2).start().await;
    let end = Arc::new(AtomicBool::new(false));
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        clients.push(talk(suite.browser(number % 2).await, Arc::clone(&end)));
    }
    receiver.wait_for(5 * CLIENTS).await;
    suite.workers[0].kill();
    suite.add_worker().await;
    let count = receiver.received().len();
    receiver.wait_for(count + 5 * CLIENTS).await;
    suite.workers[1].signal(Signal::Term);
    suite.workers[1].wait_exit().await;
    let count = receiver.received().len();
    receiver.wait_for(count + 5 * CLIENTS).await;
    end.store(true, Ordering::Relaxed);
    let mut sent = 0;
    for client in clients {
        // The client has every answer, in order, or its task fails.
        sent += client.await.unwrap();
    }
    closes(&receiver, CLIENTS).await;

    let subjects = by_subject(&receiver.received());
    assert_eq!(subjects.len(), CLIENTS);
    let mut messages = 0;
    for events in subjects.values() {
        let of = |kind: &str| kinds(events).iter().filter(|it| **it == kind).count();
        assert_eq!((of("connect"), of("close")), (1, 1), "{:?}", kinds(events));
        assert_eq!((kinds(events)[0], *kinds(events).last().unwrap()), ("connect", "close"));
        let texts: Vec<_> = events[1..events.len() - 1]
            .iter()
            .map(|event| String::from_utf8_lossy(&event.body).into_owned())
            .collect();
        let expected: Vec<_> = (0..texts.len()).map(|number| format!("message {number}")).collect();
        assert_eq!(texts, expected);
        messages += texts.len();
    }
    assert_eq!(messages, sent);
}

#[tokio::test]
async fn event_under_way_at_a_dead_worker_is_sent_by_another_with_the_same_id() {
    let receiver = Receiver::start(|request| match request.header("ce-type") {
        "gw.message" => Reply::Hang,
        _ => Reply::status(204),
    })
    .await;
    let file = HookFile::new(&[(receiver.url("/"), "")]);
    let mut suite = file.suite().gateways(1).workers(1).start().await;
    let mut browser = suite.browser(0).await;
    browser.send("once").await;
    receiver.wait_for(2).await;
    suite.workers[0].kill();
    receiver.answer(echo);
    suite.add_worker().await;
    assert_eq!(browser.receive_text().await, "once");
    let received = receiver.received();
    assert_eq!(kinds(&received), ["connect", "message", "message"]);
    assert_eq!(received[1].header("ce-id"), received[2].header("ce-id"));
    let times = received.iter().map(|it| it.header("webhook-timestamp").parse::<u64>().unwrap());
    assert!(times.is_sorted());
}

#[tokio::test]
async fn closes_of_a_dead_gateway_are_reported_once_each() {
    const CLIENTS: usize = 6;
    let receiver = Receiver::start(echo).await;
    let file = HookFile::new(&[(receiver.url("/"), "")]);
    let mut suite = file.suite().workers(2).worker_flag("--gateway-grace", "1").start().await;
    let mut browsers = Vec::new();
    for _ in 0..CLIENTS {
        let mut browser = suite.browser(0).await;
        browser.exchange("hi", "hi").await;
        browsers.push(browser);
    }
    receiver.answer(|request| match request.header("ce-gwattempt") {
        "1" => Reply::status(500),
        _ => echo(request),
    });
    suite.gateways[0].kill();
    closes(&receiver, CLIENTS).await;
    for events in by_subject(&receiver.received()).values() {
        assert_eq!(kinds(events), ["connect", "message", "close"]);
        let close = String::from_utf8_lossy(&events[2].body).into_owned();
        assert!(close.contains("\"by\":\"lost\""), "{close}");
    }
}

#[tokio::test]
async fn closes_wait_for_a_receiver_that_is_down() {
    let receiver = Receiver::start(echo).await;
    let addr = receiver.addr();
    let file = HookFile::new(&[(receiver.url("/"), "")]);
    let suite = file.suite().gateways(1).workers(1).start().await;
    let mut browser = suite.browser(0).await;
    browser.exchange("hi", "hi").await;
    drop(receiver);
    browser.close().await;
    let failed = "pushsuite_webhook_requests_total{outcome=\"connect\"}";
    eventually("a failed attempt", async || {
        suite.workers[0].metric(failed).await.filter(|count| 1.0 <= *count).map(drop)
    })
    .await;
    let receiver = Receiver::start_on(addr, echo).await;
    let received = receiver.wait_for(1).await;
    assert_eq!(kinds(&received), ["close"]);
}

/// Two gateways, whose clients have a receiver each.
async fn two(first: &Receiver, second: &Receiver, keys: &str) -> (HookFile, Suite) {
    let file = HookFile::new(&[]);
    let mut suite = file.suite().start().await;
    let port = |at: usize| suite.gateways[at].clients.port();
    let keys = [0, 1].map(|at| format!("ports = [{}]\n{keys}", port(at)));
    file.write(&[(first.url("/"), &keys[0]), (second.url("/"), &keys[1])]);
    suite.add_worker().await;
    (file, suite)
}

#[tokio::test]
async fn hostile_receiver_has_its_outcomes_and_no_effect_on_clients_of_another() {
    let hostile = Receiver::start(|_| Reply::status(204)).await;
    let healthy = Receiver::start(echo).await;
    let keys = "timeout = 1\nmessage_retry = 0\nconnect_timeout = 1\nretry = 0";
    let (_file, suite) = two(&hostile, &healthy, keys).await;
    let mut other = suite.browser(1).await;
    other.exchange("before", "before").await;
    let length = "HTTP/1.1 200 x\r\ncontent-length: 2097152\r\n\r\n".as_bytes();
    let two_megabytes = [length, &vec![b'x'; 2 * 1024 * 1024]].concat();
    let half = b"HTTP/1.1 200 x\r\ncontent-length: 9\r\n\r\nhalf".to_vec();
    let elsewhere = format!("location: {}\r\n", healthy.url("/redirected"));
    for (reply, outcome, code) in [
        (Reply::Hang, "timeout", Some(4503)),
        (Reply::Drip(Duration::from_millis(50)), "timeout", Some(4503)),
        (Reply::Bytes(b"garbage\r\n\r\n".to_vec()), "broken", Some(4503)),
        (Reply::Bytes(half), "broken", Some(4503)),
        (Reply::status(500), "error", Some(4503)),
        (Reply::Answer(307, elsewhere, Vec::new()), "redirect", Some(4503)),
        (Reply::Bytes(two_megabytes), "too_long", None),
        (Reply::json("{\"repl"), "accepted", None),
    ] {
        hostile.answer(|_| Reply::status(204));
        let mut browser = suite.browser(0).await;
        browser.send("connects").await;
        let name = format!("pushsuite_webhook_requests_total{{outcome=\"{outcome}\"}}");
        let before = suite.workers[0].metric(&name).await.unwrap_or_default();
        hostile.answer(move |request| match &*request.body {
            b"message" => reply.clone(),
            _ => Reply::status(204),
        });
        browser.send("message").await;
        // Meanwhile and afterwards the others are served.
        other.exchange(outcome, outcome).await;
        if let Some(code) = code {
            assert_eq!(browser.closed().await, Some(code), "{outcome}");
        }
        eventually(&name, async || {
            suite.workers[0].metric(&name).await.filter(|after| before < *after).map(drop)
        })
        .await;
        if code.is_none() {
            hostile.answer(echo);
            browser.exchange("still here", "still here").await;
        }
    }
    assert!(healthy.received().iter().all(|it| it.target == "/"), "redirects are not followed");
    let invalid = suite.workers[0].metric("pushsuite_webhook_invalid_answers_total").await;
    assert_eq!(invalid, Some(2.0));
    other.exchange("after", "after").await;
}

#[tokio::test]
async fn invalid_webhooks_are_named_before_the_worker_starts() {
    let file = HookFile::new(&[]);
    let suite = Suite::builder().gateways(0).start().await;
    let path = file.path().display().to_string();
    let refused = async |flags: &[&str]| {
        let flags = [&["--config", &path], flags].concat();
        let mut worker = suite.start_process("refused", "business-worker", &flags);
        let status = worker.wait_exit().await;
        (status.code(), worker.log())
    };
    let (code, log) = refused(&["--app", "webhook"]).await;
    assert_eq!(code, Some(2), "{log}");
    assert!(log.contains("no [[webhook]]"), "{log}");
    for (url, keys, named) in [
        ("http://h/", "evnets = []", "evnets"),
        ("ws://h/", "", "http://"),
        ("http://h/", "timeout = 0", "timeout"),
        ("https://h/", "ca = \"/missing.pem\"", "/missing.pem"),
    ] {
        file.write(&[("http://h/".to_owned(), ""), (url.to_owned(), keys)]);
        let (code, log) = refused(&["--app", "webhook"]).await;
        assert_eq!(code, Some(2), "{log}");
        let names_it = log.contains("[[webhook]]") && log.contains('2') && log.contains(named);
        assert!(names_it && log.contains("worker.toml"), "{log}");
    }
    file.write(&[("http://h/a?token=x".to_owned(), "")]);
    let (code, shown) = refused(&["--app", "webhook", "--check"]).await;
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("[[webhook]]") && shown.contains("http://h/a"), "{shown}");
    assert!(!shown.contains(SECRET) && !shown.contains("token"), "{shown}");
}
