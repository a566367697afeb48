//! Signing of tokens: for tools of operators and for tests. An application's login signs with a
//! library of its own language.

use std::fmt;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::Value;
use thiserror::Error;

use crate::keys::{RawKey, RawSet};

/// A key that signs tokens, with the one algorithm that it is used for. `Debug` does not show it.
pub struct Signer {
    header: Header,
    key: EncodingKey,
}

/// Why a key does not sign. Nothing of the key is in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidSigner {
    /// Neither a key set nor a private key.
    #[error("neither a JSON Web Key Set with a secret nor a private key in PEM")]
    NeitherForm,
    /// The set has no secret of this id.
    #[error("the set has no secret (kty oct) with this id")]
    NoSecret,
    /// The set has several.
    #[error("the set has several secrets: name one by its id")]
    Several,
    /// A key in PEM that is not private, or of another type.
    #[error("not a private key of RSA, P-256 or Ed25519 in PEM")]
    NotPrivate,
    /// The claims were not signed.
    #[error("the key does not sign")]
    Fails,
}

impl Signer {
    /// Parses the content of a file: a JSON Web Key Set, of which a secret signs with HS256, or a
    /// private key in PEM. `id` selects the secret, and is the `kid` of its tokens.
    ///
    /// # Errors
    /// When it has no such key.
    pub fn parse(content: &[u8], id: Option<&str>) -> Result<Self, InvalidSigner> {
        match content.trim_ascii() {
            content @ [b'{', ..] => Self::from_set(content, id),
            content @ [b'-', ..] => Self::from_pem(content, id),
            _ => Err(InvalidSigner::NeitherForm),
        }
    }

    fn from_set(content: &[u8], id: Option<&str>) -> Result<Self, InvalidSigner> {
        let set: RawSet =
            serde_json::from_slice(content).map_err(|_| InvalidSigner::NeitherForm)?;
        let is_meant =
            |key: &RawKey| key.kty == "oct" && (id.is_none() || key.kid.as_deref() == id);
        let mut secrets = set.keys.into_iter().filter(is_meant);
        let secret = secrets.next().ok_or(InvalidSigner::NoSecret)?;
        if secrets.next().is_some() {
            return Err(InvalidSigner::Several);
        }
        let encoded = secret.k.ok_or(InvalidSigner::NoSecret)?;
        let key = EncodingKey::from_urlsafe_base64_secret(&encoded);
        let key = key.map_err(|_| InvalidSigner::NoSecret)?;
        Ok(Self { header: Header { kid: secret.kid, ..Header::new(Algorithm::HS256) }, key })
    }

    fn from_pem(content: &[u8], id: Option<&str>) -> Result<Self, InvalidSigner> {
        type Read = fn(&[u8]) -> jsonwebtoken::errors::Result<EncodingKey>;
        let kinds: [(Algorithm, Read); 3] = [
            (Algorithm::RS256, EncodingKey::from_rsa_pem),
            (Algorithm::ES256, EncodingKey::from_ec_pem),
            (Algorithm::EdDSA, EncodingKey::from_ed_pem),
        ];
        let kid = id.map(str::to_owned);
        let signers = kinds.into_iter().filter_map(|(algorithm, read)| {
            let header = Header { kid: kid.clone(), ..Header::new(algorithm) };
            Some(Self { header, key: read(content).ok()? })
        });
        // The type of a key is known by what it can sign.
        let signs = |signer: &Self| signer.sign(&Value::Object(serde_json::Map::new())).is_ok();
        signers.into_iter().find(signs).ok_or(InvalidSigner::NotPrivate)
    }

    /// A token with these claims.
    ///
    /// # Errors
    /// When the key fails to sign.
    pub fn sign(&self, claims: &Value) -> Result<String, InvalidSigner> {
        encode(&self.header, claims, &self.key).map_err(|_| InvalidSigner::Fails)
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("algorithm", &self.header.alg).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use protocol::AccessToken;
    use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256};
    use serde_json::json;

    use super::*;
    use crate::{Keys, Rules};

    const NOW: u64 = 1_800_000_000;

    fn rules() -> Rules {
        let (audiences, issuers) = (Vec::new(), Vec::new());
        Rules { audiences, issuers, max_lifetime: 3600, allow_anonymous: false }
    }

    fn verifies(signer: &Signer, keys: &Keys) -> bool {
        let token = signer.sign(&json!({ "sub": "ann", "exp": NOW + 60 })).unwrap();
        rules().verify(keys, &AccessToken::new(token).unwrap(), NOW).is_ok()
    }

    #[test]
    fn secret_of_a_set_signs_tokens_that_the_set_verifies() {
        let secret = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let other = secret.replace('A', "B");
        let set = json!({ "keys": [
            { "kty": "oct", "kid": "a", "k": secret },
            { "kty": "oct", "kid": "b", "k": other },
        ] })
        .to_string();
        let keys = Keys::parse(set.as_bytes()).unwrap();
        for id in ["a", "b"] {
            assert!(verifies(&Signer::parse(set.as_bytes(), Some(id)).unwrap(), &keys), "{id}");
        }
        let error = |id| Signer::parse(set.as_bytes(), id).unwrap_err();
        assert_eq!(error(None), InvalidSigner::Several);
        assert_eq!(error(Some("c")), InvalidSigner::NoSecret);
    }

    #[test]
    fn private_key_signs_tokens_that_its_public_key_verifies() {
        for kind in [&PKCS_RSA_SHA256, &PKCS_ECDSA_P256_SHA256, &PKCS_ED25519] {
            let pair = KeyPair::generate_for(kind).unwrap();
            let signer = Signer::parse(pair.serialize_pem().as_bytes(), None).unwrap();
            let public = pair.public_key_pem();
            assert!(verifies(&signer, &Keys::parse(public.as_bytes()).unwrap()), "{signer:?}");
            let error = Signer::parse(public.as_bytes(), None).unwrap_err();
            assert_eq!(error, InvalidSigner::NotPrivate);
        }
        assert_eq!(Signer::parse(b"", None).unwrap_err(), InvalidSigner::NeitherForm);
    }
}
