//! Numbers of the whole cluster, and probes.

use std::sync::Arc;

use axum::{Extension, body::Bytes, extract::State, http::header, response::IntoResponse};
use push_suite_cluster::ClientId;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{Answer, Segments};
use crate::{
    Caller, Scope,
    api::Api,
    body::json,
    failure::{Code, Failure},
    name::Name,
    operation::{Outcome, at_most},
    schema::ClientIdText,
};

/// Numbers of the cluster.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Counts {
    /// Connected clients, with pending handshakes.
    clients: u64,
    /// Their different uids.
    uids: u64,
}

/// The numbers of clients and uids. Scope `read`.
#[utoipa::path(
    get,
    path = "/v1/counts",
    responses((status = 200, description = "The numbers", body = Counts))
)]
pub(super) async fn counts(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    segments: Segments,
) -> Answer {
    caller.require(Scope::Read)?;
    caller.every_group()?;
    segments.no_query()?;
    let clients = api.cluster().count().await?;
    let uids = api.cluster().uid_count().await?;
    Ok(Outcome::ok(&Counts { clients, uids }))
}

/// Clients, uids and groups to look up.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// At most 1,000.
    #[serde(default)]
    #[schema(value_type = Vec<ClientIdText>, max_items = 1000)]
    clients: Vec<ClientId>,
    /// At most 1,000.
    #[serde(default)]
    #[schema(max_items = 1000)]
    uids: Vec<Name>,
    /// At most 1,000.
    #[serde(default)]
    #[schema(max_items = 1000)]
    groups: Vec<Name>,
}

/// The answers, each in the order of its list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Online {
    /// Whether the client is connected.
    clients: Vec<bool>,
    /// The number of clients of the uid.
    uids: Vec<u64>,
    /// The number of members of the group.
    groups: Vec<u64>,
}

/// Which of many clients, uids and groups are online, each answered in the order of its list. Scope
/// `read`.
#[utoipa::path(
    post,
    path = "/v1/online",
    request_body = Asked,
    responses((status = 200, description = "The answers", body = Online))
)]
pub(super) async fn online(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    segments: Segments,
    body: Bytes,
) -> Answer {
    caller.require(Scope::Read)?;
    segments.no_query()?;
    let Asked { clients, uids, groups } = json(&body)?;
    if !(clients.is_empty() && uids.is_empty()) {
        caller.every_group()?;
    }
    groups.iter().try_for_each(|group| caller.group(group))?;
    at_most(clients.len(), "clients")?;
    at_most(uids.len(), "uids")?;
    at_most(groups.len(), "groups")?;
    let uids = uids.iter().map(Name::uid).collect::<Result<Vec<_>, _>>()?;
    let groups = groups.iter().map(Name::group).collect::<Result<Vec<_>, _>>()?;
    let clients = api.cluster().are_online(&clients).await?;
    let uids = api.cluster().uid_client_counts(uids).await?;
    let counts = api.cluster().group_counts(groups.iter().cloned()).await?;
    // Groups that are listed twice are answered once.
    let count = |group| counts.iter().find(|(other, _)| other == group).map_or(0, |(_, it)| *it);
    let groups = groups.iter().map(count).collect();
    Ok(Outcome::ok(&Online { clients, uids, groups }))
}

/// The state of the process.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Status {
    /// `ok`.
    status: &'static str,
}

/// The process answers. Needs no key.
#[utoipa::path(
    get,
    path = "/v1/health",
    responses((status = 200, description = "Always", body = Status))
)]
pub(super) async fn health() -> Answer {
    Ok(Outcome::ok(&Status { status: "ok" }))
}

/// The process is linked to a register and a gateway, and is not shutting down. Needs no key.
#[utoipa::path(
    get,
    path = "/v1/ready",
    responses((status = 200, description = "Ready", body = Status))
)]
pub(super) async fn ready(State(api): State<Api>) -> Answer {
    match api.shared.health.is_ready() {
        true => Ok(Outcome::ok(&Status { status: "ok" })),
        false => {
            let reasons = api.shared.health.reasons().into_iter().map(Value::from);
            let failure = Failure::unavailable(Code::NoGateway, "not ready");
            Err(failure.with("reasons", reasons.collect::<Vec<_>>()))
        }
    }
}

/// The text of the document.
#[derive(Clone, Debug)]
pub(super) struct Document(pub(super) Arc<String>);

/// This document. Needs no key.
#[utoipa::path(
    get,
    path = "/v1/openapi.json",
    responses((status = 200, description = "OpenAPI 3.1", body = serde_json::Value))
)]
pub(super) async fn openapi(Extension(document): Extension<Document>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], document.0.to_string())
}
