//! Commands whose effect is requested, and the answers to them.

use std::time::Duration;

use protocol::{Answer, Command, Effect, link::ToGateway};
use tokio::time::Instant;

use crate::{
    Error, Report,
    link::{Link, Ticket},
};

/// A command of a call that is to be reported.
pub(super) struct Request<'a> {
    pub(super) link: &'a Link,
    pub(super) message: ToGateway,
    pub(super) is_sent: bool,
    /// Waits for the effect; `None` if it stays unknown.
    ticket: Option<Ticket<'a, Answer>>,
}

impl<'a> Request<'a> {
    /// A command for a gateway. While that is disconnected, or leaves too many requests unanswered,
    /// the command is sent without a request.
    pub(super) fn new(link: &'a Link, command: Command) -> Self {
        let ticket = if link.is_up() { link.ticket().ok() } else { None };
        let message = match &ticket {
            Some(Ticket { number, .. }) => {
                ToGateway::ReportedCommand { seq: 0, request: *number, command }
            }
            None => ToGateway::Command { seq: 0, command },
        };
        Self { link, message, is_sent: false, ticket }
    }

    async fn effect(&mut self, deadline: Option<Instant>) -> Option<Effect> {
        let ticket = self.ticket.as_mut().filter(|_| self.is_sent)?;
        match ticket.wait_until(deadline).await {
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
    let mut request = Request::new(link, command);
    link.send_message(&mut request.message).await?;
    request.is_sent = true;
    Ok(collect(std::slice::from_mut(&mut request), time).await)
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
