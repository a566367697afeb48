//! Sessions: per-client application data, stored by the gateway and changed by workers.
//!
//! A session is stored as it was written: the text of a JSON object if a Rust worker wrote it,
//! PHP's serialized form if a PHP worker did. Each side can read and update both:
//!
//! - JSON is converted to PHP's form by PHP's own rules: objects and lists become arrays (`"5"` the
//!   key 5), numbers become ints and floats.
//! - PHP's form is read as JSON: arrays with the keys 0, 1, 2 … as lists, others as objects. Values
//!   that JSON cannot express (objects, INF, strings that are not UTF-8) are read as null, and keys
//!   that are not UTF-8 are dropped. JSON is never converted to a PHP object: the data that a
//!   worker stores may come from a client, and PHP would instantiate that object.
//! - An update preserves everything that it does not name, including objects and references,
//!   whichever side wrote the session: [`merge`](Session::merge) operates on PHP's form if either
//!   of the two has it. Replacing a session replaces all of it.

mod changes;
mod json;
mod php;

use std::collections::HashSet;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};
use serde_json::{Map, Value};
use thiserror::Error;

pub use changes::Changes;

use crate::php::{ReplaceError, SerializeError, UnserializeError};

/// The largest JSON session, in bytes. It is sent with a client's first event.
pub const MAX_SESSION: usize = 256 * 1024;

/// The largest session in PHP's form, in bytes. PHP's own limit is a frame of 10 MiB for session
/// and message together; this leaves 2 MiB for the message.
pub const MAX_PHP_SESSION: usize = 8 * 1024 * 1024;

/// A client's session in its encoded form, or no session.
///
/// The gateway passes it through without decoding it; only [`merge`](Self::merge) and conversions
/// to the other form decode it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// Invariant: [`Form::Json`] if `encoded` is empty, so that "no session" has one
    /// representation.
    form: Form,
    encoded: Bytes,
}

/// The encoding of a session, which depends on its writer.
///
/// Variants are only ever appended: the native codec numbers them by position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Form {
    /// The text of a JSON object.
    #[default]
    Json,
    /// An array in the format of PHP's `serialize()`.
    Php,
}

