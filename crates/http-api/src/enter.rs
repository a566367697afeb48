//! The way of each request: its id, the key, the body, and the answer in its final form.

use std::sync::{Arc, atomic::Ordering};

use aws_lc_rs::digest;
use axum::{
    body::{Body, Bytes},
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http_body_util::BodyExt as _;
use runtime::{clock, random, supervise};
use serde_json::Value;
use tokio::time::timeout;

use crate::{
    Caller,
    api::Api,
    body::{check_type, read_body},
    failure::{Code, Failure},
    limits::{MAX_BODY, MAX_IDEMPOTENCY_KEY, REQUEST_TIME},
    metrics,
    operation::Outcome,
    replays::{Begin, Remembered, ReplayKey},
};

/// Paths that need no key.
const OPEN: [&str; 3] = ["/v1/health", "/v1/ready", "/v1/openapi.json"];

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const IDEMPOTENCY_SCOPE: HeaderName = HeaderName::from_static("idempotency-scope");
const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// The middleware of every path of the API.
pub(crate) async fn enter(State(api): State<Api>, request: Request, next: Next) -> Response {
    let start = clock::now();
    let (parts, body) = request.into_parts();
    let id = request_id(&parts.headers);
    let method = name_of(&parts.method);
    let path = parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str).to_owned();
    let (mut caller, api) = (String::new(), &api);
    let answered = answer(api, parts, body, next, &mut caller).await;
    let response = finished(answered.unwrap_or_else(IntoResponse::into_response), &id);

    let (status, took) = (response.status().as_u16(), clock::now() - start);
    tracing::debug!(request = id, caller, method, path, status, ?took, "request");
    let metrics = &api.shared.metrics;
    metrics.took.record(took);
    metrics.requests.get_or_create(&metrics::Request { method, path, status }).inc();
    response
}

/// Checks and executes a request.
async fn answer(
    api: &Api,
    mut parts: Parts,
    body: Body,
    next: Next,
    name: &mut String,
) -> Result<Response, Failure> {
    if OPEN.contains(&parts.uri.path()) {
        return Ok(next.run(Request::from_parts(parts, Body::empty())).await);
    }
    let caller = authenticated(api, &parts.headers)?;
    name.clone_from(&caller.name);
    let place = Arc::clone(&api.shared.places).try_acquire_owned().map_err(|_| {
        Failure::unavailable(Code::Overloaded, "too many requests are being executed")
            .with("limit", api.shared.limits.requests)
    })?;
    let bytes = read_body(body, MAX_BODY, api.shared.limits.body_time).await?;
    if !bytes.is_empty() {
        check_type(&parts.headers)?;
    }
    parts.extensions.insert(caller);
    let running = Running::begin(api);
    if matches!(parts.method, Method::GET | Method::HEAD) {
        return within(next.run(Request::from_parts(parts, Body::from(bytes)))).await;
    }
    let remembering = Remembering::begin(api, &parts, &bytes, name)?;
    let remembering = match remembering {
        Started::Replay(answer) => return Ok(replayed(api, answer)),
        Started::Execute(remembering) => remembering,
    };
    // Executed to its end, also when the caller closes the connection; its place is taken until then.
    let request = Request::from_parts(parts, Body::from(bytes));
    let executing = supervise::to_its_end(async move {
        let (_running, _place) = (running, place);
        let answer = within(next.run(request)).await;
        match remembering {
            Some(remembering) => remembering.end(answer).await,
            None => answer,
        }
    });
    executing.await
}

async fn within(answer: impl Future<Output = Response>) -> Result<Response, Failure> {
    timeout(REQUEST_TIME, answer).await.map_err(|_| {
        let message = "it took too long, and may have taken effect on some gateways";
        Failure::unavailable(Code::Timeout, message).with("limit", REQUEST_TIME.as_secs())
    })
}

fn authenticated(api: &Api, headers: &HeaderMap) -> Result<Caller, Failure> {
    let keys = api.shared.keys.get();
    if !keys.is_empty() {
        // Where keys were required, a file without them must not let everybody in.
        api.shared.is_insecure.store(false, Ordering::Relaxed);
    } else if api.shared.is_insecure.load(Ordering::Relaxed) {
        return Ok(Caller::unrestricted());
    }
    let text = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    let key = text.and_then(|text| {
        let (scheme, key) = text.split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then(|| key.trim_ascii())
    });
    let message = match key {
        None => "send a key as `Authorization: Bearer KEY`",
        Some(key) => match keys.find(key) {
            Some(caller) => return Ok(caller.clone()),
            None => "the key is unknown",
        },
    };
    Err(Failure::new(StatusCode::UNAUTHORIZED, Code::Unauthorized, message))
}

/// The id that the caller has chosen, if it can be logged, or a new one.
fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
    let is_plain =
        |id: &&str| (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    match given.filter(is_plain) {
        Some(id) => id.to_owned(),
        None => format!("{:016x}", random::random::<u64>()),
    }
}

