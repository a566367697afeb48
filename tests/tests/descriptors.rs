//! A gateway with more clients than its limit of open files allows.

use suite_tests::{Browser, Suite, eventually, with_timeout};
use tokio::{sync::mpsc, task::JoinSet};

/// Limit of open files of the gateway; 30 of these are for clients.
const DESCRIPTORS: u32 = 64;

/// Total number of clients.
const CLIENTS: usize = 60;

#[tokio::test]
async fn client_flood_does_not_lock_out_workers_or_health_checks() {
    let suite = Suite::builder().gateways(1).workers(1).gateway_descriptors(DESCRIPTORS);
    let mut suite = suite.start().await;
    let addr = suite.gateways[0].clients;
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(async move {
            let mut client = Browser::open(addr, "/").await;
            client.echo("e").await;
            client.closed().await;
        });
    }
    let pauses = "pushsuite_gateway_accept_pauses_total{reason=\"descriptors\"}";
    let gateway = &suite.gateways[0];
    // The metrics page is served all the time.
    eventually("clients to use all their descriptors", async || {
        (1.0 <= gateway.metric(pauses).await?).then_some(())
    })
    .await;
    suite.workers[0].restart().await;
    let gateway = &suite.gateways[0];
    eventually("the worker to be linked", async || {
        let reasons = gateway.unready_reasons().await?;
        reasons.is_empty().then_some(())
    })
    .await;
    // Its shutdown may have closed clients that had no other worker.
    clients.abort_all();
    while clients.join_next().await.is_some() {}
    let mut newcomer = Browser::open(addr, "/").await;
    newcomer.echo("e").await;
    assert!(!suite.gateways[0].log().contains("Too many open files"));
}

#[tokio::test]
async fn waiting_client_is_accepted_when_another_disconnects() {
    let suite = Suite::builder().gateways(1).workers(1).gateway_descriptors(DESCRIPTORS);
    let suite = suite.start().await;
    let gateway = &suite.gateways[0];
    let addr = gateway.clients;
    let (served, mut each_served) = mpsc::channel(CLIENTS);
    let mut clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let served = served.clone();
            tokio::spawn(async move {
                let mut client = Browser::open(addr, "/").await;
                client.echo("e").await;
                served.send(number).await.unwrap();
                client.closed().await;
            })
        })
        .collect();
    // Each client disconnects once it was served, so that all of them are served in the end.
    for _ in 0..CLIENTS {
        let number = with_timeout("a client to be served", each_served.recv()).await.unwrap();
        clients[number].abort();
    }
    clients.clear();
    assert!(!suite.gateways[0].log().contains("Too many open files"));
}
