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
    let apps = Current::fixed(apps(&["id = '1'\nkey = 'k'\nsecret = 's'"]).unwrap());
    let cluster = TestCluster::start();
    let api = HttpApi::new(cluster.cluster().clone(), &"secret".into(), apps.clone());
    match Execution::start(&api, apps.get().by_id("1").unwrap(), &HeaderMap::new(), &[]) {
        Ok(Started::Execute(execution)) => execution,
        _ => panic!("a request without a key is executed"),
    }
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
