//! Events on their way to one worker: kept until the worker is done with them.

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

use super::share::Progress;
use crate::exchange::Language;

/// Events of one shard on their way to one worker, or waiting for one.
///
/// They are encoded once, into the bytes that go out. The same bytes are kept, shared, until the
/// worker is done with the events in them, and decoded again only if the worker dies before that.
/// What must be paid for each event is its encoding; the rest is paid for each batch.
#[derive(Debug)]
pub(super) struct Outlet {
    shard: u16,
    /// The number of the last event; they count from 1.
    last: u64,
    language: Language,
    /// The inner address that the gateway announces, which PHP workers are told with each event.
    gateway: SocketAddr,
    /// Events that have not gone out yet, as they are kept.
    batch: BytesMut,
    /// The same in PHP's form, for a worker of that language.
    php: BytesMut,
    /// The number of the first event of `batch`.
    batch_first: u64,
    /// Batches that have gone out and are not done, oldest first.
    sent: VecDeque<Sent>,
    /// Bytes in `sent`.
    kept: usize,
    /// The last event up to which the worker has begun with all.
    begun: u64,
    /// The last event and the bytes of each batch that it has not begun with, oldest first.
    waiting: VecDeque<(u64, usize)>,
    /// Bytes in `waiting`.
    ahead: usize,
    /// The ends of clients among the events that are not done, by number.
    ends: BTreeMap<u64, ConnectionId>,
    /// The clients, and the numbers of their own, of events that worker processes may have ended over.
    suspects: BTreeMap<u64, (ConnectionId, u64)>,
}

/// What else must be known of events that are done.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Finished {
    /// Whose ends were among them.
    pub(super) ends: Vec<ConnectionId>,
    /// Whose suspects were, with the numbers of their own.
    pub(super) suspects: Vec<(ConnectionId, u64)>,
}

/// A batch that went out, and which of its events are done.
#[derive(Debug)]
struct Sent {
    first: u64,
    last: u64,
    frames: Bytes,
    /// Ranges of events that are done, without overlap, in no order.
    done: Vec<(u64, u64)>,
}

/// An event as an outlet takes it and gives it back. Going in, its payload is given beside it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) client: ConnectionId,
    pub(super) number: u64,
    pub(super) event: Event,
    pub(super) context: Option<Box<Context>>,
    /// Whether a worker may have seen it.
    pub(super) redelivered: bool,
    /// The last of the worker's own edits of the session; none once the event is taken back.
    pub(super) edits: u64,
    /// Whether it may be what worker processes ended over.
    pub(super) care: Care,
    /// How far it had come when it was taken back.
    pub(super) reached: Reached,
}

/// With how much care an event is delivered, see `suspects.rs`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Care {
    /// With none.
    #[default]
    No,
    /// It is known when it is done.
    Suspect,
    /// The same, and its handler is to run alone.
    Trial,
}

/// How far an event had come that a worker did not finish.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Reached {
    /// It had not been sent.
    #[default]
    Nobody,
    /// It had been sent.
    Sent,
}

impl Outlet {
    pub(super) fn new(shard: u16, language: Language, gateway: SocketAddr) -> Self {
        Self {
            shard,
            language,
            gateway,
            last: 0,
            batch: BytesMut::new(),
            php: BytesMut::new(),
            batch_first: 1,
            sent: VecDeque::new(),
            kept: 0,
            begun: 0,
            waiting: VecDeque::new(),
            ahead: 0,
            ends: BTreeMap::new(),
            suspects: BTreeMap::new(),
        }
    }

    /// The language of the worker.
    pub(super) fn language(&self) -> Language {
        self.language
    }

    /// Adds an event. `entry` is without its payload, which is given beside it.
    ///
    /// # Errors
    /// When the event is too large for a frame of the worker's language; it is not added then.
    pub(super) fn push(&mut self, mut entry: Entry, payload: &[u8]) -> Result<(), TooLarge> {
        if self.language == Language::Php {
            self.push_php(&entry, payload)?;
            if !matches!(entry.event, Event::Close(_)) {
                // Only the last event must bring it, should it be recalled.
                entry.context = None;
            }
        }
        let seq = self.last + 1;
        let Entry { client, number, event, context, redelivered, edits, care, .. } = entry;
        let shard = self.shard;
        let ends = matches!(event, Event::Close(_));
        let delivery = Delivery { client, shard, seq, number, redelivered, edits, context, event };
        let message = match care {
            Care::No | Care::Suspect => ToPeer::Event(delivery),
            Care::Trial => ToPeer::Trial(delivery),
        };
        let added = native::encode_parts(&message, payload, &mut self.batch);
        // Limits on messages, handshakes and sessions keep every event below our own frames' limit.
        debug_assert!(added.is_ok());
        if added.is_ok() {
            self.last = seq;
            if ends {
                self.ends.insert(seq, client);
            }
            if care != Care::No {
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
                let message = Event::Message(Message { kind: message.kind, body });
                to_peer::event(&origin, &context.session, &message, &mut self.php)
            }
            event => to_peer::event(&origin, &context.session, event, &mut self.php),
        }
    }

