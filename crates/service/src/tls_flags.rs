//! The flags of TLS.

use std::path::PathBuf;

use anyhow::bail;
use runtime::tls::{InnerAcceptor, MutualTls, Plain, ServerTls};
use serde::Serialize;

/// The TLS flags of every process with inner connections. Flatten this into the binary's own.
#[derive(Clone, Debug, Default, clap::Args, Serialize)]
#[group(skip)]
#[command(next_help_heading = "TLS")]
pub struct InnerFiles {
    /// Certificate for mutual TLS between processes of the cluster (PEM, with intermediates);
    /// reloaded on SIGHUP
    #[arg(long, value_name = "FILE")]
    pub inner_tls_cert: Option<PathBuf>,

    /// Private key of --inner-tls-cert (PEM); reloaded on SIGHUP
    #[arg(long, value_name = "FILE")]
    pub inner_tls_key: Option<PathBuf>,

    /// CA certificates; the certificate of every process must be signed by one of them (PEM);
    /// reloaded on SIGHUP
    #[arg(long, value_name = "FILE")]
    pub inner_tls_ca: Option<PathBuf>,
}

impl InnerFiles {
    /// Reads the files; `None` if no flag is set.
    ///
    /// # Errors
    /// Names the missing flag or the invalid file.
    pub fn read(self) -> anyhow::Result<Option<MutualTls>> {
        match (self.inner_tls_cert, self.inner_tls_key, self.inner_tls_ca) {
            (None, None, None) => Ok(None),
            (Some(cert), Some(key), Some(ca)) => MutualTls::read(cert, key, ca).map(Some),
            _ => bail!(
                "--inner-tls-cert, --inner-tls-key and --inner-tls-ca: set all of them or none"
            ),
        }
    }

    /// Reads the files, for a port that accepts peers.
    ///
    /// # Errors
    /// As [`read`](Self::read), and when `plain` is set without TLS.
    pub fn gate(self, plain: Option<Plain>) -> anyhow::Result<InnerAcceptor> {
        match (self.read()?, plain) {
            (None, Some(_)) => bail!("--inner-tls-plain: requires --inner-tls-cert"),
            (None, None) => Ok(InnerAcceptor::default()),
            (Some(inner), plain) => Ok(InnerAcceptor::new(inner, plain.unwrap_or_default())),
        }
    }
}

/// The flags of a process that serves clients over TLS. Flatten this into the binary's own.
#[derive(Clone, Debug, Default, clap::Args, Serialize)]
#[command(next_help_heading = "TLS")]
pub struct PublicFiles {
    /// Server certificate for wss:// and other client listeners with TLS (PEM, with intermediates);
    /// reloaded on SIGHUP
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,

    /// Private key of --tls-cert (PEM); reloaded on SIGHUP
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
}

impl PublicFiles {
    /// Reads the files; `None` if no flag is set.
    ///
    /// # Errors
    /// Names the missing flag or the invalid file.
    pub fn read(self) -> anyhow::Result<Option<ServerTls>> {
        match (self.tls_cert, self.tls_key) {
            (None, None) => Ok(None),
            (Some(cert), Some(key)) => ServerTls::read(cert, key).map(Some),
            _ => bail!("--tls-cert and --tls-key: set both or none"),
        }
    }
}
