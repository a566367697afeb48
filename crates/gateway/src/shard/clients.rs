//! The lifecycle of a connection, from accept to close.

use std::{
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use framing::{Decoder, Framed, Framing, Received, shared_frames::SMALL, websocket};
use protocol::{CloseReason, Event, Message, MessageKind};
use runtime::clock;

use super::{
    Shard,
    connection::{Connection, Hold, Page, Pause, Phase, Read, SlotKey},
    fan_out::Audience,
    load_shedding,
    quantum::Quantum,
};
use crate::{
    closed::{CloseAction, CloseCause, GOING_AWAY},
    settings::{NoWorker, SlowClient},
};

/// Connections resumed from the fair queue per pass, and from the fair queue of each worker.
const READS_PER_PASS: usize = 1;

/// How long a closing connection may take to read its queued output.
pub(super) const CLOSING: Duration = Duration::from_secs(5);

impl Shard {
    /// Processes a connection; ready once it is closed.
    pub(super) fn poll(&mut self, key: SlotKey, cx: &mut Context<'_>) -> Poll<()> {
        self.connections[key as usize].watch(cx.waker());
        let mut quantum = Quantum::new();
        loop {
            let connection = &mut self.connections[key as usize];
            if matches!(connection.phase, Phase::Over) {
                let connection = self.connections.remove(key as usize);
                self.budget.change(connection.accounted, 0);
                self.deadlines.clear(key, connection.deadline);
                self.gateway.metrics.open.dec();
                self.free_place();
                if self.drain.is_some() {
                    self.schedule_flush();
                }
                return Poll::Ready(());
            }
            if connection.is_blocked()
                && let Poll::Ready(ready) = connection.poll_unblock(cx)
            {
                match ready {
                    Ok(()) => {
                        // The peer's kernel has accepted the bytes that filled the socket.
                        self.connections[key as usize].silence.received();
                        self.flush(key);
                    }
                    Err(error) => self.close(key, CloseCause::Lost(error)),
                }
                continue;
            }
            if connection.paused.is_some() || connection.is_queued || self.defers_large_read(key) {
                return Poll::Pending;
            }
            if self.is_unregistered(key) && !self.try_register(key) {
                return Poll::Pending;
            }
            // A connection that exceeds its read quantum joins the fair queue. A large message that
            // has been started is completed first, or all clients could be in the middle of one at
            // once.
            let connection = &mut self.connections[key as usize];
            let in_large_message = connection.in_large_message();
            if in_large_message && connection.may_read && quantum.is_spent_on_large() {
                self.enqueue_first(key);
                return Poll::Pending;
            }
            let is_spent = if in_large_message { !connection.may_read } else { quantum.is_spent() };
            if is_spent {
                self.enqueue(key);
                return Poll::Pending;
            }
            if connection.backlog {
                self.received(key, &mut [], &mut quantum);
                self.grew(key);
                continue;
            }
            let most = self.most_to_read(key);
            let connection = &mut self.connections[key as usize];
            // Moved out of `self`, since processing the bytes needs the whole shard.
            let mut scratch = std::mem::take(&mut self.scratch);
            let read = connection.poll_read(cx, &mut scratch[..most]);
            if let Poll::Ready(Read::Bytes(length)) = read {
                quantum.read(length);
                self.received(key, &mut scratch[..length], &mut quantum);
                self.grew(key);
            }
            self.scratch = scratch;
            self.connections[key as usize].may_read &= read.is_ready();
            if read.is_pending() && self.connections[key as usize].is_tls() {
                // TLS may hold input that contains no complete record yet.
                self.account(key);
            }
            match ready!(read) {
                Read::Bytes(_) => {}
                Read::End => {
                    // The client may have closed only its sending half, and still read the
                    // response.
                    self.flush(key);
                    self.connections[key as usize].send_close_notify();
                    self.abort(key, CloseCause::Ended);
                }
                Read::Broken(error) => self.abort(key, CloseCause::Lost(error)),
            }
        }
    }

    /// Pauses reads of a connection that may have more input, until the connections before it in
    /// the fair queue have been read.
    fn enqueue(&mut self, key: SlotKey) {
        self.connections[key as usize].may_read = false;
        if !self.connections[key as usize].in_large_message() || !self.enqueue_for_worker(key) {
            self.connections[key as usize].is_queued = true;
            self.run_queue.push_back(key);
        }
        self.schedule_flush();
    }

    /// Pauses reads of a connection in the middle of a large message until other sockets have been
    /// polled.
    fn enqueue_first(&mut self, key: SlotKey) {
        self.connections[key as usize].is_queued = true;
        self.run_queue.push_front(key);
        self.schedule_flush();
    }

    /// Resumes a few connections of the fair queues. Returns whether more are queued.
    pub(super) fn resume_fair_queue(&mut self) -> bool {
        let most = self.run_queue.len().min(READS_PER_PASS);
        for key in self.run_queue.drain(..most) {
            if let Some(connection) = self.connections.get_mut(key as usize) {
                (connection.is_queued, connection.may_read) = (false, true);
                connection.wake();
            }
        }
        let keys = self.workers.resume_fair_queue(READS_PER_PASS);
        for key in &keys {
            if let Some(connection) = self.connections.get_mut(*key as usize) {
                connection.may_read = true;
            }
        }
        self.resume(keys);
        !self.run_queue.is_empty() || self.workers.has_resumable()
    }

    /// Processes received bytes until the quantum is spent; the rest stays as the connection's
    /// backlog.
    pub(super) fn received(&mut self, key: SlotKey, bytes: &mut [u8], quantum: &mut Quantum) {
        let connection = &mut self.connections[key as usize];
        connection.silence.received();
        match &mut connection.phase {
            Phase::Open(decoder) | Phase::Leaving(decoder) => {
                let decoder = std::mem::replace(decoder, Decoder::new(Framing::Tcp));
                self.messages(key, decoder, bytes, quantum);
            }
            Phase::Request(head) => {
                head.extend_from_slice(bytes);
                let head = std::mem::take(head);
                self.requests(key, head, quantum);
            }
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
        let (limit, texts) = (self.settings.max_message_size, self.settings.compat_behavior.texts);
        let fed = decoder.feed(bytes, limit, texts, |received| {
            match received {
                Received::Text(text) => self.message(key, MessageKind::Text, text),
                Received::Binary(bytes) => self.message(key, MessageKind::Binary, bytes),
                Received::Ping(payload) => {
                    self.push(key, &websocket::pong_frame(payload), Audience::Few);
                }
                Received::Pong => {}
                Received::Close(code) => closed = Some(CloseCause::ByClient(code)),
            }
            let connection = &mut self.connections[key as usize];
            let continues = quantum.item() && connection.paused != Some(Pause::WindowFull);
            stopped = !continues;
            continues && connection.phase.decoder().is_some()
        });
        let connection = &mut self.connections[key as usize];
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
    }

    fn message(&mut self, key: SlotKey, kind: MessageKind, body: &[u8]) {
        self.connections[key as usize].silence.received_message();
        self.tally.messages_in += 1;
        self.emit(key, Event::Message(Message { kind, body: Bytes::new() }), body);
    }

    /// Queues a message for a client, without waiting.
    pub(super) fn send(&mut self, key: SlotKey, framed: &mut Framed, audience: Audience) {
        let framing = self.connections[key as usize].listener.framing;
        self.push(key, framed.form(framing, &self.budget.frames), audience);
    }

    /// Queues a framed message. The policy for clients that do not read is applied here only.
    fn push(&mut self, key: SlotKey, frame: &Bytes, audience: Audience) {
        let connection = &self.connections[key as usize];
        if matches!(connection.phase, Phase::Leaving(_) | Phase::Closing { .. } | Phase::Over) {
            return;
        }
        if !self.is_behind(key) {
            self.tally.messages_out += 1;
            self.queue_for(audience, key, frame);
            return;
        }
        self.tally.dropped += 1;
        match self.settings.slow_client {
            SlowClient::Drop => {}
            SlowClient::Disconnect => self.close(key, CloseCause::Slow),
        }
    }

    /// Whether the write queue of a connection is at its limit. Much may have been queued within
    /// one pass: only output that the socket does not accept counts.
    pub(super) fn is_behind(&mut self, key: SlotKey) -> bool {
        let limit = self.settings.send_buffer;
        if limit <= self.connections[key as usize].queued() {
            self.flush(key);
        }
        limit <= self.connections[key as usize].queued()
    }

    pub(super) fn queue(&mut self, key: SlotKey, bytes: &Bytes) {
        self.queue_for(Audience::Few, key, bytes);
    }

    pub(super) fn queue_for(&mut self, audience: Audience, key: SlotKey, bytes: &Bytes) {
        let connection = &mut self.connections[key as usize];
        connection.queue(bytes);
        let counted = bytes.len().min(SMALL);
        let is_later = audience == Audience::Many && !connection.dirty;
        if is_later {
            self.fan_out.count(counted);
            if !std::mem::replace(&mut connection.in_fan_out, true) {
                self.fan_out.add(key);
                self.schedule_flush();
            }
        } else {
            self.unwritten += counted;
        }
        if self.budget.unwritten() < self.unwritten + self.fan_out.bytes() {
            // Within one message for very many clients, output that sockets accept is written
            // immediately.
            self.flush(key);
        } else if !is_later {
            self.mark_dirty(key);
        }
    }

    /// Schedules a flush of the connection at the end of the pass.
    pub(super) fn mark_dirty(&mut self, key: SlotKey) {
        let connection = &mut self.connections[key as usize];
        if !connection.dirty {
            connection.dirty = true;
            self.dirty.push(key);
            self.schedule_flush();
        }
    }

    pub(super) fn flush(&mut self, key: SlotKey) {
        // The list may name a closed connection, or a new one in the same slot.
        let Some(connection) = self.connections.get_mut(key as usize) else {
            return;
        };
        connection.dirty = false;
        if let Err(error) = connection.flush() {
            self.abort(key, CloseCause::Lost(error));
        }
        self.account(key);
    }

    /// Closes a connection without a close frame and discards its queue: the peer cannot receive
    /// them.
    pub(super) fn abort(&mut self, key: SlotKey, closed: CloseCause) {
        self.close(key, closed);
        let connection = &mut self.connections[key as usize];
        connection.phase = Phase::Over;
        connection.discard_queue();
        connection.wake();
    }

    /// Closes a connection for graceful shutdown. A WebSocket client gets a going-away close frame
    /// (1001); messages that it sent before receiving that frame are still delivered.
    pub(super) fn close_going_away(&mut self, key: SlotKey, retry_after: Duration) {
        let connection = &mut self.connections[key as usize];
        let sends_close_frame = self.settings.compat_behavior.send_close_frames
            && connection.listener.framing == Framing::WebSocket;
        match &mut connection.phase {
            Phase::Open(decoder) if sends_close_frame => {
                let decoder = std::mem::replace(decoder, Decoder::new(Framing::Tcp));
                connection.phase = Phase::Leaving(decoder);
            }
            _ => return self.close(key, CloseCause::ShuttingDown { retry_after }),
        }
        self.set_close_deadline(key);
        self.queue(key, &websocket::retry_after_frame(GOING_AWAY, retry_after));
    }

    /// Sets the deadline of a closing connection.
    fn set_close_deadline(&mut self, key: SlotKey) {
        let linger = self.drain.as_ref().map_or(CLOSING, |drain| drain.linger().min(CLOSING));
        self.set_deadline(key, Some(linger));
    }

    /// Sets the deadline for a connection's current phase; `None` removes it.
    pub(super) fn set_deadline(&mut self, key: SlotKey, time: Option<Duration>) {
        let deadline = time.map(|time| clock::now() + time);
        let before = std::mem::replace(&mut self.connections[key as usize].deadline, deadline);
        self.deadlines.change(key, before, deadline);
    }

    /// Closes a connection. The client is removed and its close event emitted immediately; queued
    /// output is written in the background.
    pub(super) fn close(&mut self, key: SlotKey, closed: CloseCause) {
        let connection = &mut self.connections[key as usize];
        let opened = match connection.phase {
            Phase::Request(_) => false,
            Phase::Open(_) | Phase::Leaving(_) => true,
            Phase::Closing { .. } | Phase::Over => return,
        };
        let sent_going_away = matches!(connection.phase, Phase::Leaving(_));
        self.log_close(key, &closed);
        if !opened && let Some(reason) = closed.refusal() {
            self.count_refused(key, reason);
        }
        if opened && self.drain.is_some() {
            let going_away = sent_going_away || matches!(closed, CloseCause::ShuttingDown { .. });
            self.gateway.drain_summary.ended(going_away);
        }
        let connection = &mut self.connections[key as usize];
        let action = match closed.close_action(&self.settings.compat_behavior) {
            // Without a handshake there are no frames; output queued for after it is discarded.
            CloseAction::Code(_) | CloseAction::RetryAfter { .. } if !opened => CloseAction::None,
            // A second close frame must not be sent.
            CloseAction::Code(_) | CloseAction::RetryAfter { .. }
                if sent_going_away || connection.listener.framing != Framing::WebSocket =>
            {
                CloseAction::Flush
            }
            action => action,
        };
        // A client sends nothing after its close frame.
        let linger = !matches!(closed, CloseCause::ByClient(_));
        connection.phase = Phase::Closing { finished: false, linger };
        connection.paused = None;
        connection.backlog = false;
        connection.hold = Hold::None;
        if !opened {
            self.gateway.metrics.requests.dec();
        }
        self.remove_client(
            key,
            if sent_going_away { CloseReason::Shutdown } else { closed.reason() },
        );
        self.set_close_deadline(key);
        match action {
            CloseAction::None => {
                let connection = &mut self.connections[key as usize];
                connection.phase = Phase::Over;
                connection.discard_queue();
            }
            CloseAction::Flush => {}
            CloseAction::Code(code) => self.queue(key, &websocket::close_frame(code)),
            CloseAction::RetryAfter { code, after } => {
                self.queue(key, &websocket::retry_after_frame(code, after));
            }
        }
        self.mark_dirty(key);
        self.connections[key as usize].wake();
    }

    /// Handles everything with a deadline. Called a few times a second.
    pub(super) fn tick(&mut self, now: Instant) {
        while let Some(key) = self.deadlines.passed(now) {
            self.connections[key as usize].deadline = None;
            if self.renew_for_page(key) {
                continue;
            }
            let connection = &self.connections[key as usize];
            match connection.phase {
                // There was no room for its first events; see `hold_pending_client`.
                Phase::Request(_) | Phase::Open(_)
                    if connection.paused.is_some() && connection.id.is_none() =>
                {
                    let retry_after = load_shedding::retry_after();
                    self.close(key, CloseCause::NoWorker { retry_after });
                    self.warnings.no_worker();
                }
                Phase::Request(_) if connection.paused.is_none() && self.becomes_client(key) => {
                    self.register_silent(key);
                }
                // The rest of its last page is still written, as long as the peer reads.
                Phase::Request(_) if connection.page != Page::None => {
                    self.close(key, CloseCause::Answered);
                }
                Phase::Request(_) => self.abort(key, CloseCause::HandshakeTimeout),
                // The close frame was sent, and earlier messages are not read yet because the
                // worker is busy.
                Phase::Leaving(_) if connection.paused.is_some() => self.set_close_deadline(key),
                Phase::Leaving(_) => {
                    self.gateway.drain_summary.aborted();
                    self.abort(key, CloseCause::Ended);
                }
                Phase::Closing { .. } => self.abort(key, CloseCause::Ended),
                Phase::Open(_) | Phase::Over => {}
            }
        }
        self.give_up_suspects(now);
        self.tick_budget(now);
        self.tick_standbys();
        self.report_overload();
        self.update_held_since(now);
        if let NoWorker::Wait(Some(timeout)) = self.settings.no_worker
            && !(self.unassigned.is_empty() && self.suspects.holds_nothing())
        {
            let late = |connection: &Connection| {
                connection.held_since.is_some_and(|since| since + timeout <= now)
            };
            let late = self.connections.iter().filter(|(_, connection)| late(connection));
            for key in late.map(|(key, _)| key as SlotKey).collect::<Vec<_>>() {
                let retry_after = load_shedding::retry_after();
                self.close(key, CloseCause::NoWorker { retry_after });
                self.warnings.no_worker();
            }
        }
        self.warnings.flush(now);
    }
}

#[cfg(test)]
mod tests;
