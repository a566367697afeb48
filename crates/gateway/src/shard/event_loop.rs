//! One pass of a shard's event loop: apply messages from the hub, then write all output.

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, atomic::Ordering},
    task::Context,
    time::Duration,
};

use runtime::{clock, net};

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
        self.schedule.begin(cx.waker());
        let gateway = Arc::clone(&self.gateway);
        let unfinished = self.apply_inbox(cx, arriving, arrived) | self.sweep();
        self.write(self.connections.fan_out().due());
        self.measure_delivery();
        if !self.traces.is_empty() {
            self.finish_traces(clock::now());
        }
        self.admit_pending_clients();
        self.report_overload();
        if self.pressure.is_due() {
            self.shed_load(clock::now());
            // Sends the close frames of the clients that were closed.
            self.write(self.connections.fan_out().len());
        }
        self.deliver_suspects();
        let is_sweeping = self.sweep_standbys();
        // Standbys first: a worker must never be the only one that has a client.
        let is_feeding = self.feed_standbys();
        for (link, last, frames) in self.delivery.workers.take_batches() {
            gateway.hub.push(ToHub::Events { link, shard: self.index, last, frames });
        }
        // Before barriers, and before what comes from a later pass.
        let is_reporting = self.report_presence();
        if !self.commands.effects.is_empty() {
            // As many as in the next pass, probably.
            let next = Vec::with_capacity(self.commands.effects.len());
            gateway.hub.push(ToHub::Effects(mem::replace(&mut self.commands.effects, next)));
        }
        for (link, tailed) in self.tails.take() {
            gateway.hub.push(ToHub::Tailed { link, tailed });
        }
        for token in self.commands.barriers.drain(..) {
            gateway.hub.push(ToHub::PartialAnswer { token, part: PartialAnswer::Barrier });
        }
        self.report();
        self.schedule.end();
        // Drained only once every event has been delivered and acknowledged.
        if self.drain.is_some() && self.connections.is_empty() && self.delivery.is_finished() {
            gateway.hub.push(ToHub::Drained { shard: self.index });
        }
        let is_busy = unfinished || is_sweeping || is_feeding || is_reporting;
        // A client closed, or a suspect abandoned, after the write above.
        let is_left = self.connections.has_dirty() || self.delivery.suspects.has_unblocked();
        self.resume_fair_queue() || !self.connections.fan_out().is_empty() || is_busy || is_left
    }

    /// Records how long a measured command took, once its messages are written.
    fn measure_delivery(&mut self) {
        let written = self.connections.fan_out().written();
        if let Some((arrived, _)) = self.commands.measured.take_if(|(_, last)| *last <= written) {
            let took = clock::now().saturating_duration_since(arrived);
            self.gateway.metrics.deliveries.record(took);
        }
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
            if self.commands.inbox.is_empty() {
                if gateway.shards[usize::from(self.index)].poll_take(cx, arriving).is_pending() {
                    more = false;
                    break;
                }
                self.commands.inbox.extend(arriving.drain(..));
            }
            let Some(message) = self.commands.inbox.pop_front() else {
                continue;
            };
            done += message.weight();
            let is_heavy = message.is_heavy();
            self.handle(message, arrived);
            if self.pressure.budget.unwritten() < self.connections.unwritten() {
                self.write(self.connections.fan_out().len());
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
        if self.commands.inbox.is_empty() && MAX_SPARE < self.commands.inbox.capacity() {
            self.commands.inbox = VecDeque::new();
        }
        if MAX_SPARE < arriving.capacity() {
            *arriving = Vec::new();
        }
        more
    }

    /// Applies a message from the hub.
    fn handle(&mut self, message: ToShard, arrived: &mut Vec<Accepted>) {
        match message {
            ToShard::Accepted { stream, remote, listener } => match net::take_over(stream) {
                Ok(stream) => arrived.push(Accepted { stream, remote, listener }),
                Err(error) => {
                    tracing::error!(%error, "failed to take over an accepted connection");
                    self.return_place(self.index.into(), listener, remote);
                }
            },
            ToShard::Command { from, ordinal, command } => self.apply(from, ordinal, command),
            ToShard::ReportedCommand { effect_for, from, ordinal, command } => {
                self.apply_reported(effect_for, from, ordinal, command);
            }
            ToShard::SendRetained { reported, client, group, sent, message } => {
                self.send_retained(reported, client, &group, sent, message);
            }
            ToShard::Query { token, from, query, in_php } => {
                self.answer(token, from, query, in_php);
            }
            ToShard::Barrier { token } => self.commands.barriers.push(token),
            ToShard::WorkerUp { link, worker } => self.worker_up(link, worker),
            ToShard::CloseCodes { link, codes } => self.declare_close_codes(link, codes),
            ToShard::WorkerLeaving { link } => self.worker_leaving(link),
            ToShard::WorkerDown { link, end } => self.worker_down(link, end),
            ToShard::HandlerStarted { link, seq, alone } => {
                self.delivery.handler_started(link, seq, alone)
            }
            ToShard::EventStarted { link, through } => self.event_started(link, through),
            ToShard::EventAck { link, first, last } => self.event_ack(link, first, last),
            ToShard::StandbyWritten { link, through } => self.standby_written(link, through),
            ToShard::Watchers(watchers) => self.set_watchers(watchers),
            ToShard::PresenceWritten { link, bytes } => self.presence.written(link, bytes),
            ToShard::StreamServers(servers) => self.streams.set_servers(servers),
            ToShard::Measure { arrived } => {
                // Of several, the oldest.
                let written = self.connections.fan_out().written_through();
                self.commands.measured.get_or_insert((arrived, written));
            }
            ToShard::FindUids { after } => self.find_uids(after),
            ToShard::Tail { link, open } => self.tails.open(link, open),
            ToShard::EndTail { link, tail } => self.tails.close(link, tail),
            ToShard::Drain { grace } => self.drain(grace),
        }
    }
}
