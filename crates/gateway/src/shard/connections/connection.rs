//! One client-side connection: its state and its socket.

use std::{
    io::{ErrorKind, IoSlice},
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Instant,
};

use bytes::{Bytes, BytesMut};
use framing::{
    Decoder,
    websocket::{PerMessageDeflate, Upgrade},
};
use protocol::{ConnectionId, Session};
use runtime::stream::Stream;
use tokio::io::{AsyncRead, ReadBuf};

use super::{
    flow_control::FlowControl,
    read_gate::{Pause, ReadGate},
};
use crate::{
    heartbeat::Silence,
    settings::Listener,
    shard::{close_codes::CodesId, standby::Standbys},
    thread_messages::LinkId,
    write_queue::WriteQueue,
};

/// A client with more bytes than this of an incomplete message is in the middle of a large message.
const LARGE: usize = 16 * 1024;

/// One client-side connection. It owns no buffer between messages.
#[derive(Debug)]
pub(in crate::shard) struct Connection {
    stream: Stream,
    /// The address of the client: the peer's, or the one that a proxy states.
    pub(in crate::shard) remote: SocketAddr,
    /// The listener that accepted it.
    pub(in crate::shard) listener: Rc<Listener>,
    pub(in crate::shard) phase: Phase,
    /// The client id; set while the connection is a client.
    pub(in crate::shard) id: Option<ConnectionId>,
    /// When it became a client, in tenths of a second since its shard started.
    pub(in crate::shard) since: u32,
    /// The worker that owns it, while that worker is linked.
    pub(in crate::shard) route: Option<LinkId>,
    /// When the link was lost of an earlier owner, which may have declared this gateway dead; see
    /// `register_outages.rs`.
    pub(in crate::shard) lost: Option<Instant>,
    /// Whether its owner has its address and session.
    pub(in crate::shard) context_sent: bool,
    /// Number of the last session edit by its owner.
    pub(in crate::shard) edits: u64,
    /// The workers that emit its close event if this gateway and its owner die.
    pub(in crate::shard) standbys: Standbys,
    /// Number of events emitted so far.
    pub(in crate::shard) events: u64,
    /// Since when it has had events without a worker.
    pub(in crate::shard) held_since: Option<Instant>,
    /// Its unacknowledged events at its owner.
    pub(in crate::shard) flow_control: FlowControl,
    /// Whether its socket is read.
    pub(in crate::shard) gate: ReadGate,
    /// Whether a complete message or request is not processed yet.
    pub(in crate::shard) backlog: bool,
    /// The bytes of its own that the budget accounts for.
    pub(in crate::shard) accounted: usize,
    pub(in crate::shard) silence: Silence,
    /// Deadline of the current phase.
    pub(super) deadline: Option<Instant>,
    out: WriteQueue,
    /// Which of the shard's lists of pending output it is in, and whether the socket takes any.
    pub(in crate::shard) pending: Pending,
    /// The close codes of its first worker that has any.
    pub(in crate::shard) close_codes: CodesId,
    /// Progress of a page being sent to it.
    pub(in crate::shard) page: Page,
    /// The compression that its handshake negotiated.
    pub(in crate::shard) deflate: Option<PerMessageDeflate>,
    waker: Option<Waker>,
}

/// The lists of pending output that it is in, and whether its socket is full: a byte, for memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::shard) struct Pending(u8);

/// Progress of a page being sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::shard) enum Page {
    /// No page was requested.
    None,
    /// Nothing was written since the last check.
    Stalled,
    /// Something was written since the last check.
    Progresses,
}

/// The state of a connection.
#[derive(Debug)]
pub(in crate::shard) enum Phase {
    /// Awaiting a complete PROXY header; contains the bytes received so far.
    ProxyHeader(BytesMut),
    /// Awaiting a complete request; contains the bytes received so far. Output is held back.
    Request(BytesMut),
    /// The handshake awaits the answer of a worker. Nothing is read, and output is held back.
    Undecided(Box<UndecidedHandshake>),
    /// Messages flow in both directions.
    Open(Decoder),
    /// The going-away close frame was sent and the client's close frame is awaited: messages
    /// received until then are delivered, and nothing more is sent.
    Leaving(Decoder),
    /// Queued output is being written, before the connection closes; input is discarded.
    Closing {
        /// Whether the sending half is closed already.
        finished: bool,
        /// Whether to wait for the peer to close its half, so that no output in flight is lost.
        linger: bool,
    },
    /// Closed; the slot can be freed.
    Over,
}

