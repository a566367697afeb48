//! One connection from outside: a plain value, with its socket.

use std::{
    io::{ErrorKind, IoSlice},
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Instant,
};

use bytes::{Bytes, BytesMut};
use protocol::ConnectionId;
use service::stream::Stream;
use tokio::io::{AsyncRead, ReadBuf};

use super::{heartbeat::Silence, share::Share, standby::Standbys};
use crate::{exchange::LinkId, framing::Decoder, outqueue::OutQueue, settings::Door};

/// Where a shard finds a connection.
pub(super) type Key = u32;

/// One connection from outside. Between messages it owns no buffer.
#[derive(Debug)]
pub(super) struct Connection {
    stream: Stream,
    pub(super) remote: SocketAddr,
    /// The listener it came to.
    pub(super) door: Rc<Door>,
    pub(super) phase: Phase,
    /// Its name, once a worker was told of it and until a worker was told that it is gone.
    pub(super) id: Option<ConnectionId>,
    /// When it got that name, in tenths of a second of its shard's life.
    pub(super) since: u32,
    /// The worker that it is bound to, while that one is linked.
    pub(super) route: Option<LinkId>,
    /// When the link of its last worker but this was lost, of those that may have taken us for gone
    /// then; see `sight.rs`.
    pub(super) lost: Option<Instant>,
    /// Whether that worker knows its address and its session.
    pub(super) introduced: bool,
    /// The last of that worker's own numbered edits of the session.
    pub(super) edits: u64,
    /// The workers that close it if this gateway and its own worker die.
    pub(super) standbys: Standbys,
    /// How many events it has had.
    pub(super) events: u64,
    /// When events of its began to wait for a worker.
    pub(super) held_since: Option<Instant>,
    /// What it has at that worker.
    pub(super) share: Share,
    /// Why its socket is left unread on its worker's account, if it is.
    pub(super) paused: Option<Pause>,
    /// Whether something that has come whole is not processed yet.
    pub(super) backlog: bool,
    /// Whether its socket is left unread, because it is the turn of others.
    pub(super) is_queued: bool,
    /// Whether it is its turn.
    pub(super) has_turn: bool,
    /// Whether its socket is left unread, because clients make us hold too much.
    pub(super) hold: Hold,
    /// When more of a large message came.
    pub(super) grew: Option<Instant>,
    /// How much it held for itself when that was last accounted for.
    pub(super) accounted: usize,
    pub(super) silence: Silence,
    /// When its phase must be over.
    pub(super) deadline: Option<Instant>,
    out: OutQueue,
    /// Whether it is on the shard's list of connections to be written to.
    pub(super) dirty: bool,
    /// Whether it is among those that a message for many was queued for.
    pub(super) in_fan_out: bool,
    /// How far a page for it is.
    pub(super) page: Page,
    /// Whether the socket takes no more for now.
    blocked: bool,
    waker: Option<Waker>,
}

/// Why a client's socket is left unread on its worker's account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pause {
    /// More waits for the worker than keeps it busy: it is read in its turn.
    Turn,
    /// The worker, or the queue for one, has all that it may have of this client, or of all.
    Full,
}

/// Whether a client is held back in the midst of a large message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// It is not.
    No,
    /// It waits for its turn.
    Waits,
    /// It is its turn.
    Turn,
}

/// How far a page is that a connection asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    /// It asked for none.
    None,
    /// It got none of it since that was last looked at.
    Stalled,
    /// It got more of it since then.
    Progresses,
}

/// How far a connection is.
#[derive(Debug)]
pub(super) enum Phase {
    /// A request is awaited; this much of it has come. What is queued meanwhile is held back.
    Request(BytesMut),
    /// Messages go both ways.
    Open(Decoder),
    /// It was told that the gateway goes down, and has not said goodbye yet: what it sends until
    /// then counts, and nothing more is sent to it.
    Leaving(Decoder),
    /// It gets what is queued for it, and then the end; what it sends is not looked at.
    Closing {
        /// Whether our end is closed already.
        finished: bool,
        /// Whether to wait until the peer closes its end, so that nothing on its way is lost.
        linger: bool,
    },
    /// Nothing is left to do.
    Over,
}

/// What a readable socket gave.
#[derive(Debug)]
pub(super) enum Read {
    /// This many bytes.
    Bytes(usize),
    /// Nothing more will come.
    End,
    /// The socket is broken.
    Broken(std::io::Error),
}

