//! Settings: flags over environment over file over defaults, by one path.
//!
//! A binary describes its settings once, as a clap `Parser` that flattens [`Common`]:
//!
//! ```
//! use std::net::SocketAddr;
//! use service::settings::{self, Common};
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
//! from the key `some_flag` of the file that `--config` names. What these say is handed to the
//! very same parsers, as if it had been typed.
//!
//! * A repeatable flag takes a comma-separated list from the environment and an array from the
//!   file. A layer replaces what the layers below say; nothing is appended.
//! * A switch takes `true`, `1`, `yes`, `on` and their opposites from the environment, and a
//!   boolean from the file.
//! * An empty variable counts as absent.
//! * `Serialize` must show a value as one would type it: it is what `--check` prints.

mod address;
mod checks;
mod compat;
mod effect;
mod layers;
mod refused;
mod resolve;
mod show;

use std::{convert::Infallible, ffi::OsString, net::SocketAddr, path::PathBuf};

use anyhow::ensure;
use clap::Parser;
use protocol::secret::Secret;
use serde::{Serialize, Serializer};

use crate::logging;

pub use address::{Address, Host, Malformed};
pub use checks::{Bound, MAX_AMOUNT, MAX_SILENCE, MAX_WAIT, amount, check_bound, check_registers};
pub use compat::Compat;
pub use effect::{Derived, Effective, Warning};
pub use refused::Refused;
pub use resolve::Unresolved;
pub use show::Sheet;

/// The settings every binary has. Flatten it into the binary's own.
#[derive(Clone, Debug, clap::Args, Serialize)]
pub struct Common {
    /// The cluster secret, the same on every process; may only be empty while every inner
    /// address is loopback. Prefer GW_SECRET_KEY or the file: a command line is public
    #[arg(long, value_name = "SECRET", default_value = "", hide_default_value = true)]
    #[arg(value_parser = secret)]
    #[serde(serialize_with = "redacted")]
    pub secret_key: Secret,

    /// Accept an empty secret although inner addresses can be reached from other hosts
    #[arg(long)]
    pub allow_no_secret: bool,

    /// Read settings from this TOML file; keys are the flags, with underscores
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,

    /// Print the settings in effect and exit
    #[arg(long)]
    #[serde(skip)]
    pub check: bool,

    /// How log lines look; RUST_LOG says which there are
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    pub log_format: logging::Format,

    /// Serve /livez, /readyz and /metrics here. Nobody is asked for a secret there: only for
    /// addresses that operators alone reach
    #[arg(long, value_name = "ADDR")]
    pub admin_listen: Option<Address>,

    /// How long a drain may take after SIGTERM or SIGINT
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u64).range(..=86_400))]
    pub grace: u64,
}

impl Common {
    /// Where the admin pages are to be, if anywhere.
    ///
    /// # Errors
    /// When their address has a name that cannot be resolved.
    pub fn admin(&self) -> Result<Option<SocketAddr>, Unresolved> {
        self.admin_listen.as_ref().map(|address| address.resolve("--admin-listen")).transpose()
    }

    /// The rule for every binary: without a secret, `inner` addresses, and that of the admin pages,
    /// must all be loopback, unless the user insists.
    ///
    /// # Errors
    /// Names the first address that can be reached from elsewhere.
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

fn secret(text: &str) -> Result<Secret, Infallible> {
    Ok(Secret::from(text.to_owned()))
}

/// For `#[serde(serialize_with)]` on any secret: `--check` says only whether it is set.
///
/// # Errors
/// Those of the serializer.
pub fn redacted<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(if secret.is_empty() { "" } else { show::REDACTED })
}

/// Settings, and where each came from.
#[derive(Debug)]
pub struct Loaded<A> {
    /// As if all of it had been typed.
    pub args: A,
    origins: layers::Origins,
}

/// Reads this process's command line, environment, and file.
///
/// # Errors
/// Names the flag, variable or key that is wrong; also `--help` and `--version`, which end here.
pub fn load<A: Parser + Serialize>() -> Result<Loaded<A>, Refused> {
    load_from(std::env::args_os(), |name| std::env::var_os(name))
}

/// Reads a given command line (program name first) and environment.
///
/// # Errors
/// As [`load`].
pub fn load_from<A: Parser + Serialize>(
    argv: impl IntoIterator<Item = impl Into<OsString>>,
    env: impl Fn(&str) -> Option<OsString>,
) -> Result<Loaded<A>, Refused> {
    let argv = argv.into_iter().map(Into::into).collect();
    let (matches, origins) = layers::parse(A::command(), argv, env)?;
    let args = A::from_arg_matches(&matches).map_err(Refused::Flags)?;
    Ok(Loaded { args, origins })
}

#[cfg(test)]
mod tests;
