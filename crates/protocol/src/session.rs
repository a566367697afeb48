//! What an application remembers of one client: the gateway keeps it, the worker changes it.

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};
use thiserror::Error;

/// The largest session, in bytes of its encoded form. It travels with a client's first event.
pub const MAX_SESSION: usize = 256 * 1024;

/// A client's session in its encoded form: the text of a JSON object, or nothing at all.
///
/// The gateway passes it through without looking inside; only [`merge`](Self::merge) decodes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session(Bytes);

/// Why a session was refused.
#[derive(Debug, Error)]
pub enum SessionError {
    /// Not the text of a JSON object.
    #[error("a session is a JSON object")]
    NotAnObject(#[source] serde_json::Error),
    /// Longer than [`MAX_SESSION`].
    #[error("a session of {0} bytes is longer than {MAX_SESSION}")]
    TooLong(usize),
}

impl Session {
    /// Takes a session in its encoded form, unread. Empty means that there is none.
    ///
    /// # Errors
    /// When it is longer than [`MAX_SESSION`].
    pub fn from_encoded(encoded: Bytes) -> Result<Self, SessionError> {
        match encoded.len() {
            long if MAX_SESSION < long => Err(SessionError::TooLong(long)),
            _ => Ok(Self(encoded)),
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

    /// Reads the session.
    ///
    /// # Errors
    /// When it is not the text of a JSON object.
    pub fn decode(&self) -> Result<Map<String, Value>, SessionError> {
        if self.0.is_empty() {
            return Ok(Map::new());
        }
        serde_json::from_slice(&self.0).map_err(SessionError::NotAnObject)
    }

    /// The encoded form.
    pub fn as_encoded(&self) -> &Bytes {
        &self.0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Changes what `changes` names and keeps the rest, by the rules of PHP's
    /// `array_replace_recursive`: objects and lists are entered key by key (a list's keys are its
    /// positions), anything else is replaced; the order of the old keys stays.
    ///
    /// # Errors
    /// When one of the two is not an object, or the result is too long. Nothing is changed then.
    pub fn merge(&mut self, changes: &Self) -> Result<(), SessionError> {
        let mut merged = self.decode()?;
        replace_in_object(&mut merged, changes.decode()?);
        *self = Self::encode(&merged)?;
        Ok(())
    }
}

/// Enters both values where both have keys, else replaces. The depth is bounded by the decoder's.
fn replace(old: &mut Value, new: Value) {
    match (&mut *old, new) {
        (Value::Object(old), Value::Object(new)) => replace_in_object(old, new),
        (Value::Object(old), Value::Array(new)) => replace_in_object(old, keyed(new)),
        (Value::Array(old), Value::Array(new)) => {
            for (at, value) in new.into_iter().enumerate() {
                match old.get_mut(at) {
                    Some(old) => replace(old, value),
                    None => old.push(value),
                }
            }
        }
        (Value::Array(list), Value::Object(new)) if !new.is_empty() => {
            let mut object = keyed(std::mem::take(list));
            replace_in_object(&mut object, new);
            *old = Value::Object(object);
        }
        (Value::Array(_), Value::Object(_)) => {}
        (_, new) => *old = new,
    }
}

fn replace_in_object(old: &mut Map<String, Value>, new: Map<String, Value>) {
    for (key, value) in new {
        match old.get_mut(&key) {
            Some(old) => replace(old, value),
            None => {
                old.insert(key, value);
            }
        }
    }
}

fn keyed(list: Vec<Value>) -> Map<String, Value> {
    list.into_iter().enumerate().map(|(at, value)| (at.to_string(), value)).collect()
}

impl Serialize for Session {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Session {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = <&serde_bytes::Bytes>::deserialize(deserializer)?;
        Self::from_encoded(Bytes::copy_from_slice(bytes)).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn session(value: &Value) -> Session {
        Session::encode(value.as_object().unwrap()).unwrap()
    }

    fn merged(old: Value, new: Value) -> String {
        let mut merged = session(&old);
        merged.merge(&session(&new)).unwrap();
        String::from_utf8(merged.as_encoded().to_vec()).unwrap()
    }

    #[test]
    fn merging_enters_objects_and_lists_and_keeps_the_order() {
        assert_eq!(
            merged(json!({"k": 1, "n": {"a": 1, "b": 2}}), json!({"n": {"b": 3}, "z": 0})),
            r#"{"k":1,"n":{"a":1,"b":3},"z":0}"#
        );
        assert_eq!(merged(json!({"l": [1, 2, 3]}), json!({"l": [9]})), r#"{"l":[9,2,3]}"#);
        assert_eq!(merged(json!({"l": [1]}), json!({"l": []})), r#"{"l":[1]}"#);
        assert_eq!(merged(json!({"l": [1]}), json!({"l": {"x": 2}})), r#"{"l":{"0":1,"x":2}}"#);
        assert_eq!(merged(json!({"l": [1]}), json!({"l": {}})), r#"{"l":[1]}"#);
        assert_eq!(merged(json!({"l": {"x": 1}}), json!({"l": [2]})), r#"{"l":{"x":1,"0":2}}"#);
        assert_eq!(merged(json!({"l": [1]}), json!({"l": 5})), r#"{"l":5}"#);
    }

    #[test]
    fn what_is_not_an_object_changes_nothing() {
        let mut kept = session(&json!({"k": 1}));
        let garbage = Session::from_encoded(Bytes::from_static(b"[1")).unwrap();
        assert!(kept.merge(&garbage).is_err());
        assert_eq!(kept, session(&json!({"k": 1})));
    }
}
