//! The tokens of `--handshake-auth jwt`: their keys and revocations, which shards share and SIGHUP
//! reloads.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
use auth::{Claims, Found, Full, Identity, Keys, Rejection, Revocations, Rules};
use framing::http::Request;
use protocol::{AccessToken, Grant, InvalidAnswer, Refusal, Revocation};
use runtime::{
    files::{self, LIMIT},
    sync::Mutex,
    tls::Reload,
};

/// How long a client may stay connected after its connection has expired, in seconds: time to
/// renew it.
pub(crate) const GRACE: u64 = 25;

/// How tokens are verified, and which are revoked. Its locks are taken for each handshake with a
/// token and for each renewal, and never for a message.
#[derive(Debug)]
pub(crate) struct Tokens {
    rules: Rules,
    /// The cookie that may carry a token.
    cookie: Option<String>,
    key_files: Vec<PathBuf>,
    keys: Mutex<Arc<Keys>>,
    revocation_file: Option<PathBuf>,
    /// The revocations of the file.
    listed: Mutex<Arc<Revocations>>,
    /// Those of back ends and workers.
    revoked: Mutex<Revocations>,
}

impl Tokens {
    /// Reads the files.
    ///
    /// # Errors
    /// When a file cannot be read or is invalid. The error names the flag and the file.
    pub(crate) fn read(
        rules: Rules,
        cookie: Option<String>,
        key_files: Vec<PathBuf>,
        revocation_file: Option<PathBuf>,
    ) -> anyhow::Result<Self> {
        let keys = Mutex::new(Arc::new(read_keys(&key_files)?));
        let listed = Mutex::new(Arc::new(read_revocations(revocation_file.as_deref())?));
        let revoked = Mutex::new(Revocations::default());
        Ok(Self { rules, cookie, key_files, keys, revocation_file, listed, revoked })
    }

    /// Takes the token out of a request; it does not stay in it.
    ///
    /// # Errors
    /// See [`auth::take`].
    pub(crate) fn take(&self, request: &mut Request) -> Result<Option<Found>, Rejection> {
        auth::take(&mut request.handshake, self.cookie.as_deref())
    }

    /// Verifies a token at `now`, in seconds since the Unix epoch.
    ///
    /// # Errors
    /// When it is not valid or is revoked.
    pub(crate) fn verify(&self, token: &AccessToken, now: u64) -> Result<Claims, Rejection> {
        let keys = Arc::clone(&self.keys.lock());
        let claims = self.rules.verify(&keys, token, now)?;
        match self.is_revoked(&claims.identity, now) {
            false => Ok(claims),
            true => Err(Rejection::Revoked),
        }
    }

    /// Adds a revocation.
    ///
    /// # Errors
    /// When there are too many.
    pub(crate) fn revoke(&self, revocation: &Revocation, now: u64) -> Result<(), Full> {
        self.revoked.lock().add(revocation, now)
    }

    fn is_revoked(&self, token: &Identity, now: u64) -> bool {
        let listed = Arc::clone(&self.listed.lock());
        listed.contains(token, now) || self.revoked.lock().contains(token, now)
    }

    /// The files that SIGHUP reloads: the keys, and the revocations of the file.
    pub(crate) fn files(self: &Arc<Self>) -> impl Iterator<Item = Arc<dyn Reload>> + use<> {
        let keys = Arc::new(KeyFiles(Arc::clone(self))) as Arc<dyn Reload>;
        let revocations = self.revocation_file.is_some();
        let revocations = revocations.then(|| Arc::new(RevocationFile(Arc::clone(self))));
        [keys].into_iter().chain(revocations.map(|file| file as Arc<dyn Reload>))
    }
}

/// The grant of a client with these claims.
pub(crate) fn grant(claims: &Claims) -> Result<Grant, InvalidAnswer> {
    let mut grant = Grant::new();
    if let Some(uid) = &claims.identity.uid {
        grant = grant.with_uid(uid)?;
    }
    for group in &claims.groups {
        grant = grant.with_group(group)?;
    }
    match claims.session.is_empty() {
        true => Ok(grant),
        false => Ok(grant.with_encoded_session(claims.session.clone())),
    }
}

/// The response to a handshake without a valid token: 401, 403 or 400, with the cause as JSON.
pub(crate) fn refusal(rejection: Rejection) -> Result<Refusal, InvalidAnswer> {
    // The texts contain no character that JSON escapes.
    let (code, message) = (rejection.code(), rejection.to_string());
    let body = format!(r#"{{"error":{{"code":"{code}","message":"{message}"}}}}"#);
    let refusal = Refusal::new(rejection.status(), body)?
        .with_header("Content-Type", "application/json")?
        .with_header("Cache-Control", "no-store")?;
    match (rejection, rejection.status()) {
        (Rejection::Missing, _) => refusal.with_header("WWW-Authenticate", "Bearer"),
        (_, 401) => refusal.with_header("WWW-Authenticate", "Bearer error=\"invalid_token\""),
        _ => Ok(refusal),
    }
}

#[derive(Debug)]
struct KeyFiles(Arc<Tokens>);

#[derive(Debug)]
struct RevocationFile(Arc<Tokens>);

impl Reload for KeyFiles {
    fn what(&self) -> &'static str {
        "keys of tokens"
    }

    fn reread(&self) -> anyhow::Result<()> {
        let keys = read_keys(&self.0.key_files)?;
        *self.0.keys.lock() = Arc::new(keys);
        Ok(())
    }
}

impl Reload for RevocationFile {
    fn what(&self) -> &'static str {
        "revocations of tokens"
    }

    fn reread(&self) -> anyhow::Result<()> {
        let listed = read_revocations(self.0.revocation_file.as_deref())?;
        *self.0.listed.lock() = Arc::new(listed);
        Ok(())
    }
}

fn read_keys(files: &[PathBuf]) -> anyhow::Result<Keys> {
    files.iter().try_fold(Keys::default(), |keys, file| {
        let read =
            || -> anyhow::Result<Keys> { Ok(keys.and(Keys::parse(&files::read(file, LIMIT)?)?)?) };
        read().with_context(|| format!("--jwt-keys {}", file.display()))
    })
}

fn read_revocations(file: Option<&Path>) -> anyhow::Result<Revocations> {
    let Some(file) = file else {
        return Ok(Revocations::default());
    };
    let read = || -> anyhow::Result<Revocations> {
        Revocations::parse(&files::read(file, REVOCATIONS)?).map_err(anyhow::Error::msg)
    };
    read().with_context(|| format!("--jwt-revocations {}", file.display()))
}

/// The largest file of revocations, in bytes: as many as there may be, with names of 256 bytes.
const REVOCATIONS: u64 = 32 * 1024 * 1024;

#[cfg(test)]
mod tests;
