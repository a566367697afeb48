//! A native link to one gateway, driven by hand: what our workers do, one message at a time.

use std::{
    collections::VecDeque,
    hash::{BuildHasher as _, RandomState},
    io,
    net::SocketAddr,
};

use bytes::BytesMut;
use protocol::{
    Answer, Command, ConnectionId, Event, Instance, Query, Secret,
    codec::native::{MAX_FRAME, decode, encode},
    handshake::Transcript,
    link::{Delivery, MAGIC, Refusal, Role, ToGateway, ToPeer},
};
use service::stream::Stream;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{net, soon};

/// A link that its gateway has let in. Dropping it is what a crash looks like.
#[derive(Debug)]
pub struct Peer {
    stream: Stream,
    buffer: BytesMut,
    /// What came while something else was awaited.
    inbox: VecDeque<ToPeer>,
    commands: u64,
    queries: u64,
    taken: u64,
    /// Which instance it is.
    instance: Instance,
    /// The address that the gateway announces.
    pub gateway: String,
    /// How far the gateway had taken this peer's commands before.
    pub before: u64,
}

/// The role of a back end that nobody has met before.
pub fn back_end() -> Role {
    Role::Client { instance: Instance::from_dice(RandomState::new().hash_one("back end")) }
}

/// A message of a link as bytes.
///
/// # Panics
/// When it is too large for a frame.
pub fn encoded(message: &ToGateway) -> BytesMut {
    let mut bytes = BytesMut::new();
    encode(message, &mut bytes).unwrap();
    bytes
}

impl Peer {
    /// A link that commands and asks.
    ///
    /// # Panics
    /// When it is not let in.
    pub async fn client(gateway: SocketAddr, secret: &Secret) -> Self {
        Self::open(gateway, secret, back_end()).await.expect("to be let in")
    }

    /// A link that takes events too.
    ///
    /// # Panics
    /// When it is not let in.
    pub async fn worker(gateway: SocketAddr, secret: &Secret, key: &str) -> Self {
        let dice = RandomState::new().hash_one(key);
        let role = Role::Worker { key: key.to_owned(), instance: Instance::from_dice(dice) };
        Self::open(gateway, secret, role).await.expect("to be let in")
    }

    /// Opens a link.
    ///
    /// # Errors
    /// When the gateway refuses it.
    ///
    /// # Panics
    /// When the gateway is gone, breaks the protocol, or does not know the secret itself.
    pub async fn open(addr: SocketAddr, secret: &Secret, role: Role) -> Result<Self, Refusal> {
        soon("to be let in or refused", Self::try_open(addr, secret, role)).await.unwrap()
    }

