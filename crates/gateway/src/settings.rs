//! What the shards run on. Every value has been checked.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use protocol::MessageKind;
use service::{
    net::{self, Unpolled},
    settings::Compat,
    tls::{Gate, Public},
};

use crate::{
    framing::{Framing, Texts, websocket::Terms},
    http::Pages,
    shard::{Heartbeat, Router, WebSocketPing},
};

/// What the shards run on.
#[derive(Debug)]
pub(crate) struct Settings {
    /// The largest message of a client, in bytes.
    pub(crate) max_message_size: usize,
    /// How many bytes may be queued for a client before it counts as slow.
    pub(crate) send_buffer: usize,
    /// How much of what a client sends the kernel may hold until it is read, if that is limited.
    pub(crate) receive_buffer: Option<u32>,
    /// What becomes of a slow client.
    pub(crate) slow_client: SlowClient,
    /// How a client is given a worker.
    pub(crate) router: Router,
    /// On what terms a WebSocket is opened.
    pub(crate) terms: Terms,
    /// As what messages go out that do not say it themselves.
    pub(crate) websocket_type: WebSocketType,
    /// `GatewayWorker`'s heartbeat.
    pub(crate) heartbeat: Option<Heartbeat>,
    /// Pings to silent WebSocket clients.
    pub(crate) websocket_ping: Option<WebSocketPing>,
    /// How the kernel finds clients whose host has vanished.
    pub(crate) keepalive: KeepAlive,
    /// How long a request may take to come.
    pub(crate) handshake_timeout: Option<Duration>,
    /// What becomes of clients whose events find no worker.
    pub(crate) no_worker: NoWorker,
    /// At how many ends of worker processes an event is given up that they were handling; never if
    /// `None`.
    pub(crate) max_delivery_attempts: Option<usize>,
    /// What becomes of the client of such an event.
    pub(crate) undeliverable: Undeliverable,
    /// How long a native peer may be silent, though it is asked.
    pub(crate) peer_timeout: Duration,
    /// How many bytes of events a shard gives a worker before it must be done with some; also how
    /// many it holds while there is no worker.
    pub(crate) worker_window: usize,
    /// How many standbys a client has, if there are so many workers.
    pub(crate) standbys: usize,
    /// How many bytes clients may make a shard hold; any if `None`.
    pub(crate) memory: Option<usize>,
    /// How many connections may await a request, over all shards.
    pub(crate) max_requests: usize,
    /// How many groups a client may be in; any if `None`.
    pub(crate) max_groups: Option<usize>,
    /// How many connections there may be, over all shards; any if `None`.
    pub(crate) max_connections: Option<usize>,
    /// What a browser gets that asks for no WebSocket; nothing if `None`.
    pub(crate) site: Option<Arc<Pages>>,
    /// The path of health checks at listeners for WebSockets, if there is one.
    pub(crate) health_path: Option<String>,
    /// Who is let in at the inner port, and how registers are spoken to.
    pub(crate) gate: Gate,
    /// What clients of listeners with TLS are shown.
    pub(crate) tls: Option<Public>,
    /// What has no flag of its own.
    pub(crate) ways: Ways,
}

/// What `--compat` decides itself, beside the defaults of other flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ways {
    /// Whether a client is told why it is closed, by a close frame.
    pub(crate) say_why: bool,
    /// Whether a connection is a client's from the moment it is accepted, or else from its first request
    /// on that is no health check, or once it has sent none for a moment.
    pub(crate) client_at_accept: bool,
    /// Whether connection ids begin anywhere, so that after a restart an id that somebody remembers
    /// is not a stranger's; or else at 1.
    pub(crate) ids_anywhere: bool,
    /// Whether rows come in an order that makes the lists of unmodified PHP clients complete.
    pub(crate) order_rows: bool,
    /// Whether every event that a PHP worker was not sent, or has no room for, is kept until it or
    /// another one can take it; or else it is dropped, so that none can come twice.
    pub(crate) keep_php_events: bool,
    /// What text of clients may be.
    pub(crate) texts: Texts,
}

impl From<Compat> for Ways {
    fn from(compat: Compat) -> Self {
        let ours = compat == Compat::Better;
        Self {
            say_why: ours,
            client_at_accept: !ours,
            ids_anywhere: ours,
            order_rows: ours,
            keep_php_events: ours,
            texts: if ours { Texts::Utf8 } else { Texts::Any },
        }
    }
}

/// As what messages go out to WebSocket clients that do not say it themselves: those of PHP, and
/// pings. `GatewayWorker`'s `websocketType`, for all clients of a gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum WebSocketType {
    /// As text where it is UTF-8, and as binary where it is not.
    #[default]
    Auto,
    /// As text, whatever it is. Browsers close over text that is not UTF-8.
    Text,
    /// As binary.
    Binary,
}

impl WebSocketType {
    /// The kind of a message that says none.
    pub(crate) fn kind(self) -> MessageKind {
        match self {
            Self::Auto | Self::Text => MessageKind::Text,
            Self::Binary => MessageKind::Binary,
        }
    }

    /// What text that goes out may be.
    pub(crate) fn texts(self) -> Texts {
        match self {
            Self::Auto | Self::Binary => Texts::Utf8,
            Self::Text => Texts::Any,
        }
    }
}

/// What becomes of clients whose events find no worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoWorker {
    /// The events wait, and the client is closed if they wait for too long.
    Wait(Option<Duration>),
    /// The client is cut off, and the events are dropped.
    Destroy,
}

/// What becomes of a client whose event ends the worker processes that handle it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Undeliverable {
    /// It is closed with 1011, and what it had sent behind that event is dropped.
    #[default]
    Close,
    /// It goes on without that event.
    Skip,
}

/// What becomes of a client that does not read what it is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SlowClient {
    /// It is disconnected: a gap that it cannot see is worse than a reconnect.
    #[default]
    Disconnect,
    /// What does not fit is dropped, as `GatewayWorker` does.
    Drop,
}

/// How the kernel finds clients whose host has vanished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeepAlive {
    /// After how much silence it asks a host, and how often, if it does.
    pub(crate) every: Option<Duration>,
    /// How many of these may stay unanswered, where `within` says nothing.
    pub(crate) probes: u32,
    /// How long it waits for an answer, or for what was sent to be taken, if it is not to decide itself.
    pub(crate) within: Option<Duration>,
}

impl KeepAlive {
    /// Has every connection that is accepted at `listener` from here on looked after.
    ///
    /// # Errors
    /// When the kernel does not take it.
    pub(crate) fn set(&self, listener: &Unpolled) -> io::Result<()> {
        if let Some(every) = self.every {
            net::set_keepalive(listener, every, self.probes)?;
        }
        match self.within {
            Some(within) => net::set_user_timeout(listener, within),
            None => Ok(()),
        }
    }
}

/// One listener for clients.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Door {
    /// Where it listens.
    pub(crate) addr: SocketAddr,
    /// What is spoken there.
    pub(crate) framing: Framing,
    /// Whether it is spoken over TLS.
    pub(crate) tls: bool,
}
