//! Requests over real sockets, to receivers that follow a script.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use prometheus_client::encoding::text;
use runtime::clock;
use test_support::receiver::{Received, Receiver, Reply};

use super::*;

const DELIVERY: Delivery = Delivery {
    timeout: Duration::from_secs(10),
    retry: Duration::from_secs(300),
    retry_refused: false,
};

struct Scene {
    engine: Engine,
    endpoint: Endpoint,
    receiver: Receiver,
}

async fn scene(script: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Scene {
    with(DELIVERY, QUEUE, script).await
}

async fn with(
    delivery: Delivery,
    limits: Limits,
    script: impl Fn(&Received) -> Reply + Send + Sync + 'static,
) -> Scene {
    let receiver = Receiver::start(script).await;
    let engine = Engine::new(limits);
    let endpoint = engine.endpoint(&target(&receiver), delivery).unwrap();
    Scene { engine, endpoint, receiver }
}

fn target(receiver: &Receiver) -> Target {
    let url = HookUrl::parse(&receiver.url("/hook?a=b")).unwrap();
    Target { max_in_flight: 4, ..Target::new(url) }
}

fn request(body: &str) -> HookRequest {
    HookRequest::new(Numbered, body.to_owned())
}

#[derive(Debug)]
struct Numbered;

impl Head for Numbered {
    fn headers(&self, attempt: &Attempt, body: &Bytes) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("attempt", attempt.number.into());
        headers.insert("length", body.len().into());
        headers
    }
}

fn bodies(received: &[Received]) -> Vec<String> {
    received.iter().map(|it| String::from_utf8_lossy(&it.body).into_owned()).collect()
}

impl Scene {
    fn post(&self, key: &str, body: &str) -> Result<(), QueueFull> {
        self.endpoint.post(&OrderKey::new(key), request(body))
    }

    async fn deliver(&self, body: &str) -> Delivered {
        self.endpoint.deliver(&request(body), &CancellationToken::new()).await
    }

    /// The value of a line of the metrics.
    fn metric(&self, line: &str) -> u64 {
        let (mut registry, mut page) = (Registry::default(), String::new());
        self.engine.register_metrics(&mut registry);
        text::encode(&mut page, &registry).unwrap();
        let found = page.lines().find_map(|it| it.strip_prefix(line)?.strip_prefix(' '));
        found.map_or(0, |value| value.parse().unwrap())
    }

    fn requests(&self, outcome: &str) -> u64 {
        self.metric(&format!("requests_total{{outcome=\"{outcome}\"}}"))
    }

    fn dropped(&self, reason: &str) -> u64 {
        self.metric(&format!("dropped_total{{reason=\"{reason}\"}}"))
    }
}

#[tokio::test]
async fn request_has_the_headers_of_its_attempt_and_connections_are_kept() {
    let scene = scene(|_| Reply::json("{}")).await;
    for body in ["one", "two"] {
        let Delivered::Accepted(response) = scene.deliver(body).await else { panic!() };
        assert_eq!((response.status.as_u16(), &*response.body), (200, b"{}".as_slice()));
    }
    let received = scene.receiver.received();
    assert_eq!(bodies(&received), ["one", "two"]);
    let first = &received[0];
    assert_eq!((&*first.method, &*first.target), ("POST", "/hook?a=b"));
    assert_eq!(first.header("host"), scene.receiver.addr().to_string());
    assert_eq!((first.header("attempt"), first.header("length")), ("1", "3"));
    assert!(first.header("user-agent").starts_with("push-suite/"));
    assert_eq!(received[1].connection, 0, "the connection is used again");
    assert_eq!(scene.requests("accepted"), 2);
}

#[tokio::test]
async fn failing_request_is_sent_again_and_those_of_its_key_follow_in_order() {
    let scene = scene(|request| match request.number {
        ..3 => Reply::status(500),
        _ => Reply::status(204),
    })
    .await;
    for body in ["a1", "a2", "a3"] {
        scene.post("a", body).unwrap();
    }
    scene.engine.flush().await;
    let received = scene.receiver.received();
    assert_eq!(bodies(&received), ["a1", "a1", "a1", "a1", "a2", "a3"]);
    assert_eq!(received[3].header("attempt"), "4");
    assert_eq!((scene.requests("error"), scene.requests("accepted")), (3, 3));
    assert_eq!((scene.metric("queued"), scene.metric("queued_bytes")), (0, 0));
}

