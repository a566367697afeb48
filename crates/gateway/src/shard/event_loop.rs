//! One pass of a shard's event loop: apply messages from the hub, then write all output.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    task::Context,
    time::Duration,
};

use runtime::clock;

use super::{Accepted, Shard};
use crate::thread_messages::{PartialAnswer, ToHub, ToShard};

/// Maximum time spent on hub messages before sockets are polled.
const MAX_HUB_TIME: Duration = Duration::from_millis(1);

/// The clock is read once per this many messages.
const CLOCK_INTERVAL: usize = 64;

/// Inboxes larger than this many messages are freed once empty.
const MAX_SPARE: usize = 1024;

impl Shard {
    /// Applies messages from the hub, as many as the time limit allows, then writes: one batch per
    /// worker, and once per socket with queued output, however much it is. Of the sockets with only
    /// fan-out output, a few are written. Connections accepted for this shard are added to
    /// `arrived`. Returns whether there is more to do, after everything that is ready by then.
    pub(crate) fn run_once(
        &mut self,
        cx: &mut Context<'_>,
        arriving: &mut Vec<ToShard>,
        arrived: &mut Vec<Accepted>,
    ) -> bool {
        match &mut self.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        // Work that this pass schedules is done before it ends.
        self.scheduled = true;
        let gateway = Arc::clone(&self.gateway);
        let unfinished = self.apply_inbox(cx, arriving, arrived) | self.sweep();
        self.write(self.fan_out.due());
        self.admit_pending_clients();
        self.report_overload();
        if self.budget.is_pressed() {
            self.shed_load(clock::now());
            // Sends the close frames of the clients that were closed.
            self.write(self.fan_out.len());
        }
        self.deliver_suspects();
        let is_sweeping = self.sweep_standbys();
        // Standbys first: a worker must never be the only one that has a client.
        let is_feeding = self.feed_standbys();
        for (link, last, frames) in self.workers.take_batches() {
            gateway.hub.push(ToHub::Events { link, shard: self.index, last, frames });
        }
        for token in self.barriers.drain(..) {
            gateway.hub.push(ToHub::PartialAnswer { token, part: PartialAnswer::Barrier });
        }
        self.report();
        self.scheduled = false;
        // Drained only once every event has been delivered and acknowledged.
        let delivered = self.workers.in_flight() == 0 && self.unassigned.is_empty();
        let delivered = delivered && self.suspects.holds_nothing();
        if self.drain.is_some() && self.connections.is_empty() && delivered {
            gateway.hub.push(ToHub::Drained { shard: self.index });
        }
        let is_busy = unfinished || is_sweeping || is_feeding;
        // A client closed, or a suspect abandoned, after the write above.
        let is_left = !self.dirty.is_empty() || self.suspects.has_unblocked();
        self.resume_fair_queue() || !self.fan_out.is_empty() || is_busy || is_left
    }

    /// Applies messages from the hub until the inbox is empty or sockets have to be polled. Returns
    /// whether there may be more: the waker is registered only if there is none.
    fn apply_inbox(
        &mut self,
        cx: &mut Context<'_>,
        arriving: &mut Vec<ToShard>,
        arrived: &mut Vec<Accepted>,
    ) -> bool {
        let gateway = Arc::clone(&self.gateway);
        let began = clock::now();
        let (mut done, mut messages, mut more) = (0, 0_usize, true);
        while !self.work() {
            if self.inbox.is_empty() {
                if gateway.shards[usize::from(self.index)].poll_take(cx, arriving).is_pending() {
                    more = false;
                    break;
                }
                self.inbox.extend(arriving.drain(..));
            }
            let Some(message) = self.inbox.pop_front() else {
                continue;
            };
            done += message.weight();
            let is_heavy = message.is_heavy();
            self.handle(message, arrived);
            if self.budget.unwritten() < self.unwritten + self.fan_out.bytes() {
                self.write(self.fan_out.len());
                self.shed_load(clock::now());
            }
            messages += 1;
            // Reading the clock has a cost.
            if (is_heavy || messages.is_multiple_of(CLOCK_INTERVAL))
                && MAX_HUB_TIME < clock::now() - began
            {
                break;
            }
        }
        gateway.ahead[usize::from(self.index)].fetch_sub(done, Ordering::Relaxed);
        // Free the memory of a burst.
        if self.inbox.is_empty() && MAX_SPARE < self.inbox.capacity() {
            self.inbox = VecDeque::new();
        }
        if MAX_SPARE < arriving.capacity() {
            *arriving = Vec::new();
        }
        more
    }
}
