//! A message for the client of an event: awaited for having been queued, or for a report.

use std::{
    fmt, mem,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use protocol::{Command, Message};
use push_suite_cluster::{
    Error, Report,
    internal::{ANSWER_TIMEOUT, report_on},
};

use crate::Client;

/// A message for the client of an event, see [`Client::send`]. Nothing is sent until it is awaited.
#[must_use = "nothing is sent until it is awaited"]
pub struct SendToClient<'a> {
    client: &'a Client,
    message: Message,
}

impl<'a> SendToClient<'a> {
    pub(crate) const fn new(client: &'a Client, message: Message) -> Self {
        Self { client, message }
    }

    /// Sends, and waits up to five seconds for the gateway to report whether it has queued the
    /// message for the client; see [`Sending::report`](crate::Sending::report).
    ///
    /// # Errors
    /// Those of [commands](Error#commands).
    pub fn report(self) -> impl Future<Output = Result<Report, Error>> + Send + use<'a> {
        self.report_within(ANSWER_TIMEOUT)
    }

    /// The same with another time to wait.
    ///
    /// # Errors
    /// Those of [commands](Error#commands).
    pub async fn report_within(self, time: Duration) -> Result<Report, Error> {
        let Self { client, message } = self;
        let to = client.id().connection;
        match client.open_link() {
            Some(link) => report_on(link, Command::SendToClient { to, message }, time).await,
            // The gateway may have another.
            None => {
                let sending = client.cluster().send_to_client(client.id(), message);
                // Boxed, since it is rare, and the handler's future contains it.
                Box::pin(sending.report_within(time)).await
            }
        }
    }
}

impl<'a> IntoFuture for SendToClient<'a> {
    type Output = Result<(), Error>;
    type IntoFuture = QueueToClient<'a>;

    fn into_future(self) -> QueueToClient<'a> {
        QueueToClient(State::New(self))
    }
}

/// The future of a [`SendToClient`] without a report.
#[must_use = "nothing is sent until it is awaited"]
pub struct QueueToClient<'a>(State<'a>);

enum State<'a> {
    New(SendToClient<'a>),
    /// The queue is full, or the link is closed.
    Waits(Pin<Box<dyn Future<Output = Result<(), Error>> + Send + 'a>>),
    Done,
}

impl Future for QueueToClient<'_> {
    type Output = Result<(), Error>;

    /// Usually there is nothing to wait for: then no future is allocated.
    ///
    /// # Panics
    /// After completion.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut waits = match mem::replace(&mut self.0, State::Done) {
            State::New(SendToClient { client, message }) => {
                let to = client.id().connection;
                match client.try_send(Command::SendToClient { to, message }) {
                    Ok(None) => return Poll::Ready(Ok(())),
                    Ok(Some(unsent)) => client.finish_send(unsent),
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
            State::Waits(waits) => waits,
            State::Done => panic!("polled after completion"),
        };
        let polled = waits.as_mut().poll(cx);
        if polled.is_pending() {
            self.0 = State::Waits(waits);
        }
        polled
    }
}

impl fmt::Debug for SendToClient<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendToClient").field("client", &self.client.id()).finish_non_exhaustive()
    }
}

impl fmt::Debug for QueueToClient<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueToClient").finish_non_exhaustive()
    }
}
