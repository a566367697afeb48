//! Groups and their members.

use axum::{Extension, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Answer, Segments,
    clients::{self, Client},
    execute,
    uids::{self, OnlineUid},
};
use crate::{
    Caller, Operation, Scope,
    api::Api,
    failure::Failure,
    name::Name,
    operation::{Applied, Membership, Outcome, Removed, UidMembership, Ungroup},
    page::{Page, Paging, PagingParams},
    schema::ClientIdText,
};

/// A group with members.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Occupied {
    /// The group.
    group: Name,
    /// The number of its members.
    clients: u64,
}

/// Lists the groups with members, ordered by their bytes; of a key with a prefix, those with it.
/// Scope `read`.
#[utoipa::path(
    get,
    path = "/v1/groups",
    params(
        PagingParams,
        ("prefix" = Option<String>, Query, description = "Only groups with this prefix")
    ),
    responses((status = 200, description = "A page", body = inline(Page<Occupied>)))
)]
pub(super) async fn list(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    segments: Segments,
) -> Answer {
    caller.require(Scope::Read)?;
    let mut query = segments.query()?;
    let (paging, prefix) = (Paging::of(&mut query)?, query.take("prefix").unwrap_or_default());
    query.end()?;
    let all = api.cluster().counts_by_group().await?;
    let own = caller.group_prefix().unwrap_or_default().as_bytes();
    let is_listed = |name: &[u8]| name.starts_with(prefix.as_bytes()) && name.starts_with(own);
    let mut counts: Vec<_> = all.iter().filter(|(group, _)| is_listed(group.as_bytes())).collect();
    counts.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    let page = paging.page(counts.iter().map(|(group, _)| group.as_bytes()).collect());
    let occupied = |name: &&[u8]| {
        let at = counts.binary_search_by(|(group, _)| group.as_bytes().cmp(name));
        let clients = at.map_or(0, |at| counts[at].1);
        Occupied { group: Name(name.to_vec()), clients }
    };
    let items = page.items.iter().map(occupied).collect();
    Ok(Outcome::ok(&page.with(items)))
}

/// The size of a group.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Size {
    /// The number of its members.
    clients: u64,
    /// The number of their different uids.
    uids: u64,
}

/// The group of a path, if the caller may name it.
pub(super) fn readable(caller: &Caller, segments: &Segments) -> Result<Name, Failure> {
    caller.require(Scope::Read)?;
    let group = segments.name(0)?;
    caller.group(&group)?;
    Ok(group)
}

/// The numbers of clients and uids of a group, which are 0 if it does not exist. Scope `read`.
#[utoipa::path(
    get,
    path = "/v1/groups/{group}",
    params(("group" = String, Path, description = "The group, percent-encoded")),
    responses((status = 200, description = "Its size", body = Size))
)]
pub(super) async fn get(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    segments: Segments,
) -> Answer {
    let group = readable(&caller, &segments)?.group()?;
    segments.no_query()?;
    let clients = api.cluster().group_count(&group).await?;
    let uids = api.cluster().group_uid_count(&group).await?;
    Ok(Outcome::ok(&Size { clients, uids }))
}

/// Removes every client from a group. Scope `manage`.
#[utoipa::path(
    delete,
    path = "/v1/groups/{group}",
    params(("group" = String, Path, description = "The group, percent-encoded")),
    responses((status = 200, description = "It is empty", body = Removed))
)]
pub(super) async fn ungroup(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    segments: Segments,
) -> Answer {
    segments.no_query()?;
    let ungroup = Ungroup { group: segments.name(0)? };
    execute(&api, &caller, Operation::Ungroup(ungroup)).await
}

