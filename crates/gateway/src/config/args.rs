//! Command-line flags of the gateway, before validation.

use std::path::PathBuf;

use clap::Parser;
use framing::http::{AddressRange, Field, Subprotocol};
use runtime::tls::Plain;
use serde::Serialize;
use service::{
    settings::{Address, Common, Compat, Host, MAX_SILENCE, MAX_WAIT, amount},
    tls_flags::{InnerFiles, PublicFiles},
};

use super::{MAX_MESSAGE, MAX_THREADS, jwt::JwtFlags, limit_args::LimitArgs, page_gateway};
use crate::{
    heartbeat::MAX_LIMIT,
    listen_url::ListenUrl,
    proxies::ProxyHeader,
    routing::Router,
    settings::MAX_STANDBYS,
    settings::{
        Compression, HandshakeAuth, SlowClient, UidLimitPolicy, Undeliverable, WebSocketType,
    },
};

/// The kernel doubles the requested size and stores it in a signed 32-bit integer.
const MAX_RECEIVE_BUFFER: i64 = i32::MAX as i64 / 2;

/// More than any user has. Each check of a uid lists them.
const MAX_PER_UID: i64 = 100_000;

/// Maximum of `--event-ring`: a shard looks at all of them for one query.
const MAX_EVENT_RING: usize = 65_536;

/// Terminates client connections and relays their events and messages to and from workers.
#[derive(Debug, Parser, Serialize)]
#[command(name = "gateway", version)]
pub struct Args {
    /// URL to listen on for clients: ws://, wss://, text://, frame:// or tcp:// (repeatable). An
    /// address without a scheme means ws://. The query of a frame:// URL declares the frames of its
    /// clients, such as ?length=u16le&offset=2
    #[arg(help_heading = "Listeners")]
    #[arg(long, value_name = "URL", default_value = "ws://0.0.0.0:7272")]
    pub(super) listen: Vec<ListenUrl>,

    /// IP address announced to workers through the register, and encoded in client ids. A host name
    /// is resolved once at startup
    #[arg(help_heading = "Cluster")]
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    pub(super) lan_ip: Host,

    /// Port announced to workers through the register
    #[arg(help_heading = "Cluster")]
    #[arg(long, value_name = "PORT", default_value_t = 2900)]
    pub(super) lan_port: u16,

    /// Address to bind for workers and back ends, if it differs from the announced one (NAT,
    /// containers) [default: --lan-ip and --lan-port]
    #[arg(help_heading = "Cluster")]
    #[arg(long, value_name = "ADDR")]
    pub(super) lan_listen: Option<Address>,

    /// Address of a register (repeatable). The gateway announces itself to all of them
    #[arg(help_heading = "Cluster")]
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:1236")]
    pub(super) register_address: Vec<Address>,

    /// Heartbeat interval in seconds: a client that sends no message for this long is pinged; 0
    /// disables the heartbeat
    #[arg(help_heading = "Heartbeats")]
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    #[arg(value_parser = clap::value_parser!(u64).range(..=MAX_WAIT))]
    pub(super) ping_interval: u64,

    /// Number of unanswered heartbeat pings after which a client is closed; 0 means no limit
    #[arg(help_heading = "Heartbeats")]
    #[arg(long, value_name = "N", default_value_t = 0)]
    #[arg(value_parser = clap::value_parser!(u16).range(..=i64::from(MAX_LIMIT)))]
    pub(super) ping_not_response_limit: u16,

    /// Payload of a heartbeat ping. If empty, WebSocket clients get a ping frame and other clients
    /// nothing
    #[arg(help_heading = "Heartbeats")]
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(super) ping_data: String,

    /// Idle time in seconds before a WebSocket client is sent a ping frame. It is closed with 1001
    /// if nothing is received from it within --websocket-pong-timeout; 0 disables the pings
    #[arg(help_heading = "Heartbeats")]
    #[arg(long, value_name = "SECONDS", default_value_t = 25)]
    #[arg(default_value_if("compat", "strict", "0"))]
    #[arg(value_parser = clap::value_parser!(u64).range(..=86400))]
    pub(super) websocket_ping: u64,

