//! Calls that send commands: awaited for having been queued, or for a report.

use std::{
    fmt, mem,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use super::call::Call;
use crate::{Cluster, Error, Report, link::ANSWER_TIMEOUT};

/// A call that sends. It does nothing until it is awaited:
///
/// - `.await` waits until the commands are queued for the gateways, and usually not at all.
/// - [`.report().await`](Self::report) also waits for the gateways, and returns a [`Report`].
///
/// ```no_run
/// # async fn example(cluster: &push_suite_cluster::Cluster) -> Result<(), push_suite_cluster::Error> {
/// cluster.send_to_group("lobby", "hello").await?;
/// let report = cluster.send_to_uid("alice", "hello").report().await?;
/// if report.reached == 0 && report.is_complete() {
///     // She is offline: store the message.
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is sent until it is awaited"]
pub struct Sending<'a> {
    cluster: &'a Cluster,
    call: Result<Call, Error>,
}

impl<'a> Sending<'a> {
    pub(super) const fn new(cluster: &'a Cluster, call: Result<Call, Error>) -> Self {
        Self { cluster, call }
    }

    /// Sends, and waits up to five seconds for the gateways to report what the call did. A gateway
    /// that does not answer in time, or is disconnected, is [named](Report::unreachable) and no
    /// error: the call is as if it had been awaited without a report, and may still take effect
    /// there, once.
    ///
    /// A report costs one small message from each gateway concerned; a call without one costs
    /// nothing for reports.
    ///
    /// # Errors
    /// Those of the call.
    pub fn report(self) -> impl Future<Output = Result<Report, Error>> + Send + use<'a> {
        self.report_within(ANSWER_TIMEOUT)
    }

    /// The same with another time to wait, counted from when the commands are queued for all
    /// gateways.
    ///
    /// # Errors
    /// Those of the call.
    pub fn report_within(
        self,
        time: Duration,
    ) -> impl Future<Output = Result<Report, Error>> + Send + use<'a> {
        self.cluster.reported(self.call, time)
    }
}

impl<'a> IntoFuture for Sending<'a> {
    type Output = Result<(), Error>;
    type IntoFuture = Queueing<'a>;

    fn into_future(self) -> Queueing<'a> {
        Queueing { cluster: self.cluster, state: State::New(self.call) }
    }
}

/// The future of a [`Sending`] without a report.
#[must_use = "nothing is sent until it is awaited"]
pub struct Queueing<'a> {
    cluster: &'a Cluster,
    state: State<'a>,
}

enum State<'a> {
    New(Result<Call, Error>),
    /// Gateways are still being discovered, or a queue is full.
    Waits(Waits<'a>),
    Done,
}

/// The rest of a call that has to wait.
pub(super) type Waits<'a> = Pin<Box<dyn Future<Output = Result<(), Error>> + Send + 'a>>;

impl Future for Queueing<'_> {
    type Output = Result<(), Error>;

    /// Usually there is nothing to wait for: then no future is allocated.
    ///
    /// # Panics
    /// After completion.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut waits = match mem::replace(&mut self.state, State::Done) {
            State::New(call) => match call.and_then(|call| self.cluster.try_call(call)) {
                Ok(None) => return Poll::Ready(Ok(())),
                Ok(Some(waits)) => waits,
                Err(error) => return Poll::Ready(Err(error)),
            },
            State::Waits(waits) => waits,
            State::Done => panic!("polled after completion"),
        };
        let polled = waits.as_mut().poll(cx);
        if polled.is_pending() {
            self.state = State::Waits(waits);
        }
        polled
    }
}

impl fmt::Debug for Sending<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sending").field("call", &self.call).finish_non_exhaustive()
    }
}

impl fmt::Debug for Queueing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queueing").finish_non_exhaustive()
    }
}