/// A handshake that awaits the answer of a worker.
#[derive(Debug)]
pub(in crate::shard) struct UndecidedHandshake {
    pub(in crate::shard) upgrade: Upgrade,
    /// The bytes behind its request.
    pub(in crate::shard) rest: BytesMut,
    /// Pages that the client has requested before, and not read yet.
    pages: WriteQueue,
}

/// Result of reading a socket.
#[derive(Debug)]
pub(in crate::shard) enum Read {
    /// This many bytes.
    Bytes(usize),
    /// End of stream.
    End,
    /// The socket failed.
    Broken(std::io::Error),
}

/// Messages that are held back until a handshake is accepted.
#[derive(Debug)]
pub(in crate::shard) struct Messages(WriteQueue);

impl Phase {
    /// The decoder, while messages are processed.
    pub(in crate::shard) fn decoder(&mut self) -> Option<&mut Decoder> {
        match self {
            Self::Open(decoder) | Self::Leaving(decoder) => Some(decoder),
            Self::ProxyHeader(_)
            | Self::Request(_)
            | Self::Undecided(_)
            | Self::Closing { .. }
            | Self::Over => None,
        }
    }
}

impl UndecidedHandshake {
    /// Memory that it holds.
    fn held(&self) -> usize {
        self.upgrade.held() + self.rest.capacity() + self.pages.copied()
    }
}

impl Pending {
    const DIRTY: u8 = 1;
    const FAN_OUT: u8 = 2;
    const BLOCKED: u8 = 4;

    /// Whether it is in the `dirty` list.
    pub(super) const fn is_dirty(self) -> bool {
        self.0 & Self::DIRTY != 0
    }

    /// Sets whether it is in the `dirty` list. Returns whether it was.
    pub(in crate::shard) const fn set_dirty(&mut self, is_dirty: bool) -> bool {
        self.set(Self::DIRTY, is_dirty)
    }

    /// Sets whether it is in the `fan_out` queue. Returns whether it was.
    pub(super) const fn set_in_fan_out(&mut self, is_in: bool) -> bool {
        self.set(Self::FAN_OUT, is_in)
    }

    /// Whether the socket's send buffer is full.
    const fn is_blocked(self) -> bool {
        self.0 & Self::BLOCKED != 0
    }

    /// Sets whether the socket's send buffer is full.
    const fn set_blocked(&mut self, is_blocked: bool) {
        self.set(Self::BLOCKED, is_blocked);
    }

    const fn set(&mut self, bit: u8, is_set: bool) -> bool {
        let was_set = self.0 & bit != 0;
        self.0 = if is_set { self.0 | bit } else { self.0 & !bit };
        was_set
    }
}

impl Page {
    fn progress(&mut self) {
        if *self == Self::Stalled {
            *self = Self::Progresses;
        }
    }
}

impl Connection {
    /// The client's context, as its worker receives it.
    pub(in crate::shard) fn context(&self, session: Session) -> Box<protocol::Context> {
        let listener_port = self.listener.addr.port();
        Box::new(protocol::Context { remote: self.remote, listener_port, session })
    }

    pub(in crate::shard) fn new(
        stream: Stream,
        remote: SocketAddr,
        listener: Rc<Listener>,
    ) -> Self {
        Self {
            stream,
            remote,
            listener,
            phase: Phase::Request(BytesMut::new()),
            id: None,
            since: 0,
            route: None,
            lost: None,
            standbys: Standbys::default(),
            context_sent: false,
            edits: 0,
            events: 0,
            held_since: None,
            flow_control: FlowControl::default(),
            gate: ReadGate::default(),
            backlog: false,
            accounted: 0,
            silence: Silence::default(),
            deadline: None,
            out: WriteQueue::default(),
            pending: Pending::default(),
            close_codes: CodesId::NONE,
            page: Page::None,
            deflate: None,
            waker: None,
        }
    }

