//! Writes values as PHP's `serialize()` does, with `serialize_precision = -1`.

use std::{fmt::Arguments, io::Write};

use thiserror::Error;

use super::{
    document::Document,
    float,
    value::{Key, MAX_DEPTH, SharedBy, Value},
};

/// Why a value is not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SerializeError {
    /// Longer than the caller wants it.
    #[error("longer than {0} bytes")]
    TooLong(usize),
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH}")]
    TooDeep,
}

/// Appends a document, numbering its references anew. `out` may be left with part of it on an
/// error.
///
/// # Errors
/// When it is longer than `limit` or too deep.
pub fn serialize(
    document: &Document,
    limit: usize,
    out: &mut Vec<u8>,
) -> Result<(), SerializeError> {
    let seen = vec![None; document.shared.len()];
    let limit = out.len().saturating_add(limit);
    Writer { shared: &document.shared, seen, slot: 0, depth: 0, limit, out }.value(&document.root)
}

struct Writer<'a> {
    shared: &'a [Value],
    /// The number that each shared value got where it was written.
    seen: Vec<Option<usize>>,
    slot: usize,
    depth: usize,
    limit: usize,
    out: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    fn value(&mut self, value: &'a Value) -> Result<(), SerializeError> {
        if self.limit < self.out.len() {
            return Err(SerializeError::TooLong(self.limit));
        }
        let first = match value {
            Value::Shared(place) => self.seen.get(place.at).copied().flatten(),
            _ => None,
        };
        let again = matches!(value, Value::Shared(place) if place.by == SharedBy::Reference);
        // A reference met again is the variable it was: only it has no number of its own.
        if !(again && first.is_some()) {
            self.slot += 1;
        }
        self.numbered(value)?;
        match self.limit < self.out.len() {
            true => Err(SerializeError::TooLong(self.limit)),
            false => Ok(()),
        }
    }

    fn numbered(&mut self, value: &'a Value) -> Result<(), SerializeError> {
        match value {
            Value::Null => self.out.extend_from_slice(b"N;"),
            Value::Bool(bool) => self.out.extend_from_slice(if *bool { b"b:1;" } else { b"b:0;" }),
            Value::Int(value) => int(*value, self.out),
            Value::Float(value) => float(*value, self.out),
            Value::Str(text) => string(text, self.out),
            Value::Array(array) => {
                self.out.extend_from_slice(b"a:");
                self.entries(array.len(), array.iter())?;
            }
            Value::Object(object) => {
                self.class(b'O', &object.class);
                self.entries(object.properties.len(), object.properties.iter())?;
            }
            Value::Custom { class, payload } => {
                self.class(b'C', class);
                put(self.out, format_args!("{}:{{", payload.len()));
                self.out.extend_from_slice(payload);
                self.out.push(b'}');
            }
            Value::Case(name) => {
                self.class(b'E', name);
                // The colon that `class` ends with.
                self.out.pop();
                self.out.push(b';');
            }
            Value::Shared(place) => match (self.seen.get(place.at), place.by) {
                (Some(Some(slot)), SharedBy::Reference) => {
                    put(self.out, format_args!("R:{slot};"));
                }
                (Some(Some(slot)), SharedBy::Handle) => {
                    put(self.out, format_args!("r:{slot};"));
                }
                (Some(None), _) => {
                    self.seen[place.at] = Some(self.slot);
                    self.enter()?;
                    self.numbered(&self.shared[place.at])?;
                    self.depth -= 1;
                }
                (None, _) => self.out.extend_from_slice(b"N;"),
            },
        }
        Ok(())
    }

    fn class(&mut self, tag: u8, class: &[u8]) {
        self.out.extend_from_slice(&[tag, b':']);
        quoted(class, self.out);
        self.out.push(b':');
    }

    fn entries(
        &mut self,
        count: usize,
        entries: impl Iterator<Item = &'a (Key, Value)>,
    ) -> Result<(), SerializeError> {
        put(self.out, format_args!("{count}:{{"));
        self.enter()?;
        for (key, value) in entries {
            self::key(key, self.out);
            self.value(value)?;
        }
        self.depth -= 1;
        self.out.push(b'}');
        Ok(())
    }

    fn enter(&mut self) -> Result<(), SerializeError> {
        self.depth += 1;
        // Shared values lie one step deeper than what they stand for.
        if 2 * MAX_DEPTH < self.depth { Err(SerializeError::TooDeep) } else { Ok(()) }
    }
}

/// `i:5;`
pub(crate) fn int(value: i64, out: &mut Vec<u8>) {
    put(out, format_args!("i:{value};"));
}

/// `s:2:"ab";`
pub(crate) fn string(text: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"s:");
    quoted(text, out);
    out.push(b';');
}

/// A key: an int or a string.
pub(crate) fn key(key: &Key, out: &mut Vec<u8>) {
    match key {
        Key::Int(value) => int(*value, out),
        Key::Str(text) => string(text, out),
    }
}

fn quoted(text: &[u8], out: &mut Vec<u8>) {
    put(out, format_args!("{}:\"", text.len()));
    out.extend_from_slice(text);
    out.push(b'"');
}

fn float(value: f64, out: &mut Vec<u8>) {
    let text = match value {
        value if value.is_nan() => "NAN".to_owned(),
        f64::INFINITY => "INF".to_owned(),
        f64::NEG_INFINITY => "-INF".to_owned(),
        value => float::shortest(value, b'E'),
    };
    put(out, format_args!("d:{text};"));
}

fn put(out: &mut Vec<u8>, text: Arguments<'_>) {
    out.write_fmt(text).expect("memory takes any text");
}
