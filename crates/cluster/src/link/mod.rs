//! A link to a gateway, after the handshake.
//!
//! All senders append to one buffer. A single task, the `pump`, reads all available input,
//! dispatches it, and then writes everything queued meanwhile as one batch.

mod ack_tracker;
mod finished;
mod gateway_session;
mod handler_scope;
mod handshake;
pub(crate) mod loopback;
mod outgoing;
mod pending_requests;
mod pump;
mod stall_detector;
mod tails;
mod taken;
mod unacked;
mod unscoped;

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use protocol::{Answer, Command, InstanceId, Query, link::ToGateway};
use runtime::sync::Mutex;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{Error, metrics::Metrics};
use ack_tracker::{PendingAck, Waiter};
use outgoing::{Lifetime, Push};
use tails::Tails;
use taken::TakenWaiters;

pub(crate) use gateway_session::GatewaySession;
pub(crate) use handshake::{Failed, Identity, Proved, connect};
use pending_requests::NUMBER_BITS;
pub(crate) use pending_requests::{PendingRequests, Ticket};
pub(crate) use pump::{Callbacks, Ended, PresenceMessage, fence, run};
pub(crate) use unscoped::UnscopedCommands;

pub use finished::Finished;
pub use handler_scope::HandlerScope;
pub use outgoing::OUTGOING_LIMIT;

/// A link to one gateway. Messages on one link arrive, and take effect, in order.
pub struct Link {
    /// State shared with the links before and after it.
    session: Arc<GatewaySession>,
    /// Sequence number of this link within the session.
    number: u64,
    answers: PendingRequests<Answer>,
    pongs: PendingRequests<()>,
    taken: TakenWaiters,
    /// Read more often than `closed` is awaited.
    up: AtomicBool,
    /// Whether an answer to a liveness probe is late.
    late: AtomicBool,
    /// Cancelled when the link has closed.
    closed: CancellationToken,
    /// Asks the pump to close the link.
    leave: CancellationToken,
    /// Reason for which the gateway has announced to close the link.
    planned_end: Mutex<Option<PlannedEnd>>,
    pending_acks: TaskTracker,
    unscoped: Arc<UnscopedCommands>,
    metrics: Arc<Metrics>,
    tails: Tails,
}

/// How long a query may take until its answer arrives.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a gateway closes a link, as announced by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PlannedEnd {
    /// Graceful shutdown of the gateway.
    Draining,
    /// Another worker with the same key has linked, from the address `by`.
    Replaced { by: String },
}

/// The result of offering a message to a link's queue.
#[derive(Debug)]
pub enum Offer<F> {
    /// It is queued. A command has this number.
    Queued(u64),
    /// The queue has no space.
    Full(F),
}

/// The queue has no space for a message of that lifetime.
#[derive(Debug)]
pub(crate) struct Full(Lifetime);

/// A command that waits for queue space, see [`Link::try_send`].
#[derive(Debug)]
pub struct Waiting(Box<ToGateway>);

impl Link {
    /// The first known link to a gateway instance, which has acknowledged every command up to
    /// `taken`.
    pub(crate) fn first(
        gateway: SocketAddr,
        instance: InstanceId,
        taken: u64,
        pending_acks: TaskTracker,
        unscoped: Arc<UnscopedCommands>,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        let session = GatewaySession::new(gateway, instance, taken, Arc::clone(&metrics));
        let number = session.resume(taken).unwrap_or_default();
        Arc::new(Self::of(session, number, pending_acks, unscoped, metrics))
    }

    /// A link that has not been established yet: commands for it wait for the [`next`](Self::next).
    /// They are numbered from the one after `last`.
    pub(crate) fn expected(
        gateway: SocketAddr,
        instance: InstanceId,
        last: u64,
        pending_acks: TaskTracker,
        unscoped: Arc<UnscopedCommands>,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        let session = GatewaySession::new(gateway, instance, last, Arc::clone(&metrics));
        let link = Self::of(session, 0, pending_acks, unscoped, metrics);
        link.up.store(false, Ordering::Release);
        link.closed.cancel();
        Arc::new(link)
    }