    /// Stores the waker of the connection's task.
    pub(in crate::shard) fn watch(&mut self, waker: &Waker) {
        match &mut self.waker {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    /// Wakes the connection's task.
    pub(in crate::shard) fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }

    /// Reads available bytes into `scratch`.
    pub(in crate::shard) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
    ) -> Poll<Read> {
        let mut buffer = ReadBuf::new(scratch);
        let read = match self.phase {
            Phase::ProxyHeader(_) => self.stream.poll_read_raw(cx, &mut buffer),
            _ => Pin::new(&mut self.stream).poll_read(cx, &mut buffer),
        };
        read.map(|read| match read {
            Ok(()) if buffer.filled().is_empty() => Read::End,
            Ok(()) => Read::Bytes(buffer.filled().len()),
            Err(error) => Read::Broken(error),
        })
    }

    /// Begins TLS behind a PROXY header, with these bytes. `false` if it does not use TLS.
    pub(in crate::shard) fn begin_tls(&self, bytes: &[u8]) -> bool {
        self.stream.begin_tls(bytes)
    }

    /// Bytes in the write queue, or accepted by TLS and not written yet.
    pub(in crate::shard) fn queued(&self) -> usize {
        self.out.len() + self.stream.unsent()
    }

    /// Bytes in the write queue, and bytes that TLS has accepted and not written.
    pub(in crate::shard) fn unwritten(&self) -> (usize, usize) {
        (self.out.len(), self.stream.unsent())
    }

    /// Bytes of the write queue that no other connection shares, and TLS buffers.
    pub(super) fn copied(&self) -> usize {
        self.out.copied() + self.stream.held()
    }

    /// The address of the peer of its socket: the client's, or that of a proxy.
    pub(in crate::shard) fn peer(&self) -> Option<SocketAddr> {
        self.stream.peer_addr().ok()
    }

    /// Whether input is decrypted before a message or request can be recognized in it.
    pub(in crate::shard) fn is_tls(&self) -> bool {
        self.stream.is_tls()
    }

    pub(in crate::shard) fn queue(&mut self, bytes: &Bytes) {
        self.out.push(bytes);
    }

    pub(in crate::shard) fn queue_first(&mut self, bytes: Bytes) {
        self.out.push_front(bytes);
    }

    /// Begins to wait for the answer of a worker to its handshake. `rest` is what the client has
    /// sent behind its request.
    pub(in crate::shard) fn await_answer(&mut self, upgrade: Upgrade, rest: &[u8]) {
        // Before it is a client, it has pages queued, and no messages.
        let pages = match self.id {
            None => std::mem::take(&mut self.out),
            Some(_) => WriteQueue::default(),
        };
        let handshake = UndecidedHandshake { upgrade, rest: rest.into(), pages };
        self.phase = Phase::Undecided(Box::new(handshake));
        self.backlog = false;
        self.gate.pause(Pause::HandshakeUndecided);
    }

