//! What an application remembers of one client: the gateway keeps it, the worker changes it.
//!
//! A session stays as it was written: the text of a JSON object where a worker of ours wrote it,
//! PHP's serialized form where PHP did. Each side can read what the other wrote, and update it:
//!
//! - JSON becomes PHP's form by PHP's own rules: objects and lists become arrays (`"5"` the key 5),
//!   numbers ints and floats.
//! - PHP's form is read as JSON: arrays with the keys 0, 1, 2 … as lists, others as objects. What
//!   JSON has no word for (objects, INF, strings that are not UTF-8) is read as null, and keys that
//!   are not UTF-8 are left out. Nothing in a JSON text ever becomes a PHP object: what a worker
//!   stores may come from a client, and PHP would bring that object to life.
//! - An update leaves what it does not name as it is, objects and references included, whoever
//!   wrote the session: [`merge`](Session::merge) works on PHP's form as soon as one of the two is
//!   of it. To replace a session is to replace all of it.

mod changes;
mod json;
mod php;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};
use thiserror::Error;

pub use changes::Changes;

use crate::php::{ReplaceError, SerializeError, UnserializeError};

/// The largest session of ours, in bytes of its JSON. It travels with a client's first event.
pub const MAX_SESSION: usize = 256 * 1024;

/// The largest session in PHP's form, in bytes. PHP itself stops where session and message together
/// fill a frame of 10 MiB; this leaves 2 MiB for the message.
pub const MAX_PHP_SESSION: usize = 8 * 1024 * 1024;

/// A client's session in its encoded form, or nothing at all.
///
/// The gateway passes it through without looking inside; only [`merge`](Self::merge) decodes it,
/// and whoever wants the other form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// Invariant: [`Form::Json`] where `encoded` is empty, so that there is one way to have none.
    form: Form,
    encoded: Bytes,
}

/// Who wrote a session, and so how it is encoded.
///
/// Variants are only ever appended: the native codec numbers them by position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Form {
    /// The text of a JSON object.
    #[default]
    Json,
    /// What PHP's `serialize()` makes of an array.
    Php,
}

