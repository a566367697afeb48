//! `gw.message`: the answer has replies, commands, a new session, and possibly a close.

use push_suite_worker::{Client, Message};

use super::{JSON, Planned, UNAVAILABLE, Webhook, connect::content_type, request};
use crate::{
    answer::{self, Answered, Unreadable},
    bodies::{Content, Envelope},
    client_state::ClientState,
    engine::{Delivered, HookRequest},
    settings::Kind,
};

const KIND: &str = "gw.message";
const TEXT: &str = "text/plain; charset=utf-8";
const BINARY: &str = "application/octet-stream";

impl Webhook {
    /// Sends a message of a client, and does what the answer says.
    pub(super) async fn message(&self, client: &Client, message: Message) -> anyhow::Result<()> {
        let plan = self.plan();
        let port = client.listener_port();
        let mut state = ClientState::of(&client.encoded_session());
        if state.connected.is_none() && plan.first(Kind::Connect, port).is_some() {
            // Not a WebSocket, or connected before the settings had this webhook.
            if !self.connect(client, None).await? {
                return Ok(());
            }
            state = ClientState::of(&client.encoded_session());
        }
        let Some(planned) = plan.first(Kind::Message, port) else { return Ok(()) };
        let request = message_request(planned, client, &state, &message)?;
        let delivery = planned.hook.message_delivery();
        match self.deliver(client, planned, delivery, &request).await? {
            Delivered::Accepted(response) => {
                let kind = content_type(&response);
                match answer::message(response.status, kind, &response.body) {
                    Ok(answered) => self.apply(client, planned, state, answered).await?,
                    Err(error) => self.unreadable(planned, error),
                }
            }
            Delivered::TooLong(_) => self.unreadable(planned, Unreadable::TooLong),
            Delivered::GivenUp => {
                self.metrics.closed();
                client.close((UNAVAILABLE, "webhook unavailable")).await?;
            }
            // Counted by the engine.
            Delivered::Refused(_) | Delivered::Off | Delivered::Stopped => {}
        }
        Ok(())
    }

    async fn apply(
        &self,
        client: &Client,
        planned: &Planned,
        state: ClientState,
        Answered { session, reply, commands, close }: Answered,
    ) -> anyhow::Result<()> {
        if let Some(session) = session {
            let state = ClientState { session, ..state };
            client.set_session(&state.object()).await?;
        }
        for message in reply {
            client.send(message).await?;
        }
        self.execute(client, planned, commands).await?;
        if let Some(close) = close {
            client.close(close).await?;
        }
        Ok(())
    }
}

fn message_request(
    planned: &Planned,
    client: &Client,
    state: &ClientState,
    message: &Message,
) -> anyhow::Result<HookRequest> {
    if planned.hook.has_envelope() {
        let body = serde_json::to_vec(&Envelope {
            client: client.id().to_string(),
            uid: state.uid().map(str::to_owned),
            session: state.session.clone(),
            message: Content::of(message),
        })?;
        return Ok(request(planned, client, state, (KIND, JSON), body));
    }
    let content_type = if message.as_text().is_some() { TEXT } else { BINARY };
    Ok(request(planned, client, state, (KIND, content_type), message.body.clone()))
}
