//! Client events.

use super::*;

fn event(channel: &str, data: &str) -> String {
    format!(r#"{{"event":"client-e","channel":"{channel}","data":{data}}}"#)
}

#[tokio::test]
async fn client_event_reaches_the_other_subscribers_as_it_was_written() {
    let scene = Scene::start();
    let (ann, bob, eve) = (scene.connect().await, scene.connect().await, scene.connect().await);
    ann.subscribes("private-a").await;
    bob.subscribes("private-a").await;
    eve.subscribes("private-b").await;
    for data in [r#"{ "x": 1.0 }"#, r#""text""#, "null"] {
        let text = event("private-a", data);
        assert!(ann.sends_text(&text).await.is_empty());
        assert_eq!(bob.received(), [text]);
    }
    assert!(eve.received().is_empty());
}

#[tokio::test]
async fn client_event_is_refused_where_it_is_not_allowed() {
    let scene = Scene::start();
    let (ann, bob) = (scene.connect().await, scene.connect().await);
    for channel in ["a", "private-encrypted-a", "private-a"] {
        bob.subscribes(channel).await;
    }
    let fault = |received: Vec<String>| {
        assert!(received[0].contains(r#""code":null"#), "{received:?}");
        received[0].contains("not subscribed")
    };
    // Membership comes first.
    for channel in ["private-a", "a", "private-encrypted-a", "private-x", "!all", "a b", ""] {
        assert!(fault(ann.sends_text(&event(channel, "1")).await), "{channel}");
    }
    for channel in ["a", "private-encrypted-a"] {
        ann.subscribes(channel).await;
        assert!(!fault(ann.sends_text(&event(channel, "1")).await), "{channel}");
    }
    assert!(bob.received().is_empty());
}

#[tokio::test]
async fn app_without_client_messages_refuses_client_events() {
    let scene = Scene::of(&[&APP.replace("client_messages = true", "")]);
    let (ann, bob) = (scene.connect().await, scene.connect().await);
    ann.subscribes("private-a").await;
    bob.subscribes("private-a").await;
    let received = ann.sends_text(&event("private-a", "1")).await;
    assert!(received[0].contains("client_messages"), "{received:?}");
    assert!(bob.received().is_empty());
}

#[tokio::test(start_paused = true)]
async fn client_events_over_the_rate_are_an_error_4301_and_no_close() {
    let scene = Scene::start();
    let (ann, bob) = (scene.connect().await, scene.connect().await);
    ann.subscribes("private-a").await;
    bob.subscribes("private-a").await;
    for _ in 0..10 {
        assert!(ann.sends_text(&event("private-a", "1")).await.is_empty());
    }
    let received = ann.sends_text(&event("private-a", "1")).await;
    let expected = server_message::error(Some(4301), "More than 10 client events in a second");
    assert_eq!(received, [expected]);
    assert_eq!((bob.received().len(), ann.close_code()), (10, None));
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert!(ann.sends_text(&event("private-a", "1")).await.is_empty());
}

#[tokio::test]
async fn data_over_the_limit_is_an_error_4301_and_no_close() {
    let scene = Scene::start();
    let (ann, bob) = (scene.connect().await, scene.connect().await);
    ann.subscribes("private-a").await;
    bob.subscribes("private-a").await;
    let data = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
    assert!(ann.sends_text(&event("private-a", &data(10_240))).await.is_empty());
    assert_eq!(bob.received().len(), 1);
    for bytes in [10_241, 1_000_000] {
        let received = ann.sends_text(&event("private-a", &data(bytes))).await;
        assert!(received[0].contains("4301") && received[0].contains("10240"), "{received:?}");
    }
    assert_eq!((bob.received().len(), ann.close_code()), (0, None));
}

#[derive(Debug, Default)]
struct Recorder(Mutex<Vec<String>>);

impl Observer for Recorder {
    fn cache_miss(&self, app: &App, channel: &Channel) {
        self.0.lock().push(format!("{} {channel} missed", app.id()));
    }

    fn client_event(&self, event: crate::observer::SentClientEvent<'_>) {
        let crate::observer::SentClientEvent { app, channel, name, data, socket_id, user } = event;
        let text = format!("{} {channel} {name} {data} {socket_id} {user:?}", app.id());
        self.0.lock().push(text);
    }
}

#[tokio::test]
async fn observer_sees_client_events_that_were_sent_and_cache_misses() {
    let recorder = Arc::new(Recorder::default());
    let apps = Current::fixed(apps(&[APP]).unwrap());
    let observer = Arc::clone(&recorder) as Arc<dyn Observer>;
    let pusher = Pusher::with_observer(&"secret".into(), apps, observer);
    let scene = Scene { cluster: TestCluster::start(), pusher };
    let ann = scene.connect().await;
    ann.sends_text(&event("private-a", "1")).await;
    ann.subscribes("private-a").await;
    ann.sends_text(&event("private-a", "[2]")).await;
    ann.subscribes("cache-a").await;
    let sent = format!("1 private-a client-e [2] {} None", ann.socket_id);
    assert_eq!(*recorder.0.lock(), [sent, "1 cache-a missed".to_owned()]);
}
