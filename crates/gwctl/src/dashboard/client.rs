//! Requests about clients: a search, one client, and its close.

use std::collections::HashMap;

use push_suite_cluster::{ClientFilter, ClientId, Close, Group, HistoryFilter, PageStart, Uid};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    commands::{clients::Client, events},
    failure::advice,
    output::Gap,
    session::Session,
};

/// Most clients in one answer.
const MOST: u32 = 200;

/// A page of the clients that match the parameters of a request: `uid`, `group`, `ip`, `id`, `worker`,
/// `queued`; `limit`, and `from`, the `next` of the page before.
///
/// # Errors
/// When a parameter is invalid, or no gateway is known.
pub(super) async fn search(
    session: &Session,
    parameters: &HashMap<String, String>,
) -> Result<Value, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let given = |name: &str| parameters.get(name).filter(|value| !value.is_empty());
    let mut filter = ClientFilter::default();
    if let Some(id) = given("id") {
        let id: ClientId = id.parse().map_err(|error| text(&error))?;
        filter.clients = Some(vec![id]);
    }
    if let Some(uid) = given("uid") {
        filter.uid = Some(Uid::new(uid.as_bytes()).map_err(|error| text(&error))?);
    }
    if let Some(group) = given("group") {
        filter.group = Some(Group::new(group.as_bytes()).map_err(|error| text(&error))?);
    }
    if let Some(ip) = given("ip") {
        filter.ip = Some(ip.parse().map_err(|error| text(&error))?);
    }
    filter.worker = given("worker").cloned();
    if let Some(queued) = given("queued") {
        filter.queued = Some(queued.parse().map_err(|error| text(&error))?);
    }
    let limit = given("limit").map_or(Ok(50), |limit| limit.parse::<u32>());
    let limit = limit.map_err(|error| text(&error))?.clamp(1, MOST);
    let from = given("from").map(|from| from.parse::<PageStart>()).transpose();
    let from = from.map_err(|error| text(&error))?;
    let page = session.cluster().inspect(&filter, limit, from).await;
    let page = page.map_err(|error| text(&error))?;
    let gaps = page.unanswered.into_iter().map(|(gateway, error)| Gap {
        gateway,
        problem: error.to_string(),
        next: advice(&error).unwrap_or_default(),
    });
    Ok(json!({
        "clients": page.clients.iter().map(Client::of).collect::<Vec<_>>(),
        "next": page.next.map(|next| next.to_string()),
        "unanswered": gaps.collect::<Vec<_>>(),
    }))
}

/// Most lifecycle events of one client.
const EVENTS: u32 = 200;

/// A client: its details and its session, null if it is not connected; and what has happened to it.
///
/// # Errors
/// When the id is invalid, or its gateway does not answer.
pub(super) async fn one(session: &Session, id: &str) -> Result<Value, String> {
    let client: ClientId = id.parse().map_err(|error| format!("{error}"))?;
    let cluster = session.cluster();
    let filter = ClientFilter { clients: Some(vec![client]), ..ClientFilter::default() };
    let page = cluster.inspect(&filter, 1, None).await.map_err(|error| error.to_string())?;
    if let Some((_, error)) = page.unanswered.first() {
        return Err(error.to_string());
    }
    let data = cluster.session(client).await.map_err(|error| error.to_string())?;
    let filter = HistoryFilter { client: Some(client), limit: EVENTS, ..HistoryFilter::default() };
    let history = cluster.history(&filter).await.map_err(|error| error.to_string())?;
    let decoded = data.map(|session| match session.decode() {
        Ok(object) => Value::Object(object),
        Err(error) => Value::String(error.to_string()),
    });
    Ok(json!({
        "client": page.clients.first().map(Client::of),
        "session": decoded,
        "events": history.events.iter().map(events::json).collect::<Vec<_>>(),
    }))
}

/// The close of a client, as the page asks for it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Closing {
    code: u16,
    reason: String,
}

/// Closes a client. Returns the report.
///
/// # Errors
/// When the id, the code or the reason is invalid, or its gateway does not answer.
pub(super) async fn close(session: &Session, id: &str, closing: &Closing) -> Result<Value, String> {
    let client: ClientId = id.parse().map_err(|error| format!("{error}"))?;
    let close = Close::new(closing.code, &closing.reason).map_err(|error| error.to_string())?;
    let report = session.cluster().close_client(client, close).report().await;
    let report = report.map_err(|error| error.to_string())?;
    Ok(json!({ "matched": report.matched, "reached": report.reached }))
}
