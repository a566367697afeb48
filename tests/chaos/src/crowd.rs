//! The clients of a run: each connects, talks, hears, leaves or stays, and says what it saw.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use crate::{
    account::{End, Life},
    client::Connection,
    message::Token,
};

/// What clients do at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// They talk; some come and go.
    Talk,
    /// They only listen, those that are connected.
    Listen,
    /// They say goodbye.
    Leave,
}

/// How far the crowd is, for those who wait for it.
#[derive(Debug, Default)]
pub struct Progress {
    /// Clients that had an answer on their present connection.
    pub joined: AtomicU64,
    /// Messages sent.
    pub sent: AtomicU64,
    /// Anything heard.
    pub heard: AtomicU64,
    /// Connections that clients stay on, and have had every answer on.
    pub settled: AtomicU64,
    /// Connections that clients stay on.
    pub staying: AtomicU64,
}

/// What every client knows.
#[derive(Debug)]
pub struct Place {
    /// Where clients connect, by gateway.
    pub gateways: Vec<SocketAddr>,
    /// What client ids of each gateway name.
    pub inner: Vec<u16>,
    /// The time between two messages of a client.
    pub every: Duration,
    /// What follows from the seed follows from this.
    pub seed: u64,
    /// How far all are.
    pub progress: Progress,
}

/// All clients.
#[derive(Debug)]
pub struct Crowd {
    clients: JoinSet<Vec<Life>>,
    phase: watch::Sender<Phase>,
    /// What they know.
    pub place: Arc<Place>,
}

/// A pause before a client that was refused tries the next gateway.
const AGAIN: Duration = Duration::from_millis(30);

/// How long a connection may take to be opened.
const OPENING: Duration = Duration::from_secs(20);

impl Crowd {
    /// Lets that many clients begin.
    pub fn start(count: u32, place: Place) -> Self {
        let (phase, place) = (watch::Sender::new(Phase::Talk), Arc::new(place));
        let mut clients = JoinSet::new();
        for number in 0..count {
            clients.spawn(client(number, count, Arc::clone(&place), phase.subscribe()));
        }
        Self { clients, phase, place }
    }

    /// Says what they do from now on.
    pub fn turn_to(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    /// Waits until all have left.
    pub async fn left(self) -> Vec<Life> {
        self.clients.join_all().await.into_iter().flatten().collect()
    }
}

/// How a client is minded for one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mind {
    /// It stays.
    Stay,
    /// It says goodbye after that many messages.
    Leave(u32),
    /// It breaks off after that many.
    Drop(u32),
}

async fn client(
    number: u32,
    count: u32,
    place: Arc<Place>,
    mut phase: watch::Receiver<Phase>,
) -> Vec<Life> {
    let mut dice = StdRng::seed_from_u64(place.seed ^ u64::from(number) << 20);
    let mut lives: Vec<Life> = Vec::new();
    // Not all at once, neither now nor with each message.
    sleep(place.every.mul_f64(f64::from(number) / f64::from(count))).await;
    for life in 0.. {
        let token = Token { client: number, life };
        let gateway = (number + life) as usize % place.gateways.len();
        // Three of four stay, if they may; so everybody has a partner who does.
        let mind = match (number % 4, dice.random_range(5..100)) {
            (0, messages) if dice.random_bool(0.3) => Mind::Drop(messages),
            (0, messages) => Mind::Leave(messages),
            _ => Mind::Stay,
        };
        // An attempt may find the gateway gone: that is no connection at all.
        let opening = Connection::open(&place, gateway, token);
        let opened = tokio::select! {
            opened = timeout(OPENING, opening) => opened.ok().flatten(),
            () = turned(&mut phase, Phase::Listen) => None,
        };
        match opened {
            Some(connection) => lives.push(connection.live(mind, &mut phase).await),
            None => sleep(AGAIN).await,
        }
        if lives.last().is_some_and(|life| life.end == End::Stayed)
            || *phase.borrow() != Phase::Talk
        {
            break;
        }
    }
    lives
}

/// Waits until that phase has come.
pub(crate) async fn turned(phase: &mut watch::Receiver<Phase>, to: Phase) {
    let _ = phase.wait_for(|phase| to <= *phase).await;
}

impl Progress {
    /// Waits until `done` of it, looking at times. `false` if for `patience` nothing has moved.
    pub async fn until(&self, patience: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let mut moved = (Instant::now(), 0);
        while !done(self) {
            let heard = self.heard.load(Ordering::Relaxed) + self.joined.load(Ordering::Relaxed);
            if heard != moved.1 {
                moved = (Instant::now(), heard);
            }
            if patience < moved.0.elapsed() {
                return false;
            }
            sleep(Duration::from_millis(20)).await;
        }
        true
    }

    /// Waits until nothing was heard for that long.
    pub async fn quiet(&self, time: Duration) {
        loop {
            let heard = self.heard.load(Ordering::Relaxed);
            sleep(time).await;
            if heard == self.heard.load(Ordering::Relaxed) {
                return;
            }
        }
    }
}
