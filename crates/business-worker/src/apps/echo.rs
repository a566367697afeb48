//! `--app echo`: every message goes back to its sender, text as text and binary as binary.

use push_suite_worker::{Client, Message, Worker};

/// Sends every message back to its sender.
#[derive(Debug)]
pub struct Echo;

impl Worker for Echo {
    async fn on_message(&self, client: &Client, message: Message) -> anyhow::Result<()> {
        client.send(message).await?;
        Ok(())
    }
}
