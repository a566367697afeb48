//! Announces this gateway to a register.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::BytesMut;
use protocol::{
    InstanceId, Secret,
    codec::json_lines::Lines,
    discovery::{FromRegister, Gateway, GatewayConnect, GatewayNotice, ToRegister, WorkerConnect},
};
use runtime::{
    backoff::Backoff,
    clock, dial,
    liveness::{self, Probes},
    outage::Outage,
    random,
    sync::{Mutex, MutexGuard},
    tls,
};
use service::Health;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{self, Instant, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;

use crate::register_outages::RegisterOutages;

/// Time limit for connecting.
const CONNECT: Duration = Duration::from_secs(5);

/// Maximum interval between pings to a register.
const PING: Duration = Duration::from_secs(25);

/// A native register answers sooner. A PHP register never sends anything to a gateway, and neither
/// does one that is stalled. In both cases the gateway checks the list that the register sends to
/// workers.
const WELCOME: Duration = Duration::from_millis(200);

/// Maximum length of a line sent to a gateway, in bytes.
const MAX_NOTICE: usize = 64 * 1024;

/// Maximum length of the list of gateways in bytes, the same as for workers.
const MAX_LINE: usize = 10 * 1024 * 1024;

/// Backoff between attempts. A restarted register should know every gateway before its startup
/// grace period ends.
const FIRST: Duration = Duration::from_millis(200);
const CAP: Duration = Duration::from_secs(1);

/// Backoff after a refusal, which takes an operator to resolve. The first retry is early, since a
/// register that was stalled may have mistaken an old connection from this host for a live one.
const REFUSED_FIRST: Duration = Duration::from_secs(1);
const REFUSED_CAP: Duration = Duration::from_secs(10);

/// The announcement of this gateway.
#[derive(Clone, Debug)]
pub(crate) struct Announcement {
    pub(crate) address: SocketAddr,
    /// The instance id of this gateway process.
    pub(crate) instance: InstanceId,
    pub(crate) secret: Secret,
    /// How long a register may leave liveness probes unanswered.
    pub(crate) peer_timeout: Duration,
    /// TLS configuration for registers; plain TCP if `None`.
    pub(crate) tls: Option<tls::MutualTls>,
}

/// Number of registers that list this gateway. One is enough to be ready, since each of them
/// announces it to workers. For a while none is needed, since a register that restarts does not
/// interrupt clients or links.
#[derive(Clone, Debug)]
pub(crate) struct RegisterReachability {
    state: Arc<Mutex<State>>,
    health: Health,
    outages: RegisterOutages,
    /// How long the gateway stays ready without a register. A restart takes a fraction of it.
    grace: Duration,
}

#[derive(Debug)]
struct State {
    registers: usize,
    lost: Instant,
}

impl RegisterReachability {
    pub(crate) fn none(health: Health, outages: RegisterOutages) -> Self {
        health.set_not_ready(CONDITION, "none is reached");
        let state = State { registers: 0, lost: Instant::now() };
        let grace = outages.peer_timeout() / 2;
        Self { state: Arc::new(Mutex::new(state)), health, outages, grace }
    }

    fn reach(&self) {
        let mut state = self.lock();
        state.registers += 1;
        if state.registers == 1 {
            self.outages.end(Instant::now().into_std());
        }
        self.health.set_ready(CONDITION);
    }

    /// A register that last responded at `last_response` no longer lists this gateway.
    fn lose(&self, last_response: Instant) {
        let mut state = self.lock();
        state.registers -= 1;
        state.lost = Instant::now();
        if state.registers == 0 {
            // Probes are far more frequent. After so long without a response, either this process
            // was stalled or the register became silent, and may have removed this gateway long
            // ago.
            let silent = self.grace <= state.lost - last_response;
            self.outages.begin(if silent { last_response } else { state.lost }.into_std());
        }
    }

    /// Updates readiness while a register is not reached.
    fn miss(&self) {
        let state = self.lock();
        if state.registers == 0 && self.grace < state.lost.elapsed() {
            self.health.set_not_ready(CONDITION, "none is reached");
        }
    }

    /// Updates readiness when a register refuses this gateway.
    fn refuse(&self) {
        if self.lock().registers == 0 {
            self.health.set_not_ready(CONDITION, "another gateway has this inner address");
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

const CONDITION: &str = "register";

/// Whether one register lists this gateway. Dropping it resets that to `false`.
struct Listing<'a> {
    reached: &'a RegisterReachability,
    listed: bool,
    /// When the register last responded.
    last_response: Instant,
}

impl Listing<'_> {
    fn set(&mut self, listed: bool) {
        match (self.listed, listed) {
            (false, true) => self.reached.reach(),
            (true, false) => self.reached.lose(self.last_response),
            _ => {}
        }
        self.listed = listed;
    }

    /// The register responded, or its list contains this gateway.
    fn confirm(&mut self) {
        self.last_response = Instant::now();
        self.set(true);
    }
}

impl Drop for Listing<'_> {
    fn drop(&mut self) {
        self.set(false);
    }
}

/// Log state of one register.
struct Contact {
    register: String,
    /// Whether it was reached before.
    announced: bool,
    outage: Outage,
    /// Since when it refuses this gateway.
    refusals: Outage,
}

impl Contact {
    /// The register lists this gateway.
    fn reached(&mut self, address: SocketAddr) {
        let (register, now) = (self.register.as_str(), clock::now());
        let outage = [self.outage.ends(now), self.refusals.ends(now)].into_iter().flatten().max();
        match outage {
            Some(outage) => {
                tracing::info!(register, %address, ?outage, "register is back; announced")
            }
            None if !self.announced => tracing::info!(register, %address, "announced"),
            None => tracing::debug!(register, %address, "announced"),
        }
        self.announced = true;
    }

    /// The connection closed or could not be established.
    fn lost(&mut self, error: &anyhow::Error) {
        let (register, error) = (self.register.as_str(), format!("{error:#}"));
        match self.outage.fails(clock::now()) {
            Some(outage) if outage.is_zero() => {
                tracing::warn!(register, error, "register unreachable; retrying");
            }
            Some(outage) => {
                tracing::warn!(register, error, ?outage, "register still unreachable; retrying");
            }
            None => tracing::debug!(register, error, "register unreachable; retrying"),
        }
    }

    /// The register rejects the announcement because another gateway has the address.
    fn refused(&mut self, address: SocketAddr, by: SocketAddr) {
        let register = self.register.as_str();
        match self.refusals.fails(clock::now()) {
            Some(_) => tracing::error!(
                register, %address, holder = %by,
                "another gateway announces the same inner address; \
                 no worker will link to this one until its --lan-ip or --lan-port is changed"
            ),
            None => tracing::debug!(register, %address, holder = %by, "refused again"),
        }
    }
}

/// Why a connection to a register was closed on purpose.
enum Left {
    /// The gateway shuts down.
    Leaving,
    /// Another gateway, connected from this address, has the inner address.
    Refused(SocketAddr),
}

/// Announces the gateway to a register until `leaving` is cancelled. Then, or when the future is
/// dropped, the announcement is withdrawn.
pub(crate) async fn announce(
    register: String,
    announcement: Announcement,
    reached: RegisterReachability,
    leaving: CancellationToken,
) {
    let (outage, refusals) = (Outage::default(), Outage::default());
    let mut contact = Contact { register, announced: false, outage, refusals };
    let mut backoff = Backoff::new(FIRST, CAP);
    let mut refused = Backoff::new(REFUSED_FIRST, REFUSED_CAP);
    loop {
        let since = Instant::now();
        let listing = Listing { reached: &reached, listed: false, last_response: since };
        let wait = match hold_connection(&mut contact, &announcement, listing, &leaving).await {
            Ok(Left::Leaving) => return,
            Ok(Left::Refused(by)) => {
                contact.refused(announcement.address, by);
                reached.refuse();
                refused.ended_after(since.elapsed());
                REFUSED_FIRST + refused.next(random::random())
            }
            Err(error) => {
                contact.lost(&error);
                reached.miss();
                backoff.ended_after(since.elapsed());
                backoff.next(random::random())
            }
        };
        if leaving.run_until_cancelled(time::sleep(wait)).await.is_none() {
            return;
        }
    }
}

/// Announces the gateway once, and keeps the connection until it fails, the register stops
/// responding, or `leaving` is cancelled.
async fn hold_connection(
    contact: &mut Contact,
    announcement: &Announcement,
    mut listing: Listing<'_>,
    leaving: &CancellationToken,
) -> anyhow::Result<Left> {
    let connect = dial::connect(&contact.register, announcement.tls.as_ref());
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
    let every = PING.min(liveness::interval(announcement.peer_timeout));
    let mut ticks = time::interval_at(Instant::now() + WELCOME.min(every), every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Whether this register responds at all is known after its first response.
    let (mut probes, mut answers) = (Probes::default(), false);
    let (mut lines, mut read) = (Lines::new(MAX_NOTICE), BytesMut::new());
    loop {
        let mut responded = false;
        tokio::select! {
            length = reader.read_buf(&mut read) => match length? {
                // A register with another secret closes the connection at once, without a response.
                0 if !listing.listed => {
                    anyhow::bail!("closed by the register; the secret keys may differ")
                }
                0 => anyhow::bail!("connection closed"),
                _ => {
                    probes.answered();
                    while let Some(line) = lines.next(&mut read)? {
                        match GatewayNotice::parse(&line) {
                            Some(GatewayNotice::AddressTaken { by }) => {
                                return Ok(Left::Refused(by));
                            }
                            // Any line counts as a response.
                            Some(GatewayNotice::Probe) => writer.write_all(&ping).await?,
                            None => {}
                        }
                        (answers, responded) = (true, true);
                    }
                }
            },
            _ = ticks.tick() => {
                let mut is_alive = probes.next();
                if !answers && is_listed_at(&contact.register, announcement, every).await {
                    probes.answered();
                    (is_alive, responded) = (true, true);
                }
                anyhow::ensure!(is_alive, "no response");
                if probes.is_late() {
                    listing.set(false);
                    listing.reached.miss();
                }
                writer.write_all(&ping).await?;
            }
            () = leaving.cancelled() => {
                // A PHP register does not support this message.
                if answers {
                    let mut leave = BytesMut::new();
                    ToRegister::GatewayLeave.encode(&mut leave);
                    let _ = writer.write_all(&leave).await;
                }
                let _ = writer.shutdown().await;
                return Ok(Left::Leaving);
            }
        }
        if responded {
            let is_new = !listing.listed;
            listing.confirm();
            if is_new {
                contact.reached(announcement.address);
            }
        }
    }
}

/// Queries the register as a back end would. Returns whether its list contains this gateway,
/// `false` if no such list arrives `within` that time.
async fn is_listed_at(register: &str, announcement: &Announcement, within: Duration) -> bool {
    let address = announcement.address.to_string();
    let look = async {
        let mut stream = dial::connect(register, announcement.tls.as_ref()).await?;
        let mut ask = BytesMut::new();
        ToRegister::WorkerConnect(WorkerConnect {
            secret_key: Some(announcement.secret.clone()),
            known: Vec::new(),
            instance: None,
            settled: Vec::new(),
            takeovers: Vec::new(),
            complete: false,
            about: false,
        })
        .encode(&mut ask);
        stream.write_all(&ask).await?;
        let (mut lines, mut read) = (Lines::new(MAX_LINE), BytesMut::new());
        loop {
            while let Some(line) = lines.next(&mut read)? {
                let FromRegister::BroadcastAddresses { gateways, .. } = FromRegister::parse(&line)?;
                if gateways.iter().any(|gateway| gateway.address == address) {
                    return Ok(());
                }
            }
            anyhow::ensure!(stream.read_buf(&mut read).await? != 0, "closed");
        }
    };
    let listed = time::timeout(within, look).await;
    matches!(listed, Ok(Ok(())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn brief_register_outage_keeps_gateway_ready() {
        let health = Health::new();
        let reached = RegisterReachability::none(health.clone(), RegisterOutages::new(TIMEOUT));
        reached.miss();
        assert!(!health.is_ready(), "none was ever reached");
        reached.reach();
        reached.lose(Instant::now());
        reached.miss();
        assert!(health.is_ready(), "the outage has just begun");
        time::sleep(TIMEOUT).await;
        reached.miss();
        assert!(!health.is_ready(), "the outage lasts");
        reached.reach();
        assert!(health.is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn single_reachable_register_keeps_gateway_ready() {
        let health = Health::new();
        let reached = RegisterReachability::none(health.clone(), RegisterOutages::new(TIMEOUT));
        reached.reach();
        reached.reach();
        reached.lose(Instant::now());
        time::sleep(TIMEOUT).await;
        reached.miss();
        assert!(health.is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn silent_register_counts_as_lost_since_its_last_response() {
        let outages = RegisterOutages::new(TIMEOUT);
        let reached = RegisterReachability::none(Health::new(), outages.clone());
        let now = || Instant::now().into_std();
        time::sleep(TIMEOUT * 9).await;
        assert!(!outages.may_be_declared_dead(now()), "no register was reached before");
        reached.reach();
        reached.reach();
        reached.lose(Instant::now());
        assert!(!outages.may_be_declared_dead(now()), "the other one is still reached");
        reached.lose(Instant::now());
        assert!(outages.may_be_declared_dead(now()));
        time::sleep(Duration::from_secs(1)).await;
        reached.reach();
        assert!(!outages.may_be_declared_dead(now()), "back at once");
        time::sleep(TIMEOUT).await;
        // After a stall, the register seems to be back at once.
        reached.lose(Instant::now() - TIMEOUT);
        reached.reach();
        assert!(outages.may_be_declared_dead(now()));
    }
}
