//! Message encodings for servers with a protocol on top of WebSocket.

use clap::ValueEnum;

use crate::pusher;

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(crate) enum Protocol {
    /// Plain WebSocket messages.
    #[default]
    Plain,
    /// Socket.IO over WebSocket alone: a message is an event `m` with one argument.
    Socketio,
    /// Pusher Channels: clients subscribe, and messages are published by HTTP.
    Pusher,
}

const BEFORE: &[u8] = b"42[\"m\",\"";
const BEHIND: &[u8] = b"\"]";

/// The length of the longest prefix of any protocol.
pub(crate) const FRONT: usize = pusher::FRONT;

/// A decoded message of the server.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum ServerMessage<'a> {
    /// The first bytes of a message, and its length.
    Message(&'a [u8], u64),
    /// A request, with the answer to send.
    Request(&'static [u8]),
    /// The client may send. Contains the server's name for the connection, if the protocol has one.
    Welcome(&'a [u8]),
    /// A subscription has been accepted.
    Subscribed,
    /// Something has been refused: the first bytes of the answer.
    Refused(&'a [u8]),
    /// A message that is ignored.
    Other,
}

impl Protocol {
    /// The path of a URL that has none; the one of Pusher contains a key.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Plain | Self::Pusher => "/",
            Self::Socketio => "/socket.io/?EIO=4&transport=websocket",
        }
    }

    /// Whether a client has to wait for [`ServerMessage::Welcome`].
    pub(crate) fn has_handshake(self) -> bool {
        self != Self::Plain
    }

    /// The length of the prefix of a message.
    pub(crate) fn front(self) -> usize {
        match self {
            Self::Plain | Self::Pusher => 0,
            Self::Socketio => BEFORE.len(),
        }
    }

    /// Encodes a message, which must not contain characters that need escapes.
    pub(crate) fn wrap(self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Plain | Self::Pusher => message.to_vec(),
            Self::Socketio => [BEFORE, message, BEHIND].concat(),
        }
    }

    /// Decodes a received message.
    pub(crate) fn read(self, front: &[u8], size: u64) -> ServerMessage<'_> {
        match self {
            Self::Plain => return ServerMessage::Message(front, size),
            Self::Pusher => return pusher::read(front, size),
            Self::Socketio => {}
        }
        let overhead = (BEFORE.len() + BEHIND.len()) as u64;
        match (front.strip_prefix(BEFORE), size.checked_sub(overhead)) {
            (Some(front), Some(size)) => {
                // A message shorter than `front` is followed by the suffix.
                let len = usize::try_from(size).unwrap_or(usize::MAX).min(front.len());
                ServerMessage::Message(&front[..len], size)
            }
            _ if front.starts_with(b"0{") => ServerMessage::Request(b"40"),
            _ if front.starts_with(b"40{") => ServerMessage::Welcome(b""),
            _ if front == b"2" => ServerMessage::Request(b"3"),
            _ => ServerMessage::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrapped_message_round_trips() {
        for protocol in [Protocol::Plain, Protocol::Socketio] {
            let wrapped = protocol.wrap(b"hello");
            assert!(wrapped[protocol.front()..].starts_with(b"hello"));
            let received = protocol.read(&wrapped, wrapped.len() as u64);
            assert_eq!(received, ServerMessage::Message(b"hello", 5));
        }
    }

    #[test]
    fn socketio_requests_are_answered() {
        let read = |text: &'static str| Protocol::Socketio.read(text.as_bytes(), text.len() as u64);
        assert_eq!(read("0{\"sid\":\"x\"}"), ServerMessage::Request(b"40"));
        assert_eq!(read("40{\"sid\":\"y\"}"), ServerMessage::Welcome(b""));
        assert_eq!(read("2"), ServerMessage::Request(b"3"));
        assert_eq!(read("41"), ServerMessage::Other);
        assert_eq!(Protocol::Plain.read(b"2", 1), ServerMessage::Message(b"2", 1));
    }
}
