//! The clients: each connects, sends, receives, disconnects or stays, and records the outcome.

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::Rc,
    time::Duration,
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use simulated::control;
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval_at, sleep, timeout},
};

use crate::{
    account::{End, Life},
    message::{Ask, Kind, Reply, Token},
    websocket::{Received, WebSocket},
};

/// The current phase of all clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Clients send messages; some disconnect and reconnect.
    Talk,
    /// Connected clients only receive.
    Listen,
    /// Clients close their connections.
    Leave,
}

/// Progress of all clients.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Clients that keep their connection.
    pub(crate) staying: Cell<usize>,
    /// Those of them that have received every answer.
    pub(crate) settled: Cell<usize>,
    /// Messages received.
    pub(crate) received: Cell<usize>,
    /// Clients that have disconnected for good.
    pub(crate) left: Cell<usize>,
    /// Records of their connections.
    pub(crate) lives: RefCell<Vec<Life>>,
}

/// The environment of every client.
#[derive(Debug)]
pub(crate) struct Place {
    /// Addresses that clients connect to, by gateway.
    pub(crate) gateways: Vec<SocketAddr>,
    /// The address in client ids of each gateway.
    pub(crate) inner: Vec<u16>,
    pub(crate) clients: u32,
    /// The time between two messages of a client.
    pub(crate) every: Duration,
    pub(crate) seed: u64,
    pub(crate) phase: watch::Receiver<Phase>,
    pub(crate) progress: Rc<Progress>,
}

/// Delay before a refused client tries the next gateway.
const AGAIN: Duration = Duration::from_millis(100);

/// Timeout for opening a connection.
const OPENING: Duration = Duration::from_secs(5);

/// Timeout for the peer's close frame, or for any message while an answer is due: longer than any
/// fault lasts.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(60);

/// Maximum number of unanswered messages; sending pauses at this limit.
const UNANSWERED: usize = 200;

/// The plan of a client for one connection.
#[derive(Clone, Copy, Debug)]
enum ClientPlan {
    Stay,
    /// Closes after that many messages.
    Leave(usize),
    /// Drops the connection after that many.
    Drop(usize),
}

/// Runs all clients until they have disconnected.
pub(crate) async fn run(place: Place) {
    let place = Rc::new(place);
    let clients: Vec<_> = (0..place.clients)
        .map(|number| tokio::task::spawn_local(client(number, Rc::clone(&place))))
        .collect();
    for client in clients {
        if client.await.is_ok() {
            place.progress.left.set(place.progress.left.get() + 1);
        }
    }
}

async fn client(number: u32, place: Rc<Place>) {
    let mut dice = StdRng::seed_from_u64(place.seed ^ u64::from(number) << 20);
    let mut phase = place.phase.clone();
    // Spread out, both the first connects and the messages.
    sleep(Duration::from_millis(1_000 + dice.random_range(0..2_000))).await;
    for life in 0.. {
        let token = Token { client: number, life };
        let gateway = (number + life) as usize % place.gateways.len();
        // Three of four keep the connection if the phase allows, so every client has a partner that does.
        let plan = match (number % 4, dice.random_range(2..60)) {
            (0, messages) if dice.random_bool(0.3) => ClientPlan::Drop(messages),
            (0, messages) => ClientPlan::Leave(messages),
            _ => ClientPlan::Stay,
        };
        let began = control::now();
        let opening = WebSocket::open(place.gateways[gateway], token.to_u64());
        let opened = tokio::select! {
            biased;
            opened = timeout(OPENING, opening) => opened.ok().and_then(Result::ok),
            () = reached(&mut phase, Phase::Listen) => None,
        };
        let mut end = None;
        match opened {
            Some(socket) => {
                let life = Life {
                    token,
                    gateway: place.inner[gateway],
                    began,
                    joined: None,
                    sent: Vec::new(),
                    heard: Vec::new(),
                    heard_at: Vec::new(),
                    nonsense: 0,
                    end: End::Refused,
                    ended: 0,
                };
                let connection =
                    Connection { socket, place: &place, life, answered: Vec::new(), unanswered: 0 };
                let life = connection.live(plan, &mut phase).await;
                end = Some(life.end);
                place.progress.lives.borrow_mut().push(life);
            }
            None => sleep(AGAIN).await,
        }
        if end == Some(End::Stayed) || *phase.borrow() != Phase::Talk {
            break;
        }
    }
}

/// Waits for a phase.
async fn reached(phase: &mut watch::Receiver<Phase>, to: Phase) {
    let _ = phase.wait_for(|phase| to <= *phase).await;
}

struct Connection<'a> {
    socket: WebSocket,
    place: &'a Place,
    life: Life,
    answered: Vec<bool>,
    unanswered: usize,
}

