//! Channels: their names, and the kind that the prefix of a name states.

use std::fmt;

use thiserror::Error;

use crate::user::{InvalidUserId, UserId};

/// The longest name of a channel, in bytes, prefix included.
pub const MAX_CHANNEL: usize = 164;

/// The prefix of the channel of one user.
const USER: &str = "#server-to-user-";

/// Prefixes in the order in which they are tested: kind, and whether the channel is cached.
const PREFIXES: &[(&str, Kind, bool)] = &[
    ("private-encrypted-cache-", Kind::Encrypted, true),
    ("private-encrypted-", Kind::Encrypted, false),
    ("private-cache-", Kind::Private, true),
    ("private-", Kind::Private, false),
    ("presence-cache-", Kind::Presence, true),
    ("presence-", Kind::Presence, false),
    ("cache-", Kind::Public, true),
];

/// The kind of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Anybody may subscribe.
    Public,
    /// A subscription needs a signature.
    Private,
    /// A private channel whose payloads only its clients can decrypt.
    Encrypted,
    /// A private channel whose subscribers see each other.
    Presence,
    /// The channel of one user, for clients that are signed in as that user.
    User,
}

/// A valid channel name, with its kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Channel {
    name: Box<str>,
    kind: Kind,
    is_cached: bool,
}

/// Not the name of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidChannel {
    /// No name at all.
    #[error("the channel name is empty")]
    Empty,
    /// Longer than [`MAX_CHANNEL`].
    #[error("the channel name has {0} bytes, the maximum is {MAX_CHANNEL}")]
    TooLong(usize),
    /// A character that is not one of a name.
    #[error("the channel name has other characters than a-z, A-Z, 0-9 and _ - = @ , . ;")]
    Character,
    /// Begins with `#` and is not the channel of a user.
    #[error("channel names that begin with # are reserved")]
    Reserved,
    /// The channel of a user, with an invalid id.
    #[error("the channel of a user: {0}")]
    User(InvalidUserId),
}

impl Channel {
    /// Reads a name.
    ///
    /// # Errors
    /// If it is not the name of a channel.
    pub fn parse(name: &str) -> Result<Self, InvalidChannel> {
        if name.is_empty() {
            return Err(InvalidChannel::Empty);
        }
        if let Some(user) = name.strip_prefix(USER) {
            return Ok(Self::of_user(&UserId::parse(user).map_err(InvalidChannel::User)?));
        }
        if MAX_CHANNEL < name.len() {
            return Err(InvalidChannel::TooLong(name.len()));
        }
        if name.starts_with('#') {
            return Err(InvalidChannel::Reserved);
        }
        if !name.bytes().all(is_of_a_name) {
            return Err(InvalidChannel::Character);
        }
        let found = PREFIXES.iter().find(|(prefix, ..)| name.starts_with(prefix));
        let (kind, is_cached) = found.map_or((Kind::Public, false), |it| (it.1, it.2));
        Ok(Self { name: name.into(), kind, is_cached })
    }

    /// The channel of a user.
    pub fn of_user(id: &UserId) -> Self {
        Self { name: format!("{USER}{id}").into(), kind: Kind::User, is_cached: false }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The kind.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether new subscribers receive the last event.
    pub const fn is_cached(&self) -> bool {
        self.is_cached
    }

    /// Whether a subscription has to be signed.
    pub const fn needs_signature(&self) -> bool {
        matches!(self.kind, Kind::Private | Kind::Encrypted | Kind::Presence)
    }

    /// Whether its subscribers may send client events.
    pub const fn takes_client_events(&self) -> bool {
        matches!(self.kind, Kind::Private | Kind::Presence)
    }

    /// Whether it is a presence channel.
    pub const fn is_presence(&self) -> bool {
        matches!(self.kind, Kind::Presence)
    }

    /// The user of the channel of a user.
    pub fn user(&self) -> Option<&str> {
        self.name.strip_prefix(USER)
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

const fn is_of_a_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'=' | b'@' | b',' | b'.' | b';')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(name: &str) -> (Kind, bool) {
        let channel = Channel::parse(name).unwrap();
        assert_eq!(channel.name(), name);
        (channel.kind(), channel.is_cached())
    }

    #[test]
    fn prefix_of_a_name_states_the_kind() {
        assert_eq!(kind("private-encrypted-cache-a"), (Kind::Encrypted, true));
        assert_eq!(kind("private-encrypted-a"), (Kind::Encrypted, false));
        assert_eq!(kind("private-cache-a"), (Kind::Private, true));
        assert_eq!(kind("private-a"), (Kind::Private, false));
        assert_eq!(kind("presence-cache-a"), (Kind::Presence, true));
        assert_eq!(kind("presence-a"), (Kind::Presence, false));
        assert_eq!(kind("cache-a"), (Kind::Public, true));
        assert_eq!(kind("a"), (Kind::Public, false));
        assert_eq!(kind("#server-to-user-7"), (Kind::User, false));
    }

    #[test]
    fn prefix_counts_at_the_beginning_and_with_its_dash_only() {
        for name in ["my-private-a", "private", "presence", "presence_a", "xcache-a", "Private-a"] {
            assert_eq!(kind(name), (Kind::Public, false), "{name}");
        }
        assert_eq!(kind("private-encrypted"), (Kind::Private, false));
    }

    #[test]
    fn name_outside_the_alphabet_or_too_long_is_refused() {
        let parse = |name: &str| Channel::parse(name).unwrap_err();
        assert_eq!(parse(""), InvalidChannel::Empty);
        for name in ["a b", "a/b", "a:b", "é", "a\0", "a\n", "a#b", "a!"] {
            assert_eq!(parse(name), InvalidChannel::Character, "{name:?}");
        }
        assert!(Channel::parse("aZ09_-=@,.;").is_ok());
        assert!(Channel::parse(&"x".repeat(MAX_CHANNEL)).is_ok());
        let long = "x".repeat(MAX_CHANNEL + 1);
        assert_eq!(parse(&long), InvalidChannel::TooLong(MAX_CHANNEL + 1));
        for name in ["#", "#x", "#server-to-user", "#private-a"] {
            assert_eq!(parse(name), InvalidChannel::Reserved, "{name}");
        }
    }

    #[test]
    fn channel_of_a_user_has_the_id_of_the_user() {
        let channel = Channel::of_user(&UserId::parse("ann é").unwrap());
        assert_eq!((channel.name(), channel.user()), ("#server-to-user-ann é", Some("ann é")));
        assert_eq!(Channel::parse(channel.name()).unwrap(), channel);
        assert_eq!(Channel::parse("a").unwrap().user(), None);
        let named = Channel::parse("#server-to-user-a\u{7}").unwrap_err();
        assert_eq!(named, InvalidChannel::User(InvalidUserId::Control));
    }

    #[test]
    fn client_events_are_for_private_and_presence_channels() {
        for (name, signed, client_events) in [
            ("private-a", true, true),
            ("presence-a", true, true),
            ("private-cache-a", true, true),
            ("private-encrypted-a", true, false),
            ("a", false, false),
            ("cache-a", false, false),
            ("#server-to-user-7", false, false),
        ] {
            let channel = Channel::parse(name).unwrap();
            assert_eq!(channel.needs_signature(), signed, "{name}");
            assert_eq!(channel.takes_client_events(), client_events, "{name}");
        }
    }
}
