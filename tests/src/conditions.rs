//! Operating system conditions that a process is started under: standard error and limits.

use std::{
    fs::File,
    io::PipeReader,
    path::Path,
    process::{Command, Stdio},
};

use crate::Stderr;

/// Standard error and limits of a process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Conditions {
    /// Where its log goes.
    pub stderr: Stderr,
    /// Limit of open files; inherited from the test if `None`.
    pub descriptors: Option<u32>,
}

impl Conditions {
    /// A command that runs `program` under these conditions, and the read end of its standard error
    /// if that is a full pipe. A log that is kept goes to `log`.
    ///
    /// # Panics
    /// If no pipe can be created.
    pub fn command(self, program: &Path, log: File) -> (Command, Option<PipeReader>) {
        let limit = self.descriptors.map(|most| format!("ulimit -n {most} && "));
        let close = if self.stderr == Stderr::Closed { " 2>&-" } else { "" };
        // `exec`, so that the program keeps the pid of the shell.
        let script = format!("{}exec \"$0\" \"$@\"{close}", limit.unwrap_or_default());
        let mut command = Command::new("sh");
        command.args(["-c", &script]).arg(program);
        let (stderr, reader): (Stdio, _) = self.stderr.open(log);
        command.stderr(stderr);
        (command, reader)
    }
}
