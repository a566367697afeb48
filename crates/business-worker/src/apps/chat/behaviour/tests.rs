//! The chat with a few clients in memory.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard},
};

use push_suite_worker::ClientId;
use serde_json::json;

use super::*;
use crate::apps::chat::messages;

/// The clients and their received messages.
#[derive(Default)]
struct TestCluster(Mutex<State>);

#[derive(Default)]
struct State {
    sessions: BTreeMap<ClientId, Session>,
    groups: BTreeMap<Group, BTreeSet<ClientId>>,
    received: BTreeMap<ClientId, Vec<Value>>,
    closed: Vec<(ClientId, u16)>,
}

struct TestClient<'a> {
    cluster: &'a TestCluster,
    me: ClientId,
}

impl TestCluster {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn at(&self, number: u32) -> TestClient<'_> {
        let me = id(number);
        self.state().sessions.entry(me).or_default();
        TestClient { cluster: self, me }
    }

    /// A client with a name in a room; the messages of its login are discarded.
    async fn member(&self, number: u32, name: &str, room: Value) -> TestClient<'_> {
        let client = self.at(number);
        client.sends(json!({"type": "login", "client_name": name, "room_id": room})).await;
        self.state().received.clear();
        client
    }
}

impl TestClient<'_> {
    async fn sends(&self, message: Value) {
        on_message(self, messages::read(message.to_string().as_bytes())).await.unwrap();
    }

    /// The messages received since the last call.
    fn received(&self) -> Vec<Value> {
        self.cluster.state().received.remove(&self.me).unwrap_or_default()
    }

    fn leaves(&self) {
        let mut state = self.cluster.state();
        for members in state.groups.values_mut() {
            members.remove(&self.me);
        }
    }
}

impl ChatClient for TestClient<'_> {
    fn me(&self) -> ClientId {
        self.me
    }

    fn session(&self) -> Session {
        self.cluster.state().sessions[&self.me].clone()
    }

    async fn update_session(&self, changes: Map<String, Value>) -> Result<(), Error> {
        let changes = Session::encode(&changes)?;
        Ok(self.cluster.state().sessions.get_mut(&self.me).unwrap().merge(&changes)?)
    }

    async fn join(&self, group: Group) -> Result<(), Error> {
        self.cluster.state().groups.entry(group).or_default().insert(self.me);
        Ok(())
    }

    async fn leave(&self, group: Group) -> Result<(), Error> {
        self.cluster.state().groups.entry(group).or_default().remove(&self.me);
        Ok(())
    }

    async fn send_to_self(&self, text: String) -> Result<(), Error> {
        self.send_to(self.me, text).await
    }

    async fn send_to(&self, client: ClientId, text: String) -> Result<(), Error> {
        let text = serde_json::from_str(&text).unwrap();
        self.cluster.state().received.entry(client).or_default().push(text);
        Ok(())
    }

    async fn send_to_group(
        &self,
        group: Group,
        except: &[ClientId],
        text: String,
    ) -> Result<(), Error> {
        let members = self.cluster.state().groups.get(&group).cloned().unwrap_or_default();
        for client in members.into_iter().filter(|client| !except.contains(client)) {
            self.send_to(client, text.clone()).await?;
        }
        Ok(())
    }

    async fn session_of(&self, client: ClientId) -> Result<Option<Session>, Error> {
        Ok(self.cluster.state().sessions.get(&client).cloned())
    }

    async fn sessions(&self, group: Group) -> Result<Vec<(ClientId, Session)>, Error> {
        let state = self.cluster.state();
        let members = state.groups.get(&group).cloned().unwrap_or_default();
        Ok(members.into_iter().map(|client| (client, state.sessions[&client].clone())).collect())
    }

    async fn close(&self, client: ClientId, close: Close) -> Result<(), Error> {
        self.cluster.state().closed.push((client, close.frame.code()));
        Ok(())
    }

    fn now(&self) -> String {
        NOW.to_owned()
    }

    /// The higher a client's number, the earlier it has come.
    fn milliseconds(&self) -> i64 {
        1000 - i64::from(self.me.connection.0)
    }
}

const NOW: &str = "2026-11-22 08:09:10";

fn id(number: u32) -> ClientId {
    format!("7f0000010b54{number:08x}").parse().unwrap()
}

fn text_id(number: u32) -> String {
    id(number).to_string()
}

