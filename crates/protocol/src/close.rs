//! How a client is closed by a command: the code and reason of its close frame, and a last message.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use thiserror::Error;

use crate::{Command, ConnectionId, Message};

/// The longest reason of a close frame, in bytes: a control frame has at most 125, the code two of
/// them (RFC 6455, 5.5).
pub const MAX_REASON: usize = 123;

/// The code of a close without a particular cause.
const NORMAL: u16 = 1000;

/// The code of a message of a kind that the application does not take.
const UNSUPPORTED_DATA: u16 = 1003;

/// Not what a close frame of an application may contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidClose {
    /// Neither 1000, 1003 nor one of 3000 to 4999. The others are not for applications (RFC 6455,
    /// 7.4.2).
    #[error("close code {0} is not 1000 or 1003, nor one of 3000 to 4999")]
    Code(u16),
    /// Longer than [`MAX_REASON`].
    #[error("a close reason of {0} bytes is longer than {MAX_REASON}")]
    Reason(usize),
}

/// The content of a close frame that an application sends: a code, 1000, 1003 (a kind of message
/// that the application does not take) or one of 3000 to 4999, and a reason of at most [`MAX_REASON`] bytes. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseFrame {
    code: u16,
    reason: Arc<str>,
}

impl CloseFrame {
    /// Validates a code and a reason, which may be empty.
    ///
    /// # Errors
    /// When an application may not send this code, or when the reason is too long.
    pub fn new(code: u16, reason: impl AsRef<str>) -> Result<Self, InvalidClose> {
        let reason = reason.as_ref();
        match (code, reason.len()) {
            (NORMAL | UNSUPPORTED_DATA | 3000..=4999, ..=MAX_REASON) => {
                Ok(Self { code, reason: reason.into() })
            }
            (NORMAL | UNSUPPORTED_DATA | 3000..=4999, long) => Err(InvalidClose::Reason(long)),
            (other, _) => Err(InvalidClose::Code(other)),
        }
    }

    /// The close code.
    pub const fn code(&self) -> u16 {
        self.code
    }

    /// The reason.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Whether it is the frame of a close without a code: 1000, and no reason.
    pub fn is_default(&self) -> bool {
        self.code == NORMAL && self.reason.is_empty()
    }
}

impl Default for CloseFrame {
    /// 1000, without a reason.
    fn default() -> Self {
        Self { code: NORMAL, reason: Arc::default() }
    }
}

impl Serialize for CloseFrame {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.code, &*self.reason).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for CloseFrame {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (code, reason) = <(u16, &str)>::deserialize(deserializer)?;
        Self::new(code, reason).map_err(D::Error::custom)
    }
}

/// How a client is closed: with a code and a reason, and possibly a last message before them.
///
/// Everything that a [`Message`] is made of is a close with 1000 and that as the last message;
/// `None` is one without; `(4001, "signed in elsewhere")` is one with a code and a reason, if they
/// are valid.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Close {
    /// The close frame. A client of a listener without close frames (`text`, `frame`, `tcp`) does
    /// not receive it.
    pub frame: CloseFrame,
    /// The last message.
    pub last_message: Option<Message>,
}

impl Close {
    /// A close with a code and a reason, which may be empty, and without a last message.
    ///
    /// # Errors
    /// When an application may not send this code, or when the reason is too long.
    pub fn new(code: u16, reason: impl AsRef<str>) -> Result<Self, InvalidClose> {
        Ok(Self { frame: CloseFrame::new(code, reason)?, last_message: None })
    }

    /// The same with a last message.
    #[must_use]
    pub fn with_last_message(self, message: impl Into<Message>) -> Self {
        Self { last_message: Some(message.into()), ..self }
    }

    /// The command that closes one client like this.
    pub fn of_client(self, client: ConnectionId) -> Command {
        let (frame, farewell) = (self.frame, self.last_message);
        match frame.is_default() {
            true => Command::Close { client, farewell },
            false => Command::CloseWith { client, frame, farewell },
        }
    }
}

impl From<Option<Message>> for Close {
    fn from(last_message: Option<Message>) -> Self {
        Self { frame: CloseFrame::default(), last_message }
    }
}

impl From<Message> for Close {
    fn from(message: Message) -> Self {
        Some(message).into()
    }
}

macro_rules! from_code_and_reason {
    ($($reason:ty)*) => {$(
        impl TryFrom<(u16, $reason)> for Close {
            type Error = InvalidClose;

            fn try_from((code, reason): (u16, $reason)) -> Result<Self, InvalidClose> {
                Self::new(code, reason)
            }
        }
    )*};
}

from_code_and_reason!(&str String &String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_of_an_application_is_1000_1003_or_3000_to_4999() {
        for code in [1000, 1003, 3000, 3999, 4000, 4999] {
            assert_eq!(CloseFrame::new(code, "").unwrap().code(), code);
        }
        for code in [0, 999, 1001, 1005, 1006, 1011, 1013, 1015, 2999, 5000, u16::MAX] {
            assert_eq!(Close::new(code, ""), Err(InvalidClose::Code(code)));
            assert_eq!(Close::try_from((code, "reason")), Err(InvalidClose::Code(code)));
        }
    }

    #[test]
    fn reason_is_limited_in_bytes() {
        let longest = "字".repeat(MAX_REASON / 3);
        assert_eq!(CloseFrame::new(4000, &longest).unwrap().reason(), longest);
        let long = longest + "x";
        assert_eq!(CloseFrame::new(4000, &long), Err(InvalidClose::Reason(MAX_REASON + 1)));
        let huge = "x".repeat(10_000_000);
        assert_eq!(CloseFrame::new(4000, &huge), Err(InvalidClose::Reason(huge.len())));
    }

    #[test]
    fn last_message_alone_closes_with_1000() {
        let close = Close::from("bye");
        assert!(close.frame.is_default() && close.frame == CloseFrame::new(1000, "").unwrap());
        assert_eq!(close.last_message, Some(Message::text("bye")));
        assert_eq!(Close::from(None), Close::default());
        let close = Close::try_from((4001, "kicked")).unwrap().with_last_message("bye");
        assert_eq!((close.frame.code(), close.frame.reason()), (4001, "kicked"));
        assert_eq!(close.last_message, Some(Message::text("bye")));
        assert!(!Close::new(1000, "done").unwrap().frame.is_default());
    }
}
