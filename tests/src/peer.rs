//! A native link to one gateway, driven one message at a time.

use std::{
    collections::VecDeque,
    hash::{BuildHasher as _, RandomState},
    io,
    net::SocketAddr,
};

use bytes::BytesMut;
use protocol::{
    Answer, CloseInfo, Command, ConnectionId, Event, InstanceId, Query, Secret,
    codec::native::{MAX_FRAME, decode, encode},
    handshake::Transcript,
    link::{Delivery, MAGIC, Refusal, Role, ToGateway, ToPeer},
};
use runtime::stream::Stream;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{net, with_timeout};

/// A link with a completed handshake. Dropping it looks like a crash to the gateway.
#[derive(Debug)]
pub struct Peer {
    stream: Stream,
    buffer: BytesMut,
    /// Messages received while waiting for another one.
    inbox: VecDeque<ToPeer>,
    commands: u64,
    queries: u64,
    acked: u64,
    /// How the clients of the close events were closed, in order.
    pub closes: Vec<CloseInfo>,
    /// Its instance id.
    instance: InstanceId,
    /// The address announced by the gateway.
    pub gateway: String,
    /// Sequence number up to which the gateway had acknowledged commands of this peer before.
    pub acked_before: u64,
}

/// The role of a back end with a new instance id.
pub fn back_end() -> Role {
    Role::Backend { instance: InstanceId::from_random(RandomState::new().hash_one("back end")) }
}

/// Encodes a message of a link.
///
/// # Panics
/// If it is too large for a frame.
pub fn encoded(message: &ToGateway) -> BytesMut {
    let mut bytes = BytesMut::new();
    encode(message, &mut bytes).unwrap();
    bytes
}

impl Peer {
    /// A link that sends commands and queries.
    ///
    /// # Panics
    /// If the handshake is refused.
    pub async fn back_end(gateway: SocketAddr, secret: &Secret) -> Self {
        Self::open(gateway, secret, back_end()).await.expect("the handshake is accepted")
    }

    /// A link that receives events, too.
    ///
    /// # Panics
    /// If the handshake is refused.
    pub async fn worker(gateway: SocketAddr, secret: &Secret, key: &str) -> Self {
        let random = RandomState::new().hash_one(key);
        let role = Role::Worker { key: key.to_owned(), instance: InstanceId::from_random(random) };
        Self::open(gateway, secret, role).await.expect("the handshake is accepted")
    }

    /// Opens a link.
    ///
    /// # Errors
    /// If the gateway refuses the handshake.
    ///
    /// # Panics
    /// If the gateway disconnects, breaks the protocol, or fails to prove that it has the secret.
    pub async fn open(addr: SocketAddr, secret: &Secret, role: Role) -> Result<Self, Refusal> {
        with_timeout("a handshake to be accepted or refused", Self::try_open(addr, secret, role))
            .await
            .unwrap()
    }

    /// The same, for a gateway that may be down.
    ///
    /// # Errors
    /// If the connection ends before the gateway has accepted or refused the handshake.
    ///
    /// # Panics
    /// If the gateway breaks the protocol, or fails to prove that it has the secret.
    pub async fn try_open(
        addr: SocketAddr,
        secret: &Secret,
        role: Role,
    ) -> io::Result<Result<Self, Refusal>> {
        let mut peer = Self {
            stream: net::connect(addr).await?,
            buffer: BytesMut::new(),
            inbox: VecDeque::new(),
            commands: 0,
            queries: 0,
            acked: 0,
            closes: Vec::new(),
            instance: role.instance().clone(),
            gateway: String::new(),
            acked_before: 0,
        };
        peer.stream.set_nodelay(true)?;
        peer.stream.write_all(&MAGIC).await?;
        let (theirs, gateway, instance) = match peer.read().await {
            Some(ToPeer::Challenge { nonce, gateway, instance }) => (nonce, gateway, instance),
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
            Some(other) => panic!("expected a challenge, received {other:?}"),
        };
        let random = RandomState::new();
        let ours = std::array::from_fn(|at| random.hash_one(at) as u8);
        let transcript = Transcript {
            gateway_nonce: theirs,
            gateway: gateway.clone(),
            gateway_instance: instance,
            peer_nonce: ours,
            role: role.clone(),
        };
        let proof = transcript.peer_proof(secret);
        peer.stream.write_all(&encoded(&ToGateway::Hello { role, nonce: ours, proof })).await?;
        match peer.read().await {
            Some(ToPeer::Welcome { proof, taken: acked }) => {
                assert!(transcript.verify_gateway(secret, acked, &proof));
                Ok(Ok(Self { gateway, acked_before: acked, commands: acked, acked, ..peer }))
            }
            Some(ToPeer::Refused(refusal)) => Ok(Err(refusal)),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
            Some(other) => panic!("expected a welcome, received {other:?}"),
        }
    }

