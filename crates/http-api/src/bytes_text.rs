//! Bytes as text: Base64 in JSON, percent-encoding in paths and queries, hexadecimal in cursors.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use percent_encoding::percent_decode_str;

/// Base64 with padding (RFC 4648, 4).
#[must_use]
pub fn to_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Decodes Base64 in the standard or the URL alphabet, with or without padding; `None` if it is
/// neither, or has bits beyond its last byte.
#[must_use]
pub fn from_base64(text: &str) -> Option<Vec<u8>> {
    let engine = if text.len().is_multiple_of(4) { &STANDARD } else { &STANDARD_NO_PAD };
    engine.decode(text.replace('-', "+").replace('_', "/")).ok()
}

/// Decodes percent-encoding; `None` if a `%` is not followed by two hexadecimal digits.
#[must_use]
pub fn from_percent(text: &str) -> Option<Vec<u8>> {
    let is_byte = |rest: &str| {
        matches!(rest.as_bytes(), [high, low, ..]
        if high.is_ascii_hexdigit() && low.is_ascii_hexdigit())
    };
    text.split('%').skip(1).all(is_byte).then(|| percent_decode_str(text).collect())
}

/// The pairs of a query, decoded, with `+` as a space; `None` if one is not UTF-8 or not
/// percent-encoded.
#[must_use]
pub fn from_query(query: &str) -> Option<Vec<(String, String)>> {
    let text = |text: &str| String::from_utf8(from_percent(&text.replace('+', " "))?).ok();
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.map(|(key, value)| Some((text(key)?, text(value)?))).collect()
}

/// Bytes in hexadecimal.
#[must_use]
pub fn to_hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Decodes hexadecimal; `None` if it is not.
#[must_use]
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    let byte = |pair: &[u8]| match pair {
        [high, low] => Some(hex_digit(*high)? << 4 | hex_digit(*low)?),
        _ => None,
    };
    pairs.map(byte).collect()
}

fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn base64_has_the_vectors_of_rfc_4648() {
        let vectors =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
        for (plain, encoded) in vectors {
            assert_eq!(to_base64(plain.as_bytes()), encoded);
            assert_eq!(from_base64(encoded).unwrap(), plain.as_bytes());
        }
        assert_eq!(from_base64("-_8").unwrap(), from_base64("+/8=").unwrap());
        assert_eq!(from_base64("Zm8").unwrap(), b"fo");
        for wrong in ["Z", "Zg=", "Zg===", "Zh==", "Z g=", "Zm9v=", "=", "====", "Zm9", "ä"] {
            assert_eq!(from_base64(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn query_is_decoded_or_refused() {
        let pairs = from_query("a=1&&b=%C3%A4+x&c").unwrap();
        let pairs: Vec<_> = pairs.iter().map(|(key, value)| (&key[..], &value[..])).collect();
        assert_eq!(pairs, [("a", "1"), ("b", "ä x"), ("c", "")]);
        for wrong in ["a=%", "a=%f", "a=%zz", "a=%ff"] {
            assert_eq!(from_query(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn bytes_survive_each_form(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            prop_assert_eq!(&from_base64(&to_base64(&bytes)).unwrap(), &bytes);
            prop_assert_eq!(&from_hex(&to_hex(&bytes)).unwrap(), &bytes);
            let percent: String = bytes.iter().map(|byte| format!("%{byte:02X}")).collect();
            prop_assert_eq!(from_percent(&percent).unwrap(), bytes);
        }

        #[test]
        fn any_text_is_decoded_or_refused(text in ".{0,64}") {
            let _ = (from_base64(&text), from_hex(&text), from_percent(&text), from_query(&text));
        }
    }
}
