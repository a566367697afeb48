//! Subscribes to one register: receives its lists, and reconnects forever.

use std::{io, sync::Arc, time::Duration};

use bytes::BytesMut;
use protocol::{
    codec::json_lines::{LineTooLong, Lines},
    discovery::{FromRegister, RegisterParseError, ToRegister, WorkerConnect},
};
use runtime::{
    backoff::Backoff,
    clock, dial,
    liveness::{self, Probes},
    outage::Outage,
    stream::Stream,
};
use thiserror::Error;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, interval, timeout},
};

use crate::{registers::Failure, shared::Shared};

const FIRST: Duration = Duration::from_millis(100);
const CAP: Duration = Duration::from_secs(2);

/// Time limit for connecting.
const CONNECT: Duration = Duration::from_secs(5);

/// Maximum interval between pings.
const PING_EVERY: Duration = Duration::from_secs(25);

/// Maximum length of a list, enough for about fifty thousand gateways.
const MAX_LINE: usize = 10 * 1024 * 1024;

#[derive(Debug, Error)]
enum Disconnected {
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    #[error("did not answer in {CONNECT:?}")]
    TooSlow,
    #[error("connection lost: {0}")]
    Lost(#[from] io::Error),
    #[error("closed by the register; the secret keys may differ")]
    NoList,
    #[error("closed by the register")]
    Closed,
    #[error("does not answer")]
    Silent,
    #[error(transparent)]
    Parse(#[from] RegisterParseError),
    #[error(transparent)]
    TooLong(#[from] LineTooLong),
}

/// Log state of one register.
struct Contact {
    register: String,
    /// Whether it has ever sent a list.
    followed: bool,
    outage: Outage,
}

impl Contact {
    /// The first list of a connection has arrived.
    fn reached(&mut self, gateways: usize) {
        let register = self.register.as_str();
        match self.outage.ends(clock::now()) {
            Some(away) => tracing::info!(register, gateways, ?away, "register is back"),
            None if !self.followed => tracing::info!(register, gateways, "following"),
            None => tracing::debug!(register, gateways, "following again"),
        }
        self.followed = true;
    }

    fn lost(&mut self, reason: &Disconnected) {
        let register = self.register.as_str();
        match self.outage.fails(clock::now()) {
            Some(away) if away.is_zero() => {
                tracing::warn!(register, %reason, "register unreachable; retrying");
            }
            Some(away) => {
                tracing::warn!(register, %reason, ?away, "register still unreachable; retrying");
            }
            None => tracing::debug!(register, %reason, "register unreachable; retrying"),
        }
    }
}

/// Starts to maintain the link to a gateway that a register has listed.
type Link = fn(&Arc<Shared>, Arc<str>);

/// Subscribes to the register at `address`, the `index`-th of the cluster.
pub(crate) async fn follow(shared: Arc<Shared>, index: usize, address: String, link: Link) {
    let mut backoff = Backoff::new(FIRST, CAP);
    let mut contact = Contact { register: address, followed: false, outage: Outage::default() };
    loop {
        let since = Instant::now();
        let reason = run_connection(&shared, index, &mut contact, link).await;
        let rejected = matches!(reason, Disconnected::NoList);
        shared.register_failed(index, Failure { reason: reason.to_string(), rejected });
        shared.register_lost(index);
        backoff.ended_after(since.elapsed());
        contact.lost(&reason);
        backoff.wait().await;
    }
}

async fn run_connection(
    shared: &Arc<Shared>,
    index: usize,
    contact: &mut Contact,
    link: Link,
) -> Disconnected {
    let connect = dial::connect(&contact.register, shared.identity.tls.as_ref());
    let mut stream = match timeout(CONNECT, connect).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Disconnected::Connect(error),
        Err(_) => return Disconnected::TooSlow,
    };
    match receive_lists(shared, index, contact, link, &mut stream).await {
        Err(reason) => reason,
        Ok(never) => match never {},
    }
}

async fn receive_lists(
    shared: &Arc<Shared>,
    index: usize,
    contact: &mut Contact,
    link: Link,
    stream: &mut Stream,
) -> Result<std::convert::Infallible, Disconnected> {
    let mut out = BytesMut::new();
    let mut announce = shared.announce.subscribe();
    request_list(shared, &mut out);
    stream.write_all(&out).await?;
    let mut ticks = interval(PING_EVERY.min(liveness::interval(shared.peer_timeout)));
    ticks.reset();
    // A stopped register, or one whose host has vanished, does not close the connection.
    let mut probes = Probes::default();
    let (mut lines, mut read) = (Lines::new(MAX_LINE), BytesMut::new());
    let mut has_list = false;
    // Whether the register reports workers, as a PHP register does not.
    let mut has_presence = false;
    loop {
        while let Some(line) = lines.next(&mut read)? {
            let FromRegister::BroadcastAddresses { gateways, presence } =
                FromRegister::parse(&line)?;
            if !has_list {
                has_list = true;
                contact.reached(gateways.len());
            }
            has_presence = presence.is_some();
            for address in shared.update_register(index, gateways, presence) {
                link(shared, address);
            }
        }
        tokio::select! {
            bytes = stream.read_buf(&mut read) => match bytes? {
                0 if has_list => return Err(Disconnected::Closed),
                0 => return Err(Disconnected::NoList),
                _ => probes.answered(),
            },
            Ok(()) = announce.changed(), if has_presence => {
                out.clear();
                request_list(shared, &mut out);
                stream.write_all(&out).await?;
            }
            _ = ticks.tick() => {
                if !probes.next() {
                    return Err(Disconnected::Silent);
                }
                if probes.is_just_late() {
                    // Its last report is outdated.
                    shared.register_lost(index);
                }
                out.clear();
                ToRegister::Ping { answer: false }.encode(&mut out);
                if probes.is_first() {
                    // Every register answers this.
                    request_list(shared, &mut out);
                }
                stream.write_all(&out).await?;
            }
        }
    }
}

/// Requests the list of gateways, and announces the state of this process.
fn request_list(shared: &Shared, out: &mut BytesMut) {
    let instance = shared.identity.worker().cloned();
    let failure_detector = shared.failure_detector();
    let (settled, takeovers) = match instance {
        Some(_) => (
            failure_detector.cleanups().cloned().collect(),
            failure_detector.takeovers().cloned().collect(),
        ),
        None => (Vec::new(), Vec::new()),
    };
    drop(failure_detector);
    ToRegister::WorkerConnect(WorkerConnect {
        secret_key: Some(shared.identity.secret.clone()),
        known: shared.directory().listed(),
        settled,
        takeovers,
        about: false,
        complete: instance.is_some() && !shared.is_leaving() && shared.reachability().is_complete(),
        instance,
    })
    .encode(out);
}
