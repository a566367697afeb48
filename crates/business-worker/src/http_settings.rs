//! The settings of `--http-listen`.

use std::net::SocketAddr;

use anyhow::ensure;
use serde::Serialize;
use service::settings::{Address, Warning};

use crate::{App, Tables};

/// The flags of the push API. Flatten this into those of the process.
#[derive(Clone, Debug, clap::Args, Serialize)]
#[group(skip)]
#[command(next_help_heading = "Push API")]
pub(crate) struct HttpFlags {
    /// Address of the push API over HTTP, beside the app. It requires a key of [[api.key]] in the
    /// settings file. With --app pusher also of Pusher's HTTP API, which has its own keys
    #[arg(long, value_name = "ADDR")]
    pub(crate) http_listen: Option<Address>,

    /// Serve the push API without keys. Only on a loopback address
    #[arg(long)]
    pub(crate) http_insecure: bool,
}

/// Validated settings of the listener.
#[derive(Clone, Copy, Debug)]
pub struct Http {
    /// The address.
    pub addr: SocketAddr,
    /// Whether requests need no key while there are none: never if there was one at the start, so
    /// that a file without keys locks callers out.
    pub insecure: bool,
}

impl HttpFlags {
    /// Checks the flags; `None` if there is no listener.
    ///
    /// # Errors
    /// Names the flag.
    pub(crate) fn check(self, tables: &Tables, app: App) -> anyhow::Result<Option<Http>> {
        let Self { http_listen, http_insecure: insecure } = self;
        let Some(listen) = http_listen else {
            ensure!(!insecure, "--http-insecure: requires --http-listen");
            return Ok(None);
        };
        let addr = listen.resolve("--http-listen")?;
        let is_loopback = addr.ip().to_canonical().is_loopback();
        ensure!(
            !insecure || is_loopback,
            "--http-insecure: --http-listen {addr} is not a loopback address; anybody that \
             reaches it could push"
        );
        ensure!(
            insecure || !tables.api.is_empty() || matches!(app, App::Pusher),
            "--http-listen: the settings file has no [[api.key]]; add one, or set --http-insecure \
             on a loopback address"
        );
        Ok(Some(Http { addr, insecure: insecure && tables.api.is_empty() }))
    }
}

impl Http {
    /// Settings that are probably not intended.
    pub(crate) fn warnings(self) -> Vec<Warning> {
        if self.addr.ip().to_canonical().is_loopback() {
            return Vec::new();
        }
        let problem = "keys cross the network in the clear unless a proxy with TLS is in front";
        vec![Warning { flag: "--http-listen", problem: problem.to_owned() }]
    }
}
