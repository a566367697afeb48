//! Idle clients that answer heartbeats, against a server that sends the next one only after an
//! answer.

#![expect(clippy::unwrap_used, reason = "a test that panics fails")]

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{accept_async, tungstenite::Message};

/// Sends another `ping` for each `pong`, and counts them.
async fn serve(stream: TcpStream, pongs: Arc<AtomicU64>) {
    let mut socket = accept_async(stream).await.unwrap();
    while socket.send(Message::text("ping")).await.is_ok() {
        let Some(Ok(Message::Text(text))) = socket.next().await else { return };
        assert_eq!(text.as_str(), "pong");
        pongs.fetch_add(1, Relaxed);
    }
}

#[tokio::test]
async fn idle_clients_answer_heartbeats() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let pongs = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&pongs);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, Arc::clone(&count)));
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.json");
    let mut bench = Command::new(env!("CARGO_BIN_EXE_bench"));
    bench
        .args(["idle", &url, "--answer", "pong", "--connections", "3", "--duration", "0.3"])
        .args(["--strict".as_ref(), "--json".as_ref(), file.as_os_str()]);
    let output = tokio::task::spawn_blocking(move || bench.output().unwrap()).await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    let report: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let messages = &report["messages"];
    assert!(3 < pongs.load(Relaxed), "each more than once: {messages}");
    assert!(3 < messages["answered"].as_u64().unwrap(), "{messages}");
    assert_eq!(messages["foreign"], 0);
    assert_eq!(report["unit"], "answer");
}
