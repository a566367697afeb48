//! `array_replace_recursive()` on serialized text: parts that the changes do not name are copied
//! verbatim, without being decoded.
//!
//! The result equals that of [`array_replace_recursive`](super::array_replace_recursive()), for a
//! fraction of the time and the memory. Limited to texts without references and without objects of
//! an opaque format, since these may refer to a value by its position; for others, use the
//! function.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::{
    array::Array,
    document::Document,
    scanner::{Scanner, Stuck},
    serialize::{self, serialize},
    value::{Key, MAX_DEPTH, MAX_VALUES, Value},
};

/// The serialized text of an array with these changes merged in. `None` if the text does not permit
/// it, or the result would have more than `limit` bytes.
pub(crate) fn splice(old: &Bytes, changes: &Array, limit: usize) -> Option<Vec<u8>> {
    let mut splice = Splice { scan: Scanner::new(old), text: old, values: 0, limit };
    let mut out = Vec::with_capacity(old.len().saturating_add(4096).min(limit));
    splice.array(changes, 1, &mut out).ok()?;
    // Trailing bytes are not part of the value, and PHP ignores them.
    (out.len() <= limit).then_some(out)
}

struct Splice<'a> {
    scan: Scanner<'a>,
    text: &'a Bytes,
    values: usize,
    limit: usize,
}

impl Splice<'_> {
    /// Copies the next array with the changes merged in.
    fn array(&mut self, changes: &Array, depth: usize, out: &mut Vec<u8>) -> Result<(), Stuck> {
        if MAX_DEPTH < depth {
            return self.scan.fail();
        }
        self.count_value()?;
        self.scan.expect(b"a:")?;
        let count = self.scan.length()?;
        self.scan.expect(b":{")?;
        // The number of entries is only known after them, so the header is inserted at the end.
        let start = out.len();
        let mut used = BTreeSet::new();
        for _ in 0..count {
            let at = self.scan.at();
            let key = self.key()?;
            let Some(change) = changes.get(&key) else {
                self.skip(depth)?;
                out.extend_from_slice(&self.text[at..self.scan.at()]);
                continue;
            };
            if !used.insert(key) {
                // PHP never writes a key twice.
                return self.scan.fail();
            }
            out.extend_from_slice(&self.text[at..self.scan.at()]);
            match change {
                Value::Array(inner) if self.scan.peek() == Some(b'a') => {
                    self.array(inner, depth + 1, out)?;
                }
                value => {
                    self.skip(depth)?;
                    self.write(value, depth, out)?;
                }
            }
        }
        self.scan.expect(b"}")?;
        for (key, value) in changes.iter().filter(|(key, _)| !used.contains(key)) {
            serialize::key(key, out);
            self.write(value, depth, out)?;
        }
        let count = count + changes.len() - used.len();
        out.splice(start..start, format!("a:{count}:{{").into_bytes());
        out.push(b'}');
        if self.limit < out.len() { self.scan.fail() } else { Ok(()) }
    }

    fn write(&mut self, value: &Value, depth: usize, out: &mut Vec<u8>) -> Result<(), Stuck> {
        if MAX_DEPTH < depth + nesting(value) {
            return self.scan.fail();
        }
        serialize(&Document::from(value.clone()), self.limit, out).or_else(|_| self.scan.fail())
    }

    fn key(&mut self) -> Result<Key, Stuck> {
        match self.scan.byte()? {
            b'i' => self.scan.int().map(Key::Int),
            b's' => self.scan.string().map(Key::from_text),
            _ => self.scan.fail(),
        }
    }

    /// Skips the next value.
    fn skip(&mut self, depth: usize) -> Result<(), Stuck> {
        // Remaining entries of each open array and object.
        let mut open: Vec<usize> = Vec::new();
        loop {
            self.count_value()?;
            match self.scan.byte()? {
                b'N' => self.scan.expect(b";")?,
                b'b' => drop(self.scan.bool()?),
                b'i' => drop(self.scan.int()?),
                b'd' => drop(self.scan.float()?),
                b's' => self.scan.pass_string()?,
                b'E' => {
                    self.scan.quoted()?;
                    self.scan.expect(b";")?;
                }
                tag @ (b'a' | b'O') => {
                    if tag == b'O' {
                        self.scan.quoted()?;
                    }
                    self.scan.expect(b":")?;
                    let count = self.scan.length()?;
                    self.scan.expect(b":{")?;
                    if MAX_DEPTH <= depth + open.len() {
                        return self.scan.fail();
                    }
                    open.push(count);
                }
                // References, and formats that may contain them.
                _ => return self.scan.fail(),
            }
            loop {
                match open.last_mut() {
                    None => return Ok(()),
                    Some(0) => {
                        self.scan.expect(b"}")?;
                        open.pop();
                    }
                    Some(left) => {
                        *left -= 1;
                        match self.scan.byte()? {
                            b'i' => drop(self.scan.int()?),
                            b's' => self.scan.pass_string()?,
                            _ => return self.scan.fail(),
                        }
                        break;
                    }
                }
            }
        }
    }

    fn count_value(&mut self) -> Result<(), Stuck> {
        self.values += 1;
        if MAX_VALUES < self.values { self.scan.fail() } else { Ok(()) }
    }
}

/// Nesting depth of arrays, including this one.
fn nesting(value: &Value) -> usize {
    match value {
        Value::Array(array) => 1 + array.values().map(nesting).max().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
