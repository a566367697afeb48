//! Settings: flags over environment over file over defaults, all read by the same parsers.
//!
//! A binary describes its settings once, as a clap `Parser` that flattens [`Common`]:
//!
//! ```
//! use std::net::SocketAddr;
//! use push_suite_service::settings::{self, Common};
//!
//! #[derive(clap::Parser, serde::Serialize)]
//! #[command(version)]
//! struct Args {
//!     /// Where to listen.
//!     #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:1236")]
//!     listen: Vec<SocketAddr>,
//!     #[command(flatten)]
//!     #[serde(flatten)]
//!     common: Common,
//! }
//!
//! impl AsRef<Common> for Args {
//!     fn as_ref(&self) -> &Common {
//!         &self.common
//!     }
//! }
//!
//! let env = |name: &str| (name == "GW_LISTEN").then(|| "127.0.0.1:1,127.0.0.1:2".into());
//! let loaded = settings::load_from::<Args>(["register", "--grace", "3"], env).unwrap();
//! assert_eq!(loaded.args.listen.len(), 2);
//! assert_eq!(loaded.args.common.grace, 3);
//! ```
//!
//! No `env` attribute is needed: every flag `--some-flag` is also read from `GW_SOME_FLAG` and
//! from the key `some_flag` of the `--config` file. These values go through the parsers of the
//! flags, as if given on the command line.
//!
//! * A repeatable flag takes a comma-separated list from the environment and an array from the
//!   file. A layer replaces the values of the layers below it; nothing is appended.
//! * A switch takes `true`, `1`, `yes`, `on` and their opposites from the environment, and a
//!   boolean from the file.
//! * An empty environment variable counts as unset.
//! * A list of things with several settings each is an array of [`Tables`] in the file, such as
//!   `[[api.key]]`. It has no flag, and SIGHUP reads it again.
//! * `Serialize` must produce a value as the flag accepts it: `--check` prints it.

mod address;
mod checks;
mod compat;
mod effect;
mod hidden;
mod layers;
mod refused;
mod reloadable;
mod resolve;
mod show;
mod tables;

use std::{
    convert::Infallible,
    ffi::OsString,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{anyhow, ensure};
use clap::Parser;
use protocol::secret::Secret;
use serde::{Serialize, Serializer};

use crate::logging::{self, LogLevel};

pub use address::{Address, Host, Malformed};
pub use checks::{Bound, MAX_AMOUNT, MAX_SILENCE, MAX_WAIT, amount, check_bound, check_registers};
pub use compat::Compat;
pub use effect::{Derived, Effective, Warning};
pub use hidden::Hidden;
pub use refused::{BAD_SETTINGS, Refused};
pub use reloadable::{Current, Reloadable};
pub use resolve::Unresolved;
pub use show::Sheet;
pub use tables::{Entry, Key, Table, TableFile, Tables};

/// Settings common to all binaries. Flatten this into the binary's own.
#[derive(Clone, Debug, clap::Args, Serialize)]
// A group would reserve its name in programs with settings of their own.
#[group(skip)]
#[command(next_help_heading = "Process")]
pub struct Common {
    /// Cluster secret, identical on every process. May be empty only if every inner address is
    /// loopback. Prefer GW_SECRET_KEY or the file: command lines are visible to other users
    #[arg(long, value_name = "SECRET", default_value = "", hide_default_value = true)]
    #[arg(value_parser = secret)]
    #[serde(serialize_with = "redacted")]
    pub secret_key: Secret,

    /// Allow an empty secret although inner addresses are reachable from other hosts
    #[arg(long)]
    pub allow_no_secret: bool,

    /// TOML file to read settings from; keys are the flag names, with underscores
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,

    /// Check the settings, print those in effect and exit
    #[arg(long)]
    #[serde(skip)]
    pub check: bool,

    /// Log level of all modules, or of some, as in `info,gateway::hub=debug`: error, warn, info,
    /// debug, trace, off. SIGHUP reads it again from the file. The variable RUST_LOG takes
    /// precedence
    #[arg(long, value_name = "LEVEL", default_value = DEFAULT_LOG_LEVEL, value_parser = log_level)]
    pub log_level: String,

    /// Log format
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    pub log_format: logging::Format,

    /// Address of the admin server (/livez, /readyz, /metrics). It requires no secret: use an
    /// address that only operators can reach
    #[arg(long, value_name = "ADDR")]
    pub admin_listen: Option<Address>,

    /// Maximum duration of the drain after SIGTERM or SIGINT
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u64).range(..=86_400))]
    pub grace: u64,
}

