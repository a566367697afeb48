//! One connection, from the first byte to why it ended: a stranger, then perhaps a peer.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use protocol::{
    Secret,
    codec::json_lines::Lines,
    discovery::{
        self, Gateway, GatewayConnect, GatewayNotice, ToRegister, Unusable, WorkerConnect,
    },
};
use service::{clock, net::TcpStream, rate_limit::Throttle, tls::Gate};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    sync::Semaphore,
    time::{Instant, timeout, timeout_at},
};

use crate::{
    addresses::PeerId,
    board::{Board, Verdict},
    claims,
    closed::{Closed, Refused},
    metrics::Metrics,
    outbox::{self, Mailbox, Outbox, Stuck},
};

/// What all connections have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    secret: Secret,
    gate: Gate,
    /// How long a peer that has pinged may be silent.
    ping_ttl: Option<Duration>,
    board: Mutex<Board>,
    pub(crate) metrics: Metrics,
    /// Places for those who have not said who they are.
    strangers: Semaphore,
    /// Warnings about strangers.
    warnings: Mutex<Throttle>,
}

impl Shared {
    pub(crate) fn new(secret: Secret, grace: bool, ping_ttl: Option<Duration>, gate: Gate) -> Self {
        let metrics = Metrics::default();
        let board = Mutex::new(Board::new(grace, metrics.clone()));
        let strangers = Semaphore::new(MAX_STRANGERS);
        let warnings = Mutex::new(Throttle::per_second());
        Self { secret, gate, ping_ttl, board, metrics, strangers, warnings }
    }

    pub(crate) fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts and mentions somebody who is turned away.
    fn refuse(&self, from: SocketAddr, refused: &Refused) {
        self.metrics.refused(refused);
        let is_worth_it =
            matches!(refused, Refused::WrongKey | Refused::Gate(_) | Refused::AddressTaken { .. });
        let Some(suppressed) = is_worth_it.then(|| self.admit_warning()).flatten() else {
            return tracing::debug!(%from, reason = %refused, "refused");
        };
        match refused {
            Refused::WrongKey => {
                tracing::warn!(%from, suppressed, "wrong secret key; a peer of another cluster?");
            }
            Refused::AddressTaken { address, holder } => {
                tracing::warn!(
                    address, %from, %holder, suppressed,
                    "refused a gateway that announces the inner address of another one that lives"
                );
            }
            refused => tracing::warn!(%from, suppressed, reason = %refused, "peer refused"),
        }
    }

    /// Admits a warning about a stranger; see [`Throttle::admit`].
    fn admit_warning(&self) -> Option<u64> {
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        warnings.admit(clock::now())
    }
}

/// Serves a connection, if it may come in.
pub(crate) async fn welcome(stream: TcpStream, from: SocketAddr, shared: Arc<Shared>) {
    let mut read = BytesMut::new();
    if shared.gate.inner().is_none() {
        // Everybody may.
        let (reader, writer) = stream.into_split();
        return serve(reader, writer, from, shared).await;
    }
    let entered = match shared.strangers.try_acquire() {
        Ok(_place) => timeout(FIRST_LINE, shared.gate.enter(stream, from.ip(), &mut read)).await,
        Err(_) => return shared.refuse(from, &Refused::Crowded),
    };
    let closed: Closed = match entered {
        Ok(Ok(stream)) => {
            let (reader, writer) = stream.into_split();
            return serve((&read[..]).chain(reader), writer, from, Arc::clone(&shared)).await;
        }
        Ok(Err(refused)) => refused.into(),
        Err(_) => Refused::Timeout.into(),
    };
    match closed {
        Closed::Refused(refused) => shared.refuse(from, &refused),
        closed => tracing::debug!(%from, reason = %closed, "closed"),
    }
}

