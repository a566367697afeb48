//! Sessions in PHP's form: converted from and to JSON, merged.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde_json::{Map, Number, Value as Json};

use super::{Form, MAX_PHP_SESSION, Session, SessionError};
use crate::php::{
    Array, Document, Key, MAX_DEPTH, ReplaceError, Value, array_replace_recursive, json_decode,
    serialize, unserialize,
};

/// A session as a PHP value.
pub(super) fn document(session: &Session) -> Result<Document, SessionError> {
    match session.form {
        Form::Php => Ok(unserialize(&session.encoded)?),
        Form::Json => from_json(&session.encoded).ok_or(SessionError::NotAnArray),
    }
}

/// A JSON object as a PHP value.
pub(super) fn document_of(object: Map<String, Json>) -> Document {
    let entries =
        object.into_iter().map(|(key, value)| (Key::from_text(key.into()), to_value(value)));
    let mut array = Array::new();
    entries.for_each(|(key, value)| array.set(key, value));
    Value::Array(array).into()
}

fn to_value(value: Json) -> Value {
    match value {
        Json::Null => Value::Null,
        Json::Bool(bool) => Value::Bool(bool),
        Json::Number(number) => match number.as_i64() {
            Some(int) => Value::Int(int),
            None => Value::Float(number.as_f64().unwrap_or_default()),
        },
        Json::String(text) => Value::Str(text.into()),
        Json::Array(list) => {
            let mut array = Array::new();
            for value in list {
                array.push(to_value(value));
            }
            Value::Array(array)
        }
        Json::Object(object) => document_of(object).root,
    }
}

/// The serialized form of the two, merged.
pub(super) fn merge(old: Document, new: Document) -> Result<Bytes, SessionError> {
    written(&array_replace_recursive(old, new)?)
}

/// The serialized form of a session without these keys; `None` if it has none of them.
pub(super) fn without(
    session: &Session,
    keys: &[impl AsRef<str>],
) -> Result<Option<Bytes>, SessionError> {
    let mut document = document(session)?;
    let keys =
        keys.iter().map(|key| Key::from_text(Bytes::copy_from_slice(key.as_ref().as_bytes())));
    let keys: BTreeSet<Key> = keys.collect();
    let movable = document.movable;
    let Value::Array(array) = &mut document.root else {
        return Err(SessionError::NotAnArray);
    };
    if !array.remove_all(&keys) {
        return Ok(None);
    }
    match movable {
        true => written(&document).map(Some),
        false => Err(ReplaceError::Unmovable.into()),
    }
}

/// The serialized form of a JSON object; `None` if the text is not one.
pub(super) fn from_object(text: &Bytes) -> Option<Bytes> {
    written(&from_json(text)?).ok()
}

/// A serialized array as a JSON object.
pub(super) fn to_object(text: &Bytes) -> Result<Map<String, Json>, SessionError> {
    let document = unserialize(text)?;
    let array = document.as_array().ok_or(SessionError::NotAnArray)?;
    let limit =
        text.len().saturating_mul(EXPANSION_FACTOR).clamp(MIN_EXPANSION_LIMIT, MAX_PHP_SESSION);
    Reader { document: &document, depth: 0, limit, left: limit }.object(array)
}

pub(super) fn written(document: &Document) -> Result<Bytes, SessionError> {
    let mut text = Vec::new();
    serialize(document, MAX_PHP_SESSION, &mut text)?;
    Ok(text.into())
}

fn from_json(text: &Bytes) -> Option<Document> {
    let value = json_decode(text).ok()?;
    // PHP reads a list as an array too, but a JSON session is an object.
    let object = text.trim_ascii_start().starts_with(b"{");
    object.then(|| value.into())
}

/// Limit of a session's size with its references expanded: this multiple of its size, or this many
/// bytes if that is more; never more than [`MAX_PHP_SESSION`].
const EXPANSION_FACTOR: usize = 16;
const MIN_EXPANSION_LIMIT: usize = 1024 * 1024;

/// Copies a value that references share to each of its places. The result is bounded by a lower
/// estimate of the length that PHP's form would have without references, so that a session without
/// references is never refused.
struct Reader<'a> {
    document: &'a Document,
    depth: usize,
    /// The limit of PHP's form in bytes, and the remaining budget.
    limit: usize,
    left: usize,
}

/// Minimum sizes in PHP's form: of any value (`N;`), of any other scalar (`i:0;`), and of a string
/// or an array without its content (`s:0:"";`, `a:0:{}`).
const NULL: usize = 2;
const SCALAR: usize = 4;
const EMPTY: usize = 6;

impl<'a> Reader<'a> {
    fn value(&mut self, value: &'a Value) -> Result<Json, SessionError> {
        let value = self.document.resolve(value).ok_or(SessionError::Endless)?;
        Ok(match value {
            Value::Null | Value::Object(_) | Value::Custom(_) | Value::Case(_) => {
                self.charge(NULL)?;
                Json::Null
            }
            Value::Bool(bool) => {
                self.charge(SCALAR)?;
                Json::Bool(*bool)
            }
            Value::Int(int) => {
                self.charge(SCALAR)?;
                (*int).into()
            }
            Value::Float(float) => {
                self.charge(SCALAR)?;
                Number::from_f64(*float).map_or(Json::Null, Json::Number)
            }
            Value::Str(text) => {
                self.charge(EMPTY + text.len())?;
                utf8(text).map_or(Json::Null, Json::String)
            }
            Value::Array(array) if array.is_list() => {
                self.enter()?;
                let list = array.values().map(|value| {
                    self.charge(SCALAR)?;
                    self.value(value)
                });
                let list = list.collect::<Result<_, _>>()?;
                self.depth -= 1;
                Json::Array(list)
            }
            Value::Array(array) => Json::Object(self.object(array)?),
            Value::Shared(_) => return Err(SessionError::Endless),
        })
    }

    fn object(&mut self, array: &'a Array) -> Result<Map<String, Json>, SessionError> {
        self.enter()?;
        let mut object = Map::new();
        for (key, value) in array.iter() {
            self.charge(match key {
                Key::Int(_) => SCALAR,
                Key::Str(text) => EMPTY + text.len(),
            })?;
            if let Some(key) = utf8(&key.to_text()) {
                object.insert(key, self.value(value)?);
            }
        }
        self.depth -= 1;
        Ok(object)
    }

    fn enter(&mut self) -> Result<(), SessionError> {
        self.charge(EMPTY)?;
        self.depth += 1;
        if MAX_DEPTH < self.depth { Err(SessionError::Endless) } else { Ok(()) }
    }

    fn charge(&mut self, bytes: usize) -> Result<(), SessionError> {
        let left = self.left.checked_sub(bytes);
        self.left = left.ok_or(SessionError::Unfolds { limit: self.limit })?;
        Ok(())
    }
}

fn utf8(text: &[u8]) -> Option<String> {
    std::str::from_utf8(text).ok().map(str::to_owned)
}
