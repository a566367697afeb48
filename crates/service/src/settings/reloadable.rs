//! The tables of the settings file, which SIGHUP reads again while they are in use.

use std::{fmt, path::PathBuf, sync::Arc};

use runtime::{sync::Mutex, tls::Reload};
use tokio::sync::watch;

use super::{
    layers,
    refused::Refused,
    tables::{ShownEntry, TableFile, Tables},
};

/// The tables of the settings file in effect. Clones show the same tables.
///
/// SIGHUP reads the whole file again: if all of its tables are valid, and meet what is
/// [required](Self::require), they replace the previous ones in one step; otherwise nothing changes,
/// and the error is logged.
pub struct Reloadable<T> {
    file: Option<PathBuf>,
    current: Arc<watch::Sender<Arc<T>>>,
    required: Arc<Mutex<Vec<Requirement<T>>>>,
}

/// A check of tables that are valid in themselves, which the other settings of the process require.
type Requirement<T> = Box<dyn Fn(&T) -> anyhow::Result<()> + Send + Sync>;

impl<T: Tables> Reloadable<T> {
    /// Reads the tables of a file; those of no file are empty.
    pub(super) fn read(file: Option<PathBuf>) -> Result<(Self, Vec<ShownEntry>), Refused> {
        let (tables, shown) = read(file.as_ref())?;
        let current = Arc::new(watch::Sender::new(Arc::new(tables)));
        Ok((Self { file, current, required: Arc::default() }, shown))
    }

    /// Checks the tables in effect, and from now on those of each SIGHUP: the ones that fail do not
    /// come into effect. Applies to all clones.
    ///
    /// # Errors
    /// That of `check` for the tables in effect.
    pub fn require(
        &self,
        check: impl Fn(&T) -> anyhow::Result<()> + Send + Sync + 'static,
    ) -> anyhow::Result<()> {
        check(&self.get())?;
        self.required.lock().push(Box::new(check));
        Ok(())
    }

    /// The tables in effect.
    #[must_use]
    pub fn get(&self) -> Arc<T> {
        Arc::clone(&self.current.borrow())
    }

    /// A part of the tables, for the crate that it concerns.
    #[must_use]
    pub fn part<P>(&self, part: impl Fn(&T) -> Arc<P> + Send + Sync + 'static) -> Current<P> {
        let tables = self.current.subscribe();
        // The sender lives as long as its parts, so that waiting for a change never fails.
        let source = Arc::clone(&self.current);
        let (get, wait) = (Arc::new(move || part(&source.borrow())), Changes::new(tables));
        Current { get, wait }
    }

    /// For SIGHUP; `None` if there is no file, or the binary knows no tables.
    #[must_use]
    pub fn files(&self) -> Option<Arc<dyn Reload>> {
        let has_tables = self.file.is_some() && !T::KNOWN.is_empty();
        has_tables.then(|| Arc::new(self.clone()) as Arc<dyn Reload>)
    }
}

fn read<T: Tables>(file: Option<&PathBuf>) -> Result<(T, Vec<ShownEntry>), Refused> {
    let mut tables = match file {
        None => TableFile::none(),
        Some(path) => {
            TableFile::take(path.display().to_string(), &mut layers::read(path)?, T::KNOWN)?
        }
    };
    let read = T::read(&mut tables)?;
    Ok((read, tables.into_shown()))
}

impl<T: Tables> Reload for Reloadable<T> {
    fn what(&self) -> &'static str {
        "tables of the settings file"
    }

    fn reread(&self) -> anyhow::Result<()> {
        let (tables, _) = read(self.file.as_ref())?;
        self.required.lock().iter().try_for_each(|check| check(&tables))?;
        self.current.send_replace(Arc::new(tables));
        Ok(())
    }
}

impl<T> Clone for Reloadable<T> {
    fn clone(&self) -> Self {
        let (current, required) = (Arc::clone(&self.current), Arc::clone(&self.required));
        Self { file: self.file.clone(), current, required }
    }
}

impl<T: fmt::Debug> fmt::Debug for Reloadable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloadable")
            .field("current", &self.current.borrow())
            .finish_non_exhaustive()
    }
}

/// A value that may be replaced while it is in use: a part of the tables of the settings file. Clones
/// show the same value.
pub struct Current<P> {
    get: Arc<dyn Fn() -> Arc<P> + Send + Sync>,
    wait: Changes,
}

impl<P: Send + Sync + 'static> Current<P> {
    /// A value that never changes.
    pub fn fixed(value: P) -> Self {
        let value = Arc::new(value);
        Self { get: Arc::new(move || Arc::clone(&value)), wait: Changes::none() }
    }
}

impl<P> Current<P> {
    /// The value in effect. Take it once for each piece of work, so that all of it uses one version.
    #[must_use]
    pub fn get(&self) -> Arc<P> {
        (self.get)()
    }

    /// Waits until the file has been read again since this handle was made, or since the last call;
    /// the value may be equal. Never returns for a [fixed](Self::fixed) value.
    pub async fn changed(&mut self) {
        self.wait.changed().await;
    }
}

impl<P> Clone for Current<P> {
    fn clone(&self) -> Self {
        Self { get: Arc::clone(&self.get), wait: self.wait.clone() }
    }
}

impl<P: fmt::Debug> fmt::Debug for Current<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Current").field(&self.get()).finish()
    }
}

/// Waits for the next version, whatever its type.
trait Wait: Send + Sync {
    fn copy(&self) -> Box<dyn Wait>;
    fn next(&mut self) -> std::pin::Pin<Box<dyn Future<Output = bool> + Send + '_>>;
}

impl<T: Send + Sync + 'static> Wait for watch::Receiver<T> {
    fn copy(&self) -> Box<dyn Wait> {
        Box::new(self.clone())
    }

    fn next(&mut self) -> std::pin::Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        Box::pin(async { self.changed().await.is_ok() })
    }
}

struct Changes(Option<Box<dyn Wait>>);

impl Changes {
    fn new<T: Send + Sync + 'static>(tables: watch::Receiver<T>) -> Self {
        Self(Some(Box::new(tables)))
    }

    const fn none() -> Self {
        Self(None)
    }

    async fn changed(&mut self) {
        let changed = match &mut self.0 {
            Some(wait) => wait.next().await,
            None => false,
        };
        if !changed {
            std::future::pending::<()>().await;
        }
    }
}

impl Clone for Changes {
    fn clone(&self) -> Self {
        Self(self.0.as_ref().map(|wait| wait.copy()))
    }
}
