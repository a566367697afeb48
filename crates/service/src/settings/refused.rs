//! Why settings were not taken, said so that one finds the place.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use crate::process::BAD_SETTINGS;

/// Settings that make no sense; or the user only wanted `--help` or `--version`.
///
/// No message shows a line of the file: it might hold the secret.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The command line is wrong, or asked for help.
    #[error("{0}")]
    Flags(clap::Error),
    /// A value of the environment or the file is wrong.
    #[error("{origin}: {}", first_line(error))]
    Value {
        /// The variable, or the key and its file.
        origin: String,
        /// What the flag's own parser said.
        error: clap::Error,
    },
    /// A value has the wrong shape: a list for one value, say.
    #[error("{origin}: {problem}")]
    Shape {
        /// The variable, or the key and its file.
        origin: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The file cannot be read.
    #[error("--config {file}: {error}")]
    Unreadable {
        /// The file.
        file: String,
        /// What the system said.
        error: io::Error,
    },
    /// The file is no TOML.
    #[error("--config {file}, line {line}: {problem}")]
    Syntax {
        /// The file.
        file: String,
        /// Counted from 1.
        line: usize,
        /// What the TOML parser said.
        problem: String,
    },
    /// The file has a key that is no setting.
    #[error("--config {file}: unknown key `{key}`; {hint}")]
    UnknownKey {
        /// The file.
        file: String,
        /// The key.
        key: String,
        /// The key that was meant, or all there are.
        hint: String,
    },
}

impl Refused {
    /// Prints this where it belongs and gives the exit code: 2, or 0 for help.
    #[must_use]
    pub fn report(&self) -> ExitCode {
        // Whether the terminal still listens makes no difference to the exit code.
        match self {
            Self::Flags(error) => {
                let _ = error.print();
                u8::try_from(error.exit_code()).unwrap_or(BAD_SETTINGS).into()
            }
            other => {
                let _ = writeln!(io::stderr(), "error: {other}");
                BAD_SETTINGS.into()
            }
        }
    }
}

fn first_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}
