//! Settings of the gateway, as they are given.

use std::path::PathBuf;

use clap::Parser;
use serde::Serialize;
use service::{
    settings::{Address, Common, Compat, Host, MAX_SILENCE, MAX_WAIT, amount},
    tls::{InnerFiles, Plain, PublicFiles},
};

use crate::{
    door::Listen,
    http::{Field, Subprotocol},
    settings::{SlowClient, Undeliverable, WebSocketType},
    shard::{MAX_LIMIT, MAX_STANDBYS, Router},
};

/// The kernel doubles what it is asked for, in a signed number.
const MAX_RECEIVE_BUFFER: i64 = i32::MAX as i64 / 2;

/// Holds clients' connections, and passes between them and workers.
#[derive(Debug, Parser, Serialize)]
#[command(name = "gateway", version)]
pub struct Args {
    /// Where clients connect (repeatable); a bare address means ws://
    #[arg(long, value_name = "URL", default_value = "ws://0.0.0.0:7272")]
    pub(super) listen: Vec<Listen>,

    /// The inner IP that is announced, and that client ids carry. A host name is looked up at the start
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    pub(super) lan_ip: Host,

    /// The inner port that is announced
    #[arg(long, value_name = "PORT", default_value_t = 2900)]
    pub(super) lan_port: u16,

    /// Where the inner port is bound, if not where it is announced (containers)
    #[arg(long, value_name = "ADDR")]
    pub(super) lan_listen: Option<Address>,

    /// Where registers are (repeatable); the gateway announces itself to all
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:1236")]
    pub(super) register_address: Vec<Address>,

    /// Seconds between pings to silent clients; 0 never pings
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    #[arg(value_parser = clap::value_parser!(u64).range(..=MAX_WAIT))]
    pub(super) ping_interval: u64,

    /// How many pings a client may leave unanswered; 0 never gives up
    #[arg(long, value_name = "N", default_value_t = 0)]
    #[arg(value_parser = clap::value_parser!(u16).range(..=i64::from(MAX_LIMIT)))]
    pub(super) ping_not_response_limit: u16,

    /// What a ping says; if empty, a WebSocket client is sent a ping frame, and others nothing
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(super) ping_data: String,

    /// Seconds of silence after which a WebSocket client is sent a ping frame; it is closed with 1001 after as
    /// many more without any sign of life; 0 never pings
    #[arg(long, value_name = "SECONDS", default_value_t = 25)]
    #[arg(default_value_if("compat", "strict", "0"))]
    #[arg(value_parser = clap::value_parser!(u64).range(..=86400))]
    pub(super) websocket_ping: u64,

    /// Seconds of silence after which the kernel probes a client's host, and between probes; 0 leaves it to
    /// the kernel, which does not
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    #[arg(default_value_if("compat", "strict", "55"))]
    #[arg(value_parser = clap::value_parser!(u64).range(..=32767))]
    pub(super) tcp_keepalive: u64,

    /// Seconds for which a client's host may leave probes unanswered, or not take what is sent to it, before
    /// the kernel breaks the connection; 0 leaves it to the kernel, which takes a quarter of an hour
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    #[arg(default_value_if("compat", "strict", "0"))]
    #[arg(value_parser = clap::value_parser!(u64).range(..=86400))]
    pub(super) tcp_user_timeout: u64,

    /// Serve this folder to browsers instead of the built-in chat page
    #[arg(long, value_name = "DIR")]
    pub(super) web_root: Option<PathBuf>,

    /// Serve no pages: every connection that is no health check is a client's, whatever it asks for; with
    /// --compat strict from the moment it is accepted, health check or not
    #[arg(long, default_value_if("compat", "strict", "true"))]
    pub(super) no_web: bool,

    /// The path of health checks at ws:// and wss:// listeners, which are no clients; none if empty
    #[arg(long, value_name = "PATH", default_value = "/healthz")]
    #[arg(default_value_if("compat", "strict", ""))]
    pub(super) health_path: String,

    /// How many bytes may be queued for a client before it counts as slow
    #[arg(long, value_name = "BYTES", default_value_t = 1024 * 1024)]
    #[arg(default_value_if("compat", "strict", "1024000"), value_parser = amount())]
    pub(super) send_to_client_buffer_size: usize,

    /// How much of what a client sends the kernel holds until it is read; 0 leaves it to the kernel,
    /// which may go up to net.ipv4.tcp_rmem for each
    #[arg(long, value_name = "BYTES", default_value_t = 256 * 1024)]
    #[arg(value_parser = clap::value_parser!(u32).range(..=MAX_RECEIVE_BUFFER))]
    pub(super) receive_buffer_size: u32,

    /// What becomes of a client that does not read
    #[arg(long, value_name = "POLICY", value_enum, default_value_t)]
    #[arg(default_value_if("compat", "strict", "drop"))]
    pub(super) slow_client: SlowClient,