/// Serves a connection until it ends, and closes it as its end deserves.
pub(crate) async fn serve(
    mut reader: impl AsyncRead + Unpin,
    mut writer: impl AsyncWrite + Unpin,
    from: SocketAddr,
    shared: Arc<Shared>,
) {
    let from = SocketAddr::new(from.ip().to_canonical(), from.port());
    let met = match shared.strangers.try_acquire() {
        // The place is free again once this is over.
        Ok(_place) => Stranger::new(&shared).meet(&mut reader, from, &shared).await,
        Err(_) => Err(Refused::Crowded.into()),
    };
    let closed = match met {
        Ok(peer) => peer.serve(&mut reader, &mut writer).await,
        Err(closed) => closed,
    };
    match &closed {
        Closed::Refused(refused) => {
            shared.refuse(from, refused);
            if let Refused::BadRequest(line) = refused {
                let mut answer = BytesMut::new();
                discovery::bad_request(from.ip(), line, &mut answer);
                let _ = timeout(PARTING, writer.write_all(&answer)).await;
            }
            if let Refused::AddressTaken { holder, .. } = *refused {
                let mut notice = BytesMut::new();
                GatewayNotice::AddressTaken { by: holder }.encode(&mut notice);
                let _ = timeout(PARTING, writer.write_all(&notice)).await;
            }
            let _ = timeout(PARTING, part(&mut reader, &mut writer)).await;
        }
        Closed::Slow => {
            shared.metrics.slow.inc();
            tracing::warn!(%from, "closed a peer that does not read");
        }
        Closed::ByPeer | Closed::Io(_) | Closed::Silent => {
            tracing::debug!(%from, reason = %closed, "closed");
        }
    }
}

/// Closes so that the peer reads an end, not an error: what it still had to say is taken off the
/// socket first, within reason.
async fn part(reader: &mut (impl AsyncRead + Unpin), writer: &mut (impl AsyncWrite + Unpin)) {
    if writer.shutdown().await.is_ok() {
        let mut rest = reader.take(MAX_LINE as u64);
        let _ = tokio::io::copy(&mut rest, &mut tokio::io::sink()).await;
    }
}

const PARTING: Duration = Duration::from_secs(1);

/// How many may be connected at a time that have not said who they are.
const MAX_STRANGERS: usize = 4096;

/// The longest line taken, without its end.
const MAX_LINE: usize = 64 * 1024;

/// A connection that nobody has vouched for: all it can do is say who it is, or ping.
#[derive(Debug)]
struct Stranger {
    hearing: Hearing,
}

impl Stranger {
    fn new(shared: &Shared) -> Self {
        Self { hearing: Hearing::new(shared.ping_ttl) }
    }

    /// Listens until the stranger shows that it knows the secret.
    async fn meet(
        mut self,
        reader: &mut (impl AsyncRead + Unpin),
        from: SocketAddr,
        shared: &Arc<Shared>,
    ) -> Result<Peer, Closed> {
        loop {
            let said = self.hearing.hear(reader).await?;
            if let Some(request) = vouch(said, &shared.secret)? {
                let (mailbox, outbox) = outbox::mailbox();
                let (id, verdict) = (shared.board().name_peer(), Verdict::default());
                let seat = Seat { id, from, verdict, shared: Arc::clone(shared) };
                seat.take(request, &mailbox);
                return Ok(Peer { hearing: self.hearing, seat, mailbox, outbox });
            }
        }
    }
}

/// A connection that knows the secret: a gateway, a worker, or both.
#[derive(Debug)]
struct Peer {
    hearing: Hearing,
    seat: Seat,
    mailbox: Mailbox,
    outbox: Outbox,
}

