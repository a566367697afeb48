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
    codec::json_lines::Lines,
    discovery::{FromRegister, Gateway, GatewayConnect, ToRegister, WorkerConnect},
};
use service::{Health, backoff::Backoff, stream::Stream, tls};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{self, Instant, MissedTickBehavior},
};

use crate::sight::Sight;

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);

/// How often a register hears that we are still here, at the least.
const PING: Duration = Duration::from_secs(25);

/// A register of ours answers sooner. One of PHP says nothing to a gateway, ever, and one that stands
/// still says nothing either: then we look at what it tells others.
const WELCOME: Duration = Duration::from_millis(200);

/// How many times a silent register is asked whether it is there, in the time that it may be
/// silent; and after how many of them it does not count any more.
const ASKED: u32 = 5;
const LATE: u32 = 3;

/// The longest list of gateways: as for workers.
const MAX_LINE: usize = 10 * 1024 * 1024;

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
    /// How long a register may be silent.
    pub(crate) peer_timeout: Duration,
    /// How registers are spoken to.
    pub(crate) tls: Option<tls::Inner>,
}

/// How many registers know of us. One is enough to be ready, since workers hear of us from any; and
/// for a while none is needed, since a register that restarts takes nothing from anybody.
#[derive(Clone, Debug)]
pub(crate) struct Reached {
    state: Arc<Mutex<State>>,
    health: Health,
    sight: Sight,
    /// For how long no register need be reached: a restart takes a fraction of it.
    patience: Duration,
}

#[derive(Debug)]
struct State {
    registers: usize,
    lost: Instant,
}

impl Reached {
    pub(crate) fn none(health: Health, sight: Sight) -> Self {
        health.set_not_ready(CONDITION, "none is reached");
        let state = State { registers: 0, lost: Instant::now() };
        let patience = sight.patience() / 2;
        Self { state: Arc::new(Mutex::new(state)), health, sight, patience }
    }

    fn reach(&self) {
        let mut state = self.lock();
        state.registers += 1;
        if state.registers == 1 {
            self.sight.regain(Instant::now().into_std());
        }
        self.health.set_ready(CONDITION);
    }

    /// A register does not know of us any more that was last heard then.
    fn lose(&self, heard: Instant) {
        let mut state = self.lock();
        state.registers -= 1;
        state.lost = Instant::now();
        if state.registers == 0 {
            // It is asked far more often: whoever has not heard of it for so long stood still, or it
            // fell silent, and it may have forgotten us long ago.
            let silent = self.patience <= state.lost - heard;
            self.sight.lose(if silent { heard } else { state.lost }.into_std());
        }
    }

    /// Called while a register is not reached.
    fn miss(&self) {
        let state = self.lock();
        if state.registers == 0 && self.patience < state.lost.elapsed() {
            self.health.set_not_ready(CONDITION, "none is reached");
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const CONDITION: &str = "register";

/// Whether one register knows of us. It does not any more once this is dropped.
struct Standing<'a> {
    reached: &'a Reached,
    known: bool,
    /// When it was last heard.
    heard: Instant,
}

impl Standing<'_> {
    fn set(&mut self, known: bool) {
        match (self.known, known) {
            (false, true) => self.reached.reach(),
            (true, false) => self.reached.lose(self.heard),
            _ => {}
        }
        self.known = known;
    }

    /// It has said something, or somebody has heard of us from it.
    fn hear(&mut self) {
        self.heard = Instant::now();
        self.set(true);
    }
}

impl Drop for Standing<'_> {
    fn drop(&mut self) {
        self.set(false);
    }
}

/// Announces us to a register for as long as it runs; dropped, it withdraws us.
pub(crate) async fn announce(register: String, announcement: Announcement, reached: Reached) {
    let mut backoff = Backoff::new(FIRST, CAP);
    loop {
        let since = Instant::now();
        let standing = Standing { reached: &reached, known: false, heard: since };
        let Err(error) = stay(&register, &announcement, standing).await;
        reached.miss();
        tracing::warn!(register, error = format!("{error:#}"), "register unreachable; trying on");
        backoff.ended_after(since.elapsed());
        backoff.wait().await;
    }
}

