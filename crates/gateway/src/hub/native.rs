//! What is particular to native peers: how they prove themselves, and what they say.

use std::{net::SocketAddr, rc::Rc};

use bytes::BytesMut;
use protocol::{
    codec::native::{self, MAX_FRAME, MAX_STRANGER_FRAME},
    link::{Role, ToGateway, ToPeer},
    name::MAX_NAME,
    secret::{Nonce, Proof, Prover},
};
use service::{
    dice,
    stream::{OwnedWriteHalf, Stream},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{
    Asked, Hub, Shared,
    ended::Ended,
    link::{Link, Native},
    peer::in_order,
};
use crate::exchange::{LinkId, ToShard};

/// Who has proved itself.
#[derive(Debug)]
pub(super) struct Proved {
    pub(super) role: Role,
    /// What proves us to it.
    pub(super) proof: Proof,
}

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
    say(stream, &ToPeer::Challenge { nonce: ours }).await?;
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
    let (secret, draining) = {
        let hub = hub.borrow();
        (hub.secret.clone(), hub.is_drained())
    };
    if !secret.verify(Prover::Peer, &ours, &theirs, &proof) {
        return Err(Ended::Secret);
    }
    if draining {
        return Err(Ended::ShuttingDown);
    }
    if let Role::Worker { key, .. } = &role
        && !(1..=MAX_NAME).contains(&key.len())
    {
        return Err(Ended::Key);
    }
    let proof = secret.prove(Prover::Gateway, &ours, &theirs);
    in_order().await;
    Ok(Proved { role, proof })
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
        let Proved { role, proof } = peer;
        if let Some(old) = self.natives.get(role.instance()) {
            self.remove(*old);
        }
        let taken = self.progress.of(role.instance());
        let native = Native { instance: role.instance().clone(), through: taken };
        let mut link = Link::new(remote, Rc::new(stream), Some(native), None);
        let (gateway, instance) = (self.host.address.to_string(), self.host.instance.clone());
        link.say(&ToPeer::Welcome { proof, gateway, instance, taken });
        let id = self.insert(link);
        self.touch(id);
        self.say_draining(id);
        if let Role::Worker { key, instance } = role {
            self.enlist(id, &key, Some(instance));
        }
        id
    }

    /// Takes every whole message there is.
    pub(super) fn take_native(&mut self, from: LinkId, buffer: &mut BytesMut) -> Result<(), Ended> {
        // What the peer sent on it, and we have not taken, comes again on a newer one.
        if !self.links.contains_key(&from) {
            return Err(Ended::Replaced);
        }
        while let Some(message) = native::decode(buffer, MAX_FRAME)? {
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
                let client = query.client();
                let asked = Asked::Native { request, query: query.clone() };
                let token = self.gather(from, asked, client);
                self.tell(client, || ToShard::Query { token, query: query.clone() });
            }
            ToGateway::Done { shard, first, last } => {
                let outgoing = self.outgoing.get_mut(usize::from(shard)).ok_or(Ended::OutOfTurn)?;
                outgoing.push(ToShard::Done { link: from, first, last });
            }
            ToGateway::Begun { shard, through } => {
                let outgoing = self.outgoing.get_mut(usize::from(shard)).ok_or(Ended::OutOfTurn)?;
                outgoing.push(ToShard::Begun { link: from, through });
            }
            ToGateway::Trying { shard, seq, alone } => {
                let outgoing = self.outgoing.get_mut(usize::from(shard)).ok_or(Ended::OutOfTurn)?;
                outgoing.push(ToShard::Trying { link: from, seq, alone });
            }
            ToGateway::Leaving => self.tell(None, || ToShard::WorkerLeaving { link: from }),
            ToGateway::Ping { token } => {
                let token = self.gather(from, Asked::Ping { token }, None);
                self.tell(None, || ToShard::Barrier { token });
            }
            ToGateway::Pong { .. } => {}
            ToGateway::WrittenOff => {
                tracing::error!("a worker has closed our clients on our behalf");
                self.host.written_off.cancel();
            }
        }
        self.call();
        Ok(())
    }
}
