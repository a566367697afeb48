//! The keys that sign tokens: a JSON Web Key Set (RFC 7517), or a public key in PEM.

use std::{fmt, ops::RangeInclusive};

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    VerificationAlgorithm,
};
use jsonwebtoken::{
    Algorithm, DecodingKey, DecodingKeyKind as Kind, crypto,
    jwk::{AlgorithmParameters, CommonParameters, Jwk, OctetKeyParameters, OctetKeyType},
};
use serde::{Deserialize, de::IgnoredAny};
use thiserror::Error;

use crate::Rejection;

/// The shortest secret of HS256, in bytes: the length of its hash (RFC 7518, 3.2).
const MIN_SECRET: usize = 32;

/// The most keys.
const MAX_KEYS: usize = 100;

/// The beginning of each object in a PEM file.
const BEGIN: &[u8] = b"-----BEGIN ";

/// The lengths of RSA keys that are accepted, in bits.
const RSA_BITS: RangeInclusive<usize> = 2048..=8192;

/// A key, with the one algorithm that it is used for.
#[derive(Clone)]
pub(crate) struct Key {
    id: Option<String>,
    pub(crate) algorithm: Algorithm,
    pub(crate) key: DecodingKey,
}

/// Keys with different ids. `Debug` shows their ids and algorithms only.
#[derive(Clone, Debug, Default)]
pub struct Keys(Vec<Key>);

/// Why a file of keys is not accepted. Nothing of a key is in the text.
#[derive(Debug, Error)]
pub enum InvalidKeys {
    /// Neither JSON nor PEM.
    #[error("neither a JSON Web Key Set nor a public key in PEM")]
    NeitherForm,
    /// Not the JSON of a key set.
    #[error("not a JSON Web Key Set: {0}")]
    NotAKeySet(String),
    /// The set is empty.
    #[error("it has no key")]
    Empty,
    /// Too many keys.
    #[error("more than {MAX_KEYS} keys")]
    TooMany,
    /// A key of the set, counted from 1, cannot be used.
    #[error("key {0}: {1}")]
    Key(usize, KeyProblem),
    /// The key in PEM cannot be used.
    #[error("{0}")]
    Pem(KeyProblem),
    /// Two keys have the same id.
    #[error("two keys have the same kid")]
    SameId,
    /// Several keys have the same algorithm, and one of them has no id.
    #[error("a key without a kid is not the only one of its algorithm")]
    WithoutId,
}

/// Why a key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum KeyProblem {
    /// Another type than `oct`, `RSA`, `EC` and `OKP`.
    #[error("its kty is not one of oct, RSA, EC and OKP")]
    Type,
    /// Another algorithm than that of its type.
    #[error("its alg is not the one for its type: oct HS256, RSA RS256, EC ES256, OKP EdDSA")]
    Algorithm,
    /// Another curve.
    #[error("its crv is neither P-256 (EC) nor Ed25519 (OKP)")]
    Curve,
    /// It is not for signatures.
    #[error("its use is not sig")]
    Use,
    /// A member of the key is missing or not base64url.
    #[error("its member {0} is missing or not base64url")]
    Member(&'static str),
    /// The secret is too short.
    #[error("a secret of HS256 has at least {MIN_SECRET} bytes")]
    Short,
    /// The bytes are not a key of that type.
    #[error("it is not a public key of its type; an RSA key has 2048 to 8192 bits")]
    NotAKey,
    /// It is private.
    #[error("it is a private key; a gateway verifies with the public one")]
    Private,
    /// The file has more than one, of which only the first would count.
    #[error("a file in PEM has one public key; a JSON Web Key Set may have several")]
    Several,
}

/// A JSON Web Key Set (RFC 7517), as it is in a file.
#[derive(Deserialize)]
pub(crate) struct RawSet {
    pub(crate) keys: Vec<RawKey>,
}

/// One of its keys.
#[derive(Deserialize)]
pub(crate) struct RawKey {
    pub(crate) kty: String,
    pub(crate) kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    crv: Option<String>,
    pub(crate) k: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    d: Option<IgnoredAny>,
}

