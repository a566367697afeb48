//! A register and gateways controlled by a test, over real sockets.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{net::SocketAddr, time::Duration};

use bytes::BytesMut;
use protocol::{
    Answer, ClientId, Command, ConnectionId, Context, Event, InstanceId, Message, Query, Secret,
    Session,
    codec::{json_lines::Lines, native},
    discovery::{FromRegister, Gateway, Presence, ToRegister, WorkerConnect},
    handshake::Transcript,
    link::{Delivery, MAGIC, Refusal, Role, ToGateway, ToPeer},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};

pub const SECRET: &str = "s3cret";

/// Long enough for any expected event on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Fails the test instead of hanging.
pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("did not happen")
}

#[derive(Debug)]
pub struct FakeRegister {
    listener: TcpListener,
}

#[derive(Debug)]
pub struct Subscriber {
    stream: TcpStream,
    read: BytesMut,
    lines: Lines,
}

impl FakeRegister {
    pub async fn start() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    pub fn address(&self) -> String {
        self.listener.local_addr().unwrap().to_string()
    }

    /// Accepts a subscriber, and returns its first request.
    pub async fn subscriber(&self) -> (Subscriber, WorkerConnect) {
        let (stream, _) = soon(self.listener.accept()).await.unwrap();
        let mut subscriber = Subscriber { stream, read: BytesMut::new(), lines: Lines::new(4096) };
        match subscriber.line().await {
            ToRegister::WorkerConnect(hello) => (subscriber, hello),
            other => panic!("{other:?}"),
        }
    }

    /// Accepts the next subscriber, and sends it a list of these gateways.
    pub async fn serve(&self, gateways: &[&FakeGateway]) -> Subscriber {
        let (mut subscriber, _) = self.subscriber().await;
        subscriber.list(gateways).await;
        subscriber
    }
}

impl Subscriber {
    async fn line(&mut self) -> ToRegister {
        soon(self.try_line()).await.expect("a line")
    }

    /// The next line; `None` at the end.
    async fn try_line(&mut self) -> Option<ToRegister> {
        loop {
            if let Some(line) = self.lines.next(&mut self.read).unwrap() {
                return Some(ToRegister::parse(&line).unwrap());
            }
            if self.stream.read_buf(&mut self.read).await.unwrap_or_default() == 0 {
                return None;
            }
        }
    }

    /// Sends the current list, and sends it again on every request.
    pub async fn serve_updates(mut self, mut list: watch::Receiver<(Vec<Gateway>, Presence)>) {
        loop {
            let (gateways, presence) = list.borrow_and_update().clone();
            self.send_list(gateways, Some(presence)).await;
            tokio::select! {
                changed = list.changed() => if changed.is_err() { return },
                line = self.try_line() => if line.is_none() { return },
            }
        }
    }

    pub async fn list(&mut self, gateways: &[&FakeGateway]) {
        let native = |it: &&FakeGateway| Gateway { native: true, ..Gateway::plain(it.address()) };
        self.send_gateways(gateways.iter().map(native).collect()).await;
    }

    pub async fn send_gateways(&mut self, gateways: Vec<Gateway>) {
        self.send_list(gateways, None).await;
    }

    pub async fn send_list(&mut self, gateways: Vec<Gateway>, presence: Option<Presence>) {
        let mut out = BytesMut::new();
        FromRegister::BroadcastAddresses { gateways, presence }.encode(&mut out);
        self.stream.write_all(&out).await.unwrap();
    }
}

#[derive(Debug)]
pub struct FakeGateway {
    pub listener: TcpListener,
    pub secret: Secret,
    pub instance: InstanceId,
    /// The last command acknowledged to each newly linked peer.
    pub taken: u64,
}

impl FakeGateway {
    pub async fn start() -> Self {
        Self::on("127.0.0.1:0".parse().unwrap()).await
    }

    pub async fn on(addr: SocketAddr) -> Self {
        let listener = TcpListener::bind(addr).await.unwrap();
        let instance = InstanceId::new(addr.port().to_string()).unwrap();
        Self { listener, secret: Secret::from(SECRET), instance, taken: 0 }
    }

