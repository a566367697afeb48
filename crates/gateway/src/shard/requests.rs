//! Requests on a WebSocket port: pages, and the handshake that makes a connection a client.

use bytes::{Bytes, BytesMut};
use protocol::Event;

use super::{
    Shard,
    connection::{Key, Page, Phase},
    quantum::Quantum,
};
use crate::{
    closed::Closed,
    framing::{
        Decoder, Framing,
        websocket::{self, Refusal, Reply},
    },
};

impl Shard {
    /// Answers requests until one opens a WebSocket, there is no whole one, or the quantum is spent.
    pub(super) fn requests(&mut self, key: Key, mut heads: BytesMut, quantum: &mut Quantum) {
        let mut consumed = 0;
        let mut goes_on = true;
        loop {
            let (request, length) = match self.parse(&heads[consumed..]) {
                Ok(Some(request)) if goes_on => request,
                Ok(whole) => {
                    let connection = &mut self.connections[key as usize];
                    connection.backlog = whole.is_some();
                    if let Phase::Request(place) = &mut connection.phase {
                        // A copy of the rest does not keep the memory of what was before it.
                        *place = if consumed == 0 { heads } else { heads[consumed..].into() };
                    }
                    return;
                }
                Err(error) => {
                    return self.refuse(key, &error.answer(), Closed::BadRequest(error));
                }
            };
            consumed += length;
            match websocket::judge(&request, &self.settings.terms) {
                Reply::Accept(_) if !self.has_room_for(key) => {
                    // It is looked at again when there is.
                    let connection = &mut self.connections[key as usize];
                    connection.backlog = true;
                    connection.phase = Phase::Request(heads[consumed - length..].into());
                    self.hold_newcomer(key);
                    return;
                }
                Reply::Accept(answer) => {
                    self.connections[key as usize].backlog = false;
                    self.open(key, answer, Event::WebSocketConnect(request.handshake));
                    self.received(key, &mut heads[consumed..], quantum);
                    return;
                }
                Reply::Refuse(answer, why) => {
                    return self.refuse(key, &answer, Closed::Refused(why));
                }
                Reply::Ordinary => {
                    let Some((head, body)) = self.page(key, &request) else {
                        let closed = Closed::Refused(Refusal::NotWebSocket);
                        return self.refuse(key, &websocket::not_a_websocket(), closed);
                    };
                    if self.is_behind(key) {
                        // It asks for more than it reads.
                        return self.cut(key, Closed::Slow);
                    }
                    self.begin_page(key, body.len());
                    self.queue(key, &head);
                    self.queue(key, &body);
                    if !request.keep_alive {
                        return self.end(key, Closed::Answered);
                    }
                    goes_on = quantum.request();
                }
            }
        }
    }

    /// Answers a request that opens nothing, and ends the connection.
    fn refuse(&mut self, key: Key, answer: &Bytes, closed: Closed) {
        self.introduce_without_pages(key);
        let connection = &mut self.connections[key as usize];
        if connection.id.is_some() {
            // Messages that were held back for the handshake are no answer to this.
            connection.forget_queue();
        }
        self.queue(key, answer);
        self.end(key, closed);
    }

    /// The handshake is done: frames follow, and what was queued before it may go out behind it.
    fn open(&mut self, key: Key, answer: Bytes, event: Event) {
        if self.connections[key as usize].id.is_none() {
            self.introduce(key);
        }
        self.emit(key, event, &[]);
        let connection = &mut self.connections[key as usize];
        if !matches!(connection.phase, Phase::Request(_)) {
            // No worker could take the event.
            return;
        }
        connection.queue_first(answer);
        connection.phase = Phase::Open(Decoder::new(Framing::WebSocket));
        connection.page = Page::None;
        self.set_deadline(key, None);
        self.host.metrics.requests.dec();
        self.touch(key);
    }
}
