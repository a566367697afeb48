//! A connection's life, from accept to close.

use std::{
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use protocol::{CloseReason, Event, Message, MessageKind};
use service::clock;

use super::{
    Shard,
    connection::{Connection, Hold, Key, Page, Pause, Phase, Read},
    fan_out::Audience,
    quantum::Quantum,
    relief,
};
use crate::{
    closed::{Closed, GOING_AWAY, Goodbye},
    framing::{Decoder, Framed, Framing, Received, websocket},
    ledger::SMALL,
    settings::{NoWorker, SlowClient},
};

/// How many connections of those that have more to say are read in one turn of the shard, and as many of
/// each worker's that wait for it.
const TURNS: usize = 1;

/// How long a connection that ends may take to read what is still queued for it.
pub(super) const CLOSING: Duration = Duration::from_secs(5);

impl Shard {
    /// Does what there is to do for a connection, and says when it is over.
    pub(super) fn poll(&mut self, key: Key, cx: &mut Context<'_>) -> Poll<()> {
        self.connections[key as usize].watch(cx.waker());
        let mut quantum = Quantum::new();
        loop {
            let connection = &mut self.connections[key as usize];
            if matches!(connection.phase, Phase::Over) {
                let connection = self.connections.remove(key as usize);
                self.budget.change(connection.accounted, 0);
                self.deadlines.clear(key, connection.deadline);
                self.host.metrics.open.dec();
                self.leave_place();
                if self.drain.is_some() {
                    self.call();
                }
                return Poll::Ready(());
            }
            if connection.is_blocked()
                && let Poll::Ready(ready) = connection.poll_unblock(cx)
            {
                match ready {
                    Ok(()) => {
                        // Its host has taken what filled the socket.
                        self.connections[key as usize].silence.heard();
                        self.flush(key);
                    }
                    Err(error) => self.end(key, Closed::Lost(error)),
                }
                continue;
            }
            if connection.paused.is_some() || connection.is_queued || self.holds_back(key) {
                return Poll::Pending;
            }
            if self.is_unannounced(key) && !self.announce(key) {
                return Poll::Pending;
            }
            // Who has more to say than others queues up. What is begun is finished then, or all would be
            // in the midst of something large at once.
            let connection = &mut self.connections[key as usize];
            let is_amid_large = connection.is_amid_large();
            if is_amid_large && connection.has_turn && quantum.is_spent_on_large() {
                self.enqueue_first(key);
                return Poll::Pending;
            }
            if if is_amid_large { !connection.has_turn } else { quantum.is_spent() } {
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
            // Taken out while it is in use, since what is read concerns the whole shard.
            let mut scratch = std::mem::take(&mut self.scratch);
            let read = connection.poll_read(cx, &mut scratch[..most]);
            if let Poll::Ready(Read::Bytes(length)) = read {
                quantum.read(length);
                self.received(key, &mut scratch[..length], &mut quantum);
                self.grew(key);
            }
            self.scratch = scratch;
            self.connections[key as usize].has_turn &= read.is_ready();
            if read.is_pending() && self.connections[key as usize].is_tls() {
                // Of what has come there may be no message yet.
                self.account(key);
            }
            match ready!(read) {
                Read::Bytes(_) => {}
                Read::End => {
                    // It may have closed its end only, and still read what it asked for.
                    self.flush(key);
                    self.connections[key as usize].say_goodbye();
                    self.cut(key, Closed::Ended);
                }
                Read::Broken(error) => self.cut(key, Closed::Lost(error)),
            }
        }
    }

    /// Leaves a connection that may have more to say unread, until those have been heard who have said
    /// nothing yet.
    fn enqueue(&mut self, key: Key) {
        self.connections[key as usize].has_turn = false;
        if !self.connections[key as usize].is_amid_large() || !self.waits_for_worker(key) {
            self.connections[key as usize].is_queued = true;
            self.run_queue.push_back(key);
        }
        self.call();
    }

    /// Leaves a connection that is in the midst of something large unread until others were looked at.
    fn enqueue_first(&mut self, key: Key) {
        self.connections[key as usize].is_queued = true;
        self.run_queue.push_front(key);
        self.call();
    }

    /// Has a few of those read on who wait for their turn. Says whether others still do.
    pub(super) fn take_turns(&mut self) -> bool {
        let most = self.run_queue.len().min(TURNS);
        for key in self.run_queue.drain(..most) {
            if let Some(connection) = self.connections.get_mut(key as usize) {
                (connection.is_queued, connection.has_turn) = (false, true);
                connection.wake();
            }
        }
        let turns = self.workers.take_turns(TURNS);
        for key in &turns {
            if let Some(connection) = self.connections.get_mut(*key as usize) {
                connection.has_turn = true;
            }
        }
        self.resume(turns);
        !self.run_queue.is_empty() || self.workers.has_turns()
    }

    /// Processes what has come, as far as the quantum goes; the rest is the connection's backlog.
    pub(super) fn received(&mut self, key: Key, bytes: &mut [u8], quantum: &mut Quantum) {
        let connection = &mut self.connections[key as usize];
        connection.silence.heard();
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

    /// Takes the messages out of what was read, until the quantum is spent or the client's worker has
    /// more than it may have.
    fn messages(
        &mut self,
        key: Key,
        mut decoder: Decoder,
        bytes: &mut [u8],
        quantum: &mut Quantum,
    ) {
        let (mut closed, mut stopped) = (None, false);
        let (limit, texts) = (self.settings.max_message_size, self.settings.ways.texts);
        let fed = decoder.feed(bytes, limit, texts, |received| {
            match received {
                Received::Text(text) => self.message(key, MessageKind::Text, text),
                Received::Binary(bytes) => self.message(key, MessageKind::Binary, bytes),
                Received::Ping(payload) => {
                    self.push(key, &websocket::pong_frame(payload), Audience::Few);
                }
                Received::Pong => {}
                Received::Close(code) => closed = Some(Closed::ByClient(code)),
            }
            let connection = &mut self.connections[key as usize];
            let goes_on = quantum.item() && connection.paused != Some(Pause::Full);
            stopped = !goes_on;
            goes_on && connection.phase.decoder().is_some()
        });
        let connection = &mut self.connections[key as usize];
        connection.backlog = stopped && 0 < decoder.len();
        if let Some(place) = connection.phase.decoder() {
            *place = decoder;
        }
        if let Err(violation) = fed {
            closed = Some(violation.into());
        }
        if let Some(closed) = closed {
            self.end(key, closed);
        }
    }

    fn message(&mut self, key: Key, kind: MessageKind, body: &[u8]) {
        self.connections[key as usize].silence.spoke();
        self.tally.messages_in += 1;
        self.emit(key, Event::Message(Message { kind, body: Bytes::new() }), body);
    }

    /// Queues a message for a client, or for one of many, never waiting.
    pub(super) fn send(&mut self, key: Key, framed: &mut Framed, audience: Audience) {
        let framing = self.connections[key as usize].door.framing;
        self.push(key, framed.form(framing, &self.budget.frames), audience);
    }

    /// Queues a framed message: the one place that says what becomes of a client that does not read.
    fn push(&mut self, key: Key, frame: &Bytes, audience: Audience) {
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
            SlowClient::Disconnect => self.end(key, Closed::Slow),
        }
    }

    /// Whether so much is queued for a connection that nothing should be added. Much may have been
    /// queued in one turn: only what the socket does not take counts.
    pub(super) fn is_behind(&mut self, key: Key) -> bool {
        let limit = self.settings.send_buffer;
        if limit <= self.connections[key as usize].queued() {
            self.flush(key);
        }
        limit <= self.connections[key as usize].queued()
    }

    pub(super) fn queue(&mut self, key: Key, bytes: &Bytes) {
        self.queue_for(Audience::Few, key, bytes);
    }

    pub(super) fn queue_for(&mut self, audience: Audience, key: Key, bytes: &Bytes) {
        let connection = &mut self.connections[key as usize];
        connection.queue(bytes);
        let counted = bytes.len().min(SMALL);
        let is_later = audience == Audience::Many && !connection.dirty;
        if is_later {
            self.fan_out.count(counted);
            if !std::mem::replace(&mut connection.in_fan_out, true) {
                self.fan_out.add(key);
                self.call();
            }
        } else {
            self.unwritten += counted;
        }
        if self.budget.unwritten() < self.unwritten + self.fan_out.bytes() {
            // Of one message for very many, what their sockets take is written at once.
            self.flush(key);
        } else if !is_later {
            self.touch(key);
        }
    }

    /// Has the connection written to at the end of the turn.
    pub(super) fn touch(&mut self, key: Key) {
        let connection = &mut self.connections[key as usize];
        if !connection.dirty {
            connection.dirty = true;
            self.dirty.push(key);
            self.call();
        }
    }

    pub(super) fn flush(&mut self, key: Key) {
        // The list may name a connection that is over by now, or its successor in the same place.
        let Some(connection) = self.connections.get_mut(key as usize) else {
            return;
        };
        connection.dirty = false;
        if let Err(error) = connection.flush() {
            self.cut(key, Closed::Lost(error));
        }
        self.account(key);
    }

    /// Ends a connection without another word: nobody is left to hear it.
    pub(super) fn cut(&mut self, key: Key, closed: Closed) {
        self.end(key, closed);
        let connection = &mut self.connections[key as usize];
        connection.phase = Phase::Over;
        connection.forget_queue();
        connection.wake();
    }

    /// Ends a connection because the gateway goes down. A client over WebSocket says goodbye too, and
    /// what it sent before it heard of this is on its way: that still counts.
    pub(super) fn dismiss(&mut self, key: Key, retry_after: Duration) {
        let connection = &mut self.connections[key as usize];
        let is_told = self.settings.ways.say_why && connection.door.framing == Framing::WebSocket;
        match &mut connection.phase {
            Phase::Open(decoder) if is_told => {
                let decoder = std::mem::replace(decoder, Decoder::new(Framing::Tcp));
                connection.phase = Phase::Leaving(decoder);
            }
            _ => return self.end(key, Closed::ShuttingDown { retry_after }),
        }
        self.limit(key);
        self.queue(key, &websocket::come_back_frame(GOING_AWAY, retry_after));
    }

    /// Sets the time within which a connection that ends must be over.
    fn limit(&mut self, key: Key) {
        let linger = self.drain.as_ref().map_or(CLOSING, |drain| drain.linger().min(CLOSING));
        self.set_deadline(key, Some(linger));
    }

    /// Gives a connection so much time from now for its phase, or any.
    pub(super) fn set_deadline(&mut self, key: Key, time: Option<Duration>) {
        let deadline = time.map(|time| clock::now() + time);
        let before = std::mem::replace(&mut self.connections[key as usize].deadline, deadline);
        self.deadlines.change(key, before, deadline);
    }

    /// Ends a connection. It is nobody's client from here on, and a worker hears of that at once;
    /// what it is still owed is written in its own time, and nobody waits for it.
    pub(super) fn end(&mut self, key: Key, closed: Closed) {
        let connection = &mut self.connections[key as usize];
        let opened = match connection.phase {
            Phase::Request(_) => false,
            Phase::Open(_) | Phase::Leaving(_) => true,
            Phase::Closing { .. } | Phase::Over => return,
        };
        let told = matches!(connection.phase, Phase::Leaving(_));
        self.log_end(key, &closed);
        if !opened && let Some(reason) = closed.refusal() {
            self.count_refused(key, reason);
        }
        if opened && self.drain.is_some() {
            let told = told || matches!(closed, Closed::ShuttingDown { .. });
            self.host.farewell.ended(told);
        }
        let connection = &mut self.connections[key as usize];
        let goodbye = match closed.goodbye(&self.settings.ways) {
            // Without a handshake there are no frames; what was held back for it is void.
            Goodbye::Code(_) | Goodbye::ComeBack { .. } if !opened => Goodbye::None,
            // There may be one close frame only.
            Goodbye::Code(_) | Goodbye::ComeBack { .. }
                if told || connection.door.framing != Framing::WebSocket =>
            {
                Goodbye::Flush
            }
            goodbye => goodbye,
        };
        // A client that said goodbye sends nothing more.
        let linger = !matches!(closed, Closed::ByClient(_));
        connection.phase = Phase::Closing { finished: false, linger };
        connection.paused = None;
        connection.backlog = false;
        connection.hold = Hold::No;
        if !opened {
            self.host.metrics.requests.dec();
        }
        self.depart(key, if told { CloseReason::Shutdown } else { closed.reason() });
        self.limit(key);
        match goodbye {
            Goodbye::None => {
                let connection = &mut self.connections[key as usize];
                connection.phase = Phase::Over;
                connection.forget_queue();
            }
            Goodbye::Flush => {}
            Goodbye::Code(code) => self.queue(key, &websocket::close_frame(code)),
            Goodbye::ComeBack { code, after } => {
                self.queue(key, &websocket::come_back_frame(code, after));
            }
        }
        self.touch(key);
        self.connections[key as usize].wake();
    }

    /// Looks after everything that has its time. Called a few times a second.
    pub(super) fn tick(&mut self, now: Instant) {
        while let Some(key) = self.deadlines.passed(now) {
            self.connections[key as usize].deadline = None;
            if self.renew_for_page(key) {
                continue;
            }
            let connection = &self.connections[key as usize];
            match connection.phase {
                Phase::Request(_) if connection.paused.is_none() && self.is_no_client_yet(key) => {
                    self.introduce_silent(key);
                }
                // The last of its pages is still written, for as long as it is read.
                Phase::Request(_) if connection.page != Page::None => {
                    self.end(key, Closed::Answered);
                }
                Phase::Request(_) => self.cut(key, Closed::HandshakeTimeout),
                // It has been told, and what it sent before that is not read: its worker is busy.
                Phase::Leaving(_) if connection.paused.is_some() => self.limit(key),
                Phase::Leaving(_) => {
                    self.host.farewell.cut();
                    self.cut(key, Closed::Ended);
                }
                Phase::Closing { .. } => self.cut(key, Closed::Ended),
                Phase::Open(_) | Phase::Over => {}
            }
        }
        self.give_up_suspects(now);
        self.tick_budget(now);
        self.tick_standbys();
        self.tell_crowded();
        self.note_held(now);
        if let NoWorker::Wait(Some(timeout)) = self.settings.no_worker
            && !(self.limbo.is_empty() && self.suspects.holds_nothing())
        {
            let late = |connection: &Connection| {
                connection.held_since.is_some_and(|since| since + timeout <= now)
            };
            let late = self.connections.iter().filter(|(_, connection)| late(connection));
            for key in late.map(|(key, _)| key as Key).collect::<Vec<_>>() {
                let retry_after = relief::retry_after();
                self.end(key, Closed::NoWorker { retry_after });
                self.warnings.no_worker();
            }
        }
        self.warnings.flush(now);
    }
}

#[cfg(test)]
mod tests;