#[tokio::test]
async fn login_is_announced_and_answered_with_the_member_list() {
    let cluster = TestCluster::default();
    let ann = cluster.member(1, "ann", json!("lobby")).await;
    let bob = cluster.at(2);
    bob.sends(json!({"type": "login", "client_name": "bob", "room_id": "lobby"})).await;
    let announced = json!({
        "type": "login", "client_id": text_id(2), "client_name": "bob", "time": NOW,
    });
    assert_eq!(ann.received(), std::slice::from_ref(&announced));
    let mut welcome = announced;
    welcome["room_id"] = json!("lobby");
    welcome["client_list"] = json!({text_id(1): "ann", text_id(2): "bob"});
    assert_eq!(bob.received(), [welcome]);
}

#[tokio::test]
async fn message_is_sent_to_its_room_only() {
    let cluster = TestCluster::default();
    let ann = cluster.member(1, "ann", json!(1)).await;
    let bob = cluster.member(2, "bob", json!("1")).await;
    let eve = cluster.member(3, "eve", json!(2)).await;
    ann.sends(json!({"type": "say", "to_client_id": "all", "content": "a\n<b>"})).await;
    let expected = json!({
        "type": "say", "from_client_id": text_id(1), "from_client_name": "ann",
        "to_client_id": "all", "content": "a<br />&lt;b&gt;", "time": NOW,
    });
    assert_eq!(ann.received(), std::slice::from_ref(&expected), "the sender included");
    assert_eq!(bob.received(), [expected], "1 and \"1\" are one room");
    assert_eq!(eve.received(), [json!(null); 0]);
}

#[tokio::test]
async fn private_message_is_sent_to_sender_and_recipient_only() {
    let cluster = TestCluster::default();
    let ann = cluster.member(1, "<ann>", json!(1)).await;
    let bob = cluster.member(2, "bob & co", json!(1)).await;
    let eve = cluster.member(3, "eve", json!(1)).await;
    for to in [
        json!({"to_client_id": text_id(2), "to_client_name": "any name"}),
        json!({"to_client_id": "", "to_client_name": "bob & co"}),
    ] {
        let mut say = to;
        say["type"] = json!("say");
        say["content"] = json!("hi");
        ann.sends(say).await;
        let mut expected = json!({
            "type": "say", "from_client_id": text_id(1), "from_client_name": "&lt;ann&gt;",
            "to_client_id": text_id(2), "content": "<b>对你说: </b>hi", "time": NOW,
        });
        assert_eq!(bob.received(), [expected.clone()]);
        expected["content"] = json!("<b>你对bob &amp; co说: </b>hi");
        assert_eq!(ann.received(), [expected]);
    }
    assert_eq!(eve.received(), [json!(null); 0]);
}

#[tokio::test]
async fn second_login_moves_the_client() {
    let cluster = TestCluster::default();
    let ann = cluster.member(1, "ann", json!("old")).await;
    let bob = cluster.member(2, "bob", json!("old")).await;
    let eve = cluster.member(3, "eve", json!("new")).await;
    bob.sends(json!({"type": "login", "client_name": "bobby", "room_id": "new"})).await;
    assert_eq!(
        ann.received(),
        [json!({
            "type": "logout", "from_client_id": text_id(2), "from_client_name": "bob", "time": NOW,
        })],
    );
    assert_eq!(eve.received()[0]["client_name"], "bobby");
    let welcome = &bob.received()[0];
    assert_eq!(welcome["client_list"], json!({text_id(2): "bobby", text_id(3): "eve"}));
    ann.sends(json!({"type": "say", "to_client_id": "all", "content": "gone?"})).await;
    assert_eq!(bob.received(), [json!(null); 0]);
}

#[tokio::test]
async fn name_change_is_announced_and_applied() {
    let cluster = TestCluster::default();
    let ann = cluster.member(1, "ann", json!(1)).await;
    let bob = cluster.member(2, "bob", json!(1)).await;
    bob.sends(json!({"type": "nick", "client_name": "<bo>"})).await;
    let nick = json!({
        "type": "nick", "client_id": text_id(2), "client_name": "&lt;bo&gt;", "old_name": "bob",
        "time": NOW,
    });
    assert_eq!((ann.received(), bob.received()), (vec![nick.clone()], vec![nick]));
    ann.sends(json!({"type": "who"})).await;
    assert_eq!(
        ann.received(),
        [json!({
            "type": "who", "room_id": 1,
            "client_list": {text_id(1): "ann", text_id(2): "&lt;bo&gt;"},
        })],
    );
}

