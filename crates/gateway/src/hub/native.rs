//! A native peer, from its first byte to its last.

use std::{io, net::SocketAddr, rc::Rc, time::Duration};

use bytes::BytesMut;
use protocol::{
    codec::native::{self, DecodeError, MAX_FRAME, MAX_STRANGER_FRAME},
    link::{MAGIC, Refusal, Role, ToGateway, ToPeer},
    name::MAX_NAME,
    secret::{Nonce, Prover},
};
use thiserror::Error;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, tcp::OwnedReadHalf},
    time,
};

use super::{Hub, Link, Shared};
use crate::exchange::LinkId;

/// How long a stranger may take to prove itself.
const ADMISSION: Duration = Duration::from_secs(10);

/// How often a link whose peer must first catch up is looked at again.
const BUSY: Duration = Duration::from_millis(1);

/// How many bytes are read from a link at a time.
const CHUNK: usize = 256 * 1024;

/// Why a link ended, or never began.
#[derive(Debug, Error)]
pub(super) enum Ended {
    #[error("closed by the peer")]
    ByPeer,
    #[error("connection lost")]
    Lost(#[from] io::Error),
    #[error("did not prove itself in time")]
    Silent,
    #[error("does not know the secret")]
    Secret,
    #[error("speaks another protocol")]
    Foreign,
    #[error("a worker key must have 1 to {MAX_NAME} bytes")]
    Key,
    #[error("the gateway is going down")]
    ShuttingDown,
    #[error("broke the protocol: {0}")]
    Codec(#[from] DecodeError),
    #[error("said what it may not say")]
    OutOfTurn,
    #[error("replaced, or ended from our side")]
    Replaced,
}

impl Ended {
    /// Whether the peer was not let in for what it said, or did not say.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::Silent | Self::Secret | Self::Foreign | Self::Key | Self::OutOfTurn)
    }

    /// What the peer is told, if it was not let in.
    fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Secret => Some(Refusal::Secret),
            Self::Key => Some(Refusal::Key),
            Self::ShuttingDown => Some(Refusal::ShuttingDown),
            _ => None,
        }
    }
}

/// A link nobody has vouched for: all it can do is to prove itself.
pub(super) struct Stranger {
    pub(super) stream: TcpStream,
    pub(super) remote: SocketAddr,
    buffer: BytesMut,
}

impl Stranger {
    pub(super) fn new(stream: TcpStream, remote: SocketAddr) -> Self {
        Self { stream, remote, buffer: BytesMut::new() }
    }

    /// Hears the stranger out, and says what it is if it knows the secret.
    async fn prove(&mut self, hub: &Shared) -> Result<Role, Ended> {
        let mut magic = [0; MAGIC.len()];
        match self.stream.read_exact(&mut magic).await {
            Ok(_) if magic == MAGIC => {}
            Ok(_) => return Err(Ended::Foreign),
            Err(_) => return Err(Ended::ByPeer),
        }
        let ours: Nonce = rand::random();
        self.say(&ToPeer::Challenge { nonce: ours }).await?;
        let hello = loop {
            if let Some(hello) = native::decode(&mut self.buffer, MAX_STRANGER_FRAME)? {
                break hello;
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(Ended::ByPeer);
            }
        };
        let ToGateway::Hello { role, nonce: theirs, proof } = hello else {
            return Err(Ended::OutOfTurn);
        };
        let (secret, gateway, draining) = {
            let hub = hub.borrow();
            (hub.secret.clone(), hub.address.to_string(), hub.undrained.is_some())
        };
        if !secret.verify(Prover::Peer, &ours, &theirs, &proof) {
            return Err(Ended::Secret);
        }
        if draining {
            return Err(Ended::ShuttingDown);
        }
        if let Role::Worker { key } = &role
            && !(1..=MAX_NAME).contains(&key.len())
        {
            return Err(Ended::Key);
        }
        let proof = secret.prove(Prover::Gateway, &ours, &theirs);
        // A new socket is on the kernel's list of ready ones from the start, since it can be written
        // to; if that were still so when the peer's first command comes, it would be read before a
        // command that came earlier on another link. Yielding lets the list be looked at.
        tokio::task::yield_now().await;
        self.say(&ToPeer::Welcome { proof, gateway }).await?;
        Ok(role)
    }

    async fn say(&mut self, message: &ToPeer) -> Result<(), Ended> {
        let mut frame = BytesMut::new();
        if native::encode(message, &mut frame).is_ok() {
            self.stream.write_all(&frame).await?;
        }
        Ok(())
    }
}

/// Serves a peer until something ends it, and says what.
pub(super) async fn serve(hub: Shared, mut stranger: Stranger) -> Ended {
    let proved = time::timeout(ADMISSION, stranger.prove(&hub)).await;
    let role = match proved.unwrap_or(Err(Ended::Silent)) {
        Ok(role) => role,
        Err(ended) => {
            if let Some(refusal) = ended.refusal() {
                // The refusal is a courtesy; it does not matter whether it arrives.
                let _ = stranger.say(&ToPeer::Refused(refusal)).await;
            }
            return ended;
        }
    };
    let Stranger { stream, remote, buffer } = stranger;
    let (reader, writer) = stream.into_split();
    let link = Link::new(remote, Rc::new(writer));
    let (wait, socket, over) = (Rc::clone(&link.wait), Rc::clone(&link.socket), link.over.clone());
    let id = hub.borrow_mut().admit(link, role);
    let write = async {
        loop {
            wait.notified().await;
            if let Err(error) = socket.writable().await {
                return Ended::Lost(error);
            }
            if let Some(link) = hub.borrow_mut().links.get_mut(&id) {
                link.unblock();
            }
        }
    };
    let ended = tokio::select! {
        ended = read(&hub, id, reader, buffer) => ended,
        ended = write => ended,
        () = over.cancelled() => Ended::Replaced,
    };
    hub.borrow_mut().remove(id);
    ended
}

async fn read(hub: &Shared, id: LinkId, mut reader: OwnedReadHalf, mut buffer: BytesMut) -> Ended {
    loop {
        match take_all(&mut hub.borrow_mut(), id, &mut buffer) {
            Ok(true) => {}
            Ok(false) => return Ended::OutOfTurn,
            Err(error) => return error.into(),
        }
        while hub.borrow().is_busy(id) {
            time::sleep(BUSY).await;
        }
        buffer.reserve(CHUNK);
        match reader.read_buf(&mut buffer).await {
            Ok(0) => return Ended::ByPeer,
            Ok(_) => {}
            Err(error) => return error.into(),
        }
    }
}

/// Takes every whole message there is. `false` if one of them may not be said.
fn take_all(hub: &mut Hub, id: LinkId, buffer: &mut BytesMut) -> Result<bool, DecodeError> {
    while let Some(message) = native::decode(buffer, MAX_FRAME)? {
        if !hub.take(id, message) {
            return Ok(false);
        }
    }
    Ok(true)
}