impl Common {
    /// The address of the admin server, if it is enabled.
    ///
    /// # Errors
    /// When the host name in it cannot be resolved.
    pub fn admin(&self) -> Result<Option<SocketAddr>, Unresolved> {
        self.admin_listen.as_ref().map(|address| address.resolve("--admin-listen")).transpose()
    }

    /// The rule for every binary: without a secret, the `inner` addresses and that of the admin
    /// server must all be loopback, unless `--allow-no-secret` is set.
    ///
    /// # Errors
    /// Names the first address that other hosts can reach.
    pub fn check_secret(&self, inner: &[SocketAddr]) -> anyhow::Result<()> {
        let admin = self.admin()?;
        let mut all = inner.iter().chain(&admin);
        let open = all.find(|addr| !addr.ip().to_canonical().is_loopback());
        if let Some(addr) = open {
            ensure!(
                self.allow_no_secret || !self.secret_key.is_empty(),
                "--secret-key is empty, but {addr} is not a loopback address; \
                 set it, or accept the risk with --allow-no-secret"
            );
        }
        Ok(())
    }
}

const DEFAULT_LOG_LEVEL: &str = "info";

fn log_level(text: &str) -> Result<String, String> {
    logging::parse(text).map(|_| text.to_owned()).map_err(|error| format!("{error:#}"))
}

/// The log level of a settings file.
pub(crate) fn log_level_of(file: &Path) -> anyhow::Result<String> {
    let level = match layers::read(file)?.get("log_level") {
        None => return Ok(DEFAULT_LOG_LEVEL.to_owned()),
        Some(level) => level.as_str().map(log_level),
    };
    let invalid = |problem: &str| anyhow!("`log_level` in {}: {problem}", file.display());
    level.ok_or_else(|| invalid("must be text"))?.map_err(|error| invalid(&error))
}

fn secret(text: &str) -> Result<Secret, Infallible> {
    Ok(Secret::from(text.to_owned()))
}

/// For `#[serde(serialize_with)]` on any secret: `--check` shows only whether it is set.
///
/// # Errors
/// Those of the serializer.
pub fn redacted<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(if secret.is_empty() { "" } else { show::REDACTED })
}

/// Settings, each with its origin.
#[derive(Debug)]
pub struct Loaded<A, T = ()> {
    /// The merged settings of all layers.
    pub args: A,
    /// The tables of the file.
    pub tables: Reloadable<T>,
    origins: layers::Origins,
    file: Option<PathBuf>,
    shown: Vec<tables::ShownEntry>,
}

impl<A: AsRef<Common>, T> Loaded<A, T> {
    /// The log level, for SIGHUP; `None` without a file.
    pub(crate) fn log_level(&self) -> Option<LogLevel> {
        let origin = self.origins.get("log_level").map(String::as_str);
        let is_fixed = origin.is_some_and(|origin| !origin.starts_with('`'));
        let fixed = is_fixed.then(|| self.args.as_ref().log_level.clone());
        Some(LogLevel::new(self.file.clone()?, fixed))
    }
}

/// Reads the command line, environment and file of this process.
///
/// # Errors
/// Names the invalid flag, variable or key. `--help` and `--version` are also returned as errors.
pub fn load<A: Parser + Serialize, T: Tables>() -> Result<Loaded<A, T>, Refused> {
    load_with_tables(std::env::args_os(), |name| std::env::var_os(name))
}

/// Reads a given command line (program name first) and environment, of a binary without tables.
///
/// # Errors
/// As [`load`].
pub fn load_from<A: Parser + Serialize>(
    argv: impl IntoIterator<Item = impl Into<OsString>>,
    env: impl Fn(&str) -> Option<OsString>,
) -> Result<Loaded<A>, Refused> {
    load_with_tables(argv, env)
}

/// Like [`load_from`], of a binary whose file may have tables.
///
/// # Errors
/// As [`load`].
pub fn load_with_tables<A: Parser + Serialize, T: Tables>(
    argv: impl IntoIterator<Item = impl Into<OsString>>,
    env: impl Fn(&str) -> Option<OsString>,
) -> Result<Loaded<A, T>, Refused> {
    let argv = argv.into_iter().map(Into::into).collect();
    let layers::Parsed { matches, origins, file } =
        layers::parse(A::command(), argv, env, T::KNOWN)?;
    let args = A::from_arg_matches(&matches).map_err(Refused::Flags)?;
    let (tables, shown) = Reloadable::read(file.clone())?;
    Ok(Loaded { args, tables, origins, file, shown })
}

#[cfg(test)]
mod tests;
