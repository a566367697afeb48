//! Settings in effect that were derived rather than given.

use serde::Serialize;

/// Checked settings, with values derived for those that were not given. `--check` shows them.
pub trait Effective {
    /// Values of settings that were not given and have no default of their own.
    fn derived(&self) -> Vec<Derived> {
        Vec::new()
    }

    /// Settings that are valid but probably not intended, each with its flag. Logged at startup and
    /// printed by `--check`.
    fn warnings(&self) -> Vec<Warning> {
        Vec::new()
    }
}

/// The value in effect of a setting that was not given, or a note on one that was.
#[derive(Clone, Debug, PartialEq)]
pub struct Derived {
    pub(super) key: &'static str,
    pub(super) value: Option<serde_json::Value>,
    /// Whether a file with this value has the same effect as one without.
    pub(super) holds: bool,
    pub(super) note: String,
}

impl Derived {
    /// A value, by the key of its setting, with a note on its origin.
    #[must_use]
    pub fn value(key: &'static str, value: impl Serialize, note: impl Into<String>) -> Self {
        let value = serde_json::to_value(value).ok();
        Self { key, value, holds: true, note: note.into() }
    }

    /// A value that differs at each start: shown, but not as a setting.
    #[must_use]
    pub fn passing(key: &'static str, value: impl Serialize, note: impl Into<String>) -> Self {
        Self { holds: false, ..Self::value(key, value, note) }
    }

    /// A note on a setting, without a value.
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
    /// The problem with its value.
    pub problem: String,
}
