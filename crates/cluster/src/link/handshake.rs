//! Handshake of a link: both ends prove that they know the secret key.

use std::{io, net::SocketAddr, time::Duration};

use bytes::BytesMut;
use protocol::{
    CloseCodes, InstanceId, Secret,
    codec::native::{self, DecodeError, EncodeError},
    handshake::{Nonce, Transcript},
    link::{MAGIC, Refusal, Role, ToGateway, ToPeer},
};
use runtime::{dial, stream::Stream, tls};
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

/// The identity of this process towards gateways.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) secret: Secret,
    pub(crate) role: Role,
    /// The codes with which gateways close the clients of this worker.
    pub(crate) close_codes: CloseCodes,
    /// TLS to gateways and registers.
    pub(crate) tls: Option<tls::MutualTls>,
}

impl Identity {
    /// The instance of this worker; `None` for a back end.
    pub(crate) const fn worker(&self) -> Option<&InstanceId> {
        match &self.role {
            Role::Worker { instance, .. } => Some(instance),
            Role::Backend { .. } => None,
        }
    }

    /// The same process without the role of receiving events.
    pub(crate) fn passive(&self) -> Self {
        let instance = self.role.instance().clone();
        Self { role: Role::Backend { instance }, ..self.clone() }
    }
}

/// Time limit for connecting and the handshake together.
const DEADLINE: Duration = Duration::from_secs(5);

/// A gateway after a successful handshake.
#[derive(Debug)]
pub(crate) struct Proved<S> {
    pub(crate) stream: S,
    /// Its inner address as its client ids carry it.
    pub(crate) gateway: SocketAddr,
    /// The instance of the gateway.
    pub(crate) instance: InstanceId,
    /// The last command of earlier links that the gateway has received.
    pub(crate) taken: u64,
    /// Input beyond the handshake that was read already.
    pub(crate) read: BytesMut,
}

/// Why no link was established.
#[derive(Debug, Error)]
pub(crate) enum Failed {
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    /// No byte of the native handshake arrived: the gateway may support only the other protocol.
    #[error(
        "no challenge received; the gateway may support only GatewayWorker's protocol, or only TLS"
    )]
    NoChallenge,
    #[error("connection lost during the handshake: {0}")]
    Lost(io::Error),
    #[error("the handshake took longer than {DEADLINE:?}")]
    TooSlow,
    /// Either end may have the wrong secret; only the gateway has reported it.
    #[error("refused: {}", reason(*.0))]
    Refused(Refusal),
    #[error("the gateway failed to prove knowledge of the secret key")]
    Impostor,
    #[error("not the native handshake: {0}")]
    Bytes(#[from] DecodeError),
    #[error("the worker's name and id are too long: {0}")]
    Hello(#[from] EncodeError),
    #[error("unexpected message in the handshake")]
    OutOfOrder,
    #[error("the gateway announces the invalid address {0:?}")]
    Address(String),
    /// The process at the dialled address is another gateway, or relays the messages of another
    /// one.
    #[error("the process at this address announces itself as the gateway at {0:?}")]
    OtherAddress(String),
}

impl Failed {
    /// Whether one end has found the other's proof of the secret wrong.
    pub(crate) const fn is_wrong_secret(&self) -> bool {
        matches!(self, Self::Refused(Refusal::Secret) | Self::Impostor)
    }

    /// Whether the connection was refused.
    pub(crate) fn is_refused(&self) -> bool {
        matches!(self, Self::Connect(error) if error.kind() == io::ErrorKind::ConnectionRefused)
    }
}

fn reason(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Secret => "the secret key differs from the gateway's",
        Refusal::ShuttingDown => "the gateway is shutting down",
        Refusal::Key => "the gateway does not accept the worker's name and id",
    }
}

/// Progress of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Connecting,
    Connected,
    Challenged,
}

/// Connects and performs the handshake.
pub(crate) async fn connect(
    address: &str,
    identity: &Identity,
    nonce: Nonce,
) -> Result<Proved<Stream>, Failed> {
    let mut stage = Stage::Connecting;
    let attempt = async {
        let stream = dial::connect(address, identity.tls.as_ref()).await;
        let stream = stream.map_err(Failed::Connect)?;
        // Writes are batched here, not by the kernel.
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
    let Identity { secret, role, close_codes, .. } = identity;
    let mut read = BytesMut::new();
    stream.write_all(&MAGIC).await.map_err(Failed::Lost)?;
    let (gateway_nonce, gateway, gateway_instance) = match next(&mut stream, &mut read).await? {
        ToPeer::Challenge { nonce, gateway, instance } => (nonce, gateway, instance),
        ToPeer::Refused(refusal) => return Err(Failed::Refused(refusal)),
        _ => return Err(Failed::OutOfOrder),
    };
    *stage = Stage::Challenged;
    let (peer_nonce, role) = (ours, role.clone());
    let transcript = Transcript { gateway_nonce, gateway, gateway_instance, peer_nonce, role };
    // Checked before the proof is sent, which is valid only at the gateway that it names.
    if !transcript.is_for(address) {
        return Err(Failed::OtherAddress(transcript.gateway));
    }
    let Ok(gateway) = transcript.gateway.parse() else {
        return Err(Failed::Address(transcript.gateway));
    };
    let proof = transcript.peer_proof(secret);
    let mut hello = BytesMut::new();
    native::encode(
        &ToGateway::Hello { role: transcript.role.clone(), nonce: ours, proof },
        &mut hello,
    )?;
    // In the same write, so that the gateway has them before the first event of a client.
    if identity.worker().is_some() && !close_codes.is_empty() {
        native::encode(&ToGateway::CloseCodes { codes: *close_codes }, &mut hello)?;
    }
    stream.write_all(&hello).await.map_err(Failed::Lost)?;
    match next(&mut stream, &mut read).await? {
        ToPeer::Welcome { proof, taken } => {
            match transcript.verify_gateway(secret, taken, &proof) {
                true => Ok(Proved {
                    stream,
                    gateway,
                    instance: transcript.gateway_instance,
                    taken,
                    read,
                }),
                false => Err(Failed::Impostor),
            }
        }
        ToPeer::Refused(refusal) => Err(Failed::Refused(refusal)),
        _ => Err(Failed::OutOfOrder),
    }
}

/// Reads the next message of an unauthenticated gateway, whose messages must be short.
async fn next<S: AsyncRead + Unpin>(stream: &mut S, read: &mut BytesMut) -> Result<ToPeer, Failed> {
    loop {
        if let Some(message) = native::decode(read, native::MAX_UNAUTHENTICATED_FRAME)? {
            return Ok(message);
        }
        read.reserve(native::MAX_UNAUTHENTICATED_FRAME);
        if stream.read_buf(read).await.map_err(Failed::Lost)? == 0 {
            return Err(Failed::Lost(io::ErrorKind::UnexpectedEof.into()));
        }
    }
}
