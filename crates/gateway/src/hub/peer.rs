//! A peer's link, from its first byte to its last, in either language.

use std::{
    future::poll_fn, io, mem, net::SocketAddr, pin::pin, rc::Rc, task::Poll, time::Duration,
};

use bytes::BytesMut;
use protocol::{
    codec::gateway_worker::MAX_STRANGER_FRAME,
    link::{MAGIC, ToPeer},
};
use service::{
    net::TcpStream,
    stream::{OwnedReadHalf, OwnedWriteHalf, Stream},
};
use tokio::{
    io::AsyncReadExt,
    time::{self, Interval, MissedTickBehavior},
};

use super::{
    Shared,
    ended::Ended,
    link::Link,
    native::{self, Proved},
    php,
    strangers::Stranger,
};
use crate::exchange::{Language, LinkId};

/// How long a stranger may take to say what it is.
const ADMISSION: Duration = Duration::from_secs(10);

/// How often a link whose peer must first catch up is looked at again.
const BUSY: Duration = Duration::from_millis(1);

/// How long a PHP peer that has said all it wants to say may wait for its replies.
const LAST_REPLIES: Duration = Duration::from_secs(5);

/// How many times a native peer is asked whether it is there, in the time that it may be silent;
/// and after how many of them its answer is late.
const ASKED: u32 = 5;
const LATE: u32 = 3;

/// How many times as long the host of a PHP peer may be silent, which cannot be asked: it is the
/// kernel that asks.
const PHP: u32 = 4;

/// How long a link that takes nothing more is still read.
const BROKEN: Duration = Duration::from_secs(1);

/// How many bytes are read from a link at a time.
const CHUNK: usize = 256 * 1024;

/// Serves a peer until something ends it, and says what.
pub(super) async fn serve(
    hub: Shared,
    stream: TcpStream,
    remote: SocketAddr,
    stranger: Stranger,
) -> Ended {
    let mut buffer = BytesMut::new();
    match time::timeout(ADMISSION, meet(&hub, stream, remote, &mut buffer)).await {
        Err(_) => Ended::Silent,
        Ok(Err(ended)) => ended,
        Ok(Ok((stream, Some(proved)))) => {
            drop(stranger);
            let (reader, writer) = stream.into_split();
            let id = hub.borrow_mut().admit(writer, remote, proved);
            run(hub, id, reader, buffer, Language::Native).await
        }
        Ok(Ok((stream, None))) => {
            watch_over(&stream, hub.borrow().settings.peer_timeout);
            let (reader, writer) = stream.into_split();
            let knows_nothing = !hub.borrow().secret.is_empty();
            let state = php::State::new(knows_nothing.then_some(stranger));
            let id = hub.borrow_mut().insert(Link::new(remote, Rc::new(writer), None, Some(state)));
            run(hub, id, reader, buffer, Language::Php).await
        }
    }
}

/// Has the kernel find out whether the host of a PHP peer has vanished. That the peer itself stands
/// still is not noticed: it may be at work.
fn watch_over(stream: &Stream, timeout: Duration) {
    if let Err(error) = stream.watch_over(timeout, timeout.saturating_mul(PHP)) {
        tracing::debug!(%error, "it may be noticed late that a peer's host has vanished");
    }
}

/// Waits until the kernel's list of ready sockets was looked at twice more.
///
/// A new socket is on that list from the start, since it can be written to. If that were still so
/// when the peer's first command comes, it would be read before a command that came earlier on
/// another link. Twice, since what comes while the kernel goes through the list is told of a socket
/// that it has yet to look at, and of others only the next time.
pub(super) async fn in_order() {
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
}

