//! The dashboard: a page that shows the cluster, served by `gwctl` itself while the command runs.
//!
//! `files` are the page, from `web/dashboard`; `sampler` asks the cluster every two seconds and keeps
//! an hour of `samples`; `routes` are the requests of the page, each with the token.

mod client;
mod files;
mod gone;
mod routes;
mod sampler;
mod samples;
mod token;

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use runtime::{listen, supervise};
use service::bounded::Bounded;

use self::{routes::Shared, token::Token};
use crate::{commands::Context, failure::Failure, session::Session};

/// Most connections of browsers at a time; further ones wait.
const CONNECTIONS: usize = 32;

/// The longest life of a connection; a browser connects again.
const LIFETIME: Duration = Duration::from_secs(300);

/// Serves a page that shows the cluster.
#[derive(Debug, clap::Args)]
pub(crate) struct Dashboard {
    /// Address to serve the page on. Its requests need the token; there is no TLS, so from another
    /// host use a tunnel (ssh -L)
    #[arg(long, value_name = "ADDR", default_value_t = default_address())]
    listen: SocketAddr,

    /// Refuse to close clients
    #[arg(long)]
    read_only: bool,
}

/// Loopback: the page is for the operator of this terminal.
fn default_address() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 7270).into()
}

impl Dashboard {
    pub(crate) async fn run(self, context: &Context) -> Result<u8, Failure> {
        let acceptor = listen::bind(self.listen, "--listen")
            .map_err(|error| Failure::new(error.to_string()).next("name another with --listen"))?;
        let session = Session::start(&context.settings, &context.settings.registers)?;
        let token = Token::random();
        let address = acceptor.addr();
        let shared =
            Shared::new(session, context.settings.registers.len(), token.clone(), self.read_only);
        context.output.write(&format!(
            "dashboard: http://{address}/#token={}\nCtrl-C ends it.\n",
            token.expose()
        ))?;
        let sampler = supervise::spawn(sampler::run(shared.clone()));
        let served =
            axum::serve(Bounded::new(acceptor, CONNECTIONS, LIFETIME), routes::router(shared))
                .await;
        drop(sampler);
        served.map(|()| 0).map_err(|error| Failure::new(format!("the page is not served: {error}")))
    }
}
