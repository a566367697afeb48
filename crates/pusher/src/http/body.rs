//! Bodies of requests, read as far as a limit.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use futures_util::StreamExt as _;
use tokio::time::timeout;

use super::refused::Refused;

/// The most bytes of a refused request that are read, so that its sender gets to the answer.
const MAX_DISCARDED: usize = 4 << 20;

/// The longest time in which a body arrives.
pub(super) const BODY_TIME: Duration = Duration::from_secs(10);

/// A body that arrives.
pub(super) struct Incoming {
    stream: BodyDataStream,
    has_ended: bool,
}

impl Incoming {
    pub(super) fn new(body: Body) -> Self {
        Self { stream: body.into_data_stream(), has_ended: false }
    }

    /// The whole body.
    ///
    /// # Errors
    /// [`Refused::TooLarge`] as soon as it has more than `limit` bytes; [`Refused::Incomplete`] if
    /// it ends early; [`Refused::Late`] after [`BODY_TIME`].
    pub(super) async fn read(&mut self, limit: usize) -> Result<Vec<u8>, Refused> {
        match timeout(BODY_TIME, self.read_all(limit)).await {
            Ok(body) => body,
            Err(_) => {
                self.has_ended = true;
                Err(Refused::Late)
            }
        }
    }

    async fn read_all(&mut self, limit: usize) -> Result<Vec<u8>, Refused> {
        let mut body = Vec::new();
        while let Some(part) = self.stream.next().await {
            let part = part.map_err(|_| {
                self.has_ended = true;
                Refused::Incomplete
            })?;
            if limit - body.len() < part.len() {
                return Err(Refused::TooLarge { limit });
            }
            body.extend_from_slice(&part);
        }
        self.has_ended = true;
        Ok(body)
    }

    /// Reads the rest without keeping it, up to [`MAX_DISCARDED`] within [`BODY_TIME`].
    pub(super) async fn discard(&mut self) {
        // The answer is sent in any case.
        let _ = timeout(BODY_TIME, self.discard_all()).await;
    }

    async fn discard_all(&mut self) {
        let mut left = MAX_DISCARDED;
        while !self.has_ended {
            match self.stream.next().await {
                Some(Ok(part)) if part.len() <= left => left -= part.len(),
                _ => self.has_ended = true,
            }
        }
    }
}
