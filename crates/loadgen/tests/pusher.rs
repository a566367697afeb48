//! The Pusher protocol, against a server with the parts of it that a run uses.

#![expect(clippy::unwrap_used, reason = "a test that panics fails")]

use std::{
    collections::HashMap,
    fs,
    net::SocketAddr,
    process::{Command, Output},
    sync::{Arc, Mutex},
};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_tungstenite::{accept_async, tungstenite::Message};

/// The subscribers of each channel.
#[derive(Debug, Default)]
struct Server {
    channels: Mutex<HashMap<String, Vec<mpsc::Sender<String>>>>,
    /// How many requests have been answered.
    requests: Mutex<usize>,
    /// The status of the answers.
    status: Option<&'static str>,
}

impl Server {
    /// Starts a server; returns the addresses of its WebSocket listener and of its HTTP API.
    async fn start(status: Option<&'static str>) -> (SocketAddr, SocketAddr) {
        let server = Arc::new(Self { status, ..Self::default() });
        let sockets = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let requests = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addrs = (sockets.local_addr().unwrap(), requests.local_addr().unwrap());
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    Ok((stream, _)) = sockets.accept() => {
                        tokio::spawn(Arc::clone(&server).serve_client(stream));
                    }
                    Ok((stream, _)) = requests.accept() => {
                        tokio::spawn(Arc::clone(&server).serve_back_end(stream));
                    }
                }
            }
        });
        addrs
    }

    async fn serve_client(self: Arc<Self>, stream: TcpStream) {
        let mut socket = accept_async(stream).await.unwrap();
        let established = json!({ "socket_id": "12.34", "activity_timeout": 30 }).to_string();
        for message in [
            json!({ "event": "pusher:connection_established", "data": established }),
            json!({ "event": "pusher:ping", "data": "{}" }),
        ] {
            socket.send(Message::text(message.to_string())).await.unwrap();
        }
        let (events, mut published) = mpsc::channel(1000);
        loop {
            let message = tokio::select! {
                Some(event) = published.recv() => {
                    if socket.send(Message::text(event)).await.is_err() {
                        return;
                    }
                    continue;
                }
                message = socket.next() => message,
            };
            let Some(Ok(Message::Text(text))) = message else { return };
            let message: Value = serde_json::from_str(&text).unwrap();
            if message["event"] == "pusher:pong" {
                continue;
            }
            assert_eq!(message["event"], "pusher:subscribe");
            let channel = message["data"]["channel"].as_str().unwrap();
            let is_signed = message["data"]["auth"].is_string();
            let event = match is_signed || channel.starts_with("bench-") {
                true if channel.starts_with("presence-bench-000009") => "pusher:subscription_error",
                true => "pusher_internal:subscription_succeeded",
                false => panic!("{text}"),
            };
            self.subscribe(channel, events.clone());
            let answer = json!({ "event": event, "channel": channel, "data": "{}" });
            socket.send(Message::text(answer.to_string())).await.unwrap();
        }
    }

    fn subscribe(&self, channel: &str, subscriber: mpsc::Sender<String>) {
        self.channels.lock().unwrap().entry(channel.to_owned()).or_default().push(subscriber);
    }

    /// Answers requests; each second one is the last of its connection.
    async fn serve_back_end(self: Arc<Self>, mut stream: TcpStream) {
        let mut bytes = Vec::new();
        loop {
            let Some(body) = request(&mut stream, &mut bytes).await else { return };
            if self.status.is_none() {
                self.publish(&body).await;
            }
            let count = {
                let mut requests = self.requests.lock().unwrap();
                *requests += 1;
                *requests
            };
            let connection = if count.is_multiple_of(2) { "close" } else { "keep-alive" };
            let status = self.status.unwrap_or("200 OK");
            let answer = format!(
                "HTTP/1.1 {status}\r\nConnection: {connection}\r\nContent-Length: 2\r\n\r\n{{}}"
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
            if connection == "close" {
                return;
            }
        }
    }

    async fn publish(&self, body: &Value) {
        let channel = body["channels"][0].as_str().unwrap();
        let event = format!(
            r#"{{"event":{},"channel":"{channel}","data":{}}}"#,
            body["name"], body["data"]
        );
        let subscribers = self.channels.lock().unwrap().get(channel).cloned().unwrap_or_default();
        for subscriber in subscribers {
            // A subscriber that has left takes nothing.
            let _ = subscriber.send(event.clone()).await;
        }
    }
}

