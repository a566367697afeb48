//! Settings of the gateway: as typed, then as meant.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::{Context, ensure};
use clap::Parser;
use protocol::{Secret, codec::native::MAX_FRAME};
use serde::Serialize;
use service::{
    settings::{Common, Compat},
    tls::{Inner, InnerFiles, Plain, Public, PublicFiles, Reread},
};

use crate::{
    door::Listen,
    framing::websocket::Terms,
    http::{Field, Site, Subprotocol},
    settings::{Door, NoWorker, Settings, SlowClient, Undeliverable, WebSocketType},
    shard::{Heartbeat, Router},
};

/// Holds clients' connections, and passes between them and workers.
#[derive(Debug, Parser, Serialize)]
#[command(name = "gateway", version)]
pub struct Args {
    /// Where clients connect (repeatable); a bare address means ws://
    #[arg(long, value_name = "URL", default_value = "ws://0.0.0.0:7272")]
    listen: Vec<Listen>,

    /// The inner IP that is announced, and that client ids carry
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    lan_ip: IpAddr,

    /// The inner port that is announced
    #[arg(long, value_name = "PORT", default_value_t = 2900)]
    lan_port: u16,

    /// Where the inner port is bound, if not where it is announced (containers)
    #[arg(long, value_name = "ADDR")]
    lan_listen: Option<SocketAddr>,

    /// Where registers are (repeatable); the gateway announces itself to all
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:1236")]
    register_address: Vec<String>,

    /// Seconds between pings to silent clients; 0 never pings
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    ping_interval: u64,

    /// How many pings a client may leave unanswered; 0 never gives up
    #[arg(long, value_name = "N", default_value_t = 0)]
    ping_not_response_limit: u32,

    /// What a ping says; nothing is sent if empty
    #[arg(long, value_name = "TEXT", default_value = "")]
    ping_data: String,

    /// Serve this folder to browsers instead of the built-in chat page
    #[arg(long, value_name = "DIR")]
    web_root: Option<PathBuf>,

    /// Serve no pages: every connection is a client's from the moment it is accepted
    #[arg(long, default_value_if("compat", "strict", "true"))]
    no_web: bool,

    /// How many bytes may be queued for a client before it counts as slow
    #[arg(long, value_name = "BYTES", default_value_t = 1024 * 1024)]
    #[arg(default_value_if("compat", "strict", "1024000"))]
    send_to_client_buffer_size: usize,

    /// How much of what a client sends the kernel holds until it is read; 0 leaves it to the kernel,
    /// which may go up to net.ipv4.tcp_rmem for each
    #[arg(long, value_name = "BYTES", default_value_t = 256 * 1024)]
    receive_buffer_size: u32,

    /// What becomes of a client that does not read
    #[arg(long, value_name = "POLICY", value_enum, default_value_t)]
    #[arg(default_value_if("compat", "strict", "drop"))]
    slow_client: SlowClient,

    /// How a client is given a worker
    #[arg(long, value_name = "POLICY", value_enum, default_value_t)]
    router: Router,

    /// The largest message of a client; a larger one closes it with 1009
    #[arg(long, value_name = "BYTES", default_value_t = 1024 * 1024)]
    #[arg(default_value_if("compat", "strict", "10485760"))]
    max_message_size: usize,

    /// An origin that browsers may connect from (repeatable) [default: any]
    #[arg(long, value_name = "ORIGIN")]
    allowed_origin: Vec<String>,

    /// A header of one's own in the answer to a handshake, as 'Name: value' (repeatable)
    #[arg(long, value_name = "FIELD")]
    header: Vec<Field>,

    /// A subprotocol that is spoken (repeatable); the first that a client asks for is answered
    #[arg(long, value_name = "NAME")]
    subprotocol: Vec<Subprotocol>,

    /// As what messages of PHP, and pings, go out to WebSocket clients; workers of ours say it with
    /// each message
    #[arg(long, value_name = "TYPE", value_enum, default_value_t)]
    #[arg(default_value_if("compat", "strict", "text"))]
    websocket_type: WebSocketType,

    /// How long a client may take to finish its handshake; 0 for ever
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    #[arg(default_value_if("compat", "strict", "0"))]
    handshake_timeout: u64,

    /// How long a client's events may wait for a worker before it is closed with 1013; 0 for ever
    #[arg(long, value_name = "SECONDS", default_value = "30")]
    #[arg(default_value_if("compat", "strict", None))]
    no_worker_timeout: Option<u64>,

    /// How long a worker or back end of ours may be silent, though it is asked whether it is there,
    /// before its link is given up and its events go to others
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    peer_timeout: u64,

