//! Input of a connection: read within its quantum, decoded, and emitted as events.

use std::{
    mem,
    task::{Context, Poll, ready},
};

use framing::{
    Decoder, Framing, Received,
    websocket::{self, Inflated, Inflater},
};
use protocol::{Event, Message, MessageKind, inspect::Direction};
use runtime::clock;

use crate::{
    closed::{ClientFrame, CloseCause},
    shard::{
        Shard,
        connections::{Audience, LIGHT, Phase, Quantum, Read, SCRATCH},
        slot::SlotKey,
    },
};

/// Connections resumed from the fair queue per pass, and from the fair queue of each worker.
const READS_PER_PASS: usize = 1;

/// Maximum number of bytes per read of a request or a PROXY header: most fit.
const HEAD: usize = 4 * 1024;

impl Shard {
    /// Processes a connection; ready once it is closed.
    pub(in crate::shard) fn poll(&mut self, key: SlotKey, cx: &mut Context<'_>) -> Poll<()> {
        self.connections[key].watch(cx.waker());
        let mut quantum = Quantum::new();
        loop {
            let connection = &mut self.connections[key];
            if matches!(connection.phase, Phase::Over) {
                let connection = self.connections.remove(key);
                self.pressure.forget(&connection);
                self.free_place(key, &connection);
                if self.drain.is_some() {
                    self.schedule.request();
                }
                return Poll::Ready(());
            }
            if connection.is_blocked()
                && let Poll::Ready(ready) = connection.poll_unblock(cx)
            {
                match ready {
                    Ok(()) => {
                        // The peer's kernel has accepted the bytes that filled the socket.
                        self.connections[key].silence.received();
                        self.flush(key);
                    }
                    Err(error) => self.close(key, CloseCause::Lost(error)),
                }
                continue;
            }
            if !connection.gate.may_read() || self.defers_large_read(key) {
                return Poll::Pending;
            }
            if self.is_unregistered(key) && !self.try_register(key) {
                return Poll::Pending;
            }
            // A connection that exceeds its read quantum joins the fair queue. A large message that
            // has been started is completed first, or all clients could be in the middle of one at
            // once.
            let connection = &mut self.connections[key];
            let in_large_message = connection.in_large_message();
            if in_large_message && connection.gate.has_turn() && quantum.is_spent_on_large() {
                self.connections.enqueue_first(key);
                self.schedule.request();
                return Poll::Pending;
            }
            let is_spent = match in_large_message {
                true => !connection.gate.has_turn(),
                false => quantum.is_spent(),
            };
            if is_spent {
                self.enqueue(key);
                return Poll::Pending;
            }
            if connection.backlog {
                self.received(key, &mut [], &mut quantum);
                self.account(key);
                continue;
            }
            let most = self.most_to_read(key);
            // Moved out of `self`, since processing the bytes needs the whole shard.
            let mut scratch = self.connections.take_scratch();
            let read = self.connections[key].poll_read(cx, &mut scratch[..most]);
            if let Poll::Ready(Read::Bytes(length)) = read {
                quantum.read(length);
                self.tally.received_bytes += length as u64;
                // A handshake is no message, however large its request is.
                let has_messages = matches!(self.connections[key].phase, Phase::Open(_));
                self.received(key, &mut scratch[..length], &mut quantum);
                self.account(key);
                if has_messages {
                    self.charge_bytes(key, length);
                }
            }
            self.connections.return_scratch(scratch);
            if read.is_pending() {
                let connection = &mut self.connections[key];
                let in_large_message = connection.in_large_message().then(clock::now);
                connection.gate.read_empty(in_large_message);
                if connection.is_tls() {
                    // TLS may hold input that contains no complete record yet.
                    self.account(key);
                }
            }
            match ready!(read) {
                Read::Bytes(_) => {}
                Read::End => {
                    // The client may have closed only its sending half, and still read the
                    // response.
                    self.flush(key);
                    if !matches!(self.connections[key].phase, Phase::ProxyHeader(_)) {
                        self.connections[key].send_close_notify();
                    }
                    self.abort(key, CloseCause::Ended);
                }
                Read::Broken(error) => self.abort(key, CloseCause::Lost(error)),
            }
        }
    }

    /// Maximum number of bytes for the next read of a connection.
    fn most_to_read(&mut self, key: SlotKey) -> usize {
        let connection = &self.connections[key];
        if matches!(connection.phase, Phase::ProxyHeader(_) | Phase::Request(_)) {
            // Small, so that pipelined requests cost no more than the quantum.
            return HEAD;
        }
        // Everything that is read goes to the worker.
        let is_busy =
            !connection.in_large_message() && self.delivery.busy_worker(connection).is_some();
        let most = if is_busy { LIGHT } else { SCRATCH };
        most.min(self.most_within_rate(key))
    }

    /// Pauses reads of a connection that may have more input, until the connections before it in
    /// the fair queue have been read.
    fn enqueue(&mut self, key: SlotKey) {
        self.connections[key].gate.end_turn();
        let connection = &mut self.connections[key];
        if !connection.in_large_message() || !self.delivery.enqueue_if_busy(key, connection) {
            self.connections.enqueue(key);
        }
        self.schedule.request();
    }

