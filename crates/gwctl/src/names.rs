//! Uids, groups and payloads, as JSON and as text of a terminal.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::builder::{OsStringValueParser, TypedValueParser};
use push_suite_cluster::{Group, Uid};
use serde::{Serialize, Serializer, ser::SerializeMap as _};

/// Bytes that are usually text: as JSON a string, or `{"base64": "…"}` if they are not UTF-8, as in
/// the push API.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Name(Vec<u8>);

impl Name {
    /// The text for a terminal: what is not UTF-8 is replaced, and control characters are escaped,
    /// since clients choose these bytes.
    pub(crate) fn plain(&self) -> String {
        plain(&String::from_utf8_lossy(&self.0))
    }

    /// Whether it contains this text.
    pub(crate) fn contains(&self, text: &str) -> bool {
        String::from_utf8_lossy(&self.0).contains(text)
    }
}

impl From<&[u8]> for Name {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl From<&Uid> for Name {
    fn from(uid: &Uid) -> Self {
        Self(uid.as_bytes().to_vec())
    }
}

impl From<&Group> for Name {
    fn from(group: &Group) -> Self {
        Self(group.as_bytes().to_vec())
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("base64", &STANDARD.encode(&self.0))?;
                map.end()
            }
        }
    }
}

/// Text that others have chosen, without effect on a terminal.
pub(crate) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            character if character.is_control() || is_direction(character) => {
                plain.extend(character.escape_unicode());
            }
            character => plain.push(character),
        }
    }
    plain
}

/// Whether it changes the direction of the text behind it.
const fn is_direction(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Parses a uid, of any bytes.
pub(crate) fn uid() -> impl TypedValueParser<Value = Uid> {
    OsStringValueParser::new().try_map(|name: OsString| Uid::new(name.as_bytes()))
}

/// Parses a group, of any bytes.
pub(crate) fn group() -> impl TypedValueParser<Value = Group> {
    OsStringValueParser::new().try_map(|name: OsString| Group::new(name.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_of_a_name_have_no_effect_on_a_terminal() {
        for (text, expected) in [
            ("ann", "ann"),
            ("小明", "小明"),
            ("a\u{1b}[31mb\n", "a\\u{1b}[31mb\\u{a}"),
            ("\u{202e}x", "\\u{202e}x"),
        ] {
            assert_eq!(Name(text.into()).plain(), expected);
        }
    }

    #[test]
    fn name_that_is_not_text_is_base64_in_json() {
        let json = |bytes: &[u8]| serde_json::to_string(&Name(bytes.to_vec())).unwrap();
        assert_eq!(json("小明".as_bytes()), "\"小明\"");
        assert_eq!(json(&[0xff, 0]), r#"{"base64":"/wA="}"#);
    }
}
