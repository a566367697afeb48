//! Keeps a register knowing where we are.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::BytesMut;
use protocol::{
    Instance, Secret,
    codec::json_lines::Lines,
    discovery::{FromRegister, Gateway, GatewayConnect, GatewayNotice, ToRegister, WorkerConnect},
};
use service::{Health, backoff::Backoff, clock, dice, outage::Outage, stream::Stream, tls};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{self, Instant, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;

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

/// The longest line to a gateway.
const MAX_WORD: usize = 64 * 1024;

/// The longest list of gateways: as for workers.
const MAX_LINE: usize = 10 * 1024 * 1024;

/// Waits between tries: a register that comes back should know of every gateway before its
/// start-up grace is over.
const FIRST: Duration = Duration::from_millis(200);
const CAP: Duration = Duration::from_secs(1);

/// The same where the register refuses us, for which an operator has to do something. The first try comes
/// soon: a register that stood still may have taken an old connection of our host for one that lives.
const REFUSED_FIRST: Duration = Duration::from_secs(1);
const REFUSED_CAP: Duration = Duration::from_secs(10);

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

    /// Called when a register refuses us.
    fn refuse(&self) {
        if self.lock().registers == 0 {
            self.health.set_not_ready(CONDITION, "another gateway has this inner address");
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

/// What was logged of one register.
struct Contact {
    register: String,
    /// Whether it was ever reached.
    announced: bool,
    outage: Outage,
    /// How long it has refused this gateway.
    refusals: Outage,
}

impl Contact {
    /// The register knows this gateway.
    fn reached(&mut self, address: SocketAddr) {
        let (register, now) = (self.register.as_str(), clock::now());
        let away = [self.outage.ends(now), self.refusals.ends(now)].into_iter().flatten().max();
        match away {
            Some(away) => tracing::info!(register, %address, ?away, "register is back; announced"),
            None if !self.announced => tracing::info!(register, %address, "announced"),
            None => tracing::debug!(register, %address, "announced"),
        }
        self.announced = true;
    }

    /// The connection has ended, or none could be made.
    fn lost(&mut self, error: &anyhow::Error) {
        let (register, error) = (self.register.as_str(), format!("{error:#}"));
        match self.outage.fails(clock::now()) {
            Some(away) if away.is_zero() => {
                tracing::warn!(register, error, "register unreachable; trying on");
            }
            Some(away) => {
                tracing::warn!(register, error, ?away, "register still unreachable; trying on");
            }
            None => tracing::debug!(register, error, "register unreachable; trying on"),
        }
    }

    /// The register does not take the announcement, since another gateway holds the address.
    fn refused(&mut self, address: SocketAddr, by: SocketAddr) {
        let register = self.register.as_str();
        match self.refusals.fails(clock::now()) {
            Some(_) => tracing::error!(
                register, %address, holder = %by,
                "another gateway announces the same inner address; \
                 this one gets no workers until it has another --lan-ip or --lan-port"
            ),
            None => tracing::debug!(register, %address, holder = %by, "refused again"),
        }
    }
}

/// Why a register is left.
enum Left {
    /// The gateway goes down.
    Leaving,
    /// Another gateway, which connects from there, holds the address.
    Refused(SocketAddr),
}

/// Announces us to a register until `leaving` is cancelled; then, or when it is dropped, it withdraws us.
pub(crate) async fn announce(
    register: String,
    announcement: Announcement,
    reached: Reached,
    leaving: CancellationToken,
) {
    let (outage, refusals) = (Outage::default(), Outage::default());
    let mut contact = Contact { register, announced: false, outage, refusals };
    let mut backoff = Backoff::new(FIRST, CAP);
    let mut refused = Backoff::new(REFUSED_FIRST, REFUSED_CAP);
    loop {
        let since = Instant::now();
        let standing = Standing { reached: &reached, known: false, heard: since };
        let wait = match stay(&mut contact, &announcement, standing, &leaving).await {
            Ok(Left::Leaving) => return,
            Ok(Left::Refused(by)) => {
                contact.refused(announcement.address, by);
                reached.refuse();
                refused.ended_after(since.elapsed());
                REFUSED_FIRST + refused.next(dice::random())
            }
            Err(error) => {
                contact.lost(&error);
                reached.miss();
                backoff.ended_after(since.elapsed());
                backoff.next(dice::random())
            }
        };
        if leaving.run_until_cancelled(time::sleep(wait)).await.is_none() {
            return;
        }
    }
}

/// Announces us once, and stays connected until the register is gone, answers no more, or is left.
async fn stay(
    contact: &mut Contact,
    announcement: &Announcement,
    mut standing: Standing<'_>,
    leaving: &CancellationToken,
) -> anyhow::Result<Left> {
    let connect = Stream::connect(&contact.register, announcement.tls.as_ref());
    let connect = leaving.run_until_cancelled(time::timeout(CONNECT, connect));
    let Some(connected) = connect.await else {
        return Ok(Left::Leaving);
    };
    let mut stream = connected??;
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
    let (mut reader, mut writer) = stream.split();
    let every = PING.min(announcement.peer_timeout / (ASKED + 1));
    let mut ticks = time::interval_at(Instant::now() + WELCOME.min(every), every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // How often it was asked since anything was heard, and whether it ever answers.
    let (mut asked, mut answers) = (0, false);
    let (mut lines, mut read) = (Lines::new(MAX_WORD), BytesMut::new());
    loop {
        let mut heard = false;
        tokio::select! {
            length = reader.read_buf(&mut read) => match length? {
                // A register that does not know our secret hangs up at once, without a word.
                0 if !standing.known => anyhow::bail!("refused: do the two share a secret?"),
                0 => anyhow::bail!("connection closed"),
                _ => {
                    asked = 0;
                    while let Some(line) = lines.next(&mut read)? {
                        match GatewayNotice::parse(&line) {
                            Some(GatewayNotice::AddressTaken { by }) => {
                                return Ok(Left::Refused(by));
                            }
                            // Any line is an answer.
                            Some(GatewayNotice::Probe) => writer.write_all(&ping).await?,
                            None => {}
                        }
                        (answers, heard) = (true, true);
                    }
                }
            },
            _ = ticks.tick() => {
                asked += 1;
                if !answers && is_told_of(&contact.register, announcement, every).await {
                    (asked, heard) = (0, true);
                }
                anyhow::ensure!(asked <= ASKED, "no answer");
                if LATE <= asked {
                    standing.set(false);
                    standing.reached.miss();
                }
                writer.write_all(&ping).await?;
            }
            () = leaving.cancelled() => {
                // A register of PHP would not understand it.
                if answers {
                    let mut leave = BytesMut::new();
                    ToRegister::GatewayLeave.encode(&mut leave);
                    let _ = writer.write_all(&leave).await;
                }
                let _ = writer.shutdown().await;
                return Ok(Left::Leaving);
            }
        }
        if heard {
            let is_new = !standing.known;
            standing.hear();
            if is_new {
                contact.reached(announcement.address);
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
