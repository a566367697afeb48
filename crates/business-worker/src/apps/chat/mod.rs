//! `--app chat`: the chat that the built-in page, and the well-known workerman-chat page, speak to.

mod behaviour;
mod messages;
mod place;
mod text;

use business_worker::{Client, CloseReason, Message, Worker};

/// The chat. All it remembers is in its clients' sessions.
#[derive(Debug)]
pub(crate) struct Chat;

impl Worker for Chat {
    async fn on_message(&self, client: &Client, message: Message) -> anyhow::Result<()> {
        Ok(behaviour::on_message(client, messages::read(&message.body)).await?)
    }

    async fn on_close(&self, client: &Client, _reason: CloseReason) -> anyhow::Result<()> {
        Ok(behaviour::on_close(client).await?)
    }
}
