//! `completions`: those of a shell.

use clap_complete::{Shell, generate};

use super::Context;
use crate::failure::Failure;

/// Writes completions. For bash:
/// `gwctl completions bash > /usr/share/bash-completion/completions/gwctl`
#[derive(Debug, clap::Args)]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self, context: &Context) -> Result<u8, Failure> {
        let mut script = Vec::new();
        generate(self.shell, &mut crate::command(), "gwctl", &mut script);
        context.output.write(&String::from_utf8_lossy(&script))?;
        Ok(0)
    }
}
