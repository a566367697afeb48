//! Answers to valid handshakes: accepted with a grant, refused, or awaited from a worker.

use framing::{
    Decoder, Framing,
    websocket::{PerMessageDeflate, Upgrade},
};
use protocol::{ConnectionId, Event, Grant, Handshake, InvalidAnswer, Refusal};
use runtime::clock;

use crate::{
    closed::CloseCause,
    settings::HandshakeAuth,
    shard::{
        Shard,
        connections::{Page, Phase},
        pressure,
        slot::SlotKey,
    },
    thread_messages::{LinkId, Ordinal},
};

impl Shard {
    /// Accepts the handshake of a connection in [`Phase::Request`]: frames follow. With a grant, the
    /// client has its uid, groups and session before its worker gets an event of the handshake, and
    /// before any later command is applied.
    ///
    /// A grant that selects a subprotocol which the client does not offer is answered with 500.
    pub(super) fn accept_handshake(
        &mut self,
        key: SlotKey,
        upgrade: Upgrade,
        handshake: Handshake,
        grant: Option<&Grant>,
    ) {
        let deflate = upgrade.deflate();
        let answer = match grant {
            None => Ok(upgrade.response()),
            Some(grant) => upgrade.response_with(grant),
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return self.refuse_grant(key, &error),
        };
        let is_new = self.connections[key].id.is_none();
        if is_new {
            self.create_client(key);
        }
        if let (Some(id), Some(grant)) = (self.connections[key].id, grant) {
            if self.settings.uid_limit.is_some() {
                self.gateway.advance_clock(clock::unix_nanos());
            }
            let first = self.gateway.ordinal_of_grant(grant);
            self.apply_grant(id, grant, first);
            // A worker that has the client already gets its session with the next event.
            self.connections[key].context_sent &= grant.session().is_none();
        }
        if is_new {
            self.emit(key, Event::Connect, &[]);
        }
        self.emit(key, Event::WebSocketConnect(handshake), &[]);
        let connection = &mut self.connections[key];
        if !matches!(connection.phase, Phase::Request(_)) {
            // Closed, because no worker could take the event.
            return;
        }
        // A queue holds messages for the client, or responses to requests before this one.
        match is_new {
            true => connection.queue(&answer),
            false => connection.queue_first(answer),
        }
        self.open(key, Decoder::new(Framing::WebSocket), deflate);
    }

    /// Has the client's worker decide about a handshake. Until then the client costs its request,
    /// and nothing that it sends is read. Not all of `--max-handshakes` may wait like that, so that
    /// a flood of them does not pause accepting.
    pub(super) fn ask_worker(
        &mut self,
        key: SlotKey,
        upgrade: Upgrade,
        handshake: Handshake,
        rest: &[u8],
    ) {
        if self.settings.max_undecided <= self.gateway.metrics.undecided() {
            let retry_after = pressure::retry_after();
            return self.close(key, CloseCause::TooManyUndecided { retry_after });
        }
        self.gateway.metrics.undecided.inc();
        self.connections[key].await_answer(upgrade, rest);
        self.connections.set_deadline(key, Some(self.settings.handshake_auth_timeout));
        if self.connections[key].id.is_none() {
            self.register_client(key);
        }
        self.emit(key, Event::WebSocketRequest(handshake), &[]);
    }

    /// Applies the grant of a worker: the client gets its response, and behind it the messages that
    /// were held back. If the handshake does not await an answer, it only corrects the worker's
    /// copy of the session, which has that of the grant.
    pub(in crate::shard) fn accept_undecided(
        &mut self,
        from: LinkId,
        ordinal: Ordinal,
        client: ConnectionId,
        edit: u64,
        grant: &Grant,
    ) {
        let Some(key) = self.directory.get(client).map(|client| client.handle) else {
            return;
        };
        let Phase::Undecided(handshake) = &self.connections[key].phase else {
            if grant.session().is_some() {
                self.session_changed(from, Some(key), edit);
                self.connections[key].context_sent = false;
            }
            return;
        };
        let answer = match handshake.upgrade.response_with(grant) {
            Ok(answer) => answer,
            Err(error) => return self.refuse_grant(key, &error),
        };
        self.apply_grant(client, grant, ordinal);
        if grant.session().is_some() {
            self.session_changed(from, Some(key), edit);
        }
        let connection = &mut self.connections[key];
        let Some((handshake, messages)) = connection.take_undecided() else {
            return;
        };
        self.gateway.metrics.undecided.dec();
        connection.queue(&answer);
        connection.queue_held(messages);
        // The bytes behind the request are decoded now.
        connection.backlog = !handshake.rest.is_empty();
        let mut decoder = Decoder::new(Framing::WebSocket);
        decoder.hold(&handshake.rest);
        self.open(key, decoder, handshake.upgrade.deflate());
        self.account(key);
        self.connections[key].wake();
    }