    /// How a client is given a worker
    #[arg(long, value_name = "POLICY", value_enum, default_value_t)]
    pub(super) router: Router,

    /// The largest message of a client; a larger one closes it with 1009
    #[arg(long, value_name = "BYTES", default_value_t = 1024 * 1024)]
    #[arg(default_value_if("compat", "strict", "10485760"))]
    pub(super) max_message_size: usize,

    /// An origin that browsers may connect from (repeatable) [default: any]
    #[arg(long, value_name = "ORIGIN")]
    pub(super) allowed_origin: Vec<String>,

    /// A header of one's own in the answer to a handshake, as 'Name: value' (repeatable)
    #[arg(long, value_name = "FIELD")]
    pub(super) header: Vec<Field>,

    /// A subprotocol that is spoken (repeatable); the first that a client asks for is answered. '*' is
    /// any: what a client asks for is answered as it is, such as a token
    #[arg(long, value_name = "NAME")]
    pub(super) subprotocol: Vec<Subprotocol>,

    /// As what messages of PHP, and pings, go out to WebSocket clients; workers of ours say it with
    /// each message
    #[arg(long, value_name = "TYPE", value_enum, default_value_t)]
    #[arg(default_value_if("compat", "strict", "text"))]
    pub(super) websocket_type: WebSocketType,

    /// How long a client may take to finish its handshake; 0 for ever
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    #[arg(default_value_if("compat", "strict", "0"))]
    #[arg(value_parser = clap::value_parser!(u64).range(..=MAX_WAIT))]
    pub(super) handshake_timeout: u64,

    /// How long a client's events may wait for a worker before it is closed with 1013; 0 for ever
    #[arg(long, value_name = "SECONDS", default_value = "30")]
    #[arg(default_value_if("compat", "strict", None))]
    #[arg(value_parser = clap::value_parser!(u64).range(..=MAX_WAIT))]
    pub(super) no_worker_timeout: Option<u64>,

    /// How long a worker or back end of ours may be silent, though it is asked whether it is there,
    /// before its link is given up and its events go to others
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=MAX_SILENCE))]
    pub(super) peer_timeout: u64,

    /// How many times an event may be delivered of which the worker process ends each time, before it is
    /// given up; 0 never gives up. At least 2: the first time others that were in progress may be the cause
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = amount())]
    pub(super) max_delivery_attempts: usize,

    /// What becomes of the client of an event that was given up: closed with 1011, or served on
    /// without that event
    #[arg(long, value_name = "POLICY", value_enum, default_value_t)]
    pub(super) undeliverable: Undeliverable,

    /// How many bytes of events each thread lets a worker have unfinished, or holds while there is
    /// none, before it reads no more from their clients
    #[arg(long, value_name = "BYTES", default_value_t = 8 * 1024 * 1024)]
    #[arg(default_value_if("compat", "strict", "10240000"), value_parser = amount())]
    pub(super) worker_window: usize,

    /// Number of standby workers per client: they close its clients if this gateway and the worker
    /// that has them fail together
    #[arg(long, value_name = "N", default_value_t = 2)]
    #[arg(value_parser = clap::value_parser!(u8).range(0..=MAX_STANDBYS as i64))]
    pub(super) standbys: u8,

    /// How many bytes clients may make the gateway hold: unfinished messages, queues, and events
    /// that workers are not done with; 0 for any number [default: 256 MiB for each thread]
    #[arg(long, value_name = "BYTES", value_parser = amount())]
    pub(super) memory_budget: Option<usize>,

    /// How many connections may be without a finished handshake before nobody else is let in
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = amount())]
    pub(super) max_handshakes: usize,

    /// How many connections there may be before nobody else is let in; 0 for any number
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = amount())]
    pub(super) max_connections: usize,

    /// Maximum number of groups that a client may be in; further joins are ignored, counted and logged.
    /// 0 for no limit
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    #[arg(default_value_if("compat", "strict", "0"), value_parser = amount())]
    pub(super) max_groups_per_client: usize,

    /// How to behave where we do better than GatewayWorker and peers or clients could tell: strict
    /// is GatewayWorker's way to the letter, with other defaults of flags (--check shows them)
    #[arg(long, value_name = "WAY", value_enum, default_value_t)]
    pub(super) compat: Compat,

    /// How many threads hold clients [default: one for each core]
    #[arg(long, value_name = "N")]
    pub(super) threads: Option<u16>,

    /// How many connections a thread takes before the next one takes some too; then they are spread
    /// evenly over both, and so on
    #[arg(long, value_name = "N", default_value_t = 1000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) connections_per_thread: u32,

    #[command(flatten)]
    #[serde(flatten)]
    pub(super) tls: PublicFiles,

    #[command(flatten)]
    #[serde(flatten)]
    pub(super) inner_tls: InnerFiles,

    /// Which peers are let in without TLS, where there is --inner-tls-cert: PHP peers speak none
    /// [default: refuse]
    #[arg(long, value_name = "WHICH", value_enum)]
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
