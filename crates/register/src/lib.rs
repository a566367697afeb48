//! The register: gateways say where they are, workers ask, and hear of every change.
//!
//! It speaks GatewayWorker's text protocol to everybody (see [`protocol::discovery`] for the
//! lines), so that PHP and Rust peers meet in one place. It keeps nothing on disk: what it knows
//! is who is connected, and after a restart everybody comes back by themselves. Several registers
//! know nothing of each other; gateways announce themselves to all of them, so each tells the
//! whole truth alone.
//!
//! Rules and where they come from:
//!
//! | Rule | From |
//! |---|---|
//! | A connection has 10 s for its first complete line, whatever it says; with TLS, 10 s for its handshake before | the reference |
//! | A line that is no request is answered once and closed; a wrong key, an unknown event or a gateway without an address is closed without a word | the reference |
//! | A line has at most 64 KiB (the reference: 10 MiB); strangers must not make us remember more | ours |
//! | After a start, answers wait until those who were known before are back, or the grace is over | ours, not with `--compat strict` |
//! | Who has ever pinged must be heard of every 75 s; who has not is left to TCP keepalive | ours, not with `--compat strict`; keepalive as the reference |
//! | Who lets 64 answers pile up unread is closed; of lists that nobody asked for, only the newest waits | ours |
//! | An address is a host and a port, in visible ASCII characters | ours |
//! | An address that a gateway of ours holds, which lives, is refused to another instance (`claims.rs`) | ours |
//! | An address is told once, however many connections announced it, until the last is gone | the reference |
//!
//! It is ready as soon as it listens, the start-up grace included: it takes peers in then and
//! answers them a moment later, which is what they came for.

mod addresses;
mod board;
mod claims;
mod closed;
mod config;
mod metrics;
mod outbox;
mod peer;
mod presence;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use prometheus_client::registry::Registry;
use service::{
    clock,
    listen::{self, Acceptor, CannotListen},
    net::{self, TcpStream},
    supervise::spawn_tracked,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use config::{Args, Config, PING_TTL};

use peer::Shared;

/// A register that has its port.
#[derive(Debug)]
pub struct Register {
    acceptor: Acceptor,
    shared: Arc<Shared>,
    startup_grace: Duration,
}

impl Register {
    /// Takes the port; nobody is served yet. Must be called on a tokio runtime.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub fn bind(config: Config) -> Result<Self, CannotListen> {
        let Config { listen, secret, startup_grace, ping_ttl, gate } = config;
        let acceptor = listen::bind(listen, "--listen")?;
        let shared = Arc::new(Shared::new(secret, !startup_grace.is_zero(), ping_ttl, gate));
        Ok(Self { acceptor, shared, startup_grace })
    }

    /// Where it listens.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.acceptor.addr()
    }

    /// Shows what it counts.
    pub fn describe(&self, metrics: &mut Registry) {
        self.shared.metrics.describe(metrics);
    }

    /// Serves until `shutdown`, then closes every connection: peers keep what they know, and come
    /// back by themselves.
    pub async fn serve(mut self, shutdown: impl Future<Output = ()>) {
        let (closing, peers) = (CancellationToken::new(), TaskTracker::new());
        let shared = &self.shared;
        let grace = async {
            tokio::time::sleep(self.startup_grace).await;
            shared.board().end_grace();
            std::future::pending().await
        };
        let accept = async {
            loop {
                let (stream, from) = self.acceptor.accept().await;
                shared.metrics.connections.inc();
                spawn_tracked(&peers, serve(stream, from, Arc::clone(shared), closing.clone()));
            }
        };
        let waiting = async {
            loop {
                tokio::time::sleep(claims::SAME_HOST / 4).await;
                shared.board().let_in(clock::now());
            }
        };
        tokio::select! {
            () = shutdown => {}
            () = accept => {}
            () = grace => {}
            () = waiting => {}
        }
        shared.board().close();
        service::shutdown::drain(&closing, &peers, GOODBYE).await;
    }
}

/// Closing takes no longer than this.
const GOODBYE: Duration = Duration::from_secs(1);

async fn serve(
    stream: TcpStream,
    from: SocketAddr,
    shared: Arc<Shared>,
    closing: CancellationToken,
) {
    if let Err(error) = net::watch_over(&stream, KEEPALIVE, KEEPALIVE * 2) {
        tracing::debug!(%from, %error, "no keepalive");
    }
    // A socket dropped is a socket closed.
    closing.run_until_cancelled_owned(peer::welcome(stream, from, shared)).await;
}

/// As the reference: a peer whose host is gone is noticed after twice this.
const KEEPALIVE: Duration = Duration::from_secs(55);
