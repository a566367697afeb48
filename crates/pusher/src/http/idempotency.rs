//! Requests with an `Idempotency-Key`: executed once within five minutes by this process, and then
//! answered as before.

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_api::{
    limits::MAX_IDEMPOTENCY_KEY,
    replays::{Begin, Remembered, ReplayKey},
};
use runtime::clock;
use sha2::{Digest, Sha256};

use super::{Answer, HttpApi, refused::Refused};
use crate::App;

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const SCOPE: HeaderName = HeaderName::from_static("idempotency-scope");
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// A request that is executed. Dropped without an answer, it is forgotten.
pub(super) struct Execution {
    api: HttpApi,
    key: Option<ReplayKey>,
}

/// Whether a request is executed, or was before.
pub(super) enum Started {
    Execute(Execution),
    Replay(Answer),
}

impl Execution {
    /// Looks the request up by its key, if it has one. `parts` are everything that it says.
    ///
    /// # Errors
    /// When the key is invalid, is that of another request, or the request is being executed.
    pub(super) fn start(
        api: &HttpApi,
        app: &App,
        headers: &HeaderMap,
        parts: &[&[u8]],
    ) -> Result<Started, Refused> {
        let Some(key) = headers.get(KEY) else {
            return Ok(Started::Execute(Self { api: api.clone(), key: None }));
        };
        let key = key.to_str().unwrap_or_default();
        if key.is_empty() || MAX_IDEMPOTENCY_KEY < key.len() {
            return Err(Refused::InvalidIdempotencyKey);
        }
        let key = ReplayKey { caller: app.id().to_owned(), key: key.to_owned() };
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let begun = api.shared.replays.lock().begin(clock::now(), &key, hash.finalize().into());
        match begun {
            Begin::Execute => Ok(Started::Execute(Self { api: api.clone(), key: Some(key) })),
            Begin::Replay(Remembered { status, body }) => Ok(Started::Replay(Answer {
                status: StatusCode::from_u16(status).unwrap_or(StatusCode::OK),
                body,
                headers: vec![
                    (REPLAYED, HeaderValue::from_static("true")),
                    (SCOPE, HeaderValue::from_static("node")),
                ],
            })),
            Begin::InProgress => Err(Refused::InProgress),
            Begin::Mismatch => Err(Refused::OtherRequest),
        }
    }

    /// Whether its answer is to be remembered.
    pub(super) const fn is_remembered(&self) -> bool {
        self.key.is_some()
    }

    /// Remembers the answer.
    pub(super) fn end(mut self, answer: &mut Answer) {
        if let Some(key) = self.key.take() {
            let (status, body) = (answer.status.as_u16(), answer.body.clone());
            let mut replays = self.api.shared.replays.lock();
            replays.finish(clock::now(), &key, Some(Remembered { status, body }));
            answer.headers.push((SCOPE, HeaderValue::from_static("node")));
        }
    }
}

impl Drop for Execution {
    /// A request that was refused, or failed, may be sent again.
    fn drop(&mut self) {
        if let Some(key) = &self.key {
            self.api.shared.replays.lock().finish(clock::now(), key, None);
        }
    }
}
