//! Signatures of Standard Webhooks: secrets, and the header that a receiver verifies.
//!
//! `webhook-signature` is `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`, once for
//! each secret, separated by a space: while a secret is replaced, receivers with either verify it.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, SeqAccess, Visitor},
};
use sha2::Sha256;
use thiserror::Error;

/// The header with the id of the event.
pub const ID: &str = "webhook-id";

/// The header with the time of the request, in seconds since 1970.
pub const TIMESTAMP: &str = "webhook-timestamp";

/// The header with the signatures.
pub const SIGNATURE: &str = "webhook-signature";

/// Begins the text of a secret.
const PREFIX: &str = "whsec_";

/// The shortest key of a secret, in bytes.
pub const SHORTEST: usize = 24;

/// The longest key of a secret, in bytes.
pub const LONGEST: usize = 64;

/// Not a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidSecret {
    /// Another form.
    #[error("a secret is `{PREFIX}` and base64")]
    Form,
    /// A key that is too short or too long.
    #[error("the key of a secret has {SHORTEST} to {LONGEST} bytes, and not {0}")]
    Length(usize),
}

/// The key of a receiver, written `whsec_` and base64. Never shown: `Debug` and serde print
/// `[redacted]`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Reads the text of a secret.
    ///
    /// # Errors
    /// When it has another form, or its key has not [`SHORTEST`] to [`LONGEST`] bytes.
    pub fn parse(text: &str) -> Result<Self, InvalidSecret> {
        let encoded = text.strip_prefix(PREFIX).ok_or(InvalidSecret::Form)?;
        let key = STANDARD.decode(encoded).map_err(|_| InvalidSecret::Form)?;
        match key.len() {
            SHORTEST..=LONGEST => Ok(Self(key)),
            other => Err(InvalidSecret::Length(other)),
        }
    }

    fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.0).expect("a key of HMAC may have any length");
        mac.update(id.as_bytes());
        mac.update(b".");
        mac.update(timestamp.to_string().as_bytes());
        mac.update(b".");
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

/// The value of [`SIGNATURE`]: a signature with each secret.
pub fn sign(secrets: &[Secret], id: &str, timestamp: u64, body: &[u8]) -> String {
    let signed: Vec<_> = secrets.iter().map(|secret| secret.sign(id, timestamp, body)).collect();
    signed.join(" ")
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("[redacted]")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// The secrets of a receiver, 1 to [`MOST_SECRETS`] of them: in a file, one text or a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Secrets(Vec<Secret>);

/// The most secrets of one receiver.
pub const MOST_SECRETS: usize = 5;

impl Secrets {
    /// All of them.
    pub fn as_slice(&self) -> &[Secret] {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Secrets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;

        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Vec<Secret>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a secret or a list of secrets")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Vec<Secret>, E> {
                Ok(Vec::from([Secret::parse(text).map_err(E::custom)?]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<Secret>, A::Error> {
                let mut secrets = Vec::new();
                while let Some(secret) = list.next_element()? {
                    secrets.push(secret);
                    if MOST_SECRETS < secrets.len() {
                        return Err(A::Error::custom("more than five secrets"));
                    }
                }
                Ok(secrets)
            }
        }

        match deserializer.deserialize_any(OneOrMany)? {
            secrets if secrets.is_empty() => Err(D::Error::custom("`secret` is empty")),
            secrets => Ok(Self(secrets)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::parse(text).unwrap()
    }

    #[test]
    fn signature_is_that_of_the_vectors() {
        let ours = secret("whsec_BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUF");
        let signed = sign(&[ours], "evt-1", 1_700_000_000, br#"{"a":1}"#);
        assert_eq!(signed, "v1,7w5ioSGFogskchzW2x3HN1HNV+3d24+qI/jfgPijvrU=");
        // The vector of the libraries of Standard Webhooks.
        let theirs = secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let body = br#"{"test": 2432232314}"#;
        let signed = sign(&[theirs], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn several_secrets_sign_side_by_side() {
        let (old, new) = (secret(&text(1)), secret(&text(2)));
        let both = sign(&[old.clone(), new.clone()], "a", 7, b"x");
        let each = [sign(&[old], "a", 7, b"x"), sign(&[new], "a", 7, b"x")];
        assert_eq!(both, each.join(" "));
        assert_ne!(each[0], each[1]);
        assert_eq!(sign(&[], "a", 7, b"x"), "");
    }

    fn text(byte: u8) -> String {
        format!("{PREFIX}{}", STANDARD.encode([byte; 32]))
    }

    #[test]
    fn everything_signed_changes_the_signature() {
        let key = [secret(&text(3))];
        let signed = sign(&key, "a", 7, b"x");
        for other in [sign(&key, "b", 7, b"x"), sign(&key, "a", 8, b"x"), sign(&key, "a", 7, b"y")]
        {
            assert_ne!(signed, other);
        }
    }

    #[test]
    fn secret_of_another_form_is_refused_and_none_is_shown() {
        for text in ["", "whsec", "BQUF", "whsec_!", "whsec_BQU", "WHSEC_BQUFBQUF"] {
            assert_eq!(Secret::parse(text), Err(InvalidSecret::Form), "{text}");
        }
        let short = format!("{PREFIX}{}", STANDARD.encode([0; 23]));
        assert_eq!(Secret::parse(&short), Err(InvalidSecret::Length(23)));
        let long = format!("{PREFIX}{}", STANDARD.encode([0; 65]));
        assert_eq!(Secret::parse(&long), Err(InvalidSecret::Length(65)));
        let shown = format!("{:?} {}", secret(&text(4)), serde_json::json!(secret(&text(4))));
        assert_eq!(shown, "[redacted] \"[redacted]\"");
    }
}
