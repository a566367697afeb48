//! The task of a client whose handler had to wait.

use std::{
    future::poll_fn,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use protocol::link::Delivery;
use push_suite_cluster::internal::Link;
use runtime::clock::{self, Elapsed, Stopwatch};
use tokio::{task::block_in_place, time::sleep};
use tokio_util::sync::{PollSemaphore, ReusableBoxFuture};

use super::{
    ClientState, Dispatcher, blocking_detector,
    client_state::{self, Next},
    gate::{ALONE, Alone, Gate, Permit},
    invoke::{self, Outcome},
};
use crate::Worker;

/// A running handler. The box is reused for the next event.
pub(super) type Running = ReusableBoxFuture<'static, Outcome>;

/// A handler call that runs in a lane.
pub(super) struct Invocation {
    running: Running,
    /// Set if handlers compute for long: limits how many do so concurrently. Meanwhile the thread's
    /// other tasks and its I/O driver move to another thread.
    computing: Option<PollSemaphore>,
    /// Its entry among the running handlers, if it has already started.
    permit: Option<Permit>,
    /// The longest time between two waits.
    longest: Elapsed,
}

impl Invocation {
    pub(super) const fn new(
        running: Running,
        computing: Option<PollSemaphore>,
        permit: Option<Permit>,
    ) -> Self {
        Self { running, computing, permit, longest: Elapsed::NOTHING }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        match &mut self.computing {
            None => self.clocked(cx),
            Some(permits) => {
                let _permit = ready!(permits.poll_acquire(cx));
                block_in_place(|| self.clocked(cx))
            }
        }
    }

    fn clocked(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        let stopwatch = Stopwatch::start();
        let poll = self.running.poll(cx);
        self.longest = self.longest.max(stopwatch.took_at_least(blocking_detector::FAST));
        poll
    }
}

/// The data that acknowledges an event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    pub(super) shard: u16,
    pub(super) seq: u64,
    pub(super) bytes: usize,
    /// Whether its handler must run isolated.
    pub(super) is_isolated: bool,
    /// Whether it is the client's last one.
    pub(super) is_last: bool,
    /// When its handler started.
    pub(super) began: Instant,
}

impl Ticket {
    /// Of an event whose handler starts now.
    pub(super) fn of(delivery: &Delivery, began: Instant) -> Self {
        let bytes = super::in_flight::bytes(delivery);
        let (is_isolated, is_last) = (false, client_state::is_last(&delivery.event));
        Self { shard: delivery.shard, seq: delivery.seq, bytes, is_isolated, is_last, began }
    }
}

/// Runs a handler to completion, once it may start.
async fn run_shared(gate: &Arc<Gate>, invocation: &mut Invocation) -> Outcome {
    let _permit = match invocation.permit.take() {
        Some(permit) => permit,
        None => gate.enter().await,
    };
    poll_fn(|cx| invocation.poll(cx)).await
}

/// Runs the handler of a suspected poison message: isolated, and only once the gateway has been
/// notified of the start. After [`ALONE`], other handlers may start again; if it completes earlier,
/// the returned guard still prevents them.
fn run_isolated<'g: 'm, 'm>(
    gate: &'g Gate,
    state: &'m ClientState,
    invocation: &'m mut Invocation,
    (shard, seq): (u16, u64),
) -> Pin<Box<dyn Future<Output = (Outcome, Option<Alone<'g>>)> + Send + 'm>> {
    // Rare, so boxed to keep it out of every lane's future.
    Box::pin(async move {
        let alone = gate.be_alone().await;
        let link = state.link();
        link.report_handler_started(shard, seq, true);
        if link.flush().await.is_err() && !link.is_up() {
            // The event is redelivered, to this worker or another.
            return (Outcome::Left(None), None);
        }
        tokio::select! {
            outcome = poll_fn(|cx| invocation.poll(cx)) => return (outcome, Some(alone)),
            () = sleep(ALONE) => {}
        }
        end_isolation(link, (shard, seq)).await;
        drop(alone);
        (poll_fn(|cx| invocation.poll(cx)).await, None)
    })
}

/// Notifies the gateway that a handler no longer runs isolated, before others start: if one of
/// those crashes the process, the suspect is not the cause.
async fn end_isolation(link: &Link, (shard, seq): (u16, u64)) {
    link.report_handler_started(shard, seq, false);
    // A closed link needs no notification.
    let _ = link.flush().await;
}

/// Handles a client's events in order until none is left, starting with the one that already runs,
/// if any.
pub(super) async fn run<W: Worker>(
    dispatcher: Arc<Dispatcher<W>>,
    mut state: Arc<ClientState>,
    mut invocation: Invocation,
    mut ticket: Option<Ticket>,
) {
    loop {
        if let Some(Ticket { shard, seq, bytes, is_isolated, is_last, began }) = ticket.take() {
            let (outcome, alone) = match is_isolated {
                true => run_isolated(&dispatcher.gate, &state, &mut invocation, (shard, seq)).await,
                false => (run_shared(&dispatcher.gate, &mut invocation).await, None),
            };
            state
                .link_context()
                .lanes()
                .record(mem::replace(&mut invocation.longest, Elapsed::NOTHING));
            dispatcher.metrics.took.record(clock::now().saturating_duration_since(began));
            match outcome {
                Outcome::Done(scope) => state.link().finish(shard, seq, scope.as_deref()),
                Outcome::Left(event) => state.leave(event, is_last),
            }
            if let Some(alone) = alone {
                end_isolation(state.link(), (shard, seq)).await;
                drop(alone);
            }
            state.link_context().in_flight.remove(bytes);
        }
        // Handlers that never wait must not starve other tasks.
        tokio::task::consume_budget().await;
        match state.next(dispatcher.busy()) {
            Next::Event(delivery) => {
                let is_isolated = state.is_isolated(&delivery);
                ticket = Some(Ticket { is_isolated, ..Ticket::of(&delivery, clock::now()) });
                invocation.running.set(invoke::handle(
                    Arc::clone(&dispatcher),
                    Arc::clone(&state),
                    delivery,
                ));
            }
            Next::Successor(successor) => state = successor,
            Next::Nothing => return,
        }
    }
}
