//! The HTTP API of the protocol: back ends publish events with it, and query channels and users.
//!
//! | I want to… | Look at |
//! |---|---|
//! | add an endpoint | `endpoint.rs` |
//! | change a limit of what is published | `publication.rs` |
//! | know what a signature covers | `request_signature.rs`, `query.rs` |
//! | change a status or the text of an error | `refused.rs` |

mod attributes;
mod body;
mod detached;
mod endpoint;
#[doc(hidden)]
pub mod fuzzed;
mod idempotency;
mod metrics;
mod publication;
mod publish;
mod queries;
mod query;
mod rate;
mod refused;
mod request_signature;
mod users;

use std::{collections::HashMap, fmt, sync::Arc, time::Instant};

use axum::{
    Router,
    body::Bytes,
    extract::{Request, State},
    http::{HeaderName, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
    routing::any,
};
use http_api::{limits::IDEMPOTENCY_TIME, replays::Replays};
use prometheus_client::registry::Registry;
use push_suite_cluster::{Cluster, Secret};
use runtime::{clock, sync::Mutex};
use service::settings::Current;
use tokio::sync::Semaphore;

use self::{
    body::Incoming,
    endpoint::{Endpoint, Target},
    idempotency::{Execution, Started},
    metrics::Metrics,
    query::Query,
    rate::AppRate,
    refused::Refused,
    request_signature::SignedRequest,
};
use crate::{App, Apps, SocketIds};

/// The HTTP API over a cluster. Cheap to clone.
#[derive(Clone)]
pub struct HttpApi {
    shared: Arc<Shared>,
}

struct Shared {
    cluster: Cluster,
    apps: Current<Apps>,
    socket_ids: SocketIds,
    metrics: Metrics,
    /// By the id of the app. Entries of removed apps are few, since an operator made each.
    rates: Mutex<HashMap<String, AppRate>>,
    places: Arc<Semaphore>,
    replays: Mutex<Replays>,
}

/// Requests at a time, of which each may have a body in memory.
const MOST_AT_ONCE: usize = 1024;

/// The most segments of a path in front of those of the API.
const MOST_SEGMENTS: usize = 8;

/// Answers that are remembered for requests with an `Idempotency-Key`, in number and bytes.
const MOST_REPLAYS: (usize, usize) = (10_000, 16 << 20);

impl HttpApi {
    /// The API on a cluster with this secret, for these apps.
    pub fn new(cluster: Cluster, secret: &Secret, apps: Current<Apps>) -> Self {
        let shared = Shared {
            cluster,
            apps,
            socket_ids: SocketIds::new(secret),
            metrics: Metrics::default(),
            rates: Mutex::default(),
            places: Arc::new(Semaphore::new(MOST_AT_ONCE)),
            replays: Mutex::new(Replays::new(IDEMPOTENCY_TIME, MOST_REPLAYS.0, MOST_REPLAYS.1)),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Registers the metrics. Their names have no prefix; pass a registry that has one.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.shared.metrics.register(registry);
    }
}

/// The routes of the API: `/apps/…`, `/users/…` and `/up`.
///
/// A proxy may leave a path of its own in front of these, of up to 8 segments: requests are
/// answered below it as well, whether their signature covers it or not.
pub fn routes(api: HttpApi) -> Router {
    let mut router = Router::new().route("/up", any(answer));
    let mut prefix = String::new();
    for segment in 0..=MOST_SEGMENTS {
        for first in ["apps", "users"] {
            router = router.route(&format!("{prefix}/{first}/{{*rest}}"), any(answer));
        }
        prefix.push_str(&format!("/{{prefix{segment}}}"));
    }
    router.with_state(api)
}

/// Answers any request. Errors are one line of plain text: SDKs show it.
async fn answer(State(api): State<HttpApi>, request: Request) -> Response {
    let began = clock::now();
    let (head, body) = request.into_parts();
    let mut body = Incoming::new(body);
    let (endpoint, answer) = api.answer(&head, &mut body).await;
    if answer.is_err() {
        // A peer that is still sending would not read the answer.
        body.discard().await;
    }
    let answer = answer.unwrap_or_else(IntoResponse::into_response);
    tracing::debug!(
        method = %head.method,
        path = head.uri.path(),
        status = answer.status().as_u16(),
        "request"
    );
    let took = clock::now() - began;
    api.shared.metrics.count(endpoint.as_ref(), &head.headers, answer.status(), took);
    answer
}

impl HttpApi {
    async fn answer(
        &self,
        head: &Parts,
        body: &mut Incoming,
    ) -> (Option<Endpoint>, Result<Response, Refused>) {
        let (app, endpoint) = match Target::parse(head.method.as_str(), head.uri.path()) {
            Ok(Target::Up) => return (None, Ok(json(r#"{"health":"OK"}"#).into_response())),
            Ok(Target::App(app, endpoint)) => (app, endpoint),
            Err(error) => return (None, Err(error.into())),
        };
        let answer = self.answer_for_app(head, body, app.as_deref(), &endpoint).await;
        (Some(endpoint), answer.map(IntoResponse::into_response))
    }

    async fn answer_for_app(
        &self,
        head: &Parts,
        body: &mut Incoming,
        id: Option<&str>,
        endpoint: &Endpoint,
    ) -> Result<Answer, Refused> {
        let query = Query::parse(head.uri.query().unwrap_or_default())?;
        let apps = self.shared.apps.get();
        let app = match (id, query.get("auth_key")) {
            (Some(id), _) => apps.by_id(id),
            (None, Some(key)) => apps.by_key(&key),
            (None, None) => None,
        };
        let app = app.ok_or(Refused::NoApp)?;
        // The signature covers the MD5 of the body, so that a request without a valid one costs
        // neither memory nor a token of the app's.
        let (method, path) = (head.method.as_str(), head.uri.path());
        let request = SignedRequest { method, path, query: &query };
        let signed = request.check(clock::unix_seconds(), app.keys())?;
        if !app.is_enabled() {
            return Err(Refused::Disabled);
        }
        self.take(app)?;
        let place =
            Arc::clone(&self.shared.places).try_acquire_owned().map_err(|_| Refused::Overloaded)?;
        let body = body.read(body_limit(app)).await?;
        signed.check_body(&body)?;
        let asked = Asked::of(&query);
        let head_parts = [method.as_bytes(), path.as_bytes()];
        let parts = [&head_parts[..], &asked.parts(), &[&body]].concat();
        let execution = match Execution::start(self, app, &head.headers, &parts)? {
            Started::Replay(answer) => return Ok(answer),
            Started::Execute(execution) => execution,
        };
        let (api, app, endpoint) = (self.clone(), Arc::clone(app), endpoint.clone());
        let work = async move { api.execute(&app, &endpoint, asked, &body).await };
        detached::to_its_end(place, execution, work).await
    }

    async fn execute(
        &self,
        app: &App,
        endpoint: &Endpoint,
        asked: Asked,
        body: &[u8],
    ) -> Result<Answer, Refused> {
        match endpoint {
            Endpoint::Events => self.publish_event(app, body).await,
            Endpoint::BatchEvents => self.publish_batch(app, body).await,
            Endpoint::ChannelEvents(name) => self.publish_in_channel(app, name, asked, body).await,
            Endpoint::Channels => self.list_channels(app, asked).await,
            Endpoint::Channel(name) => self.show_channel(app, name, asked).await,
            Endpoint::Users(name) => self.list_users(app, name).await,
            Endpoint::Terminate(user) => self.terminate(app, user).await,
            Endpoint::Connections => self.count_connections(app).await,
        }
    }

    /// Takes a token of an app's rate.
    fn take(&self, app: &App) -> Result<(), Refused> {
        let Some(rate) = app.http_requests_per_second() else { return Ok(()) };
        let taken = self.with_rate(app, |it, now| it.take(rate, now));
        taken.map_err(|wait| Refused::TooMany { rate, wait })
    }

    /// Takes the tokens of a batch beyond the one of its request: the next requests wait for them.
    fn take_more(&self, app: &App, tokens: usize) {
        if let Some(rate) = app.http_requests_per_second() {
            self.with_rate(app, |it, _| it.take_more(rate, tokens));
        }
    }

    fn with_rate<T>(&self, app: &App, act: impl FnOnce(&mut AppRate, Instant) -> T) -> T {
        let now = clock::now();
        let mut rates = self.shared.rates.lock();
        act(rates.entry(app.id().to_owned()).or_insert_with(|| AppRate::new(now)), now)
    }
}

/// The longest body: a full batch in which every byte is escaped, and its keys and names.
fn body_limit(app: &App) -> usize {
    publication::MAX_BATCH * app.max_event_size() * 2 + (64 << 10)
}

/// The parameters of a query that are not for its signature.
struct Asked {
    filter_by_prefix: String,
    info: String,
    name: Option<String>,
    socket_id: Option<String>,
}

impl Asked {
    fn of(query: &Query<'_>) -> Self {
        Self {
            filter_by_prefix: query.get("filter_by_prefix").unwrap_or_default(),
            info: query.get("info").unwrap_or_default(),
            name: query.get("name"),
            socket_id: query.get("socket_id"),
        }
    }

    /// All of them.
    fn parts(&self) -> [&[u8]; 4] {
        let Self { filter_by_prefix, info, name, socket_id } = self;
        let [name, socket_id] = [name, socket_id].map(|it| it.as_deref().unwrap_or_default());
        [filter_by_prefix, info, name, socket_id].map(str::as_bytes)
    }
}

/// An answer of JSON.
struct Answer {
    status: StatusCode,
    body: Bytes,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// 200 with JSON.
fn json(body: impl Into<Bytes>) -> Answer {
    Answer { status: StatusCode::OK, body: body.into(), headers: Vec::new() }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let Self { status, body, headers } = self;
        let kind = [(header::CONTENT_TYPE, "application/json")];
        let mut response = (status, kind, body).into_response();
        response.headers_mut().extend(headers);
        response
    }
}

impl fmt::Debug for HttpApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpApi").field("cluster", &self.shared.cluster).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
