//! One link to one gateway, once both ends have proved themselves.
//!
//! Whoever sends, queues into one buffer; one task, the `pump`, reads everything that came,
//! hands it on, and then writes everything that was queued meanwhile in one piece.

mod correlated;
mod finished;
mod handshake;
mod kept;
mod line;
mod outgoing;
mod pump;
mod pushes;
mod standstill;
mod taken;
mod unclaimed;

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use protocol::{Answer, Command, Instance, Query, link::ToGateway};
use tokio::sync::oneshot;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{Error, metrics::Metrics};
use outgoing::{Lifetime, Push};
use taken::{Held, Who};

pub(crate) use correlated::{Correlated, Ticket};
pub(crate) use handshake::{Failed, Identity, Proved, connect};
pub(crate) use line::Line;
pub(crate) use pump::{Callbacks, Ended, run, write_off};
pub(crate) use unclaimed::Unclaimed;

pub use finished::Finished;
pub use outgoing::OUTGOING_LIMIT;
pub use pushes::Pushes;

/// A link to one gateway. What is sent on one link arrives, and takes effect, in that order.
pub struct Link {
    /// What it has in common with those before and after it.
    line: Arc<Line>,
    /// The how many-th of them it is.
    number: u64,
    answers: Correlated<Answer>,
    pongs: Correlated<()>,
    /// Asked more often than waited for.
    up: AtomicBool,
    /// Whether the gateway is late to answer.
    late: AtomicBool,
    /// Cancelled when the link is gone.
    gone: CancellationToken,
    /// Asks the pump to end.
    leave: CancellationToken,
    /// What the gateway has said of why the link will end.
    parting: Mutex<Option<Parting>>,
    held: TaskTracker,
    unclaimed: Arc<Unclaimed>,
    metrics: Arc<Metrics>,
}

/// How long a question may take, from asking to its answer.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a gateway ends a link, as it says before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Parting {
    /// It goes down in order.
    Draining,
    /// Another worker of the same key has linked, from there.
    Replaced { by: String },
}

/// There is no room for a message that is to live so long.
#[derive(Debug)]
pub(crate) struct Crowded(Lifetime);

/// A command that waits for room, see [`Link::try_send`].
#[derive(Debug)]
pub struct Waiting(Box<ToGateway>);

impl Link {
    /// The first link to a life of a gateway that we know of. It says that it has taken every command
    /// of ours up to `taken`.
    pub(crate) fn first(
        gateway: SocketAddr,
        instance: Instance,
        taken: u64,
        held: TaskTracker,
        unclaimed: Arc<Unclaimed>,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        let line = Line::new(gateway, instance, taken, Arc::clone(&metrics));
        let number = line.resume(taken).unwrap_or_default();
        Arc::new(Self::of(line, number, held, unclaimed, metrics))
    }

    /// One that has not been made yet: what is sent on it waits for the [`next`](Self::next). Commands
    /// are numbered from the one after `last`.
    pub(crate) fn expected(
        gateway: SocketAddr,
        instance: Instance,
        last: u64,
        held: TaskTracker,
        unclaimed: Arc<Unclaimed>,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        let line = Line::new(gateway, instance, last, Arc::clone(&metrics));
        let link = Self::of(line, 0, held, unclaimed, metrics);
        link.up.store(false, Ordering::Release);
        link.gone.cancel();
        Arc::new(link)
    }

    /// The next link to the same life of a gateway, which says that it has taken every command of
    /// ours up to `taken`. `None` if that was given up.
    pub(crate) fn next(&self, taken: u64) -> Option<Arc<Self>> {
        let number = self.line.resume(taken)?;
        let (unclaimed, metrics) = (Arc::clone(&self.unclaimed), Arc::clone(&self.metrics));
        let line = Arc::clone(&self.line);
        Some(Arc::new(Self::of(line, number, self.held.clone(), unclaimed, metrics)))
    }

