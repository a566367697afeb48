//! Clients and their sessions.

use std::net::SocketAddr;

use axum::{Extension, body::Bytes, extract::State, http::StatusCode};
use push_suite_cluster::{ClientId, Error, Fields, Filter, Renewal, TokenError};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{Answer, Segments, execute};
use crate::{
    Caller, Operation, Scope,
    api::Api,
    body::json,
    failure::{Code, Failure},
    name::Name,
    operation::{
        BindUid, Close, Content, Outcome, RemoveSessionKeys, SetSession, SwapSession, UnbindUid,
    },
    page::{Page, Paging, PagingParams},
    query::Query,
    schema::ClientIdText,
};

/// A client. Fields that were not asked for are missing.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Client {
    /// Its id.
    #[schema(value_type = ClientIdText)]
    id: ClientId,
    /// Its uid, or null.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Name>)]
    uid: Option<Option<Name>>,
    /// Its groups, in the order of joining.
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<Vec<Name>>,
    /// Its session; null if that of a PHP worker cannot be read as JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Map<String, Value>>)]
    session: Option<Value>,
    /// When it has connected, in seconds since 1970, by the clock of its gateway. Of a single client
    /// only, as the other fields of its connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    connected_at: Option<u64>,
    /// Its address and port, as its gateway sees it or a trusted proxy states it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    remote: Option<SocketAddr>,
    /// Bytes that are queued for it: more than 0 while it reads too slowly.
    #[serde(skip_serializing_if = "Option::is_none")]
    queue_bytes: Option<u64>,
}

/// The fields of clients of a query: `uid` unless `fields` lists others.
pub(super) fn fields(query: &mut Query) -> Result<Fields, Failure> {
    let Some(list) = query.take("fields") else {
        return Ok(Fields { uid: true, ..Fields::default() });
    };
    let mut fields = Fields::default();
    for field in list.split(',').filter(|field| !field.is_empty()) {
        match field {
            "uid" => fields.uid = true,
            "groups" => fields.groups = true,
            "session" => fields.session = true,
            _ => {
                let message = "`fields` is a list of `uid`, `groups` and `session`";
                return Err(Failure::bad_request(message));
            }
        }
    }
    Ok(fields)
}

/// The fields of these clients, in their order; those that have disconnected are left out.
async fn rows(api: &Api, ids: &[ClientId], fields: Fields) -> Result<Vec<Client>, Failure> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let filter = Filter::Any { groups: vec![], uids: vec![], clients: ids.to_vec() };
    let mut rows = api.cluster().select(fields, filter).await?;
    rows.sort_unstable_by_key(|row| row.client.to_string());
    let session = |row: &push_suite_cluster::Row| {
        row.session.clone().unwrap_or_default().decode().map_or(Value::Null, Value::Object)
    };
    let client = |row: push_suite_cluster::Row| Client {
        id: row.client,
        uid: fields.uid.then(|| row.uid.as_ref().map(Name::from)),
        groups: fields.groups.then(|| row.groups.iter().map(Name::from).collect()),
        session: fields.session.then(|| session(&row)),
        connected_at: None,
        remote: None,
        queue_bytes: None,
    };
    Ok(rows.into_iter().map(client).collect())
}

/// A page of these clients.
pub(super) async fn page(
    api: &Api,
    ids: Vec<ClientId>,
    paging: &Paging,
    fields: Fields,
) -> Result<Page<Client>, Failure> {
    let texts = ids.iter().map(|id| id.to_string().into_bytes()).collect();
    let page = paging.page::<Vec<u8>>(texts);
    let id = |text: &Vec<u8>| String::from_utf8_lossy(text).parse().ok();
    let ids: Vec<ClientId> = page.items.iter().filter_map(id).collect();
    let items = rows(api, &ids, fields).await?;
    Ok(page.with(items))
}

/// Lists the clients, ordered by id. Scope `read`.
#[utoipa::path(
    get,
    path = "/v1/clients",
    params(
        PagingParams,
        ("fields" = Option<String>, Query, description = "List of `uid`, `groups`, `session`; `uid` by default")
    ),
    responses((status = 200, description = "A page", body = inline(Page<Client>)))
)]
pub(super) async fn list(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    segments: Segments,
) -> Answer {
    caller.require(Scope::Read)?;
    caller.every_group()?;
    let mut query = segments.query()?;
    let (paging, fields) = (Paging::of(&mut query)?, fields(&mut query)?);
    query.end()?;
    let ids = api.cluster().all_clients().await?;
    Ok(Outcome::ok(&page(&api, ids, &paging, fields).await?))
}