impl Connection<'_> {
    async fn live(mut self, plan: ClientPlan, phase: &mut watch::Receiver<Phase>) -> Life {
        self.life.end = self.talk(plan, phase).await;
        if self.life.end == End::Stayed {
            self.listen(phase).await;
        }
        match self.life.end {
            End::Stayed | End::Left => self.close().await,
            // The gateway sends a close frame, which is answered.
            End::Closed(Some(_)) => {
                let _ = timeout(CLOSE_TIMEOUT, self.socket.send_close()).await;
            }
            _ => {}
        }
        self.life.ended = control::now();
        let Life { token, end, .. } = &self.life;
        let end = match end {
            End::Refused => 0,
            End::Stayed => 1,
            End::Left => 2,
            End::Dropped => 3,
            End::Closed(code) => 10_000 + u64::from(code.unwrap_or_default()),
        };
        control::note("client ended", &[token.to_u64(), end]);
        self.life
    }

    async fn talk(&mut self, plan: ClientPlan, phase: &mut watch::Receiver<Phase>) -> End {
        let every = self.place.every;
        let mut ticks = interval_at(Instant::now(), every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                received = self.socket.receive() => {
                    if let Some(end) = self.receive(received) {
                        return end;
                    }
                }
                _ = ticks.tick(), if self.unanswered < UNANSWERED => {
                    if self.send().await.is_err() {
                        return self.closed().await;
                    }
                    let sent = self.life.sent.len();
                    match plan {
                        ClientPlan::Leave(after) if after <= sent => return End::Left,
                        ClientPlan::Drop(after) if after <= sent => return End::Dropped,
                        _ => {}
                    }
                }
                () = reached(phase, Phase::Listen) => return End::Stayed,
            }
        }
    }

    async fn listen(&mut self, phase: &mut watch::Receiver<Phase>) {
        let progress = Rc::clone(&self.place.progress);
        let change = |what: &Cell<usize>, by: isize| what.set(what.get().wrapping_add_signed(by));
        change(&progress.staying, 1);
        let mut settled = false;
        loop {
            if self.unanswered == 0 && !settled {
                settled = true;
                change(&progress.settled, 1);
            }
            tokio::select! {
                received = self.socket.receive() => {
                    if let Some(end) = self.receive(received) {
                        self.life.end = end;
                        change(&progress.staying, -1);
                        change(&progress.settled, -isize::from(settled));
                        return;
                    }
                }
                () = reached(phase, Phase::Leave) => return,
            }
        }
    }

    async fn send(&mut self) -> std::io::Result<()> {
        let number = self.life.sent.len() as u32 + 1;
        self.life.sent.push(control::now());
        self.answered.push(false);
        self.unanswered += 1;
        let ask = Ask { from: self.life.token, number };
        self.socket.send(&ask.encode()).await
    }

    /// Reads the rest of a connection that no longer accepts writes.
    async fn closed(&mut self) -> End {
        loop {
            let Ok(received) = timeout(CLOSE_TIMEOUT, self.socket.receive()).await else {
                return End::Closed(None);
            };
            if let Some(end) = self.receive(received) {
                return end;
            }
        }
    }

    /// Records a received item. Returns the end, if it is one.
    fn receive(&mut self, received: std::io::Result<Received>) -> Option<End> {
        let count = &self.place.progress.received;
        count.set(count.get() + 1);
        match received {
            Ok(Received::Message(bytes)) => self.reply(&bytes),
            Ok(Received::Close(code)) => return Some(End::Closed(code)),
            Ok(Received::Other) => self.life.nonsense += 1,
            Err(_) => return Some(End::Closed(None)),
        }
        None
    }

    fn reply(&mut self, bytes: &[u8]) {
        let Some(reply) = Reply::decode(bytes) else {
            self.life.nonsense += 1;
            return;
        };
        self.life.heard.push(reply);
        self.life.heard_at.push(control::now());
        if reply.kind != Kind::Echo || reply.from != self.life.token {
            return;
        }
        self.life.joined.get_or_insert_with(control::now);
        if let Some(answered) = self.answered.get_mut((reply.number as usize).wrapping_sub(1))
            && !std::mem::replace(answered, true)
        {
            self.unanswered -= 1;
        }
    }

    /// Sends a close frame and reads until the peer answers it. If the gateway terminates meanwhile,
    /// the account exempts the connection.
    async fn close(&mut self) {
        let closing = async {
            self.socket.send_close().await.ok()?;
            loop {
                match self.socket.receive().await {
                    Ok(Received::Message(bytes)) => self.reply(&bytes),
                    Ok(Received::Close(_)) => return Some(()),
                    Ok(Received::Other) => {}
                    Err(_) => return None,
                }
            }
        };
        if timeout(CLOSE_TIMEOUT, closing).await.ok().flatten().is_none()
            && self.life.end == End::Left
        {
            self.life.end = End::Closed(None);
        }
    }
}