impl Peer {
    /// Serves the peer until something ends it, and says what. What was queued for a peer that
    /// ended in order is still written: it may have closed only its own half.
    async fn serve(
        mut self,
        reader: &mut (impl AsyncRead + Unpin),
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> Closed {
        let verdict = self.seat.verdict.clone();
        let closed = tokio::select! {
            (address, holder) = verdict.refused() => {
                Refused::AddressTaken { address, holder }.into()
            }
            closed = listen(&mut self.hearing, reader, &self.seat, &self.mailbox) => closed,
            stuck = self.outbox.deliver(writer) => match stuck {
                Stuck::Slow => Closed::Slow,
                Stuck::Io(error) => Closed::Io(error),
            },
        };
        drop(self.seat);
        if matches!(closed, Closed::ByPeer | Closed::Refused(_)) {
            self.outbox.finish(writer).await;
        }
        closed
    }
}

async fn listen(
    hearing: &mut Hearing,
    reader: &mut (impl AsyncRead + Unpin),
    seat: &Seat,
    mailbox: &Mailbox,
) -> Closed {
    loop {
        // A gateway that is about to be refused must not be told that it is announced.
        let _ = timeout(claims::SAME_HOST, seat.verdict.accepted()).await;
        let said = match hearing.hear(reader).await {
            Ok(said) => said,
            Err(closed) => return closed,
        };
        if let ToRegister::Ping { answer: true } = said {
            mailbox.room().await;
            mailbox.say(pong());
        }
        seat.hear(&said);
        match vouch(said, &seat.shared.secret) {
            Ok(Some(request)) => {
                // Questions in a row wait for their answers to be read; only what a peer did not
                // ask for can fill its queue.
                mailbox.room().await;
                seat.take(request, mailbox);
            }
            Ok(None) => {}
            Err(refused) => return refused.into(),
        }
    }
}

fn pong() -> Bytes {
    let mut line = BytesMut::new();
    discovery::pong(&mut line);
    line.freeze()
}

/// What somebody who knows the secret wants.
enum Request {
    Announce(Gateway),
    Ask(WorkerConnect),
}

/// Lets a request through if it comes with the secret. `None` for one that needs none.
fn vouch(said: ToRegister, secret: &Secret) -> Result<Option<Request>, Refused> {
    let (guess, request) = match said {
        ToRegister::GatewayConnect(GatewayConnect { gateway, secret_key }) => {
            (secret_key, Request::Announce(gateway))
        }
        ToRegister::WorkerConnect(mut asks) => (asks.secret_key.take(), Request::Ask(asks)),
        ToRegister::Ping { .. } | ToRegister::GatewayLeave => return Ok(None),
    };
    match guess {
        Some(guess) if secret.matches(guess.expose()) => Ok(Some(request)),
        Some(_) | None => Err(Refused::WrongKey),
    }
}

/// A place on the board. It is free again when this is dropped, however the connection ended.
#[derive(Debug)]
struct Seat {
    id: PeerId,
    from: SocketAddr,
    verdict: Verdict,
    shared: Arc<Shared>,
}

impl Seat {
    fn take(&self, request: Request, mailbox: &Mailbox) {
        let mut board = self.shared.board();
        match request {
            Request::Announce(gateway) => {
                let peer = (mailbox, &self.verdict);
                board.announce(self.id, self.from, gateway, peer, clock::now());
            }
            Request::Ask(asks) => board.ask(self.id, mailbox, asks),
        }
    }

    /// The peer has said something.
    fn hear(&self, said: &ToRegister) {
        let mut board = self.shared.board();
        board.hear(self.id);
        if matches!(said, ToRegister::GatewayLeave) {
            board.drains(self.id);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.shared.board().leave(self.id);
    }
}

/// Takes lines off a connection, and knows how long to wait for the next one.
#[derive(Debug)]
struct Hearing {
    lines: Lines,
    buffer: BytesMut,
    /// Whether a complete line was ever heard.
    spoke: bool,
    /// Whether it has ever pinged, and so can be expected to go on.
    pings: bool,
    ping_ttl: Option<Duration>,
    deadline: Option<Instant>,
}

impl Hearing {
    fn new(ping_ttl: Option<Duration>) -> Self {
        let deadline = Some(Instant::now() + FIRST_LINE);
        let (lines, buffer) = (Lines::new(MAX_LINE), BytesMut::new());
        Self { lines, buffer, spoke: false, pings: false, ping_ttl, deadline }
    }

    /// The next thing said. Part of a line buys no time.
    async fn hear(&mut self, reader: &mut (impl AsyncRead + Unpin)) -> Result<ToRegister, Closed> {
        let line = loop {
            match self.lines.next(&mut self.buffer) {
                Ok(Some(line)) => break line,
                Ok(None) => {}
                Err(_) => return Err(Refused::TooLong.into()),
            }
            let read = reader.read_buf(&mut self.buffer);
            let read = match self.deadline {
                Some(deadline) => timeout_at(deadline, read).await,
                None => Ok(read.await),
            };
            match read {
                Ok(Ok(0)) => return Err(Closed::ByPeer),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(error.into()),
                Err(_) if self.spoke => return Err(Closed::Silent),
                Err(_) => return Err(Refused::Timeout.into()),
            }
        };
        let said = ToRegister::parse(&line).map_err(|unusable| match unusable {
            Unusable::NotARequest => Refused::BadRequest(line),
            Unusable::UnknownEvent => Refused::UnknownEvent,
            Unusable::NoAddress => Refused::NoAddress,
        })?;
        self.spoke = true;
        self.pings |= matches!(said, ToRegister::Ping { .. });
        self.deadline = self.ping_ttl.filter(|_| self.pings).map(|ttl| Instant::now() + ttl);
        Ok(said)
    }
}

/// How long a connection has for its first line; as the reference.
const FIRST_LINE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
