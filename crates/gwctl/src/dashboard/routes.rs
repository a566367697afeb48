//! The requests of the page.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, RawQuery, Request, State},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use percent_encoding::percent_decode_str;
use runtime::sync::Mutex;
use serde_json::{Value, json};

use super::{
    client::{self, Closing},
    files,
    samples::{Sample, Samples},
    token::Token,
};
use crate::session::Session;

/// Most bytes of a request's body.
const MAX_BODY: usize = 4096;

/// The state that all requests share.
#[derive(Clone, Debug)]
pub(super) struct Shared(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    session: Session,
    registers: usize,
    token: Token,
    read_only: bool,
    samples: Mutex<Samples>,
    state: Mutex<Result<Value, String>>,
}

impl Shared {
    pub(super) fn new(session: Session, registers: usize, token: Token, read_only: bool) -> Self {
        let state = Mutex::new(Err("the cluster has not answered yet".to_owned()));
        let samples = Mutex::default();
        Self(Arc::new(Inner { session, registers, token, read_only, samples, state }))
    }

    pub(super) fn session(&self) -> &Session {
        &self.0.session
    }

    /// The number of registers in the settings.
    pub(super) fn registers(&self) -> usize {
        self.0.registers
    }

    pub(super) fn push(&self, sample: Sample) {
        self.0.samples.lock().push(sample);
    }

    /// Sets the state of the cluster, or the reason for which it is not known.
    pub(super) fn set_state(&self, state: Result<Value, String>) {
        *self.0.state.lock() = state;
    }
}

/// The page, and its requests below `/api/`.
pub(super) fn router(shared: Shared) -> Router {
    let api = Router::new()
        .route("/status", get(status))
        .route("/samples", get(samples))
        .route("/clients", get(clients))
        .route("/clients/{id}", get(one_client))
        .route("/clients/{id}/close", post(close_client))
        .fallback(async || answer(StatusCode::NOT_FOUND, &json!({ "error": "no such request" })))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn_with_state(shared.clone(), with_token))
        .with_state(shared);
    Router::new().nest("/api", api).fallback(get(files::file))
}

/// Refuses requests without the token.
async fn with_token(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let value = request.headers().get(header::AUTHORIZATION);
    match shared.0.token.is_in(value.and_then(|value| value.to_str().ok())) {
        true => next.run(request).await,
        false => answer(StatusCode::UNAUTHORIZED, &json!({ "error": "the token is wrong" })),
    }
}

async fn status(State(shared): State<Shared>) -> Response {
    match &*shared.0.state.lock() {
        Ok(state) => answer(StatusCode::OK, state),
        Err(reason) => answer(StatusCode::SERVICE_UNAVAILABLE, &json!({ "error": reason })),
    }
}

async fn samples(State(shared): State<Shared>, RawQuery(query): RawQuery) -> Response {
    let after = parameters(query).get("after").and_then(|after| after.parse().ok()).unwrap_or(0);
    let since = shared.0.samples.lock().since(after);
    answer(StatusCode::OK, &serde_json::to_value(since).unwrap_or_default())
}

async fn clients(State(shared): State<Shared>, RawQuery(query): RawQuery) -> Response {
    result(client::search(shared.session(), &parameters(query)).await)
}

async fn one_client(State(shared): State<Shared>, Path(id): Path<String>) -> Response {
    result(client::one(shared.session(), &id).await)
}

async fn close_client(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    body: Bytes,
) -> Response {
    if shared.0.read_only {
        let error = json!({ "error": "this dashboard was started with --read-only" });
        return answer(StatusCode::FORBIDDEN, &error);
    }
    match serde_json::from_slice::<Closing>(&body) {
        Ok(closing) => result(client::close(shared.session(), &id, &closing).await),
        Err(error) => result(Err(error.to_string())),
    }
}

/// The parameters of a query, decoded as forms are.
fn parameters(query: Option<String>) -> HashMap<String, String> {
    let decoded =
        |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    let query = query.unwrap_or_default();
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (decoded(name), decoded(value))).collect()
}

fn result(result: Result<Value, String>) -> Response {
    match result {
        Ok(value) => answer(StatusCode::OK, &value),
        Err(error) => answer(StatusCode::BAD_REQUEST, &json!({ "error": error })),
    }
}

fn answer(status: StatusCode, value: &Value) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (status, headers, value.to_string()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_as_forms_are() {
        let found = parameters(Some("uid=%E5%B0%8F+a%2Bb&x=&y&limit=5".to_owned()));
        assert_eq!(found["uid"], "小 a+b");
        assert_eq!((found["x"].as_str(), found["limit"].as_str()), ("", "5"));
        assert_eq!(found.len(), 3);
        assert!(parameters(None).is_empty());
    }
}
