//! Events that are sent together: one request of a receiver is under way at a time, and the events
//! that come meanwhile are in the next one, in their order.

use std::{collections::VecDeque, fmt, mem, sync::Arc};

use bytes::{BufMut, Bytes, BytesMut};
use runtime::supervise;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{
    Endpoint,
    metrics::Dropped,
    request::{Delivered, HookRequest, QueueFull},
};
use crate::lanes::Limits;

/// The longest body of a batch of several events, in bytes.
const LONGEST: usize = 256 * 1024;

/// How events are put into batches. Events of the same one (by its address) may share a batch.
pub struct Batching {
    /// The most events of a batch.
    pub most: usize,
    /// Makes the request of a batch from its body.
    pub wrap: Box<dyn Fn(Bytes) -> HookRequest + Send + Sync>,
}

/// The events of a receiver that wait.
#[derive(Debug)]
pub(super) struct Batches {
    limits: Limits,
    events: VecDeque<Event>,
    /// Bytes of the events, with those under way.
    bytes: usize,
    /// Events, with those under way.
    count: usize,
    is_running: bool,
}

#[derive(Debug)]
struct Event {
    json: Bytes,
    batching: Arc<Batching>,
    settled: Settled,
}

/// How it is reported that the batch of an event is answered or given up.
#[derive(Debug)]
enum Settled {
    /// It is not.
    Unreported,
    /// This is cancelled.
    Noted(CancellationToken),
    /// This receives. If nothing waits for it any more, the event is left out.
    Awaited(oneshot::Sender<()>),
}

impl Settled {
    fn is_left_out(&self) -> bool {
        matches!(self, Self::Awaited(sender) if sender.is_closed())
    }

    fn report(self) {
        match self {
            Self::Unreported => {}
            Self::Noted(token) => token.cancel(),
            // Whatever waits may have ended.
            Self::Awaited(sender) => drop(sender.send(())),
        }
    }
}

/// A batch.
struct Batch {
    request: HookRequest,
    settled: Vec<Settled>,
    count: usize,
    bytes: usize,
}

impl Batches {
    pub(super) const fn new(limits: Limits) -> Self {
        Self { limits, events: VecDeque::new(), bytes: 0, count: 0, is_running: false }
    }

    /// Returns whether its batches have to be started.
    fn push(&mut self, event: Event) -> Result<bool, QueueFull> {
        let bytes = self.bytes.saturating_add(event.json.len());
        if self.limits.count <= self.count || self.limits.bytes < bytes {
            return Err(QueueFull);
        }
        (self.bytes, self.count) = (bytes, self.count + 1);
        self.events.push_back(event);
        Ok(!mem::replace(&mut self.is_running, true))
    }

    /// The next batch, and how many events of so many bytes are left out before it.
    fn next(&mut self) -> (Option<Batch>, (usize, usize)) {
        let (mut body, mut settled) = (BytesMut::new(), Vec::new());
        let (mut batching, mut count, mut bytes) = (None::<Arc<Batching>>, 0, 0);
        let mut left_out = (0, 0);
        while let Some(event) = self.events.front() {
            let length = event.json.len();
            let is_cancelled = event.settled.is_left_out();
            let fits = batching.as_ref().is_none_or(|batching| {
                Arc::ptr_eq(batching, &event.batching)
                    && count < batching.most
                    && body.len() + length < LONGEST
            });
            if !is_cancelled && !fits {
                break;
            }
            let Some(event) = self.events.pop_front() else { break };
            if is_cancelled {
                left_out = (left_out.0 + 1, left_out.1 + length);
                continue;
            }
            body.put_u8(if count == 0 { b'[' } else { b',' });
            body.put(event.json);
            (count, bytes) = (count + 1, bytes + length);
            settled.push(event.settled);
            batching = Some(event.batching);
        }
        self.done(left_out);
        self.is_running = batching.is_some();
        body.put_u8(b']');
        let request = batching.map(|batching| (batching.wrap)(body.freeze()));
        (request.map(|request| Batch { request, settled, count, bytes }), left_out)
    }

    fn done(&mut self, (count, bytes): (usize, usize)) {
        self.count -= count;
        self.bytes -= bytes;
    }
}

