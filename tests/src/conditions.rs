//! What a process is started with besides its flags and its environment.

use std::{
    fs::File,
    io::PipeReader,
    path::Path,
    process::{Command, Stdio},
};

use crate::Stderr;

/// What the system gives a process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Conditions {
    /// What becomes of what it logs.
    pub stderr: Stderr,
    /// How many files it may have open, if not as many as the test.
    pub descriptors: Option<u32>,
}

impl Conditions {
    /// A command that runs `program` so, and the reader of its standard error if that stands still.
    /// What is kept goes to `log`.
    ///
    /// # Panics
    /// When the system has no pipe for it.
    pub fn command(self, program: &Path, log: File) -> (Command, Option<PipeReader>) {
        let limit = self.descriptors.map(|most| format!("ulimit -n {most} && "));
        let close = if self.stderr == Stderr::Closed { " 2>&-" } else { "" };
        // The shell becomes the program, under the same number.
        let script = format!("{}exec \"$0\" \"$@\"{close}", limit.unwrap_or_default());
        let mut command = Command::new("sh");
        command.args(["-c", &script]).arg(program);
        let (stderr, reader): (Stdio, _) = self.stderr.open(log);
        command.stderr(stderr);
        (command, reader)
    }
}
