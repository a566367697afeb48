//! The app over a test cluster and real receivers.

use std::time::Duration;

use protocol::event::Header;
use push_suite_worker::{CloseFrame, CloseInfo, DeliveryId, NoticeKind, testing::TestCluster};
use serde_json::{Value, json};
use test_support::receiver::{Received, Receiver, Reply};

use super::*;
use crate::settings::Hook;

const SECRET: &str = "whsec_BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUF";

struct Scene {
    app: Webhook,
    cluster: TestCluster,
    receiver: Receiver,
    registry: Registry,
    stop: CancellationToken,
}

/// The app with one webhook, with these keys beside its URL and secret.
async fn scene(keys: &str, script: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Scene {
    let receiver = Receiver::start(script).await;
    let hook = hook(&receiver, keys);
    let (mut registry, stop) = (Registry::default(), CancellationToken::new());
    let hooks = Current::fixed(Hooks::from(Vec::from([hook])));
    let app = Webhook::new(hooks, stop.clone(), &mut registry);
    Scene { app, cluster: TestCluster::start(), receiver, registry, stop }
}

fn hook(receiver: &Receiver, keys: &str) -> Hook {
    let url = receiver.url("/hook");
    toml::from_str(&format!("url = \"{url}\"\nsecret = \"{SECRET}\"\n{keys}")).unwrap()
}

fn handshake(target: &str) -> Handshake {
    let header = |name: &str, value: &str| Header { name: name.into(), value: value.into() };
    let headers = vec![header("Cookie", "a=b"), header("Sec-WebSocket-Protocol", "v1")];
    Handshake { target: target.to_owned(), headers }
}

fn json_of(received: &Received) -> Value {
    serde_json::from_slice(&received.body).unwrap()
}

impl Scene {
    fn metric(&self, line: &str) -> u64 {
        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, &self.registry).unwrap();
        let found = page.lines().find_map(|it| it.strip_prefix(line)?.strip_prefix(' '));
        found.map_or(0, |value| value.parse().unwrap())
    }

    /// A client that has connected with its handshake accepted before.
    async fn connected(&self) -> Client {
        let client = self.cluster.client();
        self.app.on_websocket_connect(&client, &handshake("/?room=1")).await.unwrap();
        self.cluster.next_event(client.id())
    }
}

#[tokio::test]
async fn accepted_handshake_has_everything_of_the_answer_before_its_response() {
    let answer = json!({
        "uid": "u7", "groups": ["lobby"], "session": {"room": 1}, "subprotocol": "v1",
        "send": ["welcome"], "headers": {"set-cookie": "c=d"},
    });
    let script = move |_: &Received| Reply::json(answer.to_string());
    let scene = scene("headers = [\"Cookie\"]", script).await;
    let handshake = handshake("/chat?room=1");
    let client = scene.cluster.client_with_handshake(&handshake);
    scene.app.on_websocket_connect(&client, &handshake).await.unwrap();
    let grant = scene.cluster.grant(client.id()).unwrap();
    assert_eq!((grant.subprotocol(), grant.headers().contains("set-cookie")), (Some("v1"), true));
    assert_eq!(scene.cluster.uid(client.id()), Some("u7".try_into().unwrap()));
    assert_eq!(scene.cluster.groups(client.id()), [Group::new("lobby").unwrap()]);
    assert_eq!(scene.cluster.received(client.id()), [Message::text("welcome")]);
    let state = ClientState::of(&scene.cluster.session(client.id()));
    assert_eq!((state.uid(), &state.session["room"]), (Some("u7"), &json!(1)));

    let received = &scene.receiver.received()[0];
    assert_eq!(received.header("ce-type"), "gw.connect");
    assert_eq!(received.header("ce-id"), client.delivery().to_string());
    assert_eq!(received.header("ce-subject"), client.id().to_string());
    let body = json_of(received);
    assert_eq!((&body["path"], &body["query"]), (&json!("/chat"), &json!({"room": ["1"]})));
    assert_eq!(
        (&body["headers"], &body["subprotocols"]),
        (&json!({"cookie": "a=b"}), &json!(["v1"]))
    );
}