/// Batches.
impl Endpoint {
    /// Queues an event for a batch, behind those before it. It is sent until it is accepted, or
    /// [`Delivery::retry`](super::Delivery::retry) is over. To be called within a runtime.
    ///
    /// # Errors
    /// When the queue is full, or the receiver switched off: then the event is dropped, and counted.
    pub fn post_in_batch(&self, json: Bytes, batching: &Arc<Batching>) -> Result<(), QueueFull> {
        let settled = Settled::Unreported;
        self.push_in_batch(Event { json, batching: Arc::clone(batching), settled })
    }

    /// The same. The returned token is cancelled once the event is accepted, or dropped and counted;
    /// not if the queues are stopped.
    ///
    /// # Errors
    /// Those of [`post_in_batch`](Self::post_in_batch).
    pub fn post_in_batch_settled(
        &self,
        json: Bytes,
        batching: &Arc<Batching>,
    ) -> Result<CancellationToken, QueueFull> {
        let token = CancellationToken::new();
        let settled = Settled::Noted(token.clone());
        self.push_in_batch(Event { json, batching: Arc::clone(batching), settled })?;
        Ok(token)
    }

    /// The same. The returned end receives once the event is accepted, or dropped and counted; it
    /// ends without that if the queues are stopped. If it is dropped before the event is under way,
    /// the event is not sent.
    ///
    /// # Errors
    /// Those of [`post_in_batch`](Self::post_in_batch).
    pub fn deliver_in_batch(
        &self,
        json: Bytes,
        batching: &Arc<Batching>,
    ) -> Result<oneshot::Receiver<()>, QueueFull> {
        let (sender, receiver) = oneshot::channel();
        let settled = Settled::Awaited(sender);
        self.push_in_batch(Event { json, batching: Arc::clone(batching), settled })?;
        Ok(receiver)
    }

    fn push_in_batch(&self, event: Event) -> Result<(), QueueFull> {
        let receiver = &self.receiver;
        if self.is_off() {
            receiver.metrics.dropped(Dropped::Off);
            return Err(QueueFull);
        }
        let bytes = event.json.len();
        // The lock is released before a line is written.
        let pushed = receiver.batches.lock().push(event);
        match pushed {
            Err(QueueFull) => {
                receiver.metrics.dropped(Dropped::QueueFull);
                receiver.warn("the queue is full; an event is dropped");
                return Err(QueueFull);
            }
            Ok(true) => {
                receiver.metrics.queued(1, bytes);
                let endpoint = self.clone();
                let batches = async move { endpoint.send_batches().await };
                drop(supervise::spawn_tracked(&receiver.tasks, batches));
            }
            Ok(false) => receiver.metrics.queued(1, bytes),
        }
        Ok(())
    }

    /// Sends batches one after the other until no event is left.
    async fn send_batches(self) {
        let receiver = &self.receiver;
        loop {
            let (batch, left_out) = receiver.batches.lock().next();
            receiver.metrics.unqueued(left_out.0, left_out.1);
            let Some(Batch { request, settled, count, bytes }) = batch else { return };
            let delivered = self.deliver(&request, &receiver.stop).await;
            receiver.batches.lock().done((count, bytes));
            receiver.metrics.unqueued(count, bytes);
            // The request itself is counted, unless it was stopped.
            let (reason, counted) = match delivered {
                Delivered::Accepted(_) | Delivered::TooLong(_) => {
                    receiver.metrics.batched(count);
                    (None, 0)
                }
                Delivered::Refused(_) => (Some(Dropped::Refused), 1),
                Delivered::Off => (Some(Dropped::Off), 1),
                Delivered::GivenUp => (Some(Dropped::GivenUp), 1),
                Delivered::Stopped => (Some(Dropped::Stopped), 0),
            };
            if let Some(reason) = reason {
                (counted..count).for_each(|_| receiver.metrics.dropped(reason));
            }
            if !matches!(delivered, Delivered::Stopped) {
                settled.into_iter().for_each(Settled::report);
            }
        }
    }
}

impl fmt::Debug for Batching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batching").field("most", &self.most).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