    /// Time in seconds for a WebSocket client to answer a ping frame, or to send anything else
    /// [default: as --websocket-ping]
    #[arg(help_heading = "Heartbeats")]
    #[arg(long, value_name = "SECONDS")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=86400))]
    pub(super) websocket_pong_timeout: Option<u64>,

    /// TCP keepalive for client connections: idle time in seconds before the first probe, and
    /// interval between probes; 0 keeps the kernel's default (no keepalive)
    #[arg(help_heading = "Heartbeats")]
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    #[arg(default_value_if("compat", "strict", "55"))]
    #[arg(value_parser = clap::value_parser!(u64).range(..=32767))]
    pub(super) tcp_keepalive: u64,

    /// TCP user timeout for client connections: seconds that sent data or keepalive probes may stay
    /// unacknowledged before the kernel drops the connection; 0 keeps the kernel's default (about
    /// 15 minutes)
    #[arg(help_heading = "Heartbeats")]
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    #[arg(default_value_if("compat", "strict", "0"))]
    #[arg(value_parser = clap::value_parser!(u64).range(..=86400))]
    pub(super) tcp_user_timeout: u64,

    /// Directory of static files to serve over HTTP instead of the built-in chat page
    #[arg(help_heading = "Listeners")]
    #[arg(long, value_name = "DIR")]
    pub(super) web_root: Option<PathBuf>,

    /// URL of another gateway (ws:// or wss://), as clients reach it: the built-in chat page connects
    /// to it while this gateway is away. Repeatable
    #[arg(help_heading = "Listeners")]
    #[arg(long, value_name = "URL", value_parser = page_gateway::parse)]
    pub(super) web_failover: Vec<String>,

    /// Serve no static files: every connection that is not a health check counts as a client,
    /// whatever it requests. With --compat strict, every connection counts as one once it is
    /// accepted
    #[arg(help_heading = "Listeners")]
    #[arg(long, default_value_if("compat", "strict", "true"))]
    pub(super) no_web: bool,

    /// Path of the health check on ws:// and wss:// listeners. Such requests do not count as
    /// clients. An empty path disables it
    #[arg(help_heading = "Listeners")]
    #[arg(long, value_name = "PATH", default_value = "/healthz")]
    #[arg(default_value_if("compat", "strict", ""))]
    pub(super) health_path: String,

    /// Maximum size of a client's send queue in bytes. A client that exceeds it counts as slow
    #[arg(help_heading = "Messages")]
    #[arg(long, value_name = "BYTES", default_value_t = 1024 * 1024)]
    #[arg(default_value_if("compat", "strict", "1024000"), value_parser = amount().range(1..))]
    pub(super) send_to_client_buffer_size: usize,

    /// Socket receive buffer of client connections in bytes (SO_RCVBUF); 0 keeps the kernel's
    /// autotuning, up to net.ipv4.tcp_rmem per connection
    #[arg(help_heading = "Messages")]
    #[arg(long, value_name = "BYTES", default_value_t = 256 * 1024)]
    #[arg(value_parser = clap::value_parser!(u32).range(..=MAX_RECEIVE_BUFFER))]
    pub(super) receive_buffer_size: u32,

    /// Policy for a client whose send queue is full
    #[arg(help_heading = "Messages")]
    #[arg(long, value_name = "POLICY", value_enum, default_value_t)]
    #[arg(default_value_if("compat", "strict", "drop"))]
    pub(super) slow_client: SlowClient,

    /// How clients are assigned to workers
    #[arg(help_heading = "Workers")]
    #[arg(long, value_name = "POLICY", value_enum, default_value_t)]
    pub(super) router: Router,

