//! The journals of workers: one file of event records per process, written without buffering, so
//! that they survive the process.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    process,
    time::{SystemTime, UNIX_EPOCH},
};

use test_support::record::{LENGTH, Record};

/// The journal of this process.
#[derive(Debug)]
pub struct Journal(File);

/// The time by the system clock, in nanoseconds since the Unix epoch.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

impl Journal {
    /// Creates a journal in `folder`.
    ///
    /// # Errors
    /// When the file cannot be created.
    pub fn create(folder: &Path) -> io::Result<Self> {
        let path = folder.join(format!("{}-{}.journal", now(), process::id()));
        OpenOptions::new().create_new(true).append(true).open(path).map(Self)
    }

    /// Appends a record. It is in the kernel when this returns, so a kill of the process loses
    /// nothing.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn append(&self, record: &Record) -> io::Result<()> {
        // One call in append mode, so that records of several threads do not interleave.
        (&self.0).write_all(&record.encode())
    }
}

/// The journals of all processes of a run, read as they grow.
#[derive(Debug)]
pub struct Journals {
    folder: PathBuf,
    /// The number of each file, in the order found, and the offset read so far.
    files: BTreeMap<PathBuf, (usize, u64)>,
    records: Vec<(usize, Record)>,
    /// Malformed or incomplete records.
    pub torn: usize,
}

impl Journals {
    /// The journals in a folder.
    pub fn of(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), files: BTreeMap::new(), records: Vec::new(), torn: 0 }
    }

    /// Reads new records. Returns all records so far, each with the number of its process.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn read(&mut self) -> io::Result<&[(usize, Record)]> {
        for entry in fs::read_dir(&self.folder)? {
            let next = self.files.len();
            self.files.entry(entry?.path()).or_insert((next, 0));
        }
        for (path, (process, read)) in &mut self.files {
            let mut file = File::open(path)?;
            file.seek(SeekFrom::Start(*read))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            let (whole, _) = bytes.as_chunks::<LENGTH>();
            *read += (whole.len() * LENGTH) as u64;
            for record in whole {
                match Record::decode(record) {
                    Some(record) => self.records.push((*process, record)),
                    None => self.torn += 1,
                }
            }
        }
        Ok(&self.records)
    }

    /// Reads to the end. A remainder shorter than a record counts as torn.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn finish(mut self) -> io::Result<(Vec<(usize, Record)>, usize)> {
        self.read()?;
        for (path, (_, read)) in &self.files {
            self.torn += usize::from(fs::metadata(path)?.len() != *read);
        }
        Ok((self.records, self.torn))
    }
}

#[cfg(test)]
mod tests {
    use test_support::record::{Client, RecordedEvent};

    use super::*;

    #[test]
    fn written_records_are_read_and_truncated_ones_counted() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::create(folder.path()).unwrap();
        let client = Client { gateway: 1, connection: 2 };
        let event = RecordedEvent::Connect;
        let record = |number| Record { at: 0, client, number, marked: false, event };
        journal.append(&record(1)).unwrap();
        let mut journals = Journals::of(folder.path());
        assert_eq!(journals.read().unwrap().len(), 1);
        journal.append(&record(2)).unwrap();
        assert_eq!(journals.read().unwrap()[1].1, record(2));
        (&journal.0).write_all(&record(3).encode()[1..]).unwrap();
        let (records, torn) = journals.finish().unwrap();
        assert_eq!((records.len(), torn), (2, 1));
    }
}
