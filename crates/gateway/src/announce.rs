//! Keeps a register knowing where we are.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::BytesMut;
use protocol::{
    Secret,
    discovery::{Gateway, GatewayConnect, ToRegister},
};
use service::{Health, backoff::Backoff};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{self, Instant},
};

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);

/// How often a register hears that we are still here.
const PING: Duration = Duration::from_secs(25);

/// Waits between tries: a register that comes back should know of every gateway before its
/// start-up grace is over.
const FIRST: Duration = Duration::from_millis(200);
const CAP: Duration = Duration::from_secs(1);

/// What we say of ourselves.
#[derive(Clone, Debug)]
pub(crate) struct Announcement {
    pub(crate) address: SocketAddr,
    /// Which life of this gateway it is.
    pub(crate) instance: String,
    pub(crate) secret: Secret,
}

/// How many registers know of us. One is enough to be ready: workers hear of us from any.
#[derive(Clone, Debug)]
pub(crate) struct Reached {
    count: Arc<AtomicUsize>,
    health: Health,
}

impl Reached {
    pub(crate) fn none(health: Health) -> Self {
        health.set_not_ready(CONDITION, "none is reached");
        Self { count: Arc::default(), health }
    }

    fn reach(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.health.set_ready(CONDITION);
    }

    fn lose(&self) {
        if self.count.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.health.set_not_ready(CONDITION, "none is reached");
        }
    }
}

const CONDITION: &str = "register";

/// Announces us to a register for as long as it runs; dropped, it withdraws us.
pub(crate) async fn announce(register: String, announcement: Announcement, reached: Reached) {
    let mut backoff = Backoff::new(FIRST, CAP);
    loop {
        let since = Instant::now();
        let mut welcome = false;
        let ended = stay(&register, &announcement, || {
            welcome = true;
            reached.reach();
        });
        let Err(error) = ended.await;
        if welcome {
            reached.lose();
        }
        tracing::warn!(register, error = format!("{error:#}"), "register unreachable; trying on");
        backoff.ended_after(since.elapsed());
        backoff.wait().await;
    }
}

/// Announces us once, and stays connected until the register is gone.
async fn stay(
    register: &str,
    announcement: &Announcement,
    on_welcome: impl FnOnce(),
) -> anyhow::Result<Infallible> {
    let mut stream = time::timeout(CONNECT, TcpStream::connect(register)).await??;
    let mut hello = BytesMut::new();
    let gateway = Gateway {
        address: announcement.address.to_string(),
        native: true,
        instance: Some(announcement.instance.clone()),
    };
    let secret_key = Some(announcement.secret.clone());
    ToRegister::GatewayConnect(GatewayConnect { gateway, secret_key }).encode(&mut hello);
    stream.write_all(&hello).await?;
    tracing::info!(register, address = %announcement.address, "announced");
    let mut ping = BytesMut::new();
    ToRegister::Ping.encode(&mut ping);
    let (mut reader, mut writer) = stream.split();
    let mut on_welcome = Some(on_welcome);
    let mut ignored = [0; 256];
    loop {
        // A register that does not know our secret hangs up at once, without a word.
        let wait = if on_welcome.is_some() { WELCOME } else { PING };
        match time::timeout(wait, reader.read(&mut ignored)).await {
            Ok(Ok(0)) if on_welcome.is_some() => {
                anyhow::bail!("refused: do the two share a secret?")
            }
            Ok(Ok(0)) => anyhow::bail!("connection closed"),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => match on_welcome.take() {
                Some(on_welcome) => on_welcome(),
                None => writer.write_all(&ping).await?,
            },
        }
    }
}

/// A register that keeps the connection for so long has taken us in.
const WELCOME: Duration = Duration::from_millis(200);
