//! Limits the bytes of a link's unfinished events; the gateway's own window is narrower.

use std::sync::atomic::{AtomicUsize, Ordering};

use protocol::{Event, link::Delivery};
use tokio::sync::Notify;

/// Backpressure: while this many bytes are in flight, the link is not read. 64 MiB, counted with
/// each event's payload. A gateway that respects its window never reaches it.
const IN_FLIGHT_LIMIT: usize = 64 * 1024 * 1024;

/// Events of one link that run or are queued in a lane.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    bytes: AtomicUsize,
    room: Notify,
}

/// The size of an event in memory.
pub(super) fn bytes(delivery: &Delivery) -> usize {
    let payload = match &delivery.event {
        Event::Message(message) => message.body.len(),
        Event::WebSocketConnect(handshake) | Event::WebSocketRequest(handshake) => {
            let headers = handshake.headers.iter();
            headers.map(|header| header.name.len() + header.value.len()).sum::<usize>()
                + handshake.target.len()
        }
        Event::Closed(info) => info.text.len(),
        Event::Connect | Event::Close(_) | Event::Expiring { .. } | Event::Reassigned => 0,
    };
    let session = delivery.context.as_ref().map_or(0, |it| it.session.as_encoded().len());
    size_of::<Delivery>() + payload + session
}

impl InFlight {
    pub(super) fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn remove(&self, bytes: usize) {
        let before = self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        if IN_FLIGHT_LIMIT <= before && before - bytes < IN_FLIGHT_LIMIT {
            self.room.notify_waiters();
        }
    }

    pub(super) fn is_full(&self) -> bool {
        IN_FLIGHT_LIMIT <= self.bytes.load(Ordering::Relaxed)
    }

    pub(super) async fn room(&self) {
        let notified = self.room.notified();
        tokio::pin!(notified);
        // Enabled before the check, so that room made in between is not missed.
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
    async fn waiter_for_room_is_notified() {
        let in_flight = InFlight::default();
        in_flight.room().await;
        in_flight.add(IN_FLIGHT_LIMIT);
        assert!(in_flight.is_full());
        tokio::join!(in_flight.room(), async { in_flight.remove(1) });
        assert!(!in_flight.is_full());
    }
}
