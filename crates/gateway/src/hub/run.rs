//! The hub's part of its thread: what waits on its behalf.

use std::{
    cell::RefCell,
    future::{poll_fn, ready},
    io,
    net::{Ipv4Addr, SocketAddr},
    rc::Rc,
    task::Poll,
    time::Duration,
};

use super::{Hub, STALLED, Shared, ended::Ended, peer};
use crate::Phases;
use service::{clock, listen::Acceptor, net::TcpStream, supervise::spawn_local};
use tokio::{
    io::Interest,
    time::{self, MissedTickBehavior},
};

/// How long a peer may wait to be told that its commands were taken, if nothing else is due to it.
const CONFIRM: Duration = Duration::from_millis(20);

/// How often PHP workers hear that we are here.
const PING: Duration = Duration::from_secs(25);

/// How often it is looked at whether clients wait for a worker.
const ATTENDANCE: Duration = Duration::from_secs(10);

/// How many new peers are taken at once.
const BATCH: usize = 256;

/// How often the hub looks whether everything is drained.
const DRAINED: Duration = Duration::from_millis(5);

/// Runs the hub until the gateway is over. Drains once it is closing, and says when that is done.
pub(crate) async fn run(
    hub: Hub,
    acceptor: Acceptor,
    Phases { closing, grace, drained, over, .. }: Phases,
) {
    let hub = Rc::new(RefCell::new(hub));
    spawn_local(accept(Rc::clone(&hub), acceptor));
    spawn_local(confirm(Rc::clone(&hub)));
    spawn_local(watch_readers(Rc::clone(&hub)));
    spawn_local(watch_attendance(Rc::clone(&hub)));
    if hub.borrow().host.address.ip() != Ipv4Addr::LOCALHOST {
        spawn_local(ping(Rc::clone(&hub)));
    }
    let waiting = Rc::clone(&hub);
    spawn_local(async move {
        closing.cancelled().await;
        waiting.borrow_mut().drain(grace);
        while !waiting.borrow().is_drained() {
            time::sleep(DRAINED).await;
        }
        drained.cancel();
    });
    let mut told = Vec::new();
    let turns = poll_fn(|cx| {
        hub.borrow_mut().turn(cx, &mut told);
        Poll::<()>::Pending
    });
    over.run_until_cancelled(turns).await;
}

/// Serves peers in the order in which they connect: a program may make one connection after the
/// other, with one command each, and expects these to be taken in that order.
async fn accept(hub: Shared, mut acceptor: Acceptor) {
    let mut arrived = Vec::new();
    loop {
        arrived.push(unread(acceptor.accept().await));
        while arrived.len() < BATCH {
            tokio::select! {
                biased;
                next = acceptor.accept() => arrived.push(unread(next)),
                () = ready(()) => break,
            }
        }
        // Waited for here once, and not by each new link: tasks that yield go on in reverse order.
        peer::in_order().await;
        for (stream, remote) in arrived.drain(..) {
            welcome(&hub, stream, remote);
        }
    }
}

/// Has the first read wait until the kernel says that there is something. The runtime would try at
/// once, and might find what came after a command on another link that it has not heard of yet.
fn unread((stream, remote): (TcpStream, SocketAddr)) -> (TcpStream, SocketAddr) {
    let nothing = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
    // The error is the one above.
    let _ = stream.try_io(Interest::READABLE, nothing);
    (stream, remote)
}

fn welcome(hub: &Shared, stream: TcpStream, remote: SocketAddr) {
    let Some(stranger) = hub.borrow().strangers.meet() else {
        return refuse(hub, remote, &Ended::Crowded);
    };
    let hub = Rc::clone(hub);
    spawn_local(async move {
        let ended = peer::serve(Rc::clone(&hub), stream, remote, stranger).await;
        if ended.is_refusal() {
            refuse(&hub, remote, &ended);
        } else {
            tracing::debug!(%remote, reason = %ended, "link ended");
        }
    });
}

fn refuse(hub: &Shared, remote: SocketAddr, ended: &Ended) {
    let mut hub = hub.borrow_mut();
    hub.host.metrics.refused.inc();
    match hub.strangers.warnings.admit(clock::now()) {
        Some(suppressed) => {
            tracing::warn!(%remote, reason = %ended, suppressed, "peer refused");
        }
        None => tracing::debug!(%remote, reason = %ended, "peer refused"),
    }
}

/// As the reference does it, which leaves out gateways that announce 127.0.0.1.
async fn ping(hub: Shared) {
    loop {
        time::sleep(PING).await;
        hub.borrow_mut().ping_php();
    }
}

/// Ends links of workers that read nothing for as long as `--peer-timeout`.
async fn watch_readers(hub: Shared) {
    let every = hub.borrow().settings.peer_timeout / STALLED;
    loop {
        time::sleep(every).await;
        hub.borrow_mut().cut_off_stalled();
    }
}

async fn watch_attendance(hub: Shared) {
    loop {
        time::sleep(ATTENDANCE).await;
        hub.borrow_mut().note_attendance(clock::now());
    }
}

async fn confirm(hub: Shared) {
    let due = Rc::clone(&hub.borrow().confirm);
    loop {
        due.notified().await;
        // As long as there is something each time: to begin anew costs a call of the kernel more, since
        // the runtime waits for something later by then.
        let mut ticks = time::interval(CONFIRM);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        loop {
            ticks.tick().await;
            if !hub.borrow_mut().confirm() {
                break;
            }
        }
    }
}