    /// Takes the events that have not gone out yet, which count as sent from here on: their bytes
    /// in the worker's language, and the number of the last one.
    pub(super) fn take_batch(&mut self) -> Option<(u64, Bytes)> {
        if self.batch.is_empty() {
            return None;
        }
        let frames = take_bytes(&mut self.batch);
        self.kept += frames.len();
        let (first, last) = (self.batch_first, self.last);
        self.sent.push_back(Sent { first, last, frames: frames.clone(), done: Vec::new() });
        self.batch_first = last + 1;
        self.waiting.push_back((last, frames.len()));
        self.ahead += frames.len();
        match self.language {
            Language::Native => Some((last, frames)),
            Language::Php => Some((last, take_bytes(&mut self.php))),
        }
    }

    /// Bytes kept here, or for this. Events for a PHP worker are there twice until they are
    /// written: in its form and, to be given to another, in ours.
    pub(super) fn len(&self) -> usize {
        let kept = self.kept + self.batch.len();
        if self.language == Language::Php { 2 * kept } else { kept }
    }

    /// How far the worker is.
    pub(super) fn progress(&self) -> Progress {
        Progress {
            last: self.last,
            begun: self.begun,
            finished: self.sent.front().map_or(self.batch_first, |sent| sent.first) - 1,
            waiting: self.ahead + self.batch.len(),
            unfinished: self.len(),
        }
    }

    /// The worker has begun with all events up to this one.
    pub(super) fn begun(&mut self, through: u64) {
        self.begun = self.begun.max(through.min(self.batch_first - 1));
        while let Some((_, bytes)) = self.waiting.pop_front_if(|(last, _)| *last <= self.begun) {
            self.ahead -= bytes;
        }
    }

    /// Whether every event is done.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The client of the event, and the event's number of its own, if it is a suspect.
    pub(super) fn suspect(&self, seq: u64) -> Option<(ConnectionId, u64)> {
        self.suspects.get(&seq).copied()
    }

    /// Forgets the events `first..=last`, and says whose ends were among them, and whose suspects. What
    /// was never sent, or is done already, is passed over.
    pub(super) fn done(&mut self, first: u64, last: u64) -> Finished {
        let last = last.min(self.batch_first - 1);
        // It reads them in order.
        self.begun(last);
        let mut at = self.sent.partition_point(|sent| sent.last < first);
        while let Some(sent) = self.sent.get_mut(at).filter(|sent| sent.first <= last) {
            let (first, last) = (first.max(sent.first), last.min(sent.last));
            let overlaps = |done: &(u64, u64)| first <= done.1 && done.0 <= last;
            if first <= last && !sent.done.iter().any(overlaps) {
                sent.done.push((first, last));
            }
            let done: u64 = sent.done.iter().map(|(first, last)| last - first + 1).sum();
            if done <= sent.last - sent.first {
                at += 1;
                continue;
            }
            self.kept -= sent.frames.len();
            self.sent.remove(at);
        }
        Finished {
            ends: take(&mut self.ends, first, last),
            suspects: take(&mut self.suspects, first, last),
        }
    }

    /// Takes back every event that is not done, in order.
    pub(super) fn recall(self) -> impl Iterator<Item = Entry> {
        let unsent = Sent {
            first: self.batch_first,
            last: self.last,
            frames: self.batch.freeze(),
            done: Vec::new(),
        };
        let sent = self.sent.into_iter().map(|sent| (sent, true));
        sent.chain([(unsent, false)]).flat_map(|(sent, went_out)| {
            let mut frames = BytesMut::from(sent.frames);
            std::iter::from_fn(move || next_delivery(&mut frames))
                .filter(move |delivery| {
                    !sent.done.iter().any(|done| done.0 <= delivery.seq && delivery.seq <= done.1)
                })
                .map(move |delivery| Entry {
                    client: delivery.client,
                    number: delivery.number,
                    event: delivery.event,
                    context: delivery.context,
                    redelivered: delivery.redelivered || went_out,
                    edits: 0,
                    care: Care::No,
                    reached: if went_out { Reached::Sent } else { Reached::Nobody },
                })
        })
    }
}

/// Takes what is in a buffer, in memory of about its own size: it may be kept for long, and must not
/// keep a buffer that is much larger.
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

/// The largest buffer that is kept for the next batch, in bytes.
const MAX_SPARE: usize = 64 * 1024;

/// Takes what is known of the events `first..=last`.
fn take<T>(of: &mut BTreeMap<u64, T>, first: u64, last: u64) -> Vec<T> {
    if of.is_empty() || last < first {
        return Vec::new();
    }
    let seqs = of.range(first..=last).map(|(seq, _)| *seq).collect::<Vec<_>>();
    seqs.into_iter().filter_map(|seq| of.remove(&seq)).collect()
}

