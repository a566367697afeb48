//! The task of a link: reads all available input, dispatches it, writes all queued output.

use std::{
    fmt,
    future::{pending, poll_fn},
    io, mem,
    pin::pin,
    time::{Duration, Instant},
};

use bytes::{Buf, BytesMut};
use protocol::{
    Answer, Group, InstanceId, PresenceNotified, PresenceReport,
    codec::native::{self, DecodeError},
    link::{ToGateway, ToPeer},
    standby::WorkerMessage,
    streaming::StreamGap,
};
use runtime::{
    clock,
    liveness::{self, Probes},
    stream::{ReadHalf, Stream, WriteHalf},
};
use thiserror::Error;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Interval, MissedTickBehavior, interval, timeout},
};

use super::{
    Link, PlannedEnd, handshake::Proved, outgoing::WriteBatch, stall_detector::StallDetector,
};
use crate::{
    events::{EventReceiver, Room},
    uid_checks::UidCheck,
};

/// Bytes per read, unless a larger frame has begun.
const READ: usize = 64 * 1024;

/// Consecutive reads before output is written.
const READS: usize = 4;

/// Why a link ended.
#[derive(Debug, Error)]
pub(crate) enum Ended {
    #[error("closed by the gateway")]
    ByGateway,
    #[error("closed locally")]
    ByUs,
    #[error("connection lost: {0}")]
    Lost(io::Error),
    #[error("silent for {0:?}")]
    Silent(Duration),
    #[error(transparent)]
    Bytes(#[from] DecodeError),
    #[error("handshake message after the handshake")]
    OutOfOrder,
    #[error("the gateway was declared dead, and its clients were closed")]
    Fenced,
    #[error("relinked to switch between active and passive")]
    Switched,
}

/// A message of a shard about a group.
pub(crate) enum PresenceMessage {
    Report(Box<PresenceReport>),
    /// Of the report that follows.
    Notified(Box<PresenceNotified>),
    /// The shard reports the group to another owner.
    Lost(u16, Group),
}

/// Callbacks of the task of a link.
#[derive(Clone, Copy)]
pub(crate) struct Callbacks<'a> {
    /// Answers to probes are late, or no longer are.
    pub(crate) changed: &'a (dyn Fn() + Send + Sync),
    /// A message of another worker has arrived.
    pub(crate) relayed: &'a (dyn Fn(InstanceId, WorkerMessage) + Send + Sync),
    /// The gateway asks for the check of a uid. Returns `false` if it has asked for too many.
    pub(crate) check_uid: &'a (dyn Fn(UidCheck) -> bool + Send + Sync),
    /// A shard has reported a group, or reports the group to another owner.
    pub(crate) presence: &'a (dyn Fn(PresenceMessage) + Send + Sync),
    /// A shard asks for messages of streams.
    pub(crate) stream_gaps: &'a (dyn Fn(u16, Vec<StreamGap>) + Send + Sync),
    /// Set while so many reports wait that the link is not to be read.
    pub(crate) presence_room: &'a (dyn Fn() -> Option<Room> + Send + Sync),
}

/// Runs a link until it ends, and returns since when it may have been dead. Sending fails
/// afterwards, and all waiting tasks are released. The link ends when nothing is received for
/// `peer_timeout`.
pub(crate) async fn run(
    link: &Link,
    mut stream: Stream,
    read: BytesMut,
    receiver: Option<Box<dyn EventReceiver>>,
    peer_timeout: Duration,
    callbacks: Callbacks<'_>,
) -> (Ended, Instant) {
    // Also when this future is dropped.
    let _close = Close(link);
    let (reader, writer) = stream.split();
    let mut probe_timer = interval(liveness::interval(peer_timeout));
    probe_timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    probe_timer.reset();
    let mut pump = Pump {
        link,
        reader,
        writer,
        receiver,
        read,
        writing: BytesMut::new(),
        commands: 0,
        has_unacked: false,
        queued: 0,
        room: None,
        probe_timer,
        probes: Probes::default(),
        stall_detector: StallDetector::new(peer_timeout, clock::now()),
        peer_timeout,
        callbacks,
    };
    let ended = match pump.run().await {
        Err(ended) => ended,
        Ok(never) => match never {},
    };
    let timed_out = matches!(ended, Ended::Silent(_));
    let since = pump.stall_detector.lost_since(timed_out, clock::now());
    (ended, since)
}

