//! `--app webhook`: the events of clients as HTTP requests, and the answers as commands.
//!
//! An event is acknowledged to its gateway once its request is answered: a worker that dies leaves
//! it to another, which sends it again with the same id. So nothing is lost with a worker, and the
//! next message of a client is sent when the previous one is answered.

mod close;
mod commands;
mod connect;
mod message;
mod metrics;
mod occupancy;
mod plan;
mod refresh;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

use anyhow::bail;
use http_api::Failure;
use prometheus_client::registry::Registry;
use push_suite_worker::{
    CancellationToken, Client, CloseReason, Group, Handshake, Message, Notice, Process, UidNotice,
    Worker,
};
use runtime::{clock, rate_limit::Throttle, sync::Mutex};
use service::settings::Current;

use self::{
    metrics::Metrics,
    plan::{Plan, Planned},
};
use crate::{
    client_state::ClientState,
    cloudevents::{CloudEvent, SignedHead},
    engine::{Delivered, Delivery, Engine, HookRequest, QUEUE},
    settings::Hooks,
};

/// The close code of a client that `gw.connect` refuses, if its handshake was accepted before.
pub const REFUSED: u16 = 4403;

/// The close code of a client whose webhook does not answer.
pub const UNAVAILABLE: u16 = 4503;

/// The app. Its only state about clients is in their sessions.
#[derive(Debug)]
pub struct Webhook {
    hooks: Current<Hooks>,
    engine: Engine,
    stop: CancellationToken,
    /// The plan of the hooks read last.
    plan: Mutex<Option<(Arc<Hooks>, Arc<Plan>)>>,
    metrics: Metrics,
    warnings: Mutex<Throttle>,
}

impl Webhook {
    /// The app with the webhooks of the settings, which may be replaced while it runs. Once `stop`
    /// is cancelled, events that wait for their next attempt are left to other workers.
    ///
    /// Run it with at least one [handler retry](push_suite_worker::Config::handler_retries):
    /// otherwise such an event is lost. `registry` gets its metrics, without a prefix.
    pub fn new(hooks: Current<Hooks>, stop: CancellationToken, registry: &mut Registry) -> Self {
        let (engine, metrics) = (Engine::new(QUEUE), Metrics::default());
        engine.register_metrics(registry);
        metrics.register(registry);
        let (plan, warnings) = (Mutex::default(), Mutex::new(Throttle::per_second()));
        Self { hooks, engine, stop, plan, metrics, warnings }
    }

    /// The webhooks in effect.
    fn plan(&self) -> Arc<Plan> {
        let hooks = self.hooks.get();
        let mut current = self.plan.lock();
        if let Some((of, plan)) = &*current
            && Arc::ptr_eq(of, &hooks)
        {
            return Arc::clone(plan);
        }
        let plan = match Plan::new(&hooks, &self.engine) {
            Ok(plan) => Arc::new(plan),
            Err(error) => {
                // Its files were valid when the settings were read.
                tracing::error!(error = format!("{error:#}"), "invalid webhooks");
                current.as_ref().map(|(_, plan)| Arc::clone(plan)).unwrap_or_default()
            }
        };
        // The operator has read the settings again: a receiver that was switched off may be back.
        self.engine.switch_on();
        *current = Some((hooks, Arc::clone(&plan)));
        plan
    }

    /// Delivers a request for an event.
    ///
    /// # Errors
    /// When the event is left to another worker.
    async fn deliver(
        &self,
        client: &Client,
        planned: &Planned,
        delivery: Delivery,
        request: &HookRequest,
    ) -> anyhow::Result<Delivered> {
        let endpoint = planned.endpoint(delivery);
        let stop = match is_redelivered(client) {
            true => &self.stop,
            false => &CancellationToken::new(),
        };
        let delivered = tokio::select! {
            biased;
            // The gateway has the event redelivered, and this worker must not send it later.
            () = client.link_lost() => bail!("the link to the gateway is lost"),
            delivered = endpoint.deliver(request, stop) => delivered,
        };
        match delivered {
            Delivered::Stopped => bail!("not answered before the process stops"),
            delivered => Ok(delivered),
        }
    }