    /// The same, of a gateway that may be gone.
    ///
    /// # Errors
    /// When the connection ends before the gateway has said whether it lets the peer in.
    ///
    /// # Panics
    /// When the gateway breaks the protocol, or does not know the secret itself.
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
            taken: 0,
            instance: role.instance().clone(),
            gateway: String::new(),
            before: 0,
        };
        peer.stream.set_nodelay(true)?;
        peer.stream.write_all(&MAGIC).await?;
        let (theirs, gateway, instance) = match peer.read().await {
            Some(ToPeer::Challenge { nonce, gateway, instance }) => (nonce, gateway, instance),
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
            Some(other) => panic!("a challenge was expected, not {other:?}"),
        };
        let dice = RandomState::new();
        let ours = std::array::from_fn(|at| dice.hash_one(at) as u8);
        let said = Transcript {
            gateway_nonce: theirs,
            gateway: gateway.clone(),
            gateway_instance: instance,
            peer_nonce: ours,
            role: role.clone(),
        };
        let proof = said.peer_proof(secret);
        peer.stream.write_all(&encoded(&ToGateway::Hello { role, nonce: ours, proof })).await?;
        match peer.read().await {
            Some(ToPeer::Welcome { proof, taken: before }) => {
                assert!(said.verify_gateway(secret, before, &proof));
                Ok(Ok(Self { gateway, before, commands: before, taken: before, ..peer }))
            }
            Some(ToPeer::Refused(refusal)) => Ok(Err(refusal)),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
            Some(other) => panic!("a welcome was expected, not {other:?}"),
        }
    }

    /// Which instance it is to gateways.
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// Sends one message.
    ///
    /// # Panics
    /// When it does not go out.
    pub async fn say(&mut self, message: &ToGateway) {
        self.say_bytes(&encoded(message)).await;
    }

    /// Its connection, to be used in other ways.
    pub fn into_stream(self) -> Stream {
        self.stream
    }

    /// Sends bytes that need not be a message.
    ///
    /// # Panics
    /// When they do not go out.
    pub async fn say_bytes(&mut self, bytes: &[u8]) {
        soon("a message to go out", self.stream.write_all(bytes)).await.unwrap();
    }

    /// Gives a command, and waits for nothing.
    pub async fn command(&mut self, command: Command) {
        self.commands += 1;
        self.say(&ToGateway::Command { seq: self.commands, command }).await;
    }

    /// Waits until the gateway has taken every command given so far.
    ///
    /// # Panics
    /// When the link ends instead.
    pub async fn taken(&mut self) {
        while self.taken < self.commands {
            match self.read().await.expect("the link to stay") {
                ToPeer::Taken { through } => {
                    assert!(self.taken < through && through <= self.commands, "{through}");
                    self.taken = through;
                }
                other => self.inbox.push_back(other),
            }
        }
    }

    /// Asks, and waits for the answer.
    ///
    /// # Panics
    /// When the link ends instead.
    pub async fn ask(&mut self, query: Query) -> Answer {
        self.queries += 1;
        self.say(&ToGateway::Query { request: self.queries, query }).await;
        loop {
            match self.read().await.expect("the link to stay") {
                ToPeer::Answer { request, answer } => {
                    assert_eq!(request, self.queries, "answers are to what was asked");
                    return answer;
                }
                other => self.inbox.push_back(other),
            }
        }
    }

    /// The next event.
    ///
    /// # Panics
    /// When the link ends instead.
    pub async fn event(&mut self) -> Delivery {
        loop {
            let message = match self.inbox.pop_front() {
                Some(message) => message,
                None => self.read().await.expect("the link to stay"),
            };
            match message {
                ToPeer::Event(delivery) => return delivery,
                ToPeer::Taken { through } => self.taken = through,
                ToPeer::Standby { .. }
                | ToPeer::StandbySession { .. }
                | ToPeer::Release { .. }
                | ToPeer::Draining { .. } => {}
                other => panic!("an event was expected, not {other:?}"),
            }
        }
    }

    /// The next event, which is of that client, and done with at once.
    ///
    /// # Panics
    /// When it is of somebody else.
    pub async fn event_of(&mut self, client: ConnectionId) -> Event {
        let delivery = self.event().await;
        assert_eq!(delivery.client, client, "{delivery:?}");
        self.done(&delivery).await;
        delivery.event
    }

    /// Takes a new client's first two events, and says who it is.
    ///
    /// # Panics
    /// When they are something else.
    pub async fn welcomes(&mut self) -> ConnectionId {
        let connect = self.event().await;
        assert_eq!(connect.event, Event::Connect);
        assert!(connect.context.is_some(), "the first event tells what there is to know");
        self.done(&connect).await;
        let opened = self.event_of(connect.client).await;
        assert!(matches!(opened, Event::WebSocketConnect(_)), "{opened:?}");
        connect.client
    }

    /// Says that an event is done with.
    pub async fn done(&mut self, delivery: &Delivery) {
        let (shard, seq) = (delivery.shard, delivery.seq);
        self.say(&ToGateway::Done { shard, first: seq, last: seq }).await;
    }

    /// Whether nothing but what was already heard comes before the answer to a query: all that
    /// the gateway had to say to this link before then has arrived.
    pub async fn has_no_event(&mut self) -> bool {
        self.ask(Query::Groups).await;
        !self.inbox.iter().any(|message| matches!(message, ToPeer::Event(_)))
    }

    /// Waits until the gateway hangs up.
    pub async fn ends(&mut self) {
        while self.read().await.is_some() {}
    }

    /// The next message, also one that came while something else was awaited; `None` at the end.
    pub async fn next(&mut self) -> Option<ToPeer> {
        match self.inbox.pop_front() {
            Some(message) => Some(message),
            None => self.read().await,
        }
    }

    /// Whether an event has come, once all has that the gateway had to say before now.
    pub async fn has_event(&mut self) -> bool {
        !self.has_no_event().await
    }

    /// The clients that it was told of as a standby, once all has come that the gateway had to say before
    /// now; each with its place among their holders.
    ///
    /// # Panics
    /// When it is not among the holders itself.
    pub async fn standby_lists(&mut self) -> Vec<(ConnectionId, usize)> {
        self.ask(Query::Groups).await;
        let instance = self.instance.clone();
        let mut told = Vec::new();
        for message in &self.inbox {
            if let ToPeer::Standby { holders, clients, .. } = message {
                let place = holders.iter().position(|holder| *holder == instance);
                let place = place.expect("it is one of the holders");
                told.extend(clients.iter().map(|client| (client.client, place)));
            }
        }
        told
    }

    /// The same without the place.
    pub async fn standby_clients(&mut self) -> Vec<ConnectionId> {
        self.standby_lists().await.into_iter().map(|(client, _)| client).collect()
    }

    /// Sends one message to a gateway that may have hung up.
    ///
    /// # Errors
    /// When it has.
    ///
    /// # Panics
    /// When it does not go out.
    pub async fn try_say(&mut self, message: &ToGateway) -> io::Result<()> {
        let mut bytes = BytesMut::new();
        encode(message, &mut bytes).unwrap();
        soon("a message to go out", self.stream.write_all(&bytes)).await
    }

    /// Reads so many bytes, and makes nothing of them.
    ///
    /// # Panics
    /// When they do not come.
    pub async fn skim(&mut self, bytes: usize) {
        let mut bytes = vec![0; bytes];
        soon("a gateway's bytes", self.stream.read_exact(&mut bytes)).await.unwrap();
    }

    /// The next message but pings, which it answers; `None` at the end.
    async fn read(&mut self) -> Option<ToPeer> {
        loop {
            match decode(&mut self.buffer, MAX_FRAME).unwrap() {
                Some(ToPeer::Ping { token }) => self.say(&ToGateway::Pong { token }).await,
                Some(message) => return Some(message),
                None => {
                    let reading = self.stream.read_buf(&mut self.buffer);
                    if matches!(soon("a gateway's word", reading).await, Ok(0) | Err(_)) {
                        return None;
                    }
                }
            }
        }
    }
}
