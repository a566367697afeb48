//! What a gateway tells a worker about its clients.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::{Message, Session};

/// Something that happened to a client. Each client's events reach its worker in the order in
/// which they happened: one `Connect`, then a `WebSocketConnect` on WebSocket listeners, any number
/// of messages, one `Close`. A client that never finishes its handshake has `Connect` and `Close`.
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
    /// It is gone.
    Close(CloseReason),
    /// Nothing happened to it, but it is this worker's from here on, since its former worker is
    /// gone. Not one of the client's own events: it has the number of the last of those.
    Adopt,
}

/// The request that opened a WebSocket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handshake {
    /// The request's target as sent: path and query.
    pub target: String,
    /// The headers in the order sent, names as sent.
    pub headers: Vec<Header>,
}

/// One header of a request. Values are bytes: nothing says that they are UTF-8.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The name as sent.
    pub name: String,
    /// The value without surrounding blanks.
    #[serde(with = "serde_bytes")]
    pub value: Vec<u8>,
}

impl Handshake {
    /// The path, without the query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The query, without its question mark; empty where there is none.
    pub fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// The first header of that name, whatever its case, if it is UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(&header.value).ok()
    }
}

/// Why a client is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CloseReason {
    /// It said goodbye, or its connection broke.
    Client,
    /// A worker closed it.
    Worker,
    /// It was silent for too long.
    Timeout,
    /// It did not read what was sent to it.
    Slow,
    /// It broke the rules of its protocol, or sent too much at once.
    Protocol,
    /// It never finished its handshake.
    Handshake,
    /// No worker took its events in time.
    NoWorker,
    /// Its gateway is going down.
    Shutdown,
    /// Its gateway is gone, and somebody else says so.
    GatewayLost,
    /// One of its events was given up, since worker processes ended while they handled it.
    Undeliverable,
}

impl CloseReason {
    /// As metrics and reports name it.
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
        }
    }
}

/// What a worker needs to know of a client before its events: sent with the first event of a
/// client on a link, and again after somebody else changed the session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// The client's address.
    pub remote: SocketAddr,
    /// The port of the listener it came to.
    pub listener_port: u16,
    /// Its session.
    pub session: Session,
}
