//! Pending session updates, combined.

use serde_json::{Map, Value as Json};

use super::{Form, MAX_PHP_SESSION, Session, SessionError, json, php};
use crate::php::{Array, Document, Value, splice};

/// Updates of a session that are combined before they are applied.
///
/// The cost of applying an update is linear in the size of the session. A series of updates costs
/// that once if they are [absorbed](Self::absorb) first and [applied](Session::apply) together when
/// the session is read.
#[derive(Clone, Debug, PartialEq)]
pub struct Changes {
    named: Named,
    weight: usize,
}

#[derive(Clone, Debug, PartialEq)]
enum Named {
    Json(Map<String, Json>),
    Php(Document),
}

impl Changes {
    /// The changes that an update makes.
    ///
    /// # Errors
    /// When it is neither the text of a JSON object nor a serialized PHP array.
    pub fn of(update: &Session) -> Result<Self, SessionError> {
        let named = match update.form {
            Form::Json => Named::Json(update.decode()?),
            Form::Php => Named::Php(php::document(update)?),
        };
        Ok(Self { named, weight: update.encoded.len() })
    }

    /// Approximate upper bound of the encoded size, in bytes.
    pub fn weight(&self) -> usize {
        self.weight
    }

    /// Adds a later update, so that the combination is equivalent to one after the other. Returns
    /// the update if no combination is equivalent for every session: these changes must be applied
    /// first.
    pub fn absorb(&mut self, later: Self) -> Result<(), Self> {
        let absorbs = match (&self.named, &later.named) {
            (Named::Json(old), Named::Json(new)) => json::absorbs(old, new),
            (Named::Php(old), Named::Php(new)) => match (plain(old), plain(new)) {
                (Some(old), Some(new)) => array_absorbs(old, new),
                _ => false,
            },
            (Named::Json(_), Named::Php(_)) | (Named::Php(_), Named::Json(_)) => false,
        };
        if !absorbs {
            return Err(later);
        }
        self.weight += later.weight;
        match (&mut self.named, later.named) {
            (Named::Json(old), Named::Json(new)) => json::replace_in_object(old, new),
            (Named::Php(old), Named::Php(new)) => {
                if let (Value::Array(old), Value::Array(new)) = (&mut old.root, new.root) {
                    replace_in_array(old, &new);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl Session {
    /// Applies changes; equivalent to one [`merge`](Self::merge) per update.
    ///
    /// # Errors
    /// As [`merge`](Self::merge). None of them is applied then.
    pub fn apply(&mut self, changes: Changes) -> Result<(), SessionError> {
        match (self.form, changes.named) {
            (Form::Json, Named::Json(named)) => {
                let mut merged = self.decode()?;
                json::replace_in_object(&mut merged, named);
                *self = Self::encode(&merged)?;
            }
            (_, Named::Json(named)) if self.is_none() => *self = Self::encode(&named)?,
            (_, Named::Php(document)) if self.is_none() => {
                *self = Self::from_php(php::written(&document)?)?;
            }
            (_, named) => {
                let new = match named {
                    Named::Json(named) => php::document_of(named),
                    Named::Php(document) => document,
                };
                *self = Self::from_php(self.merged(new)?)?;
            }
        }
        Ok(())
    }

    /// This session in PHP's form, with the changes applied.
    fn merged(&self, new: Document) -> Result<bytes::Bytes, SessionError> {
        if let (Form::Php, Some(array)) = (self.form, plain(&new))
            && let Some(text) = splice(&self.encoded, array, MAX_PHP_SESSION)
        {
            return Ok(text.into());
        }
        php::merge(php::document(self)?, new)
    }
}

/// The array of a document without shared values.
fn plain(document: &Document) -> Option<&Array> {
    match &document.root {
        Value::Array(array) if document.shared.is_empty() && document.movable => Some(array),
        _ => None,
    }
}

/// Whether merging `new` into `old` first, and then both into any array, is equivalent to merging
/// them one after the other: not if an array replaces another value, which the session may not have
/// held.
fn array_absorbs(old: &Array, new: &Array) -> bool {
    new.iter().all(|(key, new)| match (old.get(key), new) {
        (Some(Value::Array(old)), Value::Array(new)) => array_absorbs(old, new),
        (Some(_), Value::Array(_)) => false,
        (None, _) | (Some(_), _) => true,
    })
}

fn replace_in_array(old: &mut Array, new: &Array) {
    for (key, new) in new.iter() {
        match (old.get_mut(key), new) {
            (Some(Value::Array(old)), Value::Array(new)) => replace_in_array(old, new),
            (Some(old), new) => *old = new.clone(),
            (None, new) => old.set(key.clone(), new.clone()),
        }
    }
}

#[cfg(test)]
mod tests;
