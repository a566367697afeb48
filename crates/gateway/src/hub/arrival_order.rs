//! The order in which links are read: that in which their bytes reached this host.

use std::{future::poll_fn, io, mem, task::Poll};

use runtime::net::TcpStream;

/// Waits until the runtime has polled the kernel's ready list twice.
///
/// A new socket is on that list from the start, because it is writable. If it were still on it when
/// the peer's first command arrives, that command would be read before one that arrived earlier on
/// another link. It takes two polls: an event that arrives during a poll is reported in it only for
/// sockets that the kernel has not visited yet, and for others in the next poll.
pub(super) async fn yield_to_ready_links() {
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
}

/// Waits for the first bytes of a new peer. Links that became ready before it, or together with it
/// before this task was polled, are read first.
pub(super) async fn wait_turn(stream: &TcpStream) -> io::Result<()> {
    let mut first = true;
    poll_fn(|cx| {
        let ready = stream.poll_read_ready(cx);
        if mem::take(&mut first) && ready.is_ready() {
            // Their tasks are in the run queue by now. Requeue this task behind them, once.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        ready
    })
    .await
}
