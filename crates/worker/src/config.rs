//! Settings: flags as given, then as validated.

use std::{io, thread::available_parallelism, time::Duration};

use anyhow::ensure;
use clap::Parser;
use protocol::Secret;
use push_suite_cluster::{GATEWAY_GRACE, PEER_TIMEOUT};
use runtime::{random, tls::MutualTls};
use serde::Serialize;
use service::{
    settings::{Address, Common, Derived, Effective, Host, MAX_SILENCE, MAX_WAIT, check_registers},
    tls_flags::InnerFiles,
};
use tokio::runtime::{Builder, Runtime};

/// Flags as given. Converted into [`Config`] once, at startup.
#[derive(Debug, Parser, Serialize)]
#[command(version, about)]
pub struct Args {
    /// Address of a register (repeatable; the worker connects to all of them)
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:1236")]
    register_address: Vec<Address>,

    /// Worker name, shared by all workers of one kind
    #[arg(long, value_name = "NAME", default_value = "BusinessWorker")]
    name: String,

    /// Worker id, unique per name on this host. A new worker with the same name and id replaces the
    /// old one [default: chosen at random]
    #[arg(long, value_name = "N")]
    id: Option<String>,

    /// Grace period for a gateway that is unreachable and listed by no register; afterwards its
    /// clients are treated as disconnected
    #[arg(long, value_name = "SECONDS", default_value_t = GATEWAY_GRACE.as_secs())]
    #[arg(value_parser = clap::value_parser!(u64).range(..=MAX_WAIT))]
    gateway_grace: u64,

    /// Number of threads that run handlers [default: number of CPU cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,

    /// Maximum number of retries of a handler that fails or panics; the client's next events wait.
    /// The first retry follows within 0.1 s; the bound doubles each time, up to 5 s
    #[arg(long, value_name = "N", default_value_t = 0)]
    handler_retries: u32,

    /// Peer timeout: a link is closed after this long without data from the gateway, despite
    /// liveness probes
    #[arg(long, value_name = "SECONDS", default_value_t = PEER_TIMEOUT.as_secs())]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=MAX_SILENCE))]
    peer_timeout: u64,

    #[command(flatten)]
    #[serde(flatten)]
    inner_tls: InnerFiles,

    #[command(flatten)]
    #[serde(flatten)]
    common: Common,
}

impl AsRef<Common> for Args {
    fn as_ref(&self) -> &Common {
        &self.common
    }
}

/// Validated settings of a worker.
#[derive(Clone, Debug)]
pub struct Config {
    /// Addresses of the registers, as `host:port`.
    pub registers: Vec<String>,
    /// The cluster's secret.
    pub secret: Secret,
    /// The key that identifies the worker to gateways: `name:id`.
    pub key: String,
    /// How long a gateway may be unreachable and listed by no register before it is declared dead
    /// and its clients are closed on its behalf.
    pub gateway_grace: Duration,
    /// Number of threads that run handlers.
    pub threads: usize,
    /// Maximum number of retries of a failed handler.
    pub handler_retries: u32,
    /// How long a link may be without data from its gateway before it is closed.
    pub peer_timeout: Duration,
    /// TLS, if the cluster uses it.
    pub tls: Option<MutualTls>,
}

impl TryFrom<Args> for Config {
    type Error = anyhow::Error;

    fn try_from(args: Args) -> anyhow::Result<Self> {
        let Args {
            register_address: registers,
            name,
            id,
            gateway_grace,
            threads,
            handler_retries,
            peer_timeout,
            inner_tls,
            common,
        } = args;
        common.check_secret(&[])?;
        let admin = common.admin()?.map(|addr| ("--admin-listen", addr));
        check_registers(&registers, admin.as_slice())?;
        for address in &registers {
            check_register(address, &common)?;
        }
        check_part("--name", &name)?;
        if let Some(id) = &id {
            check_part("--id", id)?;
        }
        let id = id.unwrap_or_else(random_id);
        let threads = threads.map(usize::from);
        let threads = threads.or_else(|| available_parallelism().ok().map(usize::from));
        Ok(Self {
            registers: registers.iter().map(ToString::to_string).collect(),
            secret: common.secret_key,
            key: format!("{name}:{id}"),
            gateway_grace: Duration::from_secs(gateway_grace),
            threads: threads.unwrap_or(1),
            handler_retries,
            peer_timeout: Duration::from_secs(peer_timeout),
            tls: inner_tls.read()?,
        })
    }
}

/// A process id alone is not unique: workers of one host may run in separate PID namespaces.
fn random_id() -> String {
    format!("{}-{:08x}", std::process::id(), random::random::<u32>())
}

