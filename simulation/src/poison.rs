//! A client whose message ends every worker process that handles it, and the processes that it ends.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    net::SocketAddr,
    time::Duration,
};

use simulated::control::{self, Host};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use crate::{
    crowd::Phase,
    message::{Ask, Token},
    websocket::{Heard, WebSocket},
};

/// Its number: that of no client of the account.
const CLIENT: u32 = u32::MAX;

/// The close code of a client whose event was given up.
const GIVEN_UP: u16 = 1011;

/// Whether a message ends whoever handles it.
pub(crate) const fn is_poison(ask: Ask) -> bool {
    ask.from.client == CLIENT
}

#[derive(Debug, Default)]
struct Crashes {
    /// Hosts whose process has ended itself, and that were not looked at since.
    hosts: BTreeSet<Host>,
    /// The lives that have ended so: what they do until then happens no more.
    lives: BTreeSet<usize>,
}

thread_local! {
    static CRASHES: RefCell<Crashes> = RefCell::default();
}

/// Begins anew.
pub(crate) fn begin() {
    CRASHES.take();
}

/// Ends the process that calls it, which is that life. What it wrote before is on its way.
pub(crate) async fn crash(life: usize) {
    let host = control::here();
    control::note("crash", &[host as u64, life as u64]);
    CRASHES.with_borrow_mut(|crashes| {
        crashes.hosts.insert(host);
        crashes.lives.insert(life);
    });
    control::end_process(host);
    std::future::pending().await
}

/// Whether a life has ended itself.
pub(crate) fn has_crashed(life: usize) -> bool {
    CRASHES.with_borrow(|crashes| crashes.lives.contains(&life))
}

/// Whether the process of a host has ended itself since this was asked last.
pub(crate) fn take_crashed(host: Host) -> bool {
    CRASHES.with_borrow_mut(|crashes| crashes.hosts.remove(&host))
}

/// How many processes have ended themselves.
pub(crate) fn crashes() -> usize {
    CRASHES.with_borrow(|crashes| crashes.lives.len())
}

/// What became of the client.
#[derive(Debug, Default)]
pub(crate) struct Fate {
    /// Whether its message went out.
    pub(crate) sent: Cell<bool>,
    /// Whether it was closed because that was given up.
    pub(crate) given_up: Cell<bool>,
    /// Whether its connection ended in any way.
    pub(crate) ended: Cell<bool>,
}

/// Lets the client connect after a while, and send one message. It stays until it is closed, or until
/// everybody else leaves.
pub(crate) async fn run(
    gateway: SocketAddr,
    after: Duration,
    mut phase: watch::Receiver<Phase>,
    fate: &Fate,
) {
    sleep(after).await;
    let token = Token { client: CLIENT, life: 0 };
    let opened = timeout(Duration::from_secs(5), WebSocket::open(gateway, token.to_u64())).await;
    let Ok(Ok(mut socket)) = opened else {
        return fate.ended.set(true);
    };
    fate.sent.set(socket.send(&Ask { from: token, number: 1 }.encode()).await.is_ok());
    tokio::select! {
        () = async {
            loop {
                match socket.hear().await {
                    Ok(Heard::Goodbye(code)) => {
                        fate.given_up.set(code == Some(GIVEN_UP));
                        let _ = timeout(Duration::from_secs(1), socket.say_goodbye()).await;
                        return;
                    }
                    Ok(_) => {}
                    Err(_) => return,
                }
            }
        } => fate.ended.set(true),
        _ = phase.wait_for(|phase| Phase::Leave <= *phase) => {}
    }
}
