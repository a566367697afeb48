//! Sessions in PHP's form: made from JSON, read as JSON, merged.

use bytes::Bytes;
use serde_json::{Map, Number, Value as Json};

use super::{Form, MAX_PHP_SESSION, Session, SessionError};
use crate::php::{
    Array, Document, MAX_DEPTH, MAX_VALUES, Value, array_replace_recursive, json_decode, serialize,
    unserialize,
};

/// What a session says, as PHP has it.
pub(super) fn document(session: &Session) -> Result<Document, SessionError> {
    match session.form {
        Form::Php => Ok(unserialize(&session.encoded)?),
        Form::Json => from_json(&session.encoded).ok_or(SessionError::NotAnArray),
    }
}

/// The serialized form of the two, merged.
pub(super) fn merge(old: Document, new: Document) -> Result<Bytes, SessionError> {
    written(&array_replace_recursive(old, new)?)
}

/// The serialized form of a JSON object; `None` if it is none.
pub(super) fn from_object(text: &Bytes) -> Option<Bytes> {
    written(&from_json(text)?).ok()
}

/// A serialized array as a JSON object.
pub(super) fn to_object(text: &Bytes) -> Result<Map<String, Json>, SessionError> {
    let document = unserialize(text)?;
    let array = document.as_array().ok_or(SessionError::NotAnArray)?;
    let mut reader = Reader { document: &document, depth: 0, left: MAX_VALUES };
    reader.object(array).ok_or(SessionError::Endless)
}

fn written(document: &Document) -> Result<Bytes, SessionError> {
    let mut text = Vec::new();
    serialize(document, MAX_PHP_SESSION, &mut text)?;
    Ok(text.into())
}

fn from_json(text: &Bytes) -> Option<Document> {
    let value = json_decode(text).ok()?;
    // A list is an array to PHP too, but no session of ours.
    let object = text.trim_ascii_start().starts_with(b"{");
    object.then(|| value.into())
}

struct Reader<'a> {
    document: &'a Document,
    depth: usize,
    /// References may show one array in many places: this bounds what comes of it.
    left: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self, value: &'a Value) -> Option<Json> {
        self.left = self.left.checked_sub(1)?;
        Some(match self.document.resolve(value)? {
            Value::Null | Value::Object(_) | Value::Custom { .. } | Value::Case(_) => Json::Null,
            Value::Bool(bool) => Json::Bool(*bool),
            Value::Int(int) => (*int).into(),
            Value::Float(float) => Number::from_f64(*float).map_or(Json::Null, Json::Number),
            Value::Str(text) => utf8(text).map_or(Json::Null, Json::String),
            Value::Array(array) if array.is_list() => {
                self.enter()?;
                let list = array.values().map(|value| self.value(value)).collect::<Option<_>>()?;
                self.depth -= 1;
                Json::Array(list)
            }
            Value::Array(array) => Json::Object(self.object(array)?),
            Value::Shared(_) => return None,
        })
    }

    fn object(&mut self, array: &'a Array) -> Option<Map<String, Json>> {
        self.enter()?;
        let mut object = Map::new();
        for (key, value) in array.iter() {
            if let Some(key) = utf8(&key.to_text()) {
                object.insert(key, self.value(value)?);
            }
        }
        self.depth -= 1;
        Some(object)
    }

    fn enter(&mut self) -> Option<()> {
        self.depth += 1;
        (self.depth <= MAX_DEPTH).then_some(())
    }
}

fn utf8(text: &[u8]) -> Option<String> {
    std::str::from_utf8(text).ok().map(str::to_owned)
}
