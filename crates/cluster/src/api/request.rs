//! Commands whose effect is requested, and the answers to them.

use std::{slice, time::Duration};

use protocol::{Answer, Command, Effect, link::ToGateway};
use tokio::time::Instant;

use crate::{
    Error, Report,
    link::{Full, Link, Offer, Ticket},
};

/// A command of a call that is to be reported. Small, since the future of a handler contains it.
pub(super) struct Request<'a> {
    pub(super) link: &'a Link,
    /// Waits for the effect; `None` if it stays unknown.
    ticket: Option<Ticket<'a, Answer>>,
    /// The command, if there was no queue space for it.
    blocked: Option<Box<(ToGateway, Full)>>,
}

impl<'a> Request<'a> {
    /// Offers a command to a gateway. While that is disconnected, or leaves too many requests
    /// unanswered, the command is sent without a request.
    ///
    /// # Errors
    /// Those of `offer`.
    pub(super) fn offer(
        link: &'a Link,
        command: Command,
        offer: impl FnOnce(&mut ToGateway) -> Result<Offer<Full>, Error>,
    ) -> Result<Self, Error> {
        let ticket = if link.is_up() { link.ticket().ok() } else { None };
        let mut message = match &ticket {
            Some(Ticket { number, .. }) => {
                ToGateway::ReportedCommand { seq: 0, request: *number, command }
            }
            None => ToGateway::Command { seq: 0, command },
        };
        let blocked = match offer(&mut message)? {
            Offer::Queued(_) => None,
            Offer::Full(full) => Some(Box::new((message, full))),
        };
        Ok(Self { link, ticket, blocked })
    }

    /// A command that cannot be sent to this gateway.
    pub(super) const fn unsent(link: &'a Link) -> Self {
        Self { link, ticket: None, blocked: None }
    }

    /// Takes the command, if there was no queue space for it.
    pub(super) const fn take_blocked(&mut self) -> Option<Box<(ToGateway, Full)>> {
        self.blocked.take()
    }

    async fn effect(&mut self, deadline: Option<Instant>) -> Option<Effect> {
        match self.ticket.as_mut()?.wait_until(deadline).await {
            Some(Answer::Effect(effect)) => Some(effect),
            _ => None,
        }
    }
}

/// Sends a command on behalf of an event of this link, as [`Link::send`] does, and waits up to
/// `time` for its effect.
///
/// # Errors
/// As [`Link::send`].
pub async fn report_on(link: &Link, command: Command, time: Duration) -> Result<Report, Error> {
    let mut request = Request::offer(link, command, |message| link.offer(message))?;
    if let Some(mut blocked) = request.take_blocked() {
        // Boxed, since it is rare, and the handler's future contains it.
        Box::pin(async {
            link.room(blocked.1).await;
            link.send_message(&mut blocked.0).await
        })
        .await?;
    }
    Ok(collect(slice::from_mut(&mut request), time).await)
}

/// Waits for the effects of commands that were sent, for up to `time`.
pub(super) async fn collect(requests: &mut [Request<'_>], time: Duration) -> Report {
    // Without one, the answer is awaited for as long as the link is open.
    let deadline = Instant::now().checked_add(time);
    let mut report = Report::default();
    // One after the other: an answer that arrives before its turn is kept.
    for request in requests {
        match request.effect(deadline).await {
            Some(effect) => report.add(effect),
            None => report.add_unreachable(request.link.gateway()),
        }
    }
    report
}
