//! Checks across settings, and the effective values of settings that were not given.

use std::net::{IpAddr, SocketAddr};

use anyhow::ensure;
use framing::Framing;
use runtime::tls::Plain;
use service::settings::{
    Bound, Compat, Derived, Effective, Host, Warning, check_bound, check_registers,
};

use super::{Args, COMPRESSION_LEVEL, COMPRESSION_MIN_SIZE, Config, SHARE};
use crate::{
    proxies::ProxyHeader,
    settings::{Compression, HandshakeAuth, Listener, UidLimitPolicy},
};

/// The addresses of a gateway, with host names resolved.
#[derive(Debug)]
pub(super) struct Addresses {
    pub(super) listeners: Vec<Listener>,
    pub(super) lan_address: SocketAddr,
    pub(super) lan_listen: SocketAddr,
}

impl Addresses {
    /// Resolves a gateway's addresses, and checks that they do not conflict.
    pub(super) fn resolve(args: &Args) -> anyhow::Result<Self> {
        let listeners =
            args.listen.iter().map(|listen| listen.listener()).collect::<Result<Vec<_>, _>>()?;
        let lan_ip = args.lan_ip.resolve("--lan-ip")?;
        let is_broadcast = matches!(lan_ip, IpAddr::V4(ip) if ip.is_broadcast());
        ensure!(
            !lan_ip.is_unspecified() && !lan_ip.is_multicast() && !is_broadcast,
            "--lan-ip: {lan_ip} is not a unicast address"
        );
        let lan_address = SocketAddr::new(lan_ip, args.lan_port);
        let (flag, lan_listen) = match &args.lan_listen {
            None => ("--lan-port", lan_address),
            Some(listen) => ("--lan-listen", listen.resolve("--lan-listen")?),
        };
        args.common.check_secret(&[lan_address, lan_listen])?;
        ensure!(
            lan_listen.port() != 0 || lan_address.port() == 0,
            "--lan-listen: port 0 binds an arbitrary port, but --lan-port announces {}",
            args.lan_port
        );
        let client_bounds = listeners.iter().map(|listener| ("--listen", listener.addr));
        let admin = args.common.admin()?.map(|addr| ("--admin-listen", addr));
        let bound: Vec<Bound> = client_bounds.chain([(flag, lan_listen)]).chain(admin).collect();
        check_bound(&bound)?;
        let announced = ("--lan-ip and --lan-port", lan_address);
        check_registers(&args.register_address, &[&bound[..], &[announced]].concat())?;
        Ok(Self { listeners, lan_address, lan_listen })
    }
}

