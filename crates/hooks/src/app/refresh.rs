//! `gw.refresh`: the connection of a client expires, and the answer renews it.

use std::time::Duration;

use push_suite_worker::{Client, Close};
use runtime::clock;

use super::{
    JSON, REFUSED, Webhook,
    connect::{content_type, shortened},
    request,
};
use crate::{
    answer::{self, Unreadable},
    bodies,
    client_state::ClientState,
    engine::{Delivered, Delivery},
    settings::Kind,
};

impl Webhook {
    /// Asks the receiver whether the connection of a client goes on. Without an answer it ends as
    /// if there were no webhook: its gateway closes the client, unless it sends a new token.
    pub(super) async fn refresh(&self, client: &Client, expires_at: u64) -> anyhow::Result<()> {
        let plan = self.plan();
        let Some(planned) = plan.first(Kind::Refresh, client.listener_port()) else {
            return Ok(());
        };
        let state = ClientState::of(&client.encoded_session());
        if state.connected.as_ref().is_some_and(|connected| connected.refused) {
            return Ok(());
        }
        let body = serde_json::to_vec(&bodies::Refresh {
            client: client.id().to_string(),
            uid: state.uid().map(str::to_owned),
            expires_at,
            session: state.session.clone(),
        })?;
        let request = request(planned, client, &state, ("gw.refresh", JSON), body);
        let own = planned.hook.delivery();
        // A later answer would not find the client.
        let left = expires_at.saturating_sub(clock::unix_seconds());
        let delivery = Delivery { retry: own.retry.min(Duration::from_secs(left)), ..own };
        match self.deliver(client, planned, delivery, &request).await? {
            Delivered::Accepted(response) => {
                match answer::refresh(content_type(&response), &response.body) {
                    Ok(None) => {}
                    Ok(renewed) => client.set_expiry(renewed).await?,
                    Err(error) => self.unreadable(planned, error),
                }
            }
            Delivered::Refused(response) => {
                let reason = answer::refusal(content_type(&response), &response.body);
                client.close(Close::new(REFUSED, shortened(&reason))?).await?;
            }
            Delivered::TooLong(_) => self.unreadable(planned, Unreadable::TooLong),
            // Counted by the engine.
            Delivered::GivenUp | Delivered::Off | Delivered::Stopped => {}
        }
        Ok(())
    }
}
