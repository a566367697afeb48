//! The members of groups in the push API, over real sockets and two gateways.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use push_suite_worker::{
    CancellationToken, Client, Config, Group, Member, MemberId, Message, MessageKind, Part,
    Snapshot, Worker, serve,
};
use serde_json::json;
use service::Starting;
use suite_tests::{
    Suite, eventually,
    push_api::{PUSH, PushApi, READ, ROOMS},
};

/// Each message is the id of a member of `room:a`, which its client joins as.
struct Rooms;

impl Worker for Rooms {
    async fn on_message(&self, client: &Client, message: Message) -> anyhow::Result<()> {
        let user = message.as_text().unwrap_or_default();
        let member = Member::new(MemberId::new(user)?, "", format!("{{\"name\":\"{user}\"}}"))?;
        let snapshot = Snapshot::new(MessageKind::Text, vec![Part::Count])?;
        Ok(client.join_presence("room:a", member, snapshot).await?)
    }

    fn watched_groups(&self) -> Vec<Group> {
        vec![Group::new("room:").unwrap()]
    }
}

#[tokio::test]
async fn members_are_listed_once_with_their_clients_on_all_gateways() {
    let suite = Suite::builder().start().await;
    let registers = suite.register_addrs.iter().map(ToString::to_string);
    let config = Config::new(registers, suite.secret())
        .name("rooms")
        .id("1")
        .presence_grace(Duration::ZERO)
        .threads(1)
        .tls(suite.tls());
    let starting = Starting::new(None, CancellationToken::new(), Duration::from_secs(5));
    let health = starting.health.clone();
    let worker = tokio::spawn(serve(Rooms, config, starting));
    eventually("a worker to be linked", async || health.is_ready().then_some(())).await;
    let api = PushApi::start(&suite).await;
    let path = "/v1/presence/room%3Aa";
    let empty = api.call(READ, "GET", path).await;
    assert_eq!((empty.status, empty.body), (200, json!({"items": [], "next": null})));

    let mut browsers = Vec::new();
    for (gateway, user) in [(0, "bob"), (0, "ann"), (1, "ann"), (1, "ida")] {
        let mut browser = suite.browser(gateway).await;
        browser.send(user).await;
        // The snapshot: it is a member.
        browser.receive_text().await;
        browsers.push(browser);
    }
    // A client that is no member.
    let cluster = suite.cluster().await;
    let other = suite.browser(1).await;
    let clients = cluster.all_clients().await.unwrap();
    let of_room = cluster.clients_in_group("room:a").await.unwrap();
    let outside = clients.into_iter().find(|client| !of_room.contains(client)).unwrap();
    cluster.join_group(outside, "room:a").await.unwrap();
    assert_eq!(cluster.group_count("room:a").await.unwrap(), 5);

    let item = |id: &str, clients: u64| json!({"id": id, "clients": clients, "detail": format!("{{\"name\":\"{id}\"}}")});
    let expected = [item("ann", 2), item("bob", 1), item("ida", 1)];
    let all = api.call(ROOMS, "GET", path).await;
    assert_eq!((all.status, all.body), (200, json!({"items": expected, "next": null})));
    let first = api.call(READ, "GET", &format!("{path}?limit=2")).await.body;
    assert_eq!(first["items"], json!(expected[..2]));
    let next = first["next"].as_str().unwrap();
    let second = api.call(READ, "GET", &format!("{path}?limit=2&after={next}")).await.body;
    assert_eq!(second, json!({"items": expected[2..], "next": null}));
    for (key, target) in [(PUSH, path), (ROOMS, "/v1/presence/other")] {
        assert_eq!(api.call(key, "GET", target).await.status, 403, "{target}");
    }
    browsers.remove(1).close().await;
    eventually("one client of the member is left", async || {
        let body = api.call(READ, "GET", path).await.body;
        (body["items"][0] == item("ann", 1)).then_some(())
    })
    .await;
    drop(other);
    worker.abort();
}