/// Checks `args` as far as this needs no I/O.
pub(super) fn check(args: &Args) -> anyhow::Result<()> {
    if args.ping_interval == 0 {
        ensure!(args.ping_data.is_empty(), "--ping-data: requires --ping-interval");
        let limit = args.ping_not_response_limit;
        ensure!(limit == 0, "--ping-not-response-limit: requires --ping-interval");
    }
    for listen in &args.listen {
        let Framing::Frame(layout) = listen.framing() else { continue };
        ensure!(
            args.ping_data.is_empty() || layout.can_frame(args.ping_data.len()),
            "--ping-data: is no message that {listen} can frame"
        );
        ensure!(
            layout.smallest_message() <= args.max_message_size,
            "--max-message-size: is less than the header of {listen}"
        );
    }
    ensure!(
        args.websocket_pong_timeout.is_none() || args.websocket_ping != 0,
        "--websocket-pong-timeout: requires --websocket-ping"
    );
    ensure!(
        args.max_connections_per_uid != 0 || args.uid_limit_policy == UidLimitPolicy::default(),
        "--uid-limit-policy: requires --max-connections-per-uid"
    );
    for origin in &args.allowed_origin {
        check_origin(origin)?;
    }
    for (index, subprotocol) in args.subprotocol.iter().enumerate() {
        let before = &args.subprotocol[..index];
        ensure!(!before.contains(subprotocol), "--subprotocol: a name is given twice");
    }
    for (index, range) in args.trusted_proxy.iter().enumerate() {
        let before = &args.trusted_proxy[..index];
        ensure!(!before.contains(range), "--trusted-proxy: {range} is given twice");
    }
    ensure!(
        args.proxy_header.is_none() || !args.trusted_proxy.is_empty(),
        "--proxy-header: requires --trusted-proxy, since no other peer's header counts"
    );
    ensure!(
        args.handshake_auth == HandshakeAuth::None || args.compat != Compat::Strict,
        "--handshake-auth: not available with --compat strict, where handshakes are always accepted"
    );
    let compresses = args.compression != Compression::Off;
    for (flag, is_given) in [
        ("--compression-min-size", args.compression_min_size.is_some()),
        ("--compression-level", args.compression_level.is_some()),
    ] {
        ensure!(compresses || !is_given, "{flag}: requires --compression fan-out or all");
    }
    if !has_websockets(args) {
        let has_effect = args.trusted_proxy.is_empty() || args.proxy_protocol;
        ensure!(
            has_effect,
            "--trusted-proxy: requires --proxy-protocol or a --listen with ws:// or wss://"
        );
        for (flag, is_given) in [
            ("--allowed-origin", !args.allowed_origin.is_empty()),
            ("--header", !args.header.is_empty()),
            ("--subprotocol", !args.subprotocol.is_empty()),
            ("--compression", compresses),
            ("--web-root", args.web_root.is_some()),
            ("--web-failover", !args.web_failover.is_empty()),
            ("--proxy-header", args.proxy_header.is_some()),
            ("--handshake-auth", args.handshake_auth != HandshakeAuth::None),
        ] {
            ensure!(!is_given, "{flag}: requires a --listen with ws:// or wss://");
        }
    }
    Ok(())
}

/// Checks an origin as browsers send it: scheme and host, and the port if it is not the scheme's
/// default.
fn check_origin(origin: &str) -> anyhow::Result<()> {
    const FLAG: &str = "--allowed-origin";
    if origin == "null" {
        return Ok(());
    }
    let Some((scheme, host)) = origin.split_once("://") else {
        anyhow::bail!("{FLAG}: {origin:?} is not an origin such as https://chat.example.com");
    };
    let visible = host.bytes().all(|byte| byte.is_ascii_graphic() && !b"/?#@".contains(&byte));
    ensure!(
        !scheme.is_empty() && !host.is_empty() && visible,
        "{FLAG}: {origin:?} never matches: an origin is a scheme, a host and an optional port"
    );
    for (known, port) in [("https", ":443"), ("http", ":80")] {
        ensure!(
            !(scheme.eq_ignore_ascii_case(known) && host.ends_with(port)),
            "{FLAG}: {origin:?} never matches: browsers omit {port}"
        );
    }
    Ok(())
}

fn has_websockets(args: &Args) -> bool {
    args.listen.iter().any(|listen| listen.framing() == Framing::WebSocket)
}

/// Effective values of settings that were not given.
pub(super) fn derived(
    args: &Args,
    addresses: &Addresses,
    threads: u16,
    share: Option<usize>,
) -> Vec<Derived> {
    let lan_listen = addresses.lan_listen.to_string();
    let mut derived = vec![
        Derived::value("lan_listen", lan_listen, "--lan-ip and --lan-port"),
        Derived::value("threads", threads, "one per core"),
    ];
    if let Host::Name(name) = &args.lan_ip {
        derived.push(Derived::note("lan_ip", format!("{name} is {}", addresses.lan_address.ip())));
    }
    if let Some(share) = share {
        let note = format!("{} MiB per thread", SHARE >> 20);
        derived.push(Derived::value("memory_budget", share * usize::from(threads), note));
        let part = share / 2;
        for (key, value) in [
            ("worker_window", args.worker_window),
            ("send_to_client_buffer_size", args.send_to_client_buffer_size),
        ] {
            if part < value {
                let note = format!("limited to {part}, half of a thread's memory_budget");
                derived.push(Derived::note(key, note));
            }
        }
    }
    for (key, applies, note) in [
        ("no_worker_timeout", args.no_worker_timeout.is_none(), "client closed at once"),
        ("web_root", args.web_root.is_none() && !args.no_web, "the built-in chat page"),
        ("allowed_origin", args.allowed_origin.is_empty(), "any"),
        ("trusted_proxy", args.trusted_proxy.is_empty(), "none"),
    ] {
        if applies {
            derived.push(Derived::note(key, note));
        }
    }
    if !args.trusted_proxy.is_empty() && has_websockets(args) {
        let header = ProxyHeader::default();
        derived.push(Derived::value("proxy_header", header, "the one that most proxies send"));
    }
    if args.compression != Compression::Off {
        let (size, level) = (COMPRESSION_MIN_SIZE, COMPRESSION_LEVEL);
        derived.push(Derived::value("compression_min_size", size, "shorter ones hardly shrink"));
        derived.push(Derived::value("compression_level", level, "higher ones save little more"));
    }
    if args.websocket_pong_timeout.is_none() && args.websocket_ping != 0 {
        let note = "as websocket_ping";
        derived.push(Derived::value("websocket_pong_timeout", args.websocket_ping, note));
    }
    if args.inner_tls.inner_tls_cert.is_some() {
        derived.push(Derived::value("inner_tls_plain", Plain::default(), "TLS is required"));
    }
    derived
}