impl Phase {
    /// What takes messages out of what is read, while they count.
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
    pub(super) fn new(stream: Stream, remote: SocketAddr, door: Rc<Door>) -> Self {
        Self {
            stream,
            remote,
            door,
            phase: Phase::Request(BytesMut::new()),
            id: None,
            since: 0,
            route: None,
            lost: None,
            standbys: Standbys::default(),
            introduced: false,
            edits: 0,
            events: 0,
            held_since: None,
            share: Share::default(),
            paused: None,
            backlog: false,
            is_queued: false,
            has_turn: false,
            hold: Hold::No,
            grew: None,
            accounted: 0,
            silence: Silence::default(),
            deadline: None,
            out: OutQueue::default(),
            dirty: false,
            in_fan_out: false,
            page: Page::None,
            blocked: false,
            waker: None,
        }
    }

    /// Remembers whom to wake when there is something to do besides reading.
    pub(super) fn watch(&mut self, waker: &Waker) {
        match &mut self.waker {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    /// Has the connection's task look at it again.
    pub(super) fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }

    /// Reads what there is into `scratch`.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<Read> {
        let mut buffer = ReadBuf::new(scratch);
        Pin::new(&mut self.stream).poll_read(cx, &mut buffer).map(|read| match read {
            Ok(()) if buffer.filled().is_empty() => Read::End,
            Ok(()) => Read::Bytes(buffer.filled().len()),
            Err(error) => Read::Broken(error),
        })
    }

    /// Bytes that wait to be written, or to leave.
    pub(super) fn queued(&self) -> usize {
        self.out.len() + self.stream.unsent()
    }

    /// Bytes of them that nobody else shares, and what TLS holds of what has come.
    pub(super) fn copied(&self) -> usize {
        self.out.copied() + self.stream.held()
    }

    /// Whether what has come is read before it can be told to be a request or a message.
    pub(super) fn is_tls(&self) -> bool {
        self.stream.is_tls()
    }

    pub(super) fn queue(&mut self, bytes: &Bytes) {
        self.out.push(bytes);
    }

    pub(super) fn queue_first(&mut self, bytes: Bytes) {
        self.out.push_front(bytes);
    }

    /// Drops what is queued.
    pub(super) fn forget_queue(&mut self) {
        self.out = OutQueue::default();
    }

    /// Whether the task must wait for the socket to take more.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// Waits for the socket to take more.
    pub(super) fn poll_unblock(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let before = self.stream.unsent();
        let ready = self.stream.poll_write_ready(cx).map_ok(|()| self.blocked = false);
        if self.stream.unsent() < before {
            self.page.progress();
        }
        ready
    }

    /// Has the socket take no more of a page at a time than shows soon whether its peer reads.
    pub(super) fn limit_unsent(&self, bytes: u32) {
        if let Err(error) = self.stream.limit_unsent(bytes) {
            tracing::debug!(remote = %self.remote, %error, "a slow reader may be taken for a stalled one");
        }
    }

    /// Writes what is queued, as far as the socket takes it, and closes our end behind the last
    /// byte of a connection that ends.
    pub(super) fn flush(&mut self) -> std::io::Result<()> {
        match self.phase {
            Phase::Over => return Ok(()),
            // What a worker sends before the handshake waits for it.
            Phase::Request(_) if self.id.is_some() => return Ok(()),
            _ if self.blocked => return Ok(()),
            _ => {}
        }
        let stream = &self.stream;
        let is_last = matches!(self.phase, Phase::Closing { linger: false, .. });
        let before = self.out.len();
        let all = self.out.write(|slices: &[IoSlice<'_>]| match slices {
            // One piece is all there is.
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
                self.stream.say_goodbye();
                self.phase = Phase::Over;
                self.wake();
            }
            Phase::Closing { finished: finished @ false, .. } => match self.stream.close_write() {
                Ok(()) => *finished = true,
                // TLS says so in a record of its own.
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

    /// Says that nothing more follows, where TLS has a word for it.
    pub(super) fn say_goodbye(&self) {
        self.stream.say_goodbye();
    }

    /// Has the task wait for the socket.
    fn block(&mut self) {
        self.blocked = true;
        self.wake();
    }
}
