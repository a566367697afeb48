//! The hub's tasks: accepting peers, timers, and the run loop.

use std::{
    cell::RefCell,
    future::{poll_fn, ready},
    io,
    net::{Ipv4Addr, SocketAddr},
    rc::Rc,
    task::Poll,
    time::Duration,
};

use super::{Hub, STALLED, Shared, arrival_order, link_closed::LinkClosed, peer};
use crate::Phases;
use runtime::{clock, listen::Acceptor, net::TcpStream, supervise::spawn_local};
use tokio::{
    io::Interest,
    time::{self, MissedTickBehavior},
};

/// Maximum delay of a command acknowledgement while nothing else is sent to the peer.
const ACK_DELAY: Duration = Duration::from_millis(20);

/// Interval between pings to PHP workers.
const PING: Duration = Duration::from_secs(25);

/// Interval between checks whether clients wait for a worker, and retained messages have expired.
const PRESENCE_CHECK: Duration = Duration::from_secs(10);

/// Maximum number of new peers accepted at once.
const BATCH: usize = 256;

/// Interval between checks whether the drain is complete.
const DRAIN_CHECK: Duration = Duration::from_millis(5);

/// Runs the hub until `over` is cancelled. Drains once `closing` is cancelled, and then cancels
/// `drained`.
pub(crate) async fn run(
    hub: Hub,
    acceptor: Acceptor,
    Phases { closing, grace, drained, over, .. }: Phases,
) {
    let hub = Rc::new(RefCell::new(hub));
    spawn_local(accept(Rc::clone(&hub), acceptor));
    spawn_local(send_acks(Rc::clone(&hub)));
    spawn_local(watch_readers(Rc::clone(&hub)));
    spawn_local(watch_worker_presence(Rc::clone(&hub)));
    if hub.borrow().gateway.address.ip() != Ipv4Addr::LOCALHOST {
        spawn_local(ping(Rc::clone(&hub)));
    }
    let waiting = Rc::clone(&hub);
    spawn_local(async move {
        closing.cancelled().await;
        waiting.borrow_mut().drain(grace);
        while !waiting.borrow().is_drained() {
            time::sleep(DRAIN_CHECK).await;
        }
        drained.cancel();
    });
    let mut messages = Vec::new();
    let runs = poll_fn(|cx| {
        hub.borrow_mut().run_once(cx, &mut messages);
        Poll::<()>::Pending
    });
    over.run_until_cancelled(runs).await;
}

/// Serves peers in the order in which they connect: a program may open one connection per command
/// and expect the commands to be processed in that order.
async fn accept(hub: Shared, mut acceptor: Acceptor) {
    let mut accepted = Vec::new();
    loop {
        accepted.push(unread(acceptor.accept().await));
        while accepted.len() < BATCH {
            tokio::select! {
                biased;
                next = acceptor.accept() => accepted.push(unread(next)),
                () = ready(()) => break,
            }
        }
        // Yields here and not in each new link's task, since tasks that yield resume in reverse
        // order.
        arrival_order::yield_to_ready_links().await;
        for (stream, remote) in accepted.drain(..) {
            start_link(&hub, stream, remote);
        }
    }
}

/// Makes the first read wait for a readiness event from the kernel. Otherwise the runtime would
/// read at once, and might get data that arrived after a command on another link whose readiness
/// event is not processed yet.
fn unread((stream, remote): (TcpStream, SocketAddr)) -> (TcpStream, SocketAddr) {
    let nothing = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
    // Always fails with the error above.
    let _ = stream.try_io(Interest::READABLE, nothing);
    (stream, remote)
}

fn start_link(hub: &Shared, stream: TcpStream, remote: SocketAddr) {
    let Some(peer) = hub.borrow().unauthenticated.admit() else {
        return refuse(hub, remote, &LinkClosed::TooManyUnauthenticated);
    };
    let hub = Rc::clone(hub);
    spawn_local(async move {
        let ended = peer::serve(Rc::clone(&hub), stream, remote, peer).await;
        if ended.is_refusal() {
            refuse(&hub, remote, &ended);
        } else {
            tracing::debug!(%remote, reason = %ended, "link ended");
        }
    });
}

fn refuse(hub: &Shared, remote: SocketAddr, ended: &LinkClosed) {
    let mut hub = hub.borrow_mut();
    hub.gateway.metrics.refused.inc();
    match hub.unauthenticated.warnings.admit(clock::now()) {
        Some(suppressed) => {
            tracing::warn!(%remote, reason = %ended, suppressed, "peer refused");
        }
        None => tracing::debug!(%remote, reason = %ended, "peer refused"),
    }
}

/// Pings PHP workers as `GatewayWorker` does, which skips gateways that announce 127.0.0.1.
async fn ping(hub: Shared) {
    loop {
        time::sleep(PING).await;
        hub.borrow_mut().ping_php();
    }
}

/// Closes links of workers that read nothing for `--peer-timeout`.
async fn watch_readers(hub: Shared) {
    let every = hub.borrow().settings.peer_timeout / STALLED;
    loop {
        time::sleep(every).await;
        hub.borrow_mut().close_stalled_links();
    }
}

async fn watch_worker_presence(hub: Shared) {
    loop {
        time::sleep(PRESENCE_CHECK).await;
        let mut hub = hub.borrow_mut();
        hub.report_worker_presence(clock::now());
        hub.remove_expired();
    }
}

async fn send_acks(hub: Shared) {
    let due = Rc::clone(&hub.borrow().acks_due);
    loop {
        due.notified().await;
        // The interval is kept while each tick has acknowledgements: a new timer would cost another
        // system call, since the runtime is waiting for a later deadline by then.
        let mut ticks = time::interval(ACK_DELAY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        loop {
            ticks.tick().await;
            if !hub.borrow_mut().send_acks() {
                break;
            }
        }
    }
}
