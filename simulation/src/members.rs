//! Clients that join a watched group and check what they see of each other. They are not in the account,
//! except for the events that workers record of them.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    pin::pin,
    time::Duration,
};

use simulated::control;
use test_support::{
    clients::{Phase, Received, Socket as _},
    message::{Request, Token},
    presence::{Seen, client, member_of},
};
use tokio::{
    sync::watch,
    time::{Instant, interval, sleep, timeout},
};

use crate::websocket::{Opening, WebSocket};

/// Number of these clients; two of them are one member.
pub(crate) const CLIENTS: u32 = 8;

/// The time between two messages of a client, by which it notices the end of its gateway.
const EVERY: Duration = Duration::from_millis(400);

/// How long a client waits for the answer to its close frame.
const CLOSE: Duration = Duration::from_secs(5);

/// The state of these clients.
#[derive(Debug, Default)]
pub(crate) struct Members {
    /// The members that each open connection has seen, by client; `None` before its snapshot.
    open: RefCell<BTreeMap<u32, Option<BTreeSet<String>>>>,
    /// Messages that contradict earlier ones.
    failures: RefCell<Vec<String>>,
    /// Number of snapshots and changes that clients have received.
    pub(crate) seen: Cell<u64>,
}

impl Members {
    /// Number of open connections.
    pub(crate) fn open(&self) -> u64 {
        self.open.borrow().len() as u64
    }

    /// Takes the messages that contradict earlier ones.
    pub(crate) fn take_failures(&self) -> Vec<String> {
        self.failures.take()
    }

    /// Whether all clients are connected, and each sees exactly the members that there are.
    pub(crate) fn agree(&self) -> bool {
        let open = self.open.borrow();
        let all = open.keys().filter_map(|number| member_of(token(*number, 0))).collect();
        open.len() == CLIENTS as usize && open.values().all(|seen| seen.as_ref() == Some(&all))
    }

    /// Description of what each client sees.
    pub(crate) fn describe(&self) -> String {
        format!("{:?}", self.open.borrow())
    }

    /// A client has received a message.
    fn receive(&self, number: u32, token: Token, message: &[u8]) {
        let Some(message) = Seen::decode(message) else { return };
        self.seen.set(self.seen.get() + 1);
        let own = member_of(token).unwrap_or_default();
        let mut open = self.open.borrow_mut();
        let Some(known) = open.get_mut(&number) else { return };
        let before = known.clone();
        let (kind, is_right) = match (&message, known) {
            (Seen::Snapshot(names), known) => {
                let names: BTreeSet<_> = names.iter().cloned().collect();
                // Again, if its event was redelivered: nothing else may have changed.
                let is_same = known.as_ref().is_none_or(|known| *known == names);
                let is_right = is_same && names.contains(&own);
                *known = Some(names);
                (0, is_right)
            }
            (Seen::Added(name), Some(known)) => (1, *name != own && known.insert(name.clone())),
            (Seen::Removed(name), Some(known)) => (2, *name != own && known.remove(name)),
            (Seen::Added(_) | Seen::Removed(_), None) => (3, false),
        };
        control::note("members", &[u64::from(number), u64::from(token.attempt), kind]);
        if !is_right {
            let failure = format!("{token}, {own}, has seen {before:?}, and receives {message:?}");
            self.failures.borrow_mut().push(failure);
        }
    }
}

const fn token(number: u32, attempt: u32) -> Token {
    Token { client: client(number), attempt }
}

/// Runs one client: it connects, again if it loses its gateway; some leave for a while.
pub(crate) async fn run(
    number: u32,
    gateways: &[SocketAddr],
    mut phase: watch::Receiver<Phase>,
    members: &Members,
) {
    sleep(Duration::from_millis(u64::from(1_200 + number * 170))).await;
    for attempt in 0.. {
        if Phase::Leave <= *phase.borrow() {
            return;
        }
        let token = token(number, attempt);
        let gateway = gateways[(number + attempt) as usize % gateways.len()];
        let opening = WebSocket::open(gateway, token, Opening::default());
        let Ok(Ok(mut socket)) = timeout(Duration::from_secs(5), opening).await else {
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        members.open.borrow_mut().insert(number, None);
        stay(number, &mut socket, token, &mut phase, members).await;
        members.open.borrow_mut().remove(&number);
        // Some are back within the grace for departures, some are not.
        let away = if number.is_multiple_of(3) { 0 } else { u64::from(attempt % 4) * 700 };
        sleep(Duration::from_millis(100 + away)).await;
    }
}

/// Receives until the connection is closed, and sends messages meanwhile.
async fn stay(
    number: u32,
    socket: &mut WebSocket,
    token: Token,
    phase: &mut watch::Receiver<Phase>,
    members: &Members,
) {
    let (mut ticks, mut sent, mut leaves) = (interval(EVERY), 0, false);
    let mut deadline = pin!(sleep(Duration::ZERO));
    // Half of them leave again and again.
    let most = if number % 2 == 0 { u32::MAX } else { 5 + (number + token.attempt) % 7 };
    loop {
        let talks = *phase.borrow() == Phase::Talk && !leaves;
        tokio::select! {
            received = socket.receive() => match received {
                Some(Received::Message(message)) => members.receive(number, token, &message),
                Some(Received::Unexpected) => {}
                Some(Received::Close(_)) => {
                    if !leaves {
                        let _ = timeout(Duration::from_secs(1), socket.send_close()).await;
                    }
                    return;
                }
                None => return,
            },
            // Of a connection that its gateway has lost.
            () = &mut deadline, if leaves => return,
            _ = ticks.tick(), if talks => {
                sent += 1;
                let request = Request { from: token, number: sent };
                if socket.send(request.encode()).await.is_err() {
                    return;
                }
                leaves = most <= sent;
                if leaves {
                    deadline.as_mut().reset(Instant::now() + CLOSE);
                    if socket.send_close().await.is_err() {
                        return;
                    }
                }
            }
            _ = phase.wait_for(|phase| Phase::Leave <= *phase), if !leaves => {
                leaves = true;
                deadline.as_mut().reset(Instant::now() + CLOSE);
                if socket.send_close().await.is_err() {
                    return;
                }
            }
        }
    }
}
