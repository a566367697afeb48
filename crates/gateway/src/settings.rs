//! Settings of the shards. Every value is validated.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use framing::{Framing, TextValidation, websocket::HandshakePolicy};
use protocol::{Keep, MessageKind, UidLimit, inspect::ListenerKind};
use runtime::{
    net::{self, Unpolled},
    tls::{InnerAcceptor, ServerTls},
};
use service::settings::Compat;

use crate::{
    heartbeat::{Heartbeat, WebSocketPing},
    http::Pages,
    limits::Limits,
    proxies::Proxies,
    routing::Router,
    tokens::Tokens,
};

/// Maximum number of standbys per client.
pub(crate) const MAX_STANDBYS: usize = 3;

/// Settings of the shards.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Maximum size of a client message, in bytes.
    pub(crate) max_message_size: usize,
    /// Maximum size of a client's write queue in bytes. A client that exceeds it counts as slow.
    pub(crate) send_buffer: usize,
    /// Socket receive buffer of client connections in bytes; the kernel's default if `None`.
    pub(crate) receive_buffer: Option<u32>,
    /// Maximum bytes of retained messages.
    pub(crate) retained_bytes: usize,
    /// Limits of addresses, and of the rates of clients.
    pub(crate) limits: Limits,
    /// How long a closing connection may take to read its queued output and to answer a close frame.
    pub(crate) close_timeout: Duration,
    /// Policy for slow clients.
    pub(crate) slow_client: SlowClient,
    /// How clients are assigned to workers.
    pub(crate) router: Router,
    /// The proxies in front.
    pub(crate) proxies: Proxies,
    /// Policy for WebSocket handshakes.
    pub(crate) handshake_policy: HandshakePolicy,
    /// Compression of messages to clients that negotiate it; no client can if `None`.
    pub(crate) compression: Option<CompressionPolicy>,
    /// Frame type of messages that do not specify their own.
    pub(crate) websocket_type: WebSocketType,
    /// `GatewayWorker`'s heartbeat.
    pub(crate) heartbeat: Option<Heartbeat>,
    /// Ping frames to idle WebSocket clients.
    pub(crate) websocket_ping: Option<WebSocketPing>,
    /// How the kernel detects that a client's host has become unreachable.
    pub(crate) keepalive: KeepAlive,
    /// Time limit for the PROXY header, and for the handshake request behind it.
    pub(crate) handshake_timeout: Option<Duration>,
    /// Which process decides about handshakes.
    pub(crate) handshake_auth: HandshakeAuth,
    /// How tokens of clients are verified; `None` without `--handshake-auth jwt`.
    pub(crate) tokens: Option<Arc<Tokens>>,
    /// Time limit for a worker's answer to a handshake.
    pub(crate) handshake_auth_timeout: Duration,
    /// Maximum number of handshakes that await the answer of a worker, over all shards.
    pub(crate) max_undecided: usize,
    /// How many seconds before a connection expires its worker is notified; `None`: not at all.
    pub(crate) expiry_notice: Option<u64>,
    /// Time limit for a client to be bound to a uid; no limit if `None`.
    pub(crate) auth_timeout: Option<Duration>,
    /// Maximum size in bytes of a message of a client without a uid, if it is less than for others.
    pub(crate) unauthenticated_message_size: Option<usize>,
    /// Policy for clients whose events have no worker.
    pub(crate) no_worker: NoWorker,
    /// Number of worker processes that may end while handling an event before it is discarded; no
    /// limit if `None`.
    pub(crate) max_delivery_attempts: Option<usize>,
    /// Policy for the client of such an event.
    pub(crate) undeliverable: Undeliverable,
    /// How long a native peer may leave liveness probes unanswered.
    pub(crate) peer_timeout: Duration,
    /// Maximum bytes of unacknowledged events per worker on a shard, and of unassigned events while
    /// no worker is linked.
    pub(crate) worker_window: usize,
    /// Number of standbys per client, as far as there are enough workers.
    pub(crate) standbys: usize,
    /// Memory budget of a shard in bytes; no limit if `None`.
    pub(crate) memory: Option<usize>,
    /// Maximum number of connections with a pending handshake or PROXY header, over all
    /// shards.
    pub(crate) max_requests: usize,
    /// Maximum number of groups per client; no limit if `None`.
    pub(crate) max_groups: Option<usize>,
    /// The limit of connections for each uid in the whole cluster, if there is one.
    pub(crate) uid_limit: Option<UidLimit>,
    /// Maximum number of open connections over all shards; no limit if `None`.
    pub(crate) max_connections: Option<usize>,
    /// Maximum number of lifecycle events that a shard keeps.
    pub(crate) event_ring: usize,
    /// Static files for requests that do not open a WebSocket; none are served if `None`.
    pub(crate) pages: Option<Arc<Pages>>,
    /// Path of health checks on WebSocket listeners; disabled if `None`.
    pub(crate) health_path: Option<String>,
    /// Which peers may connect to the inner port, and how the gateway connects to registers.
    pub(crate) gate: InnerAcceptor,
    /// TLS server configuration for client listeners.
    pub(crate) tls: Option<ServerTls>,
    /// Behavior that `--compat` controls and that has no flag of its own.
    pub(crate) compat_behavior: CompatBehavior,
}

