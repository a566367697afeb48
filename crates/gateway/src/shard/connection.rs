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
use framing::Decoder;
use protocol::{ConnectionId, Session};
use runtime::stream::Stream;
use tokio::io::{AsyncRead, ReadBuf};

use super::{flow_control::FlowControl, standby::Standbys};
use crate::{
    heartbeat::Silence, settings::Listener, thread_messages::LinkId, write_queue::WriteQueue,
};

/// Slot of a connection in its shard's slab.
pub(super) type SlotKey = u32;

/// One client-side connection. It owns no buffer between messages.
#[derive(Debug)]
pub(super) struct Connection {
    stream: Stream,
    pub(super) remote: SocketAddr,
    /// The listener that accepted it.
    pub(super) listener: Rc<Listener>,
    pub(super) phase: Phase,
    /// The client id; set while the connection is a client.
    pub(super) id: Option<ConnectionId>,
    /// When it became a client, in tenths of a second since its shard started.
    pub(super) since: u32,
    /// The worker that owns it, while that worker is linked.
    pub(super) route: Option<LinkId>,
    /// When the link was lost of an earlier owner, which may have declared this gateway dead; see
    /// `register_outages.rs`.
    pub(super) lost: Option<Instant>,
    /// Whether its owner has its address and session.
    pub(super) context_sent: bool,
    /// Number of the last session edit by its owner.
    pub(super) edits: u64,
    /// The workers that emit its close event if this gateway and its owner die.
    pub(super) standbys: Standbys,
    /// Number of events emitted so far.
    pub(super) events: u64,
    /// Since when it has had events without a worker.
    pub(super) held_since: Option<Instant>,
    /// Its unacknowledged events at its owner.
    pub(super) flow_control: FlowControl,
    /// Why flow control pauses its reads, if it does.
    pub(super) paused: Option<Pause>,
    /// Whether a complete message or request is not processed yet.
    pub(super) backlog: bool,
    /// Whether its reads are paused because it is in the fair queue.
    pub(super) is_queued: bool,
    /// Whether the fair queue has resumed it.
    pub(super) may_read: bool,
    /// Whether its reads are paused by memory pressure.
    pub(super) hold: Hold,
    /// When the last part of a large message was received.
    pub(super) grew: Option<Instant>,
    /// The bytes of its own that the budget accounts for.
    pub(super) accounted: usize,
    pub(super) silence: Silence,
    /// Deadline of the current phase.
    pub(super) deadline: Option<Instant>,
    out: WriteQueue,
    /// Whether it is in the shard's `dirty` list.
    pub(super) dirty: bool,
    /// Whether it is in the shard's `fan_out` queue.
    pub(super) in_fan_out: bool,
    /// Progress of a page being sent to it.
    pub(super) page: Page,
    /// Whether the socket's send buffer is full.
    blocked: bool,
    waker: Option<Waker>,
}

/// Why flow control pauses reads of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pause {
    /// The worker's backlog is above its busy threshold: the client is read round-robin.
    FairQueue,
    /// The worker's window, the client's quota of it, or the queue of unassigned events is full; or
    /// an event of the client is held behind a suspect.
    WindowFull,
}

/// Whether memory pressure pauses reads of a client in the middle of a large message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// Not paused.
    None,
    /// Paused.
    Waiting,
    /// Resumed, to complete its message.
    Resumed,
}

/// Progress of a page being sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    /// No page was requested.
    None,
    /// Nothing was written since the last check.
    Stalled,
    /// Something was written since the last check.
    Progresses,
}

/// The state of a connection.
#[derive(Debug)]
pub(super) enum Phase {
    /// Awaiting a complete request; contains the bytes received so far. Output is held back.
    Request(BytesMut),
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

/// Result of reading a socket.
#[derive(Debug)]
pub(super) enum Read {
    /// This many bytes.
    Bytes(usize),
    /// End of stream.
    End,
    /// The socket failed.
    Broken(std::io::Error),
}

impl Phase {
    /// The decoder, while messages are processed.
    pub(super) fn decoder(&mut self) -> Option<&mut Decoder> {
        match self {
            Self::Open(decoder) | Self::Leaving(decoder) => Some(decoder),
            Self::Request(_) | Self::Closing { .. } | Self::Over => None,
        }
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
    pub(super) fn context(&self, session: Session) -> Box<protocol::Context> {
        let listener_port = self.listener.addr.port();
        Box::new(protocol::Context { remote: self.remote, listener_port, session })
    }

    pub(super) fn new(stream: Stream, remote: SocketAddr, listener: Rc<Listener>) -> Self {
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
            paused: None,
            backlog: false,
            is_queued: false,
            may_read: false,
            hold: Hold::None,
            grew: None,
            accounted: 0,
            silence: Silence::default(),
            deadline: None,
            out: WriteQueue::default(),
            dirty: false,
            in_fan_out: false,
            page: Page::None,
            blocked: false,
            waker: None,
        }
    }

    /// Stores the waker of the connection's task.
    pub(super) fn watch(&mut self, waker: &Waker) {
        match &mut self.waker {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    /// Wakes the connection's task.
    pub(super) fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }

    /// Reads available bytes into `scratch`.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<Read> {
        let mut buffer = ReadBuf::new(scratch);
        Pin::new(&mut self.stream).poll_read(cx, &mut buffer).map(|read| match read {
            Ok(()) if buffer.filled().is_empty() => Read::End,
            Ok(()) => Read::Bytes(buffer.filled().len()),
            Err(error) => Read::Broken(error),
        })
    }

    /// Bytes in the write queue, or accepted by TLS and not written yet.
    pub(super) fn queued(&self) -> usize {
        self.out.len() + self.stream.unsent()
    }

    /// Bytes of the write queue that no other connection shares, and TLS buffers.
    pub(super) fn copied(&self) -> usize {
        self.out.copied() + self.stream.held()
    }

    /// Whether input is decrypted before a message or request can be recognized in it.
    pub(super) fn is_tls(&self) -> bool {
        self.stream.is_tls()
    }

    pub(super) fn queue(&mut self, bytes: &Bytes) {
        self.out.push(bytes);
    }

    pub(super) fn queue_first(&mut self, bytes: Bytes) {
        self.out.push_front(bytes);
    }

    /// Discards the write queue.
    pub(super) fn discard_queue(&mut self) {
        self.out = WriteQueue::default();
    }

    /// Whether the task has to wait until the socket is writable.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// Waits until the socket is writable.
    pub(super) fn poll_unblock(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let before = self.stream.unsent();
        let ready = self.stream.poll_write_ready(cx).map_ok(|()| self.blocked = false);
        if self.stream.unsent() < before {
            self.page.progress();
        }
        ready
    }

    /// Limits the unsent bytes in the socket's send buffer, so that write progress shows soon
    /// whether the peer reads.
    pub(super) fn limit_unsent(&self, bytes: u32) {
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
    pub(super) fn flush(&mut self) -> std::io::Result<()> {
        match self.phase {
            Phase::Over => return Ok(()),
            // Messages sent before the handshake completes are held back until it has.
            Phase::Request(_) if self.id.is_some() => return Ok(()),
            _ if self.blocked => return Ok(()),
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
            | Phase::Request(_)
            | Phase::Open(_)
            | Phase::Leaving(_)
            | Phase::Over => {}
        }
        Ok(())
    }

    /// Sends a TLS `close_notify`; nothing without TLS.
    pub(super) fn send_close_notify(&self) {
        self.stream.send_close_notify();
    }

    /// Makes the task wait until the socket is writable.
    fn block(&mut self) {
        self.blocked = true;
        self.wake();
    }
}
