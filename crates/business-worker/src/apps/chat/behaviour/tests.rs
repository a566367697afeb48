//! The chat among a few clients in memory.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard},
};

use business_worker::ClientId;
use serde_json::json;

use super::*;
use crate::apps::chat::messages;

/// Everyone there is, and what each was sent.
#[derive(Default)]
struct World(Mutex<State>);

#[derive(Default)]
struct State {
    sessions: BTreeMap<ClientId, Session>,
    groups: BTreeMap<Group, BTreeSet<ClientId>>,
    heard: BTreeMap<ClientId, Vec<Value>>,
}

struct At<'a> {
    world: &'a World,
    me: ClientId,
}

impl World {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn at(&self, number: u32) -> At<'_> {
        let me = id(number);
        self.state().sessions.entry(me).or_default();
        At { world: self, me }
    }

    /// A client with a name in a room, which has forgotten how it came there.
    async fn member(&self, number: u32, name: &str, room: Value) -> At<'_> {
        let at = self.at(number);
        at.says(json!({"type": "login", "client_name": name, "room_id": room})).await;
        self.state().heard.clear();
        at
    }
}

impl At<'_> {
    async fn says(&self, message: Value) {
        on_message(self, messages::read(message.to_string().as_bytes())).await.unwrap();
    }

    /// What it heard since it was last asked.
    fn heard(&self) -> Vec<Value> {
        self.world.state().heard.remove(&self.me).unwrap_or_default()
    }

    fn leaves(&self) {
        let mut state = self.world.state();
        for members in state.groups.values_mut() {
            members.remove(&self.me);
        }
    }
}

