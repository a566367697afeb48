//! Each endpoint with its exact answers, on a cluster of one gateway.

mod info;
mod prefix;
mod repeated;

use axum::body::{Body, to_bytes};
use push_suite_worker::{
    Client, Member, MemberId, Message, MessageKind, Snapshot, testing::TestCluster,
};
use serde_json::{Value, json};

use super::*;
use crate::{
    Channel,
    app::tests::apps,
    names, server_message,
    signature::Key,
    state::{Opened, with_channel},
    user::UserId,
};

const APPS: [&str; 4] = [
    "id = '1'\nkey = 'k'\nsecret = 's'\nother_keys = [{key = 'k2', secret = 's2'}]",
    "id = '2'\nkey = 'off'\nsecret = 's'\nenabled = false",
    "id = '3'\nkey = 'slow'\nsecret = 's'\nhttp_requests_per_second = 3",
    "id = '4'\nkey = 'apart'\nsecret = 's'\nterminate_presence_users = false",
];

struct Scene {
    cluster: TestCluster,
    api: HttpApi,
    apps: Arc<Apps>,
}

/// A request, signed unless that is changed.
struct Sent {
    app: &'static str,
    key: Key,
    method: &'static str,
    path: String,
    query: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Sent {
    fn get(path: &str) -> Self {
        Self {
            app: "1",
            key: Key::new("k", "s"),
            method: "GET",
            path: path.to_owned(),
            query: Vec::new(),
            body: Vec::new(),
        }
    }

    fn post(path: &str, body: &Value) -> Self {
        Self { method: "POST", body: body.to_string().into(), ..Self::get(path) }
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.query.push((name.to_owned(), value.to_owned()));
        self
    }

    fn request(self) -> Request {
        let Self { app, key, method, path, mut query, body } = self;
        let path = match path.starts_with('/') {
            true => path,
            false => format!("/apps/{app}/{path}"),
        };
        query.extend(
            [
                ("auth_key", key.key().to_owned()),
                ("auth_timestamp", clock::unix_seconds().to_string()),
                ("auth_version", "1.0".to_owned()),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        if !body.is_empty() {
            let digest = <md5::Md5 as md5::Digest>::digest(&body);
            let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            query.push(("body_md5".to_owned(), hex));
        }
        query.sort();
        let query: Vec<String> =
            query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let query = query.join("&");
        let signature = key.sign(&[format!("{method}\n{path}\n{query}").as_bytes()]);
        let uri = format!("{path}?{query}&auth_signature={signature}").replace('#', "%23");
        let builder = Request::builder().method(method).uri(uri);
        builder.body(Body::from(body)).unwrap()
    }
}

impl Scene {
    fn start() -> Self {
        let cluster = TestCluster::start();
        let apps = Current::fixed(apps(&APPS).unwrap());
        let api = HttpApi::new(cluster.cluster().clone(), &"secret".into(), apps.clone());
        Self { cluster, api, apps: apps.get() }
    }

    fn app(&self) -> &App {
        self.apps.by_id("1").unwrap()
    }

    /// A client that is subscribed to channels of the first app.
    async fn subscriber(&self, channels: &[&str]) -> Client {
        let client = self.cluster.client();
        for channel in channels {
            let group = names::channel_group(self.app(), &Channel::parse(channel).unwrap());
            client.join_group(group).await.unwrap();
        }
        client
    }

    /// A member of a presence channel of the first app.
    async fn member(&self, channel: &str, user: &str) -> Client {
        let client = self.cluster.client();
        let group = names::channel_group(self.app(), &Channel::parse(channel).unwrap());
        let member = Member::new(MemberId::new(user).unwrap(), "", "").unwrap();
        let snapshot = Snapshot::new(MessageKind::Text, Vec::new()).unwrap();
        client.join_presence(group, member, snapshot).await.unwrap();
        let (random, deadline, error_events) = (7, None, false);
        let opened = Opened { app: "1".to_owned(), random, deadline, error_events };
        client.set_session(&opened).await.unwrap();
        let user = UserId::parse(user).unwrap();
        let changes = with_channel(&Channel::parse(channel).unwrap(), Some(&user));
        client.update_session(&changes).await.unwrap();
        client
    }

    async fn ask(&self, request: Request) -> (u16, String, Response<()>) {
        let (head, body) = answer(State(self.api.clone()), request).await.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        let text = String::from_utf8(body.to_vec()).unwrap();
        (head.status.as_u16(), text, Response::from_parts(head, ()))
    }

    async fn send(&self, sent: Sent) -> (u16, String) {
        let (status, body, response) = self.ask(sent.request()).await;
        let kind = response.headers()[header::CONTENT_TYPE].to_str().unwrap();
        let expected = if status < 300 { "application/json" } else { "text/plain; charset=utf-8" };
        assert_eq!(kind, expected);
        assert!(!body.contains('\n'), "one line: {body}");
        (status, body)
    }

    async fn expect(&self, sent: Sent, status: u16, body: &str) {
        assert_eq!(self.send(sent).await, (status, body.to_owned()));
    }

    async fn expect_refused(&self, sent: Sent, status: u16, part: &str) {
        let (found, body) = self.send(sent).await;
        assert!((found, body.contains(part)) == (status, true), "{found} {body}");
    }

    fn received(&self, client: &Client) -> Vec<Message> {
        self.cluster.received(client.id())
    }
}

fn message(channel: &str, data: &str) -> Message {
    Message::text(server_message::event("e", channel, data))
}

#[tokio::test]
async fn event_is_published_once_to_each_channel_except_to_the_excluded_client() {
    let scene = Scene::start();
    let (one, two) = (scene.subscriber(&["a", "b"]).await, scene.subscriber(&["a"]).await);
    let body = json!({"name": "e", "data": "{\"x\":1}", "channels": ["a", "b", "a"]});
    scene.expect(Sent::post("events", &body), 200, "{}").await;
    assert_eq!(scene.received(&one), [message("a", "{\"x\":1}"), message("b", "{\"x\":1}")]);
    assert_eq!(scene.received(&two), [message("a", "{\"x\":1}")]);
    let ids = SocketIds::new(&"secret".into());
    for (id, received) in [(ids.encode(two.id(), 7).to_string(), 0), ("1.2".to_owned(), 1)] {
        let body = json!({"name": "e", "data": [1], "channel": "a", "socket_id": id});
        scene.received(&two);
        scene.expect(Sent::post("events", &body), 200, "{}").await;
        assert_eq!(scene.received(&two).len(), received, "{id}");
    }
    assert_eq!(scene.received(&one).last(), Some(&message("a", "[1]")));
}

#[tokio::test]
async fn event_with_info_is_answered_with_the_state_of_its_channels() {
    let scene = Scene::start();
    scene.subscriber(&["a", "b"]).await;
    scene.subscriber(&["a"]).await;
    let body = |info: &str| json!({"name": "e", "data": "", "channels": ["b", "a"], "info": info});
    let counts = r#"{"channels":{"b":{"subscription_count":1},"a":{"subscription_count":2}}}"#;
    scene.expect(Sent::post("events", &body("subscription_count,user_count")), 200, counts).await;
    let nothing = r#"{"channels":{"b":{},"a":{}}}"#;
    scene.expect(Sent::post("events", &body("user_count")), 200, nothing).await;
    scene.expect_refused(Sent::post("events", &body("secrets")), 400, "Unknown info").await;
}

#[tokio::test]
async fn batch_is_published_in_order_and_answered_by_index() {
    let scene = Scene::start();
    let client = scene.subscriber(&["a"]).await;
    let event = |data: &str, info: Option<&str>| json!({"name": "e", "data": data, "channel": "a", "info": info});
    let plain: Vec<Value> = (0..10).map(|at| event(&at.to_string(), None)).collect();
    scene.expect(Sent::post("batch_events", &json!({"batch": plain})), 200, "{}").await;
    let expected: Vec<Message> = (0..10).map(|at| message("a", &at.to_string())).collect();
    assert_eq!(scene.received(&client), expected);
    let batch = json!({"batch": [event("x", Some("subscription_count")), event("y", None)]});
    let answer = r#"{"batch":[{"subscription_count":1},{}]}"#;
    scene.expect(Sent::post("batch_events", &batch), 200, answer).await;
    let long: Vec<Value> = (0..11).map(|_| event("z", None)).collect();
    let sent = Sent::post("batch_events", &json!({"batch": long}));
    scene.expect_refused(sent, 400, "Batch too large").await;
    let large = event(&"é".repeat(5121), None);
    let sent = Sent::post("batch_events", &json!({"batch": [event("w", None), large]}));
    scene.expect_refused(sent, 413, "The data content of this event exceeds").await;
    assert_eq!(scene.received(&client).len(), 2, "nothing of a refused batch is published");
}

#[tokio::test]
async fn deprecated_way_to_publish_is_accepted() {
    let scene = Scene::start();
    let client = scene.subscriber(&["a"]).await;
    let sent = Sent::post("channels/a/events", &json!({"x": 1})).with("name", "e");
    scene.expect(sent, 202, "{}").await;
    assert_eq!(scene.received(&client), [message("a", "{\"x\":1}")]);
    let sent = Sent::post("channels/a/events", &json!(1));
    scene.expect_refused(sent, 400, "Missing required parameter: name").await;
}

#[tokio::test]
async fn channels_are_those_of_the_app_that_are_occupied() {
    let scene = Scene::start();
    scene.expect(Sent::get("channels"), 200, r#"{"channels":{}}"#).await;
    scene.subscriber(&["b", "a", "presence-x", "#server-to-user-7"]).await;
    scene.subscriber(&["b"]).await;
    let other = scene.cluster.client();
    other.join_group("pusher:3:c").await.unwrap();
    other.join_group("lobby").await.unwrap();
    let all = r#"{"channels":{"a":{},"b":{},"presence-x":{}}}"#;
    scene.expect(Sent::get("channels"), 200, all).await;
    let sent =
        Sent::get("channels").with("filter_by_prefix", "b").with("info", "subscription_count");
    scene.expect(sent, 200, r#"{"channels":{"b":{"subscription_count":2}}}"#).await;
    let sent = Sent::get("channels").with("filter_by_prefix", "zzz");
    scene.expect(sent, 200, r#"{"channels":{}}"#).await;
    let sent = Sent::get("channels").with("info", "user_count");
    scene.expect_refused(sent, 400, "presence-").await;
    scene.expect_refused(Sent::get("channels").with("info", "x"), 400, "Unknown info").await;
}

#[tokio::test]
async fn channel_is_shown_with_the_attributes_of_its_kind() {
    let scene = Scene::start();
    let empty = r#"{"occupied":false}"#;
    scene.expect(Sent::get("channels/private-a"), 200, empty).await;
    scene.subscriber(&["private-a"]).await;
    let counted = r#"{"occupied":true,"subscription_count":1}"#;
    let sent = Sent::get("channels/private-a").with("info", "subscription_count");
    scene.expect(sent, 200, counted).await;
    let sent = Sent::get("channels/private-a").with("info", "user_count");
    scene.expect_refused(sent, 400, "user_count is of presence channels").await;
    let sent = Sent::get("channels/private-a").with("info", "cache");
    scene.expect_refused(sent, 400, "cache is of cache channels").await;
    scene.expect_refused(Sent::get("channels/a!b"), 400, "Invalid channel").await;
    scene.expect_refused(Sent::get("channels/a/users"), 400, "presence").await;
    scene.expect(Sent::get("channels/presence-a/users"), 200, r#"{"users":[]}"#).await;
}

#[tokio::test]
async fn cache_channel_is_shown_with_its_last_event() {
    let scene = Scene::start();
    let path = || Sent::get("channels/cache-a").with("info", "cache");
    scene.expect(path(), 200, r#"{"occupied":false,"cache":null}"#).await;
    let group = names::channel_group(scene.app(), &Channel::parse("cache-a").unwrap());
    let event = message("cache-a", "{\"x\":1}");
    let time = std::time::Duration::from_secs(1800);
    scene.cluster.cluster().send_and_retain(group, &[], event, time).await.unwrap();
    let (status, body) = scene.send(path()).await;
    let shown: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &shown["cache"]["data"]), (200, &json!("{\"x\":1}")));
    assert!((1700..=1800).contains(&shown["cache"]["ttl"].as_u64().unwrap()), "{body}");
}

#[tokio::test]
async fn users_of_a_presence_channel_are_listed_and_counted_once() {
    let scene = Scene::start();
    for user in ["b", "a", "b"] {
        scene.member("presence-x", user).await;
    }
    let users = r#"{"users":[{"id":"a"},{"id":"b"}]}"#;
    scene.expect(Sent::get("channels/presence-x/users"), 200, users).await;
    let info = "user_count,subscription_count";
    let shown = r#"{"occupied":true,"subscription_count":3,"user_count":2}"#;
    scene.expect(Sent::get("channels/presence-x").with("info", info), 200, shown).await;
    let sent =
        Sent::get("channels").with("filter_by_prefix", "presence-").with("info", "user_count");
    scene.expect(sent, 200, r#"{"channels":{"presence-x":{"user_count":2}}}"#).await;
    let event = json!({"name": "e", "data": "", "channels": ["presence-x", "presence-y", "a"],
        "info": info});
    let answer = r#"{"channels":{"presence-x":{"user_count":2,"subscription_count":3},"presence-y":{"user_count":0,"subscription_count":0},"a":{"subscription_count":0}}}"#;
    scene.expect(Sent::post("events", &event), 200, answer).await;
}

#[tokio::test]
async fn terminated_user_loses_every_connection() {
    let scene = Scene::start();
    for path in ["users/ann/terminate_connections", "/users/ann/terminate_connections"] {
        let (one, two, other) =
            (scene.cluster.client(), scene.cluster.client(), scene.cluster.client());
        for (client, user) in [(&one, "ann"), (&two, "ann"), (&other, "bob")] {
            let uid = names::uid(scene.app(), &UserId::parse(user).unwrap());
            client.bind_uid(uid).await.unwrap();
        }
        scene.expect(Sent::post(path, &json!({})), 200, "{}").await;
        for client in [one, two] {
            let closed = scene.cluster.close_frame(client.id()).unwrap();
            assert_eq!(closed.code(), 4009, "{path}");
        }
        assert!(scene.cluster.close_frame(other.id()).is_none());
    }
    let sent = Sent::post("users/a%07/terminate_connections", &json!({}));
    scene.expect_refused(sent, 400, "control character").await;
}

#[tokio::test]
async fn terminated_user_loses_its_presence_channels_unless_the_app_leaves_them_out() {
    let scene = Scene::start();
    let (ann, bob) =
        (scene.member("presence-x", "ann").await, scene.member("presence-x", "bob").await);
    let signed_in = scene.member("presence-y", "ann").await;
    signed_in.bind_uid(names::uid(scene.app(), &UserId::parse("ann").unwrap())).await.unwrap();
    // Its name in another app is that of another user.
    let other = Sent {
        app: "3",
        key: Key::new("slow", "s"),
        ..Sent::post("users/ann/terminate_connections", &json!({}))
    };
    scene.expect(other, 200, "{}").await;
    let is_closed = |client: &Client| scene.cluster.is_closed(client.id());
    assert!(![&ann, &bob, &signed_in].map(is_closed).contains(&true));
    scene.expect(Sent::post("users/ann/terminate_connections", &json!({})), 200, "{}").await;
    assert_eq!([&ann, &bob, &signed_in].map(is_closed), [true, false, true]);
    let apart = Sent {
        app: "4",
        key: Key::new("apart", "s"),
        ..Sent::post("users/bob/terminate_connections", &json!({}))
    };
    scene.expect(apart, 200, "{}").await;
    assert!(!is_closed(&bob));
}

#[tokio::test]
async fn connections_of_the_app_are_counted_and_the_process_is_up() {
    let scene = Scene::start();
    scene.expect(Sent::get("connections"), 200, r#"{"connections":0}"#).await;
    let client = scene.cluster.client();
    client.join_group(names::app_group(scene.app())).await.unwrap();
    scene.expect(Sent::get("connections"), 200, r#"{"connections":1}"#).await;
    scene.expect(Sent::get("/up"), 200, r#"{"health":"OK"}"#).await;
}

#[tokio::test]
async fn request_without_a_valid_signature_is_refused_with_the_reason() {
    let scene = Scene::start();
    let event = || Sent::post("events", &json!({"name": "e", "data": "", "channel": "a"}));
    scene.expect(Sent { key: Key::new("k2", "s2"), ..event() }, 200, "{}").await;
    let refused = [
        (Sent { key: Key::new("k", "s2"), ..event() }, 401, "Invalid signature"),
        (Sent { key: Key::new("slow", "s"), ..event() }, 401, "auth_key is no key of this app"),
        (event().with("auth_timestamp", "1"), 401, "auth_timestamp"),
        (Sent { app: "9", ..event() }, 404, "no app"),
        (Sent { app: "2", key: Key::new("off", "s"), ..event() }, 403, "disabled"),
        (Sent { method: "PUT", ..event() }, 405, "POST requests only"),
        (Sent { path: "event".to_owned(), ..event() }, 404, "no such path"),
        (Sent::get("channels").with("a", &"1&a=".repeat(40)), 400, "parameters"),
    ];
    for (sent, status, part) in refused {
        scene.expect_refused(sent, status, part).await;
    }
    let mut request = event().request();
    *request.body_mut() = Body::from("{}");
    let (status, body, _) = scene.ask(request).await;
    assert_eq!((status, &body[..]), (401, "body_md5 is not the MD5 of the body"));
    let (status, _, response) = scene.ask(Sent { method: "PUT", ..event() }.request()).await;
    assert_eq!((status, &response.headers()[header::ALLOW]), (405, &"POST".parse().unwrap()));
}

#[tokio::test]
async fn sizes_beyond_a_limit_are_refused_by_name() {
    let scene = Scene::start();
    let event =
        |data: String| Sent::post("events", &json!({"name": "e", "data": data, "channel": "a"}));
    scene.expect(event("x".repeat(10_240)), 200, "{}").await;
    scene.expect(event("é".repeat(5_120)), 200, "{}").await;
    for data in ["x".repeat(10_241), "é".repeat(5_120) + "x"] {
        let part = "The data content of this event exceeds the allowed maximum (10240 bytes";
        scene.expect_refused(event(data), 413, part).await;
    }
    let limit = 10 * 10_240 * 2 + (64 << 10);
    let part = format!("The body exceeds the allowed maximum ({limit} bytes)");
    scene.expect_refused(event("x".repeat(limit)), 413, &part).await;
    let to = |count: usize| {
        let channels: Vec<String> = (0..count).map(|at| format!("c{at}")).collect();
        Sent::post("events", &json!({"name": "e", "data": "", "channels": channels}))
    };
    scene.expect(to(100), 200, "{}").await;
    scene.expect_refused(to(101), 400, "between 1 and 100 channels").await;
}

#[tokio::test]
async fn flood_of_an_app_is_refused_and_does_not_concern_other_apps() {
    let scene = Scene::start();
    let slow = || Sent { app: "3", key: Key::new("slow", "s"), ..Sent::get("channels") };
    let unsigned = || Sent { key: Key::new("slow", "guess"), ..slow() };
    for _ in 0..10 {
        scene.expect_refused(unsigned(), 401, "Invalid signature").await;
    }
    let mut refused = 0;
    for _ in 0..20 {
        let (status, body, response) = scene.ask(slow().request()).await;
        if status == 429 {
            refused += 1;
            assert_eq!(response.headers()[header::RETRY_AFTER], "1");
            assert!(body.contains("more than 3 requests in a second"), "{body}");
        }
    }
    assert!((1..=17).contains(&refused), "{refused} of 20");
    scene.expect(Sent::get("channels"), 200, r#"{"channels":{}}"#).await;
}
