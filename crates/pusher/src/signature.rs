//! Signatures: HMAC-SHA256 with the secret of an app's key, as lower-case hex.
//!
//! The signed text is given in parts, which are signed as if they were one.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use http_api::bytes_text::{from_hex, to_hex};
use sha2::Sha256;

/// The number of hex digits of a signature.
const DIGITS: usize = 64;

/// A key of an app, which is public, and its secret. `Debug` shows no secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    key: String,
    secret: String,
}

impl Key {
    /// A key and its secret.
    pub fn new(key: impl Into<String>, secret: impl Into<String>) -> Self {
        Self { key: key.into(), secret: secret.into() }
    }

    /// The key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The secret.
    pub fn expose_secret(&self) -> &str {
        &self.secret
    }

    /// The signature of a text.
    pub fn sign(&self, text: &[&[u8]]) -> String {
        to_hex(&self.mac(text).finalize().into_bytes())
    }

    /// Whether `signature` is that of the text. Compares in constant time.
    pub fn verifies(&self, text: &[&[u8]], signature: &str) -> bool {
        digest(signature).is_some_and(|digest| self.mac(text).verify_slice(&digest).is_ok())
    }

    /// The value of `auth` with which a client proves that its application allows it: key, colon,
    /// signature.
    pub fn auth(&self, text: &[&[u8]]) -> String {
        format!("{}:{}", self.key, self.sign(text))
    }

    fn mac(&self, text: &[&[u8]]) -> Hmac<Sha256> {
        let mac = <Hmac<Sha256> as KeyInit>::new_from_slice(self.secret.as_bytes());
        let mut mac = mac.expect("HMAC takes keys of any length");
        text.iter().for_each(|part| mac.update(part));
        mac
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("key", &self.key).finish_non_exhaustive()
    }
}

/// The bytes of a signature; `None` if it is not 64 lower-case hex digits.
fn digest(signature: &str) -> Option<Vec<u8>> {
    let is_lower = |digit: u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
    let is_digest = signature.len() == DIGITS && signature.bytes().all(is_lower);
    is_digest.then(|| from_hex(signature))?
}

/// The text that the signature of a subscription is of. `data` is the `channel_data` as sent.
pub fn channel_text<'a>(
    socket_id: &'a str,
    channel: &'a str,
    data: Option<&'a str>,
) -> Vec<&'a [u8]> {
    let mut text: Vec<&[u8]> = vec![socket_id.as_bytes(), b":", channel.as_bytes()];
    if let Some(data) = data {
        text.extend([&b":"[..], data.as_bytes()]);
    }
    text
}

/// The text that the signature of a sign-in is of. `data` is the `user_data` as sent.
pub fn user_text<'a>(socket_id: &'a str, data: &'a str) -> Vec<&'a [u8]> {
    vec![socket_id.as_bytes(), b"::user::", data.as_bytes()]
}

/// The key with which an `auth` value is signed; `None` if it is malformed, signed with no key of
/// these, or not the signature of this text: all the same to the sender.
pub fn verify<'a>(keys: &'a [Key], auth: &str, text: &[&[u8]]) -> Option<&'a Key> {
    let (key, signature) = auth.split_once(':')?;
    let key = keys.iter().find(|it| it.key == key)?;
    key.verifies(text, signature).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOCKET: &str = "1234.1234";

    fn key() -> Key {
        Key::new("278d425bdf160c739803", "7ad3773142a6692b25b8")
    }

    #[test]
    fn signatures_are_those_of_the_protocol() {
        let channel = channel_text(SOCKET, "private-foobar", None);
        assert_eq!(
            key().auth(&channel),
            "278d425bdf160c739803:\
             58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4"
        );
        let data = r#"{"user_id":10,"user_info":{"name":"Mr. Channels"}}"#;
        let presence = channel_text(SOCKET, "presence-foobar", Some(data));
        assert_eq!(
            key().sign(&presence),
            "31935e7d86dba64c2a90aed31fdc61869f9b22ba9d8863bba239c03ca481bc80"
        );
        let user = user_text(SOCKET, r#"{"id":"12345"}"#);
        assert_eq!(
            key().sign(&user),
            "4708d583dada6a56435fb8bc611c77c359a31eebde13337c16ab43aa6de336ba"
        );
    }

    #[test]
    fn body_of_a_webhook_is_signed_alike() {
        let body =
            br#"{"time_ms":1327078148132,"events":[{"name":"channel_occupied","channel":"c"}]}"#;
        assert_eq!(
            Key::new("k1", "s1").sign(&[body]),
            "d58fa0b07d40fc2057957b033d75833451a5094a3864b74bed3880d630e182ba"
        );
    }

    #[test]
    fn every_live_key_verifies() {
        let keys = [Key::new("new", "secret 2"), Key::new("old", "secret 1")];
        let text = channel_text(SOCKET, "private-a", None);
        for key in &keys {
            assert_eq!(verify(&keys, &key.auth(&text), &text), Some(key));
        }
        let mixed = format!("new:{}", keys[1].sign(&text));
        assert_eq!(verify(&keys, &mixed, &text), None, "the secret of another key");
        assert_eq!(verify(&keys[..1], &keys[1].auth(&text), &text), None, "a removed key");
    }

    #[test]
    fn malformed_or_foreign_signature_does_not_verify() {
        let (keys, text) = ([key()], channel_text(SOCKET, "private-a", None));
        let good = key().auth(&text);
        assert!(verify(&keys, &good, &text).is_some());
        let other = channel_text("1234.1235", "private-a", None);
        assert_eq!(verify(&keys, &good, &other), None);
        for auth in [
            String::new(),
            ":".to_owned(),
            key().key().to_owned(),
            format!("{}:", key().key()),
            format!(" {good}"),
            format!("{good} "),
            format!("{good}00"),
            good[..good.len() - 1].to_owned(),
            good.to_uppercase(),
            format!("{}:{}", key().key(), "é".repeat(32)),
            format!("{}:{}", key().key(), "0".repeat(64)),
        ] {
            assert_eq!(verify(&keys, &auth, &text), None, "{auth:?}");
        }
    }

    #[test]
    fn secret_is_never_printed() {
        let shown = format!("{:?}", key());
        assert!(shown.contains(key().key()) && !shown.contains(key().expose_secret()), "{shown}");
    }
}