/// Behavior that `--compat` controls directly, besides the defaults of other flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CompatBehavior {
    /// Whether a close frame with the reason is sent to a client that the gateway closes.
    pub(crate) send_close_frames: bool,
    /// Whether a connection becomes a client when it is accepted. Otherwise it becomes one with its
    /// first request that is not a health check, or after a short time without a request.
    pub(crate) client_at_accept: bool,
    /// Whether connection ids start at a random number, so that ids remembered from before a
    /// restart do not match another client. Otherwise they start at 1.
    pub(crate) randomize_ids: bool,
    /// Whether rows are sorted such that lists built by unmodified PHP peers are complete.
    pub(crate) order_rows: bool,
    /// Whether an event that could not be written to a PHP worker, or exceeds its window, is kept
    /// until that worker or another one accepts it. Otherwise it is dropped, which rules out
    /// duplicates.
    pub(crate) keep_php_events: bool,
    /// Validation of text from clients.
    pub(crate) texts: TextValidation,
}

impl From<Compat> for CompatBehavior {
    fn from(compat: Compat) -> Self {
        let is_default = compat == Compat::Default;
        Self {
            send_close_frames: is_default,
            client_at_accept: !is_default,
            randomize_ids: is_default,
            order_rows: is_default,
            keep_php_events: is_default,
            texts: if is_default { TextValidation::Utf8 } else { TextValidation::Any },
        }
    }
}

/// Which messages are compressed for WebSocket clients that support permessage-deflate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Compression {
    /// None, in either direction.
    #[default]
    Off,
    /// Those for several clients, each once for all of them. Clients may compress theirs.
    FanOut,
    /// Those for one client too.
    All,
}

/// Compression of messages to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CompressionPolicy {
    /// From 1 (fast) to 9 (small).
    pub(crate) level: u8,
    /// Minimum size in bytes of a message for several clients.
    pub(crate) fan_out_from: usize,
    /// Minimum size in bytes of a message for one client; never compressed if `None`.
    pub(crate) single_from: Option<usize>,
}

impl CompressionPolicy {
    /// Minimum size in bytes of a message for so many clients.
    pub(crate) fn threshold(&self, clients: usize) -> usize {
        match clients {
            0 | 1 => self.single_from.unwrap_or(usize::MAX),
            _ => self.fan_out_from,
        }
    }
}

/// WebSocket frame type of messages that do not specify their own: those of PHP peers, and pings.
/// `GatewayWorker`'s `websocketType`, for all clients of a gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum WebSocketType {
    /// Text if the payload is valid UTF-8, otherwise binary.
    #[default]
    Auto,
    /// Always text. Browsers close the connection if the payload is not valid UTF-8.
    Text,
    /// Always binary.
    Binary,
}

