//! PHP values as plain data: ordered arrays, int and string keys, and opaque objects.

use bytes::Bytes;

use super::array::Array;

/// Maximum nesting depth of values. PHP permits more (512 in JSON), at the price of a larger stack;
/// deeper nesting indicates a crafted input.
pub const MAX_DEPTH: usize = 128;

/// Maximum number of values in one decoded text. A text of ten megabytes can hold more; real input
/// has far fewer.
pub const MAX_VALUES: usize = 1 << 20;

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    /// Any bytes: PHP's strings need not be text.
    Str(Bytes),
    Array(Array),
    /// An object (`O:`). It is carried and never instantiated.
    Object(Object),
    /// An object with a serialized form of its own (`C:`), which only its class can decode.
    Custom(Box<Custom>),
    /// A case of an enumeration (`E:`), as `Class:Case`.
    Case(Bytes),
    /// A value that several places share, stored in [`Document::shared`](super::Document).
    Shared(Shared),
}

/// A reference to a shared value, and the kind of sharing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shared {
    /// Its position in [`Document::shared`](super::Document).
    pub at: usize,
    /// How repeated occurrences are written.
    pub by: SharedBy,
}

/// How two places share one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharedBy {
    /// They are PHP references to one variable: `R:`.
    Reference,
    /// They hold one object: `r:`.
    Handle,
}

/// An object: its class and its properties; names of private ones include the NUL bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    pub class: Bytes,
    /// In order, with keys as written: they are not converted to ints.
    pub properties: Array,
}

/// An object with a serialized form of its own: its class, and the opaque payload.
#[derive(Clone, Debug, PartialEq)]
pub struct Custom {
    pub class: Bytes,
    pub payload: Bytes,
}

/// A key of an array.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    Int(i64),
    Str(Bytes),
}

impl Key {
    /// The key that PHP derives from a string: an int if the string is PHP's notation of that int.
    pub fn from_text(text: Bytes) -> Self {
        match canonical_int(&text) {
            Some(int) => Self::Int(int),
            None => Self::Str(text),
        }
    }

    /// The key as a string. Distinct keys have distinct strings.
    pub fn to_text(&self) -> Bytes {
        match self {
            Self::Int(int) => int.to_string().into(),
            Self::Str(text) => text.clone(),
        }
    }
}

impl From<&'static str> for Key {
    fn from(text: &'static str) -> Self {
        Self::from_text(Bytes::from_static(text.as_bytes()))
    }
}

impl From<i64> for Key {
    fn from(int: i64) -> Self {
        Self::Int(int)
    }
}

/// The int that a string is the canonical text of: no plus, no leading zero, no minus zero, within
/// 64 bits.
pub(crate) fn canonical_int(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let negative = digits.len() < text.len();
    match digits {
        [] => return None,
        [b'0'] => return (!negative).then_some(0),
        [b'0', ..] => return None,
        _ => {}
    }
    // An i64 has at most 19 digits.
    if 19 < digits.len() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

impl Value {
    /// A string.
    pub fn text(text: impl Into<Bytes>) -> Self {
        Self::Str(text.into())
    }

    /// The key that PHP uses for this value in `$array[…]`; `None` if PHP does not permit it as a
    /// key.
    pub fn as_key(&self) -> Option<Key> {
        match self {
            Self::Null => Some(Key::Str(Bytes::new())),
            Self::Bool(bool) => Some(Key::Int((*bool).into())),
            Self::Int(int) => Some(Key::Int(*int)),
            Self::Float(float) => Some(Key::Int(wrapped(*float))),
            Self::Str(text) => Some(Key::from_text(text.clone())),
            Self::Array(_)
            | Self::Object(_)
            | Self::Custom(_)
            | Self::Case(_)
            | Self::Shared(_) => None,
        }
    }

    /// Whether PHP's `empty()` is true for it.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Bool(bool) => !bool,
            Self::Int(int) => *int == 0,
            Self::Float(float) => *float == 0.0,
            Self::Str(text) => is_empty(text),
            Self::Array(array) => array.is_empty(),
            Self::Object(_) | Self::Custom(_) | Self::Case(_) | Self::Shared(_) => false,
        }
    }

    /// The array, if it is one.
    pub fn as_array(&self) -> Option<&Array> {
        match self {
            Self::Array(array) => Some(array),
            _ => None,
        }
    }
}

/// Whether PHP's `empty()` is true for a string.
pub(crate) fn is_empty(text: &[u8]) -> bool {
    matches!(text, b"" | b"0")
}

/// A float as PHP casts it to an int: truncated, and wrapped on overflow.
fn wrapped(float: f64) -> i64 {
    const TWO_TO_64: f64 = 18_446_744_073_709_551_616.0;
    if !float.is_finite() {
        return 0;
    }
    (float % TWO_TO_64) as i128 as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &'static str) -> Key {
        Key::from(text)
    }

    #[test]
    fn canonical_int_string_is_an_int_key() {
        for (text, int) in [
            ("0", 0),
            ("5", 5),
            ("-5", -5),
            ("123", 123),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
        ] {
            assert_eq!(key(text), Key::Int(int));
            assert_eq!(key(text).to_text(), text.as_bytes());
        }
    }

    #[test]
    fn other_string_is_a_string_key() {
        for text in [
            "",
            "007",
            "-0",
            "+1",
            "1.5",
            "1e3",
            " 1",
            "1 ",
            "-",
            "0x1",
            "9223372036854775808",
            "-9223372036854775809",
            "99999999999999999999",
        ] {
            assert_eq!(key(text), Key::Str(text.into()), "{text}");
        }
    }

    #[test]
    fn scalars_become_keys_as_php_casts_them() {
        let key = |value: Value| value.as_key();
        assert_eq!(key(Value::Bool(true)), Some(Key::Int(1)));
        assert_eq!(key(Value::Null), Some(Key::from("")));
        assert_eq!(key(Value::Float(1.9)), Some(Key::Int(1)));
        assert_eq!(key(Value::Float(-1.9)), Some(Key::Int(-1)));
        assert_eq!(key(Value::Float(f64::NAN)), Some(Key::Int(0)));
        assert_eq!(key(Value::Float(1e30)), Some(Key::Int(5_076_964_154_930_102_272)));
        assert_eq!(key(Value::Float(9_223_372_036_854_775_808.0)), Some(Key::Int(i64::MIN)));
        assert_eq!(key(Value::Float(-1e19)), Some(Key::Int(8_446_744_073_709_551_616)));
        assert_eq!(key(Value::text("5")), Some(Key::Int(5)));
        assert_eq!(key(Value::Array(Array::new())), None);
    }
}