    /// Ends the wait, if it waits. Its write queue is then the pages, and the messages that were
    /// held back are the second value.
    pub(in crate::shard) fn take_undecided(
        &mut self,
    ) -> Option<(Box<UndecidedHandshake>, Messages)> {
        let mut handshake = match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Undecided(handshake) => handshake,
            other => {
                self.phase = other;
                return None;
            }
        };
        self.gate.resume(Pause::HandshakeUndecided);
        let pages = std::mem::take(&mut handshake.pages);
        Some((handshake, Messages(std::mem::replace(&mut self.out, pages))))
    }

    /// Appends messages that were held back.
    pub(in crate::shard) fn queue_held(&mut self, Messages(messages): Messages) {
        self.out.append(messages);
    }

    /// Discards the write queue.
    pub(in crate::shard) fn discard_queue(&mut self) {
        self.out = WriteQueue::default();
    }

    /// Whether the task has to wait until the socket is writable.
    pub(in crate::shard) fn is_blocked(&self) -> bool {
        self.pending.is_blocked()
    }

    /// Waits until the socket is writable.
    pub(in crate::shard) fn poll_unblock(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = self.stream.unsent();
        let ready = self.stream.poll_write_ready(cx).map_ok(|()| self.pending.set_blocked(false));
        if self.stream.unsent() < before {
            self.page.progress();
        }
        ready
    }

    /// Limits the unsent bytes in the socket's send buffer, so that write progress shows soon
    /// whether the peer reads.
    pub(in crate::shard) fn limit_unsent(&self, bytes: u32) {
        if let Err(error) = self.stream.limit_unsent(bytes) {
            tracing::debug!(
                remote = %self.remote,
                %error,
                "failed to limit the send buffer; a slow reader may be treated as stalled"
            );
        }
    }

    /// Writes queued output, as far as the socket accepts it, and closes the sending half after the
    /// last byte of a closing connection.
    pub(in crate::shard) fn flush(&mut self) -> std::io::Result<()> {
        match self.phase {
            Phase::ProxyHeader(_) | Phase::Over => return Ok(()),
            // Messages sent before the handshake completes are held back until it has.
            Phase::Request(_) if self.id.is_some() => return Ok(()),
            Phase::Undecided(_) => return Ok(()),
            _ if self.pending.is_blocked() => return Ok(()),
            _ => {}
        }
        let stream = &self.stream;
        let is_last = matches!(self.phase, Phase::Closing { linger: false, .. });
        let before = self.out.len();
        let all = self.out.write(|slices: &[IoSlice<'_>]| match slices {
            // A single slice is the whole queue.
            [one] if is_last => stream.try_write_last(one),
            [one] => stream.try_write(one),
            many => stream.try_write_vectored(many),
        })?;
        if self.out.len() < before {
            self.page.progress();
        }
        if !all || 0 < stream.unsent() {
            self.block();
            return Ok(());
        }
        match &mut self.phase {
            Phase::Closing { linger: false, .. } => {
                self.stream.send_close_notify();
                self.phase = Phase::Over;
                self.wake();
            }
            Phase::Closing { finished: finished @ false, .. } => match self.stream.close_write() {
                Ok(()) => *finished = true,
                // TLS sends a close_notify record first.
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.block(),
                Err(error) => return Err(error),
            },
            Phase::Closing { .. }
            | Phase::ProxyHeader(_)
            | Phase::Request(_)
            | Phase::Undecided(_)
            | Phase::Open(_)
            | Phase::Leaving(_)
            | Phase::Over => {}
        }
        Ok(())
    }

    /// Sends a TLS `close_notify`; nothing without TLS.
    pub(in crate::shard) fn send_close_notify(&self) {
        self.stream.send_close_notify();
    }

    /// Makes the task wait until the socket is writable.
    fn block(&mut self) {
        self.pending.set_blocked(true);
        self.wake();
    }
}

impl Connection {
    /// Bytes that it holds for itself: incomplete input, and copies in its write queue.
    pub(in crate::shard) fn own(&self) -> usize {
        self.unfinished() + self.copied()
    }

    /// Whether it is in the middle of a large message.
    pub(in crate::shard) fn in_large_message(&self) -> bool {
        let come = match &self.phase {
            _ if self.backlog => 0,
            Phase::Open(decoder) | Phase::Leaving(decoder) => decoder.buffered(),
            Phase::ProxyHeader(_)
            | Phase::Request(_)
            | Phase::Undecided(_)
            | Phase::Closing { .. }
            | Phase::Over => 0,
        };
        LARGE < come
    }

    /// Bytes that it holds, including frames that it shares.
    pub(in crate::shard) fn weight(&self) -> usize {
        self.unfinished() + self.queued()
    }

    /// Memory held for unprocessed input.
    fn unfinished(&self) -> usize {
        match &self.phase {
            Phase::ProxyHeader(head) | Phase::Request(head) => head.capacity(),
            Phase::Undecided(handshake) => handshake.held(),
            Phase::Open(decoder) | Phase::Leaving(decoder) => decoder.held(),
            Phase::Closing { .. } | Phase::Over => 0,
        }
    }
}

#[cfg(test)]
mod tests;
