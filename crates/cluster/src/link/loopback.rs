//! A gateway inside this process in place of a socket: for tests of handlers.

use bytes::BytesMut;
use protocol::{
    Answer, Command, Effect, Query,
    codec::native::{self, MAX_FRAME},
    link::ToGateway,
};

use super::Link;

/// Executes commands and answers queries.
pub trait LocalGateway: Send + 'static {
    /// Executes a command, and returns its effect.
    fn execute(&mut self, command: Command) -> Effect;

    /// Answers a query.
    fn answer(&mut self, query: Query) -> Answer;
}

/// Executes everything that was sent on a link so far.
pub(crate) fn run_once(link: &Link, gateway: &mut impl LocalGateway) {
    let mut frames = BytesMut::new();
    while link.session.outgoing.take(&mut frames).is_some() {
        while let Ok(Some(message)) = native::decode(&mut frames, MAX_FRAME) {
            match message {
                ToGateway::Command { seq, command } => {
                    gateway.execute(command);
                    link.record_ack(seq, true);
                }
                ToGateway::ReportedCommand { seq, request, command } => {
                    let effect = gateway.execute(command);
                    link.answers.resolve(request, Answer::Effect(effect));
                    link.record_ack(seq, true);
                }
                ToGateway::Query { request, query } => {
                    link.answers.resolve(request, gateway.answer(query));
                }
                ToGateway::Ping { token } => link.pongs.resolve(token, ()),
                ToGateway::Hello { .. }
                | ToGateway::EventAck { .. }
                | ToGateway::Leaving
                | ToGateway::Pong { .. }
                | ToGateway::Fenced
                | ToGateway::EventStarted { .. }
                | ToGateway::HandlerStarted { .. }
                | ToGateway::Relay { .. }
                | ToGateway::UidChecked { .. }
                | ToGateway::Watch { .. }
                | ToGateway::CloseCodes { .. }
                | ToGateway::Tail(_)
                | ToGateway::EndTail { .. }
                | ToGateway::ServeStreams { .. }
                | ToGateway::Acknowledge => {}
            }
        }
    }
}

/// Waits until something was sent on a link.
pub(crate) async fn output_queued(link: &Link) {
    link.session.outgoing.output_queued().await;
}
