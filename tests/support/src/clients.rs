//! The client script of a run: each client connects, sends, receives, closes or stays, and its
//! connections are logged. Network and clock are those of the run.

use std::{
    io,
    net::SocketAddr,
    ops::Range,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use rand::{RngExt as _, rngs::StdRng};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use crate::{
    account::{ConnectionLog, End},
    connection::{ClientPlan, Connection},
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
    pub received: AtomicU64,
    /// Of the connections that stay, those with every message answered.
    pub settled: AtomicU64,
    /// Connections that stay open.
    pub staying: AtomicU64,
    /// Clients whose script has ended.
    pub ended: AtomicU64,
    logs: Mutex<Vec<ConnectionLog>>,
}

impl Progress {
    /// Takes the logs of all connections that have ended.
    pub fn take_logs(&self) -> Vec<ConnectionLog> {
        std::mem::take(&mut self.logs.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The network and the clock of a run.
pub trait Transport: Send + Sync {
    /// An open connection.
    type Socket: Socket;

    /// The time of the run, in nanoseconds.
    fn now(&self) -> u64;

    /// Opens a connection whose handshake carries the token. `None` if that fails.
    fn open(
        &self,
        gateway: SocketAddr,
        token: Token,
    ) -> impl Future<Output = Option<Self::Socket>> + Send;

    /// Called with the log of each connection that has ended.
    fn ended(&self, _log: &ConnectionLog) {}
}

/// The client side of a WebSocket connection.
pub trait Socket: Send {
    /// The number of messages that it sent along with its handshake, from number 1 on.
    fn sent_early(&self) -> u32 {
        0
    }

    /// Sends a binary message.
    ///
    /// # Errors
    /// When the connection cannot be written to any more. It may still have data to read.
    fn send(&mut self, message: Vec<u8>) -> impl Future<Output = io::Result<()>> + Send;

    /// Receives the next item other than pings and pongs; `None` at the end of the connection.
    /// Cancel safe.
    fn receive(&mut self) -> impl Future<Output = Option<Received>> + Send;

    /// Sends a close frame.
    ///
    /// # Errors
    /// When the connection cannot be written to any more.
    fn send_close(&mut self) -> impl Future<Output = io::Result<()>> + Send;

    /// Answers the close frame that was received.
    fn answer_close(&mut self) -> impl Future<Output = ()> + Send;
}

/// An item that a client receives.
#[derive(Debug)]
pub enum Received {
    /// A binary message.
    Message(Bytes),
    /// A close frame, with its code if it has one.
    Close(Option<u16>),
    /// An item that no part of the suite sends.
    Unexpected,
}

/// The parameters of the script that differ between runs.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The timeout of opening a connection.
    pub opening: Duration,
    /// The pause after a failed attempt, before a client tries the next gateway.
    pub retry: Duration,
    /// The timeout of the remote side's close frame.
    pub close: Duration,
    /// The number of unanswered messages at which a client stops sending: a stalled gateway is
    /// written to until its buffers are full, and no further.
    pub unanswered: usize,
    /// The number of messages after which clients that do not stay close or abort their connection.
    pub messages: Range<u32>,
}

/// The environment of all clients.
#[derive(Debug)]
pub struct Environment<T> {
    /// The network and the clock.
    pub transport: T,
    /// The address of each gateway for clients.
    pub gateways: Vec<SocketAddr>,
    /// The inner port of each gateway, which client ids contain.
    pub inner: Vec<u16>,
    /// The time between two messages of a client.
    pub every: Duration,
    /// The parameters of the script.
    pub limits: Limits,
    /// The progress of all clients.
    pub progress: Arc<Progress>,
}

/// Runs the script of one client until it has closed its last connection. Each decision is drawn
/// from `rng`.
pub async fn run_client<T: Transport>(
    number: u32,
    mut rng: StdRng,
    environment: &Environment<T>,
    mut phase: watch::Receiver<Phase>,
) {
    let Environment { transport, gateways, inner, limits, progress, .. } = environment;
    for attempt in 0.. {
        let token = Token { client: number, attempt };
        let gateway = (number + attempt) as usize % gateways.len();
        // Three of four stay, so that every client has a partner that stays.
        let plan = match (number % 4, rng.random_range(limits.messages.clone())) {
            (0, messages) if rng.random_bool(0.3) => ClientPlan::Drop(messages),
            (0, messages) => ClientPlan::Leave(messages),
            _ => ClientPlan::Stay,
        };
        let began = transport.now();
        // An attempt at a gateway that is down does not count as a connection.
        let opening = transport.open(gateways[gateway], token);
        let opened = tokio::select! {
            biased;
            opened = timeout(limits.opening, opening) => opened.ok().flatten(),
            () = reached(&mut phase, Phase::Listen) => None,
        };
        let mut end = None;
        match opened {
            Some(socket) => {
                let log = ConnectionLog::new(token, inner[gateway], began);
                let log = Connection::new(socket, environment, log).run(plan, &mut phase).await;
                transport.ended(&log);
                end = Some(log.end);
                progress.logs.lock().unwrap_or_else(PoisonError::into_inner).push(log);
            }
            None => sleep(limits.retry).await,
        }
        if end == Some(End::Stayed) || *phase.borrow() != Phase::Talk {
            break;
        }
    }
    progress.ended.fetch_add(1, Ordering::Relaxed);
}

/// Waits until the run has reached the phase `to`.
pub(crate) async fn reached(phase: &mut watch::Receiver<Phase>, to: Phase) {
    let _ = phase.wait_for(|phase| to <= *phase).await;
}
