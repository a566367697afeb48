//! Settings: flags as given, then as validated.

use std::{io, thread::available_parallelism, time::Duration};

use anyhow::ensure;
use clap::Parser;
use protocol::Secret;
use push_suite_cluster::{GATEWAY_GRACE, PEER_TIMEOUT, Streams};
use runtime::{random, tls::MutualTls};
use serde::Serialize;
use service::{
    settings::{Address, Common, Derived, Effective, Host, MAX_SILENCE, MAX_WAIT, check_registers},
    tls_flags::InnerFiles,
};
use tokio::runtime::{Builder, Runtime};

/// Flags as given. Converted into [`Config`] once, at startup. [`main_with`](crate::main_with) adds
/// flags of your own.
#[derive(Debug, Parser, Serialize)]
#[command(about = "Business worker: handles the events of clients")]
// An argument group would reserve its name, `Args`, in programs with settings of their own.
#[group(skip)]
pub struct Args {
    /// Address of a register (repeatable; the worker connects to all of them)
    #[arg(help_heading = "Cluster")]
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:1236")]
    register_address: Vec<Address>,

    /// Worker name, shared by all workers of one kind
    #[arg(help_heading = "Cluster")]
    #[arg(long, value_name = "NAME", default_value = NAME)]
    name: String,

    /// Worker id, unique per name on this host. A new worker with the same name and id replaces the
    /// old one [default: chosen at random]
    #[arg(help_heading = "Cluster")]
    #[arg(long, value_name = "ID")]
    id: Option<String>,

    /// Grace period for a gateway that is unreachable and listed by no register; afterwards its
    /// clients are treated as disconnected
    #[arg(help_heading = "Cluster")]
    #[arg(long, value_name = "SECONDS", default_value_t = GATEWAY_GRACE.as_secs())]
    #[arg(value_parser = clap::value_parser!(u64).range(..=MAX_WAIT))]
    gateway_grace: u64,

    /// How long a member of a watched group is held back as present after its last client has left,
    /// and a group as occupied: a reconnect within that is no change
    #[arg(help_heading = "Events")]
    #[arg(long, value_name = "SECONDS", default_value_t = PRESENCE_GRACE.as_secs())]
    #[arg(value_parser = clap::value_parser!(u64).range(..=MAX_WAIT))]
    presence_grace: u64,

    /// Number of threads that run handlers [default: number of CPU cores]
    #[arg(help_heading = "Process")]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,

    /// Maximum number of retries of a handler that fails or panics; the client's next events wait.
    /// The first retry follows within 0.1 s; the bound doubles each time, up to 5 s
    #[arg(help_heading = "Events")]
    #[arg(long, value_name = "N", default_value_t = 0)]
    handler_retries: u32,

    /// Peer timeout: a link is closed after this long without data from the gateway, despite
    /// liveness probes
    #[arg(help_heading = "Cluster")]
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

/// Validated settings of a worker: those without a default, then one method for each of the others.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Addresses of the registers, as `host:port`.
    pub registers: Vec<String>,
    /// The cluster's secret.
    pub secret: Secret,
    /// The name shared by all workers of one kind. Gateways know a worker as `name:id`, with the
    /// host that it connects from. Without colon and control characters.
    pub name: String,
    /// The id, unique per name on this host: a worker with the same name and id replaces the older
    /// one. Without colon and control characters.
    pub id: String,
    /// How long a gateway may be unreachable and listed by no register before it is declared dead
    /// and its clients are closed on its behalf.
    pub gateway_grace: Duration,
    /// Number of threads that run handlers; for [`runtime`](fn@crate::runtime).
    pub threads: usize,
    /// Maximum number of retries of a failed handler.
    pub handler_retries: u32,
    /// How long after its last client has left a watched group is vacated, or a member removed.
    pub presence_grace: Duration,
    /// How long a link may be without data from its gateway before it is closed.
    pub peer_timeout: Duration,
    /// TLS, if the cluster uses it.
    pub tls: Option<MutualTls>,
    /// The store of streams, and how clients receive them.
    pub streams: Option<Streams>,
}

