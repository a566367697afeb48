//! Uids and groups in JSON: text, a number, or bytes in Base64.

use std::{borrow::Cow, fmt};

use push_suite_cluster::{Group, Uid};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, MapAccess, Visitor},
    ser::SerializeMap as _,
};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        ObjectBuilder, OneOfBuilder, RefOr, Schema,
        schema::{AdditionalProperties, SchemaType, Type},
    },
};

use crate::{
    bytes_text::{from_base64, to_base64},
    failure::Failure,
};

/// A uid or a group: a string, an integer (its decimal digits), or `{"base64": "…"}` for bytes that
/// are not UTF-8. 1 to 1,024 bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(pub Vec<u8>);

impl Name {
    /// As a uid.
    ///
    /// # Errors
    /// When it is empty or too long.
    pub fn uid(&self) -> Result<Uid, Failure> {
        Uid::new(&self.0).map_err(|error| Failure::bad_request(format!("uid: {error}")))
    }

    /// As a group.
    ///
    /// # Errors
    /// When it is empty or too long.
    pub fn group(&self) -> Result<Group, Failure> {
        Group::new(&self.0).map_err(|error| Failure::bad_request(format!("group: {error}")))
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

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&String::from_utf8_lossy(&self.0), f)
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("base64", &to_base64(&self.0))?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Forms)
    }
}

struct Forms;

impl<'de> Visitor<'de> for Forms {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, an integer or {\"base64\": …}")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Name, E> {
        Ok(Name(text.as_bytes().to_vec()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Name, E> {
        Ok(Name(number.to_string().into_bytes()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Name, E> {
        Ok(Name(number.to_string().into_bytes()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Name, A::Error> {
        let mut bytes = None;
        while let Some((key, text)) = map.next_entry::<Cow<'_, str>, Cow<'_, str>>()? {
            if key != "base64" || bytes.is_some() {
                return Err(A::Error::custom("expected {\"base64\": …} and nothing else"));
            }
            bytes = Some(from_base64(&text).ok_or_else(|| A::Error::custom("invalid Base64"))?);
        }
        bytes.map(Name).ok_or_else(|| A::Error::missing_field("base64"))
    }
}

impl PartialSchema for Name {
    fn schema() -> RefOr<Schema> {
        let of = |kind: Type| ObjectBuilder::new().schema_type(SchemaType::Type(kind));
        let bytes = of(Type::Object)
            .property("base64", of(Type::String))
            .required("base64")
            .additional_properties(Some(AdditionalProperties::FreeForm(false)));
        OneOfBuilder::new()
            .item(of(Type::String).min_length(Some(1)).max_length(Some(1024)))
            .item(of(Type::Integer))
            .item(bytes)
            .description(Some(
                "A uid or group of 1 to 1,024 bytes: a string, an integer (its decimal digits), or \
                 bytes that are not UTF-8 in Base64.",
            ))
            .into()
    }
}

impl ToSchema for Name {}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json, to_value};

    use super::*;

    #[test]
    fn name_is_read_in_each_form_and_written_in_the_shortest() {
        let name = |value| from_value::<Name>(value).map(|name| name.0);
        assert_eq!(name(json!("ä")).unwrap(), "ä".as_bytes());
        assert_eq!(name(json!(42)).unwrap(), b"42");
        assert_eq!(name(json!(-7)).unwrap(), b"-7");
        assert_eq!(name(json!({"base64": "/wA="})).unwrap(), [0xff, 0]);
        for wrong in [json!(1.5), json!(null), json!([]), json!({}), json!({"base64": "!"})] {
            assert!(name(wrong.clone()).is_err(), "{wrong}");
        }
        assert!(name(json!({"base64": "/wA=", "x": "y"})).is_err());
        assert_eq!(to_value(Name(b"a".to_vec())).unwrap(), json!("a"));
        assert_eq!(to_value(Name(vec![0xff, 0])).unwrap(), json!({"base64": "/wA="}));
    }

    #[test]
    fn empty_and_long_names_are_refused() {
        assert!(Name(Vec::new()).uid().is_err());
        assert!(Name(vec![0; 1025]).group().is_err());
        assert!(Name(vec![0; 1024]).group().is_ok());
    }
}
