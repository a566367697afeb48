//! The codes with which gateways close the clients of a protocol, in place of their own.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::{CloseFrame, InvalidClose, bounded};

/// The number of kinds.
const KINDS: usize = CloseKind::ALL.len();

/// A cause for which a gateway itself closes a client with a close frame.
///
/// Variants are only ever appended: the native codec numbers them by position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum CloseKind {
    /// The gateway is shutting down.
    Shutdown,
    /// The client did not respond to pings in time.
    PingTimeout,
    /// The client's send queue is full.
    SlowClient,
    /// No worker is available for its events.
    NoWorker,
    /// The memory budget of the gateway is exceeded.
    Overload,
    /// The client has sent faster than it may.
    RateLimit,
    /// A malformed frame, or a text message that is not UTF-8.
    Protocol,
    /// A message over the size limit.
    MessageTooLarge,
    /// Worker processes have ended while they handled an event of the client.
    Undeliverable,
    /// The client was not bound to a uid in time.
    NotAuthenticated,
    /// Its token has expired.
    TokenExpired,
    /// Its token is revoked, or its new token is that of another user.
    TokenRefused,
    /// More clients than allowed are bound to its uid.
    UidLimit,
}

impl CloseKind {
    /// Every kind, in the order of their numbers.
    pub const ALL: [Self; 13] = [
        Self::Shutdown,
        Self::PingTimeout,
        Self::SlowClient,
        Self::NoWorker,
        Self::Overload,
        Self::RateLimit,
        Self::Protocol,
        Self::MessageTooLarge,
        Self::Undeliverable,
        Self::NotAuthenticated,
        Self::TokenExpired,
        Self::TokenRefused,
        Self::UidLimit,
    ];
}

/// The close codes of a protocol: for some kinds of causes, the code with which a gateway closes a
/// client, in place of its own. The reason in the close frame stays that of the gateway.
///
/// ```
/// # use push_suite_protocol::{CloseCodes, CloseKind, InvalidClose};
/// let codes = CloseCodes::new([(CloseKind::Shutdown, 4200), (CloseKind::SlowClient, 4100)])?;
/// assert_eq!(codes.of(CloseKind::Shutdown), Some(4200));
/// assert_eq!(codes.of(CloseKind::NoWorker), None);
/// # Ok::<(), InvalidClose>(())
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct CloseCodes([u16; KINDS]);

impl CloseCodes {
    /// The codes of these kinds; the last one of a kind that is listed twice.
    ///
    /// # Errors
    /// When a code is not one that an [application may send](CloseFrame::new).
    pub fn new(codes: impl IntoIterator<Item = (CloseKind, u16)>) -> Result<Self, InvalidClose> {
        let mut of_kinds = [0; KINDS];
        for (kind, code) in codes {
            of_kinds[kind as usize] = CloseFrame::new(code, "")?.code();
        }
        Ok(Self(of_kinds))
    }

    /// The code of a kind; `None` if it is the gateway's own.
    pub fn of(&self, kind: CloseKind) -> Option<u16> {
        let code = self.0[kind as usize];
        (code != 0).then_some(code)
    }

    /// Whether every code is the gateway's own.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn iter(&self) -> impl Iterator<Item = (CloseKind, u16)> {
        CloseKind::ALL.into_iter().filter_map(|kind| Some((kind, self.of(kind)?)))
    }
}

impl fmt::Debug for CloseCodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl Serialize for CloseCodes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().collect::<Vec<_>>())
    }
}

impl<'de> Deserialize<'de> for CloseCodes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let codes: Vec<(CloseKind, u16)> = bounded::targets(deserializer)?;
        Self::new(codes).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_numbered_in_order() {
        for (at, kind) in CloseKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, at);
        }
    }

    #[test]
    fn codes_are_those_of_an_application() {
        let all = CloseCodes::new(CloseKind::ALL.map(|kind| (kind, 4000 + kind as u16))).unwrap();
        for kind in CloseKind::ALL {
            assert_eq!(all.of(kind), Some(4000 + kind as u16));
        }
        for code in [0, 999, 1001, 1013, 2999, 5000] {
            let refused = CloseCodes::new([(CloseKind::NoWorker, code)]);
            assert_eq!(refused, Err(InvalidClose::Code(code)));
        }
        let twice = CloseCodes::new([(CloseKind::Overload, 4100), (CloseKind::Overload, 1000)]);
        assert_eq!(twice.unwrap().of(CloseKind::Overload), Some(1000));
        assert!(CloseCodes::new([]).unwrap().is_empty() && !all.is_empty());
    }
}
