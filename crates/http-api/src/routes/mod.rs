//! The paths of the API. Each module has those of one subject, with their documentation, which is
//! also the OpenAPI document.

mod clients;
mod groups;
mod presence;
mod segments;
mod send;
mod status;
mod uids;

use std::sync::Arc;

use axum::{Extension, Router, middleware};
use utoipa::{
    OpenApi, ToSchema as _,
    openapi::{
        OpenApi as Document, Ref, ResponseBuilder,
        content::ContentBuilder,
        security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};
use utoipa_axum::{router::OpenApiRouter, routes};

use self::segments::Segments;
use crate::{
    Caller,
    api::Api,
    enter::enter,
    failure::{ErrorBody, Failure},
};

/// The OpenAPI document, as `/v1/openapi.json` has it.
#[must_use]
pub fn document() -> Document {
    paths().1
}

/// The paths of the API, each with authentication, limits and errors. The router has no fallback, so
/// that others can be merged with it.
pub fn routes(api: Api) -> Router {
    let (router, document) = paths();
    let document = status::Document(Arc::new(document.to_json().unwrap_or_default()));
    router
        .layer(Extension(document))
        .layer(middleware::from_fn_with_state(api.clone(), enter))
        .with_state(api)
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "push-suite push API",
        version = "1",
        description = "Sends, queries and changes of a cluster of gateways, for back ends. Ids in \
                       paths are percent-encoded and may have any bytes.",
        license(name = "MIT", identifier = "MIT")
    ),
    components(schemas(ErrorBody))
)]
struct Head;

fn paths() -> (Router<Api>, Document) {
    let mut head = Head::openapi();
    head.servers = None;
    let router = OpenApiRouter::with_openapi(head)
        .routes(routes!(send::send))
        .routes(routes!(send::batch))
        .routes(routes!(send::revoke))
        .routes(routes!(clients::list))
        .routes(routes!(clients::get, clients::close))
        .routes(routes!(
            clients::session,
            clients::set_session,
            clients::update_session,
            clients::swap_session,
            clients::remove_session_keys
        ))
        .routes(routes!(clients::unbind))
        .routes(routes!(clients::bind_uid, clients::unbind_uid))
        .routes(routes!(clients::renew))
        .routes(routes!(uids::list))
        .routes(routes!(uids::get))
        .routes(routes!(uids::close))
        .routes(routes!(groups::list))
        .routes(routes!(groups::get, groups::ungroup))
        .routes(routes!(groups::clients))
        .routes(routes!(groups::join, groups::leave))
        .routes(routes!(groups::uids))
        .routes(routes!(groups::join_uid, groups::leave_uid))
        .routes(routes!(presence::list))
        .routes(routes!(status::counts))
        .routes(routes!(status::online))
        .routes(routes!(status::health))
        .routes(routes!(status::ready))
        .routes(routes!(status::openapi));
    let (router, mut document) = router.split_for_parts();
    describe_errors(&mut document);
    (router, document)
}

/// The errors that every path has, with the key that it needs.
fn describe_errors(document: &mut Document) {
    let key = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    let components = document.components.get_or_insert_default();
    components.add_security_scheme("key", SecurityScheme::Http(key));
    let error = || {
        let body = Ref::from_schema_name(ErrorBody::name());
        ContentBuilder::new().schema(Some(body)).build()
    };
    for (path, item) in &mut document.paths.paths {
        let is_open = matches!(path.as_str(), "/v1/health" | "/v1/openapi.json");
        let is_probe = path == "/v1/ready";
        let operations =
            [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch];
        for operation in operations.into_iter().flatten() {
            if is_open {
                continue;
            }
            let mut errors = vec![(503, "No gateway, or one concerned, answers; or overloaded")];
            if !is_probe {
                let requirement = SecurityRequirement::new::<_, [&str; 0], &str>("key", []);
                operation.security = Some(vec![requirement]);
                errors.extend([
                    (400, "The path, the query or the body is invalid"),
                    (401, "No key, or an unknown one"),
                    (403, "The key has not the scope, or not for this group"),
                    (404, "The client is not connected, or there is no such path"),
                    (408, "The body did not arrive in time"),
                    (409, "Not in this state"),
                    (413, "The body, or a list in it, is too long"),
                    (415, "The body is not JSON"),
                    (422, "The Idempotency-Key was used for another request"),
                    (500, "A gateway has sent an answer that does not match"),
                ]);
            }
            for (status, text) in errors {
                let response = ResponseBuilder::new().description(text);
                let response = response.content("application/json", error()).build();
                let responses = &mut operation.responses.responses;
                responses.entry(status.to_string()).or_insert_with(|| response.into());
            }
        }
    }
}

/// The answer to a request.
type Answer = Result<crate::operation::Outcome, Failure>;

/// Executes a command for a caller.
async fn execute(api: &Api, caller: &Caller, command: crate::Operation) -> Answer {
    command.check(caller)?;
    let outcome = command.apply(api.cluster()).await?;
    send::count(api, &outcome);
    Ok(outcome)
}

#[cfg(test)]
mod tests;