#[tokio::test]
async fn other_keys_do_not_wait_and_no_more_than_the_maximum_are_under_way() {
    let scene = scene(|request| match &*request.body {
        b"stuck" => Reply::Hang,
        _ => Reply::After(Duration::from_millis(20), Box::new(Reply::status(204))),
    })
    .await;
    scene.post("stuck", "stuck").unwrap();
    scene.post("stuck", "behind").unwrap();
    for number in 0..40 {
        scene.post(&number.to_string(), &number.to_string()).unwrap();
    }
    let received = scene.receiver.wait_for(41).await;
    let connections = received.iter().map(|it| it.connection).max().unwrap();
    assert!(connections < 4, "{connections} connections for 4 requests at a time");
    assert!(!bodies(&received).contains(&"behind".to_owned()));
}

#[tokio::test]
async fn full_queue_drops_the_new_request_and_counts_it() {
    let limits = Limits { count: 2, bytes: 4096 };
    let scene = with(DELIVERY, limits, |_| Reply::Hang).await;
    scene.post("a", "1").unwrap();
    scene.post("a", "2").unwrap();
    assert_eq!(scene.post("b", "3"), Err(QueueFull));
    assert_eq!((scene.dropped("queue_full"), scene.metric("queued")), (1, 2));
    let limits = Limits { count: 20, bytes: 1000 };
    let scene = with(DELIVERY, limits, |_| Reply::Hang).await;
    assert_eq!(scene.post("a", &"x".repeat(1000)), Err(QueueFull));
    scene.post("a", &"x".repeat(500)).unwrap();
}

#[tokio::test]
async fn hostile_answers_have_their_outcomes() {
    let short = Delivery { timeout: Duration::from_millis(300), ..DELIVERY };
    let short = Delivery { retry: Duration::ZERO, ..short };
    let long = "HTTP/1.1 200 x\r\ntransfer-encoding: chunked\r\n\r\n200000\r\n";
    let two = [long.as_bytes(), &vec![b'x'; 2 * 1024 * 1024]].concat();
    let huge_head = format!("HTTP/1.1 200 x\r\na: {}\r\n\r\n", "x".repeat(200_000));
    for (reply, outcome) in [
        (Reply::Hang, "timeout"),
        (Reply::Drip(Duration::from_millis(20)), "timeout"),
        (Reply::Bytes(b"SSH-2.0-OpenSSH\r\n\r\n".to_vec()), "broken"),
        (Reply::Bytes(Vec::new()), "broken"),
        (Reply::Bytes(b"HTTP/1.1 200 x\r\ncontent-length: 9\r\n\r\nhalf".to_vec()), "broken"),
        (Reply::Bytes(huge_head.into_bytes()), "broken"),
        (Reply::status(500), "error"),
        (Reply::status(503), "error"),
        (Reply::status(429), "busy"),
        (Reply::Answer(302, "location: /elsewhere\r\n".to_owned(), Vec::new()), "redirect"),
    ] {
        let scene = with(short, QUEUE, move |_| reply.clone()).await;
        assert!(matches!(scene.deliver("x").await, Delivered::GivenUp), "{outcome}");
        assert_eq!((scene.requests(outcome), scene.dropped("given_up")), (1, 1), "{outcome}");
        assert_eq!(scene.receiver.received().len(), 1, "{outcome}: nothing follows");
        assert_eq!(scene.metric("in_flight"), 0);
    }
    let long = Delivery { timeout: Duration::from_secs(20), ..short };
    let scene = with(long, QUEUE, move |_| Reply::Bytes(two.clone())).await;
    assert!(matches!(scene.deliver("x").await, Delivered::TooLong(_)));
    assert_eq!(scene.requests("too_long"), 1);
}

#[tokio::test]
async fn refused_request_is_not_sent_again_unless_wanted() {
    let scene = scene(|_| Reply::status(422)).await;
    assert!(matches!(scene.deliver("x").await, Delivered::Refused(_)));
    assert_eq!((scene.dropped("refused"), scene.receiver.received().len()), (1, 1));
    let again = Delivery { retry_refused: true, ..DELIVERY };
    let endpoint = scene.engine.endpoint(&target(&scene.receiver), again).unwrap();
    endpoint.post(&OrderKey::new("a"), request("y")).unwrap();
    scene.receiver.wait_for(3).await;
    scene.receiver.answer(|_| Reply::status(200));
    scene.engine.flush().await;
}

