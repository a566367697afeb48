//! Arrays of tables in the settings file, such as `[[api.key]]`: lists of things that have several
//! settings each, which flags could not express.

use std::{collections::BTreeMap, fmt};

use serde::{Serialize, de::DeserializeOwned};

use super::refused::Refused;

/// An array of tables that the settings file of a binary may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name: `api.key` for `[[api.key]]`, `webhook` for `[[webhook]]`. Two parts at most.
    pub name: &'static str,
    /// The meaning of one entry, without a period at its end.
    pub meaning: &'static str,
    /// The keys of an entry: all those that [`Entry`] deserializes, in its order.
    pub keys: &'static [Key],
}

/// A key of a [`Table`], for the documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// The key.
    pub name: &'static str,
    /// The values that it accepts, such as `SECONDS, 1 to 60`.
    pub value: &'static str,
    /// The value without the key; `None` if the key is mandatory.
    pub default: Option<&'static str>,
    /// The meaning, without a period at its end.
    pub meaning: &'static str,
}

/// An entry of an array of tables.
///
/// It derives `Deserialize` with `#[serde(deny_unknown_fields)]`, so that a misspelt key is an
/// error, and `Serialize` for `--check`. A secret in it is a [`Hidden`](super::Hidden), which
/// `--check` does not show.
pub trait Entry: DeserializeOwned + Serialize {
    /// Its table.
    const TABLE: Table;

    /// Checks what the types do not, such as the length of a name. The error begins with the key:
    /// `` `name` is empty ``. It must not contain a secret.
    ///
    /// # Errors
    /// Names the key and the problem.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

/// The tables of a binary: a struct with what is made of each. `()` has none.
pub trait Tables: fmt::Debug + Sized + Send + Sync + 'static {
    /// The tables that the file may have.
    const KNOWN: &'static [Table];

    /// Makes it of the entries in `file`. Called at the start and on each SIGHUP; it must not have
    /// other effects.
    ///
    /// # Errors
    /// Names the table, the entry and the key. An error leaves the previous tables in effect.
    fn read(file: &mut TableFile) -> Result<Self, Refused>;
}

impl Tables for () {
    const KNOWN: &'static [Table] = &[];

    fn read(_: &mut TableFile) -> Result<Self, Refused> {
        Ok(())
    }
}

/// The arrays of tables of one settings file.
#[derive(Debug)]
pub struct TableFile {
    file: String,
    entries: BTreeMap<&'static str, Vec<toml::Value>>,
    shown: Vec<ShownEntry>,
}

/// An entry as `--check` prints it.
#[derive(Clone, Debug)]
pub(super) struct ShownEntry {
    pub(super) table: &'static str,
    pub(super) value: serde_json::Value,
}

impl TableFile {
    /// The entries of a table, in the order of the file; none if the file has none.
    ///
    /// # Errors
    /// Names the first invalid entry by file, table, number and key. Entries count from 1.
    pub fn entries<E: Entry>(&mut self) -> Result<Vec<E>, Refused> {
        let table = E::TABLE.name;
        let values = self.entries.remove(table).unwrap_or_default();
        let mut entries = Vec::with_capacity(values.len());
        for (at, value) in values.into_iter().enumerate() {
            let entry =
                E::deserialize(value).map_err(|error| self.refuse::<E>(at, &said(error)))?;
            entry.check().map_err(|problem| self.refuse::<E>(at, &problem))?;
            let value = serde_json::to_value(&entry).unwrap_or_default();
            self.shown.push(ShownEntry { table, value });
            entries.push(entry);
        }
        Ok(entries)
    }

    /// The error that refuses an entry, by its index from 0: for checks across entries, such as two
    /// of one name. `problem` begins with the key and contains no secret.
    #[must_use]
    pub fn refuse<E: Entry>(&self, index: usize, problem: &str) -> Refused {
        Refused::Entry {
            file: self.file.clone(),
            table: E::TABLE.name,
            number: index + 1,
            problem: problem.to_owned(),
        }
    }

    pub(super) fn none() -> Self {
        Self { file: String::new(), entries: BTreeMap::new(), shown: Vec::new() }
    }

    /// Takes the tables out of a file; its other keys stay in it.
    pub(super) fn take(
        file: String,
        keys: &mut toml::Table,
        known: &'static [Table],
    ) -> Result<Self, Refused> {
        let mut entries = BTreeMap::new();
        for Table { name, .. } in known {
            let values = match name.split_once('.') {
                None => keys.remove(*name),
                Some((section, name)) => match keys.get_mut(section) {
                    Some(toml::Value::Table(section)) => section.remove(name),
                    _ => None,
                },
            };
            match values {
                None => {}
                Some(toml::Value::Array(values)) if values.iter().all(toml::Value::is_table) => {
                    entries.insert(*name, values);
                }
                Some(_) => return Err(Refused::NoArray { file, table: name }),
            }
        }
        for section in known.iter().filter_map(|Table { name, .. }| Some(name.split_once('.')?.0)) {
            let Some(toml::Value::Table(rest)) = keys.get(section) else { continue };
            if let Some(key) = rest.keys().next() {
                let hint = format!("known are {}", names(known).join(", "));
                return Err(Refused::UnknownKey { file, key: format!("{section}.{key}"), hint });
            }
            keys.remove(section);
        }
        Ok(Self { file, entries, shown: Vec::new() })
    }

    pub(super) fn into_shown(self) -> Vec<ShownEntry> {
        self.shown
    }
}

pub(super) fn names(known: &[Table]) -> Vec<String> {
    known.iter().map(|table| format!("[[{}]]", table.name)).collect()
}

/// The error of the parser in one line, with its key and without the value, which may be a secret.
fn said(error: toml::de::Error) -> String {
    let text = error.to_string();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let problem = without_value(lines.next().unwrap_or_default());
    match lines.next_back().and_then(|line| line.strip_prefix("in ")) {
        Some(key) => format!("{key}: {problem}"),
        None => problem,
    }
}

fn without_value(problem: &str) -> String {
    let Some((start, _)) = problem.match_indices('"').next() else { return problem.to_owned() };
    match problem.rmatch_indices('"').next() {
        Some((end, _)) if start < end => {
            format!("{}{}", problem[..start].trim_end(), &problem[end + 1..])
        }
        _ => problem[..start].trim_end().to_owned(),
    }
}

#[cfg(test)]
mod tests;
