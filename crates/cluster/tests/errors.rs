//! Why no gateway is linked: the error names the cause, and whether a retry makes sense.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use protocol::link::Refusal;
use push_suite_cluster::{Cluster, Config, Error};
use test_support::fakes::{FakeGateway, FakeRegister, SECRET, soon};

#[tokio::test]
async fn unreachable_register_is_named() {
    let register = FakeRegister::start().await;
    let address = register.address();
    drop(register);
    let cluster = Cluster::start(Config::new([&address], SECRET));
    let error = cluster.send_to_uid("alice", "x").await.unwrap_err();
    assert!(matches!(error, Error::NoRegister { .. }) && error.is_retryable(), "{error:?}");
    assert!(error.to_string().contains(&address), "{error}");
    let error = cluster.is_online(client(&address)).await.unwrap_err();
    assert!(matches!(error, Error::NoRegister { .. }), "not reported as offline: {error:?}");
}

#[tokio::test]
async fn register_that_closes_without_a_list_indicates_a_wrong_secret() {
    let register = FakeRegister::start().await;
    let cluster = Cluster::start(Config::new([register.address()], SECRET));
    drop(register.subscriber().await);
    let error = cluster.count().await.unwrap_err();
    assert!(matches!(error, Error::WrongSecret { .. }) && !error.is_retryable(), "{error:?}");
    assert!(error.to_string().contains(&register.address()), "{error}");
}

#[tokio::test]
async fn gateway_that_rejects_the_secret_is_named() {
    let (register, gateway) = (FakeRegister::start().await, FakeGateway::start().await);
    let cluster = Cluster::start(Config::new([register.address()], "another"));
    let _subscriber = register.serve(&[&gateway]).await;
    assert_eq!(gateway.accept().await.err(), Some(Refusal::Secret));
    soon(cluster.ready()).await;
    let error = cluster.send_to_uid("alice", "x").await.unwrap_err();
    assert!(matches!(error, Error::WrongSecret { .. }), "{error:?}");
    assert!(error.to_string().contains(&gateway.address()), "{error}");
}

#[tokio::test]
async fn cluster_without_gateways_is_no_failure_of_a_register() {
    let register = FakeRegister::start().await;
    let cluster = Cluster::start(Config::new([register.address()], SECRET));
    let subscriber = register.serve(&[]).await;
    soon(cluster.ready()).await;
    drop((subscriber, register));
    let error = cluster.send_to_uid("alice", "x").await.unwrap_err();
    assert!(matches!(error, Error::NoGateway) && error.is_retryable(), "{error:?}");
}

#[tokio::test]
async fn calls_fail_once_the_cluster_is_closed() {
    let (register, gateway) = (FakeRegister::start().await, FakeGateway::start().await);
    let guard = Cluster::start(Config::new([register.address()], SECRET));
    let _subscriber = register.serve(&[&gateway]).await;
    let _link = gateway.link().await;
    soon(guard.ready()).await;
    let cluster = guard.cluster().clone();
    drop(guard);
    soon(async {
        while cluster.send_to_uid("alice", "x").await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let client = gateway.client(1);
    for error in [
        cluster.send_to_uid("alice", "x").await.unwrap_err(),
        cluster.send_to_client(client, "x").await.unwrap_err(),
        cluster.is_online(client).await.unwrap_err(),
        cluster.count().await.unwrap_err(),
        cluster.flush().await.unwrap_err(),
    ] {
        assert!(matches!(error, Error::Closed) && !error.is_retryable(), "{error:?}");
    }
}

fn client(gateway: &str) -> push_suite_cluster::ClientId {
    push_suite_cluster::ClientId::new(gateway.parse().unwrap(), push_suite_cluster::ConnectionId(1))
}
