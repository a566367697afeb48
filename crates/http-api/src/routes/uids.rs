//! Uids and their clients.

use axum::{Extension, body::Bytes, extract::State};
use push_suite_cluster::{ClientId, Uid};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Answer, Segments,
    clients::{code, last_message},
    execute,
};
use crate::{
    Caller, Operation, Scope,
    api::Api,
    failure::Failure,
    limits::MAX_TARGETS,
    name::Name,
    operation::{CloseUid, Closed, Content, Outcome},
    page::{Page, Paging, PagingParams},
    schema::ClientIdText,
};

/// A uid with clients.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OnlineUid {
    /// The uid.
    uid: Name,
    /// The number of its clients.
    clients: u64,
}

/// Lists the uids with clients, ordered by their bytes. Scope `read`.
#[utoipa::path(
    get,
    path = "/v1/uids",
    params(PagingParams),
    responses((status = 200, description = "A page", body = inline(Page<OnlineUid>)))
)]
pub(super) async fn list(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    segments: Segments,
) -> Answer {
    caller.require(Scope::Read)?;
    caller.every_group()?;
    let mut query = segments.query()?;
    let paging = Paging::of(&mut query)?;
    query.end()?;
    let uids = api.cluster().all_uids().await?;
    Ok(Outcome::ok(&page(&api, uids, &paging).await?))
}

/// A page of these uids, with their numbers of clients in the whole cluster.
pub(super) async fn page(
    api: &Api,
    uids: Vec<Uid>,
    paging: &Paging,
) -> Result<Page<OnlineUid>, Failure> {
    let page = paging.page(uids.iter().map(|uid| uid.as_bytes()).collect());
    let counts = api.cluster().uid_client_counts(page.items.iter().copied()).await?;
    let items = page.items.iter().zip(counts);
    let items =
        items.map(|(uid, clients)| OnlineUid { uid: Name(uid.to_vec()), clients }).collect();
    Ok(page.with(items))
}

/// The clients of a uid.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UidClients {
    /// Whether it has any.
    online: bool,
    /// Their number.
    count: u64,
    /// Their ids in order, at most 1,000.
    #[schema(value_type = Vec<ClientIdText>)]
    clients: Vec<ClientId>,
}

/// Whether a uid is online, and its clients. Scope `read`.
#[utoipa::path(
    get,
    path = "/v1/uids/{uid}",
    params(("uid" = String, Path, description = "The uid, percent-encoded")),
    responses((status = 200, description = "Its clients, which may be none", body = UidClients))
)]
pub(super) async fn get(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    segments: Segments,
) -> Answer {
    caller.require(Scope::Read)?;
    caller.every_group()?;
    segments.no_query()?;
    let mut clients = api.cluster().clients_of_uid(segments.name(0)?.uid()?).await?;
    clients.sort_unstable_by_key(ToString::to_string);
    let count = clients.len() as u64;
    clients.truncate(MAX_TARGETS);
    Ok(Outcome::ok(&UidClients { online: count != 0, count, clients }))
}

/// Closes the clients of a uid behind what is queued for them. The body is the last message, if
/// there is one. Scope `manage`.
#[utoipa::path(
    delete,
    path = "/v1/uids/{uid}/clients",
    params(
        ("uid" = String, Path, description = "The uid, percent-encoded"),
        ("code" = Option<u16>, Query, description = "The close code: 1000, or 3000 to 4999"),
        ("reason" = Option<String>, Query, description = "The reason, at most 123 bytes"),
        ("except" = Option<Vec<String>>, Query, description = "A client that stays; may be repeated")
    ),
    request_body = Option<Content>,
    responses((status = 200, description = "They are being closed", body = Closed))
)]
pub(super) async fn close(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    segments: Segments,
    body: Bytes,
) -> Answer {
    let uid = segments.name(0)?;
    let mut query = segments.query()?;
    let (code, reason) = (code(&mut query)?, query.take("reason"));
    let except = query.take_all("except").iter().map(|id| id.parse()).collect::<Result<_, _>>();
    let except = except.map_err(|_| Failure::bad_request("`except` must be the id of a client"))?;
    query.end()?;
    let message = last_message(&body)?;
    let close = CloseUid { uid, code, reason, message, except };
    execute(&api, &caller, Operation::CloseUid(close)).await
}
