//! One connection to the server: calls go out as they come, and answers come in the same order.

use std::{collections::VecDeque, future, io, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use protocol::Epoch;
use runtime::{
    clock,
    net::TcpStream,
    random,
    stream::{OwnedReadHalf, OwnedWriteHalf, Stream},
    tls::HttpsClient,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::mpsc,
    time::{self, Instant},
};

use super::{
    address::RedisAddress,
    call::{Call, Moment, Script},
    failure::{self, Failure},
    identity::Identity,
    resp::{self, Decoder, Value},
};
use crate::{ErrorKind, append::KEY_LIFETIME};

/// The most calls that wait for answers of the server.
const MOST_IN_FLIGHT: usize = 256;

/// The most bytes that wait to be written, before further calls wait in the queue.
const MOST_UNSENT: usize = 1 << 20;

/// How long an answer may take. Then the connection is given up: answers come in order.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);

/// How often the server is asked for its time and its role.
const PROBE: Duration = Duration::from_secs(1);

/// A connection that was accepted.
#[derive(Debug)]
pub(super) struct Session {
    name: Arc<str>,
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
    received: BytesMut,
    unsent: BytesMut,
    decoder: Decoder,
    in_flight: VecDeque<Pending>,
    /// The hash of each script.
    hashes: Vec<Bytes>,
    server: Bytes,
    identity: Identity,
    /// The server's clock, relative to ours.
    ahead_ms: i64,
}

#[derive(Debug)]
struct Pending {
    since: Instant,
    request: Request,
}

#[derive(Debug)]
enum Request {
    /// By the hash of its script, which the server may have lost.
    ByHash(Box<Call>),
    ByText(Box<Call>),
    Role,
    Time,
}

/// Why a session ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// The queue is closed, and everything is answered.
    Closed,
    Failed(Failure),
}

impl Session {
    /// Connects, authenticates, and loads the scripts.
    pub(super) async fn connect(
        name: &Arc<str>,
        address: &RedisAddress,
        tls: Option<&HttpsClient>,
    ) -> Result<Self, Failure> {
        let tcp = TcpStream::connect(address.server()).await.map_err(failure::unreachable)?;
        let stream = match tls {
            Some(tls) => tls.connect(tcp, &address.host).await.map_err(failure::unreachable)?,
            None => Stream::Plain(tcp),
        };
        let _ = stream.set_nodelay(true);
        let (reader, writer) = stream.into_split();
        let mut session = Self {
            name: Arc::clone(name),
            reader,
            writer,
            received: BytesMut::new(),
            unsent: BytesMut::new(),
            decoder: Decoder::default(),
            in_flight: VecDeque::new(),
            hashes: Vec::new(),
            server: Bytes::new(),
            identity: Identity::unknown(),
            ahead_ms: 0,
        };
        session.begin(address).await?;
        Ok(session)
    }

    async fn begin(&mut self, address: &RedisAddress) -> Result<(), Failure> {
        if let Some(password) = &address.password {
            let user = address.user.as_deref().map(str::as_bytes);
            let auth: Vec<&[u8]> = [Some(&b"AUTH"[..]), user, Some(password.as_bytes())]
                .into_iter()
                .flatten()
                .collect();
            self.ask(&auth).await?;
        }
        if address.database != 0 {
            self.ask(&[b"SELECT", address.database.to_string().as_bytes()]).await?;
        }
        match self.ask(&[b"INFO", b"server"]).await {
            Ok(Value::Bulk(server)) => {
                self.server = server;
                let replication = self.ask(&[b"INFO", b"replication"]).await?;
                self.identity = self.identify(replication)?;
            }
            Ok(_) => return Err(failure::unreadable("INFO")),
            Err(failure) if failure.is_refusal => {
                tracing::warn!(
                    server = %address,
                    "INFO is not allowed: a server that lost messages is noticed later"
                );
            }
            Err(failure) => return Err(failure),
        }
        let time = self.ask(&[b"TIME"]).await?;
        self.set_clock(time)?;
        for script in Script::ALL {
            match self.ask(&[b"SCRIPT", b"LOAD", script.text().as_bytes()]).await? {
                Value::Bulk(hash) => self.hashes.push(hash),
                _ => return Err(failure::unreadable("SCRIPT LOAD")),
            }
        }
        Ok(())
    }

    /// Asks while nothing else is in flight.
    async fn ask(&mut self, request: &[&[u8]]) -> Result<Value, Failure> {
        let mut out = BytesMut::new();
        resp::encode(request.iter().copied(), &mut out);
        self.writer.write_all(&out).await.map_err(failure::lost)?;
        self.writer.flush().await.map_err(failure::lost)?;
        loop {
            match self.decoder.decode(&mut self.received).map_err(failure::garbage)? {
                Some(Value::Error(error)) => return Err(failure::refused(&error)),
                Some(value) => return Ok(value),
                None => self.receive().await?,
            }
        }
    }

    async fn receive(&mut self) -> Result<(), Failure> {
        match self.reader.read_buf(&mut self.received).await.map_err(failure::lost)? {
            0 => Err(failure::lost(io::ErrorKind::ConnectionReset.into())),
            _ => Ok(()),
        }
    }

    fn identify(&self, replication: Value) -> Result<Identity, Failure> {
        let Value::Bulk(replication) = replication else {
            return Err(failure::unreadable("INFO"));
        };
        Identity::of(&self.server, &replication).map_err(|_| failure::replica())
    }