impl WebSocketType {
    /// The kind of a message that specifies none.
    pub(crate) fn kind(self) -> MessageKind {
        match self {
            Self::Auto | Self::Text => MessageKind::Text,
            Self::Binary => MessageKind::Binary,
        }
    }

    /// Validation of outgoing text.
    pub(crate) fn texts(self) -> TextValidation {
        match self {
            Self::Auto | Self::Binary => TextValidation::Utf8,
            Self::Text => TextValidation::Any,
        }
    }
}

/// Which process decides whether a WebSocket handshake is accepted, after the gateway has found it
/// valid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum HandshakeAuth {
    /// None: every valid handshake is accepted.
    #[default]
    None,
    /// The client's worker, before the client gets its response.
    Worker,
    /// The gateway, by a token in the request.
    Jwt,
}

/// Policy for clients whose events have no worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoWorker {
    /// The events wait. The client is closed if they wait longer than this, if limited.
    Wait(Option<Duration>),
    /// The client is disconnected without a close frame, and the events are dropped.
    Destroy,
}

/// Policy for a client one of whose events has reached `--max-delivery-attempts`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Undeliverable {
    /// Close it with 1011 and drop its later events.
    #[default]
    Close,
    /// Discard the event and keep the client connected.
    Skip,
}

/// Policy for a client that reads too slowly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SlowClient {
    /// Disconnect it. An undetectable gap is worse than a reconnect.
    #[default]
    Disconnect,
    /// Drop the messages that do not fit, as `GatewayWorker` does.
    Drop,
}

/// Policy for a uid with more connections than `--max-connections-per-uid`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum UidLimitPolicy {
    /// Close the one that was bound last: a new connection is refused.
    CloseNew,
    /// Close the one that was bound first: a new connection replaces it. So a user whose old
    /// connection is dead, and not known to be, gets in.
    #[default]
    CloseOldest,
}

impl From<UidLimitPolicy> for Keep {
    fn from(policy: UidLimitPolicy) -> Self {
        match policy {
            UidLimitPolicy::CloseNew => Self::Oldest,
            UidLimitPolicy::CloseOldest => Self::Newest,
        }
    }
}

/// How the kernel detects that a client's host has become unreachable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeepAlive {
    /// Idle time before the first keepalive probe, and interval between probes, if enabled.
    pub(crate) interval: Option<Duration>,
    /// Number of unanswered probes that closes the connection if `timeout` is not set.
    pub(crate) probes: u32,
    /// How long probes or sent data may stay unacknowledged; the kernel's default if `None`.
    pub(crate) timeout: Option<Duration>,
}

impl KeepAlive {
    /// Applies the options to every connection that `listener` accepts from now on.
    ///
    /// # Errors
    /// When the kernel rejects an option.
    pub(crate) fn set(&self, listener: &Unpolled) -> io::Result<()> {
        if let Some(interval) = self.interval {
            net::set_keepalive(listener, interval, self.probes)?;
        }
        match self.timeout {
            Some(timeout) => net::set_user_timeout(listener, timeout),
            None => Ok(()),
        }
    }
}

/// One listener for clients.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listener {
    /// The address it listens on.
    pub(crate) addr: SocketAddr,
    /// The framing of its connections.
    pub(crate) framing: Framing,
    /// Whether connections use TLS.
    pub(crate) tls: bool,
}

impl Listener {
    /// How it frames messages, as peers are shown it.
    pub(crate) const fn kind(&self) -> ListenerKind {
        match self.framing {
            Framing::WebSocket => ListenerKind::WebSocket,
            Framing::Text => ListenerKind::Text,
            Framing::Frame(_) => ListenerKind::Frame,
            Framing::Tcp => ListenerKind::Tcp,
        }
    }
}
