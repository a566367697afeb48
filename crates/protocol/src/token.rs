//! Tokens of clients on the wire: their text, which is never printed, their renewal, and their
//! revocation.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use thiserror::Error;

use crate::{TokenId, Uid, bounded};

/// The longest token, in bytes.
pub const MAX_TOKEN: usize = 8 * 1024;

/// For how long a revocation is kept unless it says otherwise, in seconds: a day, the longest life
/// that a token has by default, and a minute for clocks that differ.
pub const DEFAULT_TTL: u32 = 24 * 60 * 60 + 60;

/// Not a token: empty, or longer than [`MAX_TOKEN`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidToken {
    /// No bytes at all.
    #[error("a token is never empty")]
    Empty,
    /// Longer than [`MAX_TOKEN`].
    #[error("a token of {0} bytes is longer than {MAX_TOKEN}")]
    TooLong(usize),
}

/// The text of a client's token, as it was issued. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken(Arc<str>);

impl AccessToken {
    /// Takes the text of a token, without verifying it.
    ///
    /// # Errors
    /// When it is empty or longer than [`MAX_TOKEN`].
    pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidToken> {
        match text.as_ref() {
            "" => Err(InvalidToken::Empty),
            long if MAX_TOKEN < long.len() => Err(InvalidToken::TooLong(long.len())),
            text => Ok(Self(text.into())),
        }
    }

    /// The text, which is a credential.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken(..)")
    }
}

impl Serialize for AccessToken {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for AccessToken {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(<&str>::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// Why a token is not accepted, as far as it concerns its bearer.
///
/// Variants are only ever appended: the native codec numbers them by position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum TokenError {
    /// Malformed, not signed with a key of the gateway, or with claims that it does not accept.
    Invalid,
    /// No longer valid.
    Expired,
    /// Revoked.
    Revoked,
}

/// The result of giving a client a new token.
///
/// Variants are only ever appended: the native codec numbers them by position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Renewal {
    /// The token is valid. The connection expires at this time, in seconds since the Unix epoch, or
    /// never.
    Renewed {
        /// The time.
        expires_at: Option<u64>,
    },
    /// The token is not valid. The connection expires when it did before.
    Refused(TokenError),
    /// The token is that of another user. The client is closed with 4403.
    OtherUser,
    /// The client has no token to renew: its gateway runs without `--handshake-auth jwt`, or it is
    /// connected to a listener without a handshake.
    WithoutToken,
    /// The client is not connected.
    NotConnected,
}

/// Tokens that are no longer accepted although they have not expired.
///
/// A token is revoked if its id (`jti`) is in the list, or if it is that of one of the users
/// (`sub`) and was issued before the time. [`all`](Self::all) stands for the users of all tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// Ids of tokens (`jti`).
    #[serde(deserialize_with = "bounded::targets")]
    pub ids: Vec<TokenId>,
    /// Users (`sub`).
    #[serde(deserialize_with = "bounded::targets")]
    pub uids: Vec<Uid>,
    /// Every user.
    pub all: bool,
    /// Only tokens issued (`iat`) before this time, in seconds since the Unix epoch; those without
    /// an `iat` count as issued before. `None`: also tokens that are issued later. It does not
    /// concern `ids`.
    pub issued_before: Option<u64>,
    /// For how long this is remembered, in seconds. At least the longest life of a token.
    pub ttl: u32,
    /// Whether clients that are connected with such a token are closed, with 4403.
    pub disconnect: bool,
}

impl Revocation {
    /// Revokes tokens by their ids, for [`DEFAULT_TTL`] seconds, and closes their clients.
    pub fn ids(ids: impl Into<Vec<TokenId>>) -> Self {
        Self { ids: ids.into(), ..Self::none() }
    }

    /// Revokes all tokens of these users, those issued later too unless
    /// [`issued_before`](Self::issued_before) is set.
    pub fn uids(uids: impl Into<Vec<Uid>>) -> Self {
        Self { uids: uids.into(), ..Self::none() }
    }

    /// Revokes every token that was issued before a time, in seconds since the Unix epoch.
    pub fn all(issued_before: u64) -> Self {
        Self { all: true, issued_before: Some(issued_before), ..Self::none() }
    }

    fn none() -> Self {
        Self {
            ids: Vec::new(),
            uids: Vec::new(),
            all: false,
            issued_before: None,
            ttl: DEFAULT_TTL,
            disconnect: true,
        }
    }

    /// Limits it to tokens issued before a time, in seconds since the Unix epoch.
    #[must_use]
    pub fn issued_before(self, time: u64) -> Self {
        Self { issued_before: Some(time), ..self }
    }

    /// Changes for how long it is remembered, in seconds.
    #[must_use]
    pub fn ttl(self, seconds: u32) -> Self {
        Self { ttl: seconds, ..self }
    }

    /// Leaves clients that are connected with such a token connected until they expire.
    #[must_use]
    pub fn keep_connected(self) -> Self {
        Self { disconnect: false, ..self }
    }

    /// Approximate heap size in bytes.
    pub(crate) fn weight(&self) -> usize {
        let ids = self.ids.iter().map(TokenId::weight).sum::<usize>();
        ids + self.uids.iter().map(Uid::weight).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_is_never_printed_and_its_length_is_bounded() {
        let token = AccessToken::new("a.b.c").unwrap();
        assert_eq!(token.expose(), "a.b.c");
        assert_eq!(format!("{token:?}"), "AccessToken(..)");
        assert_eq!(AccessToken::new(""), Err(InvalidToken::Empty));
        assert!(AccessToken::new("x".repeat(MAX_TOKEN)).is_ok());
        let long = AccessToken::new("x".repeat(MAX_TOKEN + 1));
        assert_eq!(long, Err(InvalidToken::TooLong(MAX_TOKEN + 1)));
    }
}