/// Warnings about settings that are valid but probably not intended.
pub(super) fn warnings(args: &Args, addresses: &Addresses) -> Vec<Warning> {
    let announced = addresses.lan_address.ip().to_canonical();
    // A register on the bound address runs on this host too.
    let here = Host::Ip(addresses.lan_listen.ip());
    let mut registers = args.register_address.iter();
    let elsewhere = registers.find(|it| !it.host.is_loopback() && it.host != here);
    let elsewhere = elsewhere.filter(|_| announced.is_loopback());
    let unreachable = elsewhere.map(|register| Warning {
        flag: "--lan-ip",
        problem: format!(
            "{announced} is announced to the register {register}, but workers on other hosts cannot \
             reach it"
        ),
    });
    let everyone = args.trusted_proxy.iter().find(|range| range.is_all()).map(|range| Warning {
        flag: "--trusted-proxy",
        problem: format!("{range} trusts every peer, so a client can state any address"),
    });
    let mut listeners = addresses.listeners.iter();
    let exposed = listeners.find(|listener| !listener.addr.ip().to_canonical().is_loopback());
    let open = args.proxy_protocol && args.trusted_proxy.is_empty();
    let unchecked = exposed.filter(|_| open).map(|listener| Warning {
        flag: "--proxy-protocol",
        problem: format!(
            "without --trusted-proxy, every peer that reaches {} can state any address",
            listener.addr
        ),
    });
    let mut listeners = args.listen.iter();
    let open = listeners.find(|listen| listen.framing() != Framing::WebSocket);
    let by_token = args.handshake_auth == HandshakeAuth::Jwt;
    let without_token = open.filter(|_| by_token).map(|listen| Warning {
        flag: "--handshake-auth",
        problem: format!("jwt does not concern clients of {listen}, which send no request"),
    });
    unreachable.into_iter().chain(everyone).chain(unchecked).chain(without_token).collect()
}

impl Effective for Config {
    fn derived(&self) -> Vec<Derived> {
        self.derived.clone()
    }

    fn warnings(&self) -> Vec<Warning> {
        self.warnings.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::config, *};