/// Announces us once, and stays connected until the register is gone or answers no more.
async fn stay(
    register: &str,
    announcement: &Announcement,
    mut standing: Standing<'_>,
) -> anyhow::Result<Infallible> {
    let connect = Stream::connect(register, announcement.tls.as_ref());
    let mut stream = time::timeout(CONNECT, connect).await??;
    let mut hello = BytesMut::new();
    let gateway = Gateway {
        address: announcement.address.to_string(),
        native: true,
        instance: Some(announcement.instance.clone()),
    };
    let secret_key = Some(announcement.secret.clone());
    ToRegister::GatewayConnect(GatewayConnect { gateway, secret_key }).encode(&mut hello);
    let mut ping = BytesMut::new();
    ToRegister::Ping { answer: true }.encode(&mut ping);
    hello.extend_from_slice(&ping);
    stream.write_all(&hello).await?;
    tracing::info!(register, address = %announcement.address, "announced");
    let (mut reader, mut writer) = stream.split();
    let every = PING.min(announcement.peer_timeout / (ASKED + 1));
    let mut ticks = time::interval_at(Instant::now() + WELCOME.min(every), every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // How often it was asked since anything was heard, and whether it ever answers.
    let (mut asked, mut answers) = (0, false);
    let mut answer = [0; 256];
    loop {
        tokio::select! {
            read = reader.read(&mut answer) => match read? {
                // A register that does not know our secret hangs up at once, without a word.
                0 if !standing.known => anyhow::bail!("refused: do the two share a secret?"),
                0 => anyhow::bail!("connection closed"),
                _ => {
                    (asked, answers) = (0, true);
                    standing.hear();
                }
            },
            _ = ticks.tick() => {
                asked += 1;
                if !answers && is_told_of(register, announcement, every).await {
                    asked = 0;
                    standing.hear();
                }
                anyhow::ensure!(asked <= ASKED, "no answer");
                if LATE <= asked {
                    standing.set(false);
                    standing.reached.miss();
                }
                writer.write_all(&ping).await?;
            }
        }
    }
}

/// Asks as a back end would, and says whether we are among those that it is told of, within that
/// time.
async fn is_told_of(register: &str, announcement: &Announcement, within: Duration) -> bool {
    let ours = announcement.address.to_string();
    let look = async {
        let mut stream = Stream::connect(register, announcement.tls.as_ref()).await?;
        let mut ask = BytesMut::new();
        ToRegister::WorkerConnect(WorkerConnect {
            secret_key: Some(announcement.secret.clone()),
            known: Vec::new(),
            instance: None,
            settled: Vec::new(),
            takeovers: Vec::new(),
            complete: false,
        })
        .encode(&mut ask);
        stream.write_all(&ask).await?;
        let (mut lines, mut read) = (Lines::new(MAX_LINE), BytesMut::new());
        loop {
            while let Some(line) = lines.next(&mut read)? {
                let FromRegister::BroadcastAddresses { gateways, .. } = FromRegister::parse(&line)?;
                if gateways.iter().any(|gateway| gateway.address == ours) {
                    return Ok(());
                }
            }
            anyhow::ensure!(stream.read_buf(&mut read).await? != 0, "closed");
        }
    };
    let told = time::timeout(within, look).await;
    matches!(told, Ok(Ok(())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_register_may_be_gone_for_a_while() {
        let health = Health::new();
        let reached = Reached::none(health.clone(), Sight::new(TIMEOUT));
        reached.miss();
        assert!(!health.is_ready(), "none was ever reached");
        reached.reach();
        reached.lose(Instant::now());
        reached.miss();
        assert!(health.is_ready(), "it has only just gone");
        time::sleep(TIMEOUT).await;
        reached.miss();
        assert!(!health.is_ready(), "it stays away");
        reached.reach();
        assert!(health.is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn one_of_several_registers_is_enough() {
        let health = Health::new();
        let reached = Reached::none(health.clone(), Sight::new(TIMEOUT));
        reached.reach();
        reached.reach();
        reached.lose(Instant::now());
        time::sleep(TIMEOUT).await;
        reached.miss();
        assert!(health.is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn a_register_that_fell_silent_knew_nothing_of_us_since() {
        let sight = Sight::new(TIMEOUT);
        let reached = Reached::none(Health::new(), sight.clone());
        let now = || Instant::now().into_std();
        time::sleep(TIMEOUT * 9).await;
        assert!(!sight.is_doubtful(now()), "nobody could know of us before");
        reached.reach();
        reached.reach();
        reached.lose(Instant::now());
        assert!(!sight.is_doubtful(now()), "the other is there");
        reached.lose(Instant::now());
        assert!(sight.is_doubtful(now()));
        time::sleep(Duration::from_secs(1)).await;
        reached.reach();
        assert!(!sight.is_doubtful(now()), "back at once");
        time::sleep(TIMEOUT).await;
        // We stood still: it is back at once only as far as we can see.
        reached.lose(Instant::now() - TIMEOUT);
        reached.reach();
        assert!(sight.is_doubtful(now()));
    }
}
