//! How much of a link's events is waiting: bounded, though the gateway's own window is narrower.

use std::sync::atomic::{AtomicUsize, Ordering};

use protocol::{Event, link::Delivery};
use tokio::sync::Notify;

/// While this much waits for its turn, a link is not read: 64 MiB, each event counted with what it
/// says. A gateway that keeps to its window never gets there.
pub(crate) const IN_HAND_LIMIT: usize = 64 * 1024 * 1024;

/// Events of one link that run in a lane, or queue there.
#[derive(Debug, Default)]
pub(crate) struct InHand {
    bytes: AtomicUsize,
    room: Notify,
}

/// What an event weighs.
pub(super) fn bytes(delivery: &Delivery) -> usize {
    let said = match &delivery.event {
        Event::Message(message) => message.body.len(),
        Event::WebSocketConnect(handshake) => {
            let headers = handshake.headers.iter();
            headers.map(|header| header.name.len() + header.value.len()).sum::<usize>()
                + handshake.target.len()
        }
        Event::Connect | Event::Close(_) | Event::Adopt => 0,
    };
    let session = delivery.context.as_ref().map_or(0, |it| it.session.as_encoded().len());
    size_of::<Delivery>() + said + session
}

impl InHand {
    pub(super) fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn remove(&self, bytes: usize) {
        let before = self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        if IN_HAND_LIMIT <= before && before - bytes < IN_HAND_LIMIT {
            self.room.notify_waiters();
        }
    }

    pub(super) fn is_full(&self) -> bool {
        IN_HAND_LIMIT <= self.bytes.load(Ordering::Relaxed)
    }

    pub(super) async fn room(&self) {
        let notified = self.room.notified();
        tokio::pin!(notified);
        // Before looking, so that room made in between is not missed.
        notified.as_mut().enable();
        if self.is_full() {
            notified.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_waits_for_room_gets_it() {
        let in_hand = InHand::default();
        in_hand.room().await;
        in_hand.add(IN_HAND_LIMIT);
        assert!(in_hand.is_full());
        tokio::join!(in_hand.room(), async { in_hand.remove(1) });
        assert!(!in_hand.is_full());
    }
}
