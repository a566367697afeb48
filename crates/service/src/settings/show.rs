//! The settings in effect, printed as a file that reproduces them.

use std::fmt::Write as _;

use clap::CommandFactory;
use serde::Serialize;

use super::{Derived, Loaded, tables::ShownEntry};

/// Placeholder for a secret that is set. No real value equals it: a command line has no NUL.
pub(super) const REDACTED: &str = "\0redacted";

/// Settings as they were given, without secrets, for `--check`.
#[derive(Debug)]
pub struct Sheet {
    rows: Vec<Row>,
    entries: Vec<ShownEntry>,
}

#[derive(Debug)]
struct Row {
    key: String,
    /// `None` if it is not set.
    shown: Option<Shown>,
    origin: String,
}

#[derive(Debug)]
enum Shown {
    Value(toml::Value),
    Secret,
}

impl<A: CommandFactory + Serialize, T> Loaded<A, T> {
    /// All settings, each with its origin.
    #[must_use]
    pub fn sheet(&self) -> Sheet {
        let values = serde_json::to_value(&self.args).unwrap_or_default();
        let command = A::command();
        let keys = command.get_arguments().map(|arg| arg.get_id().as_str());
        let keys = keys.filter(|key| !matches!(*key, "config" | "check" | "help" | "version"));
        let row = |key: &str| Row {
            key: key.to_owned(),
            shown: values.get(key).and_then(shown),
            origin: self.origins.get(key).map_or("default", String::as_str).to_owned(),
        };
        Sheet { rows: keys.map(row).collect(), entries: self.shown.clone() }
    }
}

impl Sheet {
    /// All settings in effect as TOML, each with its origin. Secrets, unset settings, and values
    /// that differ at each start are comments, so this can be used as an equivalent `--config`
    /// file, up to entries of tables that need a secret. `derived` are the values of settings that
    /// were not given.
    #[must_use]
    pub fn to_toml(&self, derived: &[Derived]) -> String {
        let mut text = String::new();
        for Row { key, shown, origin } in &self.rows {
            let derived = derived.iter().find(|derived| derived.key == key);
            // A derived value does not replace one that was given.
            let derived = derived.filter(|derived| shown.is_none() || derived.value.is_none());
            let note = derived.map(|derived| derived.note.as_str()).filter(|note| !note.is_empty());
            let note = note.map(|note| format!(": {note}")).unwrap_or_default();
            let value = derived.and_then(|derived| derived.value.as_ref().and_then(typed));
            let holds = derived.is_some_and(|derived| derived.holds);
            // Writing to a string cannot fail.
            let _ = match (shown, value) {
                (Some(Shown::Value(value)), _) => {
                    writeln!(text, "{key} = {value}  # {origin}{note}")
                }
                (Some(Shown::Secret), _) => writeln!(text, "# {key} is set, not shown  # {origin}"),
                (None, Some(value)) if holds => writeln!(text, "{key} = {value}  # default{note}"),
                (None, Some(value)) => writeln!(text, "# {key} = {value}  # default{note}"),
                (None, None) => writeln!(text, "# {key} is not set{note}"),
            };
        }
        self.entries.iter().for_each(|entry| entry_to_toml(entry, &mut text));
        text
    }
}

/// Appends an entry of an array of tables.
fn entry_to_toml(entry: &ShownEntry, text: &mut String) {
    let _ = writeln!(text, "\n[[{}]]", entry.table);
    for (key, value) in entry.value.as_object().into_iter().flatten() {
        let mut value = value.clone();
        let _ = match (value.as_str() == Some(REDACTED), redact(&mut value), typed(&value)) {
            (true, ..) => writeln!(text, "# {key} is set, not shown"),
            (_, _, None) => writeln!(text, "# {key} is not set"),
            (_, true, Some(value)) => writeln!(text, "# {key} = {value}"),
            (_, false, Some(value)) => writeln!(text, "{key} = {value}"),
        };
    }
}

/// Replaces secrets within a value; whether it has any.
fn redact(value: &mut serde_json::Value) -> bool {
    match value {
        serde_json::Value::String(text) if text == REDACTED => {
            "not shown".clone_into(text);
            true
        }
        serde_json::Value::Array(items) => {
            items.iter_mut().fold(false, |any, item| redact(item) | any)
        }
        serde_json::Value::Object(fields) => {
            // TOML has no null.
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().fold(false, |any, value| redact(value) | any)
        }
        _ => false,
    }
}

fn shown(value: &serde_json::Value) -> Option<Shown> {
    if value.as_str() == Some(REDACTED) {
        return Some(Shown::Secret);
    }
    typed(value).map(Shown::Value)
}

fn typed(value: &serde_json::Value) -> Option<toml::Value> {
    match value {
        serde_json::Value::Null => None,
        value => toml::Value::try_from(value).ok(),
    }
}
