//! The signature of a request to the HTTP API: parameters of the query with which a server proves
//! that it knows the secret of an app.

use http_api::bytes_text::from_hex;
use md5::{Digest, Md5};

use super::query::{Query, percent_decoded};
use crate::signature::Key;

/// The most seconds between the time in a request and now.
pub(crate) const WINDOW: u64 = 600;

/// The most characters of the signed text that an error shows.
const SHOWN: usize = 1000;

/// The parts of a request that its signature covers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SignedRequest<'a> {
    /// In upper case.
    pub(crate) method: &'a str,
    /// As received.
    pub(crate) path: &'a str,
    pub(crate) query: &'a Query<'a>,
}

/// A request with a valid signature, which covers the MD5 of its body.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the body has to be checked"]
pub(crate) struct Signed {
    body_md5: Option<String>,
}

/// The reason for which a request is not authenticated, as its sender reads it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unauthenticated {
    #[error("The query has no {0}")]
    Missing(&'static str),
    #[error("auth_version is not 1.0")]
    Version,
    #[error("auth_timestamp is not a number of seconds since 1970")]
    NoTime,
    #[error(
        "Timestamp expired: auth_timestamp is {stated}, which is not within {WINDOW} s of this \
         server's time, {now}"
    )]
    Expired { stated: u64, now: u64 },
    #[error("auth_key is no key of this app")]
    UnknownKey,
    #[error("body_md5 is not the MD5 of the body")]
    OtherBody,
    #[error(
        "Invalid signature: auth_signature is not the HMAC SHA256 hex digest, with the secret of \
         auth_key, of \"{0}\""
    )]
    OtherSignature(String),
}

impl SignedRequest<'_> {
    /// Checks the signature at `now`, in seconds since 1970, against the keys of an app.
    ///
    /// SDKs differ in what they sign for the same request: the path with or without a prefix that
    /// is in front of the API, escaped or not; the query as [`Query::signed`] lists. Each form
    /// states the same request, so any of them counts.
    ///
    /// # Errors
    /// The first failed check.
    pub(crate) fn check(&self, now: u64, keys: &[Key]) -> Result<Signed, Unauthenticated> {
        let needed = |name| self.query.get(name).ok_or(Unauthenticated::Missing(name));
        let key = needed("auth_key")?;
        let stated = needed("auth_timestamp")?;
        if needed("auth_version")? != "1.0" {
            return Err(Unauthenticated::Version);
        }
        let signature = needed("auth_signature")?;
        let key = keys.iter().find(|it| it.key() == key).ok_or(Unauthenticated::UnknownKey)?;
        let stated: u64 = stated.parse().map_err(|_| Unauthenticated::NoTime)?;
        if WINDOW < now.abs_diff(stated) {
            return Err(Unauthenticated::Expired { stated, now });
        }
        match self.texts().iter().any(|text| key.verifies(&[text], &signature)) {
            true => Ok(Signed { body_md5: self.query.get("body_md5") }),
            false => Err(Unauthenticated::OtherSignature(self.shown())),
        }
    }

    /// The texts of which one is signed, the documented one first.
    fn texts(&self) -> Vec<Vec<u8>> {
        let mut paths = Vec::from([self.path.as_bytes().to_vec()]);
        let decoded = percent_decoded(self.path).into_owned();
        if decoded != paths[0] {
            paths.push(decoded);
        }
        if let Some(behind) = behind_prefix(self.path) {
            paths.push(behind.as_bytes().to_vec());
            let decoded = percent_decoded(behind).into_owned();
            if decoded != behind.as_bytes() {
                paths.push(decoded);
            }
        }
        let queries = self.query.signed();
        let text = |path: &Vec<u8>, query: &Vec<u8>| {
            [self.method.as_bytes(), b"\n", path, b"\n", query].concat()
        };
        paths.iter().flat_map(|path| queries.iter().map(|query| text(path, query))).collect()
    }

    /// The documented text, on one line and bounded.
    fn shown(&self) -> String {
        let text = self.texts().swap_remove(0);
        String::from_utf8_lossy(&text).chars().flat_map(char::escape_default).take(SHOWN).collect()
    }
}

impl Signed {
    /// Checks that the body is the one that was signed.
    ///
    /// # Errors
    /// If it is not, or if there is one and its MD5 was not stated. Python's SDK states that of an
    /// empty body as well.
    pub(crate) fn check_body(&self, body: &[u8]) -> Result<(), Unauthenticated> {
        match &self.body_md5 {
            None if body.is_empty() => Ok(()),
            None => Err(Unauthenticated::Missing("body_md5")),
            Some(stated) => match from_hex(stated) {
                Some(stated) if stated[..] == Md5::digest(body)[..] => Ok(()),
                _ => Err(Unauthenticated::OtherBody),
            },
        }
    }
}

/// The path from `/apps/` or `/users/` on, if anything is in front of that.
pub(crate) fn behind_prefix(path: &str) -> Option<&str> {
    let at = path.find("/apps/").or_else(|| path.find("/users/"))?;
    (at != 0).then(|| &path[at..])
}

#[cfg(test)]
mod tests;
