//! How a message is dressed for a server that expects more than WebSocket.

use clap::ValueEnum;

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(crate) enum Dialect {
    /// A message is a message.
    #[default]
    Plain,
    /// Socket.IO over WebSocket alone: a message is an event `m` with one argument.
    Socketio,
}

const BEFORE: &[u8] = b"42[\"m\",\"";
const BEHIND: &[u8] = b"\"]";

/// The most that any dialect puts before a message.
pub(crate) const FRONT: usize = BEFORE.len();

/// What a server said.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Said<'a> {
    /// The front of a message, and how long it was.
    Message(&'a [u8], u64),
    /// It wants this as an answer.
    Asks(&'static [u8]),
    /// The client may send.
    Welcome,
    /// Nothing that matters here.
    Other,
}

impl Dialect {
    /// The path of a URL that has none.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Plain => "/",
            Self::Socketio => "/socket.io/?EIO=4&transport=websocket",
        }
    }

    /// Whether a client has to wait for [`Said::Welcome`].
    pub(crate) fn greets(self) -> bool {
        self == Self::Socketio
    }

    /// Bytes before a message.
    pub(crate) fn front(self) -> usize {
        match self {
            Self::Plain => 0,
            Self::Socketio => BEFORE.len(),
        }
    }

    /// A message as it goes out. It must not need escapes.
    pub(crate) fn wrap(self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Plain => message.to_vec(),
            Self::Socketio => [BEFORE, message, BEHIND].concat(),
        }
    }

    /// What came in.
    pub(crate) fn read(self, front: &[u8], size: u64) -> Said<'_> {
        if self == Self::Plain {
            return Said::Message(front, size);
        }
        let dress = (BEFORE.len() + BEHIND.len()) as u64;
        match (front.strip_prefix(BEFORE), size.checked_sub(dress)) {
            (Some(front), Some(size)) => {
                // What is shorter than the front ends with what stands behind it.
                let len = usize::try_from(size).unwrap_or(usize::MAX).min(front.len());
                Said::Message(&front[..len], size)
            }
            _ if front.starts_with(b"0{") => Said::Asks(b"40"),
            _ if front.starts_with(b"40{") => Said::Welcome,
            _ if front == b"2" => Said::Asks(b"3"),
            _ => Said::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrapped_is_read() {
        for dialect in [Dialect::Plain, Dialect::Socketio] {
            let wrapped = dialect.wrap(b"hello");
            assert!(wrapped[dialect.front()..].starts_with(b"hello"));
            let said = dialect.read(&wrapped, wrapped.len() as u64);
            assert_eq!(said, Said::Message(b"hello", 5));
        }
    }

    #[test]
    fn a_socketio_server_is_answered() {
        let read = |text: &'static str| Dialect::Socketio.read(text.as_bytes(), text.len() as u64);
        assert_eq!(read("0{\"sid\":\"x\"}"), Said::Asks(b"40"));
        assert_eq!(read("40{\"sid\":\"y\"}"), Said::Welcome);
        assert_eq!(read("2"), Said::Asks(b"3"));
        assert_eq!(read("41"), Said::Other);
        assert_eq!(Dialect::Plain.read(b"2", 1), Said::Message(b"2", 1));
    }
}
