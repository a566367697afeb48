//! Requests to a WebSocket listener: static files, and the handshake that makes a connection a
//! client.

use bytes::{Bytes, BytesMut};
use framing::{
    Decoder, Framing,
    websocket::{self, Refusal, Reply},
};
use protocol::Event;

use crate::{
    closed::CloseCause,
    shard::{
        Shard,
        connections::{Page, Phase, Quantum},
        slot::SlotKey,
    },
};

impl Shard {
    /// Answers requests until one opens a WebSocket, none is complete, or the quantum is spent.
    pub(super) fn requests(&mut self, key: SlotKey, mut heads: BytesMut, quantum: &mut Quantum) {
        let mut consumed = 0;
        let mut continues = true;
        loop {
            let (request, length) = match self.parse(&heads[consumed..]) {
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
            let reply = websocket::evaluate(&request, &self.settings.handshake_policy);
            if !matches!(reply, Reply::Ordinary) {
                self.take_forwarded(key, &request);
            }
            match reply {
                Reply::Accept(_) if !self.has_room_for(key) => {
                    // Parsed again once there is room.
                    let connection = &mut self.connections[key];
                    connection.backlog = true;
                    connection.phase = Phase::Request(heads[consumed - length..].into());
                    self.hold_pending_client(key);
                    return;
                }
                Reply::Accept(answer) => {
                    self.connections[key].backlog = false;
                    self.open(key, answer, Event::WebSocketConnect(request.handshake));
                    self.received(key, &mut heads[consumed..], quantum);
                    return;
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

    /// Completes the handshake: frames follow, and held-back output is written after the response.
    fn open(&mut self, key: SlotKey, answer: Bytes, event: Event) {
        let is_new = self.connections[key].id.is_none();
        if is_new {
            self.register_client(key);
        }
        self.emit(key, event, &[]);
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
        connection.phase = Phase::Open(Decoder::new(Framing::WebSocket));
        connection.page = Page::None;
        self.connections.set_deadline(key, None);
        self.gateway.metrics.requests.dec();
        self.connections.mark_dirty(key, &mut self.schedule);
    }
}
