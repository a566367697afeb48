//! `config`: the settings of this program.

use serde::Serialize;
use service::settings::Sheet;

use super::Context;
use crate::{
    failure::Failure,
    output::{Page, View},
};

/// Shows settings.
#[derive(Debug, clap::Args)]
pub(crate) struct Config {}

#[derive(Debug, Serialize)]
struct Shown {
    /// As a settings file.
    toml: String,
}

impl Config {
    pub(crate) fn run(self, context: &Context, sheet: &Sheet) -> Result<u8, Failure> {
        context.output.show(&Shown { toml: sheet.to_toml(&[]) })
    }
}

impl View for Shown {
    fn show(&self, page: &mut Page) {
        page.line(self.toml.trim_end());
    }
}
