//! Endpoints that publish. They answer once every reachable gateway has the event: from then on it
//! is not lost with this process.

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::{
    Answer, Asked, HttpApi, json as json_answer,
    publication::{self, Publication},
    queries::asked_by_publisher,
    refused::Refused,
};
use crate::{App, CACHED_FOR, Channel, Triggered, trigger};

impl HttpApi {
    pub(super) async fn publish_event(&self, app: &App, body: &[u8]) -> Result<Answer, Refused> {
        let event = publication::event(body, app.max_event_size())?;
        let events = std::slice::from_ref(&event);
        let states = self.states_before(app, events).await?.into_iter();
        self.publish(app, events).await?;
        if event.info.is_empty() {
            return Ok(json_answer("{}"));
        }
        let names = event.channels.iter().map(|channel| channel.name().to_owned());
        let channels: Map<String, Value> = names.zip(states.map(Value::Object)).collect();
        Ok(json_answer(json!({"channels": channels}).to_string()))
    }

    pub(super) async fn publish_batch(&self, app: &App, body: &[u8]) -> Result<Answer, Refused> {
        let events = publication::batch(body, app.max_event_size())?;
        self.take_more(app, events.len().saturating_sub(1));
        let states = self.states_before(app, &events).await?;
        self.publish(app, &events).await?;
        if events.iter().all(|event| event.info.is_empty()) {
            return Ok(json_answer("{}"));
        }
        Ok(json_answer(json!({"batch": states}).to_string()))
    }

    /// Deprecated: the body is the data, and its sender expects 202.
    pub(super) async fn publish_in_channel(
        &self,
        app: &App,
        name: &str,
        asked: Asked,
        body: &[u8],
    ) -> Result<Answer, Refused> {
        let channel = Channel::parse(name)?;
        let Asked { name, socket_id, .. } = asked;
        let event = publication::in_channel(channel, name, socket_id, body, app.max_event_size())?;
        self.publish(app, &[event]).await?;
        Ok(Answer { status: StatusCode::ACCEPTED, ..json_answer("{}") })
    }

    /// The attributes of each channel of each event that the answer has; none if no event asks for
    /// any. They are queried before anything is published: a query that fails refuses the request,
    /// and its sender may repeat it without publishing twice.
    async fn states_before(
        &self,
        app: &App,
        events: &[Publication],
    ) -> Result<Vec<Map<String, Value>>, Refused> {
        if events.iter().all(|event| event.info.is_empty()) {
            return Ok(Vec::new());
        }
        let channels =
            || events.iter().flat_map(|event| event.channels.iter().map(move |it| (event, it)));
        let asked = channels().map(|(event, it)| asked_by_publisher(app, it, event.info));
        let mut states = self.states(asked.collect()).await?;
        for (state, (event, channel)) in states.iter_mut().zip(channels()) {
            let is_last = |later: &&Publication| later.channels.contains(channel);
            if event.info.cache
                && channel.is_cached()
                && let Some(last) = events.iter().rfind(is_last)
            {
                let ttl = CACHED_FOR.as_secs();
                state.insert("cache".to_owned(), json!({"data": last.data, "ttl": ttl}));
            }
        }
        Ok(states)
    }

    /// Publishes in order, and waits for the gateways.
    async fn publish(&self, app: &App, events: &[Publication]) -> Result<(), Refused> {
        let shared = &self.shared;
        for event in events {
            let exclude = event.exclude.as_ref().and_then(|id| shared.socket_ids.decode(id));
            let triggered = Triggered { name: &event.name, data: &event.data };
            trigger(&shared.cluster, app, &event.channels, triggered, exclude).await?;
            shared.metrics.published(event.channels.len());
        }
        let unreachable = shared.cluster.flush_linked().await?;
        if !unreachable.is_empty() {
            tracing::debug!(?unreachable, "published without an answer of some gateways");
        }
        Ok(())
    }
}
