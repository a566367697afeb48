//! A register on a free port, and peers that say lines to it.

#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses its own part of this")]

use std::{net::SocketAddr, time::Duration};

use protocol::Secret;
use register::{Config, PING_TTL, Register};
use service::tls::Gate;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// Long enough for any machine; only a failing test waits so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Short, and only used to see that nothing comes.
pub(crate) const MOMENT: Duration = Duration::from_millis(100);

/// A register that runs until it is dropped or stopped.
pub(crate) struct Running {
    pub(crate) addr: SocketAddr,
    shutdown: CancellationToken,
    serving: JoinHandle<()>,
}

impl Running {
    /// On a free port, with this secret and this grace.
    pub(crate) fn start(secret: &str, startup_grace: Duration) -> Self {
        Self::start_on(SocketAddr::from(([127, 0, 0, 1], 0)), secret, startup_grace)
    }

    pub(crate) fn start_on(listen: SocketAddr, secret: &str, startup_grace: Duration) -> Self {
        let secret = Secret::from(secret);
        let (ping_ttl, gate) = (Some(PING_TTL), Gate::default());
        let config = Config { listen, secret, startup_grace, ping_ttl, gate };
        let register = Register::bind(config).unwrap();
        let (addr, shutdown) = (register.addr(), CancellationToken::new());
        let serving = tokio::spawn(register.serve(shutdown.clone().cancelled_owned()));
        Self { addr, shutdown, serving }
    }

    /// Ends it as a signal would.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        timeout(PATIENCE, self.serving).await.unwrap().unwrap();
    }

    pub(crate) async fn peer(&self) -> Peer {
        Peer { stream: BufReader::new(TcpStream::connect(self.addr).await.unwrap()) }
    }

    /// A gateway that has announced itself.
    pub(crate) async fn gateway(&self, address: &str, secret: &str) -> Peer {
        let mut peer = self.peer().await;
        // Two blanks, as PHP gateways write it.
        let line = format!(
            "{{\"event\":\"gateway_connect\", \"address\":\"{address}\", \"secret_key\":\"{secret}\"}}\n"
        );
        peer.say(line).await;
        peer
    }

    /// A worker that has asked.
    pub(crate) async fn worker(&self, secret: &str) -> Peer {
        let mut peer = self.peer().await;
        peer.say(ask(secret)).await;
        peer
    }
}

/// What a PHP worker, or client, asks with.
pub(crate) fn ask(secret: &str) -> String {
    format!("{{\"event\":\"worker_connect\",\"secret_key\":\"{secret}\"}}\n")
}

/// What a register answers.
pub(crate) fn broadcast(addresses: &[&str]) -> String {
    format!("{{\"event\":\"broadcast_addresses\",\"addresses\":{}}}\n", list(addresses))
}

fn list(addresses: &[&str]) -> String {
    serde_json::to_string(addresses).unwrap()
}

/// One connection to a register.
pub(crate) struct Peer {
    stream: BufReader<TcpStream>,
}

impl Peer {
    pub(crate) async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// The next line, whole.
    pub(crate) async fn hears(&mut self) -> String {
        let mut line = String::new();
        timeout(PATIENCE, self.stream.read_line(&mut line)).await.expect("a line").unwrap();
        line
    }

    /// Reads until the list is this; what came before was on the way to it.
    pub(crate) async fn hears_at_last(&mut self, expected: &str) {
        loop {
            let line = self.hears().await;
            assert!(!line.is_empty(), "closed before {expected}");
            if line == expected {
                return;
            }
        }
    }

    /// Nothing comes, for a moment, and it is not closed.
    pub(crate) async fn hears_nothing(&mut self) {
        let mut line = Vec::new();
        let heard = timeout(MOMENT, self.stream.read_until(b'\n', &mut line)).await;
        assert!(heard.is_err(), "{heard:?}: {}", String::from_utf8_lossy(&line));
    }

    /// Everything until the register closes.
    pub(crate) async fn hears_to_the_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        timeout(PATIENCE, self.stream.read_to_end(&mut bytes)).await.expect("an end").unwrap();
        bytes
    }

    pub(crate) async fn is_closed_without_a_word(&mut self) {
        let bytes = self.hears_to_the_end().await;
        assert!(bytes.is_empty(), "{}", String::from_utf8_lossy(&bytes));
    }

    /// The socket itself, for who wants to misbehave.
    pub(crate) fn into_socket(self) -> TcpStream {
        self.stream.into_inner()
    }

    pub(crate) fn socket(&mut self) -> &mut TcpStream {
        self.stream.get_mut()
    }

    pub(crate) async fn shut(&mut self) {
        self.stream.get_mut().shutdown().await.unwrap();
    }
}