#[tokio::test]
async fn refusal_has_the_status_and_body_of_the_answer_and_no_close_follows() {
    let scene = scene("", |_| {
        let head = "content-type: application/json\r\nretry-after: 7\r\n".to_owned();
        Reply::Answer(403, head, br#"{"error":{"message":"not you"}}"#.to_vec())
    })
    .await;
    let handshake = handshake("/");
    let client = scene.cluster.client_with_handshake(&handshake);
    scene.app.on_websocket_connect(&client, &handshake).await.unwrap();
    let refusal = scene.cluster.refusal(client.id()).unwrap();
    assert_eq!((refusal.status(), refusal.headers().contains("retry-after")), (403, true));
    assert!(refusal.body().ends_with(b"\"not you\"}}"));
    let closed = scene.cluster.next_event(client.id());
    scene.app.on_close(&closed, CloseReason::Handshake).await.unwrap();

    // A client whose handshake was accepted before is closed.
    let client = scene.cluster.client();
    scene.app.on_websocket_connect(&client, &handshake).await.unwrap();
    let frame = CloseFrame::new(REFUSED, "not you").unwrap();
    assert_eq!(scene.cluster.close_frame(client.id()), Some(frame));
    let closed = scene.cluster.next_event(client.id());
    scene.app.on_close(&closed, CloseReason::Worker).await.unwrap();
    assert_eq!(scene.receiver.received().len(), 2, "no gw.close");
}

#[tokio::test]
async fn handshake_without_an_answer_in_time_is_refused_with_503_and_its_close_is_reported() {
    let scene = scene("connect_timeout = 1", |request| match request.header("ce-type") {
        "gw.connect" => Reply::Hang,
        _ => Reply::status(204),
    })
    .await;
    let handshake = handshake("/");
    let client = scene.cluster.client_with_handshake(&handshake);
    scene.app.on_websocket_connect(&client, &handshake).await.unwrap();
    let refusal = scene.cluster.refusal(client.id()).unwrap();
    assert_eq!((refusal.status(), refusal.headers().contains("retry-after")), (503, true));
    let closed = scene.cluster.next_event(client.id());
    scene.app.on_close(&closed, CloseReason::Handshake).await.unwrap();
    let last = scene.receiver.received().pop().unwrap();
    assert_eq!(last.header("ce-type"), "gw.close", "it may have been accepted");
    assert_eq!(scene.metric("unavailable_clients_total"), 1);
}

#[tokio::test]
async fn client_that_never_finished_its_handshake_has_no_close() {
    let scene = scene("", |_| Reply::status(204)).await;
    let client = scene.cluster.client();
    scene.app.on_close(&client, CloseReason::Handshake).await.unwrap();
    let client = scene.cluster.client();
    scene.app.on_close(&client, CloseReason::Client).await.unwrap();
    assert!(scene.receiver.received().is_empty());
    let client = scene.cluster.client();
    scene.app.on_close(&client, CloseReason::GatewayLost).await.unwrap();
    assert_eq!(json_of(&scene.receiver.received()[0])["by"], "lost");
}

#[tokio::test]
async fn message_is_the_body_and_the_answer_is_applied_in_order() {
    let scene = scene("", |request| match request.header("ce-type") {
        "gw.message" => Reply::json(
            r#"{"reply":["a",{"data":[1]}],"session":{"n":2},"close":{"code":4001,"reason":"x"}}"#,
        ),
        _ => Reply::json(r#"{"uid":"u","session":{"n":1}}"#),
    })
    .await;
    let client = scene.connected().await;
    scene.app.on_message(&client, Message::text("hi")).await.unwrap();
    let expected = [Message::text("a"), Message::text("[1]")];
    assert_eq!(scene.cluster.received(client.id()), expected);
    let frame = CloseFrame::new(4001, "x").unwrap();
    assert_eq!(scene.cluster.close_frame(client.id()), Some(frame));
    let received = &scene.receiver.received()[1];
    assert_eq!((&*received.body, received.header("ce-gwuid")), (b"hi".as_slice(), "u"));
    assert_eq!(received.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(received.header("ce-gwsession"), "eyJuIjoxfQ==");

    let info = CloseInfo::new(CloseReason::Worker, 700).with_frame(Some(4001), "x");
    let closed = scene.cluster.close_event(client.id(), info);
    scene.app.on_close(&closed, CloseReason::Worker).await.unwrap();
    let close = &scene.receiver.received()[2];
    let expected = json!({
        "client": client.id().to_string(), "uid": "u", "reason": "worker", "by": "server",
        "code": 4001, "text": "x", "connected_ms": 700, "session": {"n": 2},
    });
    assert_eq!((close.header("ce-type"), json_of(close)), ("gw.close", expected));
}

#[tokio::test]
async fn body_that_is_not_json_is_the_reply_and_binary_stays_binary() {
    let scene = scene("events = [\"message\"]", |request| {
        let kind = request.header("content-type").to_owned();
        Reply::Answer(200, format!("content-type: {kind}\r\n"), request.body.clone())
    })
    .await;
    let client = scene.cluster.client();
    for message in [Message::text("hi"), Message::binary(vec![0, 255])] {
        scene.app.on_message(&client, message).await.unwrap();
    }
    let expected = [Message::text("hi"), Message::binary(vec![0, 255])];
    assert_eq!(scene.cluster.received(client.id()), expected);
}

#[tokio::test]
async fn envelope_has_the_client_beside_its_message() {
    let keys = "envelope = true";
    let scene = scene(keys, |_| Reply::json(r#"{"uid":7,"session":{"a":1}}"#)).await;
    let client = scene.connected().await;
    scene.receiver.answer(|_| Reply::status(204));
    scene.app.on_message(&client, Message::text("hi")).await.unwrap();
    let expected = json!({
        "client": client.id().to_string(), "uid": "7", "session": {"a": 1}, "text": "hi",
    });
    assert_eq!(json_of(&scene.receiver.received()[1]), expected);
}

#[tokio::test]
async fn client_without_a_handshake_is_announced_with_its_first_message() {
    let scene = scene("", |_| Reply::status(204)).await;
    let client = scene.cluster.client();
    for text in ["a", "b"] {
        scene.app.on_message(&client, Message::text(text)).await.unwrap();
    }
    let kinds: Vec<_> =
        scene.receiver.received().iter().map(|it| it.header("ce-type").to_owned()).collect();
    assert_eq!(kinds, ["gw.connect", "gw.message", "gw.message"]);
    let ids: Vec<_> =
        scene.receiver.received().iter().map(|it| it.header("ce-id").to_owned()).collect();
    assert_ne!(ids[0], ids[1], "two events");
    scene.receiver.answer(|_| Reply::status(403));
    let refused = scene.cluster.client();
    scene.app.on_message(&refused, Message::text("a")).await.unwrap();
    assert!(scene.cluster.is_closed(refused.id()));
    assert_eq!(scene.receiver.received().len(), 4, "its message is not sent");
}

#[tokio::test]
async fn failing_message_is_sent_again_with_its_id_and_then_its_client_is_closed() {
    let scene = scene("message_retry = 1", |_| Reply::status(204)).await;
    let client = scene.connected().await;
    scene.receiver.answer(|_| Reply::status(503));
    scene.app.on_message(&client, Message::text("a")).await.unwrap();
    let frame = CloseFrame::new(UNAVAILABLE, "webhook unavailable").unwrap();
    assert_eq!(scene.cluster.close_frame(client.id()), Some(frame));
    let received = scene.receiver.received();
    let tries: Vec<_> =
        received[1..].iter().map(|it| (it.header("ce-id"), it.header("ce-gwattempt"))).collect();
    assert!(2 < tries.len(), "{tries:?}");
    let id = client.delivery().to_string();
    for (number, attempt) in tries.iter().enumerate() {
        assert_eq!(*attempt, (&*id, &*(number + 1).to_string()));
    }
}

#[tokio::test]
async fn unreadable_answers_are_counted_and_change_nothing() {
    let scene = scene("connect_timeout = 1", |_| Reply::status(204)).await;
    let client = scene.connected().await;
    for body in ["{", r#"{"replies":["a"]}"#, r#"{"close":{"code":1006}}"#] {
        scene.receiver.answer(move |_| Reply::json(body));
        scene.app.on_message(&client, Message::text("a")).await.unwrap();
    }
    assert_eq!(scene.metric("invalid_answers_total"), 3);
    assert!(
        !scene.cluster.is_closed(client.id()) && scene.cluster.received(client.id()).is_empty()
    );
    assert_eq!(scene.receiver.received().len(), 4, "none is sent again: it was answered");

    for body in ["{", r#"{"subprotocol":"v9"}"#] {
        scene.receiver.answer(move |_| Reply::json(body));
        let handshake = handshake("/");
        let client = scene.cluster.client_with_handshake(&handshake);
        scene.app.on_websocket_connect(&client, &handshake).await.unwrap();
        assert_eq!(scene.cluster.refusal(client.id()).unwrap().status(), 503, "{body}");
    }
}

#[tokio::test]
async fn answers_that_are_too_long_are_counted_and_their_events_not_sent_again() {
    let long = vec![b'x'; crate::engine::MAX_RESPONSE + 1];
    let script = move |_: &Received| Reply::Answer(200, String::new(), long.clone());
    let scene = scene("connect_timeout = 10", script).await;
    let handshake = handshake("/");
    let client = scene.cluster.client_with_handshake(&handshake);
    scene.app.on_websocket_connect(&client, &handshake).await.unwrap();
    assert_eq!(scene.cluster.refusal(client.id()).unwrap().status(), 503);
    assert_eq!((scene.receiver.received().len(), scene.metric("invalid_answers_total")), (1, 1));
    let closed = scene.cluster.next_event(client.id());
    scene.app.on_close(&closed, CloseReason::Handshake).await.unwrap();
    let received = scene.receiver.received();
    assert_eq!(received.len(), 2);
    assert_eq!(received[1].header("ce-type"), "gw.close", "it was accepted");
    assert_eq!(scene.metric("invalid_answers_total"), 2);
}

#[tokio::test]
async fn expiring_connection_is_renewed_closed_or_left_as_the_answer_says() {
    let keys = "events = [\"connect\", \"refresh\"]";
    let scene = scene(keys, |_| Reply::json(r#"{"uid":"u","expires_at":5000000000}"#)).await;
    let client = scene.connected().await;
    assert_eq!(scene.cluster.expires_at(client.id()), Some(5_000_000_000));
    scene.receiver.answer(|_| Reply::json(r#"{"expires_at":5000000600}"#));
    scene.app.on_expiring(&client, 5_000_000_000).await.unwrap();
    assert_eq!(scene.cluster.expires_at(client.id()), Some(5_000_000_600));
    let received = &scene.receiver.received()[1];
    let expected = json!({
        "client": client.id().to_string(), "uid": "u", "expires_at": 5_000_000_000_u64,
        "session": {},
    });
    assert_eq!((received.header("ce-type"), json_of(received)), ("gw.refresh", expected));
    scene.receiver.answer(|_| Reply::status(204));
    scene.app.on_expiring(&client, 5_000_000_600).await.unwrap();
    assert_eq!(scene.cluster.expires_at(client.id()), Some(5_000_000_600), "as it was");
    scene.receiver.answer(|_| {
        let head = "content-type: application/json\r\n".to_owned();
        Reply::Answer(403, head, br#"{"error":{"message":"signed out"}}"#.to_vec())
    });
    scene.app.on_expiring(&client, 5_000_000_600).await.unwrap();
    let frame = CloseFrame::new(REFUSED, "signed out").unwrap();
    assert_eq!(scene.cluster.close_frame(client.id()), Some(frame));
}

#[tokio::test]
async fn failing_refresh_is_given_up_when_the_connection_has_expired() {
    let scene = scene("events = [\"refresh\"]", |_| Reply::status(500)).await;
    let client = scene.cluster.client();
    scene.app.on_expiring(&client, clock::unix_seconds() + 1).await.unwrap();
    assert!(!scene.cluster.is_closed(client.id()), "its gateway closes it");
    assert_eq!(scene.metric("dropped_total{reason=\"given_up\"}"), 1);
}

#[tokio::test]
async fn refused_message_is_dropped_and_counted() {
    let scene = scene("", |_| Reply::status(204)).await;
    let client = scene.connected().await;
    scene.receiver.answer(|_| Reply::status(422));
    scene.app.on_message(&client, Message::text("a")).await.unwrap();
    assert_eq!(scene.metric("dropped_total{reason=\"refused\"}"), 1);
    assert!(!scene.cluster.is_closed(client.id()));
}

#[tokio::test]
async fn event_that_waits_is_left_to_another_worker_when_the_process_stops() {
    let scene = scene("", |_| Reply::status(204)).await;
    let client = scene.connected().await;
    scene.receiver.answer(|_| Reply::status(500));
    let stop = scene.stop.clone();
    let message = scene.app.on_message(&client, Message::text("a"));
    let stopping = async {
        scene.receiver.wait_for(3).await;
        stop.cancel();
    };
    let (handled, ()) = tokio::join!(message, stopping);
    handled.unwrap_err();
    let (before, closed) = (scene.receiver.received().len(), scene.cluster.next_event(client.id()));
    scene.app.on_close(&closed, CloseReason::Client).await.unwrap_err();
    assert_eq!(scene.receiver.received().len(), before, "no attempt begins any more");
}

#[tokio::test]
async fn notices_of_watched_groups_are_posted_in_order() {
    let keys = "events = [\"occupied\", \"vacated\"]\ngroups = [\"room-\"]";
    let scene = scene(keys, |request| match request.number {
        0 => Reply::status(500),
        _ => Reply::status(204),
    })
    .await;
    assert_eq!(scene.app.watched_groups(), [Group::new("room-").unwrap()]);
    let notices = [
        ("room-1", 7, NoticeKind::Occupied),
        ("room-1", 8, NoticeKind::Clients(2)),
        ("other", 9, NoticeKind::Occupied),
        ("room-1", 10, NoticeKind::Vacated),
    ];
    for (group, number, kind) in notices {
        let notice = Notice::new(Group::new(group).unwrap(), number, kind);
        scene.app.on_presence(&notice).await.unwrap();
    }
    scene.app.engine.flush().await;
    let received = scene.receiver.received();
    let seen: Vec<_> = received.iter().map(|it| (it.header("ce-type"), json_of(it))).collect();
    let occupied = ("gw.group.occupied", json!({"group": "room-1", "number": 7}));
    let vacated = ("gw.group.vacated", json!({"group": "room-1", "number": 10}));
    assert_eq!(seen, [occupied.clone(), occupied, vacated]);
    assert_eq!(received[0].header("ce-subject"), "room-1");
    assert_eq!(received[0].header("ce-id"), received[1].header("ce-id"));
}

#[tokio::test]
async fn notices_of_uids_are_posted_in_order() {
    let keys = "events = [\"online\", \"offline\"]";
    let scene = scene(keys, |_| Reply::status(204)).await;
    assert!(scene.app.watches_uids() && scene.app.watched_groups().is_empty());
    for (number, is_online) in [(7, true), (8, false)] {
        let notice = UidNotice::new("ann 1".try_into().unwrap(), number, is_online);
        scene.app.on_uid(&notice).await.unwrap();
    }
    scene.app.engine.flush().await;
    let received = scene.receiver.received();
    let seen: Vec<_> = received.iter().map(|it| (it.header("ce-type"), json_of(it))).collect();
    let online = ("gw.uid.online", json!({"uid": "ann 1", "number": 7}));
    let offline = ("gw.uid.offline", json!({"uid": "ann 1", "number": 8}));
    assert_eq!(seen, [online, offline]);
    assert_eq!(
        (received[0].header("ce-subject"), received[0].header("ce-source")),
        ("ann%201", "/uids")
    );
}

#[tokio::test]
async fn close_goes_to_every_webhook_and_messages_to_the_first() {
    let (first, second) = (Receiver::start(echo).await, Receiver::start(echo).await);
    let hooks = [hook(&first, "ports = []"), hook(&second, "")];
    let hooks = Current::fixed(Hooks::from(Vec::from(hooks)));
    let app = Webhook::new(hooks, CancellationToken::new(), &mut Registry::default());
    let cluster = TestCluster::start();
    let client = cluster.client();
    app.on_message(&client, Message::text("a")).await.unwrap();
    let closed = cluster.next_event(client.id());
    app.on_close(&closed, CloseReason::Client).await.unwrap();
    let kinds = |receiver: &Receiver| -> Vec<String> {
        receiver.received().iter().map(|it| it.header("ce-type").to_owned()).collect()
    };
    assert_eq!(kinds(&first), ["gw.connect", "gw.message", "gw.close"]);
    assert_eq!(kinds(&second), ["gw.close"]);
    let DeliveryId { number, .. } = closed.delivery();
    assert_eq!(second.received()[0].header("ce-gwseq"), number.to_string());
}

fn echo(_: &Received) -> Reply {
    Reply::After(Duration::from_millis(1), Box::new(Reply::status(204)))
}