/// Notifies a gateway that this instance of it was declared dead.
pub(crate) async fn fence(proved: Proved<Stream>) -> Ended {
    let mut stream = proved.stream;
    let mut frame = BytesMut::new();
    native::encode(&ToGateway::Fenced, &mut frame).expect("one byte fits a frame");
    let sent = async {
        stream.write_all(&frame).await?;
        stream.flush().await
    };
    match sent.await {
        Ok(()) => Ended::Fenced,
        Err(error) => Ended::Lost(error),
    }
}

struct Close<'a>(&'a Link);

impl Drop for Close<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

struct Pump<'a> {
    link: &'a Link,
    reader: ReadHalf<'a>,
    writer: WriteHalf<'a>,
    receiver: Option<Box<dyn EventReceiver>>,
    read: BytesMut,
    writing: BytesMut,
    /// The number of commands counted in the metrics.
    commands: u64,
    /// Whether commands were kept at the last check: their acknowledgements arrive after that.
    has_unacked: bool,
    /// Queued bytes counted in the metrics.
    queued: usize,
    /// Set while the consumer applies backpressure.
    room: Option<Room>,
    probe_timer: Interval,
    probes: Probes,
    stall_detector: StallDetector,
    peer_timeout: Duration,
    callbacks: Callbacks<'a>,
}

