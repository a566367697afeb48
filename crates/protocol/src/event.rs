//! Events of clients, sent by a gateway to a worker.

use std::net::SocketAddr;

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use crate::{Message, Session, close::MAX_REASON};

/// An event of a client. The events of each client reach its worker in the order in which they
/// occurred: one `Connect`, then on WebSocket listeners a `WebSocketConnect`, or a
/// `WebSocketRequest` if the handshake awaits an answer, any number of messages, one `Close`. A
/// client that never sends a handshake has `Connect` and `Close`.
///
/// Variants are only ever appended: the native codec numbers them by position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A connection was accepted.
    Connect,
    /// Its WebSocket handshake was accepted.
    WebSocketConnect(Handshake),
    /// It sent a message.
    Message(Message),
    /// The client is disconnected.
    Close(CloseReason),
    /// The client is reassigned to this worker, since its former worker is disconnected. Not one of
    /// the client's own events: it carries the number of the last of those.
    Reassigned,
    /// Its WebSocket handshake awaits an answer of the worker: [`Command::AcceptHandshake`] or
    /// [`Command::RefuseHandshake`]. In place of `WebSocketConnect`, with `--handshake-auth
    /// worker`.
    ///
    /// [`Command::AcceptHandshake`]: crate::Command::AcceptHandshake
    /// [`Command::RefuseHandshake`]: crate::Command::RefuseHandshake
    WebSocketRequest(Handshake),
    /// The client is disconnected, and how: what gateways send in place of `Close`.
    Closed(CloseInfo),
    /// The connection of the client expires at this time, in seconds since the Unix epoch, unless
    /// it is renewed before.
    Expiring { expires_at: u64 },
}

impl Event {
    /// Why the client is closed, if it is.
    pub const fn close_reason(&self) -> Option<CloseReason> {
        match self {
            Self::Close(reason) | Self::Closed(CloseInfo { reason, .. }) => Some(*reason),
            Self::Connect
            | Self::WebSocketConnect(_)
            | Self::Message(_)
            | Self::Reassigned
            | Self::WebSocketRequest(_)
            | Self::Expiring { .. } => None,
        }
    }

    /// Whether it is the last event of the client.
    pub const fn is_close(&self) -> bool {
        self.close_reason().is_some()
    }
}

/// How the connection of a client has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CloseInfo {
    /// Why it is closed.
    pub reason: CloseReason,
    /// The code of the close frame of the client, or of the one that it is sent; `None` without a
    /// frame, or if it has no code.
    pub code: Option<u16>,
    /// The reason in that frame, at most [`MAX_REASON`] bytes.
    #[serde(deserialize_with = "close_text")]
    pub text: String,
    /// How long it was connected, in milliseconds. Gateways measure tenths of a second.
    pub connected_ms: u64,
}

impl CloseInfo {
    /// A close without a close frame.
    pub const fn new(reason: CloseReason, connected_ms: u64) -> Self {
        Self { reason, code: None, text: String::new(), connected_ms }
    }

    /// The same with the code and the reason of a close frame, of which [`MAX_REASON`] bytes are kept.
    #[must_use]
    pub fn with_frame(self, code: Option<u16>, text: &str) -> Self {
        let text = text.get(..text.floor_char_boundary(MAX_REASON)).unwrap_or_default();
        Self { code, text: text.to_owned(), ..self }
    }
}

fn close_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = <&str>::deserialize(deserializer)?;
    match text.len() {
        0..=MAX_REASON => Ok(text.to_owned()),
        long => Err(D::Error::custom(format_args!("a close reason of {long} bytes"))),
    }
}

/// The request that opened a WebSocket. With `--handshake-auth jwt`, the word `redacted` is in the
/// place of its token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handshake {
    /// The request's target as sent: path and query.
    pub target: String,
    /// The headers in the order sent, names as sent.
    pub headers: Vec<Header>,
}

/// One header of a request. Values are bytes: they need not be UTF-8.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The name as sent.
    pub name: String,
    /// The value without surrounding whitespace.
    #[serde(with = "serde_bytes")]
    pub value: Vec<u8>,
}

impl Handshake {
    /// The path, without the query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The query, without its question mark; empty if absent.
    pub fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// The first header of that name, compared without case, if its value is UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(&header.value).ok()
    }
}

/// Why a client is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum CloseReason {
    /// It closed the connection, or the connection broke.
    Client,
    /// A worker closed it.
    Worker,
    /// It sent nothing for too long.
    Timeout,
    /// It did not read the data sent to it.
    Slow,
    /// It violated its protocol, or sent a message over the size limit.
    Protocol,
    /// It never finished its handshake.
    Handshake,
    /// No worker was available for its events in time.
    NoWorker,
    /// Its gateway is shutting down.
    Shutdown,
    /// Its gateway is dead; the close is reported on the gateway's behalf.
    GatewayLost,
    /// One of its events was discarded as a poison message: worker processes terminated while they
    /// handled it.
    Undeliverable,
    /// Its token has expired, is revoked, or was replaced by that of another user.
    Token,
    /// It sent faster than it may.
    RateLimit,
    /// It was over the limit of connections for its uid.
    UidLimit,
    /// It was not bound to a uid within the gateway's `--auth-timeout`.
    Unauthenticated,
}

impl CloseReason {
    /// Every reason, in the order of the native codec. A new one is added here and to
    /// [`name`](Self::name), the match without a wildcard.
    pub const ALL: &[Self] = &[
        Self::Client,
        Self::Worker,
        Self::Timeout,
        Self::Slow,
        Self::Protocol,
        Self::Handshake,
        Self::NoWorker,
        Self::Shutdown,
        Self::GatewayLost,
        Self::Undeliverable,
        Self::Token,
        Self::RateLimit,
        Self::UidLimit,
        Self::Unauthenticated,
    ];

    /// The name in metrics and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Worker => "worker",
            Self::Timeout => "timeout",
            Self::Slow => "slow",
            Self::Protocol => "protocol",
            Self::Handshake => "handshake",
            Self::NoWorker => "no_worker",
            Self::Shutdown => "shutdown",
            Self::GatewayLost => "gateway_lost",
            Self::Undeliverable => "undeliverable",
            Self::Token => "token",
            Self::RateLimit => "rate_limit",
            Self::UidLimit => "uid_limit",
            Self::Unauthenticated => "unauthenticated",
        }
    }
}

/// The data of a client that a worker needs to handle its events: sent with the first event of a
/// client on a link, and again after another peer changed the session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// The client's address.
    pub remote: SocketAddr,
    /// The port of the listener that accepted it.
    pub listener_port: u16,
    /// Its session.
    pub session: Session,
}
