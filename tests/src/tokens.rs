//! Tokens of clients, issued as an application's login does.

use std::{
    fs,
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Signs tokens with one key, whose public part is in a file.
pub struct Issuer {
    header: Header,
    key: EncodingKey,
    folder: TempDir,
    file: String,
}

/// Now, in seconds since the Unix epoch.
///
/// # Panics
/// If the clock is before the epoch.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

impl Issuer {
    /// HS256, with a secret made of this byte, in a key set.
    pub fn hs256(id: &str, byte: u8) -> Self {
        let issuer = Self::new(Algorithm::HS256, EncodingKey::from_secret(&[byte; 33]).unwrap());
        let issuer =
            Self { header: Header { kid: Some(id.to_owned()), ..issuer.header }, ..issuer };
        issuer.write(&json!({ "keys": [issuer.jwk()] }).to_string());
        issuer
    }

    /// RS256, ES256 and EdDSA, with new keys, each in PEM.
    pub fn with_public_keys() -> [Self; 3] {
        type FromPem = fn(&[u8]) -> jsonwebtoken::errors::Result<EncodingKey>;
        let of: [(_, _, FromPem); 3] = [
            (Algorithm::RS256, &PKCS_RSA_SHA256, EncodingKey::from_rsa_pem),
            (Algorithm::ES256, &PKCS_ECDSA_P256_SHA256, EncodingKey::from_ec_pem),
            (Algorithm::EdDSA, &PKCS_ED25519, EncodingKey::from_ed_pem),
        ];
        of.map(|(algorithm, kind, from_pem)| {
            let pair = KeyPair::generate_for(kind).unwrap();
            let issuer = Self::new(algorithm, from_pem(pair.serialize_pem().as_bytes()).unwrap());
            issuer.write(&pair.public_key_pem());
            issuer
        })
    }

    fn new(algorithm: Algorithm, key: EncodingKey) -> Self {
        let folder = TempDir::with_prefix("push-suite-keys.").unwrap();
        Self { header: Header::new(algorithm), key, folder, file: "keys".to_owned() }
    }

    /// The secret of HS256 as a member of a key set.
    ///
    /// # Panics
    /// If it has another algorithm.
    pub fn jwk(&self) -> Value {
        // 33 bytes are 44 characters without padding.
        let secret = self.key.as_bytes();
        let six = |bits: u32| {
            char::from(
                b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
                    [(bits & 63) as usize],
            )
        };
        let encoded = secret.chunks(3).flat_map(|three| {
            let bits = three.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte));
            [six(bits >> 18), six(bits >> 12), six(bits >> 6), six(bits)]
        });
        json!({ "kty": "oct", "kid": self.header.kid, "k": encoded.collect::<String>() })
    }

    /// The file with its key.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join(&self.file)
    }

    /// Writes something else into that file.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn write(&self, text: &str) {
        fs::write(self.file(), text).unwrap();
    }

    /// A token with these claims and, unless they have one, an `exp` in a minute.
    ///
    /// # Panics
    /// If the claims are not an object.
    pub fn token(&self, mut claims: Value) -> String {
        claims.as_object_mut().unwrap().entry("exp").or_insert(json!(now() + 60));
        encode(&self.header, &claims, &self.key).unwrap()
    }

    /// The token of a user.
    pub fn token_of(&self, uid: &str) -> String {
        self.token(json!({ "sub": uid }))
    }
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issuer").field("algorithm", &self.header.alg).finish_non_exhaustive()
    }
}
