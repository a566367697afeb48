//! Requests that are executed to their end, also when the peer closes the connection meanwhile.

use http_api::limits::REQUEST_TIME;
use runtime::supervise;
use tokio::{sync::OwnedSemaphorePermit, time::timeout};

use super::{Answer, idempotency::Execution, refused::Refused};

/// Executes a request in a task of its own, which has the request's place until its end: peers that
/// disconnect cannot make more requests run at a time than there are places.
///
/// # Errors
/// Those of `work`, and that it takes longer than [`REQUEST_TIME`]: then it is dropped.
pub(super) async fn to_its_end(
    place: OwnedSemaphorePermit,
    execution: Execution,
    work: impl Future<Output = Result<Answer, Refused>> + Send + 'static,
) -> Result<Answer, Refused> {
    let executing = supervise::spawn(async move {
        let _place = place;
        let mut answer = timeout(REQUEST_TIME, work).await.unwrap_or(Err(Refused::TooSlow))?;
        execution.end(&mut answer);
        Ok(answer)
    });
    executing.await.unwrap_or(Err(Refused::Overloaded))
}

#[cfg(test)]
mod tests;
