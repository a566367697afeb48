//! Variants of a process's standard error: a file, or one that loses or blocks log lines.

use std::{
    fs::{File, OpenOptions},
    io::{self, PipeReader, Write as _},
    os::{fd::OwnedFd, unix::net::UnixStream},
    process::Stdio,
};

/// Where the log of a process goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stderr {
    /// To a file that the test can read.
    #[default]
    Kept,
    /// Nowhere: the descriptor is closed.
    Closed,
    /// To a pipe whose read end is closed.
    ReaderClosed,
    /// To a full pipe that is not read until [`Process::read_log`](crate::Process::read_log).
    FullPipe,
    /// To a file on a full disk.
    FullDisk,
}

impl Stderr {
    /// All variants that lose lines.
    pub const LOSSES: [Self; 4] =
        [Self::Closed, Self::ReaderClosed, Self::FullPipe, Self::FullDisk];

    /// Standard error for a process, and the read end if it is a full pipe. [`Self::Kept`] goes to
    /// `log`; [`Self::Closed`] is inherited, and the caller must close it.
    ///
    /// # Panics
    /// If no pipe can be created.
    pub fn open(self, log: File) -> (Stdio, Option<PipeReader>) {
        match self {
            Self::Kept => (log.into(), None),
            Self::Closed => (Stdio::inherit(), None),
            Self::ReaderClosed => (io::pipe().unwrap().1.into(), None),
            Self::FullPipe => {
                let (reader, writer) = full_pipe();
                (writer.into(), Some(reader))
            }
            Self::FullDisk => {
                (OpenOptions::new().write(true).open("/dev/full").unwrap().into(), None)
            }
        }
    }
}

/// A pipe that accepts no more bytes until it is read.
fn full_pipe() -> (PipeReader, OwnedFd) {
    let (reader, writer) = io::pipe().unwrap();
    let mut filler = File::from(OwnedFd::from(writer.try_clone().unwrap()));
    // The only type of the standard library with `set_nonblocking` for any descriptor; the flag is
    // shared by all duplicates.
    let switch = UnixStream::from(OwnedFd::from(writer.try_clone().unwrap()));
    switch.set_nonblocking(true).unwrap();
    while filler.write_all(b"\n").is_ok() {}
    switch.set_nonblocking(false).unwrap();
    (reader, writer.into())
}
