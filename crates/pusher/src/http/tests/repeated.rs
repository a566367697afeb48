//! Requests with an `Idempotency-Key` that differ in one part.

use super::*;

#[tokio::test]
async fn request_that_differs_in_a_parameter_is_another_one() {
    let scene = Scene::start();
    scene.subscriber(&["a", "b"]).await;
    let first = || Sent::get("channels").with("filter_by_prefix", "a").with("info", "");
    let with_key = |sent: Sent| {
        let mut request = sent.request();
        request.headers_mut().insert("idempotency-key", HeaderValue::from_static("k"));
        request
    };
    for is_replayed in [false, true] {
        let (status, body, response) = scene.ask(with_key(first())).await;
        assert_eq!((status, &body[..]), (200, r#"{"channels":{"a":{}}}"#));
        assert_eq!(response.headers().contains_key("idempotent-replayed"), is_replayed);
    }
    for other in [
        Sent::get("channels"),
        Sent::get("channels").with("filter_by_prefix", "b"),
        Sent::get("channels").with("filter_by_prefix", "a").with("info", "subscription_count"),
        Sent::get("channels").with("info", "a"),
    ] {
        let (status, body, _) = scene.ask(with_key(other)).await;
        assert_eq!(status, 422, "{body}");
    }
}
