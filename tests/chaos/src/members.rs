//! Clients that join a watched group, leave and come back, and check what they see of each other.
//! They are not in the account of messages, except for the events that workers record of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use runtime::sync::Mutex;
use test_support::{
    clients::{Phase, Received, Socket as _, Transport as _},
    message::{Request, Token},
    presence::{Seen, View, client, member_of},
};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, interval, sleep, timeout},
};

use crate::{
    clients::{Tcp, WebSocket},
    notices::Notices,
};

/// Number of these clients; two of them are one member.
const CLIENTS: u32 = 24;

/// The time between two messages of a client, to which the worker answers.
const EVERY: Duration = Duration::from_millis(150);

/// How long nothing may come on a connection before the client takes it for lost: longer than any
/// fault.
const SILENCE: Duration = Duration::from_secs(20);

/// How long to wait for what is to be seen, and for the answer to a close frame.
const PATIENCE: Duration = Duration::from_secs(60);
const CLOSE: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
struct State {
    /// The members that each open connection has seen, by client.
    open: Mutex<BTreeMap<u32, View>>,
    /// Messages that contradict earlier ones.
    failures: Mutex<Vec<String>>,
    snapshots: AtomicU64,
    changes: AtomicU64,
    connections: AtomicU64,
}

/// The clients of a run, and the notices that workers record.
#[derive(Debug)]
pub struct Members {
    state: Arc<State>,
    clients: JoinSet<()>,
    phase: watch::Sender<Phase>,
    notices: PathBuf,
}

impl Members {
    /// Starts the clients. Workers record their notices in that folder.
    pub fn start(gateways: &[SocketAddr], notices: PathBuf) -> Self {
        let (phase, state) = (watch::Sender::new(Phase::Talk), Arc::<State>::default());
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let (phase, state, gateways) =
                (phase.subscribe(), Arc::clone(&state), gateways.to_vec());
            clients.spawn(async move { run(number, &gateways, phase, &state).await });
        }
        Self { state, clients, phase, notices }
    }

    /// After the last fault: waits until each client sees exactly the members that there are, and
    /// the workers' application was notified of them; then all leave, which it is notified of as
    /// well. Returns lines for the report, and what is wrong.
    ///
    /// # Errors
    /// When the notices cannot be read.
    pub async fn finish(self) -> anyhow::Result<(String, Vec<String>)> {
        let Self { state, clients, phase, notices } = self;
        phase.send_replace(Phase::Listen);
        let everyone: BTreeSet<_> =
            (0..CLIENTS).filter_map(|number| member_of(token(number, 0))).collect();
        let mut failures = Vec::new();
        let is_seen = || {
            let open = state.open.lock();
            open.len() == CLIENTS as usize && open.values().all(|view| view.is(&everyone))
        };
        if !until(|| Ok(is_seen())).await? {
            failures.push(format!("some clients do not see all members: {:?}", state.open.lock()));
        }
        if !until(|| Ok(Notices::read(&notices)?.end() == (true, everyone.clone()))).await? {
            let end = Notices::read(&notices)?.end();
            failures.push(format!("the application takes this for the end: {end:?}"));
        }
        phase.send_replace(Phase::Leave);
        clients.join_all().await;
        if !until(|| Ok(Notices::read(&notices)?.end() == (false, BTreeSet::new()))).await? {
            let end = Notices::read(&notices)?.end();
            failures.push(format!(
                "all have left, and the application takes this for the end: {end:?}"
            ));
        }
        failures.append(&mut state.failures.lock());
        Ok((state.lines(&Notices::read(&notices)?), failures))
    }
}

impl State {
    fn lines(&self, notices: &Notices) -> String {
        let count = |number: &AtomicU64| number.load(Ordering::Relaxed) as usize;
        let rows = [
            ("members: connections that observe them", count(&self.connections)),
            ("lists of members", count(&self.snapshots)),
            ("members added and removed, as observed", count(&self.changes)),
            ("notices of members and groups", notices.len()),
            ("of these, the same notice again", notices.repeated()),
        ];
        let mut text = String::new();
        for (name, count) in rows {
            let _ = write!(text, "\n  {name:48}{count:>9}");
        }
        text
    }