/// Why a session was refused.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SessionError {
    /// Not the text of a JSON object.
    #[error("a session is a JSON object")]
    NotAnObject(#[source] serde_json::Error),
    /// Valid, but not of the type that it was to be read as.
    #[error("the session is not of the expected type")]
    OtherType(#[source] serde_json::Error),
    /// In PHP's form, but cannot be parsed.
    #[error("a session of PHP is a serialized array")]
    NotSerialized(#[from] UnserializeError),
    /// Neither an object nor a PHP array.
    #[error("a session is an object or a PHP array")]
    NotAnArray,
    /// A PHP array that contains itself cannot be read as JSON.
    #[error("a session that contains itself cannot be read as JSON")]
    Endless,
    /// A PHP array that is too long with its references expanded cannot be read as JSON.
    #[error("a session whose references expand to more than {limit} bytes cannot be read as JSON")]
    Unfolds {
        /// Maximum size in bytes.
        limit: usize,
    },
    /// An update cannot be merged.
    #[error("the session cannot be updated")]
    Merge(#[from] ReplaceError),
    /// The updated session cannot be written.
    #[error("the updated session cannot be written")]
    Write(#[from] SerializeError),
    /// Longer than [`MAX_SESSION`], or [`MAX_PHP_SESSION`] in PHP's form.
    #[error("a session of {size} bytes is longer than {limit}")]
    TooLong {
        /// Actual size in bytes.
        size: usize,
        /// Maximum size in bytes.
        limit: usize,
    },
}

impl Session {
    /// A JSON session in its encoded form, not validated. Empty means no session.
    ///
    /// # Errors
    /// When it is longer than [`MAX_SESSION`].
    pub fn from_encoded(encoded: Bytes) -> Result<Self, SessionError> {
        Self::from_form(Form::Json, encoded)
    }

    /// A PHP session in its serialized form, not validated. Empty means no session.
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

    /// Encodes a value that serializes as a JSON object: a map or a struct. An empty object means
    /// no session.
    ///
    /// # Errors
    /// When it is not an object, or its text is longer than [`MAX_SESSION`].
    pub fn encode(object: &(impl Serialize + ?Sized)) -> Result<Self, SessionError> {
        let text = serde_json::to_vec(object).map_err(SessionError::NotAnObject)?;
        match text.as_slice() {
            b"{}" => Ok(Self::default()),
            [b'{', ..] => Self::from_encoded(text.into()),
            _ => {
                let error = serde::ser::Error::custom("the value is not serialized as an object");
                Err(SessionError::NotAnObject(error))
            }
        }
    }

    /// Reads a session of either form as a `T`, usually a struct; `None` if there is no session.
    ///
    /// # Errors
    /// As [`decode`](Self::decode), and [`SessionError::OtherType`] when it is not that of a `T`.
    pub fn read<T: DeserializeOwned>(&self) -> Result<Option<T>, SessionError> {
        if self.is_none() {
            return Ok(None);
        }
        let object = Value::Object(self.decode()?);
        serde_json::from_value(object).map(Some).map_err(SessionError::OtherType)
    }

    /// Decodes a session of either form. A value that PHP references share is copied to each of its
    /// places: with references expanded, PHP's form may grow to 16 times its size, or to 1 MiB if
    /// that is more, but never beyond [`MAX_PHP_SESSION`].
    ///
    /// # Errors
    /// When it is neither the text of a JSON object nor a serialized PHP array, when it exceeds
    /// that limit with its references expanded, or contains itself.
    pub fn decode(&self) -> Result<Map<String, Value>, SessionError> {
        match self.form {
            _ if self.is_none() => Ok(Map::new()),
            Form::Json => serde_json::from_slice(&self.encoded).map_err(SessionError::NotAnObject),
            Form::Php => php::to_object(&self.encoded),
        }
    }

    /// The session in PHP's form: as PHP wrote it, or converted from JSON. Empty if there is no
    /// session, or it is not a JSON object.
    pub fn to_php(&self) -> Bytes {
        match self.form {
            Form::Php => self.encoded.clone(),
            Form::Json => php::from_object(&self.encoded).unwrap_or_default(),
        }
    }

    /// The same session in PHP's form, see [`to_php`](Self::to_php). "No session" stays as it is.
    #[must_use]
    pub fn in_php_form(&self) -> Self {
        Self::from_php(self.to_php()).unwrap_or_default()
    }

    /// The encoding.
    pub fn form(&self) -> Form {
        self.form
    }

    /// The encoded form.
    pub fn as_encoded(&self) -> &Bytes {
        &self.encoded
    }

    /// Whether there is no session.
    pub fn is_empty(&self) -> bool {
        self.encoded.is_empty()
    }

    /// Applies `changes` and keeps everything else, by the rules of PHP's
    /// `array_replace_recursive`: objects and lists are merged key by key (a list's keys are its
    /// positions), any other value is replaced; the order of the old keys is preserved.
    ///
    /// If both are JSON, so is the result; else it has PHP's form, which preserves PHP objects and
    /// references of the old session. If there was no session, the changes become the session.
    ///
    /// # Errors
    /// When one of the two is not an object or array, or the result is too long, or an object of a
    /// class with its own format occurs together with references. Nothing is changed then.
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

    /// Removes these keys from the outermost level. PHP's form keeps everything else, including
    /// objects and references; a key of decimal digits is PHP's int key. Keys that do not occur
    /// are ignored; a session without keys left is no session. Takes time linear in the session,
    /// however many keys there are.
    ///
    /// # Errors
    /// When the session is not an object or array, or has an object of a class with its own format.
    /// Nothing is changed then.
    pub fn remove(&mut self, keys: &[impl AsRef<str>]) -> Result<(), SessionError> {
        if keys.is_empty() || self.is_none() {
            return Ok(());
        }
        match self.form {
            Form::Json => {
                let keys: HashSet<&str> = keys.iter().map(AsRef::as_ref).collect();
                let mut kept = self.decode()?;
                let before = kept.len();
                kept.retain(|key, _| !keys.contains(key.as_str()));
                if kept.len() < before {
                    *self = Self::encode(&kept)?;
                }
            }
            Form::Php => {
                if let Some(text) = php::without(self, keys)? {
                    *self = Self::from_php(text)?;
                }
            }
        }
        Ok(())
    }

    /// Whether both are the same session. JSON is compared by value, so that the order of its keys
    /// does not count; PHP's form is compared byte by byte, and with JSON as PHP's form of it: the
    /// order of keys counts then. An empty session equals none.
    pub fn equals(&self, other: &Self) -> bool {
        match (self.form, other.form) {
            _ if self == other => true,
            (Form::Json, Form::Json) => match (self.decode(), other.decode()) {
                (Ok(one), Ok(other)) => one == other,
                _ => false,
            },
            _ => self.normalized().is_some_and(|one| Some(one) == other.normalized()),
        }
    }

    /// PHP's form, empty without any key; `None` if it is not a JSON object.
    fn normalized(&self) -> Option<Bytes> {
        const EMPTY_ARRAY: &[u8] = b"a:0:{}";
        let text = match self.form {
            _ if self.is_none() => Bytes::new(),
            Form::Php => self.encoded.clone(),
            Form::Json => php::from_object(&self.encoded)?,
        };
        Some(if text == EMPTY_ARRAY { Bytes::new() } else { text })
    }

    /// Whether PHP treats it as no session: empty, or a lone `0`.
    fn is_none(&self) -> bool {
        self.is_empty() || (self.form == Form::Php && crate::php::is_empty(&self.encoded))
    }
}

/// The form, one byte, then the encoded bytes, prefixed with their length.
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
