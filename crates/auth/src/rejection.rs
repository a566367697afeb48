//! Why a token is not accepted.

use protocol::TokenError;
use thiserror::Error;

/// Why a token is not accepted, or none was found. The texts contain nothing of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Rejection {
    /// The request has no token.
    #[error("a token is required")]
    Missing,
    /// The request has two tokens that differ.
    #[error("the request has several tokens that differ")]
    Ambiguous,
    /// The token is in a cookie, which a browser adds to requests of any page, and the request has
    /// no origin.
    #[error("a token in a cookie requires an Origin header")]
    Origin,
    /// Not three parts in base64url, too long, or not JSON.
    #[error("the token is malformed")]
    Malformed,
    /// An algorithm other than that of the key, or one that is not supported, such as `none`.
    #[error("the token's algorithm is not that of a key")]
    Algorithm,
    /// It names a key that is not in the file.
    #[error("the token's key is not known")]
    UnknownKey,
    /// It names no key, and several keys have its algorithm.
    #[error("the token names no key")]
    NoKey,
    /// The signature is wrong.
    #[error("the token's signature is wrong")]
    Signature,
    /// A claim is missing, of the wrong type or beyond a limit.
    #[error("the token's claim {0} is missing or invalid")]
    Claim(&'static str),
    /// Its `aud` contains none of the required audiences.
    #[error("the token is for another audience")]
    Audience,
    /// Its `iss` is none of the required issuers.
    #[error("the token is from another issuer")]
    Issuer,
    /// It is not valid yet (`nbf`, `iat`).
    #[error("the token is not valid yet")]
    NotYet,
    /// It is valid for longer than allowed.
    #[error("the token expires too far ahead")]
    TooLongLived,
    /// It has no `sub`, and anonymous clients are not allowed.
    #[error("the token has no subject")]
    Anonymous,
    /// It is no longer valid.
    #[error("the token has expired")]
    Expired,
    /// It is revoked.
    #[error("the token is revoked")]
    Revoked,
}

impl Rejection {
    /// The HTTP status of the response to a handshake.
    pub const fn status(self) -> u16 {
        match self {
            Self::Ambiguous => 400,
            Self::Origin => 403,
            _ => 401,
        }
    }

    /// The error code in the body of that response.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Missing => "token_missing",
            Self::Ambiguous => "token_ambiguous",
            Self::Origin => "origin_missing",
            Self::Expired => "token_expired",
            Self::Revoked => "token_revoked",
            _ => "token_invalid",
        }
    }

    /// The same as a result of a renewal.
    pub const fn error(self) -> TokenError {
        match self {
            Self::Expired => TokenError::Expired,
            Self::Revoked => TokenError::Revoked,
            _ => TokenError::Invalid,
        }
    }
}