    /// How many times an event may be delivered of which the worker process ends each time, before it is
    /// given up; 0 never gives up. At least 2: the first time others that were in progress may be the cause
    #[arg(long, value_name = "N", default_value_t = 3)]
    max_delivery_attempts: usize,

    /// What becomes of the client of an event that was given up: closed with 1011, or served on
    /// without that event
    #[arg(long, value_name = "POLICY", value_enum, default_value_t)]
    undeliverable: Undeliverable,

    /// How many bytes of events each thread lets a worker have unfinished, or holds while there is
    /// none, before it reads no more from their clients
    #[arg(long, value_name = "BYTES", default_value_t = 8 * 1024 * 1024)]
    #[arg(default_value_if("compat", "strict", "10240000"))]
    worker_window: usize,

    /// How many bytes clients may make the gateway hold: unfinished messages, queues, and events
    /// that workers are not done with; 0 for any number [default: 256 MiB for each thread]
    #[arg(long, value_name = "BYTES")]
    memory_budget: Option<usize>,

    /// How many connections may be without a finished handshake before nobody else is let in
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    max_handshakes: usize,

    /// How many connections there may be before nobody else is let in; 0 for any number
    #[arg(long, value_name = "N", default_value_t = 0)]
    max_connections: usize,

    /// How to behave where we do better than GatewayWorker and peers or clients could tell: strict
    /// is GatewayWorker's way to the letter, with other defaults of flags (--check shows them)
    #[arg(long, value_name = "WAY", value_enum, default_value_t)]
    compat: Compat,

    /// How many threads hold clients [default: one for each core]
    #[arg(long, value_name = "N")]
    threads: Option<u16>,

    /// How many connections a thread takes before the next one takes some too; then they are spread
    /// evenly over both, and so on
    #[arg(long, value_name = "N", default_value_t = 1000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    connections_per_thread: u32,

    #[command(flatten)]
    #[serde(flatten)]
    tls: PublicFiles,

    #[command(flatten)]
    #[serde(flatten)]
    inner_tls: InnerFiles,

    /// Which peers are let in without TLS, where there is --inner-tls-cert: PHP peers speak none
    /// [default: refuse]
    #[arg(long, value_name = "WHICH", value_enum)]
    inner_tls_plain: Option<Plain>,

    #[command(flatten)]
    #[serde(flatten)]
    common: Common,
}

impl AsRef<Common> for Args {
    fn as_ref(&self) -> &Common {
        &self.common
    }
}

/// What a gateway runs on. Every value has been checked.
#[derive(Debug)]
pub struct Config {
    pub(crate) doors: Vec<Door>,
    /// The inner address that is announced.
    pub(crate) lan_address: SocketAddr,
    /// Where the inner port is bound.
    pub(crate) lan_listen: SocketAddr,
    pub(crate) registers: Vec<String>,
    pub(crate) secret: Secret,
    pub(crate) threads: u16,
    pub(crate) connections_per_thread: usize,
    pub(crate) settings: Settings,
}

/// The most threads: a connection id must tell its shard and still leave room for connections.
const MAX_THREADS: u16 = 256;

/// How many bytes clients may make each thread hold, unless it is said.
const SHARE: usize = 256 * 1024 * 1024;

/// How many of the largest messages a thread must be able to hold, so that a few of them do not
/// count as too much: three eighths of its share are for those that have not come whole, and a
/// buffer may be twice as large as what is in it.
const MESSAGES: usize = 8;

/// What a frame needs besides the message: its header, and the session.
const FRAME_OVERHEAD: usize = 1024 * 1024;

impl TryFrom<Args> for Config {
    type Error = anyhow::Error;