/// Lists the members of a group, ordered by id. Scope `read`.
#[utoipa::path(
    get,
    path = "/v1/groups/{group}/clients",
    params(
        ("group" = String, Path, description = "The group, percent-encoded"),
        PagingParams,
        ("fields" = Option<String>, Query, description = "List of `uid`, `groups`, `session`; `uid` by default")
    ),
    responses((status = 200, description = "A page", body = inline(Page<Client>)))
)]
pub(super) async fn clients(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    segments: Segments,
) -> Answer {
    let group = readable(&caller, &segments)?.group()?;
    let mut query = segments.query()?;
    let (paging, fields) = (Paging::of(&mut query)?, clients::fields(&mut query)?);
    query.end()?;
    if fields.groups || fields.session {
        // Facts that are not of this group.
        caller.every_group()?;
    }
    let ids = api.cluster().clients_in_group(&group).await?;
    Ok(Outcome::ok(&clients::page(&api, ids, &paging, fields).await?))
}

/// Adds a client to a group. Scope `manage`.
#[utoipa::path(
    put,
    path = "/v1/groups/{group}/clients/{client}",
    params(
        ("group" = String, Path, description = "The group, percent-encoded"),
        ("client" = ClientIdText, Path, description = "The client")
    ),
    responses((status = 204, description = "It is a member"))
)]
pub(super) async fn join(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    segments: Segments,
) -> Answer {
    segments.no_query()?;
    let membership = Membership { group: segments.name(0)?, client: segments.client(2)? };
    execute(&api, &caller, Operation::Join(membership)).await
}

/// Removes a client from a group. Scope `manage`.
#[utoipa::path(
    delete,
    path = "/v1/groups/{group}/clients/{client}",
    params(
        ("group" = String, Path, description = "The group, percent-encoded"),
        ("client" = ClientIdText, Path, description = "The client")
    ),
    responses((status = 204, description = "It is not a member"))
)]
pub(super) async fn leave(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    segments: Segments,
) -> Answer {
    segments.no_query()?;
    let membership = Membership { group: segments.name(0)?, client: segments.client(2)? };
    execute(&api, &caller, Operation::Leave(membership)).await
}

/// Lists the uids of the members of a group, ordered by their bytes, each with the number of its
/// clients, in the group or not. Scope `read`.
#[utoipa::path(
    get,
    path = "/v1/groups/{group}/uids",
    params(
        ("group" = String, Path, description = "The group, percent-encoded"),
        PagingParams
    ),
    responses((status = 200, description = "A page", body = inline(Page<OnlineUid>)))
)]
pub(super) async fn uids(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    segments: Segments,
) -> Answer {
    let group = readable(&caller, &segments)?.group()?;
    let mut query = segments.query()?;
    let paging = Paging::of(&mut query)?;
    query.end()?;
    let all = api.cluster().uids_in_group(&group).await?;
    Ok(Outcome::ok(&uids::page(&api, all, &paging).await?))
}

/// Adds the clients of a uid to a group: those that it has now. Scope `manage`.
#[utoipa::path(
    put,
    path = "/v1/groups/{group}/uids/{uid}",
    params(
        ("group" = String, Path, description = "The group, percent-encoded"),
        ("uid" = String, Path, description = "The uid, percent-encoded")
    ),
    responses((status = 200, description = "They are members", body = Applied))
)]
pub(super) async fn join_uid(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    segments: Segments,
) -> Answer {
    segments.no_query()?;
    let membership = UidMembership { group: segments.name(0)?, uid: segments.name(2)? };
    execute(&api, &caller, Operation::JoinUid(membership)).await
}

/// Removes the clients of a uid from a group. Scope `manage`.
#[utoipa::path(
    delete,
    path = "/v1/groups/{group}/uids/{uid}",
    params(
        ("group" = String, Path, description = "The group, percent-encoded"),
        ("uid" = String, Path, description = "The uid, percent-encoded")
    ),
    responses((status = 200, description = "They are not members", body = Applied))
)]
pub(super) async fn leave_uid(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    segments: Segments,
) -> Answer {
    segments.no_query()?;
    let membership = UidMembership { group: segments.name(0)?, uid: segments.name(2)? };
    execute(&api, &caller, Operation::LeaveUid(membership)).await
}