#[tokio::test]
async fn gone_receiver_is_off_until_it_is_switched_on() {
    let scene = scene(|_| Reply::status(410)).await;
    assert!(matches!(scene.deliver("x").await, Delivered::Off));
    assert!(scene.endpoint.is_off());
    assert!(matches!(scene.deliver("x").await, Delivered::Off));
    assert_eq!(scene.post("a", "x"), Err(QueueFull));
    let call = scene.endpoint.call(&request("x"), 1, clock::now() + DELIVERY.timeout).await;
    assert!(matches!(call, Err(Failure::Off)));
    assert_eq!((scene.dropped("off"), scene.receiver.received().len()), (3, 1));
    scene.receiver.answer(|_| Reply::status(200));
    scene.engine.switch_on();
    assert!(matches!(scene.deliver("x").await, Delivered::Accepted(_)));
}

#[tokio::test]
async fn circuit_opens_and_a_probe_closes_it() {
    let scene = scene(|_| Reply::status(500)).await;
    let deadline = || clock::now() + Duration::from_secs(5);
    for number in 1..=crate::circuit::FAILURES {
        let answer = scene.endpoint.call(&request("x"), number, deadline()).await;
        assert_eq!(answer.unwrap().status.as_u16(), 500);
    }
    let refused = scene.endpoint.call(&request("x"), 1, deadline()).await;
    assert!(matches!(refused, Err(Failure::Open(_))), "{refused:?}");
    assert_eq!(scene.metric("circuits_open"), 1);
    let before = scene.receiver.received().len();
    scene.receiver.answer(|_| Reply::status(200));
    let waits: Vec<_> = (0..10)
        .map(|number| {
            let endpoint = scene.endpoint.clone();
            let request = request(&format!("waits {number}"));
            tokio::spawn(async move { endpoint.deliver(&request, &CancellationToken::new()).await })
        })
        .collect();
    for wait in waits {
        assert!(matches!(wait.await.unwrap(), Delivered::Accepted(_)));
    }
    assert_eq!(scene.receiver.received().len(), before + 10, "each is sent once");
    assert_eq!(scene.metric("circuits_open"), 0);
}

