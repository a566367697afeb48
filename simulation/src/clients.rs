//! The clients, over the simulated network.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use simulated::control;
use test_support::{
    account::{ConnectionLog, End},
    clients::{Environment, Limits, Phase, Transport, run_client},
    message::Token,
};
use tokio::{sync::watch, time::sleep};

use crate::websocket::{Opening, WebSocket};

/// The parameters of the clients' script. The timeout of a close frame is longer than any fault
/// lasts.
pub(crate) const LIMITS: Limits = Limits {
    opening: Duration::from_secs(5),
    retry: Duration::from_millis(100),
    close: Duration::from_secs(60),
    unanswered: 200,
    messages: 2..60,
};

/// The simulated network and clock.
#[derive(Debug)]
pub(crate) struct Simulated {
    /// Whether most clients send messages along with their handshake.
    pub(crate) early: bool,
    /// Whether every other client negotiates compression.
    pub(crate) compression: bool,
}

impl Transport for Simulated {
    type Socket = WebSocket;

    fn now(&self) -> u64 {
        control::now()
    }

    async fn open(&self, gateway: SocketAddr, token: Token) -> Option<WebSocket> {
        let early = if self.early { token.client % 3 } else { 0 };
        let deflate = self.compression && token.client % 2 == 1;
        WebSocket::open(gateway, token, Opening { early, deflate }).await.ok()
    }

    fn ended(&self, log: &ConnectionLog) {
        let end = match log.end {
            End::Refused => 0,
            End::Stayed => 1,
            End::Left => 2,
            End::Dropped => 3,
            End::Closed(code) => 10_000 + u64::from(code.unwrap_or_default()),
        };
        control::note("client ended", &[log.token.to_u64(), end]);
    }
}

/// Runs all clients until they have disconnected. Their decisions follow from the seed.
pub(crate) async fn run(
    count: u32,
    seed: u64,
    environment: Environment<Simulated>,
    phase: watch::Receiver<Phase>,
) {
    let environment = Arc::new(environment);
    let clients: Vec<_> = (0..count)
        .map(|number| {
            let (environment, phase) = (Arc::clone(&environment), phase.clone());
            tokio::task::spawn_local(async move {
                let mut rng = StdRng::seed_from_u64(seed ^ u64::from(number) << 20);
                // Spread out, both the first connects and the messages.
                sleep(Duration::from_millis(1_000 + rng.random_range(0..2_000))).await;
                run_client(number, rng, &environment, phase).await;
            })
        })
        .collect();
    for client in clients {
        // A panic is in the account.
        let _ = client.await;
    }
}
