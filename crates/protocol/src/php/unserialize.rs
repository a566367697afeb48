//! Decodes the output of PHP's `serialize()`.
//!
//! No objects are instantiated: an object stays as class name and properties. References and
//! repeated objects refer to an earlier value by its number in the text. Moving such a value would
//! invalidate the number, so they are resolved here into entries of [`Document::shared`], and
//! renumbered when they are written.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use thiserror::Error;

use super::{
    array::Array,
    document::Document,
    scanner::{Scanner, Stuck},
    value::{Custom, Key, MAX_DEPTH, MAX_VALUES, Object, Shared, SharedBy, Value},
};

/// Why a text cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum UnserializeError {
    /// PHP cannot decode it either.
    #[error("not a serialized value, from byte {at}")]
    Syntax { at: usize },
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH}")]
    TooDeep,
    /// More than [`MAX_VALUES`] values.
    #[error("more than {MAX_VALUES} values")]
    TooMany,
}

impl From<Stuck> for UnserializeError {
    fn from(stuck: Stuck) -> Self {
        Self::Syntax { at: stuck.at }
    }
}

/// Decodes the value at the start of a text. Trailing bytes are ignored, as in PHP.
///
/// # Errors
/// When there is none, or it exceeds [`MAX_DEPTH`] or [`MAX_VALUES`].
pub fn unserialize(text: &Bytes) -> Result<Document, UnserializeError> {
    let mut reader = Reader::new(text);
    let root = reader.value()?;
    let numbered = !reader.targets.is_empty();
    let movable = !(reader.customs && numbered || reader.customs_may_number);
    if !numbered {
        return Ok(Document { root, shared: Vec::new(), movable });
    }
    // A second pass, with the set of shared values. Objects count as shared even without references
    // to them: a merge may copy the array around them.
    let objects = reader.objects.iter().filter(|(slot, object)| slot == object);
    let shared: BTreeSet<usize> =
        reader.targets.keys().chain(objects.map(|(slot, _)| slot)).copied().collect();
    let places = shared.into_iter().enumerate().map(|(at, slot)| {
        let by = reader.targets.get(&slot).copied().unwrap_or(SharedBy::Handle);
        (slot, Shared { at, by })
    });
    let places: BTreeMap<usize, Shared> = places.collect();
    let shared = vec![Value::Null; places.len()];
    let mut reader = Reader { places, shared, ..Reader::new(text) };
    Ok(Document { root: reader.value()?, shared: reader.shared, movable })
}

struct Reader<'a> {
    scan: Scanner<'a>,
    depth: usize,
    /// Number of values read so far, which is the number of the last one.
    slot: usize,
    /// The numbers of the values that are objects, each mapped to the number of the object's
    /// definition.
    objects: BTreeMap<usize, usize>,
    /// The numbers of the values that are referred to later, and how.
    targets: BTreeMap<usize, SharedBy>,
    /// Whether there are objects with an opaque format, and whether their payloads may contain
    /// numbers of values.
    customs: bool,
    customs_may_number: bool,
    /// The places of shared values. Empty in the first pass.
    places: BTreeMap<usize, Shared>,
    shared: Vec<Value>,
}

type Read<T> = Result<T, UnserializeError>;

impl<'a> Reader<'a> {
    fn new(text: &'a Bytes) -> Self {
        Self {
            scan: Scanner::new(text),
            depth: 0,
            slot: 0,
            objects: BTreeMap::new(),
            targets: BTreeMap::new(),
            customs: false,
            customs_may_number: false,
            places: BTreeMap::new(),
            shared: Vec::new(),
        }
    }