    fn try_from(args: Args) -> anyhow::Result<Self> {
        let lan_address = SocketAddr::new(args.lan_ip, args.lan_port);
        let lan_listen = args.lan_listen.unwrap_or(lan_address);
        ensure!(
            !args.lan_ip.is_unspecified(),
            "--lan-ip: {} is no address to be reached at",
            args.lan_ip
        );
        args.common.check_secret(&[lan_address, lan_listen])?;
        let largest = MAX_FRAME - FRAME_OVERHEAD;
        ensure!(
            (1..=largest).contains(&args.max_message_size),
            "--max-message-size: {} is not between 1 and {largest}",
            args.max_message_size
        );
        for (flag, value) in [
            ("--send-to-client-buffer-size", args.send_to_client_buffer_size),
            ("--worker-window", args.worker_window),
            ("--max-handshakes", args.max_handshakes),
        ] {
            ensure!(value != 0, "{flag}: 0 would let nothing through");
        }
        for register in &args.register_address {
            let port = register.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
            ensure!(port.is_some(), "--register-address: {register:?} is not HOST:PORT");
        }
        ensure!(
            args.max_delivery_attempts != 1,
            "--max-delivery-attempts: 1 would give up events that only were in progress; 0 or at least 2"
        );
        let cores = thread::available_parallelism().map_or(1, |cores| cores.get() as u16);
        let threads = args.threads.unwrap_or(cores.min(MAX_THREADS));
        ensure!(
            (1..=MAX_THREADS).contains(&threads),
            "--threads: {threads} is not between 1 and {MAX_THREADS}"
        );
        let memory = match args.memory_budget {
            Some(0) => None,
            Some(budget) => Some(budget / usize::from(threads)),
            None => Some(SHARE),
        };
        let least = args.max_message_size.saturating_mul(MESSAGES);
        ensure!(
            memory.is_none_or(|share| least <= share),
            "--memory-budget: less than {MESSAGES} times --max-message-size ({least} bytes) for \
             each of {threads} threads"
        );
        let site = match (args.no_web, &args.web_root) {
            (true, None) => None,
            (true, Some(_)) if args.compat == Compat::Strict => {
                anyhow::bail!("--web-root: with --compat strict there are no pages")
            }
            (true, Some(_)) => anyhow::bail!("--web-root and --no-web exclude each other"),
            (false, None) => Some(Site::built_in()),
            (false, Some(root)) => {
                let site = Site::read(root);
                Some(site.with_context(|| format!("--web-root: cannot read {}", root.display()))?)
            }
        };
        let doors: Vec<_> = args.listen.iter().map(Listen::door).collect();
        let tls = args.tls.read()?;
        let asks_for_tls = args.listen.iter().zip(&doors).find(|(_, door)| door.tls);
        match (&tls, asks_for_tls) {
            (None, Some((listen, _))) => {
                anyhow::bail!("--listen: {listen} needs --tls-cert and --tls-key")
            }
            (Some(_), None) => anyhow::bail!("--tls-cert: no --listen is wss://"),
            (Some(_), Some(_)) | (None, None) => {}
        }
        let heartbeat = (args.ping_interval != 0).then_some(Heartbeat {
            interval: args.ping_interval,
            limit: args.ping_not_response_limit,
            data: args.ping_data,
        });
        let terms = Terms {
            origins: args.allowed_origin,
            headers: args.header,
            subprotocols: args.subprotocol,
        };
        let seconds = |seconds: u64| (seconds != 0).then(|| Duration::from_secs(seconds));
        Ok(Self {
            doors,
            lan_address,
            lan_listen,
            registers: args.register_address,
            secret: args.common.secret_key,
            threads,
            connections_per_thread: args.connections_per_thread as usize,
            settings: Settings {
                max_message_size: args.max_message_size,
                send_buffer: args.send_to_client_buffer_size,
                receive_buffer: (args.receive_buffer_size != 0).then_some(args.receive_buffer_size),
                slow_client: args.slow_client,
                router: args.router,
                terms,
                websocket_type: args.websocket_type,
                heartbeat,
                handshake_timeout: seconds(args.handshake_timeout),
                no_worker: match args.no_worker_timeout {
                    Some(timeout) => NoWorker::Wait(seconds(timeout)),
                    None => NoWorker::Destroy,
                },
                peer_timeout: Duration::from_secs(args.peer_timeout),
                max_delivery_attempts: (args.max_delivery_attempts != 0)
                    .then_some(args.max_delivery_attempts),
                undeliverable: args.undeliverable,
                worker_window: args.worker_window,
                memory,
                max_requests: args.max_handshakes,
                max_connections: (args.max_connections != 0).then_some(args.max_connections),
                site: site.map(Arc::new),
                gate: args.inner_tls.gate(args.inner_tls_plain)?,
                tls,
                ways: args.compat.into(),
            },
        })
    }
}

