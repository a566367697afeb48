//! One connection of one client, from its handshake to its end.

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
    crowd::{Mind, Phase, Place, turned},
    journal,
    message::{Ask, Kind, Reply, Token},
};

/// An open connection.
pub(crate) struct Connection<'a> {
    socket: WebSocketStream<TcpStream>,
    place: &'a Place,
    life: Life,
    /// How many of its messages were answered: each has a bit.
    answered: Vec<bool>,
    unanswered: usize,
}

/// So many messages may be unanswered before no more are sent: a gateway that stands still is
/// written to until its buffers are full, and not for ever.
const UNANSWERED: usize = 1_000;

/// How long to wait for the other side's goodbye.
const GOODBYE: Duration = Duration::from_secs(15);

impl<'a> Connection<'a> {
    /// Opens one. `None` if that fails; no message was sent then.
    pub(crate) async fn open(place: &'a Place, gateway: usize, token: Token) -> Option<Self> {
        let began = journal::now();
        let address = place.gateways[gateway];
        let stream = TcpStream::connect(address).await.ok()?;
        stream.set_nodelay(true).ok()?;
        let request = format!("ws://{address}/?{}", token.to_u64());
        // The default reserves 128 KiB for each.
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

    /// Talks and listens as `mind` and the phase have it.
    pub(crate) async fn live(mut self, mind: Mind, phase: &mut watch::Receiver<Phase>) -> Life {
        self.life.end = self.talk(mind, phase).await;
        if self.life.end == End::Stayed {
            self.listen(phase).await;
        }
        match self.life.end {
            End::Stayed | End::Left => self.say_goodbye().await,
            // It is told goodbye, and answers that when it is read from again.
            End::Closed(Some(_)) => {
                let _ = timeout(GOODBYE, self.socket.next()).await;
            }
            _ => {}
        }
        self.life.ended = journal::now();
        if self.life.joined.is_some() {
            self.place.progress.joined.fetch_sub(1, Ordering::Relaxed);
        }
        self.life
    }

    async fn talk(&mut self, mind: Mind, phase: &mut watch::Receiver<Phase>) -> End {
        let every = self.place.every;
        let mut ticks = interval_at(Instant::now(), every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                heard = self.socket.next() => {
                    if let Some(end) = self.hear(heard) {
                        return end;
                    }
                }
                _ = ticks.tick(), if self.unanswered < UNANSWERED => {
                    if self.send().await.is_err() {
                        return self.closed().await;
                    }
                    let sent = self.life.sent.len() as u32;
                    match mind {
                        Mind::Leave(after) if after <= sent => return End::Left,
                        Mind::Drop(after) if after <= sent => return End::Dropped,
                        _ => {}
                    }
                }
                () = turned(phase, Phase::Listen) => return End::Stayed,
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
                heard = self.socket.next() => {
                    if let Some(end) = self.hear(heard) {
                        self.life.end = end;
                        progress.staying.fetch_sub(1, Ordering::Relaxed);
                        progress.settled.fetch_sub(u64::from(settled), Ordering::Relaxed);
                        return;
                    }
                }
                () = turned(phase, Phase::Leave) => return,
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

    /// What is left to be heard on a connection that takes nothing any more.
    async fn closed(&mut self) -> End {
        loop {
            let heard = timeout(GOODBYE, self.socket.next()).await.unwrap_or(None);
            if let Some(end) = self.hear(heard) {
                return end;
            }
        }
    }

    /// Takes what came. The end, if it was that.
    fn hear(&mut self, heard: Option<Result<Message, Error>>) -> Option<End> {
        self.place.progress.heard.fetch_add(1, Ordering::Relaxed);
        match heard {
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

    /// Says goodbye, and hears what comes until the other side does too. A gateway that goes down
    /// meanwhile is not held against it: the account knows.
    async fn say_goodbye(&mut self) {
        let goodbye = async {
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
        if timeout(GOODBYE, goodbye).await.ok().flatten().is_none() && self.life.end == End::Left {
            self.life.end = End::Closed(None);
        }
    }
}
