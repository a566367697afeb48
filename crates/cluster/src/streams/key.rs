//! The names of appends and holds, which are the same when a handler is repeated.

use std::{
    hash::{Hash as _, Hasher as _},
    net::IpAddr,
};

use protocol::{ClientId, InstanceId};
use runtime::random;
use rustc_hash::FxHasher;
use store::Key;

/// The bytes of an instance id that are part of a key.
const INSTANCE: usize = 16;

/// A step of the handler of an event: the same one of each repetition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step<'a> {
    pub(crate) client: ClientId,
    /// The instance of its gateway: a later one may give the id to another client.
    pub(crate) instance: &'a InstanceId,
    /// The number of the event.
    pub(crate) event: u64,
    /// Counts the calls of the handler.
    pub(crate) call: u64,
}

impl Step<'_> {
    fn to_bytes(self) -> Vec<u8> {
        let instance = self.instance.as_str().as_bytes();
        let gateway = self.client.gateway;
        let mut bytes = instance[..instance.len().min(INSTANCE)].to_vec();
        match gateway.ip() {
            IpAddr::V4(ip) => bytes.extend(ip.octets()),
            IpAddr::V6(ip) => bytes.extend(ip.octets()),
        }
        bytes.extend(gateway.port().to_be_bytes());
        bytes.extend(self.client.connection.0.to_be_bytes());
        bytes.extend(self.event.to_be_bytes());
        bytes.extend(self.call.to_be_bytes());
        bytes
    }
}

/// The idempotency key of an append.
pub(crate) fn append_key(step: Option<Step<'_>>) -> Key {
    let key = step.and_then(|step| Key::new(step.to_bytes()).ok());
    key.unwrap_or_else(|| {
        Key::from_random(
            u128::from(random::random::<u64>()) << 64 | u128::from(random::random::<u64>()),
        )
    })
}

/// The number of a hold.
pub(crate) fn hold_number(step: Option<Step<'_>>) -> u64 {
    let Some(step) = step else { return random::random() };
    // Only within a client's own: a hash that is the same in every process.
    let mut hasher = FxHasher::default();
    step.to_bytes().hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use protocol::ConnectionId;

    use super::*;

    #[test]
    fn steps_of_one_handler_have_names_of_their_own() {
        for gateway in ["127.0.0.1:2900", "[2001:db8::1]:2900"] {
            let client = ClientId::new(gateway.parse().unwrap(), ConnectionId(7));
            let instance = InstanceId::new("x".repeat(200)).unwrap();
            let step = |event, call| Some(Step { client, instance: &instance, event, call });
            assert_eq!(append_key(step(1, 1)), append_key(step(1, 1)));
            assert_eq!(hold_number(step(1, 1)), hold_number(step(1, 1)));
            for other in [step(1, 2), step(2, 1), None] {
                assert_ne!(append_key(other), append_key(step(1, 1)));
                assert_ne!(hold_number(other), hold_number(step(1, 1)));
            }
        }
        assert_ne!(append_key(None), append_key(None));
    }
}
