//! Memory allocated in a burst is returned to the system afterwards.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use suite_tests::{Browser, Raw, Suite, eventually, process::Process};
use tokio::task::JoinSet;

/// Bytes that may be held some seconds after the last burst in addition to those before the first.
/// Some are in use: tables that have grown, and per-thread caches of the allocator.
const FACTOR: f64 = 3.0;

const CLIENTS: usize = 200;
const MESSAGE: usize = 60_000;
const MESSAGES: usize = 20;

/// Clients that stop in the middle of a message, and the bytes that they send of it.
const UNFINISHED: usize = 100;
const PART: usize = 700_000;

#[tokio::test]
async fn memory_of_gateway_and_worker_is_returned_after_bursts() {
    let suite = Suite::builder().gateways(1).workers(1).threads(2).logs("warn").start().await;
    let (gateway, worker) = (&suite.gateways[0], &suite.workers[0]);
    // Warm up: one-time allocations happen here.
    echo(&suite, 20, 100, 1).await;
    let before = [gateway.anonymous(), worker.anonymous()];
    for _ in 0..3 {
        echo(&suite, CLIENTS, MESSAGE, MESSAGES).await;
    }
    let mut unfinished = Vec::new();
    for _ in 0..UNFINISHED {
        unfinished.push(begin(&suite).await);
    }
    let part = (UNFINISHED * PART / 2) as f64;
    eventually("the gateway to hold the incomplete messages", async || {
        (part < gateway.anonymous() as f64).then_some(())
    })
    .await;
    drop(unfinished);
    comes_back(gateway, before[0]).await;
    comes_back(worker, before[1]).await;
}

async fn comes_back(process: &Process, before: usize) {
    let most = (before as f64 * FACTOR) as usize;
    let what = format!("{} to shrink to {most} bytes, {before} before", process.name);
    eventually(what, async || (process.anonymous() <= most).then_some(())).await;
}

/// Concurrent clients that each echo some messages and close.
async fn echo(suite: &Suite, clients: usize, size: usize, messages: usize) {
    let (addr, text) = (suite.gateways[0].clients, format!("e{}", "x".repeat(size)));
    let mut all = JoinSet::new();
    for _ in 0..clients {
        let text = text.clone();
        all.spawn(async move {
            let mut client = Browser::open(addr, "/").await;
            for _ in 0..messages {
                client.send(text.clone()).await;
                assert_eq!(client.receive_text().await.len(), text.len());
            }
            client.close().await;
        });
    }
    while let Some(done) = all.join_next().await {
        done.unwrap();
    }
}

/// A client that sends an incomplete message.
async fn begin(suite: &Suite) -> Raw {
    let mut client = Raw::websocket(suite.gateways[0].clients).await;
    let mut frame = vec![0x82, 0x80 | 127];
    frame.extend(1_000_000_u64.to_be_bytes());
    frame.extend([0; 4]);
    frame.resize(frame.len() + PART, 0);
    client.send(&frame).await;
    client
}
