//! Requests to a WebSocket listener: static files, and the handshake that makes a connection a
//! client.

use bytes::{Bytes, BytesMut};
use framing::websocket::{self, Refusal, Reply, Upgrade};
use protocol::Handshake;

use super::tokens::Taken;
use crate::{
    closed::CloseCause,
    settings::HandshakeAuth,
    shard::{
        Shard,
        connections::{Phase, Quantum},
        slot::SlotKey,
    },
};

impl Shard {
    /// Answers requests until one opens a WebSocket, none is complete, or the quantum is spent.
    pub(super) fn requests(&mut self, key: SlotKey, mut heads: BytesMut, quantum: &mut Quantum) {
        let mut consumed = 0;
        let mut continues = true;
        loop {
            let (mut request, length) = match self.parse(&heads[consumed..]) {
                Ok(Some(request)) if continues => request,
                Ok(whole) => {
                    let connection = &mut self.connections[key];
                    connection.backlog = whole.is_some();
                    if let Phase::Request(place) = &mut connection.phase {
                        // A copy of the rest does not retain the memory of what was before it.
                        *place = if consumed == 0 { heads } else { heads[consumed..].into() };
                    }
                    return;
                }
                Err(error) => {
                    return self.refuse(key, &error.response(), CloseCause::BadRequest(error));
                }
            };
            consumed += length;
            let taken = self.settings.tokens.as_ref().map(|tokens| tokens.take(&mut request));
            let reply = websocket::evaluate(&request, &self.settings.handshake_policy);
            if !matches!(reply, Reply::Ordinary) {
                self.take_forwarded(key, &request);
            }
            match reply {
                // Before anything else that a handshake may cost.
                Reply::Accept(..) if !self.admit_stated(key) => return,
                Reply::Accept(..) if !self.has_room_for(key) => {
                    // Parsed again once there is room.
                    let connection = &mut self.connections[key];
                    connection.backlog = true;
                    connection.phase = Phase::Request(heads[consumed - length..].into());
                    self.hold_pending_client(key);
                    return;
                }
                Reply::Accept(upgrade) => {
                    let rest = &mut heads[consumed..];
                    return self.handshake(key, upgrade, request.handshake, taken, rest, quantum);
                }
                Reply::Refuse(answer, refusal) => {
                    return self.refuse(key, &answer, CloseCause::Refused(refusal));
                }
                Reply::Ordinary => {
                    let Some((head, body)) = self.page(key, &request) else {
                        self.take_forwarded(key, &request);
                        let closed = CloseCause::Refused(Refusal::NotWebSocket);
                        return self.refuse(key, &websocket::not_a_websocket(), closed);
                    };
                    if self.is_behind(key) {
                        // It requests more than it reads.
                        return self.abort(key, CloseCause::Slow);
                    }
                    self.begin_page(key, body.len());
                    self.queue(key, &head);
                    self.queue(key, &body);
                    if !request.keep_alive {
                        return self.close(key, CloseCause::Answered);
                    }
                    continues = quantum.request();
                }
            }
        }
    }

    /// Answers a request that opens no WebSocket, and closes the connection.
    fn refuse(&mut self, key: SlotKey, answer: &Bytes, closed: CloseCause) {
        self.register_without_pages(key);
        let connection = &mut self.connections[key];
        if connection.id.is_some() {
            // Messages that were held back for the handshake do not belong in this response.
            connection.discard_queue();
        }
        self.queue(key, answer);
        self.close(key, closed);
    }

    /// Completes a valid handshake, has the client's worker decide about it, or decides by its
    /// token. `rest` is what the client has sent behind it.
    fn handshake(
        &mut self,
        key: SlotKey,
        upgrade: Upgrade,
        handshake: Handshake,
        taken: Option<Taken>,
        rest: &mut [u8],
        quantum: &mut Quantum,
    ) {
        self.connections[key].backlog = false;
        match self.settings.handshake_auth {
            HandshakeAuth::None => {
                self.accept_handshake(key, upgrade, handshake, None);
                self.received(key, rest, quantum);
            }
            HandshakeAuth::Worker => self.ask_worker(key, upgrade, handshake, rest),
            HandshakeAuth::Jwt => match self.token_grant(taken) {
                Ok((token, grant)) => {
                    self.accept_handshake(key, upgrade, handshake, Some(&grant));
                    self.hold_token(key, token);
                    self.received(key, rest, quantum);
                }
                Err(rejection) => self.refuse_token(key, rejection),
            },
        }
    }
}
