//! How the messages of streams are written for clients.

use std::str;

use bytes::Bytes;
use protocol::{Message, MessageKind, Position, StreamName};
use store::Rule;

use super::{NotRecovered, Recovery};

/// The protocol of an application's clients, as far as it concerns streams. All workers of the
/// application have the same: any of them may write a message that another one has published.
pub trait StreamProtocol: Send + Sync + 'static {
    /// The message with which clients receive what was published. `position` is what a client
    /// states when it comes back; it is `None` if the store did not take the message.
    fn message(&self, stream: &StreamName, position: Option<Position>, payload: &Bytes) -> Message;

    /// The notice that clients of a stream may have missed messages. They continue behind
    /// `position`, if it is known.
    fn reset(
        &self,
        stream: &StreamName,
        position: Option<Position>,
        reason: NotRecovered,
    ) -> Message;

    /// A message for a client that was added to a stream, behind what it had missed and before what
    /// is published later. By default the [reset](Self::reset) if it has not recovered, else none.
    fn joined(&self, stream: &StreamName, recovery: &Recovery) -> Option<Message> {
        let Recovery { position, reason, .. } = recovery;
        reason.map(|reason| self.reset(stream, *position, reason))
    }

    /// How much a stream keeps.
    fn rule(&self, _stream: &StreamName) -> Rule {
        Rule::default()
    }
}

/// A message as it was published: text if it is UTF-8.
pub(crate) fn plain(payload: Bytes) -> Message {
    let is_text = str::from_utf8(&payload).is_ok();
    let message = Message::binary(payload);
    match is_text {
        true => Message { kind: MessageKind::Text, ..message },
        false => message,
    }
}
