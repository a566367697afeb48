//! Validated settings of the gateway.

mod args;
mod checks;
mod jwt;
mod limit_args;
mod page_gateway;

use std::{net::SocketAddr, sync::Arc, thread, time::Duration};

use anyhow::ensure;
use framing::websocket::HandshakePolicy;
use protocol::{Secret, UidLimit, codec::native::MAX_FRAME};
use runtime::tls::{MutualTls, Reload, ServerTls};
use service::settings::{Compat, Derived, Warning};

use crate::{
    heartbeat::{Heartbeat, Liveness, Ping, WebSocketPing},
    http::Pages,
    proxies::Proxies,
    settings::{Compression, CompressionPolicy, KeepAlive, Listener, NoWorker, Settings},
    tokens::Tokens,
};

use checks::Addresses;

pub use args::Args;

/// Settings of a gateway. Every value is validated.
#[derive(Debug)]
pub struct Config {
    pub(crate) listeners: Vec<Listener>,
    /// The announced inner address.
    pub(crate) lan_address: SocketAddr,
    /// The address that the inner port is bound to.
    pub(crate) lan_listen: SocketAddr,
    pub(crate) registers: Vec<String>,
    pub(crate) secret: Secret,
    pub(crate) threads: u16,
    pub(crate) connections_per_thread: usize,
    pub(crate) settings: Settings,
    derived: Vec<Derived>,
    warnings: Vec<Warning>,
}

/// Maximum number of threads. A connection id encodes the shard and needs bits for the connection.
const MAX_THREADS: u16 = 256;

/// Default memory budget of a thread, in bytes.
const SHARE: usize = 256 * 1024 * 1024;

/// How many messages of the maximum size a thread's memory budget must cover, so that a few of them
/// do not exceed it: three eighths of the budget are for incomplete messages, and a buffer may be
/// twice as large as its content.
const MESSAGES: usize = 8;

/// Defaults of `--compression-min-size` and `--compression-level`: a shorter message hardly shrinks,
/// and higher levels cost more for hardly less. In a fan-out to 1,000, this level costs as much as 1.
const COMPRESSION_MIN_SIZE: usize = 256;
const COMPRESSION_LEVEL: u8 = 3;

/// How many times as long a message for one client must be to be compressed as one for several: its
/// cost is not shared.
const SINGLE_FACTOR: usize = 4;

/// Space in a frame besides the message, in bytes: its header and the session.
const FRAME_OVERHEAD: usize = 1024 * 1024;

/// The largest `--max-message-size`.
const MAX_MESSAGE: u64 = (MAX_FRAME - FRAME_OVERHEAD) as u64;

impl TryFrom<Args> for Config {
    type Error = anyhow::Error;

