//! The register: service discovery. Gateways announce their addresses; workers subscribe to the
//! list and to every change.
//!
//! All peers use GatewayWorker's text protocol (see [`protocol::discovery`] for the lines), so that
//! PHP and Rust peers share one register. Nothing is stored on disk: the state consists of the open
//! connections, and after a restart all peers reconnect by themselves. Registers do not communicate
//! with each other; gateways announce themselves to all of them, so each has the complete list.
//!
//! Rules of the reference, GatewayWorker's register:
//!
//! - A connection must send its first complete line, of any kind, within 10 s; with TLS, after a
//!   handshake of at most 10 s.
//! - A line that is no request is answered once, then the connection is closed. On a wrong key, an
//!   unknown event or a gateway without an address it is closed without a response.
//! - An address is listed once, regardless of how many connections have announced it, until the
//!   last of them closes.
//!
//! Additional rules:
//!
//! - A line has at most 64 KiB (reference: 10 MiB), to bound the memory of unauthenticated
//!   connections.
//! - After a start, responses wait until all previously known gateways have reconnected, or the
//!   grace period has ended. Not with `--compat strict`.
//! - A connection that has ever pinged is closed after 75 s without a line; any other relies on TCP
//!   keepalive, as in the reference. Not with `--compat strict`.
//! - A connection with 64 unread responses is closed. Of unsolicited lists, only the newest is
//!   queued.
//! - An address is a host and a port, in visible ASCII characters.
//! - An address held by a live native gateway is refused to another instance (`claims.rs`).
//! - A peer with the secret may ask for the peers that were refused lately.
//!
//! The register is ready as soon as it listens, also during the start-up grace: it accepts peers,
//! and responds once the grace ends.

mod addresses;
mod claims;
mod closed;
mod config;
mod membership;
mod metrics;
mod outbox;
mod peer;
mod presence;
mod refusals;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use prometheus_client::registry::Registry;
use runtime::{
    clock,
    listen::{self, Acceptor, CannotListen},
    net::{self, TcpStream},
    supervise::spawn_tracked,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use config::{Args, Config, PING_TTL};

use peer::Shared;

/// A register that is bound to its port.
#[derive(Debug)]
pub struct Register {
    acceptor: Acceptor,
    shared: Arc<Shared>,
    startup_grace: Duration,
}

impl Register {
    /// Binds the listener without serving connections yet. Must be called on a tokio runtime.
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub fn bind(config: Config) -> Result<Self, CannotListen> {
        let Config { listen, secret, startup_grace, ping_ttl, gate } = config;
        let acceptor = listen::bind(listen, "--listen")?;
        let shared = Arc::new(Shared::new(secret, !startup_grace.is_zero(), ping_ttl, gate));
        Ok(Self { acceptor, shared, startup_grace })
    }

    /// The address that it listens on.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.acceptor.addr()
    }

    /// Registers its metrics.
    pub fn describe(&self, metrics: &mut Registry) {
        self.shared.metrics.describe(metrics);
    }

    /// Serves until `shutdown`, then closes every connection. Peers keep their state and reconnect
    /// by themselves.
    pub async fn serve(mut self, shutdown: impl Future<Output = ()>) {
        let (closing, peers) = (CancellationToken::new(), TaskTracker::new());
        let shared = &self.shared;
        let grace = async {
            tokio::time::sleep(self.startup_grace).await;
            shared.membership().end_grace();
            std::future::pending().await
        };
        let accept = async {
            loop {
                let (stream, from) = self.acceptor.accept().await;
                shared.metrics.connections.inc();
                spawn_tracked(&peers, serve(stream, from, Arc::clone(shared), closing.clone()));
            }
        };
        let admit = async {
            loop {
                tokio::time::sleep(claims::SAME_HOST_DELAY / 4).await;
                shared.membership().admit_due(clock::now());
            }
        };
        tokio::select! {
            () = shutdown => {}
            () = accept => {}
            () = grace => {}
            () = admit => {}
        }
        shared.membership().close();
        service::shutdown::drain(&closing, &peers, CLOSE_DEADLINE).await;
    }
}

/// Maximum duration of closing all connections.
const CLOSE_DEADLINE: Duration = Duration::from_secs(1);

async fn serve(
    stream: TcpStream,
    from: SocketAddr,
    shared: Arc<Shared>,
    closing: CancellationToken,
) {
    if let Err(error) = net::enable_keepalive(&stream, KEEPALIVE, KEEPALIVE * 2) {
        tracing::debug!(%from, %error, "cannot enable keepalive");
    }
    // Dropping the future closes the socket.
    closing.run_until_cancelled_owned(peer::accept(stream, from, shared)).await;
}

/// As in the reference: a peer whose host has failed is detected after twice this.
const KEEPALIVE: Duration = Duration::from_secs(55);