    fn receive(&self, number: u32, token: Token, message: &[u8]) {
        let Some(message) = Seen::decode(message) else { return };
        let counter = match message {
            Seen::Snapshot(_) => &self.snapshots,
            Seen::Added(_) | Seen::Removed(_) => &self.changes,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        let own = member_of(token).unwrap_or_default();
        let mut open = self.open.lock();
        let Some(view) = open.get_mut(&number) else { return };
        let before = view.clone();
        if !view.receive(&own, &message) {
            let failure = format!("{token}, {own}, has seen {before:?}, and receives {message:?}");
            self.failures.lock().push(failure);
        }
    }
}

/// Polls until something holds. `false` if it does not for too long.
async fn until(mut holds: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<bool> {
    let deadline = Instant::now() + PATIENCE;
    while !holds()? {
        if deadline < Instant::now() {
            return Ok(false);
        }
        sleep(Duration::from_millis(50)).await;
    }
    Ok(true)
}

const fn token(number: u32, attempt: u32) -> Token {
    Token { client: client(number), attempt }
}

/// Runs one client: it connects, again if it loses its gateway; some leave for a while.
async fn run(
    number: u32,
    gateways: &[SocketAddr],
    mut phase: watch::Receiver<Phase>,
    state: &State,
) {
    sleep(Duration::from_millis(u64::from(number * 40))).await;
    for attempt in 0.. {
        if Phase::Leave <= *phase.borrow() {
            return;
        }
        let token = token(number, attempt);
        let gateway = gateways[(number + attempt) as usize % gateways.len()];
        let Ok(Some(mut socket)) = timeout(CLOSE, Tcp.open(gateway, token)).await else {
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        state.connections.fetch_add(1, Ordering::Relaxed);
        state.open.lock().insert(number, View::default());
        stay(number, &mut socket, token, &mut phase, state).await;
        state.open.lock().remove(&number);
        // Some are back within the grace for departures, some are not; the two of a member leave at
        // about the same time.
        let away = if (number / 2).is_multiple_of(3) { 0 } else { u64::from(attempt % 3) * 1_400 };
        sleep(Duration::from_millis(100 + away)).await;
    }
}

/// Receives until the connection is closed, and sends messages meanwhile.
async fn stay(
    number: u32,
    socket: &mut WebSocket,
    token: Token,
    phase: &mut watch::Receiver<Phase>,
    state: &State,
) {
    let (mut ticks, mut sent, mut leaves) = (interval(EVERY), 0, false);
    let mut deadline = Instant::now() + SILENCE;
    // Half of the members leave again and again.
    let member = number / 2;
    let most = if member.is_multiple_of(2) { u32::MAX } else { 4 + (member + token.attempt) % 8 };
    loop {
        // In the end they still send some, by which they notice that a gateway is gone.
        let leaves_now = *phase.borrow() == Phase::Talk && most <= sent;
        if !leaves && (leaves_now || *phase.borrow() == Phase::Leave) {
            leaves = true;
            deadline = Instant::now() + CLOSE;
            if socket.send_close().await.is_err() {
                return;
            }
        }
        tokio::select! {
            received = timeout(deadline - Instant::now(), socket.receive()) => match received {
                Ok(Some(Received::Message(message))) => {
                    state.receive(number, token, &message);
                    if !leaves {
                        deadline = Instant::now() + SILENCE;
                    }
                }
                Ok(Some(Received::Unexpected)) => {}
                Ok(Some(Received::Close(_))) => return socket.answer_close().await,
                Ok(None) | Err(_) => return,
            },
            _ = ticks.tick(), if !leaves => {
                sent += 1;
                let request = Request { from: token, number: sent };
                if socket.send(request.encode()).await.is_err() {
                    return;
                }
            }
            _ = phase.changed(), if !leaves => {}
        }
    }
}