    fn try_from(args: Args) -> anyhow::Result<Self> {
        checks::check(&args)?;
        let is_strict = args.compat == Compat::Strict;
        let addresses = Addresses::resolve(&args)?;
        ensure!(
            args.unauthenticated_message_size <= args.max_message_size,
            "--unauthenticated-message-size: exceeds --max-message-size"
        );
        let is_path = args.health_path.starts_with('/')
            && args.health_path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'?');
        ensure!(
            args.health_path.is_empty() || is_path,
            "--health-path: {:?} is not a valid request path",
            args.health_path
        );
        ensure!(
            args.health_path.is_empty() || !is_strict,
            "--health-path: not available with --compat strict, where every connection is a client"
        );
        ensure!(
            args.max_delivery_attempts != 1,
            "--max-delivery-attempts: must be 0 or at least 2: with 1, events that were merely in \
             progress would be discarded"
        );
        let cores = thread::available_parallelism().map_or(1, |cores| cores.get() as u16);
        let threads = args.threads.unwrap_or(cores.min(MAX_THREADS));
        let memory = match args.memory_budget {
            Some(0) => None,
            Some(budget) => Some(budget / usize::from(threads)),
            None => Some(SHARE),
        };
        let least = args.max_message_size.saturating_mul(MESSAGES);
        ensure!(
            memory.is_none_or(|share| least <= share),
            "--memory-budget: must be at least {MESSAGES} times --max-message-size ({least} bytes) \
             for each of {threads} threads"
        );
        let limits = args.limits.limits(args.max_message_size)?;
        let mut derived = checks::derived(&args, &addresses, threads, memory);
        derived.extend(args.limits.derived(&limits));
        let warnings = checks::warnings(&args, &addresses);
        let Addresses { listeners, lan_address, lan_listen } = addresses;
        ensure!(
            args.web_failover.is_empty() || (!args.no_web && args.web_root.is_none()),
            "--web-failover: has no effect without the built-in page"
        );
        let pages = match (args.no_web, &args.web_root) {
            (true, None) => None,
            (true, Some(_)) if is_strict => {
                anyhow::bail!("--web-root: not available with --compat strict")
            }
            (true, Some(_)) => anyhow::bail!("--web-root and --no-web are mutually exclusive"),
            (false, None) => Some(Pages::built_in(&args.web_failover)),
            (false, Some(root)) => Some(Pages::read(root)?),
        };
        let tls = args.tls.read()?;
        let tls_listener = args.listen.iter().zip(&listeners).find(|(_, listener)| listener.tls);
        match (&tls, tls_listener) {
            (None, Some((listen, _))) => {
                anyhow::bail!("--listen: {listen} needs --tls-cert and --tls-key")
            }
            (Some(_), None) => anyhow::bail!("--tls-cert: no --listen is wss://"),
            (Some(_), Some(_)) | (None, None) => {}
        }
        let heartbeat = (args.ping_interval != 0).then_some(Heartbeat {
            interval: args.ping_interval,
            limit: args.ping_not_response_limit,
            ping: match args.ping_data {
                data if !data.is_empty() => Ping::Data(data),
                _ if is_strict => Ping::None,
                _ => Ping::Frame,
            },
            liveness: if is_strict { Liveness::Messages } else { Liveness::Any },
        });
        let proxies = Proxies {
            trusted: args.trusted_proxy,
            header: args.proxy_header.unwrap_or_default().into(),
            protocol: args.proxy_protocol,
        };
        let tokens = args.jwt.read(args.handshake_auth, &args.allowed_origin)?;
        let handshake_policy = HandshakePolicy {
            origins: args.allowed_origin,
            headers: args.header,
            subprotocols: args.subprotocol,
            deflate: args.compression != Compression::Off,
            like_workerman: is_strict,
        };
        let min_size = args.compression_min_size.unwrap_or(COMPRESSION_MIN_SIZE);
        let policy = |single_from| CompressionPolicy {
            level: args.compression_level.unwrap_or(COMPRESSION_LEVEL),
            fan_out_from: min_size,
            single_from,
        };
        let compression = match args.compression {
            Compression::Off => None,
            Compression::FanOut => Some(policy(None)),
            Compression::All => Some(policy(Some(min_size.saturating_mul(SINGLE_FACTOR)))),
        };
        let seconds = |seconds: u64| (seconds != 0).then(|| Duration::from_secs(seconds));
        Ok(Self {
            listeners,
            lan_address,
            lan_listen,
            registers: args.register_address.iter().map(ToString::to_string).collect(),
            secret: args.common.secret_key,
            threads,
            connections_per_thread: args.connections_per_thread as usize,
            settings: Settings {
                max_message_size: args.max_message_size,
                send_buffer: args.send_to_client_buffer_size,
                receive_buffer: (args.receive_buffer_size != 0).then_some(args.receive_buffer_size),
                limits,
                close_timeout: args.limits.close_timeout(),
                slow_client: args.slow_client,
                router: args.router,
                proxies,
                handshake_policy,
                compression,
                websocket_type: args.websocket_type,
                heartbeat,
                websocket_ping: seconds(args.websocket_ping).map(|interval| {
                    let deadline = args.websocket_pong_timeout.map(Duration::from_secs);
                    WebSocketPing::new(interval, deadline.unwrap_or(interval))
                }),
                keepalive: KeepAlive {
                    interval: seconds(args.tcp_keepalive),
                    probes: if is_strict { 1 } else { 3 },
                    timeout: seconds(args.tcp_user_timeout),
                },
                handshake_timeout: seconds(args.handshake_timeout),
                handshake_auth: args.handshake_auth,
                tokens,
                max_undecided: (args.max_handshakes - args.max_handshakes / 4).max(1),
                expiry_notice: Some(args.expiry_notice).filter(|lead| *lead != 0 && !is_strict),
                auth_timeout: seconds(args.auth_timeout),
                unauthenticated_message_size: (args.unauthenticated_message_size != 0)
                    .then_some(args.unauthenticated_message_size),
                handshake_auth_timeout: Duration::from_secs(args.handshake_auth_timeout),
                no_worker: match args.no_worker_timeout {
                    Some(timeout) => NoWorker::Wait(seconds(timeout)),
                    None => NoWorker::Destroy,
                },
                peer_timeout: Duration::from_secs(args.peer_timeout),
                max_delivery_attempts: (args.max_delivery_attempts != 0)
                    .then_some(args.max_delivery_attempts),
                undeliverable: args.undeliverable,
                worker_window: args.worker_window,
                standbys: usize::from(args.standbys),
                memory,
                retained_bytes: args.retained_message_budget,
                event_ring: args.event_ring,
                max_requests: args.max_handshakes,
                max_groups: (args.max_groups_per_client != 0).then_some(args.max_groups_per_client),
                uid_limit: (args.max_connections_per_uid != 0).then_some(UidLimit {
                    connections: args.max_connections_per_uid,
                    keep: args.uid_limit_policy.into(),
                }),
                max_connections: (args.max_connections != 0).then_some(args.max_connections),
                pages: pages.map(Arc::new),
                health_path: Some(args.health_path).filter(|path| !path.is_empty()),
                gate: args.inner_tls.gate(args.inner_tls_plain)?,
                tls,
                compat_behavior: args.compat.into(),
            },
            derived,
            warnings,
        })
    }
}

