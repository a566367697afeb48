//! The arrays of tables that the settings file of the process may have.

use std::sync::Arc;

use hooks::Hooks;
use http_api::Keys;
use pusher::{AppEntry, Apps};
use service::settings::{self, Entry as _, Refused, Table, TableFile};

/// The tables of the settings file, one field for each crate with tables. SIGHUP reads them again.
///
/// A crate defines its entry types and a value that is made of them; here the value gets a field,
/// its tables an entry in `KNOWN`, and its constructor a line in `read`. The crate receives a
/// [`Current`](settings::Current) of its field:
/// `tables.part(|tables| Arc::clone(&tables.api))`.
#[derive(Debug)]
pub struct Tables {
    /// The keys of the push API.
    pub api: Arc<Keys>,
    /// The apps of `--app pusher`.
    pub pusher: Arc<Apps>,
    /// The receivers of events.
    pub webhooks: Arc<Hooks>,
}

impl settings::Tables for Tables {
    const KNOWN: &'static [Table] = &[http_api::Key::TABLE, AppEntry::TABLE, hooks::Hook::TABLE];

    fn read(file: &mut TableFile) -> Result<Self, Refused> {
        Ok(Self {
            api: Arc::new(Keys::read(file)?),
            pusher: Arc::new(Apps::read(file)?),
            webhooks: Arc::new(Hooks::read(file)?),
        })
    }
}
