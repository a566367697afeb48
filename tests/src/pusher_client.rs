//! A client of the Pusher protocol, and the settings file of its worker.

use std::{fs, net::SocketAddr, path::PathBuf};

use pusher::signature::{Key, channel_text, user_text};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Browser, Received, suite};

/// A settings file with apps, in a folder that is removed with this value.
#[derive(Debug)]
pub struct PusherSettings {
    folder: TempDir,
}

/// The least app of the tests: id `1`, key `k1`, secret `s1`, with client events.
const APP: &str = "[[pusher.app]]\nid = '1'\nkey = 'k1'\nsecret = 's1'\nclient_messages = true\n";

impl PusherSettings {
    /// The least app, with further settings.
    ///
    /// # Panics
    /// If the file cannot be written.
    pub fn new(more: &str) -> Self {
        let folder = TempDir::with_prefix("push-suite-pusher.").unwrap();
        let settings = Self { folder };
        settings.write(&format!("{APP}{more}"));
        settings
    }

    /// Replaces the file.
    ///
    /// # Panics
    /// If the file cannot be written.
    pub fn write(&self, text: &str) {
        fs::write(self.path(), text).unwrap();
    }

    /// The file.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("worker.toml")
    }

    /// A suite with workers of the protocol.
    pub fn suite(&self, workers: usize) -> suite::Builder {
        let path = self.path().display().to_string();
        suite::Suite::builder().app("pusher").workers(workers).worker_flag("--config", &path)
    }
}

/// An established connection.
#[derive(Debug)]
pub struct PusherClient {
    /// The connection.
    pub browser: Browser,
    /// Its socket id.
    pub socket_id: String,
}

impl PusherClient {
    /// Connects to the app with the key `k1`.
    ///
    /// # Panics
    /// If the connection is not established.
    pub async fn connect(gateway: SocketAddr) -> Self {
        let mut browser = Browser::open(gateway, "/app/k1?protocol=7&client=js").await;
        let established = parse(&browser.receive_text().await);
        assert_eq!(established["event"], "pusher:connection_established");
        let socket_id = parse_data(&established)["socket_id"].as_str().unwrap().to_owned();
        Self { browser, socket_id }
    }

    /// Sends an event of the protocol.
    pub async fn send(&mut self, event: &str, data: Value) {
        self.browser.send(json!({"event": event, "data": data}).to_string()).await;
    }

    /// Asks for a subscription, signed as the channel needs it.
    pub async fn subscribe(&mut self, channel: &str) {
        let auth = key().auth(&channel_text(&self.socket_id, channel, None));
        self.send("pusher:subscribe", json!({"channel": channel, "auth": auth})).await;
    }

    /// Subscribes, and waits until that has succeeded.
    ///
    /// # Panics
    /// If another message arrives first.
    pub async fn subscribed(&mut self, channel: &str) {
        self.subscribe(channel).await;
        let succeeded = parse(&self.browser.receive_text().await);
        assert_eq!(succeeded["event"], "pusher_internal:subscription_succeeded", "{succeeded}");
        assert_eq!(succeeded["channel"], channel);
    }

    /// Subscribes to a presence channel as a member, and waits for the list of members: the data of
    /// the message.
    ///
    /// # Panics
    /// If another message arrives first.
    pub async fn join(&mut self, channel: &str, channel_data: &str) -> Value {
        let auth = key().auth(&channel_text(&self.socket_id, channel, Some(channel_data)));
        let data = json!({"channel": channel, "auth": auth, "channel_data": channel_data});
        self.send("pusher:subscribe", data).await;
        let succeeded = parse(&self.browser.receive_text().await);
        assert_eq!(succeeded["event"], "pusher_internal:subscription_succeeded", "{succeeded}");
        assert_eq!(succeeded["channel"], channel);
        parse_data(&succeeded)["presence"].clone()
    }

    /// Signs in, and waits until that has succeeded.
    ///
    /// # Panics
    /// If another message arrives first.
    pub async fn sign_in(&mut self, user_data: &str) {
        let auth = key().auth(&user_text(&self.socket_id, user_data));
        self.send("pusher:signin", json!({"auth": auth, "user_data": user_data})).await;
        let success = parse(&self.browser.receive_text().await);
        assert_eq!(success["event"], "pusher:signin_success", "{success}");
        assert_eq!(parse_data(&success)["user_data"], user_data);
    }

    /// Exchanges a ping and a pong: everything that was sent before is handled then.
    ///
    /// # Panics
    /// If another message arrives first.
    pub async fn ping(&mut self) {
        self.browser.exchange(r#"{"event":"pusher:ping","data":{}}"#, PONG).await;
    }

    /// The messages before the answer to a ping.
    pub async fn received(&mut self) -> Vec<String> {
        self.browser.send(r#"{"event":"pusher:ping","data":{}}"#).await;
        let mut received = Vec::new();
        loop {
            match self.browser.receive_text().await {
                pong if pong == PONG => return received,
                text => received.push(text),
            }
        }
    }

    /// The next message, or the end.
    pub async fn receive(&mut self) -> Received {
        self.browser.receive().await
    }
}

const PONG: &str = r#"{"event":"pusher:pong","data":"{}"}"#;

/// The key of the app.
pub fn key() -> Key {
    Key::new("k1", "s1")
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// The data of a message, which is a string that contains JSON.
///
/// # Panics
/// If it is not.
pub fn parse_data(message: &Value) -> Value {
    parse(message["data"].as_str().unwrap())
}
