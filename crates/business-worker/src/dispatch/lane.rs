//! The task of a client whose method had to wait.

use std::{
    future::poll_fn,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use client::link::Link;
use protocol::link::Delivery;
use service::clock::{Stopwatch, Took};
use tokio::{task::block_in_place, time::sleep};
use tokio_util::sync::{PollSemaphore, ReusableBoxFuture};

use super::{
    Dispatcher, Slot,
    gate::{ALONE, Alone, Gate, Place},
    pace,
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
    /// Its place among those that run, if it has started already.
    place: Option<Place>,
    /// The longest that it took from one wait to the next.
    longest: Took,
}

impl Method {
    pub(super) const fn new(
        running: Running,
        computing: Option<PollSemaphore>,
        place: Option<Place>,
    ) -> Self {
        Self { running, computing, place, longest: Took::NOTHING }
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
    /// Whether its handler is to run alone.
    pub(super) is_trial: bool,
}

impl Ticket {
    pub(super) fn of(delivery: &Delivery) -> Self {
        let bytes = super::in_hand::bytes(delivery);
        Self { shard: delivery.shard, seq: delivery.seq, bytes, is_trial: false }
    }
}

/// Runs a method to its end, once it may start.
async fn among_others(gate: &Arc<Gate>, method: &mut Method) -> Outcome {
    let _place = match method.place.take() {
        Some(place) => place,
        None => gate.enter().await,
    };
    poll_fn(|cx| method.poll(cx)).await
}

/// Runs a method that worker processes may have ended over: alone, and once the gateway knows that it
/// starts. After a while others start again. What is returned keeps them from that otherwise.
fn try_alone<'g: 'm, 'm>(
    gate: &'g Gate,
    slot: &'m Slot,
    method: &'m mut Method,
    (shard, seq): (u16, u64),
) -> Pin<Box<dyn Future<Output = (Outcome, Option<Alone<'g>>)> + Send + 'm>> {
    // Rare, and kept out of what every lane needs.
    Box::pin(async move {
        let alone = gate.be_alone().await;
        let link = slot.link();
        link.trying(shard, seq, true);
        if link.flush().await.is_err() && !link.is_up() {
            // It comes again, here or elsewhere.
            return (Outcome::Left, None);
        }
        tokio::select! {
            outcome = poll_fn(|cx| method.poll(cx)) => return (outcome, Some(alone)),
            () = sleep(ALONE) => {}
        }
        over(link, (shard, seq)).await;
        drop(alone);
        (poll_fn(|cx| method.poll(cx)).await, None)
    })
}

/// Lets the gateway know that a method does not run alone any more, before others start: should one of
/// those end this process, it is not this one's doing.
async fn over(link: &Link, (shard, seq): (u16, u64)) {
    link.trying(shard, seq, false);
    // A link that is lost needs no word.
    let _ = link.flush().await;
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
        if let Some(Ticket { shard, seq, bytes, is_trial }) = ticket.take() {
            let (outcome, alone) = match is_trial {
                true => try_alone(&dispatcher.gate, &slot, &mut method, (shard, seq)).await,
                false => (among_others(&dispatcher.gate, &mut method).await, None),
            };
            slot.home().lanes().took(mem::replace(&mut method.longest, Took::NOTHING));
            match outcome {
                Outcome::Over(pushes) => slot.link().finish(shard, seq, pushes.as_deref()),
                Outcome::Left => slot.leave(),
            }
            if let Some(alone) = alone {
                over(slot.link(), (shard, seq)).await;
                drop(alone);
            }
            slot.home().in_hand.remove(bytes);
        }
        // Methods that never wait must not keep a thread to themselves.
        tokio::task::consume_budget().await;
        match slot.next(dispatcher.busy()) {
            Next::Event(delivery) => {
                let is_trial = slot.is_trial(&delivery);
                ticket = Some(Ticket { is_trial, ..Ticket::of(&delivery) });
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
