//! A bounds-checked cursor over a text.

use std::ops::Range;

use bytes::Bytes;

/// The text is malformed from this byte on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stuck {
    pub(super) at: usize,
}

pub(super) struct Scanner<'a> {
    text: &'a Bytes,
    /// Invariant: at most the text's length.
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a Bytes) -> Self {
        Self { text, at: 0 }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        &self.text[self.at..]
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    pub(super) fn byte(&mut self) -> Result<u8, Stuck> {
        let Some(byte) = self.peek() else {
            return self.fail();
        };
        self.at += 1;
        Ok(byte)
    }

    /// Skips these bytes if they are next.
    pub(super) fn skip(&mut self, bytes: &[u8]) -> bool {
        let next = self.rest().starts_with(bytes);
        self.at += if next { bytes.len() } else { 0 };
        next
    }

    pub(super) fn skip_while(&mut self, which: impl Fn(u8) -> bool) -> Range<usize> {
        let start = self.at;
        while self.peek().is_some_and(&which) {
            self.at += 1;
        }
        start..self.at
    }

    pub(super) fn expect(&mut self, bytes: &[u8]) -> Result<(), Stuck> {
        if self.skip(bytes) { Ok(()) } else { self.fail() }
    }

    /// At least one digit.
    pub(super) fn digits(&mut self) -> Result<Range<usize>, Stuck> {
        let digits = self.skip_while(|byte| byte.is_ascii_digit());
        if digits.is_empty() { self.fail() } else { Ok(digits) }
    }

    /// An unsigned number.
    pub(super) fn length(&mut self) -> Result<usize, Stuck> {
        let digits = self.digits()?;
        self.ascii(digits).parse().or_else(|_| self.fail())
    }

    pub(super) fn hex(&mut self) -> Result<u32, Stuck> {
        let digit = char::from(self.byte()?).to_digit(16);
        digit.map_or_else(|| self.fail(), Ok)
    }

    /// The next `length` bytes, without a copy.
    pub(super) fn take(&mut self, length: usize) -> Result<Bytes, Stuck> {
        if self.rest().len() < length {
            return self.fail();
        }
        self.at += length;
        Ok(self.text.slice(self.at - length..self.at))
    }

    /// Skips `length` bytes.
    pub(super) fn pass(&mut self, length: usize) -> Result<(), Stuck> {
        if self.rest().len() < length {
            return self.fail();
        }
        self.at += length;
        Ok(())
    }

    /// A part of the text; empty if it is not UTF-8.
    pub(super) fn ascii(&self, range: Range<usize>) -> &'a str {
        self.text.get(range).and_then(|part| std::str::from_utf8(part).ok()).unwrap_or_default()
    }

    pub(super) fn fail<T>(&self) -> Result<T, Stuck> {
        Err(Stuck { at: self.at })
    }
}
