//! The last message of a group, which gateways keep for clients that join later.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Message;

/// A message that a gateway retains, or that another gateway has retained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retained {
    /// The message.
    pub message: Message,
    /// Its time.
    pub retention: Retention,
}

/// Since when a message is retained, and for how long it still is: in milliseconds, since the clocks
/// of two hosts cannot be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    age: u32,
    left: u32,
}

/// A duration as it is sent: in whole milliseconds, at most 49 days.
pub fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

impl Retention {
    /// The retention of a message that was sent this long ago and is retained for that much longer.
    pub fn new(age: Duration, left: Duration) -> Self {
        Self { age: millis(age), left: millis(left) }
    }

    /// The time since the message was sent.
    pub const fn age(&self) -> Duration {
        Duration::from_millis(self.age as u64)
    }

    /// The time for which it is still retained.
    pub const fn left(&self) -> Duration {
        Duration::from_millis(self.left as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_times_are_as_long_as_can_be_sent() {
        let retention = Retention::new(Duration::from_micros(1999), Duration::MAX);
        assert_eq!(retention.age(), Duration::from_millis(1));
        assert_eq!(retention.left(), Duration::from_millis(u64::from(u32::MAX)));
    }
}
