//! A typed session: the gateway stores it for as long as the client is connected, and each worker
//! reads it from a local copy. PHP workers of the same cluster read and write it as `$_SESSION`.
//! Start a register and a gateway, then `cargo run --example session`.

use std::process::ExitCode;

use push_suite_worker::{Client, Message, Worker, anyhow, serde_json::json};
use serde::{Deserialize, Serialize};

struct Counter;

#[derive(Default, Serialize, Deserialize)]
struct Visit {
    messages: u32,
    /// Absent until the client has set it.
    nickname: Option<String>,
}

impl Worker for Counter {
    async fn on_message(&self, client: &Client, message: Message) -> anyhow::Result<()> {
        let visit = client.session::<Visit>()?.unwrap_or_default();
        // Changes the keys that it names and keeps the others.
        client.update_session(&json!({"messages": visit.messages + 1})).await?;
        match message.as_text().and_then(|text| text.split_once(' ')) {
            Some(("nick", name)) => client.update_session(&json!({"nickname": name})).await?,
            _ if message.as_text() == Some("forget") => {
                client.remove_from_session("nickname").await?;
            }
            _ => {}
        }
        // A change is visible at once, here and to the worker that handles the next event.
        Ok(client.send(Message::json(&client.session::<Visit>()?)?).await?)
    }
}

fn main() -> ExitCode {
    push_suite_worker::main(Counter)
}