    /// A client was bound to a uid: accepts its handshake, if that awaits the answer of a PHP
    /// worker, whose protocol has no command for it. Other commands do not accept: an application
    /// may send them in `onConnect`, before it has seen the request.
    pub(in crate::shard) fn accept_for_php(
        &mut self,
        from: LinkId,
        ordinal: Ordinal,
        client: ConnectionId,
    ) {
        if self.settings.handshake_auth == HandshakeAuth::Worker
            && let Some(key) = self.directory.get(client).map(|client| client.handle)
            && self.delivery.has_php_worker(&self.connections[key])
        {
            self.accept_undecided(from, ordinal, client, 0, &Grant::new());
        }
    }

    /// Refuses the handshake of a client, with the answer of a worker. Does nothing if it does not
    /// await one.
    pub(in crate::shard) fn refuse_undecided(&mut self, client: ConnectionId, refusal: Refusal) {
        let key = self.directory.get(client).map(|client| client.handle);
        if let Some(key) = key
            && matches!(self.connections[key].phase, Phase::Undecided(_))
        {
            self.refuse_handshake(key, refusal);
        }
    }

    /// Refuses the handshake of a connection in [`Phase::Request`] or [`Phase::Undecided`], and
    /// closes it. It does not become a client because of that.
    pub(super) fn refuse_handshake(&mut self, key: SlotKey, refusal: Refusal) {
        self.close(key, CloseCause::HandshakeRefused(refusal.into()));
    }

    fn refuse_grant(&mut self, key: SlotKey, error: &InvalidAnswer) {
        tracing::debug!(remote = %self.connections[key].remote, %error, "handshake not accepted");
        self.close(key, CloseCause::InvalidGrant);
    }

    /// Sets the session, binds the uid and joins the groups of a grant. `first` is the first of its
    /// ordinals.
    fn apply_grant(&mut self, id: ConnectionId, grant: &Grant, first: Ordinal) {
        if let Some(session) = grant.session() {
            self.directory.set_session(id, session.clone());
        }
        if let Some(uid) = grant.uid() {
            self.bind(id, uid.clone(), first);
        }
        for (group, ordinal) in grant.groups().iter().zip(first.0 + 1..) {
            self.join(id, group.clone(), Ordinal(ordinal));
        }
    }

    /// Sets the deadline by which a client has to have a uid, with `--auth-timeout`; removes any
    /// other. A client that has one already costs no deadline.
    pub(super) fn set_auth_deadline(&mut self, key: SlotKey) {
        let timeout = self.settings.auth_timeout.filter(|_| !self.has_uid(key));
        self.connections.set_deadline(key, timeout);
    }

    /// Whether a connection is a client that is bound to a uid.
    pub(super) fn has_uid(&self, key: SlotKey) -> bool {
        let id = self.connections[key].id;
        let client = id.and_then(|id| self.directory.get(id));
        client.is_some_and(|client| client.uid().is_some())
    }

    /// The authentication deadline of a client has passed.
    pub(super) fn auth_deadline_passed(&mut self, key: SlotKey) {
        let connection = &self.connections[key];
        if connection.id.is_none() || self.has_uid(key) {
            return;
        }
        // Its messages wait for a worker, for `--no-worker-timeout` at most.
        match connection.held_since {
            Some(_) => self.set_auth_deadline(key),
            None => self.close(key, CloseCause::Unauthenticated),
        }
    }

    /// Begins the frames of a connection whose response is queued.
    fn open(&mut self, key: SlotKey, decoder: Decoder, deflate: Option<PerMessageDeflate>) {
        self.tally.deflate_handshakes += u64::from(deflate.is_some());
        let connection = &mut self.connections[key];
        connection.deflate = deflate;
        connection.phase = Phase::Open(decoder);
        connection.page = Page::None;
        self.set_auth_deadline(key);
        self.gateway.metrics.requests.dec();
        self.connections.mark_dirty(key, &mut self.schedule);
    }
}

#[cfg(test)]
mod tests;
