//! Commands whose effect is requested, and the answers to them.

use std::time::Duration;

use futures_util::future::join_all;
use protocol::{Answer, Command, Effect, link::ToGateway};
use tokio::time::timeout;

use crate::{
    Report,
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

    async fn effect(&mut self, time: Duration) -> Option<Effect> {
        let ticket = self.ticket.as_mut().filter(|_| self.is_sent)?;
        match timeout(time, ticket.wait()).await {
            Ok(Some(Answer::Effect(effect))) => Some(effect),
            _ => None,
        }
    }
}

/// Waits for the effects of commands that were sent, each for up to `time`.
pub(super) async fn collect(requests: &mut [Request<'_>], time: Duration) -> Report {
    let mut report = Report::default();
    let effects = join_all(
        requests
            .iter_mut()
            .map(|request| async { (request.link.gateway(), request.effect(time).await) }),
    );
    for (gateway, effect) in effects.await {
        match effect {
            Some(effect) => report.add(effect),
            None => report.add_unreachable(gateway),
        }
    }
    report
}