/// A client with its uid, groups, session and connection. Scope `read`.
#[utoipa::path(
    get,
    path = "/v1/clients/{client}",
    params(("client" = ClientIdText, Path, description = "The client")),
    responses((status = 200, description = "It is connected", body = Client))
)]
pub(super) async fn get(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    segments: Segments,
) -> Answer {
    caller.require(Scope::Read)?;
    caller.every_group()?;
    let client = segments.client(0)?;
    segments.no_query()?;
    let fields = Fields { uid: true, groups: true, session: true };
    let row = rows(&api, &[client], fields).await?.pop();
    // It may close between the two.
    let Some(row) = row else { return Err(Failure::client_not_found()) };
    let details = api.cluster().inspect_client(client).await?;
    let details = details.ok_or_else(Failure::client_not_found)?;
    Ok(Outcome::ok(&Client {
        connected_at: Some(details.connected_at / 1000),
        remote: Some(details.remote),
        queue_bytes: Some(details.queue_bytes),
        ..row
    }))
}

/// Closes a client behind what is queued for it. The body is its last message, if there is one.
/// Scope `manage`.
#[utoipa::path(
    delete,
    path = "/v1/clients/{client}",
    params(
        ("client" = ClientIdText, Path, description = "The client"),
        ("code" = Option<u16>, Query, description = "The close code: 1000, or 3000 to 4999"),
        ("reason" = Option<String>, Query, description = "The reason, at most 123 bytes"),
        ("now" = Option<bool>, Query, description = "Close at once, without what is queued")
    ),
    request_body = Option<Content>,
    responses((status = 204, description = "It is being closed"))
)]
pub(super) async fn close(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    segments: Segments,
    body: Bytes,
) -> Answer {
    let client = segments.client(0)?;
    let mut query = segments.query()?;
    let (code, reason) = (code(&mut query)?, query.take("reason"));
    let now = query.take_switch("now")?;
    query.end()?;
    let message = last_message(&body)?;
    let close = Close { client, code, reason, message, now };
    execute(&api, &caller, Operation::Close(close)).await
}

/// The close code of a query.
pub(super) fn code(query: &mut Query) -> Result<Option<u16>, Failure> {
    let Some(code) = query.take("code") else { return Ok(None) };
    let invalid = |_| Failure::bad_request("`code` must be 1000, or 3000 to 4999");
    code.parse().map(Some).map_err(invalid)
}

/// The body of a close, which may be empty.
pub(super) fn last_message(body: &Bytes) -> Result<Content, Failure> {
    if body.is_empty() {
        Ok(Content::default())
    } else {
        json::<Option<Content>>(body).map(Option::unwrap_or_default)
    }
}

/// The session of a client; `{}` if it has none. Scope `read`.
#[utoipa::path(
    get,
    path = "/v1/clients/{client}/session",
    params(("client" = ClientIdText, Path, description = "The client")),
    responses((status = 200, description = "The session", body = Map<String, Value>))
)]
pub(super) async fn session(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    segments: Segments,
) -> Answer {
    caller.require(Scope::Read)?;
    caller.every_group()?;
    let client = segments.client(0)?;
    segments.no_query()?;
    let Some(session) = api.cluster().session(client).await? else {
        return Err(Failure::client_not_found());
    };
    match session.decode() {
        Ok(session) => Ok(Outcome::ok(&session)),
        Err(error) => {
            let message = format!("the session cannot be read as JSON: {error}");
            Err(Failure::new(StatusCode::CONFLICT, Code::SessionUnreadable, message))
        }
    }
}

/// Replaces the session of a client. Scope `manage`.
#[utoipa::path(
    put,
    path = "/v1/clients/{client}/session",
    params(("client" = ClientIdText, Path, description = "The client")),
    request_body = Map<String, Value>,
    responses((status = 204, description = "Its gateway has the session"))
)]
pub(super) async fn set_session(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    segments: Segments,
    body: Bytes,
) -> Answer {
    segments.no_query()?;
    let set = SetSession { client: segments.client(0)?, session: json(&body)? };
    execute(&api, &caller, Operation::SetSession(set)).await
}

/// Merges the session of a client with an object: values replace those of their keys, objects are
/// merged. Scope `manage`.
#[utoipa::path(
    patch,
    path = "/v1/clients/{client}/session",
    params(("client" = ClientIdText, Path, description = "The client")),
    request_body = Map<String, Value>,
    responses((status = 204, description = "Its gateway has the changes"))
)]
pub(super) async fn update_session(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    segments: Segments,
    body: Bytes,
) -> Answer {
    segments.no_query()?;
    let set = SetSession { client: segments.client(0)?, session: json(&body)? };
    execute(&api, &caller, Operation::UpdateSession(set)).await
}

/// An expected and a new session.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Swap {
    /// The session as it was read; `{}` for none.
    expected: Map<String, Value>,
    /// The new session.
    session: Map<String, Value>,
}