    pub fn addr(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    pub fn address(&self) -> String {
        self.addr().to_string()
    }

    pub fn client(&self, connection: u32) -> ClientId {
        ClientId::new(self.addr(), ConnectionId(connection))
    }

    /// Accepts a link that must succeed.
    pub async fn link(&self) -> FakeLink {
        self.accept().await.expect("knows the secret")
    }

    /// Accepts a link, and refuses it if the peer does not prove the secret.
    pub async fn accept(&self) -> Result<FakeLink, Refusal> {
        let (stream, _) = soon(self.listener.accept()).await.unwrap();
        let mut link = FakeLink::new(stream);
        let mut magic = [0; 4];
        soon(link.stream.read_exact(&mut magic)).await.unwrap();
        assert_eq!(magic, MAGIC);
        let ours = [7; 32];
        let (gateway, instance) = (self.address(), self.instance.clone());
        link.send(ToPeer::Challenge { nonce: ours, gateway, instance }).await;
        let ToGateway::Hello { role, nonce, proof } = link.next().await else {
            panic!("no hello");
        };
        link.role = Some(role.clone());
        let transcript = Transcript {
            gateway_nonce: ours,
            gateway: self.address(),
            gateway_instance: self.instance.clone(),
            peer_nonce: nonce,
            role,
        };
        // The empty secret stands for an impostor, which cannot verify the peer.
        if !transcript.verify_peer(&self.secret, &proof) && !self.secret.is_empty() {
            link.send(ToPeer::Refused(Refusal::Secret)).await;
            return Err(Refusal::Secret);
        }
        let proof = transcript.gateway_proof(&self.secret, self.taken);
        link.send(ToPeer::Welcome { proof, taken: self.taken }).await;
        Ok(link)
    }
}

#[derive(Debug)]
pub struct FakeLink {
    pub stream: TcpStream,
    read: BytesMut,
    pub role: Option<Role>,
    /// The number of events sent, and the acknowledged ranges.
    sent: u64,
    pub done: Vec<(u16, u64, u64)>,
    pub answers_pings: bool,
    /// Whether every command is acknowledged at once.
    pub acks_commands: bool,
    /// The number of the worker's last session edit that events report.
    pub edits: u64,
}

impl FakeLink {
    fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            read: BytesMut::new(),
            role: None,
            sent: 0,
            done: Vec::new(),
            answers_pings: true,
            acks_commands: false,
            edits: 0,
        }
    }

    pub async fn send(&mut self, message: ToPeer) {
        let mut out = BytesMut::new();
        native::encode(&message, &mut out).unwrap();
        self.stream.write_all(&out).await.unwrap();
    }

    /// The next message of any kind; `None` at the end.
    pub async fn try_next(&mut self) -> Option<ToGateway> {
        loop {
            if let Some(message) = native::decode(&mut self.read, native::MAX_FRAME).unwrap() {
                return Some(message);
            }
            match self.stream.read_buf(&mut self.read).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    pub async fn next(&mut self) -> ToGateway {
        soon(self.try_next()).await.expect("the link is open")
    }

    /// The next command. Acknowledgements are recorded meanwhile, and pings answered.
    pub async fn command(&mut self) -> Command {
        self.numbered_command().await.1
    }

    pub async fn numbered_command(&mut self) -> (u64, Command) {
        soon(self.next_command()).await
    }

    async fn next_command(&mut self) -> (u64, Command) {
        loop {
            match self.next().await {
                ToGateway::Command { seq, command } => {
                    if self.acks_commands {
                        self.send(ToPeer::CommandAck { through: seq }).await;
                    }
                    return (seq, command);
                }
                other => self.note(other).await,
            }
        }
    }

    /// The next query, and the number of its request.
    pub async fn query(&mut self) -> (u64, Query) {
        loop {
            match self.next().await {
                ToGateway::Query { request, query } => return (request, query),
                other => self.note(other).await,
            }
        }
    }

    pub async fn answer(&mut self, answer: impl FnOnce(Query) -> Answer) {
        let (request, query) = self.query().await;
        self.send(ToPeer::Answer { request, answer: answer(query) }).await;
    }

    /// Waits until that many events are acknowledged.
    pub async fn done(&mut self, events: u64) {
        soon(async {
            while self.events_done() < events {
                let message = self.next().await;
                self.note(message).await;
            }
        })
        .await;
    }

    pub fn events_done(&self) -> u64 {
        self.done.iter().map(|(_, first, last)| last - first + 1).sum()
    }

    /// Whether nothing arrives within a moment, except for reports of started events. Used for what
    /// must not happen: a slow machine can only hide a failure.
    pub async fn is_quiet(&mut self) -> bool {
        let activity = async {
            while let Some(ToGateway::EventStarted { .. } | ToGateway::HandlerStarted { .. }) =
                self.try_next().await
            {}
        };
        timeout(Duration::from_millis(100), activity).await.is_err()
    }

    /// Like [`is_quiet`](Self::is_quiet), but events may be acknowledged.
    pub async fn sends_nothing(&mut self) -> bool {
        let sent = async {
            while let Some(message) = self.try_next().await {
                match message {
                    ToGateway::Command { command, .. } => return command,
                    other => self.note(other).await,
                }
            }
            std::future::pending().await
        };
        timeout(Duration::from_millis(100), sent).await.is_err()
    }

    pub async fn note(&mut self, message: ToGateway) {
        match message {
            ToGateway::EventAck { shard, first, last } => self.done.push((shard, first, last)),
            ToGateway::Ping { token } if self.answers_pings => {
                self.send(ToPeer::Pong { token }).await;
            }
            ToGateway::Leaving
            | ToGateway::Acknowledge
            | ToGateway::EventStarted { .. }
            | ToGateway::HandlerStarted { .. }
            | ToGateway::Ping { .. }
            | ToGateway::Pong { .. } => {}
            other => panic!("not expected: {other:?}"),
        }
    }

    /// All commands until the end of the link.
    pub async fn until_closed(&mut self) -> Vec<Command> {
        let mut commands = Vec::new();
        while let Some(message) = soon(self.try_next()).await {
            match message {
                ToGateway::Command { command, .. } => commands.push(command),
                other => self.note(other).await,
            }
        }
        commands
    }

    /// Sends an event of a client, the first one with its context.
    pub async fn event(&mut self, client: u32, event: Event) -> u64 {
        let context = matches!(event, Event::Connect).then(|| Box::new(context()));
        self.deliver(client, event, context, false).await
    }

    pub async fn deliver(
        &mut self,
        client: u32,
        event: Event,
        context: Option<Box<Context>>,
        redelivered: bool,
    ) -> u64 {
        self.sent += 1;
        let (client, seq) = (ConnectionId(client), self.sent);
        let (number, edits) = (seq, self.edits);
        let delivery =
            Delivery { client, shard: 0, seq, number, redelivered, edits, context, event };
        self.send(ToPeer::Event(delivery)).await;
        seq
    }

    pub async fn message(&mut self, client: u32, text: &str) -> u64 {
        self.event(client, Event::Message(Message::text(text))).await
    }
}

pub fn context() -> Context {
    Context {
        remote: "192.0.2.7:4321".parse().unwrap(),
        listener_port: 7272,
        session: Session::default(),
    }
}

pub fn sent_to(client: u32, text: &str) -> Command {
    Command::SendToClient { to: ConnectionId(client), message: Message::text(text) }
}
