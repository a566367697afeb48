//! A worker that aborts its own process on request of a client, like a crash in a C library.

use std::{process::ExitCode, time::Duration};

use push_suite_worker::{Client, CloseReason, Handshake, Message, Worker};

struct Crashing;

impl Worker for Crashing {
    async fn on_websocket_connect(
        &self,
        client: &Client,
        handshake: &Handshake,
    ) -> anyhow::Result<()> {
        if handshake.query() == "die" {
            std::process::abort();
        }
        if !handshake.query().is_empty() {
            client.bind_uid(handshake.query()).await?;
        }
        Ok(())
    }

    async fn on_message(&self, client: &Client, message: Message) -> anyhow::Result<()> {
        let text = message.as_text().unwrap_or_default().to_owned();
        let mut words = text.split(' ');
        let word = words.next().unwrap_or_default();
        if let "die-later" | "slow" = word {
            let millis = words.next().unwrap_or_default().parse()?;
            tokio::time::sleep(Duration::from_millis(millis)).await;
        }
        if let "die" | "die-later" = word {
            std::process::abort();
        }
        client.send(message).await?;
        Ok(())
    }

    async fn on_close(&self, client: &Client, reason: CloseReason) -> anyhow::Result<()> {
        let closed = format!("closed {} {reason:?}", client.id());
        client.cluster().send_to_uid("watcher", closed).await?;
        Ok(())
    }
}

fn main() -> ExitCode {
    push_suite_worker::main(Crashing)
}
