//! `--app chat`: the chat server for the built-in page and the well-known workerman-chat page.

mod behaviour;
mod client;
mod messages;
mod text;

use push_suite_worker::{Client, CloseReason, Message, Worker};

/// The chat server. Its only state is in its clients' sessions.
#[derive(Debug)]
pub struct Chat;

impl Worker for Chat {
    async fn on_message(&self, client: &Client, message: Message) -> anyhow::Result<()> {
        Ok(behaviour::on_message(client, messages::read(&message.body)).await?)
    }

    async fn on_close(&self, client: &Client, _reason: CloseReason) -> anyhow::Result<()> {
        Ok(behaviour::on_close(client).await?)
    }
}
