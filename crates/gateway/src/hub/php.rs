//! A PHP peer: a `GatewayWorker` worker, or a `GatewayClient` of any other program.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use protocol::{
    MessageKind,
    codec::gateway_worker::{
        self, Frame, MAX_FRAME, MAX_STRANGER_FRAME,
        from_peer::{self, Hello, Said},
        reply::NoReply,
        to_peer,
    },
};

use service::clock;

use super::{Hub, ended::Ended, gather::Asked, strangers::Stranger};
use crate::exchange::{LinkId, ToShard, Token};

/// What a link of a PHP peer needs besides.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Set until it has shown the secret, if there is one.
    stranger: Option<Stranger>,
    /// Replies in the order in which they were asked for, which is the order in which they must go
    /// out: nothing on the wire says which reply is whose.
    replies: VecDeque<(Token, Option<Bytes>)>,
    /// Bytes of those that are there and wait for earlier ones.
    waiting: usize,
    /// Where batches of events end among all bytes of the link. A PHP worker does not say what it
    /// has finished: its events are done once they are written.
    batches: VecDeque<Batch>,
}

/// A batch of events: its end, the shard that it came from, and its last event.
#[derive(Debug)]
struct Batch {
    end: u64,
    shard: u16,
    last: u64,
}

impl State {
    pub(super) fn new(stranger: Option<Stranger>) -> Self {
        Self { stranger, ..Self::default() }
    }

    /// Whether every reply is out.
    pub(super) fn is_idle(&self) -> bool {
        self.replies.is_empty()
    }

    /// A reply is awaited, behind all before it.
    pub(super) fn awaits(&mut self, token: Token) {
        self.replies.push_back((token, None));
    }

    /// Bytes of replies that wait for earlier ones.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting
    }

    /// Remembers where a batch of events ends.
    pub(super) fn sent(&mut self, end: u64, shard: u16, last: u64) {
        self.batches.push_back(Batch { end, shard, last });
    }
}

impl Hub {
    /// Takes every whole frame there is, until the peer must wait.
    pub(super) fn take_php(&mut self, from: LinkId, buffer: &mut BytesMut) -> Result<(), Ended> {
        self.ask_deferred(from);
        while !self.is_busy(from) {
            let limit = match self.is_authorized(from) {
                true => MAX_FRAME,
                false => MAX_STRANGER_FRAME,
            };
            let Some(frame) = gateway_worker::decode(buffer, limit)? else {
                break;
            };
            self.take_frame(from, frame)?;
        }
        Ok(())
    }

    /// Whether the peer is no stranger any more.
    pub(super) fn is_authorized(&self, from: LinkId) -> bool {
        let php = self.links.get(&from).and_then(|link| link.php.as_ref());
        php.is_some_and(|php| php.stranger.is_none())
    }

    fn take_frame(&mut self, from: LinkId, frame: Frame) -> Result<(), Ended> {
        if !frame.is_hello() && !self.is_authorized(from) {
            return Err(Ended::Unauthorized);
        }
        match from_peer::read(&frame).map_err(Ended::Refused)? {
            Said::Hello(hello) => self.greet(from, &hello)?,
            Said::Command(mut command) => {
                // What is framed already stays as it is; nothing else says its kind.
                if let Some(message) = command.message_mut()
                    && message.kind == MessageKind::Text
                {
                    message.kind = self.settings.websocket_type.kind();
                }
                self.command(from, command);
            }
            Said::Query(query, reply) => {
                let ordered = self.settings.ways.order_rows;
                let reply = if ordered { reply } else { reply.unordered() };
                self.ask(from, Asked::Php { reply, query });
            }
            Said::Reply(reply) => {
                if let Some(php) = self.php(from) {
                    php.waiting += reply.len();
                    php.replies.push_back((Token(0), Some(reply)));
                }
                self.send_replies(from);
            }
            Said::Ignored(ignored) => tracing::debug!(link = from.0, %ignored, "ignored"),
        }
        self.call();
        Ok(())
    }

