//! The task of one link, for either protocol.

use std::{io, net::SocketAddr, pin::pin, rc::Rc, time::Duration};

use bytes::BytesMut;
use protocol::{
    codec::gateway_worker::MAX_UNAUTHENTICATED_FRAME,
    link::{MAGIC, ToPeer},
};
use runtime::{
    clock,
    liveness::{self, Probes},
    net::TcpStream,
    stream::{OwnedReadHalf, OwnedWriteHalf, Stream},
};
use tokio::{
    io::AsyncReadExt,
    time::{self, Interval, MissedTickBehavior},
};

use super::{
    Shared,
    arrival_order::wait_turn,
    link::Link,
    link_closed::LinkClosed,
    native::{self, Authenticated},
    php,
    unauthenticated::UnauthenticatedPeer,
};
use crate::thread_messages::{LinkId, PeerProtocol};

/// Time limit for authentication.
const AUTHENTICATION: Duration = Duration::from_secs(10);

/// Interval between checks while reading from a peer is paused.
const BUSY: Duration = Duration::from_millis(1);

/// How long pending replies are still sent after a PHP peer has closed its sending side.
const LAST_REPLIES: Duration = Duration::from_secs(5);

/// Factor on the peer timeout for PHP peers. Their protocol has no liveness probe, so TCP keepalive
/// checks their host.
const PHP_TIMEOUT_FACTOR: u32 = 4;

/// How long a link is still read after writing has failed.
const BROKEN: Duration = Duration::from_secs(1);

/// Buffer space for one read, in bytes.
const CHUNK: usize = 256 * 1024;

/// Serves a peer until its link ends. Returns the reason.
pub(super) async fn serve(
    hub: Shared,
    stream: TcpStream,
    remote: SocketAddr,
    unauthenticated: UnauthenticatedPeer,
) -> LinkClosed {
    let mut buffer = BytesMut::new();
    match time::timeout(AUTHENTICATION, identify(&hub, stream, remote, &mut buffer)).await {
        Err(_) => LinkClosed::Silent,
        Ok(Err(ended)) => ended,
        Ok(Ok((stream, Some(authenticated)))) => {
            drop(unauthenticated);
            let (reader, writer) = stream.into_split();
            let id = hub.borrow_mut().admit(writer, remote, authenticated);
            run(hub, id, reader, buffer, PeerProtocol::Native).await
        }
        Ok(Ok((stream, None))) => {
            enable_keepalive(&stream, hub.borrow().settings.peer_timeout);
            let (reader, writer) = stream.into_split();
            let requires_secret = !hub.borrow().secret.is_empty();
            let state = php::State::new(requires_secret.then_some(unauthenticated));
            let id =
                hub.borrow_mut().add_link(Link::new(remote, Rc::new(writer), None, Some(state)));
            run(hub, id, reader, buffer, PeerProtocol::Php).await
        }
    }
}

/// Enables TCP keepalive to detect that the host of a PHP peer is unreachable. A stalled process is
/// not detected, since it cannot be distinguished from a busy one.
fn enable_keepalive(stream: &Stream, timeout: Duration) {
    if let Err(error) = stream.enable_keepalive(timeout, timeout.saturating_mul(PHP_TIMEOUT_FACTOR))
    {
        tracing::debug!(
            %error,
            "cannot enable TCP keepalive; loss of the peer's host may be detected late"
        );
    }
}

/// Detects TLS and the protocol of a new peer by its first bytes. A native peer is authenticated
/// here. A PHP peer authenticates with its first frame, if a secret is set.
async fn identify(
    hub: &Shared,
    stream: TcpStream,
    remote: SocketAddr,
    buffer: &mut BytesMut,
) -> Result<(Stream, Option<Authenticated>), LinkClosed> {
    wait_turn(&stream).await?;
    let gate = hub.borrow().settings.gate.clone();
    let mut stream = gate.enter(stream, remote.ip(), buffer).await?;
    while buffer.len() < MAGIC.len() {
        if stream.read_buf(buffer).await? == 0 {
            return Err(LinkClosed::ByPeer);
        }
    }
    if !buffer.starts_with(&MAGIC) {
        return Ok((stream, None));
    }
    let _ = buffer.split_to(MAGIC.len());
    let role = native::authenticate(hub, &mut stream, buffer).await?;
    Ok((stream, Some(role)))
}