#[tokio::test]
async fn receiver_that_cannot_be_reached_gets_its_requests_once_it_is_back() {
    let receiver = Receiver::start(|_| Reply::status(200)).await;
    let (addr, target) = (receiver.addr(), target(&receiver));
    drop(receiver);
    let engine = Engine::new(QUEUE);
    let endpoint = engine.endpoint(&target, DELIVERY).unwrap();
    for number in 0..3 {
        endpoint.post(&OrderKey::new("a"), request(&number.to_string())).unwrap();
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let receiver = Receiver::start_on(addr, |_| Reply::status(200)).await;
    engine.flush().await;
    assert_eq!(bodies(&receiver.received()), ["0", "1", "2"]);
}

#[tokio::test]
async fn receiver_that_hangs_delays_no_other() {
    let hanging = scene(|_| Reply::Hang).await;
    for number in 0..50 {
        hanging.post(&number.to_string(), "x").unwrap();
    }
    let other = Receiver::start(|_| Reply::status(200)).await;
    let endpoint = hanging.engine.endpoint(&target(&other), DELIVERY).unwrap();
    let delivered = endpoint.deliver(&request("y"), &CancellationToken::new()).await;
    assert!(matches!(delivered, Delivered::Accepted(_)));
    hanging.receiver.wait_for(4).await;
    assert_eq!(hanging.metric("in_flight"), 4);
}

#[tokio::test]
async fn stopped_engine_sends_nothing_more() {
    let scene = scene(|_| Reply::status(500)).await;
    for number in 0..5 {
        scene.post("a", &number.to_string()).unwrap();
    }
    scene.receiver.wait_for(1).await;
    scene.engine.stop();
    scene.engine.flush().await;
    assert_eq!((scene.dropped("stopped"), scene.metric("queued")), (5, 0));
}

#[tokio::test]
async fn call_waits_for_a_place_until_its_deadline_only() {
    let scene = scene(|_| Reply::Hang).await;
    for number in 0..4 {
        scene.post(&number.to_string(), "x").unwrap();
    }
    scene.receiver.wait_for(4).await;
    let soon = clock::now() + Duration::from_millis(50);
    let busy = scene.endpoint.call(&request("y"), 1, soon).await;
    assert!(matches!(busy, Err(Failure::Busy)), "{busy:?}");
}

#[tokio::test]
async fn call_without_time_for_an_answer_is_no_failure_of_the_receiver() {
    let slow = || Reply::After(Duration::from_millis(200), Box::new(Reply::status(204)));
    let scene = scene(move |_| slow()).await;
    for number in 0..=crate::circuit::FAILURES {
        let soon = clock::now() + LEAST_TIME / 2;
        let busy = scene.endpoint.call(&request("late"), number, soon).await;
        assert!(matches!(busy, Err(Failure::Busy)), "{busy:?}");
    }
    assert_eq!((scene.metric("circuits_open"), scene.requests("timeout")), (0, 0));
    let answer = scene.endpoint.call(&request("x"), 1, clock::now() + DELIVERY.timeout).await;
    assert_eq!(answer.unwrap().status.as_u16(), 204);
    assert_eq!(bodies(&scene.receiver.received()), ["x"]);
}

#[tokio::test]
async fn receiver_that_is_removed_with_its_circuit_open_is_not_counted() {
    let mut scene = scene(|_| Reply::status(500)).await;
    for number in 1..=crate::circuit::FAILURES {
        let deadline = clock::now() + DELIVERY.timeout;
        scene.endpoint.call(&request("x"), number, deadline).await.unwrap();
    }
    assert_eq!(scene.metric("circuits_open"), 1);
    let other = Receiver::start(|_| Reply::status(200)).await;
    scene.endpoint = scene.engine.endpoint(&target(&other), DELIVERY).unwrap();
    assert_eq!(scene.metric("circuits_open"), 0);
}

#[tokio::test]
async fn request_is_sent_once_more_at_most_when_kept_connections_end_without_an_answer() {
    let after = || Reply::After(Duration::from_millis(100), Box::new(Reply::status(204)));
    let scene = scene(move |_| after()).await;
    let (a, b, c, d) = tokio::join!(
        scene.deliver("1"),
        scene.deliver("2"),
        scene.deliver("3"),
        scene.deliver("4")
    );
    for delivered in [a, b, c, d] {
        assert!(matches!(delivered, Delivered::Accepted(_)));
    }
    let connections = |received: &[Received]| -> usize {
        received.iter().map(|it| it.connection + 1).max().unwrap_or_default()
    };
    assert_eq!(connections(&scene.receiver.received()), 4, "all are kept");
    scene.receiver.answer(|_| Reply::Bytes(Vec::new()));
    let call = scene.endpoint.call(&request("x"), 1, clock::now() + DELIVERY.timeout).await;
    assert!(matches!(call, Err(Failure::Broken(_))), "{call:?}");
    let received = scene.receiver.received();
    assert_eq!(bodies(&received[4..]), ["x", "x"], "at a kept connection, and at a new one");
    assert_eq!(received[5].connection, 4);
}

#[tokio::test]
async fn receiver_allows_the_origin_before_its_first_request() {
    let receiver = Receiver::start(|request| match &*request.method {
        "OPTIONS" => Reply::status(200),
        _ => Reply::status(204),
    })
    .await;
    let engine = Engine::new(QUEUE);
    let target = Target { origin: Some("ours".to_owned()), ..target(&receiver) };
    let endpoint =
        engine.endpoint(&target, Delivery { retry: Duration::ZERO, ..DELIVERY }).unwrap();
    let deliver = || async { endpoint.deliver(&request("x"), &CancellationToken::new()).await };
    assert!(matches!(deliver().await, Delivered::GivenUp));
    for allowed in ["other", "ours", "*"] {
        receiver.answer(move |request| match &*request.method {
            "OPTIONS" => {
                let allowed = format!("webhook-allowed-origin: {allowed}\r\n");
                Reply::Answer(200, allowed, Vec::new())
            }
            _ => Reply::status(204),
        });
        let is_allowed = matches!(deliver().await, Delivered::Accepted(_));
        assert_eq!(is_allowed, allowed != "other", "{allowed}");
    }
    let received = receiver.received();
    let methods: Vec<_> = received.iter().map(|request| &*request.method).collect();
    assert_eq!(methods, ["OPTIONS", "OPTIONS", "OPTIONS", "POST", "POST"], "asked until allowed");
    assert_eq!(received[0].header("webhook-request-origin"), "ours");
}