/// Reads the body of a request; `None` at the end of the connection.
async fn request(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<Value> {
    loop {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        if let Some(end) = end {
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
            assert!(head.starts_with("POST /apps/7/events?auth_key=k&auth_timestamp="), "{head}");
            let length = head.split_once("Content-Length: ").unwrap().1;
            let whole = end + 4 + length.lines().next().unwrap().parse::<usize>().unwrap();
            if whole <= bytes.len() {
                let body = serde_json::from_slice(&bytes[end + 4..whole]).unwrap();
                bytes.drain(..whole);
                return Some(body);
            }
        }
        if stream.read_buf(bytes).await.ok()? == 0 {
            return None;
        }
    }
}

/// Runs a mode against a server with this status, and returns what it wrote and its report.
async fn load(
    status: Option<&'static str>,
    mode: &'static str,
    flags: &'static [&'static str],
) -> (Output, Value) {
    let (sockets, requests) = Server::start(status).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.json");
    let mut bench = Command::new(env!("CARGO_BIN_EXE_bench"));
    bench
        .args([mode, &format!("ws://{sockets}"), "--http-url", &format!("http://{requests}")])
        .args(["--protocol", "pusher", "--pusher-app", "7:k:s", "--quiet"])
        .args(["--duration", "0.3"])
        .args(["--json".as_ref(), file.as_os_str()])
        .args(flags);
    let output = tokio::task::spawn_blocking(move || bench.output().unwrap()).await.unwrap();
    let report = fs::read(file).map(|json| serde_json::from_slice(&json).unwrap());
    (output, report.unwrap_or_default())
}

/// Asserts that a run is clean: every published event reached every subscriber once. Returns the
/// counts of messages.
async fn clean(mode: &'static str, flags: &'static [&'static str]) -> Value {
    let (output, report) = load(None, mode, flags).await;
    let text = String::from_utf8_lossy(&output.stdout);
    let trouble = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{mode} {flags:?}: {text}{trouble}");
    let messages = report["messages"].clone();
    assert_eq!(messages["foreign"], 0, "{mode} {flags:?}: {messages}");
    assert_eq!(messages["delivered"], messages["expected"], "{mode} {flags:?}: {messages}");
    messages
}

#[tokio::test]
async fn published_events_reach_every_subscriber() {
    for flags in [
        ["--strict", "--grace", "20", "--connections", "6", "--window", "1"].as_slice(),
        &["--strict", "--grace", "20", "--connections", "6", "--groups", "3", "--senders", "7"],
        &["--strict", "--grace", "20", "--connections", "6", "--window", "4", "--threads", "2"],
        &["--strict", "--grace", "20", "--connections", "6", "--channel-type", "private"],
        &["--strict", "--grace", "20", "--connections", "6", "--channel-type", "presence"],
        &["--strict", "--grace", "20", "--connections", "6", "--size", "3000"],
        &["--strict", "--grace", "20", "--connections", "6", "--generators", "2", "--senders", "3"],
    ] {
        let messages = clean("fanout", flags).await;
        let sent = messages["sent"].as_u64().unwrap();
        let subscribers = if flags.contains(&"--groups") { 2 } else { 6 };
        assert!(0 < sent, "{flags:?}");
        assert_eq!(messages["expected"], sent * subscribers, "{flags:?}");
    }
}

#[tokio::test]
async fn events_of_an_open_loop_are_published_when_they_are_due() {
    let flags: &[&str] =
        &["--grace", "20", "--connections", "3", "--rate", "200", "--senders", "2"];
    let messages = clean("fanout", flags).await;
    let due = messages["sent"].as_u64().unwrap() + messages["not_sent"].as_u64().unwrap();
    assert_eq!(due, 60, "200 a second for 0.3 s");
}

#[tokio::test]
async fn clients_that_come_and_go_receive_their_own_events() {
    let messages = clean("churn", &["--strict", "--grace", "20", "--connections", "3"]).await;
    assert!(3 < messages["sent"].as_u64().unwrap(), "{messages}");
    let shared: &[&str] = &["--strict", "--grace", "20", "--connections", "3", "--prepare"];
    assert!(3 < clean("churn", shared).await["sent"].as_u64().unwrap());
}

#[tokio::test]
async fn idle_clients_subscribe_if_they_are_prepared() {
    let messages = clean("idle", &["--connections", "5", "--prepare"]).await;
    assert_eq!(messages["connected"], 5);
}

#[tokio::test]
async fn refused_subscription_is_an_error() {
    // Each tenth channel of this server refuses.
    let flags: &[&str] = &["--connections", "10", "--groups", "10", "--channel-type", "presence"];
    let (output, _) = load(None, "fanout", flags).await;
    let trouble = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(trouble.contains("pusher:subscription_error"), "{trouble}");
}

#[tokio::test]
async fn refused_event_is_reported_with_its_status() {
    for flags in [["--grace", "0.1"].as_slice(), &["--grace", "0.1", "--rate", "20"]] {
        let (output, report) = load(Some("413 Too Large"), "fanout", flags).await;
        assert!(output.status.success());
        let messages = &report["messages"];
        assert!(messages["trouble"].as_str().unwrap().contains("status 413: {}"), "{messages}");
        assert_ne!(messages["broken"], 0);
        assert_eq!(messages["delivered"], 0);
    }
}
