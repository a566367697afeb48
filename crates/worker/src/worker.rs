//! The trait that an application implements.

use protocol::{CloseCodes, CloseReason, Group, Handshake, MemberChange, Message};
use push_suite_cluster::{Notice, UidNotice};

use crate::{Client, Process};

/// Your application. Every method but [`on_message`](Self::on_message) has a default that does
/// nothing, so implement the events you care about.
///
/// **Ordering.** Events of one client are handled in order, one at a time: the next handler starts
/// only after the previous one has returned. Events of different clients run concurrently, hence
/// `&self`.
///
/// **Failures and retries.** A handler that returns an error or panics is counted and logged with
/// the client's id (at most one failure per handler, outcome and second, with the number of
/// suppressed lines), and the process continues. With `--handler-retries N` it is retried up to N
/// times, with the event marked as [redelivered](Client::redelivered); meanwhile the client's next events wait
/// and count against the gateway's `--worker-window`. After the last failed attempt the event is
/// acknowledged. An event that awaits a retry when the process starts to shut down, or when the
/// event's link is lost, is left to another worker.
///
/// **Delivery.** At least once. An event is acknowledged once its handler has returned and the
/// gateways have acknowledged what it sent before it returned, through any cluster; if the process
/// dies earlier, the event is redelivered to another worker. Commands sent by a task that the
/// handler spawned and did not await may be lost with the process.
///
/// **Scheduling.** Handlers run on the task that reads the gateway's link until they first wait, so
/// most need no task and no allocation. Handlers that compute for milliseconds without awaiting are
/// detected and run on the process's other threads from then on; longer work, such as password
/// hashing, belongs in [`tokio::task::spawn_blocking`].
pub trait Worker: Send + Sync + 'static {
    /// The codes with which gateways themselves close the clients of this worker, for a protocol
    /// with codes of its own, such as one by which clients decide when to connect again. Asked for
    /// once, before [`on_worker_start`](Self::on_worker_start). Without any, gateways use their own;
    /// docs/close-codes.md lists both.
    fn close_codes(&self) -> CloseCodes {
        CloseCodes::default()
    }

    /// The process starts: no gateway is linked yet, and no event is delivered before this returns.
    /// Keep a clone of its [cluster](Process::cluster) to send outside of events, for example from a
    /// timer; a timer runs in every worker unless it asks
    /// [`is_first_worker`](push_suite_cluster::Cluster::is_first_worker). An error ends the process.
    fn on_worker_start(
        &self,
        _process: &Process,
    ) -> impl Future<Output = anyhow::Result<()>> + Send {
        async { Ok(()) }
    }

    /// A connection was accepted. On WebSocket listeners its handshake is still pending; messages
    /// to the client are queued until it completes. After a handler has [closed](Client::close) a
    /// client, its only further event is [`on_close`](Self::on_close), even if it has sent messages
    /// in the meantime.
    fn on_connect(&self, _client: &Client) -> impl Future<Output = anyhow::Result<()>> + Send {
        async { Ok(()) }
    }

    /// The client's WebSocket handshake. With `--handshake-auth none`, the gateway's default, it was
    /// accepted already.
    ///
    /// With `--handshake-auth worker` the client waits for the answer of this handler:
    /// [`Client::accept`] or [`Client::refuse`]. A handler that returns `Ok` without an answer
    /// accepts; one that fails without one, after its last retry, refuses with 503; an answer that
    /// was given counts even if the handler fails after it. Whatever the client sends
    /// behind its handshake is delivered after it was accepted. If there is no answer within
    /// `--handshake-auth-timeout`, the gateway refuses with 503. An answer that comes too late does
    /// nothing. Each refused client has one [`on_close`](Self::on_close).
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

    /// The client disconnected, for any reason, including a handshake that never completed. Sending
    /// to it does nothing; its group memberships and its uid are removed; its session can still be
    /// read here. This is its last event.
    fn on_close(
        &self,
        _client: &Client,
        _reason: CloseReason,
    ) -> impl Future<Output = anyhow::Result<()>> + Send {
        async { Ok(()) }
    }

    /// This client's connection expires at `expires_at`, in seconds since 1970: with its
    /// [token](crate::Client::renew_token), or as [set](crate::Client::set_expiry). Called once for
    /// each such time, `--expiry-notice` before it (30 s by default; halfway to it, if it is nearer
    /// than that when it is set). [`set_expiry`](crate::Client::set_expiry) prolongs the
    /// connection, and a client may send a new token; otherwise the gateway closes it 25 s behind
    /// that time. The client's next events wait for this handler.
    fn on_expiring(
        &self,
        _client: &Client,
        _expires_at: u64,
    ) -> impl Future<Output = anyhow::Result<()>> + Send {
        async { Ok(()) }
    }

    /// Prefixes of the names of groups that this worker watches; none by default, 64 at most. Read
    /// once, after [`on_worker_start`](Self::on_worker_start).
    ///
    /// All workers of a cluster that watch a group are to return the same prefixes and handle its
    /// notices alike: for each group gateways select one of them, its *owner*, which sums up over
    /// all gateways. If the owner ends, another one goes on.
    fn watched_groups(&self) -> Vec<Group> {
        Vec::new()
    }

    /// The message that clients of a watched group receive when a member is added to it or removed
    /// from it; none by default. Clients of the member itself do not receive it. At every client,
    /// messages that add and remove a member alternate, beginning with what the snapshot of its
    /// [join](Client::join_presence) says. To be returned at once, without blocking.
    fn presence_message(&self, _group: &Group, _change: &MemberChange) -> Option<Message> {
        None
    }

    /// A watched group that this worker owns has changed. Notices of one group are handled in
    /// order, one at a time; those of several groups at once. At least once: if this process dies
    /// before the handler has returned, the next owner gives the notice again. A handler that fails
    /// or panics is counted and logged, and not called again.
    ///
    /// Up to 4,096 handlers run at a time. Notices of about 64 MiB wait for them; what is more is
    /// dropped, and counted in `pushsuite_worker_presence_notices_dropped_total`.
    fn on_presence(&self, _notice: &Notice) -> impl Future<Output = anyhow::Result<()>> + Send {
        async { Ok(()) }
    }

    /// Whether this worker watches the uids of clients, with [`on_uid`](Self::on_uid). Read once, after
    /// [`on_worker_start`](Self::on_worker_start). All workers of a cluster that watch uids are to
    /// handle their notices alike, as those of watched groups.
    fn watches_uids(&self) -> bool {
        false
    }

    /// A uid that this worker owns has its first client on any gateway, or has had none for the
    /// presence grace period. Ordered, repeated and bounded as the notices of
    /// [`on_presence`](Self::on_presence) are. There is none of uids longer than 1,019 bytes.
    fn on_uid(&self, _notice: &UidNotice) -> impl Future<Output = anyhow::Result<()>> + Send {
        async { Ok(()) }
    }

    /// The process stops: no further event is delivered, all delivered events are handled, and the
    /// cluster can still be used.
    fn on_worker_stop(
        &self,
        _process: &Process,
    ) -> impl Future<Output = anyhow::Result<()>> + Send {
        async { Ok(()) }
    }
}
