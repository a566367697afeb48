//! Log lines about handlers, which clients can cause any number of times: a value.

use std::time::Instant;

use protocol::Event;
use service::rate_limit::Throttle;

/// Which handler failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handler {
    Connect,
    WebSocketConnect,
    Message,
    Close,
}

impl Handler {
    /// The handler of an event.
    pub(super) const fn of(event: &Event) -> Self {
        match event {
            Event::Connect => Self::Connect,
            Event::WebSocketConnect(_) => Self::WebSocketConnect,
            Event::Close(_) => Self::Close,
            // No handler is called for the last.
            Event::Message(_) | Event::Adopt => Self::Message,
        }
    }

    /// As the trait names it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Connect => "on_connect",
            Self::WebSocketConnect => "on_websocket_connect",
            Self::Message => "on_message",
            Self::Close => "on_close",
        }
    }
}

/// Limits each kind of line to one a second. Metrics count all of them.
#[derive(Debug)]
pub(super) struct Warnings {
    /// By handler, each for an event that is given up and for one that is tried again.
    failed: [[Throttle; 2]; 4],
    /// About events of clients whose context has not come.
    pub(super) unknown_client: Throttle,
}

impl Default for Warnings {
    fn default() -> Self {
        let each = || Throttle::per_second();
        let handlers = [Handler::Connect; 4].map(|_| [each(), each()]);
        Self { failed: handlers, unknown_client: each() }
    }
}

impl Warnings {
    /// Admits a line about a handler that failed, whose event is given up or tried again; `None` if
    /// there was one of its kind within the last second. Returns how many were suppressed since.
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
        for handler in
            [Handler::Connect, Handler::WebSocketConnect, Handler::Message, Handler::Close]
        {
            for given_up in [false, true] {
                assert_eq!(warnings.failed(handler, given_up, now), Some(0), "{handler:?}");
                assert_eq!(warnings.failed(handler, given_up, now), None, "{handler:?}");
            }
        }
        let later = now + Duration::from_secs(1);
        assert_eq!(warnings.failed(Handler::Message, true, later), Some(1));
    }
}
