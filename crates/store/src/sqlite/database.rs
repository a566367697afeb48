//! The file of a store: opened, created, checked, and marked while writes may not be on the disk.

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use protocol::Epoch;
use runtime::random;
use rusqlite::{
    Connection, OpenFlags, OptionalExtension as _, Transaction, TransactionBehavior, params,
};

use super::failure::Failure;

/// In the header of the file, so that no other file is taken for a store: `push` in ASCII.
const APPLICATION: i64 = 0x7075_7368;

/// The version of the tables.
const VERSION: i64 = 1;

/// How long a request waits for a lock that another process holds.
const PATIENCE: Duration = Duration::from_millis(500);

/// Pages of the write-ahead log before its content is moved to the file.
const CHECKPOINT: i64 = 1000;

/// The write-ahead log is cut to this size, in bytes, once its content was moved.
const MAX_IDLE_LOG: i64 = 16 << 20;

/// A connection to the file.
///
/// Writes reach the disk when the log is moved to the file: the end of a process loses nothing, but
/// that of its host may lose the last ones. So the file has a mark of the boot in which it was
/// written to. The mark is on the disk before the first write, and is taken away when all of them
/// are. If it is of another boot than this, all epochs are renewed.
#[derive(Debug)]
pub(super) struct Database {
    pub(super) connection: Connection,
    path: PathBuf,
    /// Device and number of the file.
    file: (u64, u64),
    boot: String,
}

/// The epochs of all streams, as of one transaction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Epochs {
    salt: u64,
    pub(super) unused: Epoch,
}

impl Epochs {
    /// The epoch of a stream, given the one in its row. Also the other way round.
    pub(super) const fn salted(self, epoch: Epoch) -> Epoch {
        Epoch::from_bits(epoch.to_bits() ^ self.salt)
    }
}

/// The row of the table `store`.
struct Mark {
    epochs: Epochs,
    dirty: Option<String>,
    inode: i64,
}

impl Database {
    /// Opens the file, and creates it if there is none. `max_pages` is the most that it may have.
    pub(super) fn open(path: &Path, max_pages: Option<u32>) -> Result<Self, Failure> {
        create_file(path).map_err(Failure::File)?;
        let file = fs::metadata(path).map_err(Failure::File)?;
        if !file.is_file() {
            return Err(Failure::File(io::Error::other("it is not a file")));
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(PATIENCE)?;
        connection.set_prepared_statement_cache_capacity(64);
        let file = (file.dev(), file.ino());
        let database = Self { connection, path: path.to_owned(), file, boot: boot() };
        database.prepare_patiently(max_pages)?;
        if !database.is_marked(&mark(&database.connection)?) {
            drop(database.begin()?);
        }
        Ok(database)
    }

    /// While another process creates the file, `SQLite` reports some locks without waiting.
    fn prepare_patiently(&self, max_pages: Option<u32>) -> Result<(), Failure> {
        for _ in 0..100 {
            match self.prepare(max_pages) {
                Err(failure) if failure.is_of_lock() => thread::park_timeout(PATIENCE / 50),
                outcome => return outcome,
            }
        }
        self.prepare(max_pages)
    }

    fn prepare(&self, max_pages: Option<u32>) -> Result<(), Failure> {
        let connection = &self.connection;
        let number = |pragma| connection.query_row(pragma, [], |row| row.get::<_, i64>(0));
        self.check(number("PRAGMA application_id")?, number("PRAGMA user_version")?)?;
        // Only a file without tables takes it.
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
        let mode: String =
            connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
        if mode != "wal" {
            let cause = "its file system does not support a write-ahead log";
            return Err(Failure::File(io::Error::other(cause)));
        }
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update_and_check(None, "wal_autocheckpoint", CHECKPOINT, |_| Ok(()))?;
        connection.pragma_update_and_check(None, "journal_size_limit", MAX_IDLE_LOG, |_| Ok(()))?;
        if let Some(pages) = max_pages {
            connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
        }
        self.create()
    }

    fn check(&self, application: i64, version: i64) -> Result<(), Failure> {
        let tables = "SELECT count(*) FROM sqlite_schema";
        let is_new = application == 0
            && version == 0
            && self.connection.query_row(tables, [], |row| row.get::<_, i64>(0))? == 0;
        if is_new || (application, version) == (APPLICATION, VERSION) {
            return Ok(());
        }
        let cause = match application {
            APPLICATION => format!(
                "its version is {version}, and this release reads version {VERSION}: upgrade, or \
                 name another file"
            ),
            _ => "it is a database of another program: name another file".to_owned(),
        };
        Err(Failure::Incompatible(cause))
    }

    /// Creates the tables in a new file. Several processes may do so at the same time.
    fn create(&self) -> Result<(), Failure> {
        let is_created = || -> Result<bool, Failure> {
            let sql = "PRAGMA user_version";
            Ok(0 < self.connection.query_row(sql, [], |row| row.get::<_, i64>(0))?)
        };
        // A file that is there needs no lock.
        if is_created()? {
            return Ok(());
        }
        let transaction = self.immediate()?;
        if is_created()? {
            return Ok(());
        }
        transaction.execute_batch(include_str!("schema.sql"))?;
        transaction.execute(
            "INSERT INTO store (id, salt, unused, dirty, inode) VALUES (0, ?1, ?2, NULL, ?3)",
            params![random_bits(), random_bits(), self.inode()],
        )?;
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
        Ok(transaction.commit()?)
    }

    const fn inode(&self) -> i64 {
        self.file.1.cast_signed()
    }

    /// Whether the path still names the file that is open.
    pub(super) fn is_current(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|file| (file.dev(), file.ino()) == self.file)
    }

