//! Output to connections: queued, and written once per pass.

use bytes::Bytes;
use framing::{Framed, Framing, websocket};
use protocol::{
    MessageKind,
    inspect::{Direction, LifecycleKind, TailTarget},
};
use runtime::clock;

use crate::{
    closed::CloseCause,
    settings::SlowClient,
    shard::{
        Shard,
        connections::{Audience, Phase, Pushed},
        slot::SlotKey,
        tails::Passing,
    },
};

impl Shard {
    /// Queues a message for a client, without waiting.
    pub(in crate::shard) fn send(
        &mut self,
        key: SlotKey,
        framed: &mut Framed,
        audience: Audience,
    ) -> Pushed {
        let pushed = self.send_form(key, framed, audience);
        if !self.tails.is_empty() && pushed == Pushed::Queued {
            let message = framed.message();
            self.tail(key, Direction::Out, message.kind, &message.body);
        }
        pushed
    }

    /// Queues a ping for a client of a trace; `None` if its listener has none.
    pub(in crate::shard) fn push_ping(
        &mut self,
        key: SlotKey,
        audience: Audience,
    ) -> Option<Pushed> {
        if self.connections[key].listener.framing != Framing::WebSocket {
            return None;
        }
        let ping = websocket::ping_frame(&self.ping_clock.stamp(clock::now()));
        Some(self.push(key, &ping, audience))
    }

    /// Adds a message from or to a client to the tails that it is for.
    pub(super) fn tail(
        &mut self,
        key: SlotKey,
        direction: Direction,
        kind: MessageKind,
        body: &[u8],
    ) {
        let Some(id) = self.connections[key].id else { return };
        let Some(client) = self.directory.get(id) else { return };
        let at = clock::unix_micros();
        self.tails.add(Passing { at, client: id, direction, kind, body }, |target| match target {
            TailTarget::Client(client) => *client == id,
            TailTarget::Uid(uid) => client.uid() == Some(uid),
            TailTarget::Group(group) => client.is_in(group),
        });
        self.schedule.request();
    }

    /// Queues the form of a message that a client can read.
    fn send_form(&mut self, key: SlotKey, framed: &mut Framed, audience: Audience) -> Pushed {
        let (connection, frames) = (&self.connections[key], &self.pressure.budget.frames);
        let size = framed.size();
        let deflated = connection
            .deflate
            .and_then(|deflate| framed.deflated(deflate, &mut self.compression.deflater, frames));
        if let Some(frame) = deflated {
            let (wire, pushed) = (frame.len(), self.push(key, frame, audience));
            if pushed == Pushed::Queued {
                self.tally.deflated_out += size as u64;
                self.tally.deflated_out_wire += wire as u64;
            }
            return pushed;
        }
        let framing = connection.listener.framing;
        match framed.form(framing, frames) {
            Some(frame) => self.push(key, frame, audience),
            None => {
                self.count_unframable(key);
                Pushed::Dropped
            }
        }
    }

    /// Records that a message has no frame in the layout of a client's listener. The client stays
    /// connected: the fault is not its own, and would be repeated after a reconnect.
    fn count_unframable(&mut self, key: SlotKey) {
        self.gateway.metrics.messages_unframable.inc();
        if let Some(suppressed) = self.warnings.unframable.admit(clock::now()) {
            let connection = &self.connections[key];
            let (listener, remote) = (connection.listener.addr, connection.remote);
            tracing::warn!(%listener, %remote, suppressed, "message not sent: it has no frame");
        }
    }

    /// Queues a framed message. The policy for clients that do not read is applied here only.
    pub(super) fn push(&mut self, key: SlotKey, frame: &Bytes, audience: Audience) -> Pushed {
        let connection = &self.connections[key];
        if matches!(connection.phase, Phase::Leaving(_) | Phase::Closing { .. } | Phase::Over) {
            return Pushed::Closing;
        }
        if !self.is_behind(key) {
            self.tally.messages_out += 1;
            self.queue_for(audience, key, frame);
            return Pushed::Queued;
        }
        self.tally.dropped += 1;
        match self.settings.slow_client {
            SlowClient::Drop => {
                let connection = &self.connections[key];
                let queue_bytes = connection.queued() as u64;
                self.history.record(connection.id, || LifecycleKind::Slow { queue_bytes });
            }
            SlowClient::Disconnect => self.close(key, CloseCause::Slow),
        }
        Pushed::Dropped
    }

    /// Whether the write queue of a connection is at its limit. Much may have been queued within
    /// one pass: only output that the socket does not accept counts.
    pub(super) fn is_behind(&mut self, key: SlotKey) -> bool {
        let limit = self.settings.send_buffer;
        if limit <= self.connections[key].queued() {
            self.flush(key);
        }
        limit <= self.connections[key].queued()
    }

    pub(super) fn queue(&mut self, key: SlotKey, bytes: &Bytes) {
        self.queue_for(Audience::Few, key, bytes);
    }

    pub(super) fn queue_for(&mut self, audience: Audience, key: SlotKey, bytes: &Bytes) {
        self.tally.queued_bytes += bytes.len() as u64;
        let in_this_pass = self.connections.queue(audience, key, bytes, &mut self.schedule);
        if self.pressure.budget.unwritten() < self.connections.unwritten() {
            // Within one message for very many clients, output that sockets accept is written
            // immediately.
            self.flush(key);
        } else if in_this_pass {
            self.connections.mark_dirty(key, &mut self.schedule);
        }
    }

    pub(super) fn flush(&mut self, key: SlotKey) {
        // The list may name a closed connection, or a new one in the same slot.
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        connection.pending.set_dirty(false);
        let before = (!self.traces.is_empty()).then(|| connection.unwritten().0);
        if let Err(error) = connection.flush() {
            self.abort(key, CloseCause::Lost(error));
        } else if let Some(before) = before {
            let (id, (bytes, encrypted)) = (connection.id, connection.unwritten());
            let written = before.saturating_sub(bytes);
            self.traces.written(key, id, written, encrypted != 0, clock::now());
        }
        self.account(key);
    }

    /// Flushes every connection with queued output, but at most `of_fan_out` of those with only
    /// fan-out output.
    pub(in crate::shard) fn write(&mut self, of_fan_out: usize) {
        self.write_dirty();
        for _ in 0..of_fan_out {
            let Some(key) = self.connections.next_of_fan_out() else {
                break;
            };
            self.flush(key);
        }
        self.write_dirty();
    }

    /// Flushes the connections that are marked for it.
    fn write_dirty(&mut self) {
        // A broken socket emits an event, and so causes more to flush at most once.
        while self.connections.has_dirty() {
            let mut dirty = self.connections.take_dirty();
            for key in dirty.drain(..) {
                self.flush(key);
            }
            self.connections.reuse_dirty(dirty);
        }
        self.connections.all_flushed();
    }
}
