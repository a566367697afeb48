//! A turn of a shard: what it was told, and all that comes of that.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    task::Context,
    time::Duration,
};

use service::clock;

use super::{Arrival, Shard};
use crate::exchange::{Part, ToHub, ToShard};

/// How long the hub is listened to before sockets are looked at.
const LONGEST: Duration = Duration::from_millis(1);

/// After how many of its messages the clock is looked at.
const MESSAGES: usize = 64;

/// For how many messages of the hub memory is kept.
const SPARE: usize = 1024;

impl Shard {
    /// Carries out what the hub says, all of it or as much as may be done before sockets are looked at,
    /// then writes: one batch for each worker, and once to each socket that something was queued for,
    /// however much it was; of those that a message for many was queued for, to a few. Connections that
    /// were accepted for this shard are added to `arrived`. Says whether there is more to do, behind
    /// whatever is ready by then.
    pub(crate) fn turn(
        &mut self,
        cx: &mut Context<'_>,
        arriving: &mut Vec<ToShard>,
        arrived: &mut Vec<Arrival>,
    ) -> bool {
        match &mut self.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        // Whatever the turn itself brings about is done before it ends.
        self.called = true;
        let host = Arc::clone(&self.host);
        let unfinished = self.carry_out(cx, arriving, arrived) | self.sweep();
        self.write(self.fan_out.due());
        self.admit_newcomers();
        self.tell_crowded();
        if self.budget.is_pressed() {
            self.relieve(clock::now());
            // Whoever was closed over it is told so.
            self.write(self.fan_out.len());
        }
        self.try_suspects();
        let is_sweeping = self.sweep_standbys();
        // Standbys first: nothing may be known of a client to its worker alone.
        let is_feeding = self.feed_standbys();
        for (link, last, frames) in self.workers.take_batches() {
            host.hub.push(ToHub::Events { link, shard: self.index, last, frames });
        }
        for token in self.barriers.drain(..) {
            host.hub.push(ToHub::Part { token, part: Part::Barrier });
        }
        self.report();
        self.called = false;
        // What no worker could be told yet is not told.
        let told = self.workers.in_flight() == 0 && self.limbo.is_empty();
        let told = told && self.suspects.holds_nothing();
        if self.drain.is_some() && self.connections.is_empty() && told {
            host.hub.push(ToHub::Drained { shard: self.index });
        }
        let is_busy = unfinished || is_sweeping || is_feeding;
        self.take_turns() || !self.fan_out.is_empty() || is_busy
    }

    /// Carries out what the hub says until nothing is left, or sockets have to be looked at. Says whether
    /// there may be more: only when there is none is this thread woken for what the hub says next.
    fn carry_out(
        &mut self,
        cx: &mut Context<'_>,
        arriving: &mut Vec<ToShard>,
        arrived: &mut Vec<Arrival>,
    ) -> bool {
        let host = Arc::clone(&self.host);
        let began = clock::now();
        let (mut done, mut messages, mut more) = (0, 0_usize, true);
        while !self.work() {
            if self.told.is_empty() {
                if host.shards[usize::from(self.index)].poll_take(cx, arriving).is_pending() {
                    more = false;
                    break;
                }
                self.told.extend(arriving.drain(..));
            }
            let Some(message) = self.told.pop_front() else {
                continue;
            };
            done += message.weight();
            let is_heavy = message.is_heavy();
            self.take(message, arrived);
            if self.budget.unwritten() < self.unwritten + self.fan_out.bytes() {
                self.write(self.fan_out.len());
                self.relieve(clock::now());
            }
            messages += 1;
            // The clock is not free.
            if (is_heavy || messages.is_multiple_of(MESSAGES)) && LONGEST < clock::now() - began {
                break;
            }
        }
        host.ahead[usize::from(self.index)].fetch_sub(done, Ordering::Relaxed);
        // What a burst needed is given back.
        if self.told.is_empty() && SPARE < self.told.capacity() {
            self.told = VecDeque::new();
        }
        if SPARE < arriving.capacity() {
            *arriving = Vec::new();
        }
        more
    }
}