#[tokio::test]
async fn first_member_of_a_room_may_kick_and_the_others_may_not() {
    let cluster = TestCluster::default();
    let ann = cluster.member(3, "ann", json!(1)).await;
    let bob = cluster.member(2, "bob", json!(1)).await;
    let eve = cluster.member(4, "eve", json!(2)).await;
    let kick = |number: u32| json!({"type": "kick", "client_id": text_id(number)});
    let guest = cluster.at(9);
    for (client, request, code) in [
        (&bob, kick(3), "not_allowed"),
        (&bob, kick(2), "not_allowed"),
        (&ann, kick(4), "no_such_client"),
        (&ann, kick(9), "no_such_client"),
        (&ann, json!({"type": "kick", "client_id": ""}), "no_such_client"),
        (&ann, json!({"type": "kick", "client_id": "x".repeat(100_000)}), "no_such_client"),
        (&ann, json!({"type": "kick", "client_id": []}), "bad_request"),
        (&ann, json!({"type": "kick"}), "bad_request"),
        (&guest, kick(3), "not_logged_in"),
    ] {
        client.sends(request).await;
        assert_eq!(client.received()[0]["code"], code);
    }
    assert_eq!(cluster.state().closed, []);
    ann.sends(kick(2)).await;
    eve.sends(kick(4)).await;
    assert_eq!(cluster.state().closed, [(id(2), 4403), (id(4), 4403)]);
}

#[tokio::test]
async fn logout_is_announced_to_the_room() {
    let cluster = TestCluster::default();
    let ann = cluster.member(1, "ann", json!(1)).await;
    let bob = cluster.member(2, "bob", json!(1)).await;
    bob.leaves();
    on_close(&bob).await.unwrap();
    let logout = json!({
        "type": "logout", "from_client_id": text_id(2), "from_client_name": "bob", "time": NOW,
    });
    assert_eq!(ann.received(), [logout]);
    let unknown = cluster.at(9);
    on_close(&unknown).await.unwrap();
    assert_eq!(ann.received(), [json!(null); 0], "it was never logged in");
}

#[tokio::test]
async fn message_before_login_is_ignored_and_query_is_refused() {
    let cluster = TestCluster::default();
    let eve = cluster.at(1);
    eve.sends(json!({"type": "say", "to_client_id": "all", "content": "hi"})).await;
    assert_eq!(eve.received(), [json!(null); 0]);
    for request in [json!({"type": "who"}), json!({"type": "nick", "client_name": "e"})] {
        eve.sends(request).await;
        assert_eq!(eve.received()[0]["code"], "not_logged_in");
    }
}

#[tokio::test]
async fn overlong_text_is_refused_with_the_limit() {
    let cluster = TestCluster::default();
    let ann = cluster.member(1, "ann", json!(1)).await;
    let code = Cell::new("name_too_long");
    let refused = |limit: usize| {
        let received = ann.received();
        assert_eq!(
            (&received[0]["code"], &received[0]["limit"]),
            (&json!(code.get()), &json!(limit))
        );
    };
    let name = "中".repeat(MAX_NAME + 1);
    ann.sends(json!({"type": "nick", "client_name": name})).await;
    refused(MAX_NAME);
    ann.sends(json!({"type": "login", "client_name": name, "room_id": 1})).await;
    refused(MAX_NAME);
    code.set("content_too_long");
    let content = "<".repeat(MAX_CONTENT + 1);
    ann.sends(json!({"type": "say", "to_client_id": "all", "content": content})).await;
    refused(MAX_CONTENT);
    ann.sends(json!({"type": "nick", "client_name": "<".repeat(MAX_NAME)})).await;
    assert_eq!(ann.received()[0]["type"], "nick", "counted before it is escaped");
}

#[tokio::test]
async fn unknown_recipient_and_empty_fields_are_refused() {
    let cluster = TestCluster::default();
    let ann = cluster.member(1, "ann", json!(1)).await;
    let _ = cluster.at(7);
    for (to, name, code) in [
        (text_id(9), "", "no_such_client"),
        (text_id(7), "", "no_such_client"),
        ("x".to_owned(), "", "no_such_client"),
        (String::new(), "bob", "no_such_client"),
        (String::new(), "", "bad_request"),
    ] {
        let say = json!({
            "type": "say", "to_client_id": to, "to_client_name": name, "content": "hi",
        });
        ann.sends(say).await;
        assert_eq!(ann.received()[0]["code"], code, "{to} {name}");
    }
    for request in [
        json!({"type": "nick", "client_name": " "}),
        json!({"type": "login", "client_name": "a", "room_id": ""}),
        json!({"type": "login", "client_name": "a", "room_id": "r".repeat(MAX_ROOM + 1)}),
        json!({"type": "login", "client_name": "a"}),
    ] {
        ann.sends(request).await;
        assert_eq!(ann.received()[0]["code"], "bad_request");
    }
    for ignored in [json!({"type": "pong"}), json!({"type": "x"}), json!([]), json!("hi")] {
        ann.sends(ignored).await;
        assert_eq!(ann.received(), [json!(null); 0]);
    }
}
