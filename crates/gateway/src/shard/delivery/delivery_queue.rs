//! Events queued for one worker, until it has acknowledged them.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
};

use bytes::{Bytes, BytesMut};
use protocol::{
    ConnectionId, Context, Event, Message, Session,
    codec::{
        gateway_worker::{
            TooLarge,
            to_peer::{self, Origin},
        },
        native::{self, MAX_FRAME},
    },
    link::{Delivery, ToPeer},
};

use crate::{shard::connections::Progress, thread_messages::PeerProtocol};

/// Unacknowledged events of one shard for one worker, or events without a worker.
///
/// Events are encoded once, into the bytes that are sent. The same bytes are retained, shared,
/// until the worker has acknowledged the events in them, and are decoded only if its link ends
/// before that. The cost per event is its encoding; everything else is a cost per batch.
#[derive(Debug)]
pub(in crate::shard) struct DeliveryQueue {
    shard: u16,
    /// Sequence number of the last event, counting from 1.
    last: u64,
    protocol: PeerProtocol,
    /// The inner address that the gateway announces; PHP workers get it with each event.
    gateway: SocketAddr,
    /// Events that are not sent yet, in the native encoding.
    batch: BytesMut,
    /// The same in the PHP encoding, for a PHP worker.
    php: BytesMut,
    /// Sequence number of the first event of `batch`.
    batch_first: u64,
    /// Batches that are sent and not fully acknowledged, oldest first.
    sent: VecDeque<Sent>,
    /// Bytes in `sent`.
    kept: usize,
    /// All events up to this one have been started by the worker.
    started: u64,
    /// Last event and size of each batch that is not fully started, oldest first.
    waiting: VecDeque<(u64, usize)>,
    /// Bytes in `waiting`.
    ahead: usize,
    /// Clients whose close events are not acknowledged, by sequence number.
    closed: BTreeMap<u64, ConnectionId>,
    /// Clients, and their event numbers, of unacknowledged suspects, by sequence number.
    suspects: BTreeMap<u64, (ConnectionId, u64)>,
}

/// The events that an acknowledgement completes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Finished {
    /// Clients whose close events were acknowledged.
    pub(super) closed: Vec<ConnectionId>,
    /// Clients whose suspects were acknowledged, with their event numbers.
    pub(super) suspects: Vec<(ConnectionId, u64)>,
}

/// A batch that was sent, and which of its events are acknowledged.
#[derive(Debug)]
struct Sent {
    first: u64,
    last: u64,
    frames: Bytes,
    /// Acknowledged ranges, without overlap, unordered.
    acked: Vec<(u64, u64)>,
}

/// An event as a delivery queue takes and returns it. When it is pushed, its payload is passed
/// separately.
#[derive(Debug)]
pub(in crate::shard) struct Entry {
    pub(in crate::shard) client: ConnectionId,
    pub(in crate::shard) number: u64,
    pub(in crate::shard) event: Event,
    pub(in crate::shard) context: Option<Box<Context>>,
    /// Whether a worker may have received it before.
    pub(in crate::shard) redelivered: bool,
    /// Number of the worker's last session edit; 0 once the event is recalled.
    pub(in crate::shard) edits: u64,
    /// Whether it is a suspect, and how it is delivered.
    pub(in crate::shard) isolation: Isolation,
    /// How far its delivery was when it was recalled.
    pub(in crate::shard) reached: Reached,
}

/// How a suspect is delivered, see `poison.rs`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::shard) enum Isolation {
    /// Not a suspect.
    #[default]
    None,
    /// Its acknowledgement is tracked.
    Suspect,
    /// The same, and its handler runs in isolation.
    Alone,
}

/// How far the delivery of an unacknowledged event was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::shard) enum Reached {
    /// Not sent.
    #[default]
    NotSent,
    /// Sent.
    Sent,
}

impl DeliveryQueue {
    pub(super) fn new(shard: u16, protocol: PeerProtocol, gateway: SocketAddr) -> Self {
        Self {
            shard,
            protocol,
            gateway,
            last: 0,
            batch: BytesMut::new(),
            php: BytesMut::new(),
            batch_first: 1,
            sent: VecDeque::new(),
            kept: 0,
            started: 0,
            waiting: VecDeque::new(),
            ahead: 0,
            closed: BTreeMap::new(),
            suspects: BTreeMap::new(),
        }
    }

