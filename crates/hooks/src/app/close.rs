//! `gw.close`: one for each client that was accepted, or may have been.

use std::{future::pending, sync::Arc};

use anyhow::bail;
use bytes::Bytes;
use futures_util::future::join_all;
use push_suite_worker::{Client, CloseReason};
use tokio::time::sleep;

use super::{JSON, Planned, Webhook, connect::content_type, event, is_redelivered, request};
use crate::{
    answer::{self, Unreadable},
    bodies::{self, by},
    client_state::ClientState,
    engine::{Batching, Delivered},
    settings::Kind,
};

impl Webhook {
    /// Reports the close of a client to every webhook that receives closes, each for itself.
    pub(super) async fn close(&self, client: &Client, reason: CloseReason) -> anyhow::Result<()> {
        let plan = self.plan();
        let port = client.listener_port();
        let state = ClientState::of(&client.encoded_session());
        let is_announced = match &state.connected {
            Some(connected) => !connected.refused,
            // The session may not have been handed over before its gateway died.
            None if reason == CloseReason::GatewayLost => true,
            None => plan.first(Kind::Connect, port).is_none() && reason != CloseReason::Handshake,
        };
        if !is_announced {
            return Ok(());
        }
        let all = plan.all(Kind::Close, port);
        let reports = all.map(|planned| self.report_close(planned, client, &state, reason));
        join_all(reports).await.into_iter().collect()
    }

    async fn report_close(
        &self,
        planned: &Planned,
        client: &Client,
        state: &ClientState,
        reason: CloseReason,
    ) -> anyhow::Result<()> {
        // While a receiver is down, its closes must not fill the worker's window.
        let Ok(_waits) = planned.closes.try_acquire() else {
            self.metrics.dropped_close();
            return Ok(());
        };
        let info = client.close_info();
        let body = serde_json::to_vec(&bodies::Close {
            client: client.id().to_string(),
            uid: state.uid().map(str::to_owned),
            reason: reason.name(),
            by: by(reason),
            code: info.and_then(|info| info.code),
            text: info.map(|info| info.text.clone()).unwrap_or_default(),
            connected_ms: info.map(|info| info.connected_ms),
            session: state.session.clone(),
        })?;
        if let Some(batching) = &planned.batching {
            let event = event(client.delivery().to_string(), client, state, ("gw.close", JSON));
            return self.close_in_batch(client, planned, batching, event.structured(&body)).await;
        }
        let request = request(planned, client, state, ("gw.close", JSON), body);
        let delivery = planned.hook.delivery();
        match self.deliver(client, planned, delivery, &request).await? {
            Delivered::Accepted(response) => {
                match answer::close(content_type(&response), &response.body) {
                    Ok(commands) => self.execute(client, planned, commands).await?,
                    Err(error) => self.unreadable(planned, error),
                }
            }
            Delivered::TooLong(_) => self.unreadable(planned, Unreadable::TooLong),
            // Counted by the engine.
            Delivered::GivenUp | Delivered::Refused(_) | Delivered::Off | Delivered::Stopped => {}
        }
        Ok(())
    }

    /// Sends a close in a batch, and waits until that is answered or given up.
    async fn close_in_batch(
        &self,
        client: &Client,
        planned: &Planned,
        batching: &Arc<Batching>,
        event: Bytes,
    ) -> anyhow::Result<()> {
        let endpoint = planned.endpoint(planned.hook.delivery());
        // The engine counts what is dropped.
        let Ok(settled) = endpoint.deliver_in_batch(event, batching) else { return Ok(()) };
        // An attempt that is under way when the process stops has the time to be answered.
        let stopped = async {
            match is_redelivered(client) {
                true => self.stop.cancelled().await,
                false => pending().await,
            }
            sleep(planned.hook.delivery().timeout).await;
        };
        tokio::select! {
            biased;
            () = client.link_lost() => bail!("the link to the gateway is lost"),
            settled = settled => Ok(settled?),
            () = stopped => bail!("not answered before the process stops"),
        }
    }
}