impl Keys {
    /// Parses the content of a file: a JSON Web Key Set, or one public key in PEM.
    ///
    /// # Errors
    /// When a key cannot be used.
    pub fn parse(content: &[u8]) -> Result<Self, InvalidKeys> {
        let content = content.trim_ascii();
        let keys = match content {
            [b'{', ..] => from_set(content)?,
            [b'-', ..] => vec![from_pem(content).map_err(InvalidKeys::Pem)?],
            _ => return Err(InvalidKeys::NeitherForm),
        };
        Self::default().and(Self(keys))
    }

    /// The keys of both.
    ///
    /// # Errors
    /// When two have the same id, or one without an id is not the only one of its algorithm.
    pub fn and(mut self, others: Self) -> Result<Self, InvalidKeys> {
        self.0.extend(others.0);
        if MAX_KEYS < self.0.len() {
            return Err(InvalidKeys::TooMany);
        }
        for (at, key) in self.0.iter().enumerate() {
            for other in &self.0[..at] {
                if key.id.is_some() && key.id == other.id {
                    return Err(InvalidKeys::SameId);
                }
                let has_ids = key.id.is_some() && other.id.is_some();
                if key.algorithm == other.algorithm && !has_ids {
                    return Err(InvalidKeys::WithoutId);
                }
            }
        }
        Ok(self)
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The key of a token with this algorithm and key id. A key without an id is that of tokens
    /// with its algorithm whose id is of no other key.
    pub(crate) fn select(&self, algorithm: Algorithm, id: Option<&str>) -> Result<&Key, Rejection> {
        if let Some(id) = id
            && let Some(key) = self.0.iter().find(|key| key.id.as_deref() == Some(id))
        {
            // An RSA public key must never be the secret of an HMAC.
            return if key.algorithm == algorithm { Ok(key) } else { Err(Rejection::Algorithm) };
        }
        let mut same = self.0.iter().filter(|key| key.algorithm == algorithm);
        match (same.next(), same.next(), id) {
            (None, ..) if id.is_some() => Err(Rejection::UnknownKey),
            (None, ..) => Err(Rejection::Algorithm),
            (Some(key), None, Some(_)) if key.id.is_some() => Err(Rejection::UnknownKey),
            (Some(key), None, _) => Ok(key),
            (Some(_), Some(_), Some(_)) => Err(Rejection::UnknownKey),
            (Some(_), Some(_), None) => Err(Rejection::NoKey),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, algorithm, key: _ } = self;
        f.debug_struct("Key").field("id", id).field("algorithm", algorithm).finish_non_exhaustive()
    }
}

fn from_set(content: &[u8]) -> Result<Vec<Key>, InvalidKeys> {
    let set: RawSet = serde_json::from_slice(content).map_err(|error| {
        // The error's own text may quote a value.
        let place = format!("line {}, column {}", error.line(), error.column());
        InvalidKeys::NotAKeySet(place)
    })?;
    if set.keys.is_empty() {
        return Err(InvalidKeys::Empty);
    }
    if MAX_KEYS < set.keys.len() {
        return Err(InvalidKeys::TooMany);
    }
    let keys = set.keys.into_iter().zip(1..);
    keys.map(|(key, at)| from_raw(key).map_err(|problem| InvalidKeys::Key(at, problem))).collect()
}

fn from_raw(raw: RawKey) -> Result<Key, KeyProblem> {
    let RawKey { kty, kid, alg, purpose, crv, k, n, e, x, y, d } = raw;
    if purpose.is_some_and(|purpose| purpose != "sig") {
        return Err(KeyProblem::Use);
    }
    if d.is_some() {
        return Err(KeyProblem::Private);
    }
    let member = |value: Option<String>, name| value.ok_or(KeyProblem::Member(name));
    let curve = |name| if crv.as_deref() == Some(name) { Ok(()) } else { Err(KeyProblem::Curve) };
    let (algorithm, name, key) = match kty.as_str() {
        "oct" => {
            let key = secret(member(k, "k")?)?;
            (Algorithm::HS256, "HS256", key)
        }
        "RSA" => {
            let (n, e) = (member(n, "n")?, member(e, "e")?);
            let key = DecodingKey::from_rsa_components(&n, &e);
            (Algorithm::RS256, "RS256", key.map_err(|_| KeyProblem::Member("n or e"))?)
        }
        "EC" => {
            curve("P-256")?;
            let (x, y) = (member(x, "x")?, member(y, "y")?);
            let key = DecodingKey::from_ec_components(&x, &y);
            (Algorithm::ES256, "ES256", key.map_err(|_| KeyProblem::Member("x or y"))?)
        }
        "OKP" => {
            curve("Ed25519")?;
            let key = DecodingKey::from_ed_components(&member(x, "x")?);
            (Algorithm::EdDSA, "EdDSA", key.map_err(|_| KeyProblem::Member("x"))?)
        }
        _ => return Err(KeyProblem::Type),
    };
    if alg.is_some_and(|alg| alg != name) {
        return Err(KeyProblem::Algorithm);
    }
    usable(Key { id: kid, algorithm, key })
}

/// A public key in PEM. Its type decides about the algorithm.
fn from_pem(content: &[u8]) -> Result<Key, KeyProblem> {
    let label = content.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii();
    match label {
        b"-----BEGIN PUBLIC KEY-----" | b"-----BEGIN RSA PUBLIC KEY-----" => {}
        label if label.windows(7).any(|word| word == b"PRIVATE") => {
            return Err(KeyProblem::Private);
        }
        _ => return Err(KeyProblem::NotAKey),
    }
    if content.windows(BEGIN.len()).filter(|part| *part == BEGIN).count() != 1 {
        return Err(KeyProblem::Several);
    }
    let read = |algorithm, read: fn(&[u8]) -> jsonwebtoken::errors::Result<DecodingKey>| {
        read(content).ok().map(|key| Key { id: None, algorithm, key })
    };
    let key = read(Algorithm::RS256, DecodingKey::from_rsa_pem)
        .or_else(|| read(Algorithm::ES256, DecodingKey::from_ec_pem))
        .or_else(|| read(Algorithm::EdDSA, DecodingKey::from_ed_pem));
    usable(key.ok_or(KeyProblem::NotAKey)?)
}

/// The secret of HS256, in base64url.
fn secret(value: String) -> Result<DecodingKey, KeyProblem> {
    let parameters = OctetKeyParameters { key_type: OctetKeyType::Octet, value };
    let algorithm = AlgorithmParameters::OctetKey(parameters);
    let key = DecodingKey::from_jwk(&Jwk { common: CommonParameters::default(), algorithm });
    let key = key.map_err(|_| KeyProblem::Member("k"))?;
    match key.try_get_as_bytes() {
        Ok(secret) if MIN_SECRET <= secret.len() => Ok(key),
        _ => Err(KeyProblem::Short),
    }
}

/// The key, if a signature can be verified with it: a point that is not on its curve and a number
/// that is no RSA key are found when the file is read, and not with the first token.
fn usable(key: Key) -> Result<Key, KeyProblem> {
    let parses = |algorithm: &'static dyn VerificationAlgorithm, bytes: &[u8]| {
        ParsedPublicKey::new(algorithm, bytes).is_ok()
    };
    let is_key = match (key.algorithm, key.key.kind()) {
        (Algorithm::RS256, Kind::RsaModulusExponent { n, e }) => is_rsa(n, e),
        (Algorithm::RS256, Kind::SecretOrDer(der)) => parses(&RSA_PKCS1_2048_8192_SHA256, der),
        (Algorithm::ES256, Kind::SecretOrDer(point)) => parses(&ECDSA_P256_SHA256_FIXED, point),
        // Other lengths would be read as another encoding.
        (Algorithm::EdDSA, Kind::SecretOrDer(point)) => {
            point.len() == 32 && parses(&ED25519, point)
        }
        _ => true,
    };
    // Without a back end, the library would panic at the first token.
    let verifies = crypto::verify("AAAA", b"", &key.key, key.algorithm).is_ok();
    if is_key && verifies { Ok(key) } else { Err(KeyProblem::NotAKey) }
}

/// Whether these can be the modulus and the exponent of an RSA key of a length that is accepted.
fn is_rsa(modulus: &[u8], exponent: &[u8]) -> bool {
    let is_odd = |number: &[u8]| number.last().is_some_and(|last| last & 1 == 1);
    let bits = |number: &[u8]| {
        let zeros = number.iter().take_while(|byte| **byte == 0).count();
        let first = number.get(zeros).map_or(0, |byte| byte.leading_zeros() as usize);
        (number.len() - zeros) * 8 - first
    };
    is_odd(modulus)
        && is_odd(exponent)
        && RSA_BITS.contains(&bits(modulus))
        && (2..=33).contains(&bits(exponent))
}

#[cfg(test)]
mod tests;