/// Reads and writes until one of them ends, or the hub closes the link.
async fn run(
    hub: Shared,
    id: LinkId,
    reader: OwnedReadHalf,
    buffer: BytesMut,
    protocol: PeerProtocol,
) -> LinkClosed {
    let link = {
        let hub = hub.borrow();
        let link = hub.links.get(&id);
        link.map(|link| {
            let (over, broken) = (link.over.clone(), link.broken.clone());
            (Rc::clone(&link.wait), Rc::clone(&link.socket), over, broken)
        })
    };
    let Some((wait, socket, over, broken)) = link else {
        return LinkClosed::Replaced;
    };
    let write = async {
        loop {
            wait.notified().await;
            if let Err(ended) = wait_writable(&hub, id, &socket).await {
                return ended;
            }
        }
    };
    // Data that the peer sent before the failure is still read for a while.
    let broken = async {
        broken.cancelled().await;
        time::sleep(BROKEN).await;
    };
    let ended = tokio::select! {
        ended = read(&hub, id, reader, buffer, protocol) => ended,
        ended = write => ended,
        () = over.cancelled() => LinkClosed::Replaced,
        () = broken => LinkClosed::Lost(io::ErrorKind::BrokenPipe.into()),
    };
    hub.borrow_mut().remove_link(id, ended.link_end());
    ended
}

/// Waits until the socket is writable, and schedules a flush.
async fn wait_writable(
    hub: &Shared,
    id: LinkId,
    socket: &OwnedWriteHalf,
) -> Result<(), LinkClosed> {
    socket.writable().await?;
    let mut hub = hub.borrow_mut();
    if let Some(link) = hub.links.get_mut(&id) {
        link.unblock();
    }
    hub.mark_dirty(id);
    Ok(())
}

async fn read(
    hub: &Shared,
    id: LinkId,
    mut reader: OwnedReadHalf,
    mut buffer: BytesMut,
    protocol: PeerProtocol,
) -> LinkClosed {
    let mut liveness = Liveness::new(hub.borrow().settings.peer_timeout);
    let mut deadline = pin!(time::sleep(AUTHENTICATION));
    loop {
        let taken = match protocol {
            PeerProtocol::Native => hub.borrow_mut().take_native(id, &mut buffer),
            PeerProtocol::Php => hub.borrow_mut().take_php(id, &mut buffer),
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
                // Reading from the peer is paused until it reads its answers.
                _ = liveness.ticks.tick(), if written.is_some() => {
                    if !liveness.tolerates(written) {
                        return LinkClosed::Unread;
                    }
                }
            }
        }
        if waited {
            // The buffer may contain further messages.
            continue;
        }
        let is_unauthenticated =
            protocol == PeerProtocol::Php && !hub.borrow().is_authenticated(id);
        buffer.reserve(if is_unauthenticated { MAX_UNAUTHENTICATED_FRAME } else { CHUNK });
        let read = loop {
            tokio::select! {
                biased;
                read = reader.read_buf(&mut buffer) => break read,
                () = &mut deadline, if is_unauthenticated => return LinkClosed::Silent,
                _ = liveness.ticks.tick(), if protocol == PeerProtocol::Native => {
                    if !liveness.tolerates(None) {
                        return LinkClosed::Unanswered;
                    }
                    let mut hub = hub.borrow_mut();
                    hub.send(id, &ToPeer::Ping { token: 0 });
                    hub.set_unresponsive(id, liveness.probes.is_late());
                }
            }
        };
        if liveness.probes.is_late() {
            hub.borrow_mut().set_unresponsive(id, false);
        }
        liveness.probes.answered();
        if let Some(link) = hub.borrow_mut().links.get_mut(&id) {
            link.heard = clock::now();
        }
        match read {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => return error.into(),
        }
    }
    // A PHP back end may close its sending side after its last query and still read the reply.
    let replies = async {
        while !hub.borrow().is_quiet(id) {
            time::sleep(BUSY).await;
        }
    };
    if protocol == PeerProtocol::Php {
        // After this time the peer is assumed to have disconnected.
        let _ = time::timeout(LAST_REPLIES, replies).await;
    }
    LinkClosed::ByPeer
}

/// Liveness probing of a native peer. When its host becomes unreachable, no close arrives and the
/// kernel retransmits for about 15 minutes; the peer's events must be redelivered long before that.
struct Liveness {
    ticks: Interval,
    probes: Probes,
    /// Bytes written to it at the last tick.
    written: Option<u64>,
}

impl Liveness {
    fn new(timeout: Duration) -> Self {
        let mut ticks = time::interval(liveness::interval(timeout));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.reset();
        Self { ticks, probes: Probes::default(), written: None }
    }

    /// Records a tick without data from the peer. Returns whether the peer may still be alive and
    /// is to be probed. Write progress counts as a sign of life.
    fn tolerates(&mut self, written: Option<u64>) -> bool {
        let progressed = written.is_some() && self.written != written;
        self.written = written;
        if progressed {
            self.probes.answered();
            return true;
        }
        self.probes.next()
    }
}
