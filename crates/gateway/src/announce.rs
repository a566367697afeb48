//! Keeps a register knowing where we are.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::BytesMut;
use protocol::{
    Instance, Secret,
    discovery::{Gateway, GatewayConnect, ToRegister},
};
use service::{Health, backoff::Backoff, net::TcpStream};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
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
    pub(crate) instance: Instance,
    pub(crate) secret: Secret,
}

/// How many registers know of us. One is enough to be ready, since workers hear of us from any; and
/// for a while none is needed, since a register that restarts takes nothing from anybody.
#[derive(Clone, Debug)]
pub(crate) struct Reached {
    state: Arc<Mutex<State>>,
    health: Health,
}

#[derive(Debug)]
struct State {
    registers: usize,
    lost: Instant,
}

impl Reached {
    pub(crate) fn none(health: Health) -> Self {
        health.set_not_ready(CONDITION, "none is reached");
        let state = State { registers: 0, lost: Instant::now() };
        Self { state: Arc::new(Mutex::new(state)), health }
    }

    fn reach(&self) {
        self.lock().registers += 1;
        self.health.set_ready(CONDITION);
    }

    fn lose(&self) {
        let mut state = self.lock();
        state.registers -= 1;
        state.lost = Instant::now();
    }

    /// Called while a register is not reached.
    fn miss(&self) {
        let state = self.lock();
        if state.registers == 0 && PATIENCE < state.lost.elapsed() {
            self.health.set_not_ready(CONDITION, "none is reached");
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const CONDITION: &str = "register";

/// For how long no register need be reached: a restart takes a fraction of it.
const PATIENCE: Duration = Duration::from_secs(15);

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
        reached.miss();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_register_may_be_gone_for_a_while() {
        let health = Health::new();
        let reached = Reached::none(health.clone());
        reached.miss();
        assert!(!health.is_ready(), "none was ever reached");
        reached.reach();
        reached.lose();
        reached.miss();
        assert!(health.is_ready(), "it has only just gone");
        time::sleep(PATIENCE * 2).await;
        reached.miss();
        assert!(!health.is_ready(), "it stays away");
        reached.reach();
        assert!(health.is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn one_of_several_registers_is_enough() {
        let health = Health::new();
        let reached = Reached::none(health.clone());
        reached.reach();
        reached.reach();
        reached.lose();
        time::sleep(PATIENCE * 2).await;
        reached.miss();
        assert!(health.is_ready());
    }
}
