//! Follows one register: takes every list it sends, and comes back to it for ever.

use std::{io, sync::Arc, time::Duration};

use bytes::BytesMut;
use protocol::{
    codec::json_lines::{LineTooLong, Lines},
    discovery::{FromRegister, Incomprehensible, ToRegister, WorkerConnect},
};
use service::{backoff::Backoff, clock, outage::Outage, stream::Stream};
use thiserror::Error;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, interval, timeout},
};

use crate::shared::Shared;

const FIRST: Duration = Duration::from_millis(100);
const CAP: Duration = Duration::from_secs(2);

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);

/// How often we say that we are still here, at the least.
const PING_EVERY: Duration = Duration::from_secs(25);

/// How many times a silent register is asked whether it is there, in the time that it may be
/// silent; and after how many of them it does not count any more.
const ASKED: u32 = 5;
const LATE: u32 = 3;

/// The longest list: room for some fifty thousand gateways.
const MAX_LINE: usize = 10 * 1024 * 1024;

#[derive(Debug, Error)]
enum Left {
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    #[error("did not answer in {CONNECT:?}")]
    TooSlow,
    #[error("connection lost: {0}")]
    Lost(#[from] io::Error),
    #[error("closed by the register; the secret key may differ")]
    Unheard,
    #[error("closed by the register")]
    Closed,
    #[error("does not answer")]
    Silent,
    #[error(transparent)]
    Line(#[from] Incomprehensible),
    #[error(transparent)]
    TooLong(#[from] LineTooLong),
}

/// What was logged of one register.
struct Contact {
    register: String,
    /// Whether it has ever sent a list.
    followed: bool,
    outage: Outage,
}

impl Contact {
    /// It has sent a list, the first of a connection.
    fn reached(&mut self, gateways: usize) {
        let register = self.register.as_str();
        match self.outage.ends(clock::now()) {
            Some(away) => tracing::info!(register, gateways, ?away, "register is back"),
            None if !self.followed => tracing::info!(register, gateways, "following"),
            None => tracing::debug!(register, gateways, "following again"),
        }
        self.followed = true;
    }

    fn lost(&mut self, reason: &Left) {
        let register = self.register.as_str();
        match self.outage.fails(clock::now()) {
            Some(away) if away.is_zero() => {
                tracing::warn!(register, %reason, "register unreachable; trying on");
            }
            Some(away) => {
                tracing::warn!(register, %reason, ?away, "register still unreachable; trying on");
            }
            None => tracing::debug!(register, %reason, "register unreachable; trying on"),
        }
    }
}

/// Follows the register at `address`, the `index`-th of ours.
pub(crate) async fn follow(shared: Arc<Shared>, index: usize, address: String) {
    let mut backoff = Backoff::new(FIRST, CAP);
    let mut contact = Contact { register: address, followed: false, outage: Outage::default() };
    loop {
        let since = Instant::now();
        let left = listen_to(&shared, index, &mut contact).await;
        shared.register_lost(index);
        backoff.ended_after(since.elapsed());
        contact.lost(&left);
        backoff.wait().await;
    }
}

async fn listen_to(shared: &Arc<Shared>, index: usize, contact: &mut Contact) -> Left {
    let connect = Stream::connect(&contact.register, shared.identity.tls.as_ref());
    let mut stream = match timeout(CONNECT, connect).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Left::Connect(error),
        Err(_) => return Left::TooSlow,
    };
    match take_lists(shared, index, contact, &mut stream).await {
        Err(left) => left,
        Ok(never) => match never {},
    }
}

async fn take_lists(
    shared: &Arc<Shared>,
    index: usize,
    contact: &mut Contact,
    stream: &mut Stream,
) -> Result<std::convert::Infallible, Left> {
    let mut out = BytesMut::new();
    let mut news = shared.news.subscribe();
    ask(shared, &mut out);
    stream.write_all(&out).await?;
    let mut ticks = interval(PING_EVERY.min(shared.peer_timeout / (ASKED + 1)));
    ticks.reset();
    // How often it was asked since anything was heard: one that is stopped, or whose host has
    // vanished, closes nothing.
    let mut asked = 0;
    let (mut lines, mut read) = (Lines::new(MAX_LINE), BytesMut::new());
    let mut heard = false;
    // Whether it is one of ours, and passes on what workers say.
    let mut tells = false;
    loop {
        while let Some(line) = lines.next(&mut read)? {
            let FromRegister::BroadcastAddresses { gateways, presence } =
                FromRegister::parse(&line)?;
            if !heard {
                heard = true;
                contact.reached(gateways.len());
            }
            tells = presence.is_some();
            shared.register_says(index, gateways, presence);
        }
        tokio::select! {
            bytes = stream.read_buf(&mut read) => match bytes? {
                0 if heard => return Err(Left::Closed),
                0 => return Err(Left::Unheard),
                _ => asked = 0,
            },
            Ok(()) = news.changed(), if tells => {
                out.clear();
                ask(shared, &mut out);
                stream.write_all(&out).await?;
            }
            _ = ticks.tick() => {
                asked += 1;
                if ASKED < asked {
                    return Err(Left::Silent);
                }
                if asked == LATE {
                    // What it said last is not what it would say now.
                    shared.register_lost(index);
                }
                out.clear();
                ToRegister::Ping { answer: false }.encode(&mut out);
                if asked == 1 {
                    // What every register answers.
                    ask(shared, &mut out);
                }
                stream.write_all(&out).await?;
            }
        }
    }
}

/// Asks where gateways are, and says what we know.
fn ask(shared: &Shared, out: &mut BytesMut) {
    let instance = shared.identity.worker().cloned();
    let leases = shared.leases();
    let (settled, takeovers) = match instance {
        Some(_) => (leases.settled().cloned().collect(), leases.takeovers().cloned().collect()),
        None => (Vec::new(), Vec::new()),
    };
    drop(leases);
    ToRegister::WorkerConnect(WorkerConnect {
        secret_key: Some(shared.identity.secret.clone()),
        known: shared.directory().listed(),
        settled,
        takeovers,
        complete: instance.is_some() && shared.reach().is_complete(),
        instance,
    })
    .encode(out);
}
