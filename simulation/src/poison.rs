//! A client whose message ends every worker process that handles it, and the processes that it ends.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    net::SocketAddr,
    time::Duration,
};

use simulated::control::{self, Host};
use test_support::{
    clients::{Phase, Received, Socket as _},
    message::{Request, Token},
};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use crate::websocket::{Opening, WebSocket};

/// Its number, which no client of the account has.
const CLIENT: u32 = u32::MAX;

/// The close code of a client whose event was given up.
const GIVEN_UP: u16 = 1011;

/// Whether a message is poison.
pub(crate) const fn is_poison(request: Request) -> bool {
    request.from.client == CLIENT
}

#[derive(Debug, Default)]
struct Crashes {
    /// Hosts whose process crashed and was not collected yet.
    hosts: BTreeSet<Host>,
    /// Instances that crashed: anything they still do has no effect.
    instances: BTreeSet<usize>,
}

thread_local! {
    static CRASHES: RefCell<Crashes> = RefCell::default();
}

/// Resets the state for a new run.
pub(crate) fn begin() {
    CRASHES.take();
}

/// Crashes the calling process, which is that instance. Bytes written before are still delivered.
pub(crate) async fn crash(instance: usize) {
    let host = control::here();
    control::note("crash", &[host as u64, instance as u64]);
    CRASHES.with_borrow_mut(|crashes| {
        crashes.hosts.insert(host);
        crashes.instances.insert(instance);
    });
    control::end_process(host);
    std::future::pending().await
}

/// Whether an instance crashed.
pub(crate) fn has_crashed(instance: usize) -> bool {
    CRASHES.with_borrow(|crashes| crashes.instances.contains(&instance))
}

/// Whether the process of a host crashed since the last call.
pub(crate) fn take_crashed(host: Host) -> bool {
    CRASHES.with_borrow_mut(|crashes| crashes.hosts.remove(&host))
}

/// Number of crashed processes.
pub(crate) fn crashes() -> usize {
    CRASHES.with_borrow(|crashes| crashes.instances.len())
}

/// The outcome for the client.
#[derive(Debug, Default)]
pub(crate) struct PoisonOutcome {
    /// Whether its message was sent.
    pub(crate) sent: Cell<bool>,
    /// Whether it was closed as undeliverable.
    pub(crate) given_up: Cell<bool>,
    /// Whether its connection was closed for any reason.
    pub(crate) ended: Cell<bool>,
}

/// Connects the client after a delay and sends one message. It stays until it is closed, or until all
/// other clients disconnect.
pub(crate) async fn run(
    gateway: SocketAddr,
    after: Duration,
    mut phase: watch::Receiver<Phase>,
    outcome: &PoisonOutcome,
) {
    sleep(after).await;
    let token = Token { client: CLIENT, attempt: 0 };
    let opened =
        timeout(Duration::from_secs(5), WebSocket::open(gateway, token, Opening::default())).await;
    let Ok(Ok(mut socket)) = opened else {
        return outcome.ended.set(true);
    };
    outcome.sent.set(socket.send(Request { from: token, number: 1 }.encode()).await.is_ok());
    tokio::select! {
        () = async {
            loop {
                match socket.receive().await {
                    Some(Received::Close(code)) => {
                        outcome.given_up.set(code == Some(GIVEN_UP));
                        let _ = timeout(Duration::from_secs(1), socket.send_close()).await;
                        return;
                    }
                    Some(_) => {}
                    None => return,
                }
            }
        } => outcome.ended.set(true),
        _ = phase.wait_for(|phase| Phase::Leave <= *phase) => {}
    }
}