impl Pump<'_> {
    async fn run(&mut self) -> Result<std::convert::Infallible, Ended> {
        let link = self.link;
        let mut expiry = pin!(async {
            tokio::select! {
                never = link.answers.expire() => never,
                never = link.taken.expire() => never,
            }
        });
        // The handshake may have read beyond its own messages.
        self.dispatch()?;
        loop {
            self.stall_detector.record_run(clock::now());
            self.write().map_err(Ended::Lost)?;
            // Otherwise handlers that wait for acknowledgements would deadlock.
            let reads = self.room.is_none() || self.link.session.outgoing.has_blocked_senders();
            let waits = self.writing.is_empty() || !reads;
            tokio::select! {
                biased;
                never = &mut expiry => match never {},
                read = read(&mut self.reader, &mut self.read), if reads => {
                    self.record_activity();
                    self.drain_socket(read.map_err(Ended::Lost)?)?;
                }
                writable = self.writer.writable(), if self.is_behind() => {
                    writable.map_err(Ended::Lost)?;
                }
                () = self.link.session.outgoing.output_queued(), if waits => {}
                () = ready(&mut self.room) => self.room = None,
                () = woken(&mut self.receiver) => self.end_batch(),
                _ = self.probe_timer.tick() => self.probe()?,
                () = self.link.leave.cancelled() => {
                    self.flush_and_close().await.map_err(Ended::Lost)?;
                    return Err(Ended::ByUs);
                }
            }
        }
    }

    /// Dispatches the input of a read, and reads on for a limited number of times.
    fn drain_socket(&mut self, first: usize) -> Result<(), Ended> {
        self.link.session.outgoing.stay_awake();
        let mut bytes = first;
        for _ in 0..READS {
            if bytes == 0 {
                return Err(Ended::ByGateway);
            }
            // A read that did not fill the buffer has drained the socket.
            let is_full = self.read.len() == self.read.capacity();
            self.dispatch()?;
            if self.room.is_some() || !is_full {
                return Ok(());
            }
            make_room(&mut self.read);
            match self.reader.try_read_buf(&mut self.read) {
                Ok(more) => bytes = more,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(Ended::Lost(error)),
            }
        }
        Ok(())
    }

    /// Dispatches every complete message that was read.
    fn dispatch(&mut self) -> Result<(), Ended> {
        if let Some(receiver) = &mut self.receiver {
            receiver.begin_batch();
        }
        let mut is_answered = false;
        while let Some(message) = native::decode(&mut self.read, native::MAX_FRAME)? {
            match message {
                ToPeer::Event(delivery) => {
                    if mem::take(&mut is_answered)
                        && let Some(receiver) = &mut self.receiver
                    {
                        receiver.answered();
                    }
                    if delivery.redelivered {
                        self.announce_start(delivery.shard, delivery.seq)?;
                    }
                    self.receiver.as_mut().ok_or(Ended::OutOfOrder)?.take(delivery);
                }
                ToPeer::IsolatedEvent(delivery) => {
                    self.receiver.as_mut().ok_or(Ended::OutOfOrder)?.take_isolated(delivery);
                }
                ToPeer::Answer { request, answer } => {
                    is_answered = true;
                    self.link.answers.resolve(request, answer);
                }
                ToPeer::Effects { effects } => {
                    is_answered = true;
                    let answers = effects.into_iter();
                    self.link.answers.resolve_all(
                        answers.map(|(request, effect)| (request, Answer::Effect(effect))),
                    );
                }
                ToPeer::CommandAck { through } => self.link.record_ack(through, self.has_unacked),
                ToPeer::Pong { token } => self.link.pongs.resolve(token, ()),
                ToPeer::Ping { token } => self.push(ToGateway::Pong { token }),
                ToPeer::Draining { clients } => {
                    tracing::info!(gateway = %self.link.gateway(), clients, "gateway draining");
                    self.link.set_planned_end(PlannedEnd::Draining);
                }
                ToPeer::Replaced { by } => self.link.set_planned_end(PlannedEnd::Replaced { by }),
                ToPeer::Relayed { from, message } => (self.callbacks.relayed)(from, message),
                ToPeer::CheckUid { check: number, uid, limit, clock } => {
                    let check = UidCheck { number, uid, limit, clock };
                    // Only workers are asked.
                    if self.receiver.is_none() || !(self.callbacks.check_uid)(check) {
                        return Err(Ended::OutOfOrder);
                    }
                }
                ToPeer::Tailed(tailed) => self.link.tails.deliver(self.link.gateway(), tailed),
                ToPeer::Presence(report) => {
                    (self.callbacks.presence)(PresenceMessage::Report(report));
                }
                ToPeer::PresenceNotified(notified) => {
                    (self.callbacks.presence)(PresenceMessage::Notified(notified));
                }
                ToPeer::StreamGaps { shard, gaps } => (self.callbacks.stream_gaps)(shard, gaps),
                ToPeer::PresenceLost { group, shard } => {
                    (self.callbacks.presence)(PresenceMessage::Lost(shard, group));
                }
                message => self.handle_standby(message)?,
            }
        }
        self.end_batch();
        Ok(())
    }

    fn end_batch(&mut self) {
        if let Some(receiver) = &mut self.receiver {
            self.room = receiver.end_batch();
        }
        if self.room.is_none() {
            self.room = (self.callbacks.presence_room)();
        }
    }

    /// Dispatches messages that concern this worker as a standby.
    fn handle_standby(&mut self, message: ToPeer) -> Result<(), Ended> {
        let Some(receiver) = &mut self.receiver else {
            return Err(Ended::OutOfOrder);
        };
        match message {
            ToPeer::Standby { holders, confirmed, clients } => {
                receiver.standby(holders, confirmed, clients);
            }
            ToPeer::StandbySession { client, session } => receiver.standby_session(client, session),
            ToPeer::ReleaseStandby { clients } => receiver.release(clients),
            _ => return Err(Ended::OutOfOrder),
        }
        Ok(())
    }

    /// Announces that the handler of an event starts, before it does: if this process terminates
    /// because of it, the gateway can identify the event, and those before it are acknowledged.
    fn announce_start(&mut self, shard: u16, seq: u64) -> Result<(), Ended> {
        if let Some(receiver) = &mut self.receiver {
            receiver.report();
        }
        self.push(ToGateway::HandlerStarted { shard, seq, alone: false });
        self.write().map_err(Ended::Lost)
    }

    /// Sends unless the queue is full: a gateway with so much unread data needs no sign of life.
    fn push(&self, mut message: ToGateway) {
        let _ = self.link.offer(&mut message);
    }

    /// Whether to wait until the socket is writable.
    fn is_behind(&self) -> bool {
        !self.writing.is_empty() || 0 < self.writer.unsent()
    }

    /// Writes queued output as far as the socket accepts it.
    fn write(&mut self) -> io::Result<()> {
        loop {
            if self.writing.is_empty() && !self.next_batch() {
                self.count_queued(0);
                return Ok(());
            }
            match self.writer.try_write(&self.writing) {
                Ok(written) => self.writing.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.count_queued(self.link.session.outgoing.unwritten());
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn next_batch(&mut self) -> bool {
        let Some(WriteBatch { commands, has_unacked }) =
            self.link.session.outgoing.take(&mut self.writing)
        else {
            return false;
        };
        self.link.metrics.commands.inc_by(commands - self.commands);
        (self.commands, self.has_unacked) = (commands, has_unacked);
        true
    }

    fn count_queued(&mut self, now: usize) {
        if now != self.queued {
            self.link.metrics.queued.inc_by(now as i64 - self.queued as i64);
            self.queued = now;
        }
    }

    fn record_activity(&mut self) {
        self.probes.answered();
        if self.link.set_late(false) {
            (self.callbacks.changed)();
        }
    }

    fn probe(&mut self) -> Result<(), Ended> {
        if self.room.is_some() {
            // Answers are not read meanwhile, and probes not answered: this keeps the gateway's
            // peer timeout from expiring.
            self.push(ToGateway::Pong { token: 0 });
            return Ok(());
        }
        self.stall_detector.record_idle();
        if !self.probes.next() {
            return Err(Ended::Silent(self.peer_timeout));
        }
        if self.probes.is_late() && self.link.set_late(true) {
            (self.callbacks.changed)();
        }
        self.push(ToGateway::Ping { token: 0 });
        Ok(())
    }

    /// Writes the remaining output, while the gateway accepts some within the peer timeout.
    async fn flush_and_close(&mut self) -> io::Result<()> {
        // Nothing is read any more.
        self.link.answers.close();
        while !self.writing.is_empty() || self.next_batch() {
            let written = timeout(self.peer_timeout, self.writer.write_buf(&mut self.writing));
            if written.await?? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        timeout(self.peer_timeout, self.writer.shutdown()).await?
    }
}

/// Reads available input. Cancel safe.
async fn read(reader: &mut ReadHalf<'_>, into: &mut BytesMut) -> io::Result<usize> {
    make_room(into);
    reader.read_buf(into).await
}

/// Reserves space for a read, or for all of the frame that has begun. Its length was checked when
/// its first bytes were decoded.
fn make_room(into: &mut BytesMut) {
    let frame =
        into.first_chunk::<4>().map_or(0, |length| 4 + u32::from_be_bytes(*length) as usize);
    into.reserve(frame.saturating_sub(into.len()).max(READ));
}

async fn woken(receiver: &mut Option<Box<dyn EventReceiver>>) {
    match receiver {
        Some(receiver) => poll_fn(|cx| receiver.poll_woken(cx)).await,
        None => pending().await,
    }
}

async fn ready(room: &mut Option<Room>) {
    match room {
        Some(room) => room.await,
        None => pending().await,
    }
}

impl Drop for Pump<'_> {
    fn drop(&mut self) {
        self.count_queued(0);
    }
}

impl fmt::Debug for Pump<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pump").field("link", &self.link).finish_non_exhaustive()
    }
}
