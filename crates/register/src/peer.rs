//! The lifecycle of one connection: unauthenticated at first, then possibly a peer.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant as StdInstant},
};

use bytes::{Bytes, BytesMut};
use protocol::{
    Secret,
    codec::json_lines::Lines,
    discovery::{
        self, AboutRegister, Gateway, GatewayConnect, GatewayNotice, RefusedKind,
        RequestParseError, ToRegister, WorkerConnect,
    },
};
use runtime::{
    clock,
    net::TcpStream,
    rate_limit::Throttle,
    sync::{Mutex, MutexGuard},
    tls::InnerAcceptor,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    sync::Semaphore,
    time::{Instant, timeout, timeout_at},
};

use crate::{
    addresses::PeerId,
    claims,
    closed::{Closed, Refused},
    membership::{ClaimStatus, Membership},
    metrics::Metrics,
    outbox::{self, Mailbox, Outbox},
    refusals::Refusals,
};

/// State shared by all connections.
#[derive(Debug)]
pub(crate) struct Shared {
    secret: Secret,
    gate: InnerAcceptor,
    /// Timeout for a peer that has pinged.
    ping_ttl: Option<Duration>,
    membership: Mutex<Membership>,
    pub(crate) metrics: Metrics,
    /// Permits for unauthenticated connections.
    unauthenticated: Semaphore,
    /// Rate limit of warnings about refused connections.
    warnings: Mutex<Throttle>,
    refusals: Mutex<Refusals>,
    started: StdInstant,
}

impl Shared {
    pub(crate) fn new(
        secret: Secret,
        grace: bool,
        ping_ttl: Option<Duration>,
        gate: InnerAcceptor,
    ) -> Self {
        let metrics = Metrics::default();
        let membership = Mutex::new(Membership::new(grace, metrics.clone()));
        let unauthenticated = Semaphore::new(MAX_UNAUTHENTICATED);
        let warnings = Mutex::new(Throttle::per_second());
        let (refusals, started) = (Mutex::default(), clock::now());
        Self {
            secret,
            gate,
            ping_ttl,
            membership,
            metrics,
            unauthenticated,
            warnings,
            refusals,
            started,
        }
    }

    pub(crate) fn membership(&self) -> MutexGuard<'_, Membership> {
        self.membership.lock()
    }

    /// The line about this register.
    fn about(&self) -> Bytes {
        let uptime = clock::now().saturating_duration_since(self.started).as_millis();
        let certificate = self.gate.inner().and_then(|inner| inner.files().certificate());
        let mut line = BytesMut::new();
        AboutRegister {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: option_env!("PUSH_SUITE_COMMIT").map(str::to_owned),
            uptime: u64::try_from(uptime).unwrap_or(u64::MAX),
            certificates: certificate.map(service::certificates::status).into_iter().collect(),
        }
        .encode(&mut line);
        line.freeze()
    }

    /// The peers that were refused lately, as a line.
    fn refused_peers(&self) -> Bytes {
        let mut line = BytesMut::new();
        self.refusals.lock().report(clock::now()).encode(&mut line);
        line.freeze()
    }

    /// Counts, keeps and logs a refused connection.
    fn refuse(&self, from: SocketAddr, refused: &Refused) {
        self.metrics.refused(refused);
        self.refusals.lock().record(from.ip(), refused, clock::now());
        let is_warning = matches!(
            refused,
            Refused::WrongKey { .. } | Refused::Gate(_) | Refused::AddressTaken { .. }
        );
        let Some(suppressed) = is_warning.then(|| self.admit_warning()).flatten() else {
            return tracing::debug!(%from, reason = %refused, "refused");
        };
        match refused {
            Refused::WrongKey { .. } => {
                tracing::warn!(%from, suppressed, "wrong secret key; a peer of another cluster?");
            }
            Refused::AddressTaken { address, holder } => {
                tracing::warn!(
                    address, %from, %holder, suppressed,
                    "refused a gateway that announces the inner address of another live gateway"
                );
            }
            refused => tracing::warn!(%from, suppressed, reason = %refused, "peer refused"),
        }
    }

    /// Admits a warning about a refused connection; see [`Throttle::admit`].
    fn admit_warning(&self) -> Option<u64> {
        let mut warnings = self.warnings.lock();
        warnings.admit(clock::now())
    }
}

