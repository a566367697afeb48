//! PHP peers: `GatewayWorker` workers, and back ends that use `GatewayClient`.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use protocol::{
    MessageKind,
    codec::gateway_worker::{
        self, Frame, MAX_FRAME, MAX_UNAUTHENTICATED_FRAME,
        from_peer::{self, Hello, PeerMessage},
        reply::NoReply,
        to_peer,
    },
};

use runtime::clock;

use super::{
    Hub, link_closed::LinkClosed, scatter_gather::Origin, unauthenticated::UnauthenticatedPeer,
};
use crate::thread_messages::{LinkId, ToShard, Token};

/// Additional state of a PHP peer's link.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Set until the peer is authenticated, if a secret is set.
    unauthenticated: Option<UnauthenticatedPeer>,
    /// Replies in the order of the queries, which is the order in which they must be sent: the
    /// protocol has no request ids.
    replies: VecDeque<(Token, Option<Bytes>)>,
    /// Bytes of complete replies that wait for earlier ones.
    waiting: usize,
    /// Batches of events that are not written yet. A PHP worker sends no acknowledgements: its
    /// events count as acknowledged once they are written.
    batches: VecDeque<Batch>,
}

/// A batch of events: its end offset in the link's byte stream, its shard, and its last event.
#[derive(Debug)]
struct Batch {
    end: u64,
    shard: u16,
    last: u64,
}

impl State {
    pub(super) fn new(unauthenticated: Option<UnauthenticatedPeer>) -> Self {
        Self { unauthenticated, ..Self::default() }
    }

    /// Whether every reply is sent.
    pub(super) fn is_idle(&self) -> bool {
        self.replies.is_empty()
    }

    /// Reserves the place of a reply behind all earlier ones.
    pub(super) fn awaits(&mut self, token: Token) {
        self.replies.push_back((token, None));
    }

    /// Bytes of complete replies that wait for earlier ones.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting
    }

    /// Records the end of a queued batch of events.
    pub(super) fn sent(&mut self, end: u64, shard: u16, last: u64) {
        self.batches.push_back(Batch { end, shard, last });
    }
}

impl Hub {
    /// Handles every complete frame in `buffer`, until reading from the peer is paused.
    pub(super) fn take_php(
        &mut self,
        from: LinkId,
        buffer: &mut BytesMut,
    ) -> Result<(), LinkClosed> {
        self.submit_deferred(from);
        while !self.is_busy(from) {
            let limit = match self.is_authenticated(from) {
                true => MAX_FRAME,
                false => MAX_UNAUTHENTICATED_FRAME,
            };
            let Some(frame) = gateway_worker::decode(buffer, limit)? else {
                break;
            };
            self.take_frame(from, frame)?;
        }
        Ok(())
    }

    /// Whether the peer is authenticated, or no secret is set.
    pub(super) fn is_authenticated(&self, from: LinkId) -> bool {
        let php = self.links.get(&from).and_then(|link| link.php.as_ref());
        php.is_some_and(|php| php.unauthenticated.is_none())
    }

    fn take_frame(&mut self, from: LinkId, frame: Frame) -> Result<(), LinkClosed> {
        if !frame.is_hello() && !self.is_authenticated(from) {
            return Err(LinkClosed::Unauthenticated);
        }
        match from_peer::read(&frame).map_err(LinkClosed::Refused)? {
            PeerMessage::Hello(hello) => self.authenticate_php(from, &hello)?,
            PeerMessage::Command(mut command) => {
                // A message that is framed already keeps its kind. No other one specifies a kind.
                if let Some(message) = command.message_mut()
                    && message.kind == MessageKind::Text
                {
                    message.kind = self.settings.websocket_type.kind();
                }
                self.command(from, command);
            }
            PeerMessage::Query(query, reply) => {
                let ordered = self.settings.compat_behavior.order_rows;
                let reply = if ordered { reply } else { reply.unordered() };
                self.submit(from, Origin::Php { reply, query });
            }
            PeerMessage::Reply(reply) => {
                if let Some(php) = self.php(from) {
                    php.waiting += reply.len();
                    php.replies.push_back((Token(0), Some(reply)));
                }
                self.send_replies(from);
            }
            PeerMessage::Ignored(ignored) => tracing::debug!(link = from.0, %ignored, "ignored"),
        }
        self.schedule_run();
        Ok(())
    }

    fn php(&mut self, link: LinkId) -> Option<&mut State> {
        self.links.get_mut(&link)?.php.as_mut()
    }

    fn authenticate_php(&mut self, from: LinkId, hello: &Hello) -> Result<(), LinkClosed> {
        if !self.secret.matches(hello.secret().as_bytes()) {
            return Err(LinkClosed::Secret);
        }
        if let Some(php) = self.php(from) {
            php.unauthenticated = None;
        }
        self.warn_of_ipv6(from);
        match hello {
            Hello::Backend { .. } => {}
            Hello::Worker { key, .. } => self.add_worker(from, key, None),
        }
        Ok(())
    }

    /// Warns that a PHP peer cannot address clients of a gateway with an IPv6 address: client ids
    /// have only four bytes for the gateway's address.
    fn warn_of_ipv6(&mut self, from: LinkId) {
        let address = self.gateway.address;
        if address.ip().to_canonical().is_ipv4() {
            return;
        }
        let remote = self.links.get(&from).map(|link| link.remote.to_string());
        if let Some(suppressed) = self.ipv6_warnings.admit(clock::now()) {
            tracing::warn!(
                remote, %address, suppressed,
                "a PHP peer has linked, but it cannot address clients of a gateway with an IPv6 \
                 --lan-ip"
            );
        }
    }

    /// Stores a complete reply. It is sent after all earlier ones.
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

    /// Closes the link because a query has no reply. The peer reports that as an error.
    pub(super) fn fail(&mut self, to: LinkId, query: &'static str, error: NoReply) {
        let Some(link) = self.links.get(&to) else {
            return;
        };
        let remote = link.remote;
        self.gateway.metrics.no_replies.inc();
        match self.no_reply_warnings.admit(clock::now()) {
            Some(suppressed) => tracing::warn!(
                %remote, query, %error, suppressed,
                "a PHP peer's query has no reply; link closed"
            ),
            None => tracing::debug!(%remote, query, %error, "no reply; link closed"),
        }
        self.close_link(to);
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
        self.mark_dirty(to);
    }

    /// Acknowledges events to their shards that are written to a PHP worker.
    pub(super) fn ack_written_php(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        let written = link.written();
        let Some(php) = &mut link.php else {
            return;
        };
        while let Some(batch) = php.batches.pop_front_if(|batch| batch.end <= written) {
            let ack = ToShard::EventAck { link: id, first: 1, last: batch.last };
            self.outgoing[usize::from(batch.shard)].push(ack);
        }
    }

    /// Pings PHP workers. Only they expect it: a back end would interpret it as a reply.
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
            self.mark_dirty(id);
        }
    }
}
