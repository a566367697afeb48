//! The clients of a run: each connects, sends, receives, closes or stays, and reports what it
//! observed.

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

/// The phase of a run, for all clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Clients send; some close and reconnect.
    Talk,
    /// Connected clients only receive.
    Listen,
    /// Clients close their connections.
    Leave,
}

/// The progress of all clients.
#[derive(Debug, Default)]
pub struct Progress {
    /// Clients that received an answer on their current connection.
    pub joined: AtomicU64,
    /// Messages sent.
    pub sent: AtomicU64,
    /// Results of sockets: messages, closes and errors.
    pub heard: AtomicU64,
    /// Of the connections that stay, those with every message answered.
    pub settled: AtomicU64,
    /// Connections that stay open.
    pub staying: AtomicU64,
}

/// The environment of all clients.
#[derive(Debug)]
pub struct Place {
    /// The address of each gateway for clients.
    pub gateways: Vec<SocketAddr>,
    /// The inner port of each gateway, which client ids contain.
    pub inner: Vec<u16>,
    /// The time between two messages of a client.
    pub every: Duration,
    /// The seed of the run.
    pub seed: u64,
    /// The progress of all clients.
    pub progress: Progress,
}

/// All clients of a run.
#[derive(Debug)]
pub struct Clients {
    clients: JoinSet<Vec<Life>>,
    phase: watch::Sender<Phase>,
    /// Their environment.
    pub place: Arc<Place>,
}

/// The pause after a failed attempt, before a client tries the next gateway.
const RETRY: Duration = Duration::from_millis(30);

/// The timeout of opening a connection.
const OPENING: Duration = Duration::from_secs(20);

impl Clients {
    /// Starts `count` clients.
    pub fn start(count: u32, place: Place) -> Self {
        let (phase, place) = (watch::Sender::new(Phase::Talk), Arc::new(place));
        let mut clients = JoinSet::new();
        for number in 0..count {
            clients.spawn(client(number, count, Arc::clone(&place), phase.subscribe()));
        }
        Self { clients, phase, place }
    }

    /// Sets the phase of all clients.
    pub fn turn_to(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    /// Waits until all clients have ended, and returns their connections.
    pub async fn join(self) -> Vec<Life> {
        self.clients.join_all().await.into_iter().flatten().collect()
    }
}

/// The plan of a client for one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ClientPlan {
    /// It stays.
    Stay,
    /// It closes in order after that many messages.
    Leave(u32),
    /// It aborts after that many.
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
    // Spreads connects and messages over the interval.
    sleep(place.every.mul_f64(f64::from(number) / f64::from(count))).await;
    for life in 0.. {
        let token = Token { client: number, life };
        let gateway = (number + life) as usize % place.gateways.len();
        // Three of four stay, so that every client has a partner that stays.
        let plan = match (number % 4, dice.random_range(5..100)) {
            (0, messages) if dice.random_bool(0.3) => ClientPlan::Drop(messages),
            (0, messages) => ClientPlan::Leave(messages),
            _ => ClientPlan::Stay,
        };
        // An attempt at a gateway that is down does not count as a connection.
        let opening = Connection::open(&place, gateway, token);
        let opened = tokio::select! {
            opened = timeout(OPENING, opening) => opened.ok().flatten(),
            () = reached(&mut phase, Phase::Listen) => None,
        };
        match opened {
            Some(connection) => lives.push(connection.live(plan, &mut phase).await),
            None => sleep(RETRY).await,
        }
        if lives.last().is_some_and(|life| life.end == End::Stayed)
            || *phase.borrow() != Phase::Talk
        {
            break;
        }
    }
    lives
}

/// Waits until the run has reached the phase `to`.
pub(crate) async fn reached(phase: &mut watch::Receiver<Phase>, to: Phase) {
    let _ = phase.wait_for(|phase| to <= *phase).await;
}

impl Progress {
    /// Polls until `done`. `false` if nothing was received for `patience`.
    pub async fn until(&self, patience: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let mut last = (Instant::now(), 0);
        while !done(self) {
            let heard = self.heard.load(Ordering::Relaxed) + self.joined.load(Ordering::Relaxed);
            if heard != last.1 {
                last = (Instant::now(), heard);
            }
            if patience < last.0.elapsed() {
                return false;
            }
            sleep(Duration::from_millis(20)).await;
        }
        true
    }

    /// Waits until nothing was received for that long.
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
