//! One link to one gateway, once both ends have proved themselves.
//!
//! Whoever sends, queues into one buffer; one task, the `pump`, reads everything that came,
//! hands it on, and then writes everything that was queued meanwhile in one piece.

mod correlated;
mod finished;
mod handshake;
mod outgoing;
mod pump;
mod pushes;
mod unclaimed;

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use protocol::{Answer, Command, Instance, Query, link::ToGateway};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{Error, metrics::Metrics};
use correlated::Correlated;
use outgoing::{Outgoing, Push};
use pushes::{Held, Taken};

pub(crate) use handshake::{Failed, Identity, Proved, connect};
pub(crate) use pump::{Ended, run, write_off};
pub(crate) use unclaimed::Unclaimed;

pub use finished::Finished;
pub use outgoing::OUTGOING_LIMIT;
pub use pushes::Pushes;

/// A link to one gateway. What is sent on one link arrives, and takes effect, in that order.
pub struct Link {
    gateway: SocketAddr,
    /// The same as text, for errors and logs.
    name: String,
    instance: Instance,
    outgoing: Outgoing,
    answers: Correlated<Answer>,
    pongs: Correlated<()>,
    taken: Taken,
    /// Asked more often than waited for.
    up: AtomicBool,
    /// Whether the gateway is late to answer.
    late: AtomicBool,
    /// Cancelled when the link is gone.
    gone: CancellationToken,
    /// Asks the pump to end.
    leave: CancellationToken,
    held: TaskTracker,
    unclaimed: Arc<Unclaimed>,
    metrics: Arc<Metrics>,
}

/// How long a question may take, from asking to its answer.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// A link that could not take a message at once.
#[derive(Debug)]
pub(crate) struct Crowded;

/// A command that waits for room, see [`Link::try_send`].
#[derive(Debug)]
pub struct Waiting(Box<ToGateway>);

impl Link {
    pub(crate) fn new(
        gateway: SocketAddr,
        instance: Instance,
        held: TaskTracker,
        unclaimed: Arc<Unclaimed>,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        Arc::new(Self {
            gateway,
            instance,
            name: gateway.to_string(),
            outgoing: Outgoing::default(),
            answers: Correlated::default(),
            pongs: Correlated::default(),
            taken: Taken::default(),
            up: AtomicBool::new(true),
            late: AtomicBool::new(false),
            gone: CancellationToken::new(),
            leave: CancellationToken::new(),
            held,
            unclaimed,
            metrics,
        })
    }

    /// The gateway's inner address: the one that its client ids carry.
    pub const fn gateway(&self) -> SocketAddr {
        self.gateway
    }

    /// Which life of the gateway it is.
    pub const fn instance(&self) -> &Instance {
        &self.instance
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

    /// Waits until the link is gone.
    pub async fn gone(&self) {
        self.gone.cancelled().await;
    }

    /// Sends a command, and says which of this link's commands it is. Waits while
    /// [`OUTGOING_LIMIT`] bytes are queued.
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
            Err(Crowded) => Ok(Err(Waiting(Box::new(message)))),
        }
    }

    /// Sends what had no room.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn resume(&self, Waiting(mut message): Waiting) -> Result<u64, Error> {
        self.send_message(&mut message).await
    }

    /// Sends at once or not at all.
    pub(crate) fn offer(&self, message: &mut ToGateway) -> Result<Result<u64, Crowded>, Error> {
        match self.outgoing.push(message).map_err(Error::TooLarge)? {
            Push::Queued(number) => Ok(Ok(number)),
            Push::Full => Ok(Err(Crowded)),
            Push::Closed => Err(self.unreachable()),
        }
    }

    pub(crate) async fn send_message(&self, message: &mut ToGateway) -> Result<u64, Error> {
        loop {
            match self.offer(message)? {
                Ok(number) => return Ok(number),
                Err(Crowded) => self.outgoing.room().await,
            }
        }
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// When the link is gone, when no answer comes in time, or when the gateway cannot answer.
    pub async fn ask(&self, query: Query) -> Result<Answer, Error> {
        let ticket =
            self.answers.ticket().map_err(|_| Error::Busy { gateway: self.name.clone() })?;
        let mut message = ToGateway::Query { request: ticket.number, query };
        let answer = async {
            self.send_message(&mut message).await?;
            ticket.wait().await.ok_or_else(|| self.unreachable())
        };
        match self.in_time(answer).await? {
            Answer::Unavailable => Err(Error::Unavailable { gateway: self.name.clone() }),
            answer => Ok(answer),
        }
    }

    /// Waits until the gateway has read everything that was sent so far, and everything that it
    /// sent before it has come here.
    ///
    /// # Errors
    /// When the link is gone, or no word comes in time.
    pub async fn flush(&self) -> Result<(), Error> {
        let ticket = self.pongs.ticket().map_err(|_| Error::Busy { gateway: self.name.clone() })?;
        let mut message = ToGateway::Ping { token: ticket.number };
        let pong = async {
            self.send_message(&mut message).await?;
            ticket.wait().await.ok_or_else(|| self.unreachable())
        };
        self.in_time(pong).await
    }

    async fn in_time<T>(&self, answer: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        match tokio::time::timeout(ANSWER_TIMEOUT, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::Timeout { gateway: self.name.clone() }),
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
        let _ = self.outgoing.push(&mut ToGateway::Begun { shard, through });
    }

    /// Says that events of this link are done with, behind everything that was sent before.
    pub fn finished(&self, finished: &mut Finished) {
        self.outgoing.finish(finished);
    }

    /// Whether an event of this link that pushed nothing through a cluster of its own is done with
    /// as soon as its handler has ended. If not, [`finish`](Self::finish) waits for what must be
    /// waited for.
    pub fn owes_nothing(&self) -> bool {
        !self.unclaimed.is_any()
    }

    /// Says that an event of this link is done with, once everything that its handler pushed was
    /// taken by the gateways it went to, or their links are gone. What was pushed on behalf of no
    /// event counts as pushed by all.
    pub fn finish(self: &Arc<Self>, shard: u16, seq: u64, pushes: Option<&Pushes>) {
        let mut pushed = pushes.map(Pushes::take).unwrap_or_default();
        self.unclaimed.add_to(&mut pushed, self);
        if pushed.is_empty() {
            return self.finish_now(shard, seq);
        }
        // One more than there are links, so that it cannot be released before all are asked.
        let left = AtomicUsize::new(pushed.len() + 1);
        let token = self.held.token();
        let held = Arc::new(Held { left, home: Arc::clone(self), shard, seq, _token: token });
        for (link, command) in pushed {
            link.taken.wait(command, Arc::clone(&held));
        }
        held.release_one();
    }

    fn finish_now(&self, shard: u16, seq: u64) {
        let mut finished = Finished::default();
        finished.add(shard, seq);
        self.outgoing.finish(&mut finished);
    }

    fn has_taken(&self, command: u64) -> bool {
        self.taken.has(command)
    }

    fn close(&self) {
        self.up.store(false, Ordering::Release);
        self.outgoing.close();
        self.answers.close();
        self.pongs.close();
        self.taken.advance(u64::MAX);
        self.unclaimed.forget(self);
        self.gone.cancel();
    }

    /// Ends the link once what is queued is written.
    pub(crate) fn hang_up(&self) {
        self.leave.cancel();
    }

    pub(crate) fn unreachable(&self) -> Error {
        Error::Unreachable { gateway: self.name.clone() }
    }

    pub(crate) fn mismatch(&self) -> Error {
        Error::Mismatch { gateway: self.name.clone() }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("gateway", &self.name).finish_non_exhaustive()
    }
}
