//! Native peers: authentication and messages.

use std::{net::SocketAddr, rc::Rc};

use bytes::BytesMut;
use protocol::{
    Query,
    codec::native::{self, MAX_FRAME, MAX_UNAUTHENTICATED_FRAME},
    handshake::{Nonce, Transcript},
    link::{Role, ToGateway, ToPeer},
    name::MAX_NAME,
};
use runtime::{
    random,
    stream::{OwnedWriteHalf, Stream},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{
    Hub, Shared,
    arrival_order::yield_to_ready_links,
    link::{Link, Native},
    link_closed::LinkClosed,
    scatter_gather::Origin,
};
use crate::thread_messages::{LinkId, ToShard};

/// The handshake transcript of an authenticated peer.
#[derive(Debug)]
pub(super) struct Authenticated(Transcript);

/// Authenticates a peer. If it is refused, it is sent the reason.
pub(super) async fn authenticate(
    hub: &Shared,
    stream: &mut Stream,
    buffer: &mut BytesMut,
) -> Result<Authenticated, LinkClosed> {
    let result = challenge(hub, stream, buffer).await;
    if let Err(ended) = &result
        && let Some(refusal) = ended.refusal()
    {
        send(stream, &ToPeer::Refused(refusal)).await?;
    }
    result
}

async fn challenge(
    hub: &Shared,
    stream: &mut Stream,
    buffer: &mut BytesMut,
) -> Result<Authenticated, LinkClosed> {
    let gateway_nonce: Nonce = random::random();
    let (gateway, instance) = {
        let state = &hub.borrow().gateway;
        (state.address.to_string(), state.instance.clone())
    };
    let challenge = ToPeer::Challenge {
        nonce: gateway_nonce,
        gateway: gateway.clone(),
        instance: instance.clone(),
    };
    send(stream, &challenge).await?;
    let hello = loop {
        if let Some(hello) = native::decode(buffer, MAX_UNAUTHENTICATED_FRAME)? {
            break hello;
        }
        if stream.read_buf(buffer).await? == 0 {
            return Err(LinkClosed::ByPeer);
        }
    };
    let ToGateway::Hello { role, nonce: peer_nonce, proof } = hello else {
        return Err(LinkClosed::OutOfTurn);
    };
    let transcript =
        Transcript { gateway_nonce, gateway, gateway_instance: instance, peer_nonce, role };
    let (is_valid, is_drained) = {
        let hub = hub.borrow();
        (transcript.verify_peer(&hub.secret, &proof), hub.is_drained())
    };
    if !is_valid {
        return Err(LinkClosed::Secret);
    }
    if is_drained {
        return Err(LinkClosed::ShuttingDown);
    }
    if let Role::Worker { key, .. } = &transcript.role
        && !(1..=MAX_NAME).contains(&key.len())
    {
        return Err(LinkClosed::Key);
    }
    yield_to_ready_links().await;
    Ok(Authenticated(transcript))
}

async fn send(stream: &mut Stream, message: &ToPeer) -> Result<(), LinkClosed> {
    let mut frame = BytesMut::new();
    if native::encode(message, &mut frame).is_ok() {
        stream.write_all(&frame).await?;
        stream.flush().await?;
    }
    Ok(())
}

impl Hub {
    /// Adds the link of an authenticated peer, and sends it the welcome with its last accepted
    /// command. An older link of the same instance whose loss is not detected yet is closed:
    /// messages of an instance are accepted from its newest link only.
    pub(super) fn admit(
        &mut self,
        stream: OwnedWriteHalf,
        remote: SocketAddr,
        peer: Authenticated,
    ) -> LinkId {
        let Authenticated(transcript) = peer;
        let instance = transcript.role.instance();
        if let Some(old) = self.natives.get(instance) {
            self.close_link(*old);
        }
        let taken = self.watermarks.of(instance);
        let native = Native { instance: instance.clone(), through: taken };
        let mut link = Link::new(remote, Rc::new(stream), Some(native), None);
        let proof = transcript.gateway_proof(&self.secret, taken);
        link.send(&ToPeer::Welcome { proof, taken });
        let id = self.add_link(link);
        self.mark_dirty(id);
        self.send_draining(id);
        if let Role::Worker { key, instance } = transcript.role {
            self.add_worker(id, &key, Some(instance));
        }
        id
    }

    /// Handles every complete message in `buffer`, until reading from the peer is paused.
    pub(super) fn take_native(
        &mut self,
        from: LinkId,
        buffer: &mut BytesMut,
    ) -> Result<(), LinkClosed> {
        // The peer resends unaccepted messages on its newer link.
        if !self.links.contains_key(&from) {
            return Err(LinkClosed::Replaced);
        }
        self.submit_deferred(from);
        while !self.is_busy(from)
            && let Some(message) = native::decode(buffer, MAX_FRAME)?
        {
            self.take(from, message)?;
        }
        Ok(())
    }

    fn take(&mut self, from: LinkId, message: ToGateway) -> Result<(), LinkClosed> {
        match message {
            ToGateway::Hello { .. } => return Err(LinkClosed::OutOfTurn),
            ToGateway::Command { seq, command } => {
                self.command(from, command);
                self.record_command(from, seq);
            }
            ToGateway::ReportedCommand { seq, request, command } => {
                self.reported_command(from, request, command);
                self.record_command(from, seq);
            }
            ToGateway::Query { request, query } => {
                if let Query::Bindings { clock, .. } = &query {
                    self.gateway.advance_clock(*clock);
                }
                self.submit(from, Origin::Native { request, query });
            }
            ToGateway::EventAck { shard, first, last } => {
                self.send_to_shard(shard, ToShard::EventAck { link: from, first, last })?;
                self.record_progress(from);
            }
            ToGateway::EventStarted { shard, through } => {
                self.send_to_shard(shard, ToShard::EventStarted { link: from, through })?;
                self.record_progress(from);
            }
            ToGateway::Relay { to, message } => self.relay(from, &to, message)?,
            ToGateway::UidChecked { check, uid } => self.uid_checked(from, check, &uid),
            ToGateway::HandlerStarted { shard, seq, alone } => {
                self.send_to_shard(shard, ToShard::HandlerStarted { link: from, seq, alone })?;
            }
            ToGateway::Watch { prefixes } => self.watch(from, prefixes)?,
            ToGateway::Tail(open) => self.open_tail(from, *open)?,
            ToGateway::EndTail { tail } => self.end_tail(from, tail),
            ToGateway::ServeStreams { serves } => self.serve_streams(from, serves),
            // A flush sends what is due.
            ToGateway::Acknowledge => self.mark_dirty(from),
            ToGateway::Leaving => {
                self.watcher_leaving(from);
                self.serve_streams(from, false);
                self.send_to_shards(None, || ToShard::WorkerLeaving { link: from })
            }
            ToGateway::CloseCodes { codes } => {
                self.send_to_shards(None, || ToShard::CloseCodes { link: from, codes });
            }
            ToGateway::Ping { token } => {
                self.submit(from, Origin::Ping { token });
            }
            ToGateway::Pong { .. } => {}
            ToGateway::Fenced => {
                // Only workers can declare a gateway dead and close its clients.
                let link = self.links.get(&from).filter(|link| link.worker.is_some());
                let worker = link.ok_or(LinkClosed::OutOfTurn)?;
                tracing::error!(
                    remote = %worker.remote,
                    "a worker has declared this gateway dead and closed its clients; exiting"
                );
                self.gateway.fenced.cancel();
            }
        }
        self.schedule_run();
        Ok(())
    }

    /// Records the number of a peer's last command, to be acknowledged.
    fn record_command(&mut self, from: LinkId, seq: u64) {
        if let Some(link) = self.links.get_mut(&from) {
            link.taken = Some(seq);
            if let Some(native) = &mut link.native {
                native.through = seq;
            }
            if !std::mem::replace(&mut link.taken_due, true) {
                self.acks_due.notify_one();
            }
        }
    }

    /// Records that a peer has started or acknowledged events.
    fn record_progress(&mut self, id: LinkId) {
        if let Some(link) = self.links.get_mut(&id) {
            link.record_progress();
        }
    }

    /// Passes a message to the shard that a peer has named.
    fn send_to_shard(&mut self, shard: u16, message: ToShard) -> Result<(), LinkClosed> {
        let outgoing = self.outgoing.get_mut(usize::from(shard)).ok_or(LinkClosed::OutOfTurn)?;
        outgoing.push(message);
        Ok(())
    }
}
