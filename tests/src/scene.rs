//! Two gateways, two clients of each, and a back end.

use protocol::ClientId;
use push_suite_cluster::{ClusterGuard, Recipients};

use crate::{Browser, Peer, Suite};

/// Two gateways with two clients each, and a back end. Clients are in connection order, alternating
/// between the gateways.
#[derive(Debug)]
pub struct Scene {
    /// The back end.
    pub cluster: ClusterGuard,
    /// The clients.
    pub browsers: [Browser; 4],
    /// Their ids.
    pub ids: [ClientId; 4],
    /// The processes.
    pub suite: Suite,
}

impl Scene {
    /// Starts them.
    ///
    /// # Panics
    /// When a process does not start.
    pub async fn start(threads: usize) -> Self {
        Self::with_workers(threads).await.0
    }

    /// Starts them, and returns the worker of each gateway too: without them, the clients have none.
    ///
    /// # Panics
    /// When a process does not start.
    pub async fn with_workers(threads: usize) -> (Self, [Peer; 2]) {
        let suite = Suite::builder().threads(threads).start().await;
        let mut workers = [suite.worker_link(0, "w:1").await, suite.worker_link(1, "w:1").await];
        let (mut browsers, mut ids) = (Vec::new(), Vec::new());
        for at in 0..4 {
            browsers.push(suite.browser(at % 2).await);
            let connection = workers[at % 2].accept_client().await;
            ids.push(ClientId::new(suite.gateways[at % 2].inner, connection));
        }
        let cluster = suite.cluster().await;
        let (browsers, ids) = (browsers.try_into().unwrap(), ids.try_into().unwrap());
        (Self { cluster, browsers, ids, suite }, workers)
    }

    /// The messages that each client received since the last call.
    pub async fn received(&mut self) -> [Vec<String>; 4] {
        self.cluster.send_to_all(Recipients::All, "mark").await.unwrap();
        let mut all = [const { Vec::new() }; 4];
        for (browser, received) in self.browsers.iter_mut().zip(&mut all) {
            loop {
                match browser.receive_text().await {
                    mark if mark == "mark" => break,
                    text => received.push(text),
                }
            }
        }
        all
    }

    /// Groups clients by gateway, in the gateway order of answers.
    pub async fn by_gateway(&self, clients: &[usize]) -> Vec<ClientId> {
        let first = self.cluster.all_clients().await.unwrap()[0].gateway;
        let ids = clients.iter().map(|at| self.ids[*at]);
        let (mut one, mut other): (Vec<_>, Vec<_>) = ids.partition(|id| id.gateway == first);
        one.append(&mut other);
        one
    }

    /// The messages of a client until this one.
    pub async fn received_until(&mut self, client: usize, last: &str) -> Vec<String> {
        let mut received = Vec::new();
        loop {
            match self.browsers[client].receive_text().await {
                text if text == last => return received,
                text => received.push(text),
            }
        }
    }
}