    /// Its instance id.
    pub fn instance(&self) -> &InstanceId {
        &self.instance
    }

    /// Sends one message.
    ///
    /// # Panics
    /// If it cannot be sent.
    pub async fn send(&mut self, message: &ToGateway) {
        self.send_bytes(&encoded(message)).await;
    }

    /// The underlying connection.
    pub fn into_stream(self) -> Stream {
        self.stream
    }

    /// Sends bytes that need not be a message.
    ///
    /// # Panics
    /// If they cannot be sent.
    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        with_timeout("a message to be sent", self.stream.write_all(bytes)).await.unwrap();
    }

    /// Sends a command without waiting for its acknowledgement.
    pub async fn command(&mut self, command: Command) {
        self.commands += 1;
        self.send(&ToGateway::Command { seq: self.commands, command }).await;
    }

    /// Waits until the gateway has acknowledged every command sent so far.
    ///
    /// # Panics
    /// If the link closes.
    pub async fn acknowledged(&mut self) {
        while self.acked < self.commands {
            match self.read().await.expect("the link stays open") {
                ToPeer::CommandAck { through } => {
                    assert!(self.acked < through && through <= self.commands, "{through}");
                    self.acked = through;
                }
                other => self.inbox.push_back(other),
            }
        }
    }

    /// Sends a query and waits for the answer.
    ///
    /// # Panics
    /// If the link closes.
    pub async fn query(&mut self, query: Query) -> Answer {
        self.queries += 1;
        self.send(&ToGateway::Query { request: self.queries, query }).await;
        loop {
            match self.read().await.expect("the link stays open") {
                ToPeer::Answer { request, answer } => {
                    assert_eq!(request, self.queries, "answers match requests");
                    return answer;
                }
                other => self.inbox.push_back(other),
            }
        }
    }

    /// The next event, also of an isolated delivery. Of a close, only the reason is in it; the rest is
    /// in [`closes`](Self::closes).
    ///
    /// # Panics
    /// If the link closes.
    pub async fn event(&mut self) -> Delivery {
        loop {
            let message = match self.inbox.pop_front() {
                Some(message) => message,
                None => self.read().await.expect("the link stays open"),
            };
            match message {
                ToPeer::Event(mut delivery) | ToPeer::IsolatedEvent(mut delivery) => {
                    if let Event::Closed(info) = &delivery.event {
                        self.closes.push(info.clone());
                        delivery.event = Event::Close(info.reason);
                    }
                    return delivery;
                }
                ToPeer::CommandAck { through } => self.acked = through,
                ToPeer::Standby { .. }
                | ToPeer::StandbySession { .. }
                | ToPeer::ReleaseStandby { .. }
                | ToPeer::Draining { .. } => {}
                other => panic!("expected an event, received {other:?}"),
            }
        }
    }

    /// The next event, which must be of this client; acknowledges it.
    ///
    /// # Panics
    /// If it is of another client.
    pub async fn event_of(&mut self, client: ConnectionId) -> Event {
        let delivery = self.event().await;
        assert_eq!(delivery.client, client, "{delivery:?}");
        self.ack(&delivery).await;
        delivery.event
    }

    /// Acknowledges the two connect events of a new client and returns its id.
    ///
    /// # Panics
    /// If other events arrive.
    pub async fn accept_client(&mut self) -> ConnectionId {
        let connect = self.event().await;
        assert_eq!(connect.event, Event::Connect);
        assert!(connect.context.is_some(), "the first event carries the context");
        self.ack(&connect).await;
        let opened = self.event_of(connect.client).await;
        assert!(matches!(opened, Event::WebSocketConnect(_)), "{opened:?}");
        connect.client
    }

    /// Acknowledges an event.
    pub async fn ack(&mut self, delivery: &Delivery) {
        let (shard, seq) = (delivery.shard, delivery.seq);
        self.send(&ToGateway::EventAck { shard, first: seq, last: seq }).await;
    }

    /// Whether no event is pending. Sends a query first: its answer arrives behind everything that
    /// the gateway sent on this link before.
    pub async fn has_no_event(&mut self) -> bool {
        self.query(Query::Groups).await;
        let is_event = |it: &ToPeer| matches!(it, ToPeer::Event(_) | ToPeer::IsolatedEvent(_));
        !self.inbox.iter().any(is_event)
    }

    /// Waits until the gateway closes the link.
    pub async fn closed(&mut self) {
        while self.read().await.is_some() {}
    }

    /// The next message, including those received while waiting for another one; `None` once the
    /// link is closed.
    pub async fn next(&mut self) -> Option<ToPeer> {
        match self.inbox.pop_front() {
            Some(message) => Some(message),
            None => self.read().await,
        }
    }

    /// The opposite of [`Self::has_no_event`].
    pub async fn has_event(&mut self) -> bool {
        !self.has_no_event().await
    }

    /// The clients that this link is a standby of, each with its place among the holders, as far as
    /// the gateway has announced them by now.
    ///
    /// # Panics
    /// If it is not among the holders itself.
    pub async fn standby_lists(&mut self) -> Vec<(ConnectionId, usize)> {
        self.query(Query::Groups).await;
        let instance = self.instance.clone();
        let mut announced = Vec::new();
        for message in &self.inbox {
            if let ToPeer::Standby { holders, clients, .. } = message {
                let place = holders.iter().position(|holder| *holder == instance);
                let place = place.expect("it is one of the holders");
                announced.extend(clients.iter().map(|client| (client.client, place)));
            }
        }
        announced
    }

    /// The same without the places.
    pub async fn standby_clients(&mut self) -> Vec<ConnectionId> {
        self.standby_lists().await.into_iter().map(|(client, _)| client).collect()
    }

    /// Sends one message to a gateway that may have disconnected.
    ///
    /// # Errors
    /// If it has.
    ///
    /// # Panics
    /// If it cannot be sent.
    pub async fn try_send(&mut self, message: &ToGateway) -> io::Result<()> {
        with_timeout("a message to be sent", self.stream.write_all(&encoded(message))).await
    }

    /// Reads and discards this many bytes.
    ///
    /// # Panics
    /// If they do not arrive.
    pub async fn discard(&mut self, bytes: usize) {
        let mut bytes = vec![0; bytes];
        with_timeout("bytes of a gateway", self.stream.read_exact(&mut bytes)).await.unwrap();
    }

    /// The next message that is not a ping; pings are answered. `None` once the link is closed.
    async fn read(&mut self) -> Option<ToPeer> {
        with_timeout("a message of a gateway", self.read_message()).await
    }

    async fn read_message(&mut self) -> Option<ToPeer> {
        loop {
            match decode(&mut self.buffer, MAX_FRAME).unwrap() {
                Some(ToPeer::Ping { token }) => self.send(&ToGateway::Pong { token }).await,
                Some(message) => return Some(message),
                None => {
                    let read = self.stream.read_buf(&mut self.buffer).await;
                    if matches!(read, Ok(0) | Err(_)) {
                        return None;
                    }
                }
            }
        }
    }
}
