//! Keeps a register knowing where we are.

use std::{net::SocketAddr, time::Duration};

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

/// Announces us to a register for as long as it runs; dropped, it withdraws us.
pub(crate) async fn announce(register: String, announcement: Announcement, health: Health) {
    let condition = format!("register {register}");
    let mut backoff = Backoff::new(FIRST, CAP);
    loop {
        health.set_not_ready(condition.clone(), "not reached");
        let since = Instant::now();
        if let Err(error) = stay(&register, &announcement, &health, &condition).await {
            tracing::warn!(
                register,
                error = format!("{error:#}"),
                "register unreachable; trying on"
            );
        }
        backoff.ended_after(since.elapsed());
        backoff.wait().await;
    }
}

/// Announces us once, and stays connected until the register is gone.
async fn stay(
    register: &str,
    announcement: &Announcement,
    health: &Health,
    condition: &str,
) -> anyhow::Result<()> {
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
    let mut welcome = false;
    let mut ignored = [0; 256];
    loop {
        // A register that does not know our secret hangs up at once, without a word.
        let wait = if welcome { PING } else { WELCOME };
        match time::timeout(wait, reader.read(&mut ignored)).await {
            Ok(Ok(0)) if welcome => anyhow::bail!("connection closed"),
            Ok(Ok(0)) => anyhow::bail!("refused: do the two share a secret?"),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(error.into()),
            Err(_) if welcome => writer.write_all(&ping).await?,
            Err(_) => {
                welcome = true;
                health.set_ready(condition);
            }
        }
    }
}

/// A register that keeps the connection for so long has taken us in.
const WELCOME: Duration = Duration::from_millis(200);
