//! What a process's standard error may be, besides a file.

use std::{
    fs::{File, OpenOptions},
    io::{self, PipeReader, Write as _},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::Path,
    process::{Command, Stdio},
};

/// What becomes of what a process logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stderr {
    /// It is kept, and can be looked at.
    #[default]
    Kept,
    /// The descriptor is closed.
    Closed,
    /// It is a pipe whose reader has gone away.
    Gone,
    /// It is a pipe that is full, and whose reader stands still until it is read from.
    Full,
    /// It is a file on a disk that is full.
    FullDisk,
}

impl Stderr {
    /// All that lose lines.
    pub const LOSSES: [Self; 4] = [Self::Closed, Self::Gone, Self::Full, Self::FullDisk];

    /// A command whose standard error is this, and the reader if it has one that stands still. What is
    /// kept goes to `log`.
    ///
    /// # Panics
    /// When the system has no pipe for it.
    pub fn command(self, program: &Path, log: File) -> (Command, Option<PipeReader>) {
        let mut command = Command::new(program);
        let mut reader = None;
        let stderr: Stdio = match self {
            Self::Kept => log.into(),
            Self::Closed => {
                command = Command::new("sh");
                command.args(["-c", "exec \"$0\" \"$@\" 2>&-"]).arg(program);
                Stdio::inherit()
            }
            Self::Gone => io::pipe().unwrap().1.into(),
            Self::Full => {
                let pipe = full_pipe();
                reader = Some(pipe.0);
                pipe.1.into()
            }
            Self::FullDisk => OpenOptions::new().write(true).open("/dev/full").unwrap().into(),
        };
        command.stderr(stderr);
        (command, reader)
    }
}

/// A pipe that takes nothing more until it is read from.
fn full_pipe() -> (PipeReader, OwnedFd) {
    let (reader, writer) = io::pipe().unwrap();
    let mut filler = File::from(OwnedFd::from(writer.try_clone().unwrap()));
    // The one kind of descriptor that the standard library can set so. Both share it.
    let switch = UnixStream::from(OwnedFd::from(writer.try_clone().unwrap()));
    switch.set_nonblocking(true).unwrap();
    while filler.write_all(b"\n").is_ok() {}
    switch.set_nonblocking(false).unwrap();
    (reader, writer.into())
}
