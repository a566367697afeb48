//! Requests that are executed to their end, also when the peer closes the connection meanwhile.

use http_api::limits::{IDEMPOTENCY_TIME, REQUEST_TIME};
use runtime::supervise;
use tokio::{sync::OwnedSemaphorePermit, time::timeout};

use super::{Answer, idempotency::Execution, refused::Refused};

/// Executes a request, and has its place until its end, even if the peer disconnects before: peers
/// that disconnect cannot make more requests run at a time than there are places.
///
/// # Errors
/// Those of `work`, and that it takes longer than [`REQUEST_TIME`]: then it is dropped, unless it has
/// an `Idempotency-Key`. It may have taken effect in part, so with a key it is continued, and its
/// answer remembered for the caller that sends it again; until then that caller gets 409.
pub(super) async fn to_its_end(
    place: OwnedSemaphorePermit,
    execution: Execution,
    work: impl Future<Output = Result<Answer, Refused>> + Send + 'static,
) -> Result<Answer, Refused> {
    let is_remembered = execution.is_remembered();
    let longest = if is_remembered { IDEMPOTENCY_TIME } else { REQUEST_TIME };
    let executing = supervise::to_its_end(async move {
        let _place = place;
        let mut answer = timeout(longest, work).await.unwrap_or(Err(Refused::TooSlow))?;
        execution.end(&mut answer);
        Ok(answer)
    });
    match is_remembered {
        true => timeout(REQUEST_TIME, executing).await.unwrap_or(Err(Refused::TooSlow)),
        false => executing.await,
    }
}

#[cfg(test)]
mod tests;