    fn of(
        line: Arc<Line>,
        number: u64,
        held: TaskTracker,
        unclaimed: Arc<Unclaimed>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            line,
            number,
            answers: Correlated::default(),
            pongs: Correlated::default(),
            up: AtomicBool::new(true),
            late: AtomicBool::new(false),
            gone: CancellationToken::new(),
            leave: CancellationToken::new(),
            parting: Mutex::new(None),
            held,
            unclaimed,
            metrics,
        }
    }

    /// The gateway's inner address: the one that its client ids carry.
    pub fn gateway(&self) -> SocketAddr {
        self.line.gateway
    }

    /// Which life of the gateway it is.
    pub fn instance(&self) -> &Instance {
        &self.line.instance
    }

    pub(crate) const fn line(&self) -> &Arc<Line> {
        &self.line
    }

    /// Whether both lead to the same life of a gateway.
    pub(crate) fn is_of_line(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.line, &other.line)
    }

    /// Whether the link still stands.
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Acquire)
    }

    /// Whether the gateway answers when it is asked whether it is there, or has had no reason to be
    /// asked.
    pub fn answers(&self) -> bool {
        !self.late.load(Ordering::Relaxed)
    }

    /// Says whether this is a change.
    fn set_late(&self, late: bool) -> bool {
        // The pump alone writes it, and has no need to write what is there.
        self.late.load(Ordering::Relaxed) != late && {
            self.late.store(late, Ordering::Relaxed);
            true
        }
    }

    /// The gateway says why the link will end.
    fn parts(&self, parting: Parting) {
        *self.parting.lock().unwrap_or_else(PoisonError::into_inner) = Some(parting);
    }

    /// Why the gateway ended the link, if it said so.
    pub(crate) fn parting(&self) -> Option<Parting> {
        self.parting.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until the link is gone.
    pub async fn gone(&self) {
        self.gone.cancelled().await;
    }

    /// Sends a command on behalf of an event that came on this link, and says which of the gateway's
    /// commands it is. Should the link be lost before the gateway has taken the command, then it is
    /// lost too: the event comes again. Waits while [`OUTGOING_LIMIT`] bytes are queued.
    ///
    /// # Errors
    /// [`Error::Unreachable`] when the link is gone, [`Error::TooLarge`].
    pub async fn send(&self, command: Command) -> Result<u64, Error> {
        match self.try_send(command)? {
            Ok(number) => Ok(number),
            Err(waiting) => self.resume(waiting).await,
        }
    }

    /// Sends a command if there is room; if not, [`resume`](Self::resume) waits for it. Costs less
    /// than [`send`](Self::send) where there is room, as there nearly always is.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn try_send(&self, command: Command) -> Result<Result<u64, Waiting>, Error> {
        let mut message = ToGateway::Command { seq: 0, command };
        match self.offer(&mut message)? {
            Ok(number) => Ok(Ok(number)),
            Err(Crowded(_)) => Ok(Err(Waiting(Box::new(message)))),
        }
    }

    /// Sends what had no room.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn resume(&self, Waiting(mut message): Waiting) -> Result<u64, Error> {
        self.send_message(&mut message).await
    }

    /// Sends on this link, at once or not at all.
    pub(crate) fn offer(&self, message: &mut ToGateway) -> Result<Result<u64, Crowded>, Error> {
        self.offer_for(message, Lifetime::Link(self.number))
    }

    /// Sends a command to the gateway, by this link or a later one, at once or not at all.
    pub(crate) fn carry(&self, command: &mut ToGateway) -> Result<Result<u64, Crowded>, Error> {
        self.offer_for(command, Lifetime::Line)
    }

    fn offer_for(
        &self,
        message: &mut ToGateway,
        lifetime: Lifetime,
    ) -> Result<Result<u64, Crowded>, Error> {
        match self.line.outgoing.push(message, lifetime).map_err(Error::TooLarge)? {
            Push::Queued(number) => Ok(Ok(number)),
            Push::Full => Ok(Err(Crowded(lifetime))),
            Push::Closed => Err(self.unreachable()),
        }
    }

    pub(crate) async fn send_message(&self, message: &mut ToGateway) -> Result<u64, Error> {
        loop {
            match self.offer(message)? {
                Ok(number) => return Ok(number),
                Err(crowded) => self.room(crowded).await,
            }
        }
    }

    /// Waits until there may be room again, or it is of no use to wait.
    pub(crate) async fn room(&self, Crowded(lifetime): Crowded) {
        self.line.outgoing.room(lifetime).await;
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// When the link is gone, when no answer comes in time, or when the gateway cannot answer.
    pub async fn ask(&self, query: Query) -> Result<Answer, Error> {
        let mut ticket =
            self.answers.ticket().map_err(|_| Error::Busy { gateway: self.line.name.clone() })?;
        let mut message = ToGateway::Query { request: ticket.number, query };
        let answer = async {
            self.send_message(&mut message).await?;
            ticket.wait().await.ok_or_else(|| self.unreachable())
        };
        match self.in_time(answer).await? {
            Answer::Unavailable => Err(Error::Unavailable { gateway: self.line.name.clone() }),
            answer => Ok(answer),
        }
    }

    /// Waits until the gateway has read everything that was sent so far, and everything that it
    /// sent before it has come here.
    ///
    /// # Errors
    /// When the link is gone, or no word comes in time.
    pub async fn flush(&self) -> Result<(), Error> {
        let mut ticket =
            self.pongs.ticket().map_err(|_| Error::Busy { gateway: self.line.name.clone() })?;
        let mut message = ToGateway::Ping { token: ticket.number };
        let pong = async {
            self.send_message(&mut message).await?;
            ticket.wait().await.ok_or_else(|| self.unreachable())
        };
        self.in_time(pong).await
    }

    /// Waits until the gateway has taken what was sent to it and outlives this link.
    ///
    /// # Errors
    /// When the gateway is given up, or has not taken it in time.
    pub(crate) async fn carried(&self) -> Result<(), Error> {
        let Some(last) = self.line.outgoing.last_kept() else { return Ok(()) };
        let (caller, called) = oneshot::channel();
        self.line.taken.wait(last, Who::Caller(caller));
        self.in_time(async { called.await.map_err(|_| self.unreachable()) }).await
    }

    async fn in_time<T>(&self, answer: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        match tokio::time::timeout(ANSWER_TIMEOUT, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::Timeout { gateway: self.line.name.clone() }),
        }
    }

    /// Asks the gateway to send no more events, and waits until none is on its way.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    pub async fn leave(&self) -> Result<(), Error> {
        self.send_message(&mut ToGateway::Leaving).await?;
        self.flush().await
    }

    /// Says that every event of a shard up to this one was begun with, though not all are done with:
    /// the gateway sends more at a time to who keeps only few waiting.
    pub fn begun(&self, shard: u16, through: u64) {
        // Where there is no room for it, "done" says so soon enough.
        let mut message = ToGateway::Begun { shard, through };
        let _ = self.line.outgoing.push(&mut message, Lifetime::Link(self.number));
    }

    /// Says that the handler of a redelivered event starts, and whether it runs alone; or that it does not
    /// run alone any more.
    pub fn trying(&self, shard: u16, seq: u64, alone: bool) {
        // Where there is no room for it, the event is not held responsible for what happens.
        let mut message = ToGateway::Trying { shard, seq, alone };
        let _ = self.line.outgoing.push(&mut message, Lifetime::Link(self.number));
    }

    /// Says that events of this link are done with, behind everything that was sent before.
    pub fn finished(&self, finished: &mut Finished) {
        self.line.outgoing.finish(self.number, finished);
    }

    /// Whether an event of this link that pushed nothing through a cluster of its own is done with
    /// as soon as its handler has ended. If not, [`finish`](Self::finish) waits for what must be
    /// waited for.
    pub fn owes_nothing(&self) -> bool {
        !self.unclaimed.is_any()
    }

    /// Says that an event of this link is done with, once everything that its handler pushed was
    /// taken by the gateways it went to, or those are gone. What was pushed on behalf of no event
    /// counts as pushed by all.
    pub fn finish(self: &Arc<Self>, shard: u16, seq: u64, pushes: Option<&Pushes>) {
        let mut pushed = pushes.map(Pushes::take).unwrap_or_default();
        self.unclaimed.add_to(&mut pushed, &self.line);
        if pushed.is_empty() {
            return self.finish_now(shard, seq);
        }
        // One more than there are lines, so that it cannot be released before all are asked.
        let left = AtomicUsize::new(pushed.len() + 1);
        let token = self.held.token();
        let held = Arc::new(Held { left, home: Arc::clone(self), shard, seq, _token: token });
        for (line, command) in pushed {
            line.taken.wait(command, Who::Event(Arc::clone(&held)));
        }
        held.release_one();
    }

    fn finish_now(&self, shard: u16, seq: u64) {
        let mut finished = Finished::default();
        finished.add(shard, seq);
        self.line.outgoing.finish(self.number, &mut finished);
    }

    /// The gateway has taken every command up to this one; `keeps` says whether some may be kept.
    fn took(&self, through: u64, keeps: bool) {
        if keeps {
            self.line.outgoing.confirm(through);
        }
        self.line.taken.advance(through);
    }

    /// The link is gone; the gateway may have another.
    fn close(&self) {
        self.up.store(false, Ordering::Release);
        self.line.outgoing.park();
        self.answers.close();
        self.pongs.close();
        self.gone.cancel();
    }

    /// The gateway is gone: nobody waits for it any more. Returns the number of its last command.
    pub(crate) fn give_up(&self) -> u64 {
        self.line.close();
        self.unclaimed.forget(&self.line);
        self.line.outgoing.last()
    }

    /// The events of all links that are gone are left to other workers: what was sent on behalf of these
    /// is not sent any more, and none waits for it.
    pub(crate) fn leave_events(&self) {
        self.line.leave_events();
    }

    /// No further link is made, though the gateway may be there. Events that wait for what it takes
    /// are left to other workers.
    pub(crate) fn forsake(&self) {
        self.line.forsake();
    }

    /// Ends the link once what is queued is written.
    pub(crate) fn hang_up(&self) {
        self.leave.cancel();
    }

    pub(crate) fn unreachable(&self) -> Error {
        Error::Unreachable { gateway: self.line.name.clone() }
    }

    pub(crate) fn mismatch(&self) -> Error {
        Error::Mismatch { gateway: self.line.name.clone() }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("gateway", &self.line.name).finish_non_exhaustive()
    }
}
