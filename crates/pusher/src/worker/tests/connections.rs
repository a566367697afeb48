//! Connections: establishment, refusals, pings, and their state at another worker.

use super::*;

#[tokio::test]
async fn connection_is_established_with_its_socket_id_and_the_activity_timeout() {
    let scene = Scene::with("activity_timeout = 30\n");
    let (client, received) = scene.handshake("/app/k1?protocol=7", None).await;
    let (one, two) = (scene.connect().await, scene.connect().await);
    assert_ne!(one.socket_id, two.socket_id);
    let message = received[0].as_text().unwrap();
    let id = message.split(r#"\""#).nth(3).unwrap();
    assert_eq!(message, server_message::connection_established(id, 30));
    assert_eq!(SocketIds::new(&"secret".into()).decode(&id.parse().unwrap()), Some(client.id()));
    assert_eq!(one.groups(), ["pusher-app:1"]);
}

#[tokio::test]
async fn refusal_is_a_close_code_behind_the_response() {
    let off = "id = '2'\nkey = 'off'\nsecret = 's'\nenabled = false";
    let origin = "id = '3'\nkey = 'page'\nsecret = 's'\nallowed_origins = ['https://a.com']";
    let scene = Scene::of(&[APP, off, origin]);
    for (target, origin, code) in [
        ("/app/unknown?protocol=7", None, 4001),
        ("/app/off?protocol=7", None, 4003),
        ("/", None, 4005),
        ("/app/k1/more?protocol=7", None, 4005),
        ("/app/k1?protocol=x", None, 4006),
        ("/app/k1?protocol=8", None, 4007),
        ("/app/page?protocol=7", Some("https://b.com"), 4009),
    ] {
        let (client, received) = scene.handshake(target, origin).await;
        let frame = scene.cluster.close_frame(client.id()).unwrap();
        assert_eq!((frame.code(), &received[..]), (code, &[][..]), "{target}");
        assert!(!frame.reason().is_empty());
    }
    for (target, origin) in [("/app/page", Some("https://a.com")), ("/app/page", None)] {
        let (client, _) = scene.handshake(target, origin).await;
        assert!(!scene.cluster.is_closed(client.id()));
    }
}

#[tokio::test]
async fn client_of_protocol_five_receives_the_code_as_an_event_before_the_close() {
    let scene = Scene::start();
    for (target, code) in [("/app/unknown?protocol=5", 4001), ("/app/k1?protocol=3", 4007)] {
        let (client, received) = scene.handshake(target, None).await;
        let frame = scene.cluster.close_frame(client.id()).unwrap();
        let expected = server_message::error(Some(code), frame.reason());
        assert_eq!((frame.code(), received), (code, vec![Message::text(expected)]));
    }
    let (client, _) = scene.handshake("/app/k1?protocol=5", None).await;
    for _ in 0..=20 {
        scene.pusher.on_message(&client, "{".into()).await.unwrap();
    }
    let last = scene.cluster.received(client.id()).pop().unwrap();
    assert_eq!(
        last,
        Message::text(
            Refused::Faults.close(true).unwrap().last_message.unwrap().as_text().unwrap()
        )
    );
    assert!(last.as_text().unwrap().contains("4100"));
}

#[tokio::test]
async fn app_has_as_many_clients_as_it_may_have() {
    let scene = Scene::with("max_connections = 2\n");
    let (_one, two) = (scene.connect().await, scene.connect().await);
    let (third, _) = scene.handshake("/app/k1", None).await;
    assert_eq!(scene.cluster.close_frame(third.id()).unwrap().code(), 4004);
    two.client.destroy().await.unwrap();
    scene.connect().await;
}

#[tokio::test]
async fn client_is_admitted_while_the_clients_of_its_app_cannot_be_counted() {
    let scene = Scene::with("max_connections = 1\n");
    let one = scene.connect().await;
    scene.cluster.set_unavailable(true);
    let two = scene.connect().await;
    assert_eq!(two.sends("pusher:ping", json!({})).await, [server_message::pong()]);
    scene.cluster.set_unavailable(false);
    let (third, _) = scene.handshake("/app/k1", None).await;
    assert_eq!(scene.cluster.close_frame(third.id()).unwrap().code(), 4004);
    assert_eq!((one.close_code(), two.close_code()), (None, None));
}

#[tokio::test]
async fn handshake_that_awaits_an_answer_is_accepted_also_before_a_refusal() {
    let scene = Scene::start();
    for (target, code) in [("/app/k1", None), ("/app/k2", Some(4001))] {
        let handshake = Handshake { target: target.to_owned(), headers: Vec::new() };
        let client = scene.cluster.client_with_handshake(&handshake);
        scene.pusher.on_websocket_connect(&client, &handshake).await.unwrap();
        assert!(scene.cluster.grant(client.id()).is_some());
        assert_eq!(scene.cluster.close_frame(client.id()).map(|frame| frame.code()), code);
    }
}

#[tokio::test]
async fn redelivered_handshake_keeps_the_socket_id() {
    let scene = Scene::with("max_connections = 1\n");
    let handshake = Handshake { target: "/app/k1".to_owned(), headers: Vec::new() };
    let client = scene.cluster.client();
    scene.pusher.on_websocket_connect(&client, &handshake).await.unwrap();
    let again = scene.cluster.redelivered(client.id());
    scene.pusher.on_websocket_connect(&again, &handshake).await.unwrap();
    let received = scene.cluster.received(client.id());
    assert_eq!((received.len(), &received[0]), (2, &received[1]));
}

#[tokio::test]
async fn ping_is_answered_at_any_time() {
    let scene = Scene::start();
    let peer = scene.connect().await;
    for text in [r#"{"event":"pusher:ping","data":{}}"#, r#"{"event":"pusher:ping"}"#] {
        assert_eq!(peer.sends_text(text).await, [r#"{"event":"pusher:pong","data":"{}"}"#]);
    }
    assert!(peer.sends_text(r#"{"event":"pusher:pong","data":{}}"#).await.is_empty());
}

#[tokio::test]
async fn another_worker_continues_a_connection() {
    let mut scene = Scene::start();
    let peer = scene.connect().await;
    peer.subscribes("private-a").await;
    peer.signs_in(r#"{"id":"7"}"#).await;
    let Peer { client, socket_id, .. } = peer;
    scene.pusher = Pusher::new(&"secret".into(), Current::fixed(apps(&[APP]).unwrap()));
    let peer = Peer { scene: &scene, client, socket_id };
    assert_eq!(peer.subscribes("private-b").await, [succeeded("private-b")], "same socket id");
    assert_eq!(peer.subscribes("#server-to-user-7").await, [succeeded("#server-to-user-7")]);
    let event = r#"{"event":"client-e","channel":"private-a","data":1}"#;
    assert!(peer.sends_text(event).await.is_empty(), "still subscribed");
}

#[tokio::test]
async fn client_without_a_handshake_is_closed() {
    let scene = Scene::start();
    let client = scene.cluster.client();
    scene.pusher.on_message(&client, "{}".into()).await.unwrap();
    assert_eq!(scene.cluster.close_frame(client.id()).unwrap().code(), 4005);
}

#[tokio::test]
async fn connection_of_an_app_that_is_disabled_is_closed_at_its_next_message() {
    let scene = Scene::start();
    let peer = scene.connect().await;
    for entry in [format!("{APP}enabled = false"), APP.replace("'1'", "'2'")] {
        let apps = Current::fixed(apps(&[&entry]).unwrap());
        let pusher = Pusher::new(&"secret".into(), apps);
        let event = scene.cluster.next_event(peer.client.id());
        pusher.on_message(&event, r#"{"event":"pusher:ping"}"#.into()).await.unwrap();
        assert_eq!(peer.close_code(), Some(4003));
    }
}

#[tokio::test(start_paused = true)]
async fn connection_that_is_not_authorized_in_time_is_closed() {
    let scene = Scene::with("authorization_timeout = 30\n");
    let process = scene.cluster.process("Pusher", "0");
    scene.pusher.on_worker_start(&process).await.unwrap();
    let (idle, private, public) =
        (scene.connect().await, scene.connect().await, scene.connect().await);
    private.subscribes("private-a").await;
    public.subscribes("a").await;
    tokio::time::sleep(std::time::Duration::from_secs(29)).await;
    assert_eq!(idle.close_code(), None);
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert_eq!(idle.close_code(), Some(4009));
    assert_eq!(public.close_code(), Some(4009));
    assert_eq!(private.close_code(), None);
}

#[tokio::test(start_paused = true)]
async fn connection_that_cannot_be_asked_at_its_deadline_is_closed_later() {
    let scene = Scene::with("authorization_timeout = 30\n").started().await;
    let idle = scene.connect().await;
    scene.cluster.set_unavailable(true);
    tokio::time::sleep(std::time::Duration::from_secs(40)).await;
    assert_eq!(idle.close_code(), None);
    scene.cluster.set_unavailable(false);
    tokio::time::sleep(std::time::Duration::from_secs(8)).await;
    assert_eq!(idle.close_code(), Some(4009));
}

#[tokio::test]
async fn worker_without_the_timer_closes_an_overdue_connection_at_its_next_message() {
    let scene = Scene::with("authorization_timeout = 30\n");
    let peer = scene.connect().await;
    let past = clock::unix_seconds() - 1;
    peer.client.update_session(&json!({"deadline": past})).await.unwrap();
    assert!(peer.sends("pusher:ping", json!({})).await.is_empty());
    assert_eq!(peer.close_code(), Some(4009));
}
