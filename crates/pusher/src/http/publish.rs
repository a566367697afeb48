//! Endpoints that publish. They answer once every reachable gateway has the event: from then on it
//! is not lost with this process.

use axum::http::StatusCode;
use protocol::Group;
use serde_json::{Map, Value, json};

use super::{
    Answer, Asked, HttpApi,
    attributes::Attributes,
    json as json_answer,
    publication::{self, Publication},
    queries::asked_by_publisher,
    refused::Refused,
};
use crate::{App, Channel, Triggered, trigger};

impl HttpApi {
    pub(super) async fn publish_event(&self, app: &App, body: &[u8]) -> Result<Answer, Refused> {
        let event = publication::event(body, app.max_event_size())?;
        self.publish(app, std::slice::from_ref(&event)).await?;
        if event.info.is_empty() {
            return Ok(json_answer("{}"));
        }
        let states = self.states(asked(app, &event)).await?.into_iter();
        let names = event.channels.iter().map(|channel| channel.name().to_owned());
        let channels: Map<String, Value> = names.zip(states.map(Value::Object)).collect();
        Ok(json_answer(json!({"channels": channels}).to_string()))
    }

    pub(super) async fn publish_batch(&self, app: &App, body: &[u8]) -> Result<Answer, Refused> {
        let events = publication::batch(body, app.max_event_size())?;
        self.take_more(app, events.len().saturating_sub(1));
        self.publish(app, &events).await?;
        if events.iter().all(|event| event.info.is_empty()) {
            return Ok(json_answer("{}"));
        }
        let asked = events.iter().flat_map(|event| asked(app, event)).collect();
        let states = self.states(asked).await?;
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

/// The channels of an event, each with what its publisher asks of it.
fn asked(app: &App, event: &Publication) -> Vec<(Group, Attributes)> {
    let channels = event.channels.iter();
    channels.map(|channel| asked_by_publisher(app, channel, event.info)).collect()
}