    /// The protocol of the worker.
    pub(in crate::shard) fn protocol(&self) -> PeerProtocol {
        self.protocol
    }

    /// Adds an event. `entry` carries no payload; `payload` is passed separately.
    ///
    /// # Errors
    /// When the event exceeds the frame size of the worker's protocol. The event is not added then.
    pub(super) fn push(&mut self, mut entry: Entry, payload: &[u8]) -> Result<(), TooLarge> {
        if self.protocol == PeerProtocol::Php {
            self.push_php(&entry, payload)?;
            if !entry.event.is_close() {
                // Only the close event needs it if it is recalled.
                entry.context = None;
            }
        }
        let seq = self.last + 1;
        let Entry { client, number, event, context, redelivered, edits, isolation, .. } = entry;
        let shard = self.shard;
        let ends = event.is_close();
        let delivery = Delivery { client, shard, seq, number, redelivered, edits, context, event };
        let message = match isolation {
            Isolation::None | Isolation::Suspect => ToPeer::Event(delivery),
            Isolation::Alone => ToPeer::IsolatedEvent(delivery),
        };
        let added = native::encode_parts(&message, payload, &mut self.batch);
        // Limits on messages, handshakes and sessions keep every event below the native frame
        // limit.
        debug_assert!(added.is_ok());
        if added.is_ok() {
            self.last = seq;
            if ends {
                self.closed.insert(seq, client);
            }
            if isolation != Isolation::None {
                self.suspects.insert(seq, (client, number));
            }
        }
        Ok(())
    }

    fn push_php(&mut self, entry: &Entry, payload: &[u8]) -> Result<(), TooLarge> {
        let unknown = Context {
            remote: SocketAddr::from(([0, 0, 0, 0], 0)),
            listener_port: 0,
            session: Session::default(),
        };
        let context = entry.context.as_deref().unwrap_or(&unknown);
        let origin = Origin {
            gateway: self.gateway,
            remote: context.remote,
            connection: entry.client,
            listener_port: context.listener_port,
        };
        match &entry.event {
            Event::Message(message) => {
                let body = Bytes::copy_from_slice(payload);
                let message =
                    Event::Message(Message { kind: message.kind, body, ..Message::default() });
                to_peer::event(&origin, &context.session, &message, &mut self.php)
            }
            event => to_peer::event(&origin, &context.session, event, &mut self.php),
        }
    }

    /// Takes the unsent events, which count as sent from now on: their bytes in the worker's
    /// protocol, and the sequence number of the last one.
    pub(super) fn take_batch(&mut self) -> Option<(u64, Bytes)> {
        if self.batch.is_empty() {
            return None;
        }
        let frames = take_bytes(&mut self.batch);
        self.kept += frames.len();
        let (first, last) = (self.batch_first, self.last);
        self.sent.push_back(Sent { first, last, frames: frames.clone(), acked: Vec::new() });
        self.batch_first = last + 1;
        self.waiting.push_back((last, frames.len()));
        self.ahead += frames.len();
        match self.protocol {
            PeerProtocol::Native => Some((last, frames)),
            PeerProtocol::Php => Some((last, take_bytes(&mut self.php))),
        }
    }

    /// Bytes retained by this queue. Events for a PHP worker count twice: in the PHP encoding and,
    /// for redelivery to another worker, in the native one.
    pub(super) fn len(&self) -> usize {
        let kept = self.kept + self.batch.len();
        if self.protocol == PeerProtocol::Php { 2 * kept } else { kept }
    }

    /// The worker's progress.
    pub(super) fn progress(&self) -> Progress {
        Progress {
            last: self.last,
            started: self.started,
            finished: self.sent.front().map_or(self.batch_first, |sent| sent.first) - 1,
            waiting: self.ahead + self.batch.len(),
            unfinished: self.len(),
        }
    }

    /// The worker has started all events up to this one.
    pub(super) fn started(&mut self, through: u64) {
        self.started = self.started.max(through.min(self.batch_first - 1));
        while let Some((_, bytes)) = self.waiting.pop_front_if(|(last, _)| *last <= self.started) {
            self.ahead -= bytes;
        }
    }

