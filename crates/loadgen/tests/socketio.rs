//! Socket.IO, against a server with the parts of the protocol that the client uses.

#![expect(clippy::unwrap_used, reason = "a test that panics fails")]

use std::process::Command;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{accept_async, tungstenite::Message};

/// Opens a session, sends a ping, and echoes events.
async fn serve(stream: TcpStream) {
    let mut socket = accept_async(stream).await.unwrap();
    for packet in [r#"0{"sid":"a","pingInterval":25000}"#, "2"] {
        socket.send(Message::text(packet)).await.unwrap();
    }
    let mut alive = false;
    while let Some(Ok(message)) = socket.next().await {
        let Message::Text(text) = message else { continue };
        match text.as_str() {
            "40" => socket.send(Message::text(r#"40{"sid":"b"}"#)).await.unwrap(),
            "3" => alive = true,
            event => {
                assert!(alive && event.starts_with(r#"42["m","e"#), "{event}");
                socket.send(Message::text(event)).await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn events_are_echoed_and_accounted_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    let run = move |size: &'static str| {
        Command::new(env!("CARGO_BIN_EXE_bench"))
            .args(["echo", &url, "--protocol", "socketio", "--connections", "3"])
            .args(["--duration", "0.3", "--grace", "20", "--strict", "--size", size])
            .output()
            .unwrap()
    };
    for size in ["31", "5000"] {
        let run = run.clone();
        let output = tokio::task::spawn_blocking(move || run(size)).await.unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}");
        assert!(!text.contains(" 0 sent"), "{text}");
    }
}
