//! Rate limits of log lines about handlers, which clients can cause in any number: a value.

use std::time::Instant;

use protocol::Event;
use runtime::rate_limit::Throttle;

/// Which handler failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handler {
    Connect,
    WebSocketConnect,
    Message,
    Close,
    Expiring,
}

impl Handler {
    /// The handler of an event.
    pub(super) const fn of(event: &Event) -> Self {
        match event {
            Event::Connect => Self::Connect,
            Event::WebSocketConnect(_) | Event::WebSocketRequest(_) => Self::WebSocketConnect,
            Event::Close(_) | Event::Closed(_) => Self::Close,
            Event::Expiring { .. } => Self::Expiring,
            // No handler is called for the last.
            Event::Message(_) | Event::Reassigned => Self::Message,
        }
    }

    /// The name of its trait method.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Connect => "on_connect",
            Self::WebSocketConnect => "on_websocket_connect",
            Self::Message => "on_message",
            Self::Close => "on_close",
            Self::Expiring => "on_expiring",
        }
    }
}

/// Limits each kind of line to one per second. Metrics count all of them.
#[derive(Debug)]
pub(super) struct Warnings {
    /// By handler, and by whether the event is retried (0) or given up (1).
    failed: [[Throttle; 2]; 5],
    /// About events of clients whose context was not sent.
    pub(super) unknown_client: Throttle,
    /// About handlers of watched groups.
    pub(super) presence: Throttle,
}

impl Default for Warnings {
    fn default() -> Self {
        let each = || Throttle::per_second();
        let handlers = [Handler::Connect; 5].map(|_| [each(), each()]);
        Self { failed: handlers, unknown_client: each(), presence: each() }
    }
}

impl Warnings {
    /// Admits a line about a failed handler whose event is given up or retried. Returns how many
    /// lines of this kind were suppressed since the last, or `None` if that was within the last
    /// second.
    pub(super) fn failed(&mut self, handler: Handler, given_up: bool, now: Instant) -> Option<u64> {
        self.failed[handler as usize][usize::from(given_up)].admit(now)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn warnings_of_one_kind_do_not_suppress_those_of_another() {
        let (mut warnings, now) = (Warnings::default(), Instant::now());
        for handler in [
            Handler::Connect,
            Handler::WebSocketConnect,
            Handler::Message,
            Handler::Close,
            Handler::Expiring,
        ] {
            for given_up in [false, true] {
                assert_eq!(warnings.failed(handler, given_up, now), Some(0), "{handler:?}");
                assert_eq!(warnings.failed(handler, given_up, now), None, "{handler:?}");
            }
        }
        let later = now + Duration::from_secs(1);
        assert_eq!(warnings.failed(Handler::Message, true, later), Some(1));
    }
}
