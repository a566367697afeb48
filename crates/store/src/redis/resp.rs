//! The protocol of Redis, version 2: requests to bytes, bytes to answers.
//!
//! An answer is bounded before memory is allocated for it, since a server may be anything that listens
//! on its port.

use bytes::{BufMut as _, Bytes, BytesMut};
use thiserror::Error;

/// The longest line, in bytes.
const MAX_LINE: usize = 64 * 1024;

/// The longest string, in bytes.
const MAX_STRING: usize = 32 * 1024 * 1024;

/// The most elements of an answer, of all its arrays together.
const MAX_ELEMENTS: usize = 100_000;

/// The largest answer, in bytes.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// The deepest nesting of arrays.
const MAX_DEPTH: usize = 4;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A short text, such as `OK`.
    Status(Bytes),
    /// The server refuses or has failed.
    Error(String),
    /// A number.
    Integer(i64),
    /// A string of bytes.
    Bulk(Bytes),
    /// No string, or no array.
    Null,
    /// Several answers.
    Array(Vec<Self>),
}

/// Bytes that are no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the server does not speak the protocol of Redis: {0}")]
pub struct Garbage(&'static str);

/// Appends a request.
pub fn encode<'a>(arguments: impl ExactSizeIterator<Item = &'a [u8]>, out: &mut BytesMut) {
    put_header(b'*', arguments.len(), out);
    for argument in arguments {
        put_header(b'$', argument.len(), out);
        out.extend_from_slice(argument);
        out.extend_from_slice(b"\r\n");
    }
}

fn put_header(kind: u8, length: usize, out: &mut BytesMut) {
    out.put_u8(kind);
    out.extend_from_slice(length.to_string().as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Takes answers from the bytes of a connection. Looks at each byte once, however they arrive.
#[derive(Debug, Default)]
pub struct Decoder {
    /// The length of the complete elements of an answer that is not complete.
    scanned: usize,
    /// The elements that its arrays still lack, the innermost last.
    lacking: Vec<usize>,
    /// The elements that its arrays have announced.
    elements: usize,
}

impl Decoder {
    /// Takes one answer from the front, or nothing until more bytes arrive.
    ///
    /// # Errors
    /// When the bytes are no answer, or one that is too large. The connection is unusable then.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Value>, Garbage> {
        if !self.scan(buffer)? {
            return Ok(None);
        }
        let answer = buffer.split_to(std::mem::take(self).scanned);
        let mut at = 0;
        build(&answer, &mut at).map(Some)
    }

    /// Whether the answer is complete.
    fn scan(&mut self, bytes: &[u8]) -> Result<bool, Garbage> {
        while let Some(element) = element(bytes, self.scanned)? {
            self.scanned = element.end;
            if MAX_ANSWER < self.scanned {
                return Err(Garbage("an answer is too large"));
            }
            if let Kind::Array(length @ 1..) = element.kind {
                self.elements = self.elements.saturating_add(length);
                if MAX_ELEMENTS < self.elements || MAX_DEPTH <= self.lacking.len() {
                    return Err(Garbage("an array is too large"));
                }
                self.lacking.push(length);
                continue;
            }
            // The element may complete its array, and that the one around it.
            loop {
                let Some(lacking) = self.lacking.last_mut() else { return Ok(true) };
                *lacking -= 1;
                if 0 < *lacking {
                    break;
                }
                self.lacking.pop();
            }
        }
        Ok(false)
    }
}

/// An element, of an array only its head.
struct Element<'a> {
    kind: Kind<'a>,
    end: usize,
}

enum Kind<'a> {
    Status(&'a [u8]),
    Error(&'a [u8]),
    Integer(i64),
    Bulk(&'a [u8]),
    Null,
    Array(usize),
}

/// The element at a place, if it is complete.
fn element(bytes: &[u8], at: usize) -> Result<Option<Element<'_>>, Garbage> {
    let rest = &bytes[at..];
    let window = &rest[..rest.len().min(MAX_LINE)];
    let Some(length) = window.windows(2).position(|end| end == b"\r\n") else {
        return if rest.len() < MAX_LINE { Ok(None) } else { Err(Garbage("a line is too long")) };
    };
    let end = at + length + 2;
    let (kind, line) = rest[..length].split_first().ok_or(Garbage("an empty line"))?;
    let kind = match (kind, line) {
        (b'+', text) => Kind::Status(text),
        (b'-', text) => Kind::Error(text),
        (b':', digits) => Kind::Integer(number(digits)?),
        (b'$' | b'*', b"-1") => Kind::Null,
        (b'$', digits) => {
            let length = size(digits)?;
            if MAX_STRING < length {
                return Err(Garbage("a string is too long"));
            }
            return match (bytes.get(end..end + length), bytes.get(end + length..end + length + 2)) {
                (Some(text), Some(b"\r\n")) => {
                    Ok(Some(Element { kind: Kind::Bulk(text), end: end + length + 2 }))
                }
                (_, Some(_)) => Err(Garbage("a string without an end")),
                _ => Ok(None),
            };
        }
        (b'*', digits) => Kind::Array(size(digits)?),
        _ => return Err(Garbage("an unknown type")),
    };
    Ok(Some(Element { kind, end }))
}

/// The value at a place where a complete one was found.
fn build(bytes: &[u8], at: &mut usize) -> Result<Value, Garbage> {
    let element = element(bytes, *at)?.ok_or(Garbage("an incomplete answer"))?;
    *at = element.end;
    Ok(match element.kind {
        Kind::Status(text) => Value::Status(Bytes::copy_from_slice(text)),
        Kind::Error(text) => Value::Error(String::from_utf8_lossy(text).into_owned()),
        Kind::Integer(number) => Value::Integer(number),
        Kind::Bulk(text) => Value::Bulk(Bytes::copy_from_slice(text)),
        Kind::Null => Value::Null,
        Kind::Array(length) => {
            Value::Array((0..length).map(|_| build(bytes, at)).collect::<Result<_, _>>()?)
        }
    })
}

fn number(digits: &[u8]) -> Result<i64, Garbage> {
    let text = std::str::from_utf8(digits).map_err(|_| Garbage("a number"))?;
    text.parse().map_err(|_| Garbage("a number"))
}

fn size(digits: &[u8]) -> Result<usize, Garbage> {
    usize::try_from(number(digits)?).map_err(|_| Garbage("a length"))
}

#[cfg(test)]
mod tests;
