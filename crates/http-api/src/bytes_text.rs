//! Bytes as text: Base64 in JSON, percent-encoding in paths and queries, hexadecimal in cursors.

/// Base64 with padding (RFC 4648, 4).
#[must_use]
pub fn to_base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut group = [0; 3];
        group[..chunk.len()].copy_from_slice(chunk);
        let group = u32::from_be_bytes([0, group[0], group[1], group[2]]);
        for place in 0..4 {
            let digit = (group >> (18 - 6 * place)) & 63;
            let is_padding = chunk.len() < place as usize;
            text.push(if is_padding { '=' } else { char::from(ALPHABET[digit as usize]) });
        }
    }
    text
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Decodes Base64 in the standard or the URL alphabet, with or without padding; `None` if it is
/// neither, or has bits beyond its last byte.
#[must_use]
pub fn from_base64(text: &str) -> Option<Vec<u8>> {
    let digits = match text.len() % 4 {
        0 => text.strip_suffix("==").or(text.strip_suffix('=')).unwrap_or(text),
        _ => text,
    };
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3 + 2);
    for chunk in digits.as_bytes().chunks(4) {
        let group =
            chunk.iter().try_fold(0_u32, |group, digit| Some(group << 6 | value(*digit)?))?;
        let group = group << (6 * (4 - chunk.len()));
        let [_, decoded @ ..] = group.to_be_bytes();
        let whole = match chunk.len() {
            1 => return None,
            digits => digits - 1,
        };
        if decoded[whole..].iter().any(|rest| *rest != 0) {
            return None;
        }
        bytes.extend_from_slice(&decoded[..whole]);
    }
    Some(bytes)
}

fn value(digit: u8) -> Option<u32> {
    let value = match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    };
    Some(u32::from(value))
}

/// Decodes percent-encoding; `None` if a `%` is not followed by two hexadecimal digits.
#[must_use]
pub fn from_percent(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = match (first, after) {
            (b'%', [high, low, after @ ..]) => {
                bytes.push(hex_digit(*high)? << 4 | hex_digit(*low)?);
                after
            }
            (b'%', _) => return None,
            _ => {
                bytes.push(*first);
                after
            }
        };
    }
    Some(bytes)
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