/// Replaces the session of a client if it is the expected one, in one step: otherwise 409
/// `session_changed`, with the session in `details`. Scope `manage`.
#[utoipa::path(
    post,
    path = "/v1/clients/{client}/session",
    params(("client" = ClientIdText, Path, description = "The client")),
    request_body = Swap,
    responses((status = 204, description = "It is replaced"))
)]
pub(super) async fn swap_session(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    segments: Segments,
    body: Bytes,
) -> Answer {
    segments.no_query()?;
    let Swap { expected, session } = json(&body)?;
    let swap = SwapSession { client: segments.client(0)?, expected, session };
    execute(&api, &caller, Operation::SwapSession(swap)).await
}

/// Removes keys of the session of a client, each a parameter `key`. Scope `manage`.
#[utoipa::path(
    delete,
    path = "/v1/clients/{client}/session",
    params(
        ("client" = ClientIdText, Path, description = "The client"),
        ("key" = Vec<String>, Query, description = "A key; may be repeated")
    ),
    responses((status = 204, description = "Its gateway has the change"))
)]
pub(super) async fn remove_session_keys(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    segments: Segments,
) -> Answer {
    let client = segments.client(0)?;
    let mut query = segments.query()?;
    let keys = query.take_all("key");
    query.end()?;
    if keys.is_empty() {
        return Err(Failure::bad_request("name the keys to remove: `?key=a&key=b`"));
    }
    let remove = RemoveSessionKeys { client, keys };
    execute(&api, &caller, Operation::RemoveSessionKeys(remove)).await
}

/// Removes the uid of a client. Scope `manage`.
#[utoipa::path(
    delete,
    path = "/v1/clients/{client}/uid",
    params(("client" = ClientIdText, Path, description = "The client")),
    responses((status = 204, description = "It has no uid"))
)]
pub(super) async fn unbind(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    segments: Segments,
) -> Answer {
    segments.no_query()?;
    let unbind = UnbindUid { client: segments.client(0)?, uid: None };
    execute(&api, &caller, Operation::UnbindUid(unbind)).await
}

/// Binds a client to a uid, instead of its current one. Scope `manage`.
#[utoipa::path(
    put,
    path = "/v1/clients/{client}/uid/{uid}",
    params(
        ("client" = ClientIdText, Path, description = "The client"),
        ("uid" = String, Path, description = "The uid, percent-encoded")
    ),
    responses((status = 204, description = "It is bound"))
)]
pub(super) async fn bind_uid(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    segments: Segments,
) -> Answer {
    segments.no_query()?;
    let bind = BindUid { client: segments.client(0)?, uid: segments.name(2)? };
    execute(&api, &caller, Operation::BindUid(bind)).await
}

/// Removes the uid of a client if it is this one; otherwise 409 `uid_differs`. Scope `manage`.
#[utoipa::path(
    delete,
    path = "/v1/clients/{client}/uid/{uid}",
    params(
        ("client" = ClientIdText, Path, description = "The client"),
        ("uid" = String, Path, description = "The uid, percent-encoded")
    ),
    responses((status = 204, description = "It has no uid"))
)]
pub(super) async fn unbind_uid(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    segments: Segments,
) -> Answer {
    segments.no_query()?;
    let unbind = UnbindUid { client: segments.client(0)?, uid: Some(segments.name(2)?) };
    execute(&api, &caller, Operation::UnbindUid(unbind)).await
}

/// A new token of a client.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Token {
    /// The token, which the client has sent to its back end.
    token: String,
}

/// The result of a renewal.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Renewed {
    /// When the connection expires, in seconds since 1970; null for never.
    expires_at: Option<u64>,
}

/// Gives a client a new token (`--handshake-auth jwt`), with which its connection then expires.
/// Scope `manage`.
#[utoipa::path(
    put,
    path = "/v1/clients/{client}/token",
    params(("client" = ClientIdText, Path, description = "The client")),
    request_body = Token,
    responses((status = 200, description = "The token is valid", body = Renewed))
)]
pub(super) async fn renew(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    segments: Segments,
    body: Bytes,
) -> Answer {
    caller.require(Scope::Manage)?;
    caller.every_group()?;
    segments.no_query()?;
    let client = segments.client(0)?;
    // The error of the parser may contain the token.
    let Token { token } =
        json(&body).map_err(|_| Failure::bad_request("the body must be `{\"token\": \"…\"}`"))?;
    let refused = |reason: &str| {
        let message = format!("the token is not accepted: {reason}");
        let failure = Failure::new(StatusCode::CONFLICT, Code::TokenRefused, message);
        Err(failure.with("reason", reason))
    };
    match api.cluster().renew_token(client, token).await? {
        Renewal::Renewed { expires_at } => Ok(Outcome::ok(&Renewed { expires_at })),
        Renewal::NotConnected => Err(Error::Offline { client }.into()),
        Renewal::OtherUser => refused("other_user"),
        Renewal::WithoutToken => refused("without_token"),
        Renewal::Refused(TokenError::Expired) => refused("expired"),
        Renewal::Refused(TokenError::Revoked) => refused("revoked"),
        _ => refused("invalid"),
    }
}