    /// Whether every event is acknowledged.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The client and the client's event number of this event, if it is a suspect.
    pub(super) fn suspect(&self, seq: u64) -> Option<(ConnectionId, u64)> {
        self.suspects.get(&seq).copied()
    }

    /// Acknowledges the events `first..=last`; returns the close events and suspects among them.
    /// Events that were not sent, or are acknowledged already, are ignored.
    pub(super) fn ack(&mut self, first: u64, last: u64) -> Finished {
        let last = last.min(self.batch_first - 1);
        // Workers start events in order.
        self.started(last);
        let mut at = self.sent.partition_point(|sent| sent.last < first);
        while let Some(sent) = self.sent.get_mut(at).filter(|sent| sent.first <= last) {
            let (first, last) = (first.max(sent.first), last.min(sent.last));
            let overlaps = |acked: &(u64, u64)| first <= acked.1 && acked.0 <= last;
            if first <= last && !sent.acked.iter().any(overlaps) {
                sent.acked.push((first, last));
            }
            let acked: u64 = sent.acked.iter().map(|(first, last)| last - first + 1).sum();
            if acked <= sent.last - sent.first {
                at += 1;
                continue;
            }
            self.kept -= sent.frames.len();
            self.sent.remove(at);
        }
        Finished {
            closed: take(&mut self.closed, first, last),
            suspects: take(&mut self.suspects, first, last),
        }
    }

    /// Returns every unacknowledged event, in order.
    pub(super) fn recall(self) -> impl Iterator<Item = Entry> {
        let unsent = Sent {
            first: self.batch_first,
            last: self.last,
            frames: self.batch.freeze(),
            acked: Vec::new(),
        };
        let sent = self.sent.into_iter().map(|sent| (sent, true));
        sent.chain([(unsent, false)]).flat_map(|(sent, went_out)| {
            let mut frames = BytesMut::from(sent.frames);
            std::iter::from_fn(move || next_delivery(&mut frames))
                .filter(move |delivery| {
                    !sent
                        .acked
                        .iter()
                        .any(|acked| acked.0 <= delivery.seq && delivery.seq <= acked.1)
                })
                .map(move |delivery| Entry {
                    client: delivery.client,
                    number: delivery.number,
                    event: delivery.event,
                    context: delivery.context,
                    redelivered: delivery.redelivered || went_out,
                    edits: 0,
                    isolation: Isolation::None,
                    reached: if went_out { Reached::Sent } else { Reached::NotSent },
                })
        })
    }
}

/// Takes the contents of a buffer in memory of about their own size: they may be retained for long,
/// and must not retain a much larger buffer.
fn take_bytes(buffer: &mut BytesMut) -> Bytes {
    if buffer.capacity() / 2 <= buffer.len() {
        return buffer.split().freeze();
    }
    let bytes = Bytes::copy_from_slice(buffer);
    match buffer.capacity() {
        ..=MAX_SPARE => buffer.clear(),
        _ => *buffer = BytesMut::new(),
    }
    bytes
}

/// Largest buffer that is reused for the next batch, in bytes.
const MAX_SPARE: usize = 64 * 1024;

/// Removes the entries of the events `first..=last`.
fn take<T>(of: &mut BTreeMap<u64, T>, first: u64, last: u64) -> Vec<T> {
    if of.is_empty() || last < first {
        return Vec::new();
    }
    let seqs = of.range(first..=last).map(|(seq, _)| *seq).collect::<Vec<_>>();
    seqs.into_iter().filter_map(|seq| of.remove(&seq)).collect()
}

