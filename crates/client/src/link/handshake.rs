//! How a link begins: both ends prove that they know the secret.

use std::{io, net::SocketAddr, time::Duration};

use bytes::BytesMut;
use protocol::{
    Instance, Secret,
    codec::native::{self, DecodeError, EncodeError},
    handshake::{Nonce, Transcript},
    link::{MAGIC, Refusal, Role, ToGateway, ToPeer},
};
use service::{stream::Stream, tls};
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

/// Who we are to every gateway.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) secret: Secret,
    pub(crate) role: Role,
    /// How gateways and registers are spoken to.
    pub(crate) tls: Option<tls::Inner>,
}

impl Identity {
    /// Which life of a worker this is; `None` for one that only pushes.
    pub(crate) const fn worker(&self) -> Option<&Instance> {
        match &self.role {
            Role::Worker { instance, .. } => Some(instance),
            Role::Client { .. } => None,
        }
    }

    /// The same process as one that takes no events.
    pub(crate) fn passive(&self) -> Self {
        let instance = self.role.instance().clone();
        Self { role: Role::Client { instance }, ..self.clone() }
    }
}

/// How long connecting and proving may take together.
const DEADLINE: Duration = Duration::from_secs(5);

/// A gateway that has proved itself.
#[derive(Debug)]
pub(crate) struct Proved<S> {
    pub(crate) stream: S,
    /// Its inner address as its client ids carry it.
    pub(crate) gateway: SocketAddr,
    /// Which life of it this is.
    pub(crate) instance: Instance,
    /// How far it has taken the commands of our links before this one.
    pub(crate) taken: u64,
    /// What it has sent already, beyond the handshake.
    pub(crate) read: BytesMut,
}

/// Why there is no link.
#[derive(Debug, Error)]
pub(crate) enum Failed {
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    /// Nothing of the native handshake was ever seen: it may speak only the other language.
    #[error("no challenge came; it may speak only GatewayWorker's protocol, or only TLS")]
    NoChallenge,
    #[error("connection lost during the handshake: {0}")]
    Lost(io::Error),
    #[error("the handshake took longer than {DEADLINE:?}")]
    TooSlow,
    /// Either end may be the one with the wrong secret; only the gateway has said so.
    #[error("refused: {}", reason(*.0))]
    Refused(Refusal),
    #[error("the gateway does not know the secret")]
    Impostor,
    #[error("not the native handshake: {0}")]
    Bytes(#[from] DecodeError),
    #[error("the worker's name and id are too long: {0}")]
    Hello(#[from] EncodeError),
    #[error("out of order in the handshake")]
    OutOfOrder,
    #[error("the gateway gave {0:?} as its address")]
    Address(String),
    /// The process at the dialled address is another gateway, or passes on what another one says.
    #[error("the process at this address announces itself as the gateway at {0:?}")]
    OtherAddress(String),
}

impl Failed {
    /// Whether nobody listens there.
    pub(crate) fn is_refused(&self) -> bool {
        matches!(self, Self::Connect(error) if error.kind() == io::ErrorKind::ConnectionRefused)
    }
}

fn reason(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Secret => "the secret key is not the gateway's",
        Refusal::ShuttingDown => "the gateway is going down",
        Refusal::Key => "the gateway does not accept the worker's name and id",
    }
}

/// How far an attempt has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Connecting,
    Connected,
    Challenged,
}

/// Connects and proves.
pub(crate) async fn connect(
    address: &str,
    identity: &Identity,
    nonce: Nonce,
) -> Result<Proved<Stream>, Failed> {
    let mut stage = Stage::Connecting;
    let attempt = async {
        let stream = Stream::connect(address, identity.tls.as_ref()).await;
        let stream = stream.map_err(Failed::Connect)?;
        // Batches are made here, not by the kernel.
        stream.set_nodelay(true).map_err(Failed::Connect)?;
        stage = Stage::Connected;
        prove(stream, address, identity, nonce, &mut stage).await
    };
    match timeout(DEADLINE, attempt).await {
        Ok(result) => result,
        Err(_) => Err(Failed::TooSlow),
    }
    .map_err(|failed| match failed {
        Failed::TooSlow | Failed::Lost(_)
            if stage == Stage::Connected && identity.tls.is_none() =>
        {
            Failed::NoChallenge
        }
        failed => failed,
    })
}

async fn prove<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    address: &str,
    identity: &Identity,
    ours: Nonce,
    stage: &mut Stage,
) -> Result<Proved<S>, Failed> {
    let Identity { secret, role, .. } = identity;
    let mut read = BytesMut::new();
    stream.write_all(&MAGIC).await.map_err(Failed::Lost)?;
    let (gateway_nonce, gateway, gateway_instance) = match next(&mut stream, &mut read).await? {
        ToPeer::Challenge { nonce, gateway, instance } => (nonce, gateway, instance),
        ToPeer::Refused(refusal) => return Err(Failed::Refused(refusal)),
        _ => return Err(Failed::OutOfOrder),
    };
    *stage = Stage::Challenged;
    let (peer_nonce, role) = (ours, role.clone());
    let said = Transcript { gateway_nonce, gateway, gateway_instance, peer_nonce, role };
    // Before the proof: it is of use at the gateway that it names, and only there.
    if !said.is_for(address) {
        return Err(Failed::OtherAddress(said.gateway));
    }
    let Ok(gateway) = said.gateway.parse() else {
        return Err(Failed::Address(said.gateway));
    };
    let proof = said.peer_proof(secret);
    let mut hello = BytesMut::new();
    native::encode(&ToGateway::Hello { role: said.role.clone(), nonce: ours, proof }, &mut hello)?;
    stream.write_all(&hello).await.map_err(Failed::Lost)?;
    match next(&mut stream, &mut read).await? {
        ToPeer::Welcome { proof, taken } => match said.verify_gateway(secret, taken, &proof) {
            true => Ok(Proved { stream, gateway, instance: said.gateway_instance, taken, read }),
            false => Err(Failed::Impostor),
        },
        ToPeer::Refused(refusal) => Err(Failed::Refused(refusal)),
        _ => Err(Failed::OutOfOrder),
    }
}

/// The next message of a gateway that has not proved itself yet, and may not send much.
async fn next<S: AsyncRead + Unpin>(stream: &mut S, read: &mut BytesMut) -> Result<ToPeer, Failed> {
    loop {
        if let Some(message) = native::decode(read, native::MAX_STRANGER_FRAME)? {
            return Ok(message);
        }
        read.reserve(native::MAX_STRANGER_FRAME);
        if stream.read_buf(read).await.map_err(Failed::Lost)? == 0 {
            return Err(Failed::Lost(io::ErrorKind::UnexpectedEof.into()));
        }
    }
}
