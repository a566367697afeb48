//! Writes values as PHP's `json_encode()` does with `JSON_UNESCAPED_UNICODE`.

use thiserror::Error;

use super::{
    document::{Document, resolve},
    float,
    value::{Key, MAX_DEPTH, Object, Value},
};

/// Why a value cannot be written as JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum JsonEncodeError {
    /// PHP returns `false` as well: text that is not UTF-8, INF, NAN, or a value that is nested too
    /// deep or contains itself.
    #[error("cannot be written as JSON")]
    Unwritable,
    /// Longer than the caller's limit.
    #[error("longer than {0} bytes of JSON")]
    TooLong(usize),
}

/// The JSON of a document. Objects are written as PHP writes those of an unknown class: the class
/// name under `__PHP_Incomplete_Class_Name`, then the public properties.
///
/// # Errors
/// When PHP would not write it, or it is longer than `limit` bytes.
pub fn json_encode(document: &Document, limit: usize) -> Result<Vec<u8>, JsonEncodeError> {
    let shared = &document.shared;
    let mut writer = Writer { shared, depth: 0, limit, skipped: 0, out: Vec::new() };
    writer.value(&document.root)?;
    Ok(writer.out)
}

struct Writer<'a> {
    shared: &'a [Value],
    depth: usize,
    limit: usize,
    /// Number of omitted properties. References may repeat one object any number of times, so each
    /// omitted property counts as a byte.
    skipped: usize,
    out: Vec<u8>,
}

type Written = Result<(), JsonEncodeError>;

impl<'a> Writer<'a> {
    fn value(&mut self, value: &'a Value) -> Written {
        match resolve(value, self.shared).ok_or(JsonEncodeError::Unwritable)? {
            Value::Null => self.out.extend_from_slice(b"null"),
            Value::Bool(bool) => self.out.extend_from_slice(if *bool { b"true" } else { b"false" }),
            Value::Int(int) => self.out.extend_from_slice(int.to_string().as_bytes()),
            Value::Float(float) if float.is_finite() => {
                self.out.extend_from_slice(float::shortest(*float, b'e').as_bytes());
            }
            Value::Float(_) => return Err(JsonEncodeError::Unwritable),
            Value::Str(text) => self.string(text)?,
            Value::Array(array) if array.is_empty() => self.out.extend_from_slice(b"[]"),
            Value::Array(array) if array.is_list() => self.list(array.values())?,
            Value::Array(array) => self.object(array.iter().map(|(key, value)| (key, value)))?,
            Value::Object(object) => self.incomplete(object)?,
            Value::Custom(custom) => {
                self.out.push(b'{');
                self.class(&custom.class)?;
                self.out.push(b'}');
            }
            // PHP cannot read a case of an unknown enumeration.
            Value::Case(_) | Value::Shared(_) => return Err(JsonEncodeError::Unwritable),
        }
        self.fits()
    }

    fn fits(&self) -> Written {
        match self.limit < self.out.len() + self.skipped {
            true => Err(JsonEncodeError::TooLong(self.limit)),
            false => Ok(()),
        }
    }

    fn list(&mut self, values: impl Iterator<Item = &'a Value>) -> Written {
        self.enter()?;
        self.out.push(b'[');
        for (at, value) in values.enumerate() {
            self.comma(at);
            self.value(value)?;
        }
        self.out.push(b']');
        self.depth -= 1;
        Ok(())
    }

    fn object(&mut self, entries: impl Iterator<Item = (&'a Key, &'a Value)>) -> Written {
        self.enter()?;
        self.out.push(b'{');
        for (at, (key, value)) in entries.enumerate() {
            self.comma(at);
            self.key(key)?;
            self.value(value)?;
        }
        self.out.push(b'}');
        self.depth -= 1;
        Ok(())
    }

    fn incomplete(&mut self, object: &'a Object) -> Written {
        self.enter()?;
        self.out.push(b'{');
        self.class(&object.class)?;
        for (key, value) in object.properties.iter() {
            // Names of private and protected properties start with a NUL.
            if matches!(key, Key::Str(name) if name.first() == Some(&0)) {
                self.skipped += 1;
                self.fits()?;
            } else {
                self.comma(1);
                self.key(key)?;
                self.value(value)?;
            }
        }
        self.out.push(b'}');
        self.depth -= 1;
        Ok(())
    }

    fn class(&mut self, class: &[u8]) -> Written {
        self.out.extend_from_slice(b"\"__PHP_Incomplete_Class_Name\":");
        self.string(class)
    }

    fn key(&mut self, key: &Key) -> Written {
        self.string(&key.to_text())?;
        self.out.push(b':');
        Ok(())
    }

    fn comma(&mut self, at: usize) {
        if at != 0 {
            self.out.push(b',');
        }
    }

    fn string(&mut self, text: &[u8]) -> Written {
        let text = std::str::from_utf8(text).map_err(|_| JsonEncodeError::Unwritable)?;
        self.out.push(b'"');
        for char in text.chars() {
            match char {
                '"' => self.out.extend_from_slice(b"\\\""),
                '\\' => self.out.extend_from_slice(b"\\\\"),
                '/' => self.out.extend_from_slice(b"\\/"),
                '\u{8}' => self.out.extend_from_slice(b"\\b"),
                '\u{c}' => self.out.extend_from_slice(b"\\f"),
                '\n' => self.out.extend_from_slice(b"\\n"),
                '\r' => self.out.extend_from_slice(b"\\r"),
                '\t' => self.out.extend_from_slice(b"\\t"),
                // U+2028 and U+2029 end lines in JavaScript, so PHP escapes them.
                '\0'..='\u{1f}' | '\u{2028}' | '\u{2029}' => {
                    self.out.extend_from_slice(format!("\\u{:04x}", u32::from(char)).as_bytes());
                    // The escape is up to six times as long as the character.
                    self.fits()?;
                }
                char => {
                    self.out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
                }
            }
        }
        self.out.push(b'"');
        Ok(())
    }

    fn enter(&mut self) -> Written {
        self.depth += 1;
        if MAX_DEPTH < self.depth { Err(JsonEncodeError::Unwritable) } else { Ok(()) }
    }
}