impl Config {
    /// The files that SIGHUP reloads.
    pub fn reread(&self) -> impl Iterator<Item = Arc<dyn Reload>> {
        let Settings { gate, tls, pages, tokens, .. } = &self.settings;
        let pages = pages.clone().filter(|pages| pages.is_folder());
        let files = gate
            .inner()
            .map(MutualTls::files)
            .into_iter()
            .chain(tls.as_ref().map(ServerTls::files));
        let tokens = tokens.iter().flat_map(Tokens::files);
        files.chain(pages.map(|pages| pages as Arc<dyn Reload>)).chain(tokens)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{SlowClient, WebSocketType};
    use framing::Framing;

    /// The configuration from these flags, or the error that a user sees.
    pub(in crate::config) fn config(flags: &[&str]) -> Result<Config, String> {
        let flags = ["gateway"].iter().chain(flags).copied();
        let loaded = service::settings::load_from::<Args>(flags, |_| None);
        let args = loaded.map_err(|refused| refused.to_string())?.args;
        Config::try_from(args).map_err(|error| error.to_string())
    }

    #[test]
    fn max_delivery_attempts_of_one_is_refused() {
        let error = config(&["--max-delivery-attempts=1"]).unwrap_err();
        assert!(error.contains("--max-delivery-attempts"), "{error}");
        let attempts = |flag: &str| config(&[flag]).unwrap().settings.max_delivery_attempts;
        assert_eq!(attempts("--max-delivery-attempts=0"), None);
        assert_eq!(attempts("--max-delivery-attempts=2"), Some(2));
    }

    #[test]
    fn invalid_value_is_refused_with_the_name_of_its_flag() {
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
            (["--standbys=4"], "--standbys"),
            (["--memory-budget=1000000"], "--memory-budget"),
            (["--max-handshakes=0"], "--max-handshakes"),
            (["--max-connections-per-uid=100001"], "--max-connections-per-uid"),
            (["--uid-limit-policy=close"], "--uid-limit-policy"),
            (["--web-root=/does/not/exist"], "--web-root"),
            (["--router=fastest"], "--router"),
            (["--header=no value"], "--header"),
            (["--health-path=healthz"], "--health-path"),
            (["--health-path=/a b"], "--health-path"),
            (["--header=X: a\r\nY: b"], "--header"),
            (["--header=Upgrade: h2c"], "--header"),
            (["--subprotocol=a,b"], "--subprotocol"),
            (["--websocket-type=blob"], "--websocket-type"),
            (["--compression=on"], "--compression"),
            (["--compression-level=0"], "--compression-level"),
            (["--compression-level=10"], "--compression-level"),
            (["--compat=php"], "--compat"),
            (["--ping-not-response-limit=30001"], "--ping-not-response-limit"),
            (["--websocket-ping=-1"], "--websocket-ping"),
            (["--tcp-keepalive=32768"], "--tcp-keepalive"),
            (["--tcp-user-timeout=999999"], "--tcp-user-timeout"),
            (["--peer-timeout=0"], "--peer-timeout"),
            (["--trusted-proxy=10.0.0.1/8"], "--trusted-proxy"),
            (["--trusted-proxy=10.0.0.0/33"], "--trusted-proxy"),
            (["--trusted-proxy=proxy.example.com"], "--trusted-proxy"),
            (["--proxy-header=x-client-ip"], "--proxy-header"),
            (["--proxy-protocol=v2"], "--proxy-protocol"),
            (["--handshake-auth=jwks"], "--handshake-auth"),
            (["--handshake-auth-timeout=0"], "--handshake-auth-timeout"),
            (["--auth-timeout=-1"], "--auth-timeout"),
            (["--unauthenticated-message-size=9999999"], "--unauthenticated-message-size"),
        ] {
            let error = config(&flags).unwrap_err();
            assert!(error.contains(name), "{flags:?}: {error}");
        }
    }

