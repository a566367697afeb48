//! Verification of a token: shape, key, signature, claims.

use jsonwebtoken::{Validation, decode, decode_header, errors::ErrorKind};
use protocol::AccessToken;

use crate::{Claims, Keys, Rejection, claims::RawClaims};

/// How far the clocks of issuers and gateways may differ, in seconds.
pub const LEEWAY: u64 = 30;

/// The requirements of a token besides its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// One of these must be in `aud`; empty: it is not checked.
    pub audiences: Vec<String>,
    /// `iss` must be one of these; empty: it is not checked.
    pub issuers: Vec<String>,
    /// How far ahead `exp` may be, in seconds.
    pub max_lifetime: u64,
    /// Whether `sub` may be missing or empty.
    pub allow_anonymous: bool,
}

impl Rules {
    /// Verifies a token at `now`, in seconds since the Unix epoch. Costs no signature unless the
    /// token has the shape of one and names a known key.
    ///
    /// # Errors
    /// When the token is not valid. Whether it is revoked is not checked.
    pub fn verify(&self, keys: &Keys, token: &AccessToken, now: u64) -> Result<Claims, Rejection> {
        let text = token.expose();
        if !has_shape(text) {
            return Err(Rejection::Malformed);
        }
        let header = decode_header(text).map_err(|error| match error.kind() {
            // JSON, and no header: an algorithm that is not supported, such as `none`.
            ErrorKind::Json(error) if error.is_data() => Rejection::Algorithm,
            _ => Rejection::Malformed,
        })?;
        let key = keys.select(header.alg, header.kid.as_deref())?;
        let mut validation = Validation::new(key.algorithm);
        // Claims are checked below, with the caller's time.
        validation.required_spec_claims.clear();
        (validation.validate_exp, validation.validate_aud) = (false, false);
        let decoded = decode::<RawClaims>(text, &key.key, &validation);
        decoded.map_err(|error| rejection(error.kind()))?.claims.check(self, now)
    }
}

fn rejection(kind: &ErrorKind) -> Rejection {
    match kind {
        ErrorKind::InvalidSignature => Rejection::Signature,
        ErrorKind::InvalidAlgorithm => Rejection::Algorithm,
        _ => Rejection::Malformed,
    }
}

/// Whether it consists of three parts in base64url. None is empty: a token without a signature is
/// not accepted.
fn has_shape(text: &str) -> bool {
    let is_base64url = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let mut parts = 0;
    text.split('.').all(|part| {
        parts += 1;
        parts <= 3 && !part.is_empty() && part.bytes().all(is_base64url)
    }) && parts == 3
}

#[cfg(test)]
mod tests;
