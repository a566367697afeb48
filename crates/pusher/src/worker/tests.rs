//! Tests of the worker, one rule each, without a gateway.

mod channels;
mod connections;
mod events;
mod hostile;
mod presence_channels;
mod users;

use push_suite_worker::{Client, Handshake, Header, Message, Worker as _, testing::TestCluster};
use serde_json::{Value, json};

use super::*;
use crate::{
    Channel,
    app::tests::apps,
    signature::{Key, channel_text, user_text},
};

/// The settings of the app of most tests.
const APP: &str = "id = '1'\nkey = 'k1'\nsecret = 's1'\nclient_messages = true\n";

/// A worker with clients.
struct Scene {
    cluster: TestCluster,
    pusher: Pusher,
}

impl Scene {
    fn start() -> Self {
        Self::of(&[APP])
    }

    fn with(settings: &str) -> Self {
        Self::of(&[&format!("{APP}{settings}")])
    }

    fn of(entries: &[&str]) -> Self {
        let apps = Current::fixed(apps(entries).unwrap());
        Self { cluster: TestCluster::start(), pusher: Pusher::new(&"secret".into(), apps) }
    }

    async fn started(self) -> Self {
        self.pusher.on_worker_start(&self.cluster.process("Pusher", "0")).await.unwrap();
        self
    }

    /// Does what the owner of channels does.
    async fn update_presence(&self) {
        for notice in self.cluster.update_presence(&self.pusher) {
            self.pusher.on_presence(&notice).await.unwrap();
        }
    }

    /// A client whose handshake was handled, and everything that it has received.
    async fn handshake(&self, target: &str, origin: Option<&str>) -> (Client, Vec<Message>) {
        let header =
            |value: &str| Header { name: "Origin".to_owned(), value: value.as_bytes().to_vec() };
        let headers = origin.map(header).into_iter().collect();
        let handshake = Handshake { target: target.to_owned(), headers };
        let client = self.cluster.client();
        self.pusher.on_websocket_connect(&client, &handshake).await.unwrap();
        let received = self.cluster.received(client.id());
        (client, received)
    }

    /// An established connection, and its socket id.
    async fn connect(&self) -> Peer<'_> {
        let (client, received) = self.handshake("/app/k1?protocol=7&client=js", None).await;
        let [established] = &received[..] else { panic!("{received:?}") };
        let established: Value = established.parse_json().unwrap();
        assert_eq!(established["event"], "pusher:connection_established");
        let data: Value = serde_json::from_str(established["data"].as_str().unwrap()).unwrap();
        Peer { scene: self, client, socket_id: data["socket_id"].as_str().unwrap().to_owned() }
    }
}

/// A connection.
struct Peer<'a> {
    scene: &'a Scene,
    client: Client,
    socket_id: String,
}

impl Peer<'_> {
    /// Sends a text, and returns what the client has received since.
    async fn sends_text(&self, text: &str) -> Vec<String> {
        self.sends_message(Message::text(text)).await
    }

    async fn sends_message(&self, message: Message) -> Vec<String> {
        let event = self.scene.cluster.next_event(self.client.id());
        self.scene.pusher.on_message(&event, message).await.unwrap();
        self.received()
    }

    async fn sends(&self, event: &str, data: Value) -> Vec<String> {
        self.sends_text(&json!({"event": event, "data": data}).to_string()).await
    }

    /// Subscribes with the signature that the channel needs.
    async fn subscribes(&self, channel: &str) -> Vec<String> {
        let auth = key().auth(&channel_text(&self.socket_id, channel, None));
        self.sends("pusher:subscribe", json!({"channel": channel, "auth": auth})).await
    }

    /// Subscribes to a presence channel as a member.
    async fn joins(&self, channel: &str, channel_data: &str) -> Vec<String> {
        let auth = key().auth(&channel_text(&self.socket_id, channel, Some(channel_data)));
        let data = json!({"channel": channel, "auth": auth, "channel_data": channel_data});
        self.sends("pusher:subscribe", data).await
    }

    async fn signs_in(&self, user_data: &str) -> Vec<String> {
        let auth = key().auth(&user_text(&self.socket_id, user_data));
        self.sends("pusher:signin", json!({"auth": auth, "user_data": user_data})).await
    }

    fn received(&self) -> Vec<String> {
        let received = self.scene.cluster.received(self.client.id());
        received.iter().map(|message| message.as_text().unwrap().to_owned()).collect()
    }

    fn close_code(&self) -> Option<u16> {
        self.scene.cluster.close_frame(self.client.id()).map(|frame| frame.code())
    }

    fn groups(&self) -> Vec<String> {
        let groups = self.scene.cluster.groups(self.client.id());
        groups.iter().map(ToString::to_string).collect()
    }
}

fn key() -> Key {
    Key::new("k1", "s1")
}

fn succeeded(channel: &str) -> String {
    server_message::subscription_succeeded(channel)
}

/// The two messages of a refused subscription; asserts that they are, and returns the error.
#[track_caller]
fn denied(received: &[String], channel: &str, status: u16) -> String {
    let [error, pusher_error] = received else { panic!("{received:?}") };
    let error: Value = serde_json::from_str(error).unwrap();
    assert_eq!(error["event"], "pusher:subscription_error");
    assert_eq!(error["channel"], channel);
    let data: Value = serde_json::from_str(error["data"].as_str().unwrap()).unwrap();
    assert_eq!(data["status"], status);
    let text = data["error"].as_str().unwrap().to_owned();
    assert_eq!(*pusher_error, server_message::error(None, &text));
    text
}