/// Why a session was refused.
#[derive(Debug, Error)]
pub enum SessionError {
    /// Not the text of a JSON object.
    #[error("a session is a JSON object")]
    NotAnObject(#[source] serde_json::Error),
    /// In PHP's form, but not read.
    #[error("a session of PHP is a serialized array")]
    NotSerialized(#[from] UnserializeError),
    /// Neither an object nor a PHP array.
    #[error("a session is an object or a PHP array")]
    NotAnArray,
    /// A PHP array that contains itself cannot be read as JSON.
    #[error("a session that contains itself cannot be read as JSON")]
    Endless,
    /// A PHP array whose references would make it too long, if what they name were written out each
    /// time, cannot be read as JSON.
    #[error("a session whose references unfold to more than {limit} bytes cannot be read as JSON")]
    Unfolds { limit: usize },
    /// An update cannot be put in.
    #[error("the session cannot be updated")]
    Merge(#[from] ReplaceError),
    /// The updated session cannot be written.
    #[error("the updated session cannot be written")]
    Write(#[from] SerializeError),
    /// Longer than [`MAX_SESSION`], or [`MAX_PHP_SESSION`] in PHP's form.
    #[error("a session of {size} bytes is longer than {limit}")]
    TooLong { size: usize, limit: usize },
}

impl Session {
    /// Takes a session of ours in its encoded form, unread. Empty means that there is none.
    ///
    /// # Errors
    /// When it is longer than [`MAX_SESSION`].
    pub fn from_encoded(encoded: Bytes) -> Result<Self, SessionError> {
        Self::from_form(Form::Json, encoded)
    }

    /// Takes a session of PHP in its serialized form, unread. Empty means that there is none.
    ///
    /// # Errors
    /// When it is longer than [`MAX_PHP_SESSION`].
    pub fn from_php(serialized: Bytes) -> Result<Self, SessionError> {
        Self::from_form(Form::Php, serialized)
    }

    fn from_form(form: Form, encoded: Bytes) -> Result<Self, SessionError> {
        let limit = match form {
            Form::Json => MAX_SESSION,
            Form::Php => MAX_PHP_SESSION,
        };
        match encoded.len() {
            0 => Ok(Self::default()),
            size if limit < size => Err(SessionError::TooLong { size, limit }),
            _ => Ok(Self { form, encoded }),
        }
    }

    /// Encodes an object. An empty one is the same as no session.
    ///
    /// # Errors
    /// When its text is longer than [`MAX_SESSION`].
    pub fn encode(object: &Map<String, Value>) -> Result<Self, SessionError> {
        if object.is_empty() {
            return Ok(Self::default());
        }
        let text = serde_json::to_vec(object).map_err(SessionError::NotAnObject)?;
        Self::from_encoded(text.into())
    }

    /// Reads the session, whoever wrote it. What PHP's references show in several places is copied into
    /// each of them: with its references written out, PHP's form may have 16 times as many bytes as it has,
    /// and in any case 1 MiB, but never more than [`MAX_PHP_SESSION`].
    ///
    /// # Errors
    /// When it is neither the text of a JSON object nor a serialized PHP array, when it is longer than
    /// that with its references written out, or contains itself.
    pub fn decode(&self) -> Result<Map<String, Value>, SessionError> {
        match self.form {
            _ if self.is_none() => Ok(Map::new()),
            Form::Json => serde_json::from_slice(&self.encoded).map_err(SessionError::NotAnObject),
            Form::Php => php::to_object(&self.encoded),
        }
    }

    /// The session in PHP's form: as PHP wrote it, or made from JSON. Empty where there is none,
    /// or what is there is no JSON object.
    pub fn to_php(&self) -> Bytes {
        match self.form {
            Form::Php => self.encoded.clone(),
            Form::Json => php::from_object(&self.encoded).unwrap_or_default(),
        }
    }

    /// The same session in PHP's form, see [`to_php`](Self::to_php). None is the same in both.
    #[must_use]
    pub fn in_php_form(&self) -> Self {
        Self::from_php(self.to_php()).unwrap_or_default()
    }

    /// How it is encoded.
    pub fn form(&self) -> Form {
        self.form
    }

    /// The encoded form.
    pub fn as_encoded(&self) -> &Bytes {
        &self.encoded
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.encoded.is_empty()
    }

    /// Changes what `changes` names and keeps the rest, by the rules of PHP's
    /// `array_replace_recursive`: objects and lists are entered key by key (a list's keys are its
    /// positions), anything else is replaced; the order of the old keys stays.
    ///
    /// Where both are JSON, so is the result; else it has PHP's form, in which PHP objects and
    /// references of the old session survive. Where there was no session, the changes are it.
    ///
    /// # Errors
    /// When one of the two is not an object or array, or the result is too long, or an object of a
    /// class with a format of its own stands beside references. Nothing is changed then.
    pub fn merge(&mut self, changes: &Self) -> Result<(), SessionError> {
        match (self.form, changes.form) {
            _ if changes.is_empty() => Ok(()),
            (Form::Json, Form::Json) => self.apply(Changes::of(changes)?),
            _ if self.is_none() => {
                *self = changes.clone();
                Ok(())
            }
            _ => self.apply(Changes::of(changes)?),
        }
    }

    /// Whether PHP takes it for no session: empty, or a lone `0`.
    fn is_none(&self) -> bool {
        self.is_empty() || (self.form == Form::Php && crate::php::is_empty(&self.encoded))
    }
}

/// The form, one byte, then the encoded bytes behind their length.
#[derive(Serialize, Deserialize)]
struct Wire<'a> {
    form: Form,
    #[serde(borrow)]
    encoded: &'a serde_bytes::Bytes,
}

impl Serialize for Session {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Wire { form: self.form, encoded: serde_bytes::Bytes::new(&self.encoded) }
            .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Session {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = Wire::deserialize(deserializer)?;
        let encoded = Bytes::copy_from_slice(wire.encoded);
        Self::from_form(wire.form, encoded).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
