//! Encodes values as PHP's `serialize()` does, with `serialize_precision = -1`.

use std::{fmt::Arguments, io::Write};

use thiserror::Error;

use super::{
    document::Document,
    float,
    value::{Custom, Key, MAX_DEPTH, Shared, SharedBy, Value},
};

/// Why a value cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SerializeError {
    /// Longer than the caller's limit.
    #[error("longer than {0} bytes")]
    TooLong(usize),
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH}")]
    TooDeep,
}

/// Appends a document and renumbers its references. On an error, `out` may hold a part of it.
///
/// # Errors
/// When it is longer than `limit` bytes or nested too deep.
pub fn serialize(
    document: &Document,
    limit: usize,
    out: &mut Vec<u8>,
) -> Result<(), SerializeError> {
    let shared = &document.shared;
    let mut references = vec![Places::default(); shared.len()];
    count(&document.root, shared, &mut references, Depth::default())?;
    let seen = vec![None; shared.len()];
    let limit = out.len().saturating_add(limit);
    Writer { shared, references, seen, slot: 0, depth: Depth::default(), limit, out }
        .value(&document.root)
}

/// The places that refer to a shared value.
#[derive(Clone, Debug, Default)]
struct Places {
    met: bool,
    references: usize,
}

/// The depth of a value.
#[derive(Clone, Copy, Debug, Default)]
struct Depth {
    /// In arrays and objects; bounded so that the text can be decoded again.
    nested: usize,
    /// In shared values. A merge may leave a chain of them that the original text did not nest.
    shared: usize,
}

impl Depth {
    /// Inside one more array or object.
    fn nested(self) -> Result<Self, SerializeError> {
        Self { nested: self.nested + 1, ..self }.checked()
    }

    /// Inside one more shared value.
    fn shared(self) -> Result<Self, SerializeError> {
        Self { shared: self.shared + 1, ..self }.checked()
    }

    fn checked(self) -> Result<Self, SerializeError> {
        // A shared value may be a handle to another one.
        match self.nested <= MAX_DEPTH && self.shared <= 2 * MAX_DEPTH {
            true => Ok(self),
            false => Err(SerializeError::TooDeep),
        }
    }
}

/// Counts the references that are still reachable: a merge may have left a single one, which is not
/// written as a reference.
fn count(
    value: &Value,
    shared: &[Value],
    places: &mut [Places],
    depth: Depth,
) -> Result<(), SerializeError> {
    match value {
        Value::Shared(place) => {
            let Some(known) = places.get_mut(place.at) else {
                return Ok(());
            };
            known.references += usize::from(place.by == SharedBy::Reference);
            match std::mem::replace(&mut known.met, true) {
                true => Ok(()),
                false => count(&shared[place.at], shared, places, depth.shared()?),
            }
        }
        Value::Array(array) => {
            let depth = depth.nested()?;
            array.values().try_for_each(|value| count(value, shared, places, depth))
        }
        Value::Object(object) => {
            let depth = depth.nested()?;
            object.properties.values().try_for_each(|value| count(value, shared, places, depth))
        }
        _ => Ok(()),
    }
}

struct Writer<'a> {
    shared: &'a [Value],
    references: Vec<Places>,
    /// The number of each shared value that is already written.
    seen: Vec<Option<usize>>,
    slot: usize,
    depth: Depth,
    limit: usize,
    out: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    fn value(&mut self, value: &'a Value) -> Result<(), SerializeError> {
        if self.limit < self.out.len() {
            return Err(SerializeError::TooLong(self.limit));
        }
        // A repeated reference is the same variable, so it has no number of its own.
        let again = matches!(value, Value::Shared(place) if self.is_reference(place)
            && self.seen.get(place.at).is_some_and(Option::is_some));
        if !again {
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
            Value::Custom(custom) => {
                let Custom { class, payload } = &**custom;
                self.class(b'C', class);
                put(self.out, format_args!("{}:{{", payload.len()));
                self.out.extend_from_slice(payload);
                self.out.push(b'}');
            }
            Value::Case(name) => {
                self.class(b'E', name);
                // Removes the colon that `class` wrote.
                self.out.pop();
                self.out.push(b';');
            }
            Value::Shared(place) => match self.seen.get(place.at) {
                Some(Some(slot)) => {
                    let tag = if self.is_reference(place) { 'R' } else { 'r' };
                    put(self.out, format_args!("{tag}:{slot};"));
                }
                Some(None) => {
                    self.seen[place.at] = Some(self.slot);
                    let outer = self.depth;
                    self.depth = outer.shared()?;
                    self.numbered(&self.shared[place.at])?;
                    self.depth = outer;
                }
                None => self.out.extend_from_slice(b"N;"),
            },
        }
        Ok(())
    }

    fn is_reference(&self, place: &Shared) -> bool {
        let places = self.references.get(place.at).map_or(0, |places| places.references);
        place.by == SharedBy::Reference && 1 < places
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
        let outer = self.depth;
        self.depth = outer.nested()?;
        for (key, value) in entries {
            self::key(key, self.out);
            self.value(value)?;
        }
        self.depth = outer;
        self.out.push(b'}');
        Ok(())
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
