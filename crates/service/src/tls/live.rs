//! What is read from files, and can be read again while it is in use.

use std::{
    fmt::Debug,
    sync::{PoisonError, RwLock},
};

/// Files, and what is made of them.
pub(super) trait Source: Debug + Send + Sync {
    /// What is made of them.
    type Made: Clone + Debug + Send + Sync;

    /// What they are, for the log.
    const WHAT: &'static str;

    /// Reads them.
    fn read(&self) -> anyhow::Result<Self::Made>;
}

/// What was made of files when they were last read with success.
#[derive(Debug)]
pub(super) struct Live<S: Source> {
    source: S,
    made: RwLock<S::Made>,
}

impl<S: Source> Live<S> {
    pub(super) fn read(source: S) -> anyhow::Result<Self> {
        let made = RwLock::new(source.read()?);
        Ok(Self { source, made })
    }

    pub(super) fn get(&self) -> S::Made {
        // It is replaced in one step, so a panic elsewhere leaves nothing half done.
        self.made.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Files that can be read again.
pub trait Reread: Debug + Send + Sync {
    /// What they are, for the log.
    fn what(&self) -> &'static str;

    /// Reads them again. Connections that are made from here on go by them.
    ///
    /// # Errors
    /// When they are of no use; then nothing changes.
    fn reread(&self) -> anyhow::Result<()>;
}

impl<S: Source> Reread for Live<S> {
    fn what(&self) -> &'static str {
        S::WHAT
    }

    fn reread(&self) -> anyhow::Result<()> {
        let made = self.source.read()?;
        *self.made.write().unwrap_or_else(PoisonError::into_inner) = made;
        Ok(())
    }
}