    fn set_clock(&mut self, time: Value) -> Result<(), Failure> {
        let Value::Array(parts) = time else { return Err(failure::unreadable("TIME")) };
        let number = |value: &Value| match value {
            Value::Bulk(digits) => std::str::from_utf8(digits).ok()?.parse::<u64>().ok(),
            _ => None,
        };
        let [seconds, micros] = parts.as_slice() else { return Err(failure::unreadable("TIME")) };
        let (Some(seconds), Some(micros)) = (number(seconds), number(micros)) else {
            return Err(failure::unreadable("TIME"));
        };
        let server = seconds.saturating_mul(1000).saturating_add(micros / 1000);
        self.ahead_ms = server.wrapping_sub(clock::unix_millis()).cast_signed();
        Ok(())
    }

    /// Sends calls and receives answers until something ends it.
    pub(super) async fn serve(&mut self, calls: &mut mpsc::Receiver<Call>) -> Ended {
        let mut probe = Instant::now() + PROBE;
        let mut is_closed = false;
        loop {
            if is_closed && self.in_flight.is_empty() {
                return Ended::Closed;
            }
            let overdue = self.in_flight.front().map(|oldest| oldest.since + PATIENCE);
            let wants_calls = !is_closed
                && self.in_flight.len() < MOST_IN_FLIGHT
                && self.unsent.len() < MOST_UNSENT;
            let step = tokio::select! {
                call = calls.recv(), if wants_calls => {
                    match call {
                        Some(call) => self.send(Request::ByHash(Box::new(call))),
                        None => is_closed = true,
                    }
                    Ok(())
                }
                read = self.reader.read_buf(&mut self.received) => match read {
                    Ok(0) => Err(failure::lost(io::ErrorKind::ConnectionReset.into())),
                    Ok(_) => self.take_answers(),
                    Err(error) => Err(failure::lost(error)),
                },
                written = self.writer.write_buf(&mut self.unsent), if !self.unsent.is_empty() => {
                    written.map(drop).map_err(failure::lost)
                }
                () = until(overdue) => Err(failure::overdue()),
                () = time::sleep_until(probe) => {
                    probe = Instant::now() + PROBE;
                    self.send(Request::Role);
                    self.send(Request::Time);
                    Ok(())
                }
            };
            if let Err(failure) = step {
                return Ended::Failed(failure);
            }
        }
    }

    fn send(&mut self, request: Request) {
        match &request {
            Request::ByHash(call) => {
                let hash = self.hashes.get(call.script as usize).cloned();
                self.encode(call, hash.as_deref());
            }
            Request::ByText(call) => self.encode(call, None),
            Request::Role => {
                resp::encode([&b"INFO"[..], b"replication"].into_iter(), &mut self.unsent);
            }
            Request::Time => resp::encode([&b"TIME"[..]].into_iter(), &mut self.unsent),
        }
        self.in_flight.push_back(Pending { since: Instant::now(), request });
    }

    fn encode(&mut self, call: &Call, hash: Option<&[u8]>) {
        let now = clock::unix_millis().saturating_add_signed(self.ahead_ms);
        let moment = Moment {
            server: self.identity.as_str(),
            deadline_ms: now.saturating_add(PATIENCE.as_millis() as u64),
            fresh: Epoch::from_random(random::random()),
        };
        call.encode(hash, &moment, &mut self.unsent);
    }

    fn take_answers(&mut self) -> Result<(), Failure> {
        while let Some(value) = self.decoder.decode(&mut self.received).map_err(failure::garbage)? {
            let Some(pending) = self.in_flight.pop_front() else {
                return Err(failure::unreadable("nothing"));
            };
            self.take_answer(pending.request, value)?;
        }
        Ok(())
    }

    fn take_answer(&mut self, request: Request, value: Value) -> Result<(), Failure> {
        match (request, value) {
            (Request::ByHash(call), Value::Error(error)) if error.starts_with("NOSCRIPT") => {
                self.send(Request::ByText(call));
            }
            (Request::ByHash(call) | Request::ByText(call), Value::Error(error)) => {
                let failure = failure::refused(&error);
                call.answer(Err(failure.error(&self.name)));
                if failure.ends_session {
                    return Err(failure);
                }
            }
            (Request::ByHash(call) | Request::ByText(call), value) => call.answer(Ok(value)),
            // It is not allowed.
            (Request::Role, Value::Error(_)) => {}
            (Request::Role, value) if self.identity == Identity::unknown() => drop(value),
            (Request::Role, value) => {
                if self.identify(value)? != self.identity {
                    return Err(failure::other_server());
                }
            }
            (Request::Time, value) => self.set_clock(value)?,
        }
        Ok(())
    }

    /// Answers the calls that were sent: whether they were done is not known.
    pub(super) fn abandon(self, failure: &Failure) {
        let error = failure.clone().with_kind(ErrorKind::Unknown).error(&self.name);
        for pending in self.in_flight {
            if let Request::ByHash(call) | Request::ByText(call) = pending.request {
                call.answer(Err(error.clone()));
            }
        }
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => time::sleep_until(at).await,
        None => future::pending().await,
    }
}

/// The lifetime of idempotency keys, as the scripts take it.
pub(super) const KEY_LIFETIME_MS: u128 = KEY_LIFETIME.as_millis();
