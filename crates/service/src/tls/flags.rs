//! The flags of TLS.

use std::path::PathBuf;

use anyhow::bail;
use serde::Serialize;

use super::{Gate, Inner, Public};

/// The flags of every process that speaks on the inner wire. Flatten it into the binary's own.
#[derive(Clone, Debug, Default, clap::Args, Serialize)]
pub struct InnerFiles {
    /// Speak TLS with our own processes, and show them this certificate (PEM, with those that lead
    /// from it to the CA); read again on SIGHUP
    #[arg(long, value_name = "FILE")]
    pub inner_tls_cert: Option<PathBuf>,

    /// The key of --inner-tls-cert (PEM)
    #[arg(long, value_name = "FILE")]
    pub inner_tls_key: Option<PathBuf>,

    /// Who must have signed the certificates of our own processes (PEM)
    #[arg(long, value_name = "FILE")]
    pub inner_tls_ca: Option<PathBuf>,
}

impl InnerFiles {
    /// Reads them; `None` if there are none.
    ///
    /// # Errors
    /// Names what is missing or of no use.
    pub fn read(self) -> anyhow::Result<Option<Inner>> {
        match (self.inner_tls_cert, self.inner_tls_key, self.inner_tls_ca) {
            (None, None, None) => Ok(None),
            (Some(cert), Some(key), Some(ca)) => Inner::read(cert, key, ca).map(Some),
            _ => bail!("--inner-tls-cert, --inner-tls-key and --inner-tls-ca: all of them or none"),
        }
    }

    /// Reads them, for a port that lets peers in.
    ///
    /// # Errors
    /// The same, and when something is said about peers without TLS where there is no TLS.
    pub fn gate(self, plain: Option<Plain>) -> anyhow::Result<Gate> {
        match (self.read()?, plain) {
            (None, Some(_)) => bail!("--inner-tls-plain: there is no --inner-tls-cert"),
            (None, None) => Ok(Gate::default()),
            (Some(inner), plain) => Ok(Gate::new(inner, plain.unwrap_or_default())),
        }
    }
}

/// Which peers are let in without TLS, where there is TLS. PHP peers speak none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Plain {
    /// None.
    #[default]
    Refuse,
    /// Those of this host.
    Loopback,
    /// All.
    Allow,
}

/// The flags of a process that speaks TLS with strangers. Flatten it into the binary's own.
#[derive(Clone, Debug, Default, clap::Args, Serialize)]
pub struct PublicFiles {
    /// The certificate that clients of wss:// are shown (PEM, with those that lead from it to its
    /// CA); read again on SIGHUP
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,

    /// The key of --tls-cert (PEM)
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
}

impl PublicFiles {
    /// Reads them; `None` if there are none.
    ///
    /// # Errors
    /// Names what is missing or of no use.
    pub fn read(self) -> anyhow::Result<Option<Public>> {
        match (self.tls_cert, self.tls_key) {
            (None, None) => Ok(None),
            (Some(cert), Some(key)) => Public::read(cert, key).map(Some),
            _ => bail!("--tls-cert and --tls-key: both of them or none"),
        }
    }
}
