//! Clients that all have the same uid, at gateways that limit the connections of a uid. They are not in the
//! account, except for the events that workers record of them.

use std::{cell::Cell, net::SocketAddr, time::Duration};

use test_support::{
    clients::{Phase, Received, Socket as _},
    message::{Request, Token},
};
use tokio::{
    sync::watch,
    time::{interval, sleep, timeout},
};

use crate::websocket::{Opening, WebSocket};

/// Their number in tokens, which no client of the account has.
const CLIENT: u32 = 1 << 20;

/// Number of these clients: more than any limit.
pub(crate) const MEMBERS: u32 = 7;

/// The close code of a client whose uid has too many connections.
const TOO_MANY: u16 = 4409;

/// The time between two messages of a client, by which it notices the end of its gateway.
const EVERY: Duration = Duration::from_millis(700);

/// Whether the client of a connection is one of these.
pub(crate) const fn is_member(token: Token) -> bool {
    token.client == CLIENT
}

/// Their uid.
pub(crate) fn uid() -> String {
    Token { client: CLIENT, attempt: 0 }.uid()
}

/// The state of these clients.
#[derive(Debug, Default)]
pub(crate) struct Crowd {
    /// Number of open connections.
    pub(crate) open: Cell<u64>,
    /// Number of connections that were closed for a newer one.
    pub(crate) replaced: Cell<u64>,
}

/// Runs one client: it connects, again if it loses its gateway, until it is closed for a newer one, or all
/// clients disconnect.
pub(crate) async fn run(
    member: u32,
    gateways: &[SocketAddr],
    mut phase: watch::Receiver<Phase>,
    crowd: &Crowd,
) {
    // Some at once, and some behind the first fault.
    sleep(Duration::from_millis(u64::from(1_500 + member / 3 * 2_500))).await;
    for attempt in 0.. {
        if *phase.borrow() != Phase::Talk {
            return;
        }
        let token = Token { client: CLIENT, attempt: member << 16 | attempt };
        let gateway = gateways[(member + attempt) as usize % gateways.len()];
        let opening = WebSocket::open(gateway, token, Opening::default());
        let Ok(Ok(mut socket)) = timeout(Duration::from_secs(5), opening).await else {
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        crowd.open.set(crowd.open.get() + 1);
        let code = talk(&mut socket, token, &mut phase).await;
        crowd.open.set(crowd.open.get() - 1);
        if code == Some(TOO_MANY) {
            return crowd.replaced.set(crowd.replaced.get() + 1);
        }
    }
}

/// Sends messages until the connection is closed. Returns the code with which the gateway closed it.
async fn talk(
    socket: &mut WebSocket,
    token: Token,
    phase: &mut watch::Receiver<Phase>,
) -> Option<u16> {
    let (mut ticks, mut number, mut leaves) = (interval(EVERY), 0, false);
    loop {
        let talks = *phase.borrow() == Phase::Talk;
        tokio::select! {
            received = socket.receive() => match received {
                Some(Received::Close(code)) => {
                    if !leaves {
                        let _ = timeout(Duration::from_secs(1), socket.send_close()).await;
                    }
                    return code.filter(|_| !leaves);
                }
                Some(_) => {}
                None => return None,
            },
            _ = ticks.tick(), if talks => {
                number += 1;
                socket.send(Request { from: token, number }.encode()).await.ok()?;
            }
            _ = phase.wait_for(|phase| Phase::Leave <= *phase), if !leaves => {
                leaves = true;
                socket.send_close().await.ok()?;
            }
        }
    }
}
