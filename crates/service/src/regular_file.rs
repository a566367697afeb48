//! Reading a file that somebody named, whatever it turns out to be.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use rustix::fs::OFlags;

/// Reads a regular file of at most `limit` bytes, whatever size the file system says it has. Does not
/// wait for a writer, as opening a FIFO does, and does not follow a link in the last component of
/// `path`.
///
/// # Errors
/// `InvalidInput` when it is no regular file, `FileTooLarge` when it has more bytes, or when it cannot
/// be read.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    // Not opened at all if it is something else: opening a device can have an effect of its own.
    if !path.symlink_metadata()?.is_file() {
        return Err(not_regular());
    }
    // It may have been replaced since.
    let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path)?;
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(not_regular());
    }
    read_at_most(file, about.len(), limit)
}

fn read_at_most(file: File, size: u64, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(size.min(limit) as usize);
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    match bytes.len() as u64 <= limit {
        true => Ok(bytes),
        false => Err(io::ErrorKind::FileTooLarge.into()),
    }
}

fn not_regular() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink, process::Command};

    use super::*;

    #[test]
    fn read_of_a_regular_file_holds_its_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "12345").unwrap();
        assert_eq!(read(&path, 5).unwrap(), b"12345");
        assert_eq!(read(&path, 4).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        // Says that it is empty.
        let lies = Path::new("/proc/self/stat");
        assert_eq!(lies.metadata().unwrap().len(), 0);
        assert!(10 < read(lies, 100_000).unwrap().len());
        assert_eq!(read(lies, 10).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn read_of_anything_else_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let [fifo, link, socket] = ["fifo", "link", "socket"].map(|name| folder.path().join(name));
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        symlink(&fifo, &link).unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        for path in [&fifo, &link, &socket, folder.path(), Path::new("/dev/zero")] {
            assert_eq!(
                read(path, 100).unwrap_err().kind(),
                io::ErrorKind::InvalidInput,
                "{path:?}"
            );
        }
    }
}
