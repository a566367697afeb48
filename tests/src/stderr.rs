//! What a process's standard error may be, besides a file.

use std::{
    fs::{File, OpenOptions},
    io::{self, PipeReader, Write as _},
    os::{fd::OwnedFd, unix::net::UnixStream},
    process::Stdio,
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

    /// What a process is given for it, and the reader if it has one that stands still. What is kept
    /// goes to `log`; a closed one is inherited, and to be closed.
    ///
    /// # Panics
    /// When the system has no pipe for it.
    pub fn open(self, log: File) -> (Stdio, Option<PipeReader>) {
        match self {
            Self::Kept => (log.into(), None),
            Self::Closed => (Stdio::inherit(), None),
            Self::Gone => (io::pipe().unwrap().1.into(), None),
            Self::Full => {
                let (reader, writer) = full_pipe();
                (writer.into(), Some(reader))
            }
            Self::FullDisk => {
                (OpenOptions::new().write(true).open("/dev/full").unwrap().into(), None)
            }
        }
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
