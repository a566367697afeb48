//! The file that a thread works on: opened when it is needed, and again after a failure or when the
//! path names another file.

use std::{path::PathBuf, sync::Arc};

use super::{database::Database, failure::Failure};
use crate::StoreError;

/// The file, and the connection to it if there is one.
#[derive(Debug)]
pub(super) struct File {
    pub(super) name: Arc<str>,
    path: PathBuf,
    max_pages: Option<u32>,
    database: Option<Database>,
}

impl File {
    pub(super) const fn new(name: Arc<str>, path: PathBuf, max_pages: Option<u32>) -> Self {
        Self { name, path, max_pages, database: None }
    }

    /// Works on the file.
    ///
    /// # Errors
    /// When it cannot be opened, or the work fails. The next work opens it again if that may help.
    pub(super) fn with<T>(
        &mut self,
        work: impl FnOnce(&Database) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        if self.database.as_ref().is_some_and(|database| !database.is_current()) {
            tracing::warn!(file = &*self.name, "the file was replaced or removed");
            self.database = None;
        }
        let database = match self.database.take() {
            Some(database) => database,
            None => Database::open(&self.path, self.max_pages)
                .map_err(|failure| failure.error(&self.name))?,
        };
        let outcome = work(&database);
        let is_lost = outcome.as_ref().is_err_and(Failure::is_of_connection);
        self.database = (!is_lost).then_some(database);
        outcome.map_err(|failure| failure.error(&self.name))
    }

    /// Works on the file if it is open.
    pub(super) fn if_open<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, Failure>,
    ) -> Option<Result<T, StoreError>> {
        let outcome = work(self.database.as_ref()?);
        Some(outcome.map_err(|failure| failure.error(&self.name)))
    }
}