/// Reads back one of our own frames.
fn next_delivery(frames: &mut BytesMut) -> Option<Delivery> {
    match native::decode(frames, MAX_FRAME) {
        Ok(Some(ToPeer::Event(delivery) | ToPeer::Trial(delivery))) => Some(delivery),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use protocol::{CloseReason, MessageKind};

    use super::*;

    fn new() -> Outlet {
        Outlet::new(3, Language::Native, SocketAddr::from(([127, 0, 0, 1], 2900)))
    }

    fn entry(event: Event) -> Entry {
        let client = ConnectionId(7);
        let (context, care, reached) = (None, Care::No, Reached::Nobody);
        Entry { client, number: 9, event, context, redelivered: false, edits: 0, care, reached }
    }

    fn outlet(batches: &[&[&'static str]]) -> Outlet {
        let mut outlet = new();
        for (at, batch) in batches.iter().enumerate() {
            for text in *batch {
                let event = Event::Message(Message { kind: MessageKind::Text, body: Bytes::new() });
                outlet.push(entry(event), text.as_bytes()).unwrap();
            }
            if at + 1 < batches.len() {
                outlet.take_batch().unwrap();
            }
        }
        outlet
    }

    fn recalled(outlet: Outlet) -> Vec<String> {
        let texts = outlet.recall().map(|recalled| match recalled.event {
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
    fn what_is_not_done_comes_back_in_order_and_marked_if_it_went_out() {
        let mut outlet = outlet(&[&["a", "b", "c"], &["d"], &["e"]]);
        outlet.done(2, 2);
        assert_eq!(recalled(outlet), ["a!", "c!", "d!", "e"]);
    }

    #[test]
    fn small_batch_does_not_keep_the_memory_of_what_came_before_it() {
        let mut buffer = BytesMut::with_capacity(8192);
        buffer.extend_from_slice(&[1; 100]);
        assert_eq!(take_bytes(&mut buffer), [1; 100][..]);
        assert_eq!((buffer.len(), buffer.capacity()), (0, 8192), "it is used for the next one");
        buffer.extend_from_slice(&[2; 5000]);
        assert_eq!(take_bytes(&mut buffer), [2; 5000][..]);
        assert!(buffer.capacity() <= 8192 - 5000, "it went out as it was");
        let mut buffer = BytesMut::with_capacity(MAX_SPARE * 2);
        buffer.extend_from_slice(&[3]);
        assert_eq!(take_bytes(&mut buffer), [3][..]);
        assert_eq!(buffer.capacity(), 0);
    }

    #[test]
    fn what_is_done_is_forgotten() {
        let mut outlet = outlet(&[&["a", "b", "c"], &["d", "e"], &[]]);
        outlet.done(3, 4);
        outlet.done(1, 2);
        assert_eq!(outlet.sent.len(), 1, "the first batch is gone");
        outlet.done(5, 5);
        assert!(outlet.is_empty());
        assert_eq!(outlet.sent.len(), 0);
    }

    #[test]
    fn how_far_a_worker_is_follows_from_what_it_says() {
        let mut outlet = outlet(&[&["a", "b"], &["c"], &["d"]]);
        let progress = |outlet: &Outlet| {
            let Progress { last, begun, finished, .. } = outlet.progress();
            (last, begun, finished)
        };
        assert_eq!(progress(&outlet), (4, 0, 0));
        assert_eq!(outlet.progress().waiting, outlet.len());
        outlet.begun(2);
        assert_eq!((progress(&outlet), outlet.waiting.len()), ((4, 2, 0), 1));
        outlet.done(3, 3);
        assert_eq!((progress(&outlet), outlet.waiting.len()), ((4, 3, 0), 0));
        assert_eq!(outlet.progress().waiting, outlet.batch.len());
        outlet.done(1, 2);
        assert_eq!(progress(&outlet), (4, 3, 3));
        // It cannot have begun with what was never sent.
        outlet.begun(u64::MAX);
        outlet.begun(1);
        assert_eq!(progress(&outlet), (4, 3, 3));
    }

    #[test]
    fn a_worker_that_miscounts_harms_nobody() {
        let mut outlet = outlet(&[&["a", "b"], &["c"]]);
        for (first, last) in
            [(2, 2), (2, 2), (0, 0), (9, 4), (3, 100), (u64::MAX, u64::MAX), (5, 1)]
        {
            outlet.done(first, last);
        }
        assert_eq!(recalled(outlet), ["a!", "c"]);
    }

    #[test]
    fn events_keep_their_facts() {
        let mut outlet = new();
        let close = Event::Close(CloseReason::Slow);
        outlet.push(Entry { redelivered: true, ..entry(close) }, &[]).unwrap();
        let back = outlet.recall().next().unwrap();
        assert_eq!(back.event, Event::Close(CloseReason::Slow));
        assert!(back.redelivered);
        assert_eq!((back.client, back.number), (ConnectionId(7), 9));
    }
}
