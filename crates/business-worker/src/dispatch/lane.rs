//! The task of a client whose method had to wait.

use std::{
    future::poll_fn,
    mem,
    sync::Arc,
    task::{Context, Poll, ready},
};

use protocol::link::Delivery;
use service::clock::{Stopwatch, Took};
use tokio::task::block_in_place;
use tokio_util::sync::{PollSemaphore, ReusableBoxFuture};

use super::{
    Dispatcher, Slot, pace,
    slot::Next,
    turn::{self, Outcome},
};
use crate::Worker;

/// An event whose method runs. The box is used again for the next one.
pub(super) type Running = ReusableBoxFuture<'static, Outcome>;

/// A method that runs in a lane.
pub(super) struct Method {
    running: Running,
    /// Set where methods compute for long: not more than a few do so at a time, and the thread's
    /// other tasks, with its part in looking after sockets, go to another thread meanwhile.
    computing: Option<PollSemaphore>,
    /// The longest that it took from one wait to the next.
    longest: Took,
}

impl Method {
    pub(super) const fn new(running: Running, computing: Option<PollSemaphore>) -> Self {
        Self { running, computing, longest: Took::NOTHING }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        match &mut self.computing {
            None => self.clocked(cx),
            Some(places) => {
                let _place = ready!(places.poll_acquire(cx));
                block_in_place(|| self.clocked(cx))
            }
        }
    }

    fn clocked(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        let stopwatch = Stopwatch::start();
        let poll = self.running.poll(cx);
        self.longest = self.longest.max(stopwatch.took_at_least(pace::QUICK));
        poll
    }
}

/// What is to be reported of an event once it is dealt with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    pub(super) shard: u16,
    pub(super) seq: u64,
    pub(super) bytes: usize,
}

impl Ticket {
    pub(super) fn of(delivery: &Delivery) -> Self {
        Self { shard: delivery.shard, seq: delivery.seq, bytes: super::in_hand::bytes(delivery) }
    }
}

/// Takes a client's events one after the other until none is left, beginning with the one that
/// runs already, if any.
pub(super) async fn run<W: Worker>(
    dispatcher: Arc<Dispatcher<W>>,
    mut slot: Arc<Slot>,
    mut method: Method,
    mut ticket: Option<Ticket>,
) {
    loop {
        if let Some(Ticket { shard, seq, bytes }) = ticket.take() {
            let outcome = poll_fn(|cx| method.poll(cx)).await;
            slot.home().lanes().took(mem::replace(&mut method.longest, Took::NOTHING));
            match outcome {
                Outcome::Over(pushes) => slot.link().finish(shard, seq, pushes.as_deref()),
                Outcome::Left => slot.leave(),
            }
            slot.home().in_hand.remove(bytes);
        }
        // Methods that never wait must not keep a thread to themselves.
        tokio::task::consume_budget().await;
        match slot.next(dispatcher.busy()) {
            Next::Event(delivery) => {
                ticket = Some(Ticket::of(&delivery));
                method.running.set(turn::take(
                    Arc::clone(&dispatcher),
                    Arc::clone(&slot),
                    delivery,
                ));
            }
            Next::Heir(heir) => slot = heir,
            Next::Nothing => return,
        }
    }
}