    #[test]
    fn strict_mode_has_gatewayworker_defaults_that_flags_override() {
        let strict = config(&["--compat=strict"]).unwrap().settings;
        assert!(strict.pages.is_none());
        assert_eq!(strict.slow_client, SlowClient::Drop);
        assert_eq!(strict.handshake_timeout, None);
        assert_eq!(strict.no_worker, NoWorker::Destroy);
        assert_eq!(strict.max_message_size, 10 * 1024 * 1024);
        assert_eq!((strict.send_buffer, strict.worker_window), (1_024_000, 10_240_000));
        assert_eq!(strict.websocket_type, WebSocketType::Text);
        assert_ne!(strict.compat_behavior, Compat::Default.into());

        let flags = ["--slow-client=disconnect", "--no-worker-timeout=5", "--websocket-type=auto"];
        let changed = config(&[&["--compat=strict"], &flags[..]].concat()).unwrap().settings;
        assert_eq!(changed.slow_client, SlowClient::Disconnect);
        assert_eq!(changed.no_worker, NoWorker::Wait(Some(Duration::from_secs(5))));
        assert_eq!(changed.websocket_type, WebSocketType::Auto);
        let default = config(&[]).unwrap().settings;
        assert_eq!(default.no_worker, NoWorker::Wait(Some(Duration::from_secs(30))));
        assert_eq!(default.handshake_timeout, Some(Duration::from_secs(10)));

        assert_eq!((strict.health_path, default.health_path.as_deref()), (None, Some("/healthz")));
        assert_eq!(strict.websocket_ping, None);
        assert_eq!((strict.compression, default.compression), (None, None));
        assert!(!strict.handshake_policy.deflate && !default.handshake_policy.deflate);
        let workerman =
            KeepAlive { interval: Some(Duration::from_secs(55)), probes: 1, timeout: None };
        assert_eq!(strict.keepalive, workerman);
        let ping = WebSocketPing::new(Duration::from_secs(25), Duration::from_secs(25));
        assert_eq!(default.websocket_ping, Some(ping));
        let minute = Duration::from_secs(60);
        let expected = KeepAlive { interval: Some(minute / 2), probes: 3, timeout: Some(minute) };
        assert_eq!(default.keepalive, expected);
        let error = config(&["--compat=strict", "--health-path=/x"]).unwrap_err();
        assert!(error.contains("--health-path") && error.contains("strict"), "{error}");
        let error = config(&["--compat=strict", "--web-root=/"]).unwrap_err();
        assert!(error.contains("--web-root") && error.contains("strict"), "{error}");
    }

    #[test]
    fn compression_has_a_lower_limit_for_fan_outs() {
        let threshold = |flags: &[&str], clients| {
            let settings = config(flags).unwrap().settings;
            assert!(settings.handshake_policy.deflate);
            settings.compression.unwrap().threshold(clients)
        };
        let thresholds = |flags: &[&str]| [1, 2, 1000].map(|clients| threshold(flags, clients));
        assert_eq!(thresholds(&["--compression=all"]), [1024, 256, 256]);
        assert_eq!(thresholds(&["--compression=fan-out"]), [usize::MAX, 256, 256]);
        let flags = ["--compression=all", "--compression-min-size=0", "--compression-level=9"];
        assert_eq!(thresholds(&flags), [0, 0, 0]);
        assert_eq!(config(&flags).unwrap().settings.compression.unwrap().level, 9);
    }

    #[test]
    fn handshakes_of_strict_mode_or_without_websockets_are_not_decided_by_workers() {
        for more in [&["--compat=strict"][..], &["--listen=tcp://127.0.0.1:1"]] {
            let error = config(&[&["--handshake-auth=worker"], more].concat()).unwrap_err();
            assert!(error.contains("--handshake-auth"), "{more:?}: {error}");
        }
        let settings = config(&["--handshake-auth=worker"]).unwrap().settings;
        assert_eq!(settings.handshake_auth, crate::settings::HandshakeAuth::Worker);
        assert_eq!((settings.auth_timeout, settings.unauthenticated_message_size), (None, None));
        let least = config(&["--max-handshakes=1"]).unwrap().settings;
        assert_eq!((settings.max_undecided, least.max_undecided), (15_000, 1));
    }

    #[test]
    fn zero_is_parsed_as_disabled() {
        let config = config(&["--ping-interval=0", "--no-worker-timeout=0", "--no-web"]).unwrap();
        assert_eq!(config.settings.heartbeat, None);
        assert_eq!(config.settings.no_worker, NoWorker::Wait(None));
        assert!(config.settings.pages.is_none());
    }

    #[test]
    fn listen_address_without_scheme_means_websocket() {
        let flags =
            ["--listen=127.0.0.1:1", "--listen=ws://127.0.0.1:2", "--listen=text://[::1]:3"];
        let listeners = config(&flags).unwrap().listeners;
        let listeners: Vec<_> =
            listeners.iter().map(|listener| (listener.addr.port(), listener.framing)).collect();
        let expected = [(1, Framing::WebSocket), (2, Framing::WebSocket), (3, Framing::Text)];
        assert_eq!(listeners, expected);
    }
}
