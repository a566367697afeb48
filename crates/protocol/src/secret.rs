//! The cluster's secret: compared in constant time, never printed, and never sent on native links.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The cluster's secret. Empty if none is configured.
#[derive(Clone, Default)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// Whether no secret is set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The secret itself, for the protocols that send it in the clear.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Whether `guess` is the secret. Constant-time; hashing both sides hides the length as well.
    pub fn matches(&self, guess: &[u8]) -> bool {
        const KEY: &[u8] = b"compare";
        let ours = mac(KEY, &[&self.0]).finalize().into_bytes();
        mac(KEY, &[guess]).verify(&ours).is_ok()
    }

    /// An HMAC-SHA256 keyed with the secret, over the concatenated `parts`.
    pub(crate) fn mac(&self, parts: &[&[u8]]) -> Hmac<Sha256> {
        mac(&self.0, parts)
    }
}

fn mac(key: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut mac =
        <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    mac
}

impl From<String> for Secret {
    fn from(secret: String) -> Self {
        Self(secret.into_bytes().into())
    }
}

impl From<&str> for Secret {
    fn from(secret: &str) -> Self {
        Self(secret.as_bytes().into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_matches_only_itself() {
        let secret = Secret::from("s3cret");
        assert!(secret.matches(b"s3cret"));
        assert!(!secret.matches(b"s3cres"));
        assert!(!secret.matches(b""));
        assert!(Secret::default().matches(b""));
    }

    #[test]
    fn secret_is_never_printed() {
        assert_eq!(format!("{:?}", Secret::from("s3cret")), "Secret(..)");
    }
}
