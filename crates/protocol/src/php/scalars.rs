//! Scalars in serialized text.

use bytes::Bytes;

use super::scanner::{Scanner, Stuck};

impl Scanner<'_> {
    pub(super) fn bool(&mut self) -> Result<bool, Stuck> {
        self.expect(b":")?;
        let value = self.skip(b"1");
        if !value {
            self.expect(b"0")?;
        }
        self.expect(b";")?;
        Ok(value)
    }

    /// `:n;`, saturating on overflow.
    pub(super) fn int(&mut self) -> Result<i64, Stuck> {
        self.expect(b":")?;
        let negative = self.skip(b"-");
        if !negative {
            self.skip(b"+");
        }
        let digits = self.digits()?;
        let add = |sum: i64, digit: u8| {
            let digit = i64::from(digit - b'0');
            sum.saturating_mul(10).saturating_add(if negative { -digit } else { digit })
        };
        let value = self.ascii(digits).bytes().fold(0, add);
        self.expect(b";")?;
        Ok(value)
    }

    pub(super) fn float(&mut self) -> Result<f64, Stuck> {
        self.expect(b":")?;
        for (name, value) in
            [(&b"NAN;"[..], f64::NAN), (b"INF;", f64::INFINITY), (b"-INF;", f64::NEG_INFINITY)]
        {
            if self.skip(name) {
                return Ok(value);
            }
        }
        let number =
            self.skip_while(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
        let number = self.ascii(number).parse().or_else(|_| self.fail())?;
        self.expect(b";")?;
        Ok(number)
    }

    /// `:n:"…";`.
    pub(super) fn string(&mut self) -> Result<Bytes, Stuck> {
        let string = self.quoted()?;
        self.expect(b";")?;
        Ok(string)
    }

    /// Skips `:n:"…";`.
    pub(super) fn pass_string(&mut self) -> Result<(), Stuck> {
        self.expect(b":")?;
        let length = self.length()?;
        self.expect(b":\"")?;
        self.pass(length)?;
        self.expect(b"\";")
    }

    /// `:n:"…"`.
    pub(super) fn quoted(&mut self) -> Result<Bytes, Stuck> {
        self.expect(b":")?;
        let length = self.length()?;
        self.expect(b":\"")?;
        let string = self.take(length)?;
        self.expect(b"\"")?;
        Ok(string)
    }

    /// `:n:"…";` with bytes as `\41`, a legacy format that PHP reads but no longer writes.
    pub(super) fn escaped_string(&mut self) -> Result<Bytes, Stuck> {
        self.expect(b":")?;
        let length = self.length()?;
        self.expect(b":\"")?;
        if self.rest().len() < length {
            self.fail()?;
        }
        let mut string = Vec::with_capacity(length);
        for _ in 0..length {
            string.push(match self.byte()? {
                b'\\' => (self.hex()? << 4 | self.hex()?) as u8,
                byte => byte,
            });
        }
        self.expect(b"\";")?;
        Ok(string.into())
    }

    /// The number of properties or bytes of an object. PHP accepts a sign here, and reads an empty
    /// number as zero.
    pub(super) fn object_length(&mut self) -> Result<usize, Stuck> {
        let negative = self.skip(b"-");
        if !negative {
            self.skip(b"+");
        }
        let none = !self.peek().is_some_and(|byte| byte.is_ascii_digit());
        let length = if none { 0 } else { self.length()? };
        if negative && length != 0 {
            self.fail()?;
        }
        Ok(length)
    }
}