    fn immediate(&self) -> Result<Transaction<'_>, Failure> {
        Ok(Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?)
    }

    /// Begins a transaction that writes. The file is marked before.
    pub(super) fn begin(&self) -> Result<(Transaction<'_>, Epochs), Failure> {
        // Another process may take the mark away before the transaction begins.
        for _ in 0..10 {
            let transaction = self.immediate()?;
            let mark = mark(&transaction)?;
            if self.is_marked(&mark) {
                return Ok((transaction, mark.epochs));
            }
            transaction.rollback()?;
            self.synchronously(|| self.mark())?;
        }
        Err(Failure::Damaged("its mark does not stay".to_owned()))
    }

    fn is_marked(&self, mark: &Mark) -> bool {
        mark.dirty.as_ref() == Some(&self.boot) && mark.inode == self.inode()
    }

    /// Begins a transaction that reads.
    pub(super) fn snapshot(&self) -> Result<(Transaction<'_>, Epochs), Failure> {
        let behavior = TransactionBehavior::Deferred;
        let transaction = Transaction::new_unchecked(&self.connection, behavior)?;
        let epochs = mark(&transaction)?.epochs;
        Ok((transaction, epochs))
    }

    /// Marks the file as written to in this boot. Renews all epochs if the last writes of another
    /// boot may be lost, or if it is a copy, which may be older than the original.
    fn mark(&self) -> Result<(), Failure> {
        let transaction = self.immediate()?;
        let mark = mark(&transaction)?;
        let is_lost = mark.dirty.is_some_and(|boot| boot != self.boot);
        if is_lost || mark.inode != self.inode() {
            tracing::warn!(
                file = %self.path.display(),
                "the last messages may be lost: all streams get new epochs"
            );
            transaction.execute(
                "UPDATE store SET salt = ?1, unused = ?2",
                params![random_bits(), random_bits()],
            )?;
        }
        transaction
            .execute("UPDATE store SET dirty = ?1, inode = ?2", params![self.boot, self.inode()])?;
        Ok(transaction.commit()?)
    }

    /// Has everything that was written on the disk, and takes the mark away.
    pub(super) fn settle(&self) -> Result<(), Failure> {
        self.synchronously(|| {
            let transaction = self.immediate()?;
            let mine = params![self.boot];
            transaction.execute("UPDATE store SET dirty = NULL WHERE dirty = ?1", mine)?;
            Ok(transaction.commit()?)
        })
    }

    /// The transaction, and everything before it, is on the disk afterwards.
    fn synchronously(&self, write: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
        self.connection.pragma_update(None, "synchronous", "FULL")?;
        let outcome = write();
        self.connection.pragma_update(None, "synchronous", "NORMAL")?;
        outcome
    }
}

fn mark(connection: &Connection) -> Result<Mark, Failure> {
    let mut statement =
        connection.prepare_cached("SELECT salt, unused, dirty, inode FROM store")?;
    let row = statement.query_row([], |row| {
        let salt = row.get::<_, i64>(0)?.cast_unsigned();
        let unused = Epoch::from_bits(row.get::<_, i64>(1)?.cast_unsigned());
        let epochs = Epochs { salt, unused };
        Ok(Mark { epochs, dirty: row.get(2)?, inode: row.get(3)? })
    });
    row.optional()?.ok_or_else(|| Failure::Damaged("its table `store` is empty".to_owned()))
}

/// Creates the file for its owner alone; `SQLite` would let everybody read it. A file that exists is
/// not opened: closing it again would end the locks that this process holds on it.
fn create_file(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Any number, as `SQLite` stores it.
pub(super) fn random_bits() -> i64 {
    random::random::<u64>().cast_signed()
}

/// Identifies the time since the host was started. Where that cannot be had, each process counts as
/// another boot, so that epochs are renewed too often rather than too seldom.
fn boot() -> String {
    match fs::read_to_string("/proc/sys/kernel/random/boot_id") {
        Ok(boot) if !boot.trim().is_empty() => boot.trim().to_owned(),
        _ => format!("{:016x}", random::random::<u64>()),
    }
}