    fn value(&mut self) -> Read<Value> {
        let tag = self.scan.byte()?;
        if tag == b'R' {
            // A reference to an earlier variable is not a value of its own, so it has no number.
            return Ok(self.reference(SharedBy::Reference)?.0);
        }
        self.slot += 1;
        if MAX_VALUES < self.slot {
            return Err(UnserializeError::TooMany);
        }
        let slot = self.slot;
        let value = match tag {
            b'N' => self.scan.expect(b";").map(|()| Value::Null)?,
            b'b' => Value::Bool(self.scan.bool()?),
            b'i' => Value::Int(self.scan.int()?),
            b'd' => Value::Float(self.scan.float()?),
            b's' => Value::Str(self.scan.string()?),
            b'S' => Value::Str(self.scan.escaped_string()?),
            b'a' => Value::Array(self.array()?),
            b'r' => {
                let (value, object) = self.reference(SharedBy::Handle)?;
                self.objects.insert(slot, object);
                value
            }
            b'O' | b'C' | b'E' => {
                // Registered first, since its own properties may refer to it.
                self.objects.insert(slot, slot);
                self.object(tag)?
            }
            _ => self.scan.fail()?,
        };
        Ok(match self.places.get(&slot) {
            Some(place) => {
                self.shared[place.at] = value;
                Value::Shared(*place)
            }
            None => value,
        })
    }

    /// `:n;` after an `R` or `r`: the value referred to, and its number.
    fn reference(&mut self, by: SharedBy) -> Read<(Value, usize)> {
        self.scan.expect(b":")?;
        let slot = self.scan.length()?;
        self.scan.expect(b";")?;
        let known = match by {
            SharedBy::Reference => Some(slot).filter(|slot| (1..=self.slot).contains(slot)),
            SharedBy::Handle => self.objects.get(&slot).copied(),
        };
        let Some(slot) = known else {
            return Ok(self.scan.fail()?);
        };
        let known = self.targets.entry(slot).or_insert(by);
        if by == SharedBy::Reference {
            *known = by;
        }
        let place = self.places.get(&slot);
        let value = place.map_or(Value::Null, |place| Value::Shared(Shared { by, ..*place }));
        Ok((value, slot))
    }

    fn array(&mut self) -> Read<Array> {
        self.scan.expect(b":")?;
        let count = self.scan.length()?;
        let mut array = Array::with_capacity(count);
        self.entries(count, |key, value| {
            let key = match key {
                Key::Str(text) => Key::from_text(text),
                int @ Key::Int(_) => int,
            };
            array.set(key, value);
        })?;
        Ok(array)
    }

    fn object(&mut self, tag: u8) -> Read<Value> {
        let class = self.scan.quoted()?;
        if tag == b'E' {
            self.scan.expect(b";")?;
            if !class.contains(&b':') {
                self.scan.fail()?;
            }
            return Ok(Value::Case(class));
        }
        if !is_class(&class) {
            self.scan.fail()?;
        }
        self.scan.expect(b":")?;
        let length = self.scan.object_length()?;
        if tag == b'O' {
            let mut properties = Array::with_capacity(length);
            self.entries(length, |key, value| properties.set(key, value))?;
            return Ok(Value::Object(Object { class, properties }));
        }
        self.scan.expect(b":{")?;
        let payload = self.scan.take(length)?;
        self.scan.expect(b"}")?;
        self.customs = true;
        self.customs_may_number |= payload
            .windows(3)
            .any(|at| matches!(at, [b'r' | b'R', b':', digit] if digit.is_ascii_digit()));
        Ok(Value::Custom(Box::new(Custom { class, payload })))
    }

    /// `:{key value …}`.
    fn entries(&mut self, count: usize, mut take: impl FnMut(Key, Value)) -> Read<()> {
        self.scan.expect(b":{")?;
        if self.scan.rest().len() < count {
            self.scan.fail()?;
        }
        self.depth += 1;
        if MAX_DEPTH < self.depth {
            return Err(UnserializeError::TooDeep);
        }
        for _ in 0..count {
            let key = match self.scan.byte()? {
                b'i' => Key::Int(self.scan.int()?),
                b's' => Key::Str(self.scan.string()?),
                b'S' => Key::Str(self.scan.escaped_string()?),
                _ => self.scan.fail()?,
            };
            take(key, self.value()?);
        }
        self.depth -= 1;
        Ok(self.scan.expect(b"}")?)
    }
}

fn is_class(name: &[u8]) -> bool {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'\\' | 0x80..);
    name.first().is_some_and(|first| *first != b'\\') && name.iter().all(fits)
}
