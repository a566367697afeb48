//! One connection of one client, from handshake to close.

use std::{sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::{
    net::TcpStream,
    sync::watch,
    time::{Instant, MissedTickBehavior, interval_at, timeout},
};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{Error, Message, protocol::WebSocketConfig},
};

use crate::{
    account::{End, Life},
    clients::{ClientPlan, Phase, Place, reached},
    journal,
    message::{Ask, Kind, Reply, Token},
};

/// An open connection.
pub(crate) struct Connection<'a> {
    socket: WebSocketStream<TcpStream>,
    place: &'a Place,
    life: Life,
    /// Whether each message was answered.
    answered: Vec<bool>,
    unanswered: usize,
}

/// Maximum number of unanswered messages: a stalled gateway is written to until its buffers are
/// full, and no further.
const UNANSWERED: usize = 1_000;

/// How long to wait for the close frame of the remote side.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(15);

impl<'a> Connection<'a> {
    /// Opens a connection. `None` if that fails, before any message was sent.
    pub(crate) async fn open(place: &'a Place, gateway: usize, token: Token) -> Option<Self> {
        let began = journal::now();
        let address = place.gateways[gateway];
        let stream = TcpStream::connect(address).await.ok()?;
        stream.set_nodelay(true).ok()?;
        let request = format!("ws://{address}/?{}", token.to_u64());
        // The default reserves 128 KiB per connection.
        let config = WebSocketConfig::default().read_buffer_size(4096).write_buffer_size(0);
        let (socket, _) = client_async_with_config(request, stream, Some(config)).await.ok()?;
        let life = Life {
            token,
            gateway: place.inner[gateway],
            began,
            joined: None,
            sent: Vec::new(),
            heard: Vec::new(),
            heard_at: Vec::new(),
            nonsense: 0,
            end: End::Refused,
            ended: 0,
        };
        Some(Self { socket, place, life, answered: Vec::new(), unanswered: 0 })
    }

    /// Sends and receives according to the plan and the phase.
    pub(crate) async fn live(
        mut self,
        plan: ClientPlan,
        phase: &mut watch::Receiver<Phase>,
    ) -> Life {
        self.life.end = self.talk(plan, phase).await;
        if self.life.end == End::Stayed {
            self.listen(phase).await;
        }
        match self.life.end {
            End::Stayed | End::Left => self.close().await,
            // The next read answers the close frame that was received.
            End::Closed(Some(_)) => {
                let _ = timeout(CLOSE_TIMEOUT, self.socket.next()).await;
            }
            _ => {}
        }
        self.life.ended = journal::now();
        if self.life.joined.is_some() {
            self.place.progress.joined.fetch_sub(1, Ordering::Relaxed);
        }
        self.life
    }

    async fn talk(&mut self, plan: ClientPlan, phase: &mut watch::Receiver<Phase>) -> End {
        let every = self.place.every;
        let mut ticks = interval_at(Instant::now(), every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                received = self.socket.next() => {
                    if let Some(end) = self.receive(received) {
                        return end;
                    }
                }
                _ = ticks.tick(), if self.unanswered < UNANSWERED => {
                    if self.send().await.is_err() {
                        return self.read_to_end().await;
                    }
                    let sent = self.life.sent.len() as u32;
                    match plan {
                        ClientPlan::Leave(after) if after <= sent => return End::Left,
                        ClientPlan::Drop(after) if after <= sent => return End::Dropped,
                        _ => {}
                    }
                }
                () = reached(phase, Phase::Listen) => return End::Stayed,
            }
        }
    }

    async fn listen(&mut self, phase: &mut watch::Receiver<Phase>) {
        let progress = &self.place.progress;
        progress.staying.fetch_add(1, Ordering::Relaxed);
        let mut settled = false;
        loop {
            if self.unanswered == 0 && !settled {
                settled = true;
                progress.settled.fetch_add(1, Ordering::Relaxed);
            }
            tokio::select! {
                received = self.socket.next() => {
                    if let Some(end) = self.receive(received) {
                        self.life.end = end;
                        progress.staying.fetch_sub(1, Ordering::Relaxed);
                        progress.settled.fetch_sub(u64::from(settled), Ordering::Relaxed);
                        return;
                    }
                }
                () = reached(phase, Phase::Leave) => return,
            }
        }
    }

    async fn send(&mut self) -> Result<(), Error> {
        let number = self.life.sent.len() as u32 + 1;
        self.life.sent.push(journal::now());
        self.answered.push(false);
        self.unanswered += 1;
        self.place.progress.sent.fetch_add(1, Ordering::Relaxed);
        let ask = Ask { from: self.life.token, number };
        self.socket.send(Message::Binary(ask.encode().into())).await
    }

    /// Receives what is left on a connection that cannot be written to any more.
    async fn read_to_end(&mut self) -> End {
        loop {
            let received = timeout(CLOSE_TIMEOUT, self.socket.next()).await.unwrap_or(None);
            if let Some(end) = self.receive(received) {
                return end;
            }
        }
    }

    /// Handles one result of the socket. Returns how the connection ended, if it did.
    fn receive(&mut self, received: Option<Result<Message, Error>>) -> Option<End> {
        self.place.progress.heard.fetch_add(1, Ordering::Relaxed);
        match received {
            Some(Ok(Message::Binary(bytes))) => self.reply(&bytes),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(Message::Close(frame))) => {
                return Some(End::Closed(frame.map(|frame| frame.code.into())));
            }
            Some(Ok(_)) => self.life.nonsense += 1,
            Some(Err(_)) | None => return Some(End::Closed(None)),
        }
        None
    }

    fn reply(&mut self, bytes: &Bytes) {
        let Some(reply) = Reply::decode(bytes) else {
            self.life.nonsense += 1;
            return;
        };
        self.life.heard.push(reply);
        self.life.heard_at.push(journal::now());
        if reply.kind != Kind::Echo || reply.from != self.life.token {
            return;
        }
        if self.life.joined.is_none() {
            self.life.joined = Some(journal::now());
            self.place.progress.joined.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(answered) = self.answered.get_mut((reply.number as usize).wrapping_sub(1))
            && !std::mem::replace(answered, true)
        {
            self.unanswered -= 1;
        }
    }

    /// Sends a close frame, and receives until the remote side sends its own. If the gateway ends
    /// meanwhile, the account exempts the connection.
    async fn close(&mut self) {
        let closing = async {
            if self.socket.close(None).await.is_err() {
                return None;
            }
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Binary(bytes))) => self.reply(&bytes),
                    Some(Ok(Message::Close(_))) => return Some(()),
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return None,
                }
            }
        };
        if timeout(CLOSE_TIMEOUT, closing).await.ok().flatten().is_none()
            && self.life.end == End::Left
        {
            self.life.end = End::Closed(None);
        }
    }
}
