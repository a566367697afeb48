//! The end of connections: closed one by one, or all of them in a drain.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use framing::{Decoder, Framing, websocket};
use protocol::{CloseInfo, CloseKind, CloseReason, inspect::LifecycleKind};
use runtime::{clock, random};

use super::drain::Drain;
use crate::{
    closed::{CloseAction, CloseCause, GOING_AWAY},
    shard::{
        Shard,
        connections::{Connection, Phase},
        slot::SlotKey,
    },
};

impl Shard {
    /// Closes a connection without a close frame and discards its queue: the peer cannot receive
    /// them.
    pub(in crate::shard) fn abort(&mut self, key: SlotKey, closed: CloseCause) {
        self.close(key, closed);
        let connection = &mut self.connections[key];
        connection.phase = Phase::Over;
        connection.discard_queue();
        connection.wake();
    }

    /// Closes a connection for graceful shutdown. A WebSocket client gets a going-away close frame
    /// (1001, or its protocol's code); messages that it sent before receiving that frame are still delivered.
    pub(super) fn close_going_away(&mut self, key: SlotKey, retry_after: Duration) {
        let code = self.going_away_code(key);
        let connection = &mut self.connections[key];
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
        self.lift_rate_limit(key);
        self.queue(key, &websocket::retry_after_frame(code, retry_after));
    }

    /// The code with which a client is closed when the gateway shuts down.
    fn going_away_code(&self, key: SlotKey) -> u16 {
        let codes = self.close_codes.get(self.connections[key].close_codes);
        codes.and_then(|codes| codes.of(CloseKind::Shutdown)).unwrap_or(GOING_AWAY)
    }

    /// For how long a client has been connected, in milliseconds.
    fn connected_ms(&self, key: SlotKey) -> u64 {
        u64::from(self.age().saturating_sub(self.connections[key].since)) * 100
    }

    /// Closes a client because no worker takes its events.
    pub(in crate::shard) fn close_without_worker(&mut self, key: SlotKey, retry_after: Duration) {
        self.close(key, CloseCause::NoWorker { retry_after });
        self.warnings.no_worker();
    }

    /// Sets the deadline of a closing connection.
    pub(super) fn set_close_deadline(&mut self, key: SlotKey) {
        let most = self.settings.close_timeout;
        let linger = self.drain.as_ref().map_or(most, |drain| drain.linger().min(most));
        self.connections.set_deadline(key, Some(linger));
    }

    /// Closes a connection. The client is removed and its close event emitted immediately; queued
    /// output is written in the background.
    pub(in crate::shard) fn close(&mut self, key: SlotKey, closed: CloseCause) {
        let connection = &mut self.connections[key];
        let opened = match connection.phase {
            Phase::ProxyHeader(_) | Phase::Request(_) | Phase::Undecided(_) => false,
            Phase::Open(_) | Phase::Leaving(_) => true,
            Phase::Closing { .. } | Phase::Over => return,
        };
        let sent_going_away = matches!(connection.phase, Phase::Leaving(_));
        self.log_close(key, &closed);
        let connection = &self.connections[key];
        let (client, end) = (connection.id, self.closing(connection, &closed));
        let response = self.response_before_open(key, &closed);
        if !opened && let Some(reason) = closed.refusal() {
            let connection = &self.connections[key];
            let (remote, listener) = (connection.remote, connection.listener.addr);
            match closed.is_auth() {
                // A decision of the application, not a fault of its clients.
                true => {
                    self.gateway.metrics.count_refused(reason);
                    self.history.refused(client, (remote, listener), reason);
                }
                false => self.count_refused(reason, remote, listener),
            }
        }
        if opened && self.drain.is_some() {
            let going_away = sent_going_away || matches!(closed, CloseCause::ShuttingDown { .. });
            self.gateway.drain_summary.ended(going_away);
        }
        let connection = &mut self.connections[key];
        let codes = self.close_codes.get(connection.close_codes);
        let action = match closed.close_action(&self.settings.compat_behavior, codes) {
            _ if response.is_some() => CloseAction::Flush,
            // Without a handshake there are no frames; output queued for after it is discarded.
            action if action.sends_frame() && !opened => CloseAction::None,
            // A second close frame must not be sent, nor one where the framing has none.
            action
                if action.sends_frame()
                    && (sent_going_away || connection.listener.framing != Framing::WebSocket) =>
            {
                CloseAction::Flush
            }
            action => action,
        };
        // A client sends nothing after its close frame.
        let linger = !matches!(closed, CloseCause::ByClient(_));
        connection.phase = Phase::Closing { finished: false, linger };
        connection.backlog = false;
        connection.gate.resume_for_closing();
        if !opened {
            self.gateway.metrics.requests.dec();
        }
        let reason = if sent_going_away { CloseReason::Shutdown } else { closed.reason() };
        let info = CloseInfo::new(reason, self.connected_ms(key));
        let info = match (&closed, &action) {
            _ if sent_going_away => info.with_frame(Some(self.going_away_code(key)), ""),
            (CloseCause::ByClient(frame), _) => info.with_frame(frame.code, &frame.text),
            (_, CloseAction::Code(code)) => info.with_frame(*code, ""),
            (_, CloseAction::Frame(frame)) => info.with_frame(Some(frame.code()), frame.reason()),
            (_, CloseAction::RetryAfter { code, .. }) => info.with_frame(Some(*code), ""),
            (_, CloseAction::None | CloseAction::Flush) => info,
        };
        let code = info.code;
        self.remove_client(key, info);
        self.record_closed(client, end, code);
        self.give_up_place(key);
        self.set_close_deadline(key);
        if let Some(response) = &response {
            self.queue(key, response);
        }
        match action {
            CloseAction::None => {
                let connection = &mut self.connections[key];
                connection.phase = Phase::Over;
                connection.discard_queue();
            }
            CloseAction::Flush => {}
            CloseAction::Code(code) => self.queue(key, &websocket::close_frame(code)),
            CloseAction::Frame(frame) => {
                self.queue(key, &websocket::close_frame_with(frame.code(), frame.reason()));
            }
            CloseAction::RetryAfter { code, after } => {
                self.queue(key, &websocket::retry_after_frame(code, after));
            }
        }
        self.connections.mark_dirty(key, &mut self.schedule);
        self.connections[key].wake();
    }

