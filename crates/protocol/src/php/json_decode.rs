//! Decodes JSON as PHP's `json_decode($text, true)` does.
//!
//! Differences from other decoders: ints beyond 64 bits become floats, floats out of range become
//! INF, the last of several equal keys counts, at the position of the first, and keys become array
//! keys.

use bytes::Bytes;
use thiserror::Error;

use super::{
    array::Array,
    scanner::{Scanner, Stuck},
    value::{Key, MAX_DEPTH, MAX_VALUES, Value},
};

/// Why a text cannot be decoded. PHP returns `null` for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum JsonDecodeError {
    /// Invalid JSON.
    #[error("not JSON, from byte {at}")]
    Syntax { at: usize },
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH}")]
    TooDeep,
    /// More than [`MAX_VALUES`] values.
    #[error("more than {MAX_VALUES} values")]
    TooMany,
}

impl From<Stuck> for JsonDecodeError {
    fn from(stuck: Stuck) -> Self {
        Self::Syntax { at: stuck.at }
    }
}

/// Decodes a JSON text.
///
/// # Errors
/// When PHP would not decode it, or it is nested deeper than [`MAX_DEPTH`], or it has more than
/// [`MAX_VALUES`] values.
pub fn json_decode(text: &Bytes) -> Result<Value, JsonDecodeError> {
    // PHP validates UTF-8 only within strings, but other bytes are invalid elsewhere anyway.
    if let Err(error) = std::str::from_utf8(text) {
        return Err(JsonDecodeError::Syntax { at: error.valid_up_to() });
    }
    let mut reader = Reader { scan: Scanner::new(text), depth: 0, values: 0 };
    let value = reader.value()?;
    reader.whitespace();
    if !reader.scan.rest().is_empty() {
        reader.scan.fail()?;
    }
    Ok(value)
}

struct Reader<'a> {
    scan: Scanner<'a>,
    depth: usize,
    values: usize,
}

type Read<T> = Result<T, JsonDecodeError>;

impl Reader<'_> {
    fn value(&mut self) -> Read<Value> {
        self.values += 1;
        if MAX_VALUES < self.values {
            return Err(JsonDecodeError::TooMany);
        }
        self.whitespace();
        match self.scan.peek() {
            Some(b'{') => self.object(),
            Some(b'[') => self.list(),
            Some(b'"') => self.string().map(Value::Str),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ if self.scan.skip(b"null") => Ok(Value::Null),
            _ if self.scan.skip(b"true") => Ok(Value::Bool(true)),
            _ if self.scan.skip(b"false") => Ok(Value::Bool(false)),
            _ => Ok(self.scan.fail()?),
        }
    }

    fn object(&mut self) -> Read<Value> {
        let mut array = Array::new();
        self.enclosed(b"{", b"}", |reader| {
            reader.whitespace();
            let key = Key::from_text(reader.string()?);
            reader.whitespace();
            reader.scan.expect(b":")?;
            let value = reader.value()?;
            array.set(key, value);
            Ok(())
        })?;
        Ok(Value::Array(array))
    }

    fn list(&mut self) -> Read<Value> {
        let mut array = Array::new();
        self.enclosed(b"[", b"]", |reader| {
            let value = reader.value()?;
            array.push(value);
            Ok(())
        })?;
        Ok(Value::Array(array))
    }

    /// Items between brackets, with commas between them.
    fn enclosed(
        &mut self,
        open: &[u8],
        close: &[u8],
        mut item: impl FnMut(&mut Self) -> Read<()>,
    ) -> Read<()> {
        self.scan.expect(open)?;
        self.depth += 1;
        if MAX_DEPTH < self.depth {
            return Err(JsonDecodeError::TooDeep);
        }
        self.whitespace();
        if !self.scan.skip(close) {
            loop {
                item(self)?;
                self.whitespace();
                if self.scan.skip(close) {
                    break;
                }
                self.scan.expect(b",")?;
            }
        }
        self.depth -= 1;
        Ok(())
    }

    fn string(&mut self) -> Read<Bytes> {
        self.scan.expect(b"\"")?;
        let rest = self.scan.rest();
        let plain = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f));
        let plain = self.scan.take(plain.unwrap_or(rest.len()))?;
        if self.scan.skip(b"\"") {
            return Ok(plain);
        }
        let mut string = plain.to_vec();
        loop {
            match self.scan.byte()? {
                b'"' => return Ok(string.into()),
                b'\\' => {
                    let char = self.escape()?;
                    string.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
                }
                0..=0x1f => self.scan.fail()?,
                byte => string.push(byte),
            }
        }
    }

    fn escape(&mut self) -> Read<char> {
        Ok(match self.scan.byte()? {
            byte @ (b'"' | b'\\' | b'/') => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let mut code = self.unit()?;
                if (0xd800..0xdc00).contains(&code) && self.scan.skip(b"\\u") {
                    code = match self.unit()? {
                        low @ 0xdc00..=0xdfff => 0x10000 + ((code - 0xd800) << 10 | (low - 0xdc00)),
                        _ => self.scan.fail()?,
                    };
                }
                // An unpaired surrogate is invalid.
                match char::from_u32(code) {
                    Some(char) => char,
                    None => self.scan.fail()?,
                }
            }
            _ => self.scan.fail()?,
        })
    }

    fn unit(&mut self) -> Read<u32> {
        let mut code = 0;
        for _ in 0..4 {
            code = code << 4 | self.scan.hex()?;
        }
        Ok(code)
    }

    fn number(&mut self) -> Read<Value> {
        let start = self.scan.at();
        self.scan.skip(b"-");
        // No leading zeros.
        if !self.scan.skip(b"0") {
            self.scan.digits()?;
        }
        let int = self.scan.at();
        if self.scan.skip(b".") {
            self.scan.digits()?;
        }
        if self.scan.skip(b"e") || self.scan.skip(b"E") {
            if !self.scan.skip(b"+") {
                self.scan.skip(b"-");
            }
            self.scan.digits()?;
        }
        let end = self.scan.at();
        let text = self.scan.ascii(start..end);
        if int == end
            && let Ok(int) = text.parse()
        {
            return Ok(Value::Int(int));
        }
        Ok(Value::Float(text.parse().or_else(|_| self.scan.fail())?))
    }

    fn whitespace(&mut self) {
        self.scan.skip_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
    }
}
