//! What settings amount to, beyond what was given.

use serde::Serialize;

/// Checked settings that say what follows from what was not given. `--check` shows it.
pub trait Effective {
    /// Values of settings that were not given and have no default of their own.
    fn derived(&self) -> Vec<Derived> {
        Vec::new()
    }

    /// What works, but hardly as it is meant, each with the flag that it is about. Said at the start, and
    /// by `--check`.
    fn warnings(&self) -> Vec<Warning> {
        Vec::new()
    }
}

/// The value in effect of a setting that was not given, or a remark on one that was.
#[derive(Clone, Debug, PartialEq)]
pub struct Derived {
    pub(super) key: &'static str,
    pub(super) value: Option<serde_json::Value>,
    /// Whether a file with the value says the same as one without.
    pub(super) holds: bool,
    pub(super) note: String,
}

impl Derived {
    /// A value, by the key of its setting, and where it comes from.
    #[must_use]
    pub fn value(key: &'static str, value: impl Serialize, note: impl Into<String>) -> Self {
        let value = serde_json::to_value(value).ok();
        Self { key, value, holds: true, note: note.into() }
    }

    /// A value that is another one at each start: shown, but not as a setting.
    #[must_use]
    pub fn passing(key: &'static str, value: impl Serialize, note: impl Into<String>) -> Self {
        Self { holds: false, ..Self::value(key, value, note) }
    }

    /// What a setting comes to, in words.
    #[must_use]
    pub fn note(key: &'static str, note: impl Into<String>) -> Self {
        Self { key, value: None, holds: false, note: note.into() }
    }
}

/// See [`Effective::warnings`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The flag.
    pub flag: &'static str,
    /// What is odd about it.
    pub problem: String,
}