impl Config {
    /// What SIGHUP has read again.
    pub fn reread(&self) -> impl Iterator<Item = Arc<dyn Reread>> {
        let Settings { gate, tls, .. } = &self.settings;
        gate.inner().map(Inner::files).into_iter().chain(tls.as_ref().map(Public::files))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::framing::Framing;

    fn config(flags: &[&str]) -> Result<Config, String> {
        let flags = ["gateway"].iter().chain(flags).copied();
        let loaded = service::settings::load_from::<Args>(flags, |_| None);
        let args = loaded.map_err(|refused| refused.to_string())?.args;
        Config::try_from(args).map_err(|error| error.to_string())
    }

    #[test]
    fn an_event_is_not_given_up_at_the_first_end_that_it_was_there_for() {
        let error = config(&["--max-delivery-attempts=1"]).unwrap_err();
        assert!(error.contains("--max-delivery-attempts"), "{error}");
        let attempts = |flag: &str| config(&[flag]).unwrap().settings.max_delivery_attempts;
        assert_eq!(attempts("--max-delivery-attempts=0"), None);
        assert_eq!(attempts("--max-delivery-attempts=2"), Some(2));
    }

    #[test]
    fn what_cannot_work_is_refused_by_the_name_of_its_flag() {
        for (flags, name) in [
            (["--listen=ws://nowhere"], "--listen"),
            (["--listen=http://127.0.0.1:1"], "--listen"),
            (["--lan-ip=0.0.0.0"], "--lan-ip"),
            (["--lan-ip=10.0.0.1"], "--secret-key"),
            (["--register-address=nowhere"], "--register-address"),
            (["--max-message-size=0"], "--max-message-size"),
            (["--max-message-size=99999999"], "--max-message-size"),
            (["--threads=0"], "--threads"),
            (["--threads=9999"], "--threads"),
            (["--connections-per-thread=0"], "--connections-per-thread"),
            (["--worker-window=0"], "--worker-window"),
            (["--memory-budget=1000000"], "--memory-budget"),
            (["--max-handshakes=0"], "--max-handshakes"),
            (["--web-root=/does/not/exist"], "--web-root"),
            (["--router=fastest"], "--router"),
            (["--header=no value"], "--header"),
            (["--header=X: a\r\nY: b"], "--header"),
            (["--header=Upgrade: h2c"], "--header"),
            (["--subprotocol=a,b"], "--subprotocol"),
            (["--websocket-type=blob"], "--websocket-type"),
            (["--compat=php"], "--compat"),
            (["--peer-timeout=0"], "--peer-timeout"),
        ] {
            let error = config(&flags).unwrap_err();
            assert!(error.contains(name), "{flags:?}: {error}");
        }
    }

    #[test]
    fn strict_has_the_defaults_of_the_reference_and_each_can_be_changed() {
        let strict = config(&["--compat=strict"]).unwrap().settings;
        assert!(strict.site.is_none());
        assert_eq!(strict.slow_client, SlowClient::Drop);
        assert_eq!(strict.handshake_timeout, None);
        assert_eq!(strict.no_worker, NoWorker::Destroy);
        assert_eq!(strict.max_message_size, 10 * 1024 * 1024);
        assert_eq!((strict.send_buffer, strict.worker_window), (1_024_000, 10_240_000));
        assert_eq!(strict.websocket_type, WebSocketType::Text);
        assert_ne!(strict.ways, Compat::Better.into());

        let flags = ["--slow-client=disconnect", "--no-worker-timeout=5", "--websocket-type=auto"];
        let changed = config(&[&["--compat=strict"], &flags[..]].concat()).unwrap().settings;
        assert_eq!(changed.slow_client, SlowClient::Disconnect);
        assert_eq!(changed.no_worker, NoWorker::Wait(Some(Duration::from_secs(5))));
        assert_eq!(changed.websocket_type, WebSocketType::Auto);
        let better = config(&[]).unwrap().settings;
        assert_eq!(better.no_worker, NoWorker::Wait(Some(Duration::from_secs(30))));
        assert_eq!(better.handshake_timeout, Some(Duration::from_secs(10)));

        let error = config(&["--compat=strict", "--web-root=/"]).unwrap_err();
        assert!(error.contains("--web-root") && error.contains("strict"), "{error}");
    }

    #[test]
    fn zero_means_off_only_until_here() {
        let config = config(&["--ping-interval=0", "--no-worker-timeout=0", "--no-web"]).unwrap();
        assert_eq!(config.settings.heartbeat, None);
        assert_eq!(config.settings.no_worker, NoWorker::Wait(None));
        assert!(config.settings.site.is_none());
    }

    #[test]
    fn a_bare_address_is_a_websocket_port() {
        let flags =
            ["--listen=127.0.0.1:1", "--listen=ws://127.0.0.1:2", "--listen=text://[::1]:3"];
        let doors = config(&flags).unwrap().doors;
        let doors: Vec<_> = doors.iter().map(|door| (door.addr.port(), door.framing)).collect();
        let expected = [(1, Framing::WebSocket), (2, Framing::WebSocket), (3, Framing::Text)];
        assert_eq!(doors, expected);
    }
}
