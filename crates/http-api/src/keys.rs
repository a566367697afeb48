//! The keys of the push API: `[[api.key]]` of the settings file, and what each may do.

use aws_lc_rs::{constant_time::verify_slices_are_equal, digest};
use serde::{Deserialize, Serialize};
use service::settings::{self, Entry, Hidden, Refused, Table, TableFile};

/// An entry `[[api.key]]`: a key that callers send as `Authorization: Bearer KEY`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// Its name in logs.
    name: String,
    /// SHA-256 of the key, in hexadecimal.
    sha256: Hidden,
    /// The operations that it may execute.
    scopes: Vec<Scope>,
    /// It may only name groups with this prefix, and no clients and uids beyond their members.
    #[serde(default)]
    group_prefix: Option<String>,
}

/// The right to some operations. Each operation requires one scope; `admin` includes the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Send messages.
    Push,
    /// Change sessions, uids and groups; close clients.
    Manage,
    /// Query clients, uids and groups.
    Read,
    /// All of these, and revoke tokens.
    Admin,
}

impl Scope {
    /// The name in the settings file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Manage => "manage",
            Self::Read => "read",
            Self::Admin => "admin",
        }
    }
}

/// The longest name of a key, in bytes.
pub const MAX_NAME: usize = 100;

/// The most keys of one file.
pub const MAX_KEYS: usize = 1_000;

impl Entry for Key {
    const TABLE: Table = Table {
        name: "api.key",
        meaning: "A key of the push API (`--http-listen`): a secret that a back end sends as \
                  `Authorization: Bearer KEY`. At most 1,000",
        keys: &[
            settings::Key {
                name: "name",
                value: "text, at most 100 bytes",
                default: None,
                meaning: "Name of the key in logs, unique",
            },
            settings::Key {
                name: "sha256",
                value: "64 hexadecimal digits",
                default: None,
                meaning: "SHA-256 of the key, so that the file does not contain it",
            },
            settings::Key {
                name: "scopes",
                value: "list of `push`, `manage`, `read`, `admin`",
                default: None,
                meaning: "Allowed operations: sends; changes and closes; queries; all of these \
                          and revocations",
            },
            settings::Key {
                name: "group_prefix",
                value: "text",
                default: Some("not set"),
                meaning: "Restricts the key to operations on groups with this prefix, and to \
                          nothing else",
            },
        ],
    };

    fn check(&self) -> Result<(), String> {
        if self.name.is_empty() || MAX_NAME < self.name.len() {
            return Err(format!("`name` must have 1 to {MAX_NAME} bytes"));
        }
        if self.name.chars().any(char::is_control) {
            return Err("`name` has a control character".to_owned());
        }
        if self.digest().is_none() {
            return Err("`sha256` must have 64 hexadecimal digits".to_owned());
        }
        if self.scopes.is_empty() {
            return Err("`scopes` is empty".to_owned());
        }
        if self.group_prefix.as_ref().is_some_and(String::is_empty) {
            return Err("`group_prefix` is empty: leave it out to allow every group".to_owned());
        }
        Ok(())
    }
}

impl Key {
    fn digest(&self) -> Option<[u8; DIGEST]> {
        let text = self.sha256.expose().as_bytes();
        let mut digest = [0; DIGEST];
        if text.len() != 2 * DIGEST {
            return None;
        }
        for (byte, pair) in digest.iter_mut().zip(text.chunks_exact(2)) {
            let digit = |at: usize| char::from(pair[at]).to_digit(16);
            *byte = u8::try_from(digit(0)? * 16 + digit(1)?).ok()?;
        }
        Some(digest)
    }
}

const DIGEST: usize = 32;

/// The keys in effect.
#[derive(Debug, Default)]
pub struct Keys(Vec<KnownKey>);

#[derive(Debug)]
struct KnownKey {
    digest: [u8; DIGEST],
    caller: Caller,
}

/// The rights of the key that a request has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The name of the key.
    pub name: String,
    scopes: Vec<Scope>,
    group_prefix: Option<String>,
}

impl Caller {
    /// The caller of a listener without keys, which may do everything.
    #[must_use]
    pub fn unrestricted() -> Self {
        Self { name: String::new(), scopes: vec![Scope::Admin], group_prefix: None }
    }

    /// Whether it has a scope.
    #[must_use]
    pub fn has(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope) || self.scopes.contains(&Scope::Admin)
    }

    /// The prefix of the groups that it is restricted to.
    #[must_use]
    pub fn group_prefix(&self) -> Option<&str> {
        self.group_prefix.as_deref()
    }
}

impl Keys {
    /// The keys of a settings file.
    ///
    /// # Errors
    /// Names the invalid entry, such as the second of one name.
    pub fn read(file: &mut TableFile) -> Result<Self, Refused> {
        let entries = file.entries::<Key>()?;
        let mut known: Vec<KnownKey> = Vec::with_capacity(entries.len());
        for (at, key) in entries.into_iter().enumerate() {
            if MAX_KEYS <= at {
                return Err(file.refuse::<Key>(at, &format!("more than {MAX_KEYS} keys")));
            }
            let digest = key.digest().unwrap_or_default();
            if known.iter().any(|other| other.caller.name == key.name) {
                return Err(file.refuse::<Key>(at, "`name` is that of an earlier key"));
            }
            if known.iter().any(|other| other.digest == digest) {
                return Err(file.refuse::<Key>(at, "`sha256` is that of an earlier key"));
            }
            let Key { name, scopes, group_prefix, .. } = key;
            known.push(KnownKey { digest, caller: Caller { name, scopes, group_prefix } });
        }
        Ok(Self(known))
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The caller with this key. The time that it takes does not depend on the key.
    #[must_use]
    pub fn find(&self, key: &[u8]) -> Option<&Caller> {
        let digest = digest::digest(&digest::SHA256, key);
        // All are compared, so that the place of the key is not measurable either.
        let same =
            |known: &KnownKey| verify_slices_are_equal(&known.digest, digest.as_ref()).is_ok();
        self.0
            .iter()
            .fold(None, |found, known| if same(known) { Some(&known.caller) } else { found })
    }
}

#[cfg(test)]
mod tests;