/// Decodes one natively encoded frame.
fn next_delivery(frames: &mut BytesMut) -> Option<Delivery> {
    match native::decode(frames, MAX_FRAME) {
        Ok(Some(ToPeer::Event(delivery) | ToPeer::IsolatedEvent(delivery))) => Some(delivery),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use protocol::CloseReason;

    use super::*;

    fn new() -> DeliveryQueue {
        DeliveryQueue::new(3, PeerProtocol::Native, SocketAddr::from(([127, 0, 0, 1], 2900)))
    }

    fn entry(event: Event) -> Entry {
        let client = ConnectionId(7);
        let (context, isolation, reached) = (None, Isolation::None, Reached::NotSent);
        Entry {
            client,
            number: 9,
            event,
            context,
            redelivered: false,
            edits: 0,
            isolation,
            reached,
        }
    }

    fn queue(batches: &[&[&'static str]]) -> DeliveryQueue {
        let mut queue = new();
        for (at, batch) in batches.iter().enumerate() {
            for text in *batch {
                let event = Event::Message(Message::default());
                queue.push(entry(event), text.as_bytes()).unwrap();
            }
            if at + 1 < batches.len() {
                queue.take_batch().unwrap();
            }
        }
        queue
    }

    fn recalled(queue: DeliveryQueue) -> Vec<String> {
        let texts = queue.recall().map(|recalled| match recalled.event {
            Event::Message(message) => {
                format!(
                    "{}{}",
                    message.as_text().unwrap(),
                    if recalled.redelivered { "!" } else { "" }
                )
            }
            other => panic!("{other:?}"),
        });
        texts.collect()
    }

    #[test]
    fn recall_returns_unacked_events_in_order_and_marks_sent_ones() {
        let mut queue = queue(&[&["a", "b", "c"], &["d"], &["e"]]);
        queue.ack(2, 2);
        assert_eq!(recalled(queue), ["a!", "c!", "d!", "e"]);
    }

    #[test]
    fn small_batch_does_not_retain_the_buffer_of_a_larger_one() {
        let mut buffer = BytesMut::with_capacity(8192);
        buffer.extend_from_slice(&[1; 100]);
        assert_eq!(take_bytes(&mut buffer), [1; 100][..]);
        assert_eq!((buffer.len(), buffer.capacity()), (0, 8192), "reused for the next one");
        buffer.extend_from_slice(&[2; 5000]);
        assert_eq!(take_bytes(&mut buffer), [2; 5000][..]);
        assert!(buffer.capacity() <= 8192 - 5000, "moved without a copy");
        let mut buffer = BytesMut::with_capacity(MAX_SPARE * 2);
        buffer.extend_from_slice(&[3]);
        assert_eq!(take_bytes(&mut buffer), [3][..]);
        assert_eq!(buffer.capacity(), 0);
    }

    #[test]
    fn acked_batches_are_freed() {
        let mut queue = queue(&[&["a", "b", "c"], &["d", "e"], &[]]);
        queue.ack(3, 4);
        queue.ack(1, 2);
        assert_eq!(queue.sent.len(), 1, "the first batch is freed");
        queue.ack(5, 5);
        assert!(queue.is_empty());
        assert_eq!(queue.sent.len(), 0);
    }

    #[test]
    fn progress_follows_started_and_acked_events() {
        let mut queue = queue(&[&["a", "b"], &["c"], &["d"]]);
        let progress = |queue: &DeliveryQueue| {
            let Progress { last, started, finished, .. } = queue.progress();
            (last, started, finished)
        };
        assert_eq!(progress(&queue), (4, 0, 0));
        assert_eq!(queue.progress().waiting, queue.len());
        queue.started(2);
        assert_eq!((progress(&queue), queue.waiting.len()), ((4, 2, 0), 1));
        queue.ack(3, 3);
        assert_eq!((progress(&queue), queue.waiting.len()), ((4, 3, 0), 0));
        assert_eq!(queue.progress().waiting, queue.batch.len());
        queue.ack(1, 2);
        assert_eq!(progress(&queue), (4, 3, 3));
        // Unsent events cannot have been started.
        queue.started(u64::MAX);
        queue.started(1);
        assert_eq!(progress(&queue), (4, 3, 3));
    }

    #[test]
    fn invalid_acks_are_ignored() {
        let mut queue = queue(&[&["a", "b"], &["c"]]);
        for (first, last) in
            [(2, 2), (2, 2), (0, 0), (9, 4), (3, 100), (u64::MAX, u64::MAX), (5, 1)]
        {
            queue.ack(first, last);
        }
        assert_eq!(recalled(queue), ["a!", "c"]);
    }

    #[test]
    fn recalled_events_keep_their_fields() {
        let mut queue = new();
        let close = Event::Close(CloseReason::Slow);
        queue.push(Entry { redelivered: true, ..entry(close) }, &[]).unwrap();
        let back = queue.recall().next().unwrap();
        assert_eq!(back.event, Event::Close(CloseReason::Slow));
        assert!(back.redelivered);
        assert_eq!((back.client, back.number), (ConnectionId(7), 9));
    }
}