    fn php(&mut self, link: LinkId) -> Option<&mut State> {
        self.links.get_mut(&link)?.php.as_mut()
    }

    fn greet(&mut self, from: LinkId, hello: &Hello) -> Result<(), Ended> {
        if !self.secret.matches(hello.secret().as_bytes()) {
            return Err(Ended::Secret);
        }
        if let Some(php) = self.php(from) {
            php.stranger = None;
        }
        self.warn_of_ipv6(from);
        match hello {
            Hello::Client { .. } => {}
            Hello::Worker { key, .. } => self.enlist(from, key, None),
        }
        Ok(())
    }

    /// PHP's client ids have four bytes for the gateway's address: what a PHP peer answers to a gateway
    /// with an IPv6 address goes nowhere.
    fn warn_of_ipv6(&mut self, from: LinkId) {
        let address = self.host.address;
        if address.ip().to_canonical().is_ipv4() {
            return;
        }
        let remote = self.links.get(&from).map(|link| link.remote.to_string());
        if let Some(suppressed) = self.ipv6_warnings.admit(clock::now()) {
            tracing::warn!(
                remote, %address, suppressed,
                "a PHP peer has linked, and cannot address clients of a gateway with an IPv6 --lan-ip"
            );
        }
    }

    /// A reply is there; it goes out when those before it have.
    pub(super) fn reply(&mut self, to: LinkId, token: Token, bytes: Bytes) {
        let length = bytes.len();
        if let Some(php) = self.php(to)
            && let Some((_, reply)) = php.replies.iter_mut().find(|(waiting, _)| *waiting == token)
        {
            *reply = Some(bytes);
            php.waiting += length;
        }
        self.send_replies(to);
    }

    /// There is no reply to a query. The link is closed, which the peer reports as an error.
    pub(super) fn fail(&mut self, to: LinkId, query: &'static str, error: NoReply) {
        let Some(link) = self.links.get(&to) else {
            return;
        };
        let remote = link.remote;
        self.host.metrics.no_replies.inc();
        match self.no_reply_warnings.admit(clock::now()) {
            Some(suppressed) => tracing::warn!(
                %remote, query, %error, suppressed,
                "a PHP peer's query has no reply; its connection is closed"
            ),
            None => tracing::debug!(%remote, query, %error, "no reply; connection closed"),
        }
        self.remove(to);
    }

    fn send_replies(&mut self, to: LinkId) {
        let Some(link) = self.links.get_mut(&to) else {
            return;
        };
        while let Some(php) = &mut link.php
            && let Some((_, Some(_))) = php.replies.front()
            && let Some((_, Some(reply))) = php.replies.pop_front()
        {
            php.waiting -= reply.len();
            link.push(&reply);
        }
        self.touch(to);
    }

    /// Tells shards which of their events are written, and so done.
    pub(super) fn settle_php(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        let written = link.written();
        let Some(php) = &mut link.php else {
            return;
        };
        while let Some(batch) = php.batches.pop_front_if(|batch| batch.end <= written) {
            let done = ToShard::Done { link: id, first: 1, last: batch.last };
            self.outgoing[usize::from(batch.shard)].push(done);
        }
    }

    /// Lets PHP workers hear that we are here. They are used to that, and nobody else is: a client
    /// would take it for a reply.
    pub(super) fn ping_php(&mut self) {
        let mut ping = BytesMut::new();
        to_peer::ping(&mut ping);
        let ping = ping.freeze();
        let workers =
            self.links.iter().filter(|(_, link)| link.php.is_some() && link.worker.is_some());
        for id in workers.map(|(id, _)| *id).collect::<Vec<_>>() {
            if let Some(link) = self.links.get_mut(&id) {
                link.push(&ping);
            }
            self.touch(id);
        }
    }
}