    #[test]
    fn conflicting_settings_are_refused_with_the_name_of_their_flag() {
        const HUGE: &str = "18446744073709551615";
        let huge = |flag: &str| vec![format!("{flag}={HUGE}")];
        for (flags, name) in [
            (huge("--ping-interval"), "--ping-interval"),
            (huge("--handshake-timeout"), "--handshake-timeout"),
            (huge("--no-worker-timeout"), "--no-worker-timeout"),
            (huge("--peer-timeout"), "--peer-timeout"),
            (vec!["--receive-buffer-size=4294967295".into()], "--receive-buffer-size"),
            (vec!["--ping-data=x".into()], "--ping-data"),
            (vec!["--uid-limit-policy=close-new".into()], "--uid-limit-policy"),
            (vec!["--ping-not-response-limit=1".into()], "--ping-not-response-limit"),
            (vec!["--lan-ip=224.0.0.1".into(), "--allow-no-secret".into()], "--lan-ip"),
            (vec!["--lan-ip=255.255.255.255".into(), "--allow-no-secret".into()], "--lan-ip"),
            (vec!["--lan-ip=no such host".into()], "--lan-ip"),
            (vec!["--lan-listen=127.0.0.1:0".into()], "--lan-listen"),
            (vec!["--listen=127.0.0.1:1".into(), "--listen=127.0.0.1:1".into()], "--listen"),
            (vec!["--listen=127.0.0.1:1".into(), "--listen=text://0.0.0.0:1".into()], "--listen"),
            (vec!["--listen=127.0.0.1:2900".into()], "--lan-port"),
            (
                vec![
                    "--listen=frame://127.0.0.1:1?length=u8&offset=4".into(),
                    "--ping-interval=9".into(),
                    "--ping-data=ping".into(),
                ],
                "--ping-data: is no message that frame://127.0.0.1:1?length=u8",
            ),
            (
                vec![
                    "--listen=frame://127.0.0.1:1?length=u8&offset=4".into(),
                    "--max-message-size=4".into(),
                ],
                "--max-message-size",
            ),
            (vec!["--admin-listen=127.0.0.1:7272".into()], "--admin-listen"),
            (vec!["--lan-listen=127.0.0.1:7272".into()], "--lan-listen"),
            (vec!["--register-address=127.0.0.1:2900".into()], "--register-address"),
            (vec!["--register-address=127.0.0.1:0".into()], "--register-address"),
            (vec!["--register-address=::1:1236".into()], "--register-address"),
            (vec!["--register-address=localhost:1".into(); 2], "--register-address"),
            (vec!["--allowed-origin=*".into()], "--allowed-origin"),
            (vec!["--allowed-origin=chat.example.com".into()], "--allowed-origin"),
            (vec!["--allowed-origin=https://chat.example.com/".into()], "--allowed-origin"),
            (vec!["--allowed-origin=https://chat.example.com:443".into()], "--allowed-origin"),
            (vec!["--subprotocol=a".into(), "--subprotocol=a".into()], "--subprotocol"),
            (vec!["--listen=tcp://127.0.0.1:1".into(), "--subprotocol=a".into()], "--subprotocol"),
            (
                vec!["--listen=tcp://127.0.0.1:1".into(), "--compression=all".into()],
                "--compression",
            ),
            (vec!["--compression-min-size=1".into()], "--compression-min-size"),
            (vec!["--compression-level=1".into()], "--compression-level"),
            (vec!["--listen=tcp://127.0.0.1:1".into(), "--header=A: b".into()], "--header"),
            (vec!["--listen=tcp://127.0.0.1:1".into(), "--web-root=/".into()], "--web-root"),
            (
                vec!["--trusted-proxy=::1".into(), "--trusted-proxy=::1/128".into()],
                "--trusted-proxy",
            ),
            (vec!["--proxy-header=forwarded".into()], "--proxy-header"),
            (vec!["--proxy-header=x-real-ip".into(), "--proxy-protocol".into()], "--proxy-header"),
            (
                vec!["--listen=tcp://127.0.0.1:1".into(), "--trusted-proxy=::1".into()],
                "--trusted-proxy",
            ),
            (
                vec![
                    "--listen=tcp://127.0.0.1:1".into(),
                    "--proxy-protocol".into(),
                    "--trusted-proxy=::1".into(),
                    "--proxy-header=forwarded".into(),
                ],
                "--proxy-header",
            ),
        ] {
            let typed: Vec<_> = flags.iter().map(String::as_str).collect();
            let error = config(&typed).expect_err(&format!("{flags:?}"));
            assert!(error.contains(name), "{flags:?}: {error}");
        }
    }

