//! Members of groups.

use axum::{Extension, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Answer, Segments, groups::readable};
use crate::{
    Caller,
    api::Api,
    name::Name,
    operation::Outcome,
    page::{Page, Paging, PagingParams},
};

/// A member of a group.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Present {
    /// Its id, such as that of a user.
    id: Name,
    /// The number of its clients.
    clients: u64,
    /// Its details, as its worker has them inserted into lists of members.
    detail: Name,
}

/// Lists the members of a group, ordered by id: clients that joined under the same id are one. A
/// group whose clients are no members has none. Scope `read`.
#[utoipa::path(
    get,
    path = "/v1/presence/{group}",
    params(
        ("group" = String, Path, description = "The group, percent-encoded"),
        PagingParams
    ),
    responses((status = 200, description = "A page", body = inline(Page<Present>)))
)]
pub(super) async fn list(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    segments: Segments,
) -> Answer {
    let group = readable(&caller, &segments)?.group()?;
    let mut query = segments.query()?;
    let paging = Paging::of(&mut query)?;
    query.end()?;
    // In the order of their ids.
    let members = api.cluster().presence(&group).await?;
    let page = paging.page(members.iter().map(|local| local.member.id().as_bytes()).collect());
    let present = |id: &&[u8]| {
        let at = members.binary_search_by(|local| local.member.id().as_bytes().cmp(id)).ok()?;
        let local = &members[at];
        Some(Present {
            id: Name(id.to_vec()),
            clients: local.clients.into(),
            detail: Name(local.member.detailed().to_vec()),
        })
    };
    let items = page.items.iter().filter_map(present).collect();
    Ok(Outcome::ok(&page.with(items)))
}