impl Place for At<'_> {
    fn me(&self) -> ClientId {
        self.me
    }

    fn session(&self) -> Session {
        self.world.state().sessions[&self.me].clone()
    }

    async fn remember(&self, changes: Map<String, Value>) -> Result<(), Error> {
        let changes = Session::encode(&changes)?;
        Ok(self.world.state().sessions.get_mut(&self.me).unwrap().merge(&changes)?)
    }

    async fn join(&self, group: Group) -> Result<(), Error> {
        self.world.state().groups.entry(group).or_default().insert(self.me);
        Ok(())
    }

    async fn leave(&self, group: Group) -> Result<(), Error> {
        self.world.state().groups.entry(group).or_default().remove(&self.me);
        Ok(())
    }

    async fn tell_me(&self, text: String) -> Result<(), Error> {
        self.tell(self.me, text).await
    }

    async fn tell(&self, client: ClientId, text: String) -> Result<(), Error> {
        let text = serde_json::from_str(&text).unwrap();
        self.world.state().heard.entry(client).or_default().push(text);
        Ok(())
    }

    async fn tell_group(
        &self,
        group: Group,
        except: &[ClientId],
        text: String,
    ) -> Result<(), Error> {
        let members = self.world.state().groups.get(&group).cloned().unwrap_or_default();
        for client in members.into_iter().filter(|client| !except.contains(client)) {
            self.tell(client, text.clone()).await?;
        }
        Ok(())
    }

    async fn session_of(&self, client: ClientId) -> Result<Option<Session>, Error> {
        Ok(self.world.state().sessions.get(&client).cloned())
    }

    async fn sessions(&self, group: Group) -> Result<Vec<(ClientId, Session)>, Error> {
        let state = self.world.state();
        let members = state.groups.get(&group).cloned().unwrap_or_default();
        Ok(members.into_iter().map(|client| (client, state.sessions[&client].clone())).collect())
    }

    fn now(&self) -> String {
        NOW.to_owned()
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
async fn a_newcomer_is_announced_and_learns_who_is_there() {
    let world = World::default();
    let ann = world.member(1, "ann", json!("lobby")).await;
    let bob = world.at(2);
    bob.says(json!({"type": "login", "client_name": "bob", "room_id": "lobby"})).await;
    let announced = json!({
        "type": "login", "client_id": text_id(2), "client_name": "bob", "time": NOW,
    });
    assert_eq!(ann.heard(), std::slice::from_ref(&announced));
    let mut welcome = announced;
    welcome["room_id"] = json!("lobby");
    welcome["client_list"] = json!({text_id(1): "ann", text_id(2): "bob"});
    assert_eq!(bob.heard(), [welcome]);
}

#[tokio::test]
async fn the_room_hears_what_is_said_in_it_and_no_other_does() {
    let world = World::default();
    let ann = world.member(1, "ann", json!(1)).await;
    let bob = world.member(2, "bob", json!("1")).await;
    let eve = world.member(3, "eve", json!(2)).await;
    ann.says(json!({"type": "say", "to_client_id": "all", "content": "a\n<b>"})).await;
    let said = json!({
        "type": "say", "from_client_id": text_id(1), "from_client_name": "ann",
        "to_client_id": "all", "content": "a<br />&lt;b&gt;", "time": NOW,
    });
    assert_eq!(ann.heard(), std::slice::from_ref(&said), "the sender included");
    assert_eq!(bob.heard(), [said], "1 and \"1\" are one room");
    assert_eq!(eve.heard(), [json!(null); 0]);
}

#[tokio::test]
async fn a_private_message_is_heard_by_two() {
    let world = World::default();
    let ann = world.member(1, "<ann>", json!(1)).await;
    let bob = world.member(2, "bob & co", json!(1)).await;
    let eve = world.member(3, "eve", json!(1)).await;
    for to in [
        json!({"to_client_id": text_id(2), "to_client_name": "whoever"}),
        json!({"to_client_id": "", "to_client_name": "bob & co"}),
    ] {
        let mut say = to;
        say["type"] = json!("say");
        say["content"] = json!("hi");
        ann.says(say).await;
        let mut said = json!({
            "type": "say", "from_client_id": text_id(1), "from_client_name": "&lt;ann&gt;",
            "to_client_id": text_id(2), "content": "<b>对你说: </b>hi", "time": NOW,
        });
        assert_eq!(bob.heard(), [said.clone()]);
        said["content"] = json!("<b>你对bob &amp; co说: </b>hi");
        assert_eq!(ann.heard(), [said]);
    }
    assert_eq!(eve.heard(), [json!(null); 0]);
}

#[tokio::test]
async fn logging_in_again_moves() {
    let world = World::default();
    let ann = world.member(1, "ann", json!("old")).await;
    let bob = world.member(2, "bob", json!("old")).await;
    let eve = world.member(3, "eve", json!("new")).await;
    bob.says(json!({"type": "login", "client_name": "bobby", "room_id": "new"})).await;
    assert_eq!(
        ann.heard(),
        [json!({
            "type": "logout", "from_client_id": text_id(2), "from_client_name": "bob", "time": NOW,
        })],
    );
    assert_eq!(eve.heard()[0]["client_name"], "bobby");
    let welcome = &bob.heard()[0];
    assert_eq!(welcome["client_list"], json!({text_id(2): "bobby", text_id(3): "eve"}));
    ann.says(json!({"type": "say", "to_client_id": "all", "content": "gone?"})).await;
    assert_eq!(bob.heard(), [json!(null); 0]);
}

#[tokio::test]
async fn a_new_name_is_told_to_the_room_and_used_from_then_on() {
    let world = World::default();
    let ann = world.member(1, "ann", json!(1)).await;
    let bob = world.member(2, "bob", json!(1)).await;
    bob.says(json!({"type": "nick", "client_name": "<bo>"})).await;
    let nick = json!({
        "type": "nick", "client_id": text_id(2), "client_name": "&lt;bo&gt;", "old_name": "bob",
        "time": NOW,
    });
    assert_eq!((ann.heard(), bob.heard()), (vec![nick.clone()], vec![nick]));
    ann.says(json!({"type": "who"})).await;
    assert_eq!(
        ann.heard(),
        [json!({
            "type": "who", "room_id": 1,
            "client_list": {text_id(1): "ann", text_id(2): "&lt;bo&gt;"},
        })],
    );
}

#[tokio::test]
async fn the_room_hears_who_is_gone() {
    let world = World::default();
    let ann = world.member(1, "ann", json!(1)).await;
    let bob = world.member(2, "bob", json!(1)).await;
    bob.leaves();
    on_close(&bob).await.unwrap();
    let logout = json!({
        "type": "logout", "from_client_id": text_id(2), "from_client_name": "bob", "time": NOW,
    });
    assert_eq!(ann.heard(), [logout]);
    let stranger = world.at(9);
    on_close(&stranger).await.unwrap();
    assert_eq!(ann.heard(), [json!(null); 0], "it was never here");
}

#[tokio::test]
async fn before_login_talk_is_ignored_and_questions_are_refused() {
    let world = World::default();
    let eve = world.at(1);
    eve.says(json!({"type": "say", "to_client_id": "all", "content": "hi"})).await;
    assert_eq!(eve.heard(), [json!(null); 0]);
    for request in [json!({"type": "who"}), json!({"type": "nick", "client_name": "e"})] {
        eve.says(request).await;
        assert_eq!(eve.heard()[0]["code"], "not_logged_in");
    }
}

#[tokio::test]
async fn what_is_too_long_is_refused_with_the_limit() {
    let world = World::default();
    let ann = world.member(1, "ann", json!(1)).await;
    let code = Cell::new("name_too_long");
    let refused = |limit: usize| {
        let heard = ann.heard();
        assert_eq!((&heard[0]["code"], &heard[0]["limit"]), (&json!(code.get()), &json!(limit)));
    };
    let name = "中".repeat(MAX_NAME + 1);
    ann.says(json!({"type": "nick", "client_name": name})).await;
    refused(MAX_NAME);
    ann.says(json!({"type": "login", "client_name": name, "room_id": 1})).await;
    refused(MAX_NAME);
    code.set("content_too_long");
    let content = "<".repeat(MAX_CONTENT + 1);
    ann.says(json!({"type": "say", "to_client_id": "all", "content": content})).await;
    refused(MAX_CONTENT);
    ann.says(json!({"type": "nick", "client_name": "<".repeat(MAX_NAME)})).await;
    assert_eq!(ann.heard()[0]["type"], "nick", "counted before it is escaped");
}

#[tokio::test]
async fn nobody_and_nothing_are_refused() {
    let world = World::default();
    let ann = world.member(1, "ann", json!(1)).await;
    let _ = world.at(7);
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
        ann.says(say).await;
        assert_eq!(ann.heard()[0]["code"], code, "{to} {name}");
    }
    for request in [
        json!({"type": "nick", "client_name": " "}),
        json!({"type": "login", "client_name": "a", "room_id": ""}),
        json!({"type": "login", "client_name": "a", "room_id": "r".repeat(MAX_ROOM + 1)}),
        json!({"type": "login", "client_name": "a"}),
    ] {
        ann.says(request).await;
        assert_eq!(ann.heard()[0]["code"], "bad_request");
    }
    for ignored in [json!({"type": "pong"}), json!({"type": "x"}), json!([]), json!("hi")] {
        ann.says(ignored).await;
        assert_eq!(ann.heard(), [json!(null); 0]);
    }
}