    #[test]
    fn unusual_but_valid_settings_are_accepted() {
        for flags in [
            &["--ping-interval=1", "--ping-not-response-limit=30000"][..],
            &["--listen=ws://0.0.0.0:1", "--listen=ws://[::]:1"],
            &["--listen=localhost:0", "--listen=text://localhost:0"],
            &["--lan-port=0", "--lan-listen=127.0.0.1:0"],
            &["--allowed-origin=https://Chat.example.com:8443", "--allowed-origin=null"],
            &["--allowed-origin=http://localhost:443"],
            &["--handshake-timeout=31536000", "--no-worker-timeout=31536000"],
            &["--trusted-proxy=10.0.0.0/8", "--trusted-proxy=::1", "--proxy-header=forwarded"],
            &["--listen=text://127.0.0.1:1", "--proxy-protocol", "--trusted-proxy=127.0.0.1"],
        ] {
            config(flags).unwrap_or_else(|error| panic!("{flags:?}: {error}"));
        }
    }

    #[test]
    fn host_names_are_resolved_at_startup() {
        let flags = ["--lan-ip=localhost", "--lan-listen=localhost:2901", "--listen=localhost:7"];
        let config = config(&flags).unwrap();
        assert_eq!(config.lan_address, ([127, 0, 0, 1], 2900).into());
        assert_eq!(config.lan_listen, ([127, 0, 0, 1], 2901).into());
        assert_eq!(config.listeners[0].addr, ([127, 0, 0, 1], 7).into());
        let note = Derived::note("lan_ip", "localhost is 127.0.0.1");
        assert!(config.derived().contains(&note));
    }

    #[test]
    fn effective_values_are_derived_from_missing_settings() {
        let derived = config(&["--threads=3"]).unwrap().derived();
        let budget = Derived::value("memory_budget", 3 * SHARE, "256 MiB per thread");
        assert!(derived.contains(&budget), "{derived:?}");
        let lan = Derived::value("lan_listen", "127.0.0.1:2900", "--lan-ip and --lan-port");
        assert!(derived.contains(&lan), "{derived:?}");
        let flags = ["--memory-budget=8388608", "--threads=1"];
        let derived = config(&flags).unwrap().derived();
        let note = "limited to 4194304, half of a thread's memory_budget";
        assert!(derived.contains(&Derived::note("worker_window", note)), "{derived:?}");
        let derived = config(&["--trusted-proxy=10.0.0.0/8"]).unwrap().derived();
        let header = "the one that most proxies send";
        let header = Derived::value("proxy_header", "x-forwarded-for", header);
        assert!(derived.contains(&header), "{derived:?}");
        // It would be refused as a setting: only WebSockets have headers.
        let flags = ["--listen=tcp://127.0.0.1:1", "--proxy-protocol", "--trusted-proxy=::1"];
        assert!(!config(&flags).unwrap().derived().contains(&header));
    }

    #[test]
    fn proxies_that_let_clients_state_any_address_cause_a_warning() {
        let flags = |flags: &[&str]| {
            let warnings = config(flags).unwrap().warnings();
            warnings.iter().map(|warning| warning.flag).collect::<Vec<_>>()
        };
        assert_eq!(flags(&["--trusted-proxy=0.0.0.0/0"]), ["--trusted-proxy"]);
        assert_eq!(flags(&["--trusted-proxy=::/0"]), ["--trusted-proxy"]);
        assert_eq!(flags(&["--proxy-protocol"]), ["--proxy-protocol"]);
        let empty: [&str; 0] = [];
        for accepted in [
            &["--trusted-proxy=10.0.0.0/8"][..],
            &["--proxy-protocol", "--trusted-proxy=10.0.0.7"],
            &["--proxy-protocol", "--listen=ws://127.0.0.1:7272"],
        ] {
            assert_eq!(flags(accepted), empty, "{accepted:?}");
        }
    }

    #[test]
    fn loopback_address_announced_to_remote_register_causes_warning() {
        let warnings = |flags: &[&str]| {
            let flags = [&["--secret-key=s"], flags].concat();
            config(&flags).unwrap().warnings()
        };
        for register in ["10.0.0.1:1236", "register:1236"] {
            let found = warnings(&["--register-address", register]);
            assert_eq!(found.len(), 1, "{register}");
            assert!(
                found[0].flag == "--lan-ip" && found[0].problem.contains(register),
                "{found:?}"
            );
            assert!(warnings(&["--register-address", register, "--lan-ip=10.0.0.2"]).is_empty());
        }
        assert!(warnings(&[]).is_empty());
        assert!(warnings(&["--register-address=localhost:1236"]).is_empty());
    }
}
