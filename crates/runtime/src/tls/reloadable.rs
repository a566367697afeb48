//! Values read from files that can be reloaded while in use.

use std::fmt::Debug;

use crate::sync::Mutex;

/// Files, and the value made of them.
pub(super) trait Source: Debug + Send + Sync {
    /// The value.
    type Made: Clone + Debug + Send + Sync;

    /// The description of the files in the log.
    const WHAT: &'static str;

    /// Reads the files.
    fn read(&self) -> anyhow::Result<Self::Made>;
}

/// The value of the last successful read of the files.
#[derive(Debug)]
pub(super) struct Reloadable<S: Source> {
    source: S,
    made: Mutex<S::Made>,
}

impl<S: Source> Reloadable<S> {
    pub(super) fn read(source: S) -> anyhow::Result<Self> {
        let made = Mutex::new(source.read()?);
        Ok(Self { source, made })
    }

    pub(super) fn get(&self) -> S::Made {
        self.made.lock().clone()
    }
}

/// Files that can be reloaded.
pub trait Reload: Debug + Send + Sync {
    /// The description of the files in the log.
    fn what(&self) -> &'static str;

    /// Whether a new version applies to existing connections as well, for the log.
    fn applies_at_once(&self) -> bool {
        false
    }

    /// Reloads the files.
    ///
    /// # Errors
    /// When the files are invalid; the previous value then stays in use.
    fn reread(&self) -> anyhow::Result<()>;
}

impl<S: Source> Reload for Reloadable<S> {
    fn what(&self) -> &'static str {
        S::WHAT
    }

    fn reread(&self) -> anyhow::Result<()> {
        let made = self.source.read()?;
        *self.made.lock() = made;
        Ok(())
    }
}
