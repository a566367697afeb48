//! The places of requests whose callers disconnect, and requests that may be sent again.

use std::time::Duration;

use axum::{Router, middleware::from_fn_with_state, routing::post};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use push_suite_cluster::{Cluster, ClusterGuard, Config};
use service::{Health, settings::Current};
use tokio::{sync::Semaphore, time::timeout};

use super::*;
use crate::{Keys, limits::Limits};

/// Turns a hang into a failure.
const LONG: Duration = Duration::from_secs(15);

/// An API whose only path begins, and then waits for its end.
struct Scene {
    api: Api,
    router: Router,
    begun: Arc<Semaphore>,
    ends: Arc<Semaphore>,
    _cluster: ClusterGuard,
}

impl Scene {
    fn start(requests: usize) -> Self {
        let cluster = Cluster::start(Config::new(["127.0.0.1:1"], "secret"));
        let limits = Limits { requests, ..Limits::default() };
        let keys = Current::fixed(Keys::default());
        let api = Api::new(cluster.cluster().clone(), keys, true, Health::new(), limits);
        let (begun, ends) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let (begin, end) = (Arc::clone(&begun), Arc::clone(&ends));
        let slow = post(move || async move {
            begin.add_permits(1);
            end.acquire().await.unwrap().forget();
        });
        let router =
            Router::new().route("/slow", slow).layer(from_fn_with_state(api.clone(), enter));
        Self { api, router, begun, ends, _cluster: cluster }
    }

    /// A request. Dropping the future is what a closed connection does.
    fn request(&self, key: Option<&str>) -> impl Future<Output = Response> + use<> {
        let service = TowerToHyperService::new(self.router.clone());
        let request = Request::post("/slow");
        let request = match key {
            Some(key) => request.header(IDEMPOTENCY_KEY, key),
            None => request,
        };
        let request = request.body(Body::empty()).unwrap();
        async move { timeout(LONG, service.call(request)).await.unwrap().unwrap() }
    }

    async fn begun(&self) {
        timeout(LONG, self.begun.acquire()).await.unwrap().unwrap().forget();
    }

    async fn eventually_free(&self, places: usize) {
        let is_free = async || {
            while self.api.shared.places.available_permits() != places {
                tokio::task::yield_now().await;
            }
        };
        timeout(LONG, is_free()).await.expect("places are free again");
    }
}

async fn code_of(response: Response) -> (u16, Option<HeaderValue>, Value) {
    let (head, body) = response.into_parts();
    let body: Value = serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap();
    let retry = head.headers.get(header::RETRY_AFTER).cloned();
    (head.status.as_u16(), retry, body["error"]["code"].clone())
}

#[tokio::test]
async fn request_of_a_caller_that_disconnects_keeps_its_place_until_its_end() {
    let scene = Scene::start(2);
    for free in [1, 0] {
        let caller = tokio::spawn(scene.request(None));
        scene.begun().await;
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled());
        assert_eq!(scene.api.shared.places.available_permits(), free);
    }
    let refused = code_of(scene.request(None).await).await;
    assert_eq!(refused, (503, Some(HeaderValue::from_static("1")), "overloaded".into()));
    scene.ends.add_permits(2);
    scene.eventually_free(2).await;
    scene.ends.add_permits(1);
    assert_eq!(scene.request(None).await.status(), StatusCode::OK);
    assert_eq!(scene.api.shared.places.available_permits(), 2);
}

#[tokio::test]
async fn request_that_is_being_executed_may_be_sent_again_after_a_second() {
    let scene = Scene::start(2);
    let first = tokio::spawn(scene.request(Some("k")));
    scene.begun().await;
    let refused = code_of(scene.request(Some("k")).await).await;
    let code = "idempotency_in_progress".into();
    assert_eq!(refused, (409, Some(HeaderValue::from_static("1")), code));
    scene.ends.add_permits(1);
    assert_eq!(first.await.unwrap().status(), StatusCode::OK);
    let again = scene.request(Some("k")).await;
    assert_eq!(again.headers().get(IDEMPOTENT_REPLAYED).unwrap(), "true");
    assert_eq!(again.headers().get(header::RETRY_AFTER), None);
}