    /// Counts a command that failed, and logs one of them a second.
    fn command_failed(&self, planned: &Planned, failure: &Failure) {
        self.metrics.command_failed();
        let admitted = self.warnings.lock().admit(clock::now());
        if let Some(suppressed) = admitted {
            let (url, code, error) = (planned.hook.target().url, failure.code, &failure.message);
            tracing::warn!(%url, ?code, error, suppressed, "a command of a webhook failed");
        }
    }

    /// Counts an answer that cannot be read, and logs one of them a second.
    fn unreadable(&self, planned: &Planned, error: impl fmt::Display) {
        self.metrics.unreadable();
        let admitted = self.warnings.lock().admit(clock::now());
        if let Some(suppressed) = admitted {
            let url = planned.hook.target().url;
            tracing::warn!(%url, %error, suppressed, "the answer of a webhook is invalid");
        }
    }
}

impl Worker for Webhook {
    async fn on_websocket_connect(
        &self,
        client: &Client,
        handshake: &Handshake,
    ) -> anyhow::Result<()> {
        self.connect(client, Some(handshake)).await?;
        Ok(())
    }

    async fn on_message(&self, client: &Client, message: Message) -> anyhow::Result<()> {
        self.message(client, message).await
    }

    async fn on_close(&self, client: &Client, reason: CloseReason) -> anyhow::Result<()> {
        self.close(client, reason).await
    }

    async fn on_expiring(&self, client: &Client, expires_at: u64) -> anyhow::Result<()> {
        self.refresh(client, expires_at).await
    }

    fn watched_groups(&self) -> Vec<Group> {
        self.hooks.get().groups()
    }

    async fn on_presence(&self, notice: &Notice) -> anyhow::Result<()> {
        self.report_occupancy(notice).await;
        Ok(())
    }

    fn watches_uids(&self) -> bool {
        self.hooks.get().watches_uids()
    }

    async fn on_uid(&self, notice: &UidNotice) -> anyhow::Result<()> {
        self.report_uid(notice).await;
        Ok(())
    }

    async fn on_worker_stop(&self, _process: &Process) -> anyhow::Result<()> {
        self.engine.flush().await;
        Ok(())
    }
}

/// An event of a client, as a request.
fn request(
    planned: &Planned,
    client: &Client,
    state: &ClientState,
    (kind, content_type): (&'static str, &'static str),
    body: impl Into<bytes::Bytes>,
) -> HookRequest {
    request_as(client.delivery().to_string(), (planned, client, state), (kind, content_type), body)
}

/// The same with another id.
fn request_as(
    id: String,
    (planned, client, state): (&Planned, &Client, &ClientState),
    (kind, content_type): (&'static str, &'static str),
    body: impl Into<bytes::Bytes>,
) -> HookRequest {
    let event = event(id, client, state, (kind, content_type));
    let origin = planned.hook.origin().map(str::to_owned);
    let head = SignedHead { event, secrets: Arc::clone(&planned.secrets), origin };
    HookRequest::new(head, body)
}

/// Whether the event is redelivered if it is not acknowledged: the close of a client of a dead
/// gateway is not.
fn is_redelivered(client: &Client) -> bool {
    client.delivery().number != u64::MAX
}

/// The attributes of an event of a client.
fn event(
    id: String,
    client: &Client,
    state: &ClientState,
    (kind, content_type): (&'static str, &'static str),
) -> CloudEvent {
    let session = (!state.session.is_empty()).then(|| serde_json::to_vec(&state.session));
    CloudEvent {
        id,
        kind,
        source: format!("/gateways/{}", client.gateway()),
        subject: client.id().to_string().into_bytes(),
        unix_seconds: clock::unix_seconds(),
        number: client.delivery().number,
        uid: state.uid().map(|uid| uid.as_bytes().to_vec()),
        session: session.and_then(Result::ok),
        content_type,
    }
}

/// The content type of events with a body in JSON.
const JSON: &str = "application/json";
