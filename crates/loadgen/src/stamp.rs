//! The number that every message carries, in text so that a text message stays valid:
//! `op run(4) sender(6) number(8) due(12)`, all but the first in hexadecimal.

/// Bytes at the front of a message, its first byte included.
pub(crate) const SIZE: usize = 31;

/// The sender of a message, its number, and when it was due (nanoseconds of the run).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Stamp {
    /// Identifies the run, so that messages of other generators are not counted.
    pub(crate) run: u16,
    pub(crate) sender: u32,
    pub(crate) number: u32,
    pub(crate) due: u64,
}

impl Stamp {
    /// The stamp as text, without the first byte of the message.
    pub(crate) fn text(&self) -> [u8; SIZE - 1] {
        let mut text = [0; SIZE - 1];
        hex(&mut text[..4], u64::from(self.run));
        hex(&mut text[4..10], u64::from(self.sender));
        hex(&mut text[10..18], u64::from(self.number));
        hex(&mut text[18..], self.due);
        text
    }

    /// Reads the stamp of a message, if it has one.
    pub(crate) fn read(message: &[u8]) -> Option<Self> {
        let text = message.get(1..SIZE)?;
        Some(Self {
            run: u16::try_from(unhex(&text[..4])?).ok()?,
            sender: u32::try_from(unhex(&text[4..10])?).ok()?,
            number: u32::try_from(unhex(&text[10..18])?).ok()?,
            due: unhex(&text[18..])?,
        })
    }
}

/// Writes a number in hexadecimal, as wide as `into`.
pub(crate) fn hex(into: &mut [u8], mut value: u64) {
    for digit in into.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(value & 15) as usize];
        value >>= 4;
    }
}

fn unhex(text: &[u8]) -> Option<u64> {
    text.iter().try_fold(0, |value, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamp_round_trips() {
        let stamp = Stamp { run: 0xbeef, sender: 99_999, number: u32::MAX, due: 3_600_000_000_000 };
        let message = [b"e".as_slice(), &stamp.text(), b"xxx"].concat();
        assert_eq!(Stamp::read(&message), Some(stamp));
        assert!(std::str::from_utf8(&message).is_ok());
    }

    #[test]
    fn foreign_message_has_no_stamp() {
        assert_eq!(Stamp::read(b"jroom"), None);
        assert_eq!(Stamp::read(&[b'z'; 64]), None);
    }
}
