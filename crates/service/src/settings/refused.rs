//! Errors of settings, each with the place that it came from.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

/// The exit code for invalid settings.
pub const BAD_SETTINGS: u8 = 2;

/// Invalid settings; or a request for `--help` or `--version`.
///
/// No message contains a line of the file, which may be the secret.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The command line is invalid, or requests help.
    #[error("{0}")]
    Flags(clap::Error),
    /// A value from the environment or the file is invalid.
    #[error("{origin}: {}", first_line(error))]
    Value {
        /// The variable, or the key and its file.
        origin: String,
        /// The error of the flag's parser.
        error: clap::Error,
    },
    /// A value has the wrong shape, such as a list for a single value.
    #[error("{origin}: {problem}")]
    Shape {
        /// The variable, or the key and its file.
        origin: String,
        /// The error.
        problem: &'static str,
    },
    /// The file cannot be read.
    #[error("--config {file}: {error}")]
    Unreadable {
        /// The file.
        file: String,
        /// The error of the system.
        error: io::Error,
    },
    /// The file is not valid TOML.
    #[error("--config {file}, line {line}: {problem}")]
    Syntax {
        /// The file.
        file: String,
        /// Counted from 1.
        line: usize,
        /// The error of the TOML parser.
        problem: String,
    },
    /// The file has an unknown key.
    #[error("--config {file}: unknown key `{key}`; {hint}")]
    UnknownKey {
        /// The file.
        file: String,
        /// The key.
        key: String,
        /// The key that was probably meant, or all known keys.
        hint: String,
    },
    /// An entry of an array of tables is invalid.
    #[error("--config {file}: [[{table}]] number {number}: {problem}")]
    Entry {
        /// The file.
        file: String,
        /// The table.
        table: &'static str,
        /// Counted from 1.
        number: usize,
        /// The key and its problem.
        problem: String,
    },
    /// A key of the name of an array of tables is something else.
    #[error("--config {file}: `{table}` must be an array of tables: begin each with [[{table}]]")]
    NoArray {
        /// The file.
        file: String,
        /// The table.
        table: &'static str,
    },
}

impl Refused {
    /// Prints this to standard error, or to standard output for help, and returns the exit code: 2,
    /// or 0 for help.
    #[must_use]
    pub fn report(&self) -> ExitCode {
        // A failure to print does not change the exit code.
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
