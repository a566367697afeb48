//! Publishers: each sends events to one channel, one HTTP request after the other.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    rc::Rc,
    sync::atomic::Ordering::Relaxed,
    task::Poll,
    time::{SystemTime, UNIX_EPOCH},
};

use tokio::{
    io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf},
    net::TcpStream,
    sync::mpsc,
};

use super::shared::{Local, nanos};
use crate::{
    pusher::{
        Pusher,
        http::{Answer, Malformed, Reader},
    },
    stamp::Stamp,
};

/// A connection to the HTTP API, opened when it is needed.
pub(super) struct Publisher {
    local: Rc<Local>,
    pusher: Pusher,
    channel: String,
    connection: Option<TcpStream>,
    /// The request; kept for its memory.
    request: Vec<u8>,
}

/// The events of an open loop that wait for their publisher. More are due and not sent.
pub(super) const QUEUE: usize = 1024;

impl Publisher {
    /// The publisher with this number, if messages are published.
    pub(super) fn new(local: &Rc<Local>, sender: usize) -> Option<Self> {
        let plan = &local.run.plan;
        let pusher = plan.pusher.clone()?;
        let channel = plan.target_channel(&pusher, sender);
        let (local, request) = (Rc::clone(local), Vec::new());
        Some(Self { local, pusher, channel, connection: None, request })
    }

    /// Publishes an event, and waits until the server has accepted it.
    pub(super) async fn publish(&mut self, stamp: &Stamp) -> io::Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let size = self.local.run.plan.size;
        self.pusher.publish(&self.channel, stamp, size, now, &mut self.request);
        let mut connection = match self.connection.take().filter(is_open) {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        connection.write_all(&self.request).await?;
        let answer = answer(&mut connection, &self.local).await?;
        if answer.keeps_open {
            self.connection = Some(connection);
        }
        match answer.status {
            200 => Ok(()),
            status => Err(io::Error::other(format!("status {status}: {}", answer.reason))),
        }
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        let connection = TcpStream::connect(self.pusher.http.addr).await?;
        connection.set_nodelay(true)?;
        Ok(connection)
    }

    /// A closed loop: publishes the next event when the server has accepted the one before and, of
    /// those before it, fewer than the window are missing somewhere.
    pub(super) async fn run_closed(mut self, sender: usize) {
        let start = self.local.started().await;
        let local = Rc::clone(&self.local);
        let run = &local.run;
        let mut number = 0;
        while run.is_sending() {
            if !run.in_flight.reserve(sender, number) {
                run.in_flight.completed(sender).await;
                continue;
            }
            let stamp = run.stamp(sender, number, start.elapsed());
            number = number.wrapping_add(1);
            run.live.sent.fetch_add(1, Relaxed);
            if let Err(error) = self.publish(&stamp).await {
                run.live.record_failure(format!("an event was not published: {error}"));
                return;
            }
        }
    }

    /// An open loop: publishes events as the pacer says that they are due.
    pub(super) async fn run_open(mut self, mut due: mpsc::Receiver<Stamp>) {
        let start = self.local.started().await;
        let local = Rc::clone(&self.local);
        while let Some(stamp) = due.recv().await {
            let now = nanos(start.elapsed());
            local.counters.borrow_mut().lag.record(now, now.saturating_sub(stamp.due));
            if let Err(error) = self.publish(&stamp).await {
                local.run.live.record_failure(format!("an event was not published: {error}"));
            }
        }
    }
}

/// Whether the server has neither closed the connection nor sent anything unasked.
fn is_open(connection: &TcpStream) -> bool {
    let read = connection.try_read(&mut [0]);
    read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

/// Reads an answer, by way of the thread's read buffer.
async fn answer(connection: &mut TcpStream, local: &Local) -> io::Result<Answer> {
    let mut reader = Reader::default();
    poll_fn(|context| {
        loop {
            let mut input = local.input.borrow_mut();
            let mut buffer = ReadBuf::new(&mut input);
            match Pin::new(&mut *connection).poll_read(context, &mut buffer) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(read) => read?,
            }
            match reader.feed(buffer.filled()) {
                Ok(None) => {}
                Ok(Some(answer)) => return Poll::Ready(Ok(answer)),
                Err(Malformed) => return Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
            }
        }
    })
    .await
}
