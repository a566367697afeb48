//! The clients of a run, over real sockets.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::{SinkExt as _, StreamExt as _};
use rand::{SeedableRng as _, rngs::StdRng};
use test_support::{
    account::ConnectionLog,
    clients::{Environment, Limits, Phase, Progress, Received, Socket, Transport, run_client},
    message::Token,
};
use tokio::{
    net::TcpStream,
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep},
};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{Error, Message, protocol::WebSocketConfig},
};

use crate::journal;

/// The parameters of the clients' script.
pub const LIMITS: Limits = Limits {
    opening: Duration::from_secs(20),
    retry: Duration::from_millis(30),
    close: Duration::from_secs(15),
    unanswered: 1_000,
    messages: 5..100,
};

/// Kernel sockets and the system clock.
#[derive(Debug)]
pub struct Tcp;

/// An open connection.
#[derive(Debug)]
pub struct WebSocket(WebSocketStream<TcpStream>);

impl Transport for Tcp {
    type Socket = WebSocket;

    fn now(&self) -> u64 {
        journal::now()
    }

    async fn open(&self, gateway: SocketAddr, token: Token) -> Option<WebSocket> {
        let stream = TcpStream::connect(gateway).await.ok()?;
        stream.set_nodelay(true).ok()?;
        let request = format!("ws://{gateway}/?{}", token.to_u64());
        // The default reserves 128 KiB per connection.
        let config = WebSocketConfig::default().read_buffer_size(4096).write_buffer_size(0);
        let (socket, _) = client_async_with_config(request, stream, Some(config)).await.ok()?;
        Some(WebSocket(socket))
    }
}

impl Socket for WebSocket {
    async fn send(&mut self, message: Vec<u8>) -> io::Result<()> {
        self.0.send(Message::Binary(message.into())).await.map_err(io_error)
    }

    async fn receive(&mut self) -> Option<Received> {
        loop {
            return Some(match self.0.next().await?.ok()? {
                Message::Binary(bytes) => Received::Message(bytes),
                Message::Close(frame) => Received::Close(frame.map(|frame| frame.code.into())),
                Message::Ping(_) | Message::Pong(_) => continue,
                Message::Text(_) | Message::Frame(_) => Received::Unexpected,
            });
        }
    }

    async fn send_close(&mut self) -> io::Result<()> {
        self.0.close(None).await.map_err(io_error)
    }

    async fn answer_close(&mut self) {
        // The next read sends the answer.
        let _ = self.0.next().await;
    }
}

fn io_error(error: Error) -> io::Error {
    io::Error::other(error)
}

/// All clients of a run.
#[derive(Debug)]
pub struct Clients {
    clients: JoinSet<()>,
    phase: watch::Sender<Phase>,
    /// Their progress.
    pub progress: Arc<Progress>,
}

impl Clients {
    /// Starts `count` clients, whose decisions follow from the seed.
    pub fn start(count: u32, seed: u64, environment: Environment<Tcp>) -> Self {
        let (phase, environment) = (watch::Sender::new(Phase::Talk), Arc::new(environment));
        let mut clients = JoinSet::new();
        for number in 0..count {
            let (environment, phase) = (Arc::clone(&environment), phase.subscribe());
            clients.spawn(async move {
                // Spreads connects and messages over the interval.
                sleep(environment.every.mul_f64(f64::from(number) / f64::from(count))).await;
                let rng = StdRng::seed_from_u64(seed ^ u64::from(number) << 20);
                run_client(number, rng, &environment, phase).await;
            });
        }
        Self { clients, phase, progress: Arc::clone(&environment.progress) }
    }

    /// Sets the phase of all clients.
    pub fn set_phase(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    /// Polls until `done`. `false` if nothing was received for `patience`.
    pub async fn until(&self, patience: Duration, done: impl Fn(&Progress) -> bool) -> bool {
        let mut last = (Instant::now(), 0);
        while !done(&self.progress) {
            let received = self.received() + self.progress.joined.load(Ordering::Relaxed);
            if received != last.1 {
                last = (Instant::now(), received);
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
            let received = self.received();
            sleep(time).await;
            if received == self.received() {
                return;
            }
        }
    }

    fn received(&self) -> u64 {
        self.progress.received.load(Ordering::Relaxed)
    }

    /// Waits until all clients have ended, and returns the logs of their connections.
    pub async fn join(self) -> Vec<ConnectionLog> {
        self.clients.join_all().await;
        self.progress.take_logs()
    }
}