fn check_part(flag: &str, part: &str) -> anyhow::Result<()> {
    ensure!(!part.is_empty(), "{flag} is empty");
    ensure!(part.len() <= MAX_PART, "{flag} is longer than {MAX_PART} bytes");
    let is_plain = part.chars().all(|char| !char.is_control() && char != ':');
    ensure!(is_plain, "{flag} {part:?} has a colon or a control character");
    Ok(())
}

const MAX_PART: usize = 100;

/// A register given by host name may be remote, so a secret is required.
fn check_register(register: &Address, common: &Common) -> anyhow::Result<()> {
    if let Host::Ip(ip) = register.host {
        return common.check_secret(&[(ip, register.port).into()]);
    }
    ensure!(
        register.host.is_loopback() || common.allow_no_secret || !common.secret_key.is_empty(),
        "--secret-key is empty, but {register} may be another host; \
         set it, or accept the risk with --allow-no-secret"
    );
    Ok(())
}

impl Effective for Config {
    fn derived(&self) -> Vec<Derived> {
        let id = self.key.split_once(':').map(|(_, id)| id).unwrap_or_default();
        vec![
            Derived::value("threads", self.threads, "number of CPU cores"),
            Derived::passing("id", id, "chosen at random at each start"),
        ]
    }
}

/// Creates the runtime, with as many threads as configured.
///
/// # Errors
/// If the threads cannot be created.
pub fn runtime(config: &Config) -> io::Result<Runtime> {
    let mut builder = match config.threads {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    builder.worker_threads(config.threads).thread_name("worker").enable_all().build()
}

#[cfg(test)]
mod tests {
    use service::settings;

    use super::*;

    fn config(flags: &[&str]) -> Result<Config, String> {
        let argv = ["business-worker"].iter().chain(flags);
        let loaded = settings::load_from::<Args>(argv, |_| None).map_err(|it| it.to_string())?;
        Config::try_from(loaded.args).map_err(|error| error.to_string())
    }

    #[test]
    fn workers_with_defaults_have_different_keys() {
        let (one, other) = (config(&[]).unwrap(), config(&[]).unwrap());
        assert_eq!(one.registers, ["127.0.0.1:1236"]);
        assert!(one.key.starts_with("BusinessWorker:"), "{}", one.key);
        assert_ne!(one.key, other.key);
    }

    #[test]
    fn name_and_id_make_the_key() {
        assert_eq!(config(&["--name", "Chat", "--id", "0"]).unwrap().key, "Chat:0");
        for flags in [["--name", ""], ["--id", "a:b"], ["--id", "\n"]] {
            assert!(config(&flags).unwrap_err().contains(flags[0]), "{flags:?}");
        }
    }

    #[test]
    fn remote_register_requires_secret() {
        for address in ["10.0.0.1:1236", "register:1236"] {
            let error = config(&["--register-address", address]).unwrap_err();
            assert!(error.contains("--secret-key") && error.contains(address), "{error}");
            config(&["--register-address", address, "--secret-key", "s"]).unwrap();
            config(&["--register-address", address, "--allow-no-secret"]).unwrap();
        }
        config(&["--register-address", "localhost:1236"]).unwrap();
        config(&["--register-address", "[::1]:1236"]).unwrap();
    }

    #[test]
    fn register_address_requires_host_and_port() {
        for address in ["", "host", "host:", ":1236", "host:port", "host:70000", "::1:1236", "a:0"]
        {
            let flags = ["--register-address", address, "--allow-no-secret"];
            let error = config(&flags).unwrap_err();
            assert!(error.contains("--register-address"), "{error}");
        }
        let twice = ["--register-address=127.0.0.1:1"; 2];
        assert!(config(&twice).unwrap_err().contains("--register-address: 127.0.0.1:1 is given"));
        let own = ["--register-address=127.0.0.1:1", "--admin-listen=127.0.0.1:1"];
        assert!(config(&own).unwrap_err().contains("see --admin-listen"));
    }

    #[test]
    fn durations_that_overflow_the_clock_are_rejected() {
        for flag in ["--gateway-grace", "--peer-timeout"] {
            let error = config(&[flag, "18446744073709551615"]).unwrap_err();
            assert!(error.contains(flag), "{error}");
        }
    }

    #[test]
    fn derived_settings_are_shown_and_random_id_is_not_pinned() {
        let derived = config(&["--threads=3"]).unwrap().derived();
        assert!(derived.contains(&Derived::value("threads", 3, "number of CPU cores")));
        let id = config(&["--id=7"]).unwrap().derived().remove(1);
        assert_eq!(id, Derived::passing("id", "7", "chosen at random at each start"));
    }
}
