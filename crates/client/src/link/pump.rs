//! The task of a link: reads everything there is, hands it on, writes everything there is.

use std::{
    fmt,
    future::pending,
    io,
    time::{Duration, Instant},
};

use bytes::{Buf, BytesMut};
use protocol::{
    Instance,
    codec::native::{self, DecodeError},
    link::{ToGateway, ToPeer},
    standby::WorkerMessage,
};
use service::{
    clock,
    stream::{ReadHalf, Stream, WriteHalf},
};
use thiserror::Error;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Interval, MissedTickBehavior, interval, timeout},
};

use super::{Link, Parting, handshake::Proved, outgoing::Taken, standstill::Standstill};
use crate::events::{Intake, Room};

/// How many times a silent gateway is asked whether it is there, in the time that it may be silent;
/// and after how many of them its answer is late.
const ASKED: u32 = 5;
const LATE: u32 = 3;

/// How much is read at once, unless a larger frame has begun.
const READ: usize = 64 * 1024;

/// Reads in a row before what they brought is written out.
const READS: usize = 4;

/// Why a link ended.
#[derive(Debug, Error)]
pub(crate) enum Ended {
    #[error("closed by the gateway")]
    ByGateway,
    #[error("closed by us")]
    ByUs,
    #[error("connection lost: {0}")]
    Lost(io::Error),
    #[error("silent for {0:?}")]
    Silent(Duration),
    #[error(transparent)]
    Bytes(#[from] DecodeError),
    #[error("a message of the handshake after it")]
    OutOfOrder,
    #[error("it was taken for dead, and its clients were closed")]
    WrittenOff,
    #[error("linked anew as one that takes events, or takes none")]
    Switched,
}

/// What the task of a link calls.
#[derive(Clone, Copy)]
pub(crate) struct Callbacks<'a> {
    /// Answers begin to be late, or no longer are.
    pub(crate) changed: &'a (dyn Fn() + Send + Sync),
    /// Another worker says something.
    pub(crate) relayed: &'a (dyn Fn(Instance, WorkerMessage) + Send + Sync),
}

/// Runs a link until it ends, and says since when it may have been of no use to its gateway. Nobody can
/// send on it afterwards, and nobody waits for it any more. It ends when nothing is heard for
/// `patience`.
pub(crate) async fn run(
    link: &Link,
    mut stream: Stream,
    read: BytesMut,
    intake: Option<Box<dyn Intake>>,
    patience: Duration,
    callbacks: Callbacks<'_>,
) -> (Ended, Instant) {
    // Also when this is dropped in the middle.
    let _close = Close(link);
    let (reader, writer) = stream.split();
    let mut silence = interval(patience / (ASKED + 1));
    silence.set_missed_tick_behavior(MissedTickBehavior::Delay);
    silence.reset();
    let mut pump = Pump {
        link,
        reader,
        writer,
        intake,
        read,
        writing: BytesMut::new(),
        commands: 0,
        keeps: false,
        queued: 0,
        room: None,
        silence,
        silent: 0,
        standstill: Standstill::new(patience, clock::now()),
        patience,
        callbacks,
    };
    let ended = match pump.run().await {
        Err(ended) => ended,
        Ok(never) => match never {},
    };
    let silent = matches!(ended, Ended::Silent(_));
    let since = pump.standstill.lost_since(silent, clock::now());
    (ended, since)
}

