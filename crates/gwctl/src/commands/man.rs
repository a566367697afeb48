//! `man`: manual pages.

use std::path::PathBuf;

use crate::failure::Failure;

/// Writes manual pages: one of the program, and one of each command.
#[derive(Debug, clap::Args)]
pub(crate) struct Man {
    /// An existing folder, such as /usr/share/man/man1
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

impl Man {
    pub(crate) fn run(self) -> Result<u8, Failure> {
        let written = clap_mangen::generate_to(crate::command(), &self.folder);
        let folder = self.folder.display();
        written.map_err(|error| {
            Failure::new(format!("{folder}: {error}")).next("name a folder that can be written")
        })?;
        Ok(0)
    }
}