    /// Maximum size of a client message in bytes. A larger one closes the client with 1009
    #[arg(help_heading = "Messages")]
    #[arg(long, value_name = "BYTES", default_value_t = 1024 * 1024)]
    #[arg(default_value_if("compat", "strict", "10485760"))]
    #[arg(value_parser = amount().range(1..=MAX_MESSAGE))]
    pub(super) max_message_size: usize,

    /// Address or range of a proxy in front, such as 10.0.0.0/8 (repeatable). A client that connects
    /// through it has the address that --proxy-header states. With --proxy-protocol, no other peer
    /// may connect
    #[arg(help_heading = "Proxies")]
    #[arg(long, value_name = "RANGE")]
    pub(super) trusted_proxy: Vec<AddressRange>,

    /// Header in which trusted proxies state the client's address. The others do not count, since a
    /// proxy passes them on as the client sent them [default: x-forwarded-for]
    #[arg(help_heading = "Proxies")]
    #[arg(long, value_name = "NAME", value_enum)]
    pub(super) proxy_header: Option<ProxyHeader>,

    /// Require a PROXY header (version 1 or 2) at the start of every client connection, before TLS,
    /// and take the client's address from it
    #[arg(help_heading = "Proxies")]
    #[arg(long)]
    pub(super) proxy_protocol: bool,

    /// Origin that browsers may connect from (repeatable). Requests without an Origin header are
    /// always allowed [default: any]
    #[arg(help_heading = "Handshakes")]
    #[arg(long, value_name = "ORIGIN")]
    pub(super) allowed_origin: Vec<String>,

    /// Additional header in the WebSocket handshake response, as 'Name: value' (repeatable)
    #[arg(help_heading = "Handshakes")]
    #[arg(long, value_name = "FIELD")]
    pub(super) header: Vec<Field>,

    /// Supported WebSocket subprotocol (repeatable). The first one in the client's list that is
    /// supported is selected. '*' supports any and echoes the client's, for example a token
    #[arg(help_heading = "Handshakes")]
    #[arg(long, value_name = "NAME")]
    pub(super) subprotocol: Vec<Subprotocol>,

    /// Which process decides about WebSocket handshakes before they are answered. With 'worker', the
    /// client's worker accepts or refuses each of them; with 'jwt', the gateway does, by a token that
    /// a key of --jwt-keys has signed
    #[arg(help_heading = "Handshakes")]
    #[arg(long, value_name = "POLICY", value_enum, default_value_t)]
    pub(super) handshake_auth: HandshakeAuth,

