//! A gateway whose clients would open more files than it may.

use suite_tests::{Browser, Suite, eventually};
use tokio::{sync::mpsc, task::JoinSet};

/// How many files the gateway may have open: of these, 30 are for clients.
const DESCRIPTORS: u32 = 64;

/// How many clients there are in all.
const CLIENTS: usize = 60;

#[tokio::test]
async fn clients_without_end_keep_neither_a_worker_nor_a_health_check_out() {
    let suite = Suite::builder().gateways(1).workers(1).gateway_descriptors(DESCRIPTORS);
    let mut suite = suite.start().await;
    let addr = suite.gateways[0].clients;
    let (served, mut each_served) = mpsc::channel(CLIENTS);
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let served = served.clone();
        clients.spawn(async move {
            let mut client = Browser::open(addr, "/").await;
            client.echo("e").await;
            served.send(()).await.unwrap();
            client.ends().await;
        });
    }
    let pauses = "gateway_accept_pauses_total{reason=\"descriptors\"}";
    let gateway = &suite.gateways[0];
    // The page with the metrics is served all the while.
    eventually("clients to have all their descriptors", async || {
        (1.0 <= gateway.metric(pauses).await?).then_some(())
    })
    .await;
    suite.workers[0].start_again().await;
    let gateway = &suite.gateways[0];
    eventually("the worker to be linked", async || {
        let lacks = gateway.lacks().await?;
        lacks.is_empty().then_some(())
    })
    .await;
    // When it was ended, so were the connections of clients that had no other worker, if any.
    clients.abort_all();
    while clients.join_next().await.is_some() {}
    while each_served.try_recv().is_ok() {}
    let mut newcomer = Browser::open(addr, "/").await;
    newcomer.echo("e").await;
    assert!(!suite.gateways[0].log().contains("Too many open files"));
}

#[tokio::test]
async fn waiting_client_gets_in_when_another_leaves() {
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
                client.ends().await;
            })
        })
        .collect();
    // Each that is served leaves, so that in the end all of them were.
    for _ in 0..CLIENTS {
        let number = each_served.recv().await.unwrap();
        clients[number].abort();
    }
    clients.clear();
    assert!(!suite.gateways[0].log().contains("Too many open files"));
}
