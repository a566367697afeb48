//! A register on a free port, and peers that exchange lines with it.

#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses its own part of this")]

use std::{net::SocketAddr, time::Duration};

use protocol::Secret;
use register::{Config, PING_TTL, Register};
use runtime::tls::InnerAcceptor;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// Upper bound of any wait; only a failing test reaches it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A short wait, used only to check that nothing is received.
pub(crate) const MOMENT: Duration = Duration::from_millis(100);

/// A register that runs until it is dropped or stopped.
pub(crate) struct Running {
    pub(crate) addr: SocketAddr,
    shutdown: CancellationToken,
    serving: JoinHandle<()>,
}

impl Running {
    /// Starts on a free port, with this secret and this grace period.
    pub(crate) fn start(secret: &str, startup_grace: Duration) -> Self {
        Self::start_on(SocketAddr::from(([127, 0, 0, 1], 0)), secret, startup_grace)
    }

    pub(crate) fn start_on(listen: SocketAddr, secret: &str, startup_grace: Duration) -> Self {
        let secret = Secret::from(secret);
        let (ping_ttl, gate) = (Some(PING_TTL), InnerAcceptor::default());
        let config = Config { listen, secret, startup_grace, ping_ttl, gate };
        let register = Register::bind(config).unwrap();
        let (addr, shutdown) = (register.addr(), CancellationToken::new());
        let serving = tokio::spawn(register.serve(shutdown.clone().cancelled_owned()));
        Self { addr, shutdown, serving }
    }

    /// Stops it as a signal would.
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
        peer.send(line).await;
        peer
    }

    /// A worker that has subscribed.
    pub(crate) async fn worker(&self, secret: &str) -> Peer {
        let mut peer = self.peer().await;
        peer.send(subscribe(secret)).await;
        peer
    }
}

/// The request of a PHP worker or back end.
pub(crate) fn subscribe(secret: &str) -> String {
    format!("{{\"event\":\"worker_connect\",\"secret_key\":\"{secret}\"}}\n")
}

/// The response of a register.
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
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// The next line, whole.
    pub(crate) async fn receive(&mut self) -> String {
        let mut line = String::new();
        timeout(PATIENCE, self.stream.read_line(&mut line)).await.expect("a line").unwrap();
        line
    }

    /// Reads until this line is received; earlier lines are skipped.
    pub(crate) async fn receive_until(&mut self, expected: &str) {
        loop {
            let line = self.receive().await;
            assert!(!line.is_empty(), "closed before {expected}");
            if line == expected {
                return;
            }
        }
    }

    /// Checks that nothing is received for a moment, and the connection stays open.
    pub(crate) async fn receives_nothing(&mut self) {
        let mut line = Vec::new();
        let result = timeout(MOMENT, self.stream.read_until(b'\n', &mut line)).await;
        assert!(result.is_err(), "{result:?}: {}", String::from_utf8_lossy(&line));
    }

    /// Reads until the register closes the connection.
    pub(crate) async fn read_to_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        timeout(PATIENCE, self.stream.read_to_end(&mut bytes)).await.expect("EOF").unwrap();
        bytes
    }

    pub(crate) async fn is_closed_without_response(&mut self) {
        let bytes = self.read_to_end().await;
        assert!(bytes.is_empty(), "{}", String::from_utf8_lossy(&bytes));
    }

    /// The socket itself, for protocol violations.
    pub(crate) fn into_socket(self) -> TcpStream {
        self.stream.into_inner()
    }

    pub(crate) fn socket(&mut self) -> &mut TcpStream {
        self.stream.get_mut()
    }

    pub(crate) async fn shutdown_write(&mut self) {
        self.stream.get_mut().shutdown().await.unwrap();
    }
}
