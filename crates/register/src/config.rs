//! Settings of the register: flags as given, then as validated.

use std::{net::SocketAddr, time::Duration};

use clap::Parser;
use protocol::Secret;
use runtime::tls::{InnerAcceptor, Plain};
use serde::Serialize;
use service::{
    settings::{Address, Common, Compat, Derived, Effective, check_bound},
    tls_flags::InnerFiles,
};

/// Service discovery: announces the addresses of gateways to workers.
#[derive(Debug, Parser, Serialize)]
#[command(name = "register", version)]
pub struct Args {
    /// Address to listen on for gateways and workers
    #[arg(help_heading = "Listeners")]
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:1236")]
    listen: Address,

    /// Grace period after a start during which responses wait for gateways to reconnect; 0 responds
    /// at once. PHP back ends wait at most 5 s for a response
    #[arg(help_heading = "Cluster")]
    #[arg(long, value_name = "SECONDS", default_value_t = 3)]
    #[arg(value_parser = clap::value_parser!(u64).range(..=60))]
    #[arg(default_value_if("compat", "strict", "0"))]
    startup_grace: u64,

    /// Compatibility mode. 'strict' reproduces GatewayWorker's behavior: no grace period after a
    /// start, and no timeout for silent peers beyond TCP keepalive
    #[arg(help_heading = "Process")]
    #[arg(long, value_name = "MODE", value_enum, default_value_t)]
    compat: Compat,

    #[command(flatten)]
    #[serde(flatten)]
    inner_tls: InnerFiles,

    /// Which peers may connect without TLS if --inner-tls-cert is set. PHP peers do not support TLS
    /// [default: refuse]
    #[arg(help_heading = "TLS")]
    #[arg(long, value_name = "POLICY", value_enum)]
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

/// Validated settings of a register.
#[derive(Clone, Debug)]
pub struct Config {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// The secret that peers must present; empty if none is required.
    pub secret: Secret,
    /// Grace period after a start during which responses may wait; zero for none, as in the
    /// reference.
    pub startup_grace: Duration,
    /// Timeout for a peer that has pinged; `None` for no timeout, as in the reference.
    pub ping_ttl: Option<Duration>,
    /// Which peers may connect: TLS settings and exceptions.
    pub gate: InnerAcceptor,
}

/// Peers ping every 25 s; after three missed pings a peer is declared dead.
pub const PING_TTL: Duration = Duration::from_secs(75);

impl TryFrom<Args> for Config {
    type Error = anyhow::Error;

    fn try_from(args: Args) -> anyhow::Result<Self> {
        let Args { listen, startup_grace, compat, inner_tls, inner_tls_plain, common } = args;
        let listen = listen.resolve("--listen")?;
        common.check_secret(&[listen])?;
        let admin = common.admin()?.map(|addr| ("--admin-listen", addr));
        check_bound(&[("--listen", listen)].into_iter().chain(admin).collect::<Vec<_>>())?;
        let startup_grace = Duration::from_secs(startup_grace);
        let ping_ttl = (compat == Compat::Default).then_some(PING_TTL);
        let gate = inner_tls.gate(inner_tls_plain)?;
        Ok(Self { listen, secret: common.secret_key, startup_grace, ping_ttl, gate })
    }
}

impl Effective for Config {
    fn derived(&self) -> Vec<Derived> {
        let plain =
            Derived::value("inner_tls_plain", Plain::default(), "no peer may connect without TLS");
        self.gate.inner().map(|_| plain).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(typed: &[&str]) -> anyhow::Result<Config> {
        let argv = ["register"].iter().chain(typed);
        service::settings::load_from::<Args>(argv, |_| None)?.args.try_into()
    }

    #[test]
    fn defaults_are_as_documented() {
        let config = config(&[]).unwrap();
        assert_eq!(config.listen, SocketAddr::from(([127, 0, 0, 1], 1236)));
        assert_eq!(config.startup_grace, Duration::from_secs(3));
        assert_eq!(config.ping_ttl, Some(PING_TTL));
        assert!(config.secret.is_empty());
    }

    #[test]
    fn strict_mode_disables_grace_unless_set() {
        let strict = config(&["--compat=strict"]).unwrap();
        assert_eq!((strict.startup_grace, strict.ping_ttl), (Duration::ZERO, None));
        let waiting = config(&["--compat=strict", "--startup-grace=2"]).unwrap();
        assert_eq!(waiting.startup_grace, Duration::from_secs(2));
    }

    #[test]
    fn non_loopback_listener_requires_secret() {
        let error = config(&["--listen=0.0.0.0:1236"]).unwrap_err().to_string();
        assert!(error.contains("--secret-key") && error.contains("0.0.0.0:1236"), "{error}");
        assert!(config(&["--listen=0.0.0.0:1236", "--secret-key=s"]).is_ok());
        assert!(config(&["--listen=0.0.0.0:1236", "--allow-no-secret"]).is_ok());
    }

    #[test]
    fn invalid_flag_is_named() {
        for (typed, name) in [
            ("--listen=localhost", "--listen"),
            ("--admin-listen=127.0.0.1:1236", "--admin-listen"),
            ("--startup-grace=61", "--startup-grace"),
            ("--lisen=127.0.0.1:1", "--lisen"),
        ] {
            let error = config(&[typed]).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