/// Waits for a new peer's first bytes in its turn: links that were found ready before it, or
/// together with it, while this task had not been run yet, are read first.
async fn in_turn(stream: &TcpStream) -> io::Result<()> {
    let mut first = true;
    poll_fn(|cx| {
        let ready = stream.poll_read_ready(cx);
        if mem::take(&mut first) && ready.is_ready() {
            // Those are in the queue by now: to its end, once.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        ready
    })
    .await
}

/// Tells by its first bytes whether a stranger speaks TLS, and which language. A native one proves
/// itself and says what it is; a PHP one does that with its first frame, or need not.
async fn meet(
    hub: &Shared,
    stream: TcpStream,
    remote: SocketAddr,
    buffer: &mut BytesMut,
) -> Result<(Stream, Option<Proved>), Ended> {
    in_turn(&stream).await?;
    let gate = hub.borrow().settings.gate.clone();
    let mut stream = gate.enter(stream, remote.ip(), buffer).await?;
    while buffer.len() < MAGIC.len() {
        if stream.read_buf(buffer).await? == 0 {
            return Err(Ended::ByPeer);
        }
    }
    if !buffer.starts_with(&MAGIC) {
        return Ok((stream, None));
    }
    let _ = buffer.split_to(MAGIC.len());
    let role = native::prove(hub, &mut stream, buffer).await?;
    Ok((stream, Some(role)))
}

/// Reads and writes until one of the two ends, or the hub ends the link.
async fn run(
    hub: Shared,
    id: LinkId,
    reader: OwnedReadHalf,
    buffer: BytesMut,
    language: Language,
) -> Ended {
    let link = {
        let hub = hub.borrow();
        let link = hub.links.get(&id);
        link.map(|link| {
            let (over, broken) = (link.over.clone(), link.broken.clone());
            (Rc::clone(&link.wait), Rc::clone(&link.socket), over, broken)
        })
    };
    let Some((wait, socket, over, broken)) = link else {
        return Ended::Replaced;
    };
    let write = async {
        loop {
            wait.notified().await;
            if let Err(ended) = write_on(&hub, id, &socket).await {
                return ended;
            }
        }
    };
    // What the peer said last is still read, unless it does not come.
    let broken = async {
        broken.cancelled().await;
        time::sleep(BROKEN).await;
    };
    let ended = tokio::select! {
        ended = read(&hub, id, reader, buffer, language) => ended,
        ended = write => ended,
        () = over.cancelled() => Ended::Replaced,
        () = broken => Ended::Lost(io::ErrorKind::BrokenPipe.into()),
    };
    hub.borrow_mut().forget(id, ended.link_end());
    ended
}

/// Waits until the socket takes more, and has it written to.
async fn write_on(hub: &Shared, id: LinkId, socket: &OwnedWriteHalf) -> Result<(), Ended> {
    socket.writable().await?;
    let mut hub = hub.borrow_mut();
    if let Some(link) = hub.links.get_mut(&id) {
        link.unblock();
    }
    hub.touch(id);
    Ok(())
}

async fn read(
    hub: &Shared,
    id: LinkId,
    mut reader: OwnedReadHalf,
    mut buffer: BytesMut,
    language: Language,
) -> Ended {
    let mut silence = Silence::new(hub.borrow().settings.peer_timeout);
    let mut admission = pin!(time::sleep(ADMISSION));
    loop {
        let taken = match language {
            Language::Native => hub.borrow_mut().take_native(id, &mut buffer),
            Language::Php => hub.borrow_mut().take_php(id, &mut buffer),
        };
        if let Err(ended) = taken {
            return ended;
        }
        let mut waited = false;
        while hub.borrow().is_busy(id) {
            waited = true;
            let written = hub.borrow().unread(id);
            tokio::select! {
                () = time::sleep(BUSY) => {}
                // It does not read what it has asked for, and is not heard until it does.
                _ = silence.ticks.tick(), if written.is_some() => {
                    if !silence.lasts(written) {
                        return Ended::Unread;
                    }
                }
            }
        }
        if waited {
            // There may be more in what was read before.
            continue;
        }
        let is_stranger = language == Language::Php && !hub.borrow().is_authorized(id);
        buffer.reserve(if is_stranger { MAX_STRANGER_FRAME } else { CHUNK });
        let read = loop {
            tokio::select! {
                biased;
                read = reader.read_buf(&mut buffer) => break read,
                () = &mut admission, if is_stranger => return Ended::Silent,
                _ = silence.ticks.tick(), if language == Language::Native => {
                    if !silence.lasts(None) {
                        return Ended::Unanswered;
                    }
                    let mut hub = hub.borrow_mut();
                    hub.say(id, &ToPeer::Ping { token: 0 });
                    hub.set_late(id, LATE <= silence.asked);
                }
            }
        };
        if LATE <= silence.asked {
            hub.borrow_mut().set_late(id, false);
        }
        silence.asked = 0;
        match read {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => return error.into(),
        }
    }
    // A PHP client may close its end behind its last question and still read the reply.
    let replies = async {
        while !hub.borrow().is_quiet(id) {
            time::sleep(BUSY).await;
        }
    };
    if language == Language::Php {
        // Whoever is not done by then has gone away.
        let _ = time::timeout(LAST_REPLIES, replies).await;
    }
    Ended::ByPeer
}

/// How long a native peer has been silent. One whose host has vanished closes nothing, and the
/// kernel would go on for a quarter of an hour; what it had is to be given to others before that.
struct Silence {
    ticks: Interval,
    /// How often it was asked since anything was heard.
    asked: u32,
    /// How much was written to it when that was last looked at.
    written: Option<u64>,
}

impl Silence {
    fn new(timeout: Duration) -> Self {
        let mut ticks = time::interval(timeout / (ASKED + 1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.reset();
        Self { ticks, asked: 0, written: None }
    }

    /// Nothing was heard for one more tick. Whether to ask (again). As long as it takes what is
    /// written to it, it is there.
    fn lasts(&mut self, written: Option<u64>) -> bool {
        let takes = written.is_some() && self.written != written;
        self.written = written;
        self.asked = if takes { 0 } else { self.asked + 1 };
        self.asked <= ASKED
    }
}