    /// Resumes a few connections of the fair queues. Returns whether more are queued.
    pub(in crate::shard) fn resume_fair_queue(&mut self) -> bool {
        self.connections.resume_fair_queue(READS_PER_PASS);
        let keys = self.delivery.workers.resume_fair_queue(READS_PER_PASS);
        for key in &keys {
            if let Some(connection) = self.connections.get_mut(*key) {
                connection.gate.grant_turn();
            }
        }
        self.connections.resume_by_worker(keys);
        self.connections.has_queued() || self.delivery.workers.has_resumable()
    }

    /// Processes received bytes until the quantum is spent; the rest stays as the connection's
    /// backlog.
    pub(super) fn received(&mut self, key: SlotKey, bytes: &mut [u8], quantum: &mut Quantum) {
        let connection = &mut self.connections[key];
        connection.silence.received();
        connection.gate.received();
        match &mut connection.phase {
            Phase::Open(decoder) | Phase::Leaving(decoder) => {
                let decoder = mem::replace(decoder, Decoder::new(Framing::Tcp));
                self.messages(key, decoder, bytes, quantum);
            }
            Phase::Request(head) => {
                head.extend_from_slice(bytes);
                let head = mem::take(head);
                self.requests(key, head, quantum);
            }
            Phase::ProxyHeader(head) => {
                head.extend_from_slice(bytes);
                let head = mem::take(head);
                self.proxy_header(key, head);
            }
            // It is not read; what was read before is decoded once the handshake is accepted.
            Phase::Undecided(handshake) => handshake.rest.extend_from_slice(bytes),
            Phase::Closing { .. } | Phase::Over => {}
        }
    }

    /// Decodes messages until the quantum is spent or the worker's window is full.
    fn messages(
        &mut self,
        key: SlotKey,
        mut decoder: Decoder,
        bytes: &mut [u8],
        quantum: &mut Quantum,
    ) {
        let (mut closed, mut stopped) = (None, false);
        let (limit, texts) = (self.message_limit(key), self.settings.compat_behavior.texts);
        let is_deflated = self.connections[key].deflate.is_some();
        // Moved out of `self`, as the decoder.
        let mut inflater = is_deflated.then(|| mem::take(&mut self.compression.inflater));
        // In a drain, everything that was sent before the close frame is taken.
        let is_open = matches!(self.connections[key].phase, Phase::Open(_));
        let charged_at = (is_open && self.rates.is_some()).then(clock::now);
        let fed = decoder.feed_deflated(bytes, limit, texts, inflater.as_mut(), |received| {
            match received {
                Received::Text(body) | Received::Binary(body) if is_deflated => {
                    quantum.decoded(body.len());
                }
                _ => {}
            }
            if let Some(now) = charged_at
                && !matches!(received, Received::Close(..))
                && !self.charge_message(key, now)
            {
                closed = Some(CloseCause::RateLimit);
                return false;
            }
            match received {
                Received::Text(text) => self.message(key, MessageKind::Text, text),
                Received::Binary(bytes) => self.message(key, MessageKind::Binary, bytes),
                Received::Ping(payload) => {
                    self.push(key, &websocket::pong_frame(payload), Audience::Few);
                }
                Received::Pong(payload) => {
                    let took = self.ping_clock.round_trip(payload, clock::now());
                    if let Some(took) = took {
                        self.tally.round_trips.record(took);
                    }
                }
                Received::Close(code, text) => {
                    closed = Some(CloseCause::ByClient(ClientFrame { code, text: text.into() }));
                }
            }
            let connection = &mut self.connections[key];
            let continues = quantum.item() && !connection.gate.holds_messages();
            stopped = !continues;
            continues && connection.phase.decoder().is_some()
        });
        let inflated = inflater.map_or(0, |inflater| self.return_inflater(inflater));
        let connection = &mut self.connections[key];
        connection.backlog = stopped && 0 < decoder.buffered();
        if let Some(place) = connection.phase.decoder() {
            *place = decoder;
        }
        if let Err(violation) = fed {
            closed = Some(violation.into());
        }
        if let Some(closed) = closed {
            self.close(key, closed);
        }
        if inflated != 0 {
            // Its worker gets these, so that compression does not evade the limit.
            self.charge_bytes(key, inflated);
        }
    }

    /// Takes the decompressor back. Returns by how many bytes the messages were longer than their
    /// payloads.
    fn return_inflater(&mut self, mut inflater: Inflater) -> usize {
        let Inflated { wire, message } = inflater.take_counts();
        self.tally.deflated_in_wire += wire;
        self.tally.deflated_in += message;
        inflater.release();
        self.compression.inflater = inflater;
        usize::try_from(message.saturating_sub(wire)).unwrap_or(usize::MAX)
    }

    /// Maximum size of a message of a client now.
    fn message_limit(&self, key: SlotKey) -> usize {
        match self.settings.unauthenticated_message_size {
            Some(limit) if !self.has_uid(key) => limit,
            _ => self.settings.max_message_size,
        }
    }

    fn message(&mut self, key: SlotKey, kind: MessageKind, body: &[u8]) {
        let connection = &mut self.connections[key];
        connection.silence.received_message();
        connection.gate.message_completed();
        self.tally.messages_in += 1;
        if !self.tails.is_empty() {
            self.tail(key, Direction::In, kind, body);
        }
        self.emit(key, Event::Message(Message { kind, ..Message::default() }), body);
    }
}

#[cfg(test)]
mod tests;