/// Tells a gateway that this life of it is over.
pub(crate) async fn write_off(proved: Proved<Stream>) -> Ended {
    let mut stream = proved.stream;
    let mut frame = BytesMut::new();
    native::encode(&ToGateway::WrittenOff, &mut frame).expect("one byte fits a frame");
    let said = async {
        stream.write_all(&frame).await?;
        stream.flush().await
    };
    match said.await {
        Ok(()) => Ended::WrittenOff,
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
    intake: Option<Box<dyn Intake>>,
    read: BytesMut,
    writing: BytesMut,
    /// How many commands were counted.
    commands: u64,
    /// Whether some were kept when that was last looked at: they are confirmed after that.
    keeps: bool,
    /// How many waiting bytes were counted.
    queued: usize,
    /// Set while the consumer has enough in hand.
    room: Option<Room>,
    silence: Interval,
    /// Ticks of `silence` since anything was heard.
    silent: u32,
    standstill: Standstill,
    patience: Duration,
    callbacks: Callbacks<'a>,
}

impl Pump<'_> {
    async fn run(&mut self) -> Result<std::convert::Infallible, Ended> {
        // The handshake may have read more than its own.
        self.hand_on()?;
        loop {
            self.standstill.runs(clock::now());
            self.write().map_err(Ended::Lost)?;
            // Methods that wait until the gateway has confirmed something would wait for ever.
            let reads = self.room.is_none() || self.link.line.outgoing.starves();
            let waits = self.writing.is_empty() || !reads;
            tokio::select! {
                biased;
                read = read(&mut self.reader, &mut self.read), if reads => {
                    self.heard();
                    self.take_in(read.map_err(Ended::Lost)?)?;
                }
                writable = self.writer.writable(), if self.is_behind() => {
                    writable.map_err(Ended::Lost)?;
                }
                () = self.link.line.outgoing.written_to(), if waits => {}
                () = ready(&mut self.room) => self.room = None,
                _ = self.silence.tick() => self.ask_whether_there()?,
                () = self.link.leave.cancelled() => {
                    self.say_goodbye().await.map_err(Ended::Lost)?;
                    return Err(Ended::ByUs);
                }
            }
        }
    }

    /// Takes in what a read brought, and what more there is, but not for ever.
    fn take_in(&mut self, first: usize) -> Result<(), Ended> {
        self.link.line.outgoing.stay_awake();
        let mut bytes = first;
        for _ in 0..READS {
            if bytes == 0 {
                return Err(Ended::ByGateway);
            }
            // A read that left room has left nothing in the socket.
            let is_full = self.read.len() == self.read.capacity();
            self.hand_on()?;
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

    /// Hands on every whole message that was read.
    fn hand_on(&mut self) -> Result<(), Ended> {
        while let Some(message) = native::decode(&mut self.read, native::MAX_FRAME)? {
            match message {
                ToPeer::Event(delivery) => {
                    if delivery.redelivered {
                        self.announce(delivery.shard, delivery.seq)?;
                    }
                    self.intake.as_mut().ok_or(Ended::OutOfOrder)?.take(delivery);
                }
                ToPeer::Trial(delivery) => {
                    self.intake.as_mut().ok_or(Ended::OutOfOrder)?.trial(delivery);
                }
                ToPeer::Answer { request, answer } => self.link.answers.resolve(request, answer),
                ToPeer::Taken { through } => self.link.took(through, self.keeps),
                ToPeer::Pong { token } => self.link.pongs.resolve(token, ()),
                ToPeer::Ping { token } => self.push(ToGateway::Pong { token }),
                ToPeer::Draining { clients } => {
                    tracing::info!(gateway = %self.link.gateway(), clients, "gateway draining");
                    self.link.parts(Parting::Draining);
                }
                ToPeer::Replaced { by } => self.link.parts(Parting::Replaced { by }),
                ToPeer::Relayed { from, message } => (self.callbacks.relayed)(from, message),
                message => self.stand_by(message)?,
            }
        }
        if let Some(intake) = &mut self.intake {
            self.room = intake.end_batch();
        }
        Ok(())
    }

    /// Hands on what concerns this worker as a standby.
    fn stand_by(&mut self, message: ToPeer) -> Result<(), Ended> {
        let Some(intake) = &mut self.intake else {
            return Err(Ended::OutOfOrder);
        };
        match message {
            ToPeer::Standby { holders, confirmed, clients } => {
                intake.standby(holders, confirmed, clients);
            }
            ToPeer::StandbySession { client, session } => intake.standby_session(client, session),
            ToPeer::Release { clients } => intake.release(clients),
            _ => return Err(Ended::OutOfOrder),
        }
        Ok(())
    }

    /// Says that the handler of an event starts now, before it does: should this process end over it, the
    /// gateway knows that it was this one, and that those before it are done.
    fn announce(&mut self, shard: u16, seq: u64) -> Result<(), Ended> {
        if let Some(intake) = &mut self.intake {
            intake.report();
        }
        self.push(ToGateway::Trying { shard, seq, alone: false });
        self.write().map_err(Ended::Lost)
    }

    /// A gateway that has 16 MiB to read learns from those that we are here.
    fn push(&self, mut message: ToGateway) {
        let _ = self.link.offer(&mut message);
    }

    /// Whether the socket must be waited for.
    fn is_behind(&self) -> bool {
        !self.writing.is_empty() || 0 < self.writer.unsent()
    }

    /// Writes what there is, as far as the socket takes it.
    fn write(&mut self) -> io::Result<()> {
        loop {
            if self.writing.is_empty() && !self.next_piece() {
                self.count_queued(0);
                return Ok(());
            }
            match self.writer.try_write(&self.writing) {
                Ok(written) => self.writing.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.count_queued(self.link.line.outgoing.unwritten());
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn next_piece(&mut self) -> bool {
        let Some(Taken { commands, keeps }) = self.link.line.outgoing.take(&mut self.writing)
        else {
            return false;
        };
        self.link.metrics.commands.inc_by(commands - self.commands);
        (self.commands, self.keeps) = (commands, keeps);
        true
    }

    fn count_queued(&mut self, now: usize) {
        if now != self.queued {
            self.link.metrics.queued.inc_by(now as i64 - self.queued as i64);
            self.queued = now;
        }
    }

    fn heard(&mut self) {
        self.silent = 0;
        if self.link.set_late(false) {
            (self.callbacks.changed)();
        }
    }

    fn ask_whether_there(&mut self) -> Result<(), Ended> {
        if self.room.is_some() {
            // While we do not read, we cannot hear, nor answer: so it is told that we are here.
            self.push(ToGateway::Pong { token: 0 });
            return Ok(());
        }
        self.standstill.survived();
        self.silent += 1;
        if ASKED < self.silent {
            return Err(Ended::Silent(self.patience));
        }
        if LATE <= self.silent && self.link.set_late(true) {
            (self.callbacks.changed)();
        }
        self.push(ToGateway::Ping { token: 0 });
        Ok(())
    }

    /// Writes what is left, for as long as the gateway takes some of it now and then.
    async fn say_goodbye(&mut self) -> io::Result<()> {
        while !self.writing.is_empty() || self.next_piece() {
            let written = timeout(self.patience, self.writer.write_buf(&mut self.writing));
            if written.await?? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        timeout(self.patience, self.writer.shutdown()).await?
    }
}

/// Reads what there is. Safe to cancel.
async fn read(reader: &mut ReadHalf<'_>, into: &mut BytesMut) -> io::Result<usize> {
    make_room(into);
    reader.read_buf(into).await
}

/// Room for a read, or for all of the frame that has begun. The length was checked when the
/// frame's first bytes were decoded.
fn make_room(into: &mut BytesMut) {
    let frame =
        into.first_chunk::<4>().map_or(0, |length| 4 + u32::from_be_bytes(*length) as usize);
    into.reserve(frame.saturating_sub(into.len()).max(READ));
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
