//! Work that one worker of the cluster does: workers agree on the first of them.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use push_suite_worker::{
    CancellationToken, Client, Cluster, Config, Message, Process, Starting, Worker, anyhow, serve,
};
use suite_tests::{Suite, eventually, with_timeout};
use tokio::{sync::mpsc, task::JoinHandle};

/// Reports its process when it starts.
struct Reporter(mpsc::Sender<Process>);

impl Worker for Reporter {
    async fn on_worker_start(&self, process: &Process) -> anyhow::Result<()> {
        Ok(self.0.send(process.clone()).await?)
    }

    async fn on_message(&self, _client: &Client, _message: Message) -> anyhow::Result<()> {
        Ok(())
    }
}

struct Running {
    cluster: Cluster,
    stop: CancellationToken,
    ended: JoinHandle<anyhow::Result<()>>,
}

async fn start(suite: &Suite, id: u32) -> Running {
    let registers = suite.register_addrs.iter().map(ToString::to_string);
    // Registers are asked for their reports several times in each peer timeout.
    let config = Config::new(registers, suite.secret())
        .name("test")
        .id(id)
        .peer_timeout(Duration::from_secs(6))
        .tls(suite.tls());
    let stop = CancellationToken::new();
    let starting = Starting::new(None, stop.clone(), Duration::from_secs(5));
    let (sender, mut started) = mpsc::channel(1);
    let ended = tokio::spawn(serve(Reporter(sender), config, starting));
    let process = with_timeout("a worker to start", started.recv()).await.unwrap();
    assert_eq!(
        (process.name(), process.id(), process.index()),
        ("test", &*id.to_string(), Some(id))
    );
    Running { cluster: process.cluster().clone(), stop, ended }
}

#[tokio::test]
async fn exactly_one_worker_is_the_first_and_another_follows_it() {
    let suite = Suite::builder().gateways(1).start().await;
    let mut workers = Vec::new();
    for id in 1..=3 {
        workers.push(start(&suite, id).await);
    }
    while !workers.is_empty() {
        let first = eventually("one worker to be the first", async || {
            let firsts = workers.iter().enumerate().filter(|(_, it)| it.cluster.is_first_worker());
            let firsts: Vec<_> = firsts.map(|(at, _)| at).collect();
            let [first] = firsts.as_slice() else { return None };
            let all_are_linked = workers.iter().all(|it| it.cluster.status().linked == 1);
            all_are_linked.then_some(*first)
        })
        .await;
        let Running { stop, ended, cluster } = workers.swap_remove(first);
        stop.cancel();
        with_timeout("a worker to stop", ended).await.unwrap().unwrap();
        assert_eq!(cluster.status().linked, 0);
    }
    assert!(!suite.cluster().await.is_first_worker(), "a back end is no worker");
}
