//! The trait that an application implements.

use client::Cluster;
use protocol::{CloseReason, Handshake, Message};

use crate::Client;

/// Your application. Every method but [`on_message`](Self::on_message) has a default that does
/// nothing, so implement the events you care about.
///
/// Events of one client come in order, one at a time: the next one only after the method for the
/// last has returned. Events of different clients run at once, hence `&self`.
///
/// A method that fails or panics is counted, and logged with the client's id (of each method one failure a
/// second, and how many were left out), and the process goes on. With `--handler-retries N` it is called again, at most N times, with the event marked as
/// [redelivered](Client::redelivered); the client's next events wait meanwhile, and take up their
/// room in the gateway's `--worker-window`. One that has failed each time counts as dealt with. What
/// waits to be called again when the process is told to stop, or loses the event's link, is left to
/// another worker.
///
/// An event is reported as done once its method has returned and the gateways have taken what it
/// sent before it returned, through whichever cluster; if the process dies before, another worker
/// gets it, marked as redelivered. What a task sends that the method has begun and not waited for
/// may be lost with the process.
///
/// Methods run on the task that reads the gateway's link until they first wait, so most cost no
/// task and no allocation. Methods that compute for milliseconds without waiting are noticed and
/// spread over the process's threads from then on; what takes longer still (hashing passwords,
/// say) is better put in [`tokio::task::spawn_blocking`].
pub trait Worker: Send + Sync + 'static {
    /// The process starts: nothing is linked yet, and no event comes before this returns. Keep a
    /// clone of `cluster` to send outside of events, from a timer say. An error ends the process.
    fn on_worker_start(
        &self,
        _cluster: &Cluster,
    ) -> impl Future<Output = anyhow::Result<()>> + Send {
        async { Ok(()) }
    }

    /// A connection was accepted. A client that a method [closes](Client::close) has no further event but
    /// [`on_close`](Self::on_close), whatever it has sent meanwhile. On WebSocket listeners its handshake is still to come; what is
    /// sent before that is done, waits for it.
    fn on_connect(&self, _client: &Client) -> impl Future<Output = anyhow::Result<()>> + Send {
        async { Ok(()) }
    }

    /// The client's WebSocket handshake was accepted.
    fn on_websocket_connect(
        &self,
        _client: &Client,
        _handshake: &Handshake,
    ) -> impl Future<Output = anyhow::Result<()>> + Send {
        async { Ok(()) }
    }

    /// The client sent a message.
    fn on_message(
        &self,
        client: &Client,
        message: Message,
    ) -> impl Future<Output = anyhow::Result<()>> + Send;

    /// The client is gone, whatever the reason, also if its handshake never finished. Sending to
    /// it does nothing; it has left its groups and lost its uid; its session can still be read
    /// here. This is its last event.
    fn on_close(
        &self,
        _client: &Client,
        _reason: CloseReason,
    ) -> impl Future<Output = anyhow::Result<()>> + Send {
        async { Ok(()) }
    }

    /// The process ends: no event comes any more, every one that came is done with, and the
    /// cluster can still be spoken to.
    fn on_worker_stop(
        &self,
        _cluster: &Cluster,
    ) -> impl Future<Output = anyhow::Result<()>> + Send {
        async { Ok(()) }
    }
}
