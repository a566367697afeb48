//! Tokens that are no longer accepted although they have not expired.

use std::collections::HashMap;

use protocol::{Revocation, TokenId, Uid};
use serde::Deserialize;
use thiserror::Error;

use crate::Identity;

/// The most entries: an id of a token or a uid counts as one.
pub const MAX_REVOCATIONS: usize = 100_000;

/// No more revocations can be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("more than {MAX_REVOCATIONS} tokens and users are revoked at the same time")]
pub struct Full;

/// Tokens issued before a time, or all of them, until a time; both in seconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Issued {
    before: Option<u64>,
    until: u64,
}

/// Revoked tokens, each until a time.
#[derive(Clone, Debug, Default)]
pub struct Revocations {
    ids: HashMap<TokenId, u64>,
    uids: HashMap<Uid, Vec<Issued>>,
    all: Vec<Issued>,
    entries: usize,
}

/// One element of a file of revocations.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRevocation {
    #[serde(default)]
    jti: Vec<TokenId>,
    #[serde(default)]
    uids: Vec<Uid>,
    #[serde(default)]
    all: bool,
    issued_before: Option<u64>,
    until: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    revocations: Vec<RawRevocation>,
}

impl Revocations {
    /// Parses a file: a JSON object with a list `revocations` of objects with `until`, in seconds
    /// since the Unix epoch, and `jti`, `uids`, `all`, `issued_before`.
    ///
    /// # Errors
    /// When it is not that, or has too many entries.
    pub fn parse(content: &[u8]) -> Result<Self, String> {
        let file: RawFile = serde_json::from_slice(content).map_err(|error| error.to_string())?;
        let mut revocations = Self::default();
        for raw in file.revocations {
            let RawRevocation { jti: ids, uids, all, issued_before, until } = raw;
            if all && issued_before.is_none() {
                return Err("\"all\" requires \"issued_before\"".into());
            }
            if ids.is_empty() && uids.is_empty() && !all {
                return Err("an element names neither jti nor uids nor all".into());
            }
            let none = Revocation::ids(Vec::new());
            let revocation = Revocation { ids, uids, all, issued_before, ..none };
            revocations.insert(&revocation, until).map_err(|full| full.to_string())?;
        }
        Ok(revocations)
    }

    /// Adds a revocation at `now`, in seconds since the Unix epoch, for its `ttl`.
    ///
    /// # Errors
    /// When there are too many. Nothing is added then.
    pub fn add(&mut self, revocation: &Revocation, now: u64) -> Result<(), Full> {
        let until = now.saturating_add(revocation.ttl.into());
        self.insert(revocation, until).or_else(|_| {
            self.forget_past(now);
            self.insert(revocation, until)
        })
    }

    /// Whether a token is revoked at `now`.
    pub fn contains(&self, token: &Identity, now: u64) -> bool {
        let lasts = |until: &u64| now < *until;
        let concerns = |issued: &Issued| lasts(&issued.until) && issued.concerns(token.issued_at);
        let by_id = token.id.as_ref().and_then(|id| self.ids.get(id)).is_some_and(lasts);
        let of_uid = token.uid.as_ref().and_then(|uid| self.uids.get(uid));
        by_id || of_uid.is_some_and(|all| all.iter().any(concerns)) || self.all.iter().any(concerns)
    }

    /// The number of entries, including those that have ended since the last addition.
    pub fn len(&self) -> usize {
        self.entries
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    fn insert(&mut self, revocation: &Revocation, until: u64) -> Result<(), Full> {
        let issued = Issued { before: revocation.issued_before, until };
        if MAX_REVOCATIONS < self.entries + self.additional(revocation, issued) {
            return Err(Full);
        }
        for id in &revocation.ids {
            let kept = self.ids.entry(id.clone()).or_insert_with(|| {
                self.entries += 1;
                until
            });
            *kept = until.max(*kept);
        }
        let lists = revocation.uids.iter().map(Some).chain(revocation.all.then_some(None));
        for uid in lists {
            let list = match uid {
                Some(uid) => self.uids.entry(uid.clone()).or_default(),
                None => &mut self.all,
            };
            let before = list.len();
            issued.join(list);
            self.entries = self.entries + list.len() - before;
        }
        Ok(())
    }

    /// The number of entries that a revocation adds. None if it was added before: the shards of a
    /// gateway, and a caller that repeats it, add the same.
    fn additional(&self, revocation: &Revocation, issued: Issued) -> usize {
        let is_new = |others: Option<&Vec<Issued>>| {
            let is_kept = |other: &Issued| other.covers(issued) || issued.covers(*other);
            !others.is_some_and(|others| others.iter().any(is_kept))
        };
        let ids = revocation.ids.iter().filter(|id| !self.ids.contains_key(*id)).count();
        let uids = revocation.uids.iter().filter(|uid| is_new(self.uids.get(*uid))).count();
        ids + uids + usize::from(revocation.all && is_new(Some(&self.all)))
    }

    fn forget_past(&mut self, now: u64) {
        self.ids.retain(|_, until| now < *until);
        let lasts = |issued: &Issued| now < issued.until;
        self.uids.retain(|_, issued| {
            issued.retain(lasts);
            !issued.is_empty()
        });
        self.all.retain(lasts);
        let of_uids = self.uids.values().map(Vec::len).sum::<usize>();
        self.entries = self.ids.len() + of_uids + self.all.len();
    }
}

impl Issued {
    fn concerns(self, issued_at: Option<u64>) -> bool {
        match (self.before, issued_at) {
            (Some(before), Some(issued_at)) => issued_at < before,
            (None, _) | (_, None) => true,
        }
    }

    /// Adds it to those of the same user, unless another covers it, in place of those that it covers.
    fn join(self, others: &mut Vec<Self>) {
        if !others.iter().any(|other| other.covers(self)) {
            others.retain(|other| !self.covers(*other));
            others.push(self);
        }
    }

    /// Whether every token that `other` concerns is concerned by this one, for at least as long.
    fn covers(self, other: Self) -> bool {
        let before = match (self.before, other.before) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(one), Some(other)) => other <= one,
        };
        before && other.until <= self.until
    }
}

#[cfg(test)]
mod tests;
