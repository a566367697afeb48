//! The task of a client whose method had to wait.

use std::{future::poll_fn, sync::Arc};

use client::link::Pushes;
use protocol::link::Delivery;
use tokio_util::sync::ReusableBoxFuture;

use super::{Dispatcher, Slot, slot::Next, turn};
use crate::Worker;

/// An event whose method runs. The box is used again for the next one.
pub(super) type Running = ReusableBoxFuture<'static, Option<Arc<Pushes>>>;

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
    mut running: Running,
    mut ticket: Option<Ticket>,
) {
    loop {
        if let Some(Ticket { shard, seq, bytes }) = ticket.take() {
            let pushes = poll_fn(|cx| running.poll(cx)).await;
            slot.link().finish(shard, seq, pushes.as_deref());
            slot.home().in_hand.remove(bytes);
        }
        // Methods that never wait must not keep a thread to themselves.
        tokio::task::consume_budget().await;
        match slot.next(dispatcher.busy()) {
            Next::Event(delivery) => {
                ticket = Some(Ticket::of(&delivery));
                running.set(turn::take(Arc::clone(&dispatcher), Arc::clone(&slot), delivery));
            }
            Next::Heir(heir) => slot = heir,
            Next::Nothing => return,
        }
    }
}