impl Config {
    /// The registers, each as `host:port`, and the secret key of the cluster, which is empty if it
    /// has none. The rest has the defaults of the flags.
    pub fn new(
        registers: impl IntoIterator<Item: Into<String>>,
        secret: impl Into<Secret>,
    ) -> Self {
        Self {
            registers: registers.into_iter().map(Into::into).collect(),
            secret: secret.into(),
            name: NAME.to_owned(),
            id: random_id(),
            gateway_grace: GATEWAY_GRACE,
            threads: available_parallelism().map_or(1, usize::from),
            handler_retries: 0,
            presence_grace: PRESENCE_GRACE,
            peer_timeout: PEER_TIMEOUT,
            tls: None,
            streams: None,
        }
    }

    /// Sets [`name`](Self#structfield.name): `BusinessWorker` by default.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets [`id`](Self#structfield.id): the process id and a random number by default.
    #[must_use]
    pub fn id(mut self, id: impl ToString) -> Self {
        self.id = id.to_string();
        self
    }

    /// Sets [`gateway_grace`](Self#structfield.gateway_grace): 10 seconds by default.
    #[must_use]
    pub const fn gateway_grace(mut self, grace: Duration) -> Self {
        self.gateway_grace = grace;
        self
    }

    /// Sets [`threads`](Self#structfield.threads): the number of CPU cores by default.
    #[must_use]
    pub const fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// Sets [`handler_retries`](Self#structfield.handler_retries): none by default.
    #[must_use]
    pub const fn handler_retries(mut self, retries: u32) -> Self {
        self.handler_retries = retries;
        self
    }

    /// Sets [`presence_grace`](Self#structfield.presence_grace): 3 seconds by default.
    #[must_use]
    pub const fn presence_grace(mut self, grace: Duration) -> Self {
        self.presence_grace = grace;
        self
    }

    /// Sets [`peer_timeout`](Self#structfield.peer_timeout): 30 seconds by default.
    #[must_use]
    pub const fn peer_timeout(mut self, timeout: Duration) -> Self {
        self.peer_timeout = timeout;
        self
    }

    /// Sets [`tls`](Self#structfield.tls): none by default.
    #[must_use]
    pub fn tls(mut self, tls: impl Into<Option<MutualTls>>) -> Self {
        self.tls = tls.into();
        self
    }

    /// Sets [`streams`](Self#structfield.streams): none by default.
    #[must_use]
    pub fn streams(mut self, streams: impl Into<Option<Streams>>) -> Self {
        self.streams = streams.into();
        self
    }

    /// The key that identifies the worker to gateways: `name:id`.
    pub fn key(&self) -> String {
        format!("{}:{}", self.name, self.id)
    }
}

/// Default of `--name`.
const NAME: &str = "BusinessWorker";

/// Default of `--presence-grace`.
const PRESENCE_GRACE: Duration = Duration::from_secs(3);

impl TryFrom<Args> for Config {
    type Error = anyhow::Error;

    fn try_from(args: Args) -> anyhow::Result<Self> {
        let Args {
            register_address: registers,
            name,
            id,
            gateway_grace,
            presence_grace,
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
        let registers = registers.iter().map(ToString::to_string);
        let mut config = Self::new(registers, common.secret_key)
            .name(name)
            .gateway_grace(Duration::from_secs(gateway_grace))
            .handler_retries(handler_retries)
            .presence_grace(Duration::from_secs(presence_grace))
            .peer_timeout(Duration::from_secs(peer_timeout))
            .tls(inner_tls.read()?);
        config.id = id.unwrap_or(config.id);
        config.threads = threads.map_or(config.threads, usize::from);
        Ok(config)
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
        vec![
            Derived::value("threads", self.threads, "number of CPU cores"),
            Derived::passing("id", &self.id, "chosen at random at each start"),
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
        assert!(one.key().starts_with("BusinessWorker:"), "{}", one.key());
        assert_ne!(one.key(), other.key());
    }

    #[test]
    fn name_and_id_make_the_key() {
        assert_eq!(config(&["--name", "Chat", "--id", "0"]).unwrap().key(), "Chat:0");
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
        for flag in ["--gateway-grace", "--peer-timeout", "--presence-grace"] {
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
