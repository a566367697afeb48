//! The end of the validity of a certificate, read from its DER encoding (X.509, RFC 5280). Pure.

/// Seconds since the Unix epoch at which a certificate ceases to be valid; `None` if it is no
/// certificate of the usual form.
pub(super) fn not_after(certificate: &[u8]) -> Option<u64> {
    let (certificate, _) = element(SEQUENCE, certificate)?;
    let (mut body, _) = element(SEQUENCE, certificate)?;
    // The version is left out in those of version 1.
    if let Some((_, rest)) = element(VERSION, body) {
        body = rest;
    }
    let (_serial, rest) = element(INTEGER, body)?;
    let (_algorithm, rest) = element(SEQUENCE, rest)?;
    let (_issuer, rest) = element(SEQUENCE, rest)?;
    let (validity, _) = element(SEQUENCE, rest)?;
    let (_not_before, rest) = time(validity)?;
    let (not_after, _) = time(rest)?;
    Some(not_after)
}

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The content of the element at the start of `bytes`, and what follows it.
fn element(tag: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (found, rest) = bytes.split_first()?;
    if *found != tag {
        return None;
    }
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match *first {
        short @ 0..=0x7f => (usize::from(short), rest),
        // A length of up to three bytes.
        long @ 0x81..=0x83 => {
            let (length, rest) = rest.split_at_checked(usize::from(long - 0x80))?;
            (length.iter().fold(0, |all, byte| all << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

/// The time at the start of `bytes`, and what follows it.
fn time(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (year, text, rest) = match element(UTC_TIME, bytes) {
        Some((text, rest)) => {
            let year = digits(text.get(..2)?)?;
            let century = if year < 50 { 2000 } else { 1900 };
            (century + year, text.get(2..)?, rest)
        }
        None => {
            let (text, rest) = element(GENERALIZED_TIME, bytes)?;
            (digits(text.get(..4)?)?, text.get(4..)?, rest)
        }
    };
    let [month, day, hour, minute, second] =
        [0, 2, 4, 6, 8].map(|at| text.get(at..at + 2).and_then(digits));
    if text.get(10..)? != b"Z" {
        return None;
    }
    let (month, day) = (month?, day?);
    let is_date = (1970..).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    let days = is_date.then(|| days(year, month, day))?;
    Some((((days * 24 + hour?) * 60 + minute?) * 60 + second?, rest))
}

fn digits(text: &[u8]) -> Option<u64> {
    text.iter().try_fold(0, |number, digit| {
        digit.is_ascii_digit().then(|| number * 10 + u64::from(digit - b'0'))
    })
}

/// Days from the start of 1970 to a date of the Gregorian calendar.
fn days(year: u64, month: u64, day: u64) -> u64 {
    // Years that begin in March, so that the leap day is the last one.
    let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let of_months = (153 * month + 2) / 5;
    let days = year * 365 + year / 4 - year / 100 + year / 400 + of_months + day - 1;
    days.saturating_sub(719_468)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (date, days_since) in [
            ((1970, 1, 1), 0),
            ((1999, 12, 31), 10_956),
            ((2000, 2, 29), 11_016),
            ((2000, 3, 1), 11_017),
            ((2026, 11, 29), 20_786),
            ((2100, 3, 1), 47_541),
            ((9999, 12, 31), 2_932_896),
        ] {
            assert_eq!(days(date.0, date.1, date.2), days_since, "{date:?}");
        }
    }

    #[test]
    fn times_have_two_forms() {
        let read = |tag, text: &[u8]| {
            let length = u8::try_from(text.len()).unwrap();
            time(&[&[tag, length], text].concat()).map(|(time, _)| time)
        };
        assert_eq!(read(UTC_TIME, b"700101000001Z"), Some(1));
        assert_eq!(read(UTC_TIME, b"491231235959Z"), Some(2_524_607_999));
        assert_eq!(read(GENERALIZED_TIME, b"20500101000000Z"), Some(2_524_608_000));
        for text in [&b""[..], b"Z", b"7001010000Z", b"70010100000xZ", b"700001000000Z", b"7"] {
            assert_eq!(read(UTC_TIME, text), None, "{text:?}");
        }
        assert_eq!(read(GENERALIZED_TIME, b"19691231235959Z"), None);
    }

    #[test]
    fn certificate_ends_when_it_was_signed_to_end() {
        let key = rcgen::KeyPair::generate().unwrap();
        for (year, expected) in [(2031, 1_935_705_600), (2075, 3_324_240_000)] {
            let mut certificate = rcgen::CertificateParams::default();
            certificate.not_after = rcgen::date_time_ymd(year, 5, 5);
            let certificate = certificate.self_signed(&key).unwrap();
            let der: &[u8] = certificate.der();
            assert_eq!(not_after(der), Some(expected), "{year}");
            for end in 0..60 {
                assert_eq!(not_after(&der[..end]), None, "{end}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_bytes_cause_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..64), at in 0..200usize) {
            let _ = not_after(&bytes);
            let key = rcgen::KeyPair::generate().unwrap();
            let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap();
            let mut der = certificate.der().to_vec();
            let at = at.min(der.len());
            der.splice(at..(at + bytes.len()).min(certificate.der().len()), bytes);
            let _ = not_after(&der);
        }
    }
}