    /// The next link to the same gateway instance, which has acknowledged every command up to
    /// `taken`. `None` if the instance was given up.
    pub(crate) fn next(&self, taken: u64) -> Option<Arc<Self>> {
        let number = self.session.resume(taken)?;
        let (unscoped, metrics) = (Arc::clone(&self.unscoped), Arc::clone(&self.metrics));
        let session = Arc::clone(&self.session);
        Some(Arc::new(Self::of(session, number, self.pending_acks.clone(), unscoped, metrics)))
    }

    fn of(
        session: Arc<GatewaySession>,
        number: u64,
        pending_acks: TaskTracker,
        unscoped: Arc<UnscopedCommands>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            session,
            number,
            // A command with a request may be queued when the next link is open already, whose
            // requests have other numbers.
            answers: PendingRequests::after(number << NUMBER_BITS, Arc::clone(&metrics.waits)),
            pongs: PendingRequests::default(),
            taken: TakenWaiters::default(),
            up: AtomicBool::new(true),
            late: AtomicBool::new(false),
            closed: CancellationToken::new(),
            leave: CancellationToken::new(),
            planned_end: Mutex::new(None),
            pending_acks,
            unscoped,
            metrics,
            tails: Tails::default(),
        }
    }

    /// The tails on this link.
    pub(crate) const fn tails(&self) -> &Tails {
        &self.tails
    }

    /// The inner address of the gateway, which its client ids carry.
    pub fn gateway(&self) -> SocketAddr {
        self.session.gateway
    }

    /// The instance of the gateway.
    pub fn instance(&self) -> &InstanceId {
        &self.session.instance
    }

    pub(crate) const fn session(&self) -> &Arc<GatewaySession> {
        &self.session
    }

    /// Whether both lead to the same gateway instance.
    pub(crate) fn is_same_session(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.session, &other.session)
    }

    /// Whether the link is open.
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Acquire)
    }

    /// Whether the gateway answers liveness probes in time, if any were sent.
    pub fn answers(&self) -> bool {
        !self.late.load(Ordering::Relaxed)
    }

    /// Returns whether this is a change.
    fn set_late(&self, late: bool) -> bool {
        // Only the pump writes it, and avoids redundant stores.
        self.late.load(Ordering::Relaxed) != late && {
            self.late.store(late, Ordering::Relaxed);
            true
        }
    }

    /// Records the reason that the gateway has announced.
    fn set_planned_end(&self, planned_end: PlannedEnd) {
        *self.planned_end.lock() = Some(planned_end);
    }

    /// Why the gateway closed the link, if announced.
    pub(crate) fn planned_end(&self) -> Option<PlannedEnd> {
        self.planned_end.lock().clone()
    }

    /// Waits until the link has closed.
    pub async fn gone(&self) {
        self.closed.cancelled().await;
    }

    /// Sends a command on behalf of an event of this link, and returns the sequence number of the
    /// command. If the link closes before the gateway acknowledges the command, the command is
    /// lost, and the event is redelivered. Waits while [`OUTGOING_LIMIT`] bytes are queued.
    ///
    /// # Errors
    /// [`Error::Unreachable`] when the link has closed, [`Error::TooLarge`].
    pub async fn send(&self, command: Command) -> Result<u64, Error> {
        match self.try_send(command)? {
            Offer::Queued(number) => Ok(number),
            Offer::Full(waiting) => self.resume(waiting).await,
        }
    }

    /// Sends a command if there is queue space; if not, [`resume`](Self::resume) waits for it.
    /// Cheaper than [`send`](Self::send) in the usual case that there is space.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn try_send(&self, command: Command) -> Result<Offer<Waiting>, Error> {
        let mut message = ToGateway::Command { seq: 0, command };
        match self.offer(&mut message)? {
            Offer::Queued(number) => Ok(Offer::Queued(number)),
            Offer::Full(_) => Ok(Offer::Full(Waiting(Box::new(message)))),
        }
    }

    /// Sends a command for which there was no queue space.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn resume(&self, Waiting(mut message): Waiting) -> Result<u64, Error> {
        self.send_message(&mut message).await
    }

    /// Sends on this link without waiting.
    pub(crate) fn offer(&self, message: &mut ToGateway) -> Result<Offer<Full>, Error> {
        self.offer_for(message, Lifetime::Link(self.number))
    }

    /// Sends a command to the gateway, on this link or a later one, without waiting.
    pub(crate) fn offer_for_session(&self, command: &mut ToGateway) -> Result<Offer<Full>, Error> {
        self.offer_for(command, Lifetime::GatewaySession)
    }

    fn offer_for(&self, message: &mut ToGateway, lifetime: Lifetime) -> Result<Offer<Full>, Error> {
        match self.session.outgoing.push(message, lifetime).map_err(|_| Error::too_large())? {
            Push::Queued(number) => Ok(Offer::Queued(number)),
            Push::Full => Ok(Offer::Full(Full(lifetime))),
            Push::Closed => Err(self.unreachable()),
        }
    }

    pub(crate) async fn send_message(&self, message: &mut ToGateway) -> Result<u64, Error> {
        loop {
            match self.offer(message)? {
                Offer::Queued(number) => return Ok(number),
                Offer::Full(full) => self.room(full).await,
            }
        }
    }

    /// Waits until there may be queue space again, or the message cannot be sent any more.
    pub(crate) async fn room(&self, Full(lifetime): Full) {
        self.session.outgoing.room(lifetime).await;
    }

    /// How often tasks have begun to wait for answers to queries and for reports, on any link of the
    /// cluster.
    pub fn waits(&self) -> u64 {
        self.metrics.waits.load(Ordering::Relaxed)
    }

    /// A place for the answer to a request.
    pub(crate) fn ticket(&self) -> Result<Ticket<'_, Answer>, Error> {
        self.answers.ticket().map_err(|_| Error::Busy { gateway: self.session.name.clone() })
    }

    /// Sends a query, and waits for the answer.
    ///
    /// # Errors
    /// When the link has closed, when no answer arrives in time, or when the gateway cannot answer.
    pub async fn ask(&self, query: Query) -> Result<Answer, Error> {
        self.ask_within(query, Duration::ZERO).await
    }

    /// The same for a query whose answer may take so much longer than usual.
    pub(crate) async fn ask_within(&self, query: Query, more: Duration) -> Result<Answer, Error> {
        let mut ticket = self.ticket()?;
        let mut message = ToGateway::Query { request: ticket.number, query };
        let answer = async {
            self.send_message(&mut message).await?;
            ticket.wait().await.ok_or_else(|| self.unreachable())
        };
        match self.within(ANSWER_TIMEOUT + more, answer).await? {
            Answer::Unavailable => Err(Error::Unavailable { gateway: self.session.name.clone() }),
            answer => Ok(answer),
        }
    }

    /// Waits until the gateway has read everything sent so far, and everything that it sent before
    /// has arrived here.
    ///
    /// # Errors
    /// When the link has closed, or no confirmation arrives in time.
    pub async fn flush(&self) -> Result<(), Error> {
        let mut ticket =
            self.pongs.ticket().map_err(|_| Error::Busy { gateway: self.session.name.clone() })?;
        let mut message = ToGateway::Ping { token: ticket.number };
        let pong = async {
            self.send_message(&mut message).await?;
            ticket.wait().await.ok_or_else(|| self.unreachable())
        };
        self.in_time(pong).await
    }

    async fn in_time<T>(&self, answer: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        self.within(ANSWER_TIMEOUT, answer).await
    }

    async fn within<T>(
        &self,
        time: Duration,
        answer: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        match tokio::time::timeout(time, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::Timeout { gateway: self.session.name.clone() }),
        }
    }

    /// Asks the gateway to send no more events, and waits until none is in flight.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    pub async fn leave(&self) -> Result<(), Error> {
        self.send_message(&mut ToGateway::Leaving).await?;
        self.flush().await
    }

    /// Reports that every event of a shard up to this one was started as far as possible (it is
    /// finished, runs, or waits for an earlier one of its client): the gateway sends larger batches to a worker with few waiting events.
    pub fn report_started(&self, shard: u16, through: u64) {
        // Without queue space, the acknowledgement follows soon enough.
        let mut message = ToGateway::EventStarted { shard, through };
        let _ = self.session.outgoing.push(&mut message, Lifetime::Link(self.number));
    }

    /// Reports that the handler of a redelivered event starts, and whether it runs isolated; or
    /// that it does not run isolated any more.
    pub fn report_handler_started(&self, shard: u16, seq: u64, alone: bool) {
        // Without queue space, the event does not become a suspect.
        let mut message = ToGateway::HandlerStarted { shard, seq, alone };
        let _ = self.session.outgoing.push(&mut message, Lifetime::Link(self.number));
    }

    /// Acknowledges events of this link, behind everything sent before.
    pub fn finished(&self, finished: &mut Finished) {
        self.session.outgoing.finish(self.number, finished);
    }

    /// Acknowledges an event of this link, once every command of its handler was acknowledged by
    /// its gateway, or that gateway was declared dead. Commands outside any scope are attributed to
    /// all events.
    pub fn finish(self: &Arc<Self>, shard: u16, seq: u64, scope: Option<&HandlerScope>) {
        let mut finished = Finished::default();
        self.finish_with(shard, seq, scope, &mut finished);
        self.finished(&mut finished);
    }

    /// The same, except that an event which waits for nothing is added to `finished`.
    pub fn finish_with(
        self: &Arc<Self>,
        shard: u16,
        seq: u64,
        scope: Option<&HandlerScope>,
        finished: &mut Finished,
    ) {
        let mut commands = scope.map(HandlerScope::take).unwrap_or_default();
        self.unscoped.add_to(&mut commands, &self.session);
        if commands.is_empty() {
            return finished.add(shard, seq);
        }
        // One more than there are sessions, so that it cannot be released before all are
        // registered.
        let left = AtomicUsize::new(commands.len() + 1);
        let token = self.pending_acks.token();
        let pending =
            Arc::new(PendingAck { left, link: Arc::clone(self), shard, seq, _token: token });
        for (session, command) in commands {
            session.acks.wait(command, Waiter::Event(Arc::clone(&pending)));
        }
        pending.release_one();
    }

    fn finish_now(&self, shard: u16, seq: u64) {
        let mut finished = Finished::default();
        finished.add(shard, seq);
        self.session.outgoing.finish(self.number, &mut finished);
    }

    /// The gateway has acknowledged every command up to this one; `has_unacked` is whether commands
    /// may be kept until they are acknowledged.
    fn record_ack(&self, through: u64, has_unacked: bool) {
        if has_unacked {
            self.session.outgoing.confirm(through);
        }
        self.session.acks.advance(through);
        self.taken.advance(through);
    }

    /// The link has closed; the gateway may get another.
    fn close(&self) {
        self.up.store(false, Ordering::Release);
        self.session.outgoing.park();
        self.answers.close();
        self.pongs.close();
        self.taken.close();
        self.tails.close();
        self.closed.cancel();
    }

    /// The gateway is given up: nothing waits for it any more. Returns the number of its last
    /// command.
    pub(crate) fn give_up(&self) -> u64 {
        self.session.close();
        self.unscoped.forget(&self.session);
        self.session.outgoing.last()
    }

    /// Leaves the events of all closed links to other workers: commands on their behalf are not
    /// sent any more, and no event waits for them.
    pub(crate) fn leave_events(&self) {
        self.session.leave_events();
    }

    /// Prevents further links, although the gateway may be alive. Events that wait for its
    /// acknowledgements are left to other workers.
    pub(crate) fn abandon(&self) {
        self.session.abandon();
    }

    /// Closes the link once its queue is written.
    pub(crate) fn hang_up(&self) {
        self.leave.cancel();
    }

    pub(crate) fn unreachable(&self) -> Error {
        Error::Unreachable { gateway: self.session.name.clone() }
    }

    pub(crate) fn mismatch(&self) -> Error {
        Error::Mismatch { gateway: self.session.name.clone() }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("gateway", &self.session.name).finish_non_exhaustive()
    }
}