/// Serves a connection, after the TLS handshake if TLS is configured.
pub(crate) async fn accept(stream: TcpStream, from: SocketAddr, shared: Arc<Shared>) {
    let mut read = BytesMut::new();
    if shared.gate.inner().is_none() {
        let (reader, writer) = stream.into_split();
        return serve(reader, writer, from, shared).await;
    }
    let handshake = match shared.unauthenticated.try_acquire() {
        Ok(_permit) => {
            timeout(FIRST_LINE_TIMEOUT, shared.gate.enter(stream, from.ip(), &mut read)).await
        }
        Err(_) => return shared.refuse(from, &Refused::TooManyUnauthenticated),
    };
    let closed: Closed = match handshake {
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

/// Serves a connection until it ends, and closes it according to the reason.
pub(crate) async fn serve(
    mut reader: impl AsyncRead + Unpin,
    mut writer: impl AsyncWrite + Unpin,
    from: SocketAddr,
    shared: Arc<Shared>,
) {
    let from = SocketAddr::new(from.ip().to_canonical(), from.port());
    let authenticated = match shared.unauthenticated.try_acquire() {
        // The permit is released when authentication is complete.
        Ok(_permit) => Unauthenticated::new(&shared).authenticate(&mut reader, from, &shared).await,
        Err(_) => Err(Refused::TooManyUnauthenticated.into()),
    };
    let closed = match authenticated {
        Ok(peer) => peer.serve(&mut reader, &mut writer).await,
        Err(closed) => closed,
    };
    match &closed {
        Closed::Refused(refused) => {
            shared.refuse(from, refused);
            if let Refused::BadRequest(line) = refused {
                let mut answer = BytesMut::new();
                discovery::bad_request(from.ip(), line, &mut answer);
                let _ = timeout(CLOSE_TIMEOUT, writer.write_all(&answer)).await;
            }
            if let Refused::AddressTaken { holder, .. } = *refused {
                let mut notice = BytesMut::new();
                GatewayNotice::AddressTaken { by: holder }.encode(&mut notice);
                let _ = timeout(CLOSE_TIMEOUT, writer.write_all(&notice)).await;
            }
            let _ = timeout(CLOSE_TIMEOUT, close_gracefully(&mut reader, &mut writer)).await;
        }
        Closed::Slow => {
            shared.metrics.slow.inc();
            tracing::warn!(%from, "closed slow consumer");
        }
        Closed::ByPeer | Closed::Io(_) | Closed::PeerTimeout => {
            tracing::debug!(%from, reason = %closed, "closed");
        }
    }
}

/// Closes the connection so that the peer reads EOF, not a reset: drains up to [`MAX_LINE`] unread
/// bytes first.
async fn close_gracefully(
    reader: &mut (impl AsyncRead + Unpin),
    writer: &mut (impl AsyncWrite + Unpin),
) {
    if writer.shutdown().await.is_ok() {
        let mut rest = reader.take(MAX_LINE as u64);
        let _ = tokio::io::copy(&mut rest, &mut tokio::io::sink()).await;
    }
}

const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Maximum number of concurrent unauthenticated connections.
const MAX_UNAUTHENTICATED: usize = 4096;

/// Maximum length of a line, without its terminator.
const MAX_LINE: usize = 64 * 1024;

/// A connection that has not authenticated: it can only authenticate or ping.
#[derive(Debug)]
struct Unauthenticated {
    requests: RequestReader,
}

impl Unauthenticated {
    fn new(shared: &Shared) -> Self {
        Self { requests: RequestReader::new(shared.ping_ttl) }
    }

    /// Reads requests until one presents the secret.
    async fn authenticate(
        mut self,
        reader: &mut (impl AsyncRead + Unpin),
        from: SocketAddr,
        shared: &Arc<Shared>,
    ) -> Result<Peer, Closed> {
        loop {
            let request = self.requests.next(reader).await?;
            if let Some(request) = authenticate(request, &shared.secret)? {
                let (mailbox, outbox) = outbox::mailbox();
                let (id, status) = (shared.membership().new_peer_id(), ClaimStatus::default());
                let registration = Registration { id, from, status, shared: Arc::clone(shared) };
                registration.apply(request, &mailbox);
                return Ok(Peer { requests: self.requests, registration, mailbox, outbox });
            }
        }
    }
}

/// An authenticated connection: a gateway, a worker, or both.
#[derive(Debug)]
struct Peer {
    requests: RequestReader,
    registration: Registration,
    mailbox: Mailbox,
    outbox: Outbox,
}

impl Peer {
    /// Serves the peer until the connection ends, and returns the reason. After an orderly end,
    /// queued lines are still written: the peer may have closed only its sending half.
    async fn serve(
        mut self,
        reader: &mut (impl AsyncRead + Unpin),
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> Closed {
        let status = self.registration.status.clone();
        let closed = tokio::select! {
            (address, holder) = status.refused() => {
                Refused::AddressTaken { address, holder }.into()
            }
            closed = receive(
                &mut self.requests, reader, &self.registration, &self.mailbox,
            ) => closed,
            closed = self.outbox.deliver(writer) => closed,
        };
        drop(self.registration);
        if matches!(closed, Closed::ByPeer | Closed::Refused(_)) {
            self.outbox.finish(writer).await;
        }
        closed
    }
}

async fn receive(
    requests: &mut RequestReader,
    reader: &mut (impl AsyncRead + Unpin),
    registration: &Registration,
    mailbox: &Mailbox,
) -> Closed {
    loop {
        // A pong would confirm the announcement of a gateway that is about to be refused.
        let _ = timeout(claims::SAME_HOST_DELAY, registration.status.accepted()).await;
        let request = match requests.next(reader).await {
            Ok(request) => request,
            Err(closed) => return closed,
        };
        if let ToRegister::Ping { answer: true } = request {
            mailbox.room().await;
            mailbox.push_line(pong());
        }
        registration.note_activity(&request);
        match authenticate(request, &registration.shared.secret) {
            Ok(Some(request)) => {
                // Backpressure: further requests wait until responses are read. Only unsolicited
                // lines can fill the queue.
                mailbox.room().await;
                registration.apply(request, mailbox);
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

/// A request that requires the secret.
enum Request {
    Announce(Gateway),
    Subscribe(WorkerConnect),
    RefusedPeers,
}

/// Checks the secret of a request. Returns `None` for a request that needs none.
fn authenticate(request: ToRegister, secret: &Secret) -> Result<Option<Request>, Refused> {
    let (guess, request) = match request {
        ToRegister::GatewayConnect(GatewayConnect { gateway, secret_key }) => {
            (secret_key, Request::Announce(gateway))
        }
        ToRegister::WorkerConnect(mut request) => {
            (request.secret_key.take(), Request::Subscribe(request))
        }
        ToRegister::RefusedPeers { secret_key } => (secret_key, Request::RefusedPeers),
        ToRegister::Ping { .. } | ToRegister::GatewayLeave => return Ok(None),
    };
    match guess {
        Some(guess) if secret.matches(guess.expose()) => Ok(Some(request)),
        Some(_) | None => Err(request.with_wrong_key()),
    }
}

impl Request {
    fn with_wrong_key(self) -> Refused {
        let (kind, address) = match self {
            Self::Announce(gateway) => (RefusedKind::Gateway, Some(gateway.address)),
            Self::Subscribe(request) if request.instance.is_some() => (RefusedKind::Worker, None),
            Self::Subscribe(_) | Self::RefusedPeers => (RefusedKind::Other, None),
        };
        Refused::WrongKey { kind, address }
    }
}

/// A peer's entry in the membership, removed on drop.
#[derive(Debug)]
struct Registration {
    id: PeerId,
    from: SocketAddr,
    status: ClaimStatus,
    shared: Arc<Shared>,
}

impl Registration {
    fn apply(&self, request: Request, mailbox: &Mailbox) {
        if let Request::Subscribe(WorkerConnect { about: true, .. }) = &request {
            mailbox.push_line(self.shared.about());
        }
        match request {
            Request::Announce(gateway) => {
                self.shared.refusals.lock().forget(self.from.ip(), &gateway.address);
                let peer = (mailbox, &self.status);
                let mut membership = self.shared.membership();
                membership.announce(self.id, self.from, gateway, peer, clock::now());
            }
            Request::Subscribe(request) => {
                self.shared.membership().subscribe(self.id, mailbox, request);
            }
            Request::RefusedPeers => mailbox.push_line(self.shared.refused_peers()),
        }
    }

    /// Records that the peer has sent a request.
    fn note_activity(&self, request: &ToRegister) {
        let mut membership = self.shared.membership();
        membership.note_activity(self.id);
        if matches!(request, ToRegister::GatewayLeave) {
            membership.note_draining(self.id);
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.shared.membership().remove_peer(self.id);
    }
}

/// Reads requests from a connection, with a deadline for each.
#[derive(Debug)]
struct RequestReader {
    lines: Lines,
    buffer: BytesMut,
    /// Whether a complete line was ever received.
    has_received: bool,
    /// Whether the peer has ever pinged, and so must continue to.
    pings: bool,
    ping_ttl: Option<Duration>,
    deadline: Option<Instant>,
}

impl RequestReader {
    fn new(ping_ttl: Option<Duration>) -> Self {
        let deadline = Some(Instant::now() + FIRST_LINE_TIMEOUT);
        let (lines, buffer) = (Lines::new(MAX_LINE), BytesMut::new());
        Self { lines, buffer, has_received: false, pings: false, ping_ttl, deadline }
    }

    /// Returns the next request. A partial line does not extend the deadline.
    async fn next(&mut self, reader: &mut (impl AsyncRead + Unpin)) -> Result<ToRegister, Closed> {
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
                Err(_) if self.has_received => return Err(Closed::PeerTimeout),
                Err(_) => return Err(Refused::Timeout.into()),
            }
        };
        let request = ToRegister::parse(&line).map_err(|error| match error {
            RequestParseError::NotARequest => Refused::BadRequest(line),
            RequestParseError::UnknownEvent => Refused::UnknownEvent,
            RequestParseError::NoAddress => Refused::NoAddress,
        })?;
        self.has_received = true;
        self.pings |= matches!(request, ToRegister::Ping { .. });
        self.deadline = self.ping_ttl.filter(|_| self.pings).map(|ttl| Instant::now() + ttl);
        Ok(request)
    }
}

/// Deadline for the first line, as in the reference.
const FIRST_LINE_TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
