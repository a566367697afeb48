//! The command line: settings of all commands, and the commands.

use std::{convert::Infallible, path::PathBuf};

use clap::{Parser, ValueEnum};
use protocol::Secret;
use serde::Serialize;
use service::{
    settings::{Address, redacted},
    tls_flags::InnerFiles,
};

use crate::commands::Command;

/// Shows and controls a running cluster
#[derive(Debug, Parser, Serialize)]
#[command(name = "gwctl", version, max_term_width = 100)]
#[command(about = "Shows and controls a running cluster, with the secret of the cluster")]
pub struct Args {
    /// Address of a register (repeatable)
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:1236", global = true)]
    #[arg(help_heading = "Cluster")]
    register_address: Vec<Address>,

    /// Cluster secret. Prefer GW_SECRET_KEY or the file: command lines are visible to other users
    /// [default: that of /etc/push-suite/secret.env, if it can be read]
    #[arg(long, value_name = "SECRET", default_value = "", hide_default_value = true)]
    #[arg(value_parser = secret, global = true, help_heading = "Cluster")]
    #[serde(serialize_with = "redacted")]
    secret_key: Secret,

    /// Maximum time for the answer of a gateway; one that does not answer is named
    #[arg(long, value_name = "SECONDS", default_value_t = 5, global = true)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=5), help_heading = "Cluster")]
    timeout: u64,

    /// TOML file to read settings from; keys are the flag names, with underscores [default:
    /// /etc/push-suite/gwctl.toml, if it exists]
    #[arg(long, value_name = "FILE", global = true, help_heading = "Cluster")]
    #[serde(skip)]
    config: Option<PathBuf>,

    /// Certificate for mutual TLS between processes of the cluster (PEM, with intermediates)
    #[arg(long, value_name = "FILE", global = true, help_heading = "TLS")]
    inner_tls_cert: Option<PathBuf>,

    /// Private key of --inner-tls-cert (PEM)
    #[arg(long, value_name = "FILE", global = true, help_heading = "TLS")]
    inner_tls_key: Option<PathBuf>,

    /// CA certificates of the cluster (PEM)
    #[arg(long, value_name = "FILE", global = true, help_heading = "TLS")]
    inner_tls_ca: Option<PathBuf>,

    /// Form of the output
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value = "table", global = true)]
    #[arg(help_heading = "Output")]
    output: Format,

    /// Colors; by default on a terminal, unless NO_COLOR is set
    #[arg(long, value_enum, value_name = "WHEN", default_value = "auto", global = true)]
    #[arg(help_heading = "Output")]
    color: Color,

    #[command(subcommand)]
    #[serde(skip)]
    pub(crate) command: Command,
}

/// The form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Format {
    /// Aligned columns
    Table,
    /// The same, with more columns
    Wide,
    /// JSON, for programs
    Json,
}

/// When the output has colors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
}

/// The settings of all commands, apart from the command.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) registers: Vec<Address>,
    pub(crate) secret: Secret,
    pub(crate) timeout: std::time::Duration,
    pub(crate) tls: InnerFiles,
    pub(crate) format: Format,
    pub(crate) color: Color,
}

impl Args {
    /// The settings and the command.
    pub(crate) fn split(self) -> (Settings, Command) {
        let tls = InnerFiles {
            inner_tls_cert: self.inner_tls_cert,
            inner_tls_key: self.inner_tls_key,
            inner_tls_ca: self.inner_tls_ca,
        };
        let settings = Settings {
            registers: self.register_address,
            secret: self.secret_key,
            timeout: std::time::Duration::from_secs(self.timeout),
            tls,
            format: self.output,
            color: self.color,
        };
        (settings, self.command)
    }
}

fn secret(text: &str) -> Result<Secret, Infallible> {
    Ok(Secret::from(text.to_owned()))
}
