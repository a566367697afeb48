//! One connection of one client, from handshake to close.

use std::{io, sync::atomic::Ordering};

use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval_at, timeout},
};

use crate::{
    account::{ConnectionLog, End},
    clients::{Environment, Phase, Received, Socket, Transport, reached},
    message::{Kind, Reply, Request},
};

/// The plan of a client for one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ClientPlan {
    /// It stays.
    Stay,
    /// It closes in order after that many messages.
    Leave(u32),
    /// It aborts after that many.
    Drop(u32),
}

/// An open connection.
pub(crate) struct Connection<'a, T: Transport> {
    socket: T::Socket,
    environment: &'a Environment<T>,
    log: ConnectionLog,
    /// Whether each message was answered.
    answered: Vec<bool>,
    unanswered: usize,
}

impl<'a, T: Transport> Connection<'a, T> {
    pub(crate) const fn new(
        socket: T::Socket,
        environment: &'a Environment<T>,
        log: ConnectionLog,
    ) -> Self {
        Self { socket, environment, log, answered: Vec::new(), unanswered: 0 }
    }

    /// Sends and receives according to the plan and the phase.
    pub(crate) async fn run(
        mut self,
        plan: ClientPlan,
        phase: &mut watch::Receiver<Phase>,
    ) -> ConnectionLog {
        for _ in 0..self.socket.sent_early() {
            self.next_request();
        }
        self.log.end = self.talk(plan, phase).await;
        if self.log.end == End::Stayed {
            self.listen(phase).await;
        }
        match self.log.end {
            End::Stayed | End::Left => self.close().await,
            End::Closed(Some(_)) => {
                let answering = self.socket.answer_close();
                let _ = timeout(self.environment.limits.close, answering).await;
            }
            _ => {}
        }
        self.log.ended = self.environment.transport.now();
        if self.log.joined.is_some() {
            self.environment.progress.joined.fetch_sub(1, Ordering::Relaxed);
        }
        self.log
    }

    async fn talk(&mut self, plan: ClientPlan, phase: &mut watch::Receiver<Phase>) -> End {
        let mut ticks = interval_at(Instant::now(), self.environment.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                received = self.socket.receive() => {
                    if let Some(end) = self.record(received) {
                        return end;
                    }
                }
                _ = ticks.tick(), if self.unanswered < self.environment.limits.unanswered => {
                    if self.send().await.is_err() {
                        return self.read_to_end().await;
                    }
                    let sent = self.log.sent.len() as u32;
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
        let progress = &self.environment.progress;
        progress.staying.fetch_add(1, Ordering::Relaxed);
        let mut settled = false;
        loop {
            if self.unanswered == 0 && !settled {
                settled = true;
                progress.settled.fetch_add(1, Ordering::Relaxed);
            }
            tokio::select! {
                received = self.socket.receive() => {
                    if let Some(end) = self.record(received) {
                        self.log.end = end;
                        progress.staying.fetch_sub(1, Ordering::Relaxed);
                        progress.settled.fetch_sub(u64::from(settled), Ordering::Relaxed);
                        return;
                    }
                }
                () = reached(phase, Phase::Leave) => return,
            }
        }
    }

    async fn send(&mut self) -> io::Result<()> {
        let request = self.next_request();
        self.socket.send(request.encode()).await
    }

    /// Logs the next message as sent.
    fn next_request(&mut self) -> Request {
        let number = self.log.sent.len() as u32 + 1;
        self.log.sent.push(self.environment.transport.now());
        self.answered.push(false);
        self.unanswered += 1;
        self.environment.progress.sent.fetch_add(1, Ordering::Relaxed);
        Request { from: self.log.token, number }
    }

    /// Receives what is left on a connection that cannot be written to any more.
    async fn read_to_end(&mut self) -> End {
        loop {
            let received = timeout(self.environment.limits.close, self.socket.receive()).await;
            if let Some(end) = self.record(received.unwrap_or(None)) {
                return end;
            }
        }
    }

    /// Logs one result of the socket. Returns how the connection ended, if it did.
    fn record(&mut self, received: Option<Received>) -> Option<End> {
        self.environment.progress.received.fetch_add(1, Ordering::Relaxed);
        match received {
            Some(Received::Message(bytes)) => self.reply(&bytes),
            Some(Received::Close(code)) => return Some(End::Closed(code)),
            Some(Received::Unexpected) => self.log.unexpected += 1,
            None => return Some(End::Closed(None)),
        }
        None
    }

    fn reply(&mut self, bytes: &[u8]) {
        let Some(reply) = Reply::decode(bytes) else {
            self.log.unexpected += 1;
            return;
        };
        let now = self.environment.transport.now();
        self.log.received.push(reply);
        self.log.received_at.push(now);
        if reply.kind != Kind::Echo || reply.from != self.log.token {
            return;
        }
        if self.log.joined.is_none() {
            self.log.joined = Some(now);
            self.environment.progress.joined.fetch_add(1, Ordering::Relaxed);
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
        let limit = self.environment.limits.close;
        let closing = async {
            self.socket.send_close().await.ok()?;
            loop {
                match self.socket.receive().await {
                    Some(Received::Message(bytes)) => self.reply(&bytes),
                    Some(Received::Close(_)) => return Some(()),
                    Some(Received::Unexpected) => {}
                    None => return None,
                }
            }
        };
        if timeout(limit, closing).await.ok().flatten().is_none() && self.log.end == End::Left {
            self.log.end = End::Closed(None);
        }
    }
}
