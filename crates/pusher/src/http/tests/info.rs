//! The attributes of channels that a publisher asks for along with its events.

use super::*;

#[tokio::test]
async fn event_whose_info_cannot_be_queried_is_not_published() {
    let scene = Scene::start();
    let client = scene.subscriber(&["a"]).await;
    let event = json!({"name": "e", "data": "1", "channel": "a", "info": "subscription_count"});
    let sent = [
        ("events", event.clone(), r#"{"channels":{"a":{"subscription_count":1}}}"#),
        ("batch_events", json!({"batch": [event]}), r#"{"batch":[{"subscription_count":1}]}"#),
    ];
    for (path, body, answer) in sent {
        let request = || {
            let mut request = Sent::post(path, &body).request();
            request.headers_mut().insert("idempotency-key", HeaderValue::from_static(path));
            request
        };
        scene.cluster.set_unavailable(true);
        let (status, text, response) = scene.ask(request()).await;
        assert_eq!(
            (status, &response.headers()[header::RETRY_AFTER]),
            (503, &"1".parse().unwrap())
        );
        assert!(text.contains("Not all gateways"), "{text}");
        assert_eq!(scene.received(&client), [], "{path}");
        scene.cluster.set_unavailable(false);
        for _ in 0..2 {
            let (status, text, _) = scene.ask(request()).await;
            assert_eq!((status, &text[..]), (200, answer));
        }
        assert_eq!(scene.received(&client), [message("a", "1")], "{path}");
    }
}

#[tokio::test]
async fn published_event_is_the_last_one_of_its_cache_channel() {
    let scene = Scene::start();
    let event = |data: &str| json!({"name": "e", "data": data, "channel": "cache-a", "info": "cache,subscription_count"});
    let state = r#"{"subscription_count":0,"cache":{"data":"2","ttl":1800}}"#;
    scene
        .expect(
            Sent::post("events", &event("1")),
            200,
            &format!(r#"{{"channels":{{"cache-a":{}}}}}"#, state.replace('2', "1")),
        )
        .await;
    let batch = json!({"batch": [event("1"), event("2")]});
    let answer = format!(r#"{{"batch":[{state},{state}]}}"#);
    scene.expect(Sent::post("batch_events", &batch), 200, &answer).await;
    let plain = json!({"name": "e", "data": "", "channel": "a", "info": "cache"});
    scene.expect(Sent::post("events", &plain), 200, r#"{"channels":{"a":{}}}"#).await;
}
