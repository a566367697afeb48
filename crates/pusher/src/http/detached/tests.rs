//! Places and times of requests whose peers disconnect, or that never end.

use std::{future::pending, sync::Arc, time::Duration};

use axum::{
    http::{HeaderMap, header},
    response::IntoResponse as _,
};
use push_suite_worker::testing::TestCluster;
use service::settings::Current;
use tokio::{
    sync::{Semaphore, oneshot},
    time::sleep,
};

use super::*;
use crate::{
    app::tests::apps,
    http::{HttpApi, idempotency::Started, json},
};

fn execution() -> Execution {
    execution_of(&api(), &HeaderMap::new()).unwrap()
}

fn api() -> HttpApi {
    let apps = Current::fixed(apps(&["id = '1'\nkey = 'k'\nsecret = 's'"]).unwrap());
    let cluster = TestCluster::start();
    HttpApi::new(cluster.cluster().clone(), &"secret".into(), apps)
}

/// A request that is executed, or the answer that it has.
fn execution_of(api: &HttpApi, headers: &HeaderMap) -> Result<Execution, u16> {
    let apps = api.shared.apps.get();
    match Execution::start(api, apps.by_id("1").unwrap(), headers, &[]) {
        Ok(Started::Execute(execution)) => Ok(execution),
        Ok(Started::Replay(answer)) => Err(answer.status.as_u16()),
        Err(refused) => Err(refused.into_response().status().as_u16()),
    }
}

#[tokio::test(start_paused = true)]
async fn request_with_a_key_that_takes_too_long_is_finished_and_its_answer_remembered() {
    let places = Arc::new(Semaphore::new(1));
    let (api, mut headers) = (api(), HeaderMap::new());
    headers.insert("idempotency-key", "order-1".parse().unwrap());
    let work = async {
        sleep(REQUEST_TIME + Duration::from_secs(5)).await;
        Ok(json("{}"))
    };
    let place = Arc::clone(&places).try_acquire_owned().unwrap();
    let answer = to_its_end(place, execution_of(&api, &headers).unwrap(), work).await;
    assert_eq!(answer.err().unwrap().into_response().status().as_u16(), 503);
    assert_eq!((execution_of(&api, &headers).err(), places.available_permits()), (Some(409), 0));
    sleep(Duration::from_secs(6)).await;
    assert_eq!((execution_of(&api, &headers).err(), places.available_permits()), (Some(200), 1));
}

#[tokio::test(start_paused = true)]
async fn request_of_a_peer_that_disconnects_keeps_its_place_until_its_end() {
    let places = Arc::new(Semaphore::new(1));
    let place = Arc::clone(&places).try_acquire_owned().unwrap();
    let (end, ended) = oneshot::channel::<()>();
    let work = async {
        ended.await.unwrap();
        Ok(json("{}"))
    };
    let peer = tokio::spawn(to_its_end(place, execution(), work));
    sleep(Duration::from_millis(1)).await;
    peer.abort();
    assert!(peer.await.err().unwrap().is_cancelled());
    assert_eq!(places.available_permits(), 0);
    end.send(()).expect("the work goes on");
    sleep(Duration::from_millis(1)).await;
    assert_eq!(places.available_permits(), 1);
}

#[tokio::test(start_paused = true)]
async fn request_that_does_not_end_is_refused_in_time() {
    let places = Arc::new(Semaphore::new(1));
    let place = Arc::clone(&places).try_acquire_owned().unwrap();
    let answer = to_its_end(place, execution(), pending());
    let answer = timeout(REQUEST_TIME + Duration::from_secs(1), answer).await.expect("in time");
    let refused = answer.err().unwrap();
    assert_eq!(places.available_permits(), 1);
    let answer = refused.into_response();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()[header::RETRY_AFTER]),
        (503, &"1".parse().unwrap())
    );
}