    /// The response to the handshake of a connection that closes before it was accepted, if it gets
    /// one. Messages that were held back for the handshake are discarded then.
    fn response_before_open(&mut self, key: SlotKey, closed: &CloseCause) -> Option<Bytes> {
        let connection = &mut self.connections[key];
        let is_undecided = matches!(connection.phase, Phase::Undecided(_));
        let response = closed.handshake_response(is_undecided);
        if is_undecided {
            let _ = connection.take_undecided();
            self.gateway.metrics.undecided.dec();
            if matches!(closed, CloseCause::ByWorker(_)) {
                self.gateway.metrics.count_refused("forbidden");
            }
        } else if response.is_some() && connection.id.is_some() {
            connection.discard_queue();
        }
        response
    }

    /// Logs why a connection closes and, for a client, how long it was connected.
    fn log_close(&self, key: SlotKey, reason: &CloseCause) {
        let connection = &self.connections[key];
        let remote = connection.remote;
        match connection.id {
            Some(id) => tracing::debug!(
                client = %self.client_id(id),
                %remote,
                %reason,
                seconds = f64::from(self.age().saturating_sub(connection.since)) / 10.0,
                "client closed"
            ),
            None => tracing::debug!(%remote, %reason, "connection closed"),
        }
    }

    /// Counts a refused handshake, and logs at most one a second over all shards; those over a limit
    /// of their address apart from the others.
    pub(super) fn count_refused(
        &mut self,
        reason: &'static str,
        remote: SocketAddr,
        listener: SocketAddr,
    ) {
        self.gateway.metrics.count_refused(reason);
        self.history.refused(None, (remote, listener), reason);
        // The lock is released before the line is written.
        let admitted = self.gateway.admit_refusal_warning(reason, clock::now());
        if let Some(suppressed) = admitted {
            tracing::warn!(%remote, %listener, reason, suppressed, "handshake refused");
        }
    }

    /// Starts to close every connection; see [`close_due`](Self::close_due). Nothing is accepted
    /// any more when this is called.
    pub(in crate::shard) fn drain(&mut self, grace: Duration) {
        let (open, pending): (Vec<_>, Vec<_>) = self
            .connections
            .iter()
            .partition(|(_, connection)| matches!(connection.phase, Phase::Open(_)));
        let keys = |connections: Vec<(SlotKey, &Connection)>| {
            connections.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
        };
        let (open, pending) = (keys(open), keys(pending));
        if self.index == 0 {
            let clients = self.gateway.metrics.clients.get().max(0).unsigned_abs();
            self.history.record(None, || LifecycleKind::Draining { clients });
        }
        let now = clock::now();
        let shards = self.gateway.shards.len();
        self.drain = Some(Drain::new(open, shards, grace, now, &mut random::rng()));
        for key in pending {
            // Without a completed handshake, no close frame can be sent.
            self.close(key, CloseCause::ShuttingDown { retry_after: Duration::ZERO });
        }
        self.close_due(now);
    }

    /// Closes the clients that are due, during graceful shutdown.
    pub(in crate::shard) fn close_due(&mut self, now: Instant) {
        let rng = &mut random::rng();
        let Some(drain) = &mut self.drain else {
            return;
        };
        let due = drain.due(now).into_iter();
        let due = due.map(|key| (key, drain.retry_after(rng))).collect::<Vec<_>>();
        for (key, retry_after) in due {
            // The client may have disconnected. Its slot is not reused, since nothing is accepted
            // now.
            if self.connections.get(key).is_some() {
                self.close_going_away(key, retry_after);
            }
        }
    }
}