    /// Time in seconds for a worker to answer a handshake with --handshake-auth worker. After that
    /// the handshake is refused with 503
    #[arg(help_heading = "Handshakes")]
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=MAX_WAIT))]
    pub(super) handshake_auth_timeout: u64,

    /// Compression of WebSocket messages (permessage-deflate): of messages for several clients,
    /// each compressed once, or of all. Clients that do not support it get the same messages
    /// uncompressed
    #[arg(help_heading = "Messages")]
    #[arg(long, value_name = "MODE", value_enum, default_value_t)]
    pub(super) compression: Compression,

    /// Minimum size in bytes of a message for several clients to be compressed; for one client, four
    /// times as many [default: 256]
    #[arg(help_heading = "Messages")]
    #[arg(long, value_name = "BYTES", value_parser = amount())]
    pub(super) compression_min_size: Option<usize>,

    /// Compression level, from 1 (fast) to 9 (small) [default: 3]
    #[arg(help_heading = "Messages")]
    #[arg(long, value_name = "LEVEL")]
    #[arg(value_parser = clap::value_parser!(u8).range(1..=9))]
    pub(super) compression_level: Option<u8>,

    #[command(flatten)]
    #[serde(flatten)]
    pub(super) jwt: JwtFlags,

    /// Time in seconds before a client's connection expires, with its token or as its worker has set,
    /// at which its worker is notified, and may renew it. 0 means no notice
    #[arg(help_heading = "Tokens")]
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    #[arg(value_parser = clap::value_parser!(u64).range(..=MAX_WAIT))]
    pub(super) expiry_notice: u64,

    /// Time in seconds for a client to be bound to a uid, from its handshake on, or from its accept
    /// if it has none. A client without a uid is then closed with 4408; 0 means no limit
    #[arg(help_heading = "Handshakes")]
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    #[arg(value_parser = clap::value_parser!(u64).range(..=MAX_WAIT))]
    pub(super) auth_timeout: u64,

    /// Maximum size in bytes of a message of a client that is not bound to a uid. A larger one
    /// closes the client with 1009; 0 means --max-message-size
    #[arg(help_heading = "Messages")]
    #[arg(long, value_name = "BYTES", default_value_t = 0, value_parser = amount())]
    pub(super) unauthenticated_message_size: usize,

    /// WebSocket frame type for pings and for messages from PHP peers (native peers set it per
    /// message)
    #[arg(help_heading = "Messages")]
    #[arg(long, value_name = "TYPE", value_enum, default_value_t)]
    #[arg(default_value_if("compat", "strict", "text"))]
    pub(super) websocket_type: WebSocketType,

    /// Time in seconds for a client to complete its handshake, and before that for its proxy to send
    /// the PROXY header; 0 means no limit
    #[arg(help_heading = "Handshakes")]
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    #[arg(default_value_if("compat", "strict", "0"))]
    #[arg(value_parser = clap::value_parser!(u64).range(..=MAX_WAIT))]
    pub(super) handshake_timeout: u64,

    /// Time in seconds that a client's events may wait for a worker before the client is closed
    /// with 1013; 0 means no limit. With --compat strict, it is disconnected at once
    #[arg(help_heading = "Workers")]
    #[arg(long, value_name = "SECONDS", default_value = "30")]
    #[arg(default_value_if("compat", "strict", None))]
    #[arg(value_parser = clap::value_parser!(u64).range(..=MAX_WAIT))]
    pub(super) no_worker_timeout: Option<u64>,

    /// Time in seconds without a response to liveness probes after which the link of a native
    /// worker or back end is closed. The worker's unacknowledged events are then redelivered to
    /// other workers
    #[arg(help_heading = "Workers")]
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=MAX_SILENCE))]
    pub(super) peer_timeout: u64,

    /// Maximum delivery attempts for an event during which the worker process ends every time; 0
    /// means no limit. At least 2, since another event in progress may have caused the first
    /// failure
    #[arg(help_heading = "Workers")]
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = amount())]
    pub(super) max_delivery_attempts: usize,

    /// Policy for the client of an event that has reached --max-delivery-attempts
    #[arg(help_heading = "Workers")]
    #[arg(long, value_name = "POLICY", value_enum, default_value_t)]
    pub(super) undeliverable: Undeliverable,

    /// Maximum bytes of unacknowledged events per worker and thread, and of unassigned events per
    /// thread. Reading from the clients concerned pauses at this limit (backpressure)
    #[arg(help_heading = "Workers")]
    #[arg(long, value_name = "BYTES", default_value_t = 8 * 1024 * 1024)]
    #[arg(default_value_if("compat", "strict", "10240000"), value_parser = amount().range(1..))]
    pub(super) worker_window: usize,

    /// Number of standby workers per client. They close the client if this gateway and the client's
    /// worker fail together
    #[arg(help_heading = "Workers")]
    #[arg(long, value_name = "N", default_value_t = 2)]
    #[arg(value_parser = clap::value_parser!(u8).range(0..=MAX_STANDBYS as i64))]
    pub(super) standbys: u8,

    /// Memory budget in bytes for clients: incomplete messages, send queues, and events that are
    /// not acknowledged yet; 0 means no limit [default: 256 MiB per thread]
    #[arg(help_heading = "Limits")]
    #[arg(long, value_name = "BYTES", value_parser = amount())]
    pub(super) memory_budget: Option<usize>,

    /// Memory budget in bytes for retained messages, the last ones of groups that workers have the
    /// gateway keep; without space the oldest goes first; 0 keeps none
    #[arg(help_heading = "Limits")]
    #[arg(long, value_name = "BYTES", default_value_t = 64 * 1024 * 1024)]
    #[arg(default_value_if("compat", "strict", "0"), value_parser = amount())]
    pub(super) retained_message_budget: usize,

    /// Maximum number of connections with a pending handshake or PROXY header. Accepting pauses at
    /// this limit
    #[arg(help_heading = "Limits")]
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = amount().range(1..))]
    pub(super) max_handshakes: usize,

    /// Maximum number of open client connections; 0 means no limit. Accepting pauses at this limit
    #[arg(help_heading = "Limits")]
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = amount())]
    pub(super) max_connections: usize,

    /// Maximum number of groups per client; 0 means no limit. Further joins are ignored, counted
    /// and logged
    #[arg(help_heading = "Limits")]
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    #[arg(default_value_if("compat", "strict", "0"), value_parser = amount())]
    pub(super) max_groups_per_client: usize,

    /// Maximum number of connections for each uid in the whole cluster; 0 means no limit. Set it to
    /// the same value on every gateway
    #[arg(help_heading = "Limits")]
    #[arg(long, value_name = "N", default_value_t = 0)]
    #[arg(value_parser = clap::value_parser!(u32).range(..=MAX_PER_UID))]
    pub(super) max_connections_per_uid: u32,

    /// Policy for a uid with more connections than --max-connections-per-uid. The connections that
    /// are closed get 4409
    #[arg(help_heading = "Limits")]
    #[arg(long, value_name = "POLICY", value_enum, default_value_t)]
    pub(super) uid_limit_policy: UidLimitPolicy,

    /// Lifecycle events of clients (connects, refusals, workers, closes) that each thread keeps, for
    /// operators to ask for; 0 keeps none
    #[arg(help_heading = "Process")]
    #[arg(long, value_name = "N", default_value_t = 4096)]
    #[arg(default_value_if("compat", "strict", "0"))]
    #[arg(value_parser = amount().range(..=MAX_EVENT_RING as u64))]
    pub(super) event_ring: usize,

    /// Compatibility mode. 'strict' reproduces GatewayWorker's behavior exactly and changes the
    /// defaults of other flags (see --check)
    #[arg(help_heading = "Process")]
    #[arg(long, value_name = "MODE", value_enum, default_value_t)]
    pub(super) compat: Compat,

    /// Number of threads that serve clients [default: number of CPU cores]
    #[arg(help_heading = "Process")]
    #[arg(long, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_THREADS)))]
    pub(super) threads: Option<u16>,

    /// Number of connections per thread before another thread is used. Connections are balanced
    /// over the threads in use
    #[arg(help_heading = "Process")]
    #[arg(long, value_name = "N", default_value_t = 1000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) connections_per_thread: u32,

    #[command(flatten)]
    #[serde(flatten)]
    pub(super) limits: LimitArgs,

    #[command(flatten)]
    #[serde(flatten)]
    pub(super) tls: PublicFiles,

    #[command(flatten)]
    #[serde(flatten)]
    pub(super) inner_tls: InnerFiles,

    /// Which peers may connect without TLS if --inner-tls-cert is set. PHP peers do not support TLS
    /// [default: refuse]
    #[arg(help_heading = "TLS")]
    #[arg(long, value_name = "POLICY", value_enum)]
    pub(super) inner_tls_plain: Option<Plain>,

    #[command(flatten)]
    #[serde(flatten)]
    pub(super) common: Common,
}

impl AsRef<Common> for Args {
    fn as_ref(&self) -> &Common {
        &self.common
    }
}
