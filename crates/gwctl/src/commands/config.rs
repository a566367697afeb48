//! `config`: the settings of this program, or those in effect at a gateway.

use std::net::SocketAddr;

use serde::Serialize;
use service::settings::Sheet;

use super::Context;
use crate::{
    failure::Failure,
    output::{Page, View},
    session::Session,
};

/// Shows settings.
#[derive(Debug, clap::Args)]
pub(crate) struct Config {
    /// Those of the gateway with this inner address, without secrets
    #[arg(long, value_name = "ADDR")]
    gateway: Option<SocketAddr>,
}

#[derive(Debug, Serialize)]
struct Shown {
    /// As a settings file.
    toml: String,
}

impl Config {
    pub(crate) async fn run(self, context: &Context, sheet: &Sheet) -> Result<u8, Failure> {
        let toml = match self.gateway {
            None => sheet.to_toml(&[]),
            Some(gateway) => {
                let session = Session::open(&context.settings).await?;
                session.cluster().gateway_settings(gateway).await?
            }
        };
        context.output.show(&Shown { toml })
    }
}

impl View for Shown {
    fn show(&self, page: &mut Page) {
        page.line(self.toml.trim_end());
    }
}
