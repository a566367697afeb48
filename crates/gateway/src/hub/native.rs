//! What is particular to native peers: how they prove themselves, and what they say.

use std::{net::SocketAddr, rc::Rc};

use bytes::BytesMut;
use protocol::{
    codec::native::{self, MAX_FRAME, MAX_STRANGER_FRAME},
    handshake::{Nonce, Transcript},
    link::{Role, ToGateway, ToPeer},
    name::MAX_NAME,
};
use service::{
    dice,
    stream::{OwnedWriteHalf, Stream},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{
    Hub, Shared,
    ended::Ended,
    gather::Asked,
    link::{Link, Native},
    peer::in_order,
};
use crate::exchange::{LinkId, ToShard};

/// A peer that has proved that it knows the secret, and what was said for that.
#[derive(Debug)]
pub(super) struct Proved(Transcript);

/// Hears a stranger out, and says what it is if it knows the secret. If not, it is told why.
pub(super) async fn prove(
    hub: &Shared,
    stream: &mut Stream,
    buffer: &mut BytesMut,
) -> Result<Proved, Ended> {
    let proved = challenge(hub, stream, buffer).await;
    if let Err(ended) = &proved
        && let Some(refusal) = ended.refusal()
    {
        say(stream, &ToPeer::Refused(refusal)).await?;
    }
    proved
}

async fn challenge(
    hub: &Shared,
    stream: &mut Stream,
    buffer: &mut BytesMut,
) -> Result<Proved, Ended> {
    let ours: Nonce = dice::random();
    let (gateway, instance) = {
        let host = &hub.borrow().host;
        (host.address.to_string(), host.instance.clone())
    };
    let challenge =
        ToPeer::Challenge { nonce: ours, gateway: gateway.clone(), instance: instance.clone() };
    say(stream, &challenge).await?;
    let hello = loop {
        if let Some(hello) = native::decode(buffer, MAX_STRANGER_FRAME)? {
            break hello;
        }
        if stream.read_buf(buffer).await? == 0 {
            return Err(Ended::ByPeer);
        }
    };
    let ToGateway::Hello { role, nonce: theirs, proof } = hello else {
        return Err(Ended::OutOfTurn);
    };
    let said = Transcript {
        gateway_nonce: ours,
        gateway,
        gateway_instance: instance,
        peer_nonce: theirs,
        role,
    };
    let (knows_secret, draining) = {
        let hub = hub.borrow();
        (said.verify_peer(&hub.secret, &proof), hub.is_drained())
    };
    if !knows_secret {
        return Err(Ended::Secret);
    }
    if draining {
        return Err(Ended::ShuttingDown);
    }
    if let Role::Worker { key, .. } = &said.role
        && !(1..=MAX_NAME).contains(&key.len())
    {
        return Err(Ended::Key);
    }
    in_order().await;
    Ok(Proved(said))
}

async fn say(stream: &mut Stream, message: &ToPeer) -> Result<(), Ended> {
    let mut frame = BytesMut::new();
    if native::encode(message, &mut frame).is_ok() {
        stream.write_all(&frame).await?;
        stream.flush().await?;
    }
    Ok(())
}

impl Hub {
    /// Takes in a peer that has proved itself, and tells it so, and how far its commands were taken.
    /// Should it have a link already that nobody has found dead, then that ends here: nothing more is
    /// taken from any link of that life of it but the new one.
    pub(super) fn admit(
        &mut self,
        stream: OwnedWriteHalf,
        remote: SocketAddr,
        peer: Proved,
    ) -> LinkId {
        let Proved(said) = peer;
        let instance = said.role.instance();
        if let Some(old) = self.natives.get(instance) {
            self.remove(*old);
        }
        let taken = self.progress.of(instance);
        let native = Native { instance: instance.clone(), through: taken };
        let mut link = Link::new(remote, Rc::new(stream), Some(native), None);
        let proof = said.gateway_proof(&self.secret, taken);
        link.say(&ToPeer::Welcome { proof, taken });
        let id = self.insert(link);
        self.touch(id);
        self.say_draining(id);
        if let Role::Worker { key, instance } = said.role {
            self.enlist(id, &key, Some(instance));
        }
        id
    }

    /// Takes every whole message there is, until the peer must wait.
    pub(super) fn take_native(&mut self, from: LinkId, buffer: &mut BytesMut) -> Result<(), Ended> {
        // What the peer sent on it, and we have not taken, comes again on a newer one.
        if !self.links.contains_key(&from) {
            return Err(Ended::Replaced);
        }
        self.ask_deferred(from);
        while !self.is_busy(from)
            && let Some(message) = native::decode(buffer, MAX_FRAME)?
        {
            self.take(from, message)?;
        }
        Ok(())
    }

    fn take(&mut self, from: LinkId, message: ToGateway) -> Result<(), Ended> {
        match message {
            ToGateway::Hello { .. } => return Err(Ended::OutOfTurn),
            ToGateway::Command { seq, command } => {
                self.command(from, command);
                if let Some(link) = self.links.get_mut(&from) {
                    link.taken = Some(seq);
                    if let Some(native) = &mut link.native {
                        native.through = seq;
                    }
                    if !std::mem::replace(&mut link.taken_due, true) {
                        self.confirm.notify_one();
                    }
                }
            }
            ToGateway::Query { request, query } => {
                self.ask(from, Asked::Native { request, query });
            }
            ToGateway::Done { shard, first, last } => {
                let outgoing = self.outgoing.get_mut(usize::from(shard)).ok_or(Ended::OutOfTurn)?;
                outgoing.push(ToShard::Done { link: from, first, last });
                self.works(from);
            }
            ToGateway::Begun { shard, through } => {
                let outgoing = self.outgoing.get_mut(usize::from(shard)).ok_or(Ended::OutOfTurn)?;
                outgoing.push(ToShard::Begun { link: from, through });
                self.works(from);
            }
            ToGateway::Relay { to, message } => self.relay(from, &to, message)?,
            ToGateway::Trying { shard, seq, alone } => {
                let outgoing = self.outgoing.get_mut(usize::from(shard)).ok_or(Ended::OutOfTurn)?;
                outgoing.push(ToShard::Trying { link: from, seq, alone });
            }
            ToGateway::Leaving => self.tell(None, || ToShard::WorkerLeaving { link: from }),
            ToGateway::Ping { token } => {
                self.ask(from, Asked::Ping { token });
            }
            ToGateway::Pong { .. } => {}
            ToGateway::WrittenOff => {
                // A back end closes nobody's clients, so it has no reason to say this.
                let link = self.links.get(&from).filter(|link| link.worker.is_some());
                let worker = link.ok_or(Ended::OutOfTurn)?;
                tracing::error!(
                    remote = %worker.remote,
                    "a worker has declared this gateway dead and closed its clients; exiting"
                );
                self.host.written_off.cancel();
            }
        }
        self.call();
        Ok(())
    }
}