fn name_of(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// A request that is being executed, in the metrics.
struct Running(Api);

impl Running {
    fn begin(api: &Api) -> Self {
        api.shared.metrics.running.inc();
        Self(api.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.shared.metrics.running.dec();
    }
}

/// A request whose answer is to be remembered. Dropped without one, it is forgotten.
struct Remembering {
    api: Api,
    key: ReplayKey,
    is_ended: bool,
}

enum Started {
    Execute(Option<Remembering>),
    Replay(Remembered),
}

impl Remembering {
    fn begin(api: &Api, parts: &Parts, body: &Bytes, caller: &str) -> Result<Started, Failure> {
        let Some(key) = parts.headers.get(IDEMPOTENCY_KEY) else {
            return Ok(Started::Execute(None));
        };
        let key = key.to_str().unwrap_or_default();
        if key.is_empty() || MAX_IDEMPOTENCY_KEY < key.len() {
            let message = format!(
                "`Idempotency-Key` must have 1 to {MAX_IDEMPOTENCY_KEY} printable ASCII characters"
            );
            return Err(Failure::bad_request(message).with("limit", MAX_IDEMPOTENCY_KEY));
        }
        let key = ReplayKey { caller: caller.to_owned(), key: key.to_owned() };
        let mut hash = digest::Context::new(&digest::SHA256);
        let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
        for part in [parts.method.as_str().as_bytes(), target.as_bytes(), body] {
            hash.update(&(part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let fingerprint = hash.finish().as_ref().try_into().unwrap_or_default();
        let begun = api.shared.replays.lock().begin(clock::now(), &key, fingerprint);
        match begun {
            Begin::Execute => {
                Ok(Started::Execute(Some(Self { api: api.clone(), key, is_ended: false })))
            }
            Begin::Replay(answer) => Ok(Started::Replay(answer)),
            Begin::InProgress => {
                let message = "a request with this `Idempotency-Key` is being executed";
                let status = StatusCode::CONFLICT;
                let failure = Failure::new(status, Code::IdempotencyInProgress, message);
                Err(Failure { is_retryable: true, ..failure })
            }
            Begin::Mismatch => {
                let message = "the `Idempotency-Key` was used for another request";
                let status = StatusCode::UNPROCESSABLE_ENTITY;
                Err(Failure::new(status, Code::IdempotencyMismatch, message))
            }
        }
    }

    /// Remembers an answer, unless another attempt may get another one.
    async fn end(mut self, answer: Result<Response, Failure>) -> Result<Response, Failure> {
        let (mut parts, body) = answer?.into_parts();
        let failure = parts.extensions.get::<Failure>();
        if failure.is_some_and(|failure| failure.is_retryable) {
            return Ok(Response::from_parts(parts, body));
        }
        let body = match failure {
            Some(failure) => Bytes::from(failure.body(None).to_string()),
            None => body.collect().await.map(|body| body.to_bytes()).unwrap_or_default(),
        };
        let answer = Remembered { status: parts.status.as_u16(), body: body.clone() };
        self.finish(Some(answer));
        parts.headers.insert(IDEMPOTENCY_SCOPE, HeaderValue::from_static("node"));
        Ok(Response::from_parts(parts, Body::from(body)))
    }

    fn finish(&mut self, answer: Option<Remembered>) {
        let mut replays = self.api.shared.replays.lock();
        replays.finish(clock::now(), &self.key, answer);
        self.api.shared.metrics.remembered.set(replays.len() as i64);
        self.is_ended = true;
    }
}

impl Drop for Remembering {
    fn drop(&mut self) {
        if !self.is_ended {
            self.finish(None);
        }
    }
}

fn replayed(api: &Api, Remembered { status, body }: Remembered) -> Response {
    api.shared.metrics.replayed.inc();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, JSON);
    headers.insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
    headers.insert(IDEMPOTENCY_SCOPE, HeaderValue::from_static("node"));
    response
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The final form: errors get their body, and every answer the id of its request.
fn finished(mut response: Response, id: &str) -> Response {
    let is_unknown_method = response.status() == StatusCode::METHOD_NOT_ALLOWED
        && response.extensions().get::<Failure>().is_none();
    if is_unknown_method {
        let message = "the path has no such method; see the header `Allow`";
        let status = StatusCode::METHOD_NOT_ALLOWED;
        let failure = Failure::new(status, Code::MethodNotAllowed, message);
        response.extensions_mut().insert(failure);
    }
    if let Some(failure) = response.extensions_mut().remove::<Failure>() {
        *response.body_mut() = Body::from(failure.body(Some(id)).to_string());
        let headers = response.headers_mut();
        headers.remove(header::CONTENT_LENGTH);
        headers.insert(header::CONTENT_TYPE, JSON);
        if failure.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if failure.is_retryable {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
    }
    if let Ok(id) = HeaderValue::from_str(id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl IntoResponse for Failure {
    /// The middleware of the API writes the body, since it knows the id of the request.
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl IntoResponse for Outcome {
    fn into_response(self) -> Response {
        match self.body {
            Value::Null => self.status.into_response(),
            body => {
                let body = Body::from(body.to_string());
                (self.status, [(header::CONTENT_TYPE, JSON)], body).into_response()
            }
        }
    }
}

/// The answer to a path that no part of the listener has.
pub async fn not_found() -> Response {
    let message = "no such path; `/v1/openapi.json` lists all";
    let failure = Failure::new(StatusCode::NOT_FOUND, Code::NotFound, message);
    let id = format!("{:016x}", random::random::<u64>());
    finished(failure.into_response(), &id)
}

#[cfg(test)]
mod tests;
