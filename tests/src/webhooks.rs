//! The settings file of workers with webhooks, and what receivers got of a client.

use std::{collections::BTreeMap, fs, path::PathBuf};

use tempfile::TempDir;
use test_support::receiver::Received;

use crate::{Suite, suite::Builder};

/// A secret of Standard Webhooks.
pub const SECRET: &str = "whsec_BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUF";

/// A settings file, deleted when it is dropped.
#[derive(Debug)]
pub struct HookFile(TempDir);

impl HookFile {
    /// A file with these webhooks: the URL of each, and the keys beside its secret.
    ///
    /// # Panics
    /// When it cannot be written.
    #[must_use]
    pub fn new(hooks: &[(String, &str)]) -> Self {
        let file = Self(TempDir::with_prefix("push-suite-hooks.").unwrap());
        file.write(hooks);
        file
    }

    /// Replaces its webhooks.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, hooks: &[(String, &str)]) {
        let entries = hooks.iter().map(|(url, keys)| {
            format!("[[webhook]]\nurl = \"{url}\"\nsecret = \"{SECRET}\"\n{keys}\n")
        });
        fs::write(self.path(), entries.collect::<String>()).unwrap();
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.0.path().join("worker.toml")
    }

    /// A suite whose workers have this file, without workers yet.
    #[must_use]
    pub fn suite(&self) -> Builder {
        let path = self.path().display().to_string();
        Suite::builder().app("webhook").worker_flag("--config", &path)
    }
}

/// The requests of each subject in the order received, without repetitions of an id.
#[must_use]
pub fn by_subject(received: &[Received]) -> BTreeMap<String, Vec<Received>> {
    let mut subjects: BTreeMap<String, Vec<Received>> = BTreeMap::new();
    for request in received.iter().filter(|request| request.method == "POST") {
        let events = subjects.entry(request.header("ce-subject").to_owned()).or_default();
        if events.iter().all(|event| event.header("ce-id") != request.header("ce-id")) {
            events.push(request.clone());
        }
    }
    subjects
}

/// The types of events, without their prefix.
#[must_use]
pub fn kinds(events: &[Received]) -> Vec<&str> {
    events.iter().map(|event| event.header("ce-type").trim_start_matches("gw.")).collect()
}
