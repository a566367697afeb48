//! Settings of the register: as typed, then as meant.

use std::{net::SocketAddr, time::Duration};

use clap::Parser;
use protocol::Secret;
use serde::Serialize;
use service::{
    settings::{Address, Common, Compat, Derived, Effective, check_bound},
    tls::{Gate, InnerFiles, Plain},
};

/// Tells workers where the gateways are.
#[derive(Debug, Parser, Serialize)]
#[command(name = "register", version)]
pub struct Args {
    /// Where gateways and workers connect
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:1236")]
    listen: Address,

    /// After a start, how long answers may wait for gateways to come back; 0 answers at once.
    /// PHP clients wait at most 5 s for an answer
    #[arg(long, value_name = "SECONDS", default_value_t = 3)]
    #[arg(value_parser = clap::value_parser!(u64).range(..=60))]
    #[arg(default_value_if("compat", "strict", "0"))]
    startup_grace: u64,

    /// How to behave where we do better than GatewayWorker and peers could tell: strict is
    /// GatewayWorker's way, which answers at once after a start and leaves silent peers to TCP
    #[arg(long, value_name = "WAY", value_enum, default_value_t)]
    compat: Compat,

    #[command(flatten)]
    #[serde(flatten)]
    inner_tls: InnerFiles,

    /// Which peers are let in without TLS, where there is --inner-tls-cert [default: refuse]
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

/// What a register runs on. Every value has been checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// What peers must know; empty where nothing is asked of them.
    pub secret: Secret,
    /// How long answers may wait after a start; zero for not at all, as the reference.
    pub startup_grace: Duration,
    /// How long a peer that has pinged may be silent; `None` for ever, as the reference.
    pub ping_ttl: Option<Duration>,
    /// Who is let in.
    pub gate: Gate,
}

/// Peers ping every 25 s; three missed in a row mean that nobody is there.
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
        let ping_ttl = (compat == Compat::Better).then_some(PING_TTL);
        let gate = inner_tls.gate(inner_tls_plain)?;
        Ok(Self { listen, secret: common.secret_key, startup_grace, ping_ttl, gate })
    }
}

impl Effective for Config {
    fn derived(&self) -> Vec<Derived> {
        let plain = Derived::value("inner_tls_plain", Plain::default(), "none is let in");
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
    fn what_is_not_said_is_as_documented() {
        let config = config(&[]).unwrap();
        assert_eq!(config.listen, SocketAddr::from(([127, 0, 0, 1], 1236)));
        assert_eq!(config.startup_grace, Duration::from_secs(3));
        assert_eq!(config.ping_ttl, Some(PING_TTL));
        assert!(config.secret.is_empty());
    }

    #[test]
    fn strict_waits_for_nobody_unless_it_is_told_to() {
        let strict = config(&["--compat=strict"]).unwrap();
        assert_eq!((strict.startup_grace, strict.ping_ttl), (Duration::ZERO, None));
        let waiting = config(&["--compat=strict", "--startup-grace=2"]).unwrap();
        assert_eq!(waiting.startup_grace, Duration::from_secs(2));
    }

    #[test]
    fn an_open_port_needs_a_secret() {
        let said = config(&["--listen=0.0.0.0:1236"]).unwrap_err().to_string();
        assert!(said.contains("--secret-key") && said.contains("0.0.0.0:1236"), "{said}");
        assert!(config(&["--listen=0.0.0.0:1236", "--secret-key=s"]).is_ok());
        assert!(config(&["--listen=0.0.0.0:1236", "--allow-no-secret"]).is_ok());
    }

    #[test]
    fn a_wrong_flag_is_named() {
        for (typed, name) in [
            ("--listen=localhost", "--listen"),
            ("--admin-listen=127.0.0.1:1236", "--admin-listen"),
            ("--startup-grace=61", "--startup-grace"),
            ("--lisen=127.0.0.1:1", "--lisen"),
        ] {
            let said = config(&[typed]).unwrap_err().to_string();
            assert!(said.contains(name), "{said}");
        }
    }
}
