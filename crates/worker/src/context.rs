//! The client of an event, and the commands that a handler sends to it.

use std::{
    fmt, future,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, OnceLock},
};

use protocol::{
    Answer, ClientId, Close, CloseInfo, Command, Event, Group, Member, Message, Position, Query,
    Session, SessionError, Snapshot, StreamName, Uid,
};
use push_suite_cluster::{
    Cluster, Error, Recovery, Renewal, SessionSwap,
    internal::{self, HandlerScope, Link, Offer, Waiting},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{SendToClient, dispatch::ClientState, handshake::PendingHandshake};

/// The number of the close of a client whose gateway is dead.
pub(crate) const SYNTHETIC_CLOSE: u64 = u64::MAX;

/// The client of an event.
///
/// Commands sent through it, or through its [`cluster`](Self::cluster), arrive in the order sent.
/// Sending waits under backpressure from the client's gateway. A client that has disconnected in
/// the meantime is not an error; a disconnected gateway is.
///
/// In a log line it is `client = %client.id()`.
pub struct Client {
    state: Arc<ClientState>,
    number: u64,
    redelivered: bool,
    /// More about the event. Boxed, since it is rare, and every handler's future contains it.
    detail: Option<Box<Detail>>,
    /// The cluster for this event, created on first use.
    scoped: OnceLock<(Cluster, Arc<HandlerScope>)>,
}

/// Facts about an event that few handlers need.
#[derive(Debug)]
enum Detail {
    /// The event is a handshake that awaits an answer.
    Handshake(PendingHandshake),
    /// It is the close of the client.
    Closed(CloseInfo),
}

impl Client {
    pub(crate) const fn new(state: Arc<ClientState>, number: u64, redelivered: bool) -> Self {
        Self { state, number, redelivered, detail: None, scoped: OnceLock::new() }
    }

    /// The same, for this event.
    pub(crate) fn of_event(self, event: &Event) -> Self {
        let detail = match event {
            Event::Closed(info) => Some(Detail::Closed(info.clone())),
            event => PendingHandshake::of(event).map(Detail::Handshake),
        };
        Self { detail: detail.map(Box::new), ..self }
    }

    pub(crate) fn handshake(&self) -> Option<&PendingHandshake> {
        match self.detail.as_deref() {
            Some(Detail::Handshake(handshake)) => Some(handshake),
            _ => None,
        }
    }

    pub(crate) fn state(&self) -> &ClientState {
        &self.state
    }

    /// Its id, unique in the whole cluster.
    pub fn id(&self) -> ClientId {
        self.state.id()
    }

    /// The address that it connects from.
    pub fn remote_addr(&self) -> SocketAddr {
        self.state.remote()
    }

    /// The port of the listener that accepted it.
    pub fn listener_port(&self) -> u16 {
        self.state.listener_port()
    }

    /// In [`on_close`](crate::Worker::on_close): how its connection has ended. `None` in other
    /// handlers, and if its gateway is dead, which has not reported it then.
    pub fn close_info(&self) -> Option<&CloseInfo> {
        match self.detail.as_deref() {
            Some(Detail::Closed(info)) => Some(info),
            _ => None,
        }
    }

    /// The inner address of its gateway.
    pub fn gateway(&self) -> SocketAddr {
        self.state.id().gateway
    }

    /// Whether this event may have been handled before, completely or in part: by a worker that
    /// died or lost its link before it acknowledged the event, or by a handler that failed.
    pub const fn redelivered(&self) -> bool {
        self.redelivered
    }

    /// Identifies this event across redeliveries and workers. Handlers with side effects that are
    /// not idempotent can record it to deduplicate.
    pub fn delivery(&self) -> DeliveryId {
        DeliveryId { client: self.id(), number: self.number }
    }

    /// The cluster, for everything else: other clients, uids, groups, queries. It is scoped to this
    /// event, which is acknowledged once the commands sent through it are. Commands sent through
    /// any other clone of the cluster delay the acknowledgement of every event that completes in
    /// the meantime. A clone of this one can be kept, for example by a spawned task: once the event
    /// is finished, it is like any other.
    pub fn cluster(&self) -> &Cluster {
        let make = || {
            let link = Arc::clone(self.state.link());
            let scope = HandlerScope::new(link, self.id().connection).of_event(self.number);
            let scope = Arc::new(scope);
            (internal::scoped(&self.state.link_context().cluster, Arc::clone(&scope)), scope)
        };
        &self.scoped.get_or_init(make).0
    }

    /// Gives the client a new token, which it has sent: see [`Cluster::renew_token`].
    ///
    /// # Errors
    /// Those of [`Cluster::renew_token`].
    pub async fn renew_token(&self, token: impl AsRef<str>) -> Result<Renewal, Error> {
        self.cluster().renew_token(self.id(), token).await
    }

    /// Sets when this client's connection expires: see [`Cluster::set_expiry`].
    ///
    /// # Errors
    /// Those of [commands](Error#commands).
    pub async fn set_expiry(&self, expires_at: Option<u64>) -> Result<(), Error> {
        self.send_command(Command::SetExpiry { client: self.id().connection, expires_at }).await
    }

    /// The handler is called again for the same event.
    pub(crate) fn mark_redelivered(&mut self) {
        self.redelivered = true;
        if let Some((_, scope)) = self.scoped.get() {
            scope.restart();
        }
    }

    /// Waits until the link that delivered the event is closed: then the event is redelivered, to
    /// this worker or another, and a handler that still waits may end with an error. Never returns
    /// for the close of a client of a dead gateway, which is not redelivered.
    pub async fn link_lost(&self) {
        if self.number == SYNTHETIC_CLOSE {
            return future::pending().await;
        }
        self.state.link().gone().await;
    }

    /// Whether the client's gateway was declared dead.
    pub(crate) fn is_orphaned(&self) -> bool {
        self.state.is_orphaned()
    }

    pub(crate) fn into_scope(self) -> Option<Arc<HandlerScope>> {
        let scope = self.scoped.into_inner().map(|(_, scope)| scope)?;
        if scope.has_closed() {
            self.state.close();
        }
        Some(scope)
    }

    /// Sends a message to this client. `.await` waits until it is queued for the gateway, and
    /// `.report().await` until the gateway has queued it for the client, or not.
    ///
    /// # Errors
    /// Those of [commands](Error#commands).
    pub fn send(&self, message: impl Into<Message>) -> SendToClient<'_> {
        SendToClient::new(self, message.into())
    }

    /// Closes this client once everything queued for it is written: a text, JSON or a [`Message`]
    /// is the last message, with close code 1000; `None` is no last message; `(4403, "banned")` is
    /// a close code and a reason, and [`Close`] all three. See
    /// [`Cluster::close_client`](crate::Cluster::close_client).
    ///
    /// The next handler called for it is [`on_close`](crate::Worker::on_close): events that it sent
    /// before it was closed, and that are not handled yet, are dropped. The same applies to a
    /// client closed through this event's [`cluster`](Self::cluster). Events of a client closed by
    /// any other means (another client's handler, a timer, a back end, PHP) are still handled. If
    /// the link to the gateway is lost before the gateway has acknowledged the command, this event
    /// is redelivered, followed by the dropped ones.
    ///
    /// # Errors
    /// [`Error::Close`] for a code that an application may not send, or a reason over 123 bytes.
    /// Also those of [commands](Error#commands).
    pub async fn close(&self, close: impl TryInto<Close, Error: Into<Error>>) -> Result<(), Error> {
        let close = close.try_into().map_err(Into::into)?;
        self.send_command(close.of_client(self.id().connection)).await?;
        self.state.close();
        Ok(())
    }

    /// Disconnects this client at once; messages queued for it are discarded. As with
    /// [`close`](Self::close), the next handler called for it is
    /// [`on_close`](crate::Worker::on_close).
    ///
    /// # Errors
    /// Those of [commands](Error#commands).
    pub async fn destroy(&self) -> Result<(), Error> {
        self.send_command(Command::Destroy { client: self.id().connection }).await?;
        self.state.close();
        Ok(())
    }

    /// Binds this client to a uid, replacing any previous one.
    ///
    /// # Errors
    /// Those of [commands](Error#commands).
    pub async fn bind_uid(&self, uid: impl TryInto<Uid, Error: Into<Error>>) -> Result<(), Error> {
        let uid = uid.try_into().map_err(Into::into)?;
        self.send_command(Command::BindUid { client: self.id().connection, uid }).await
    }

    /// Removes this client's uid.
    ///
    /// # Errors
    /// Those of [commands](Error#commands).
    pub async fn unbind_uid(&self) -> Result<(), Error> {
        self.send_command(Command::UnbindUid { client: self.id().connection }).await
    }

    /// The uid bound to this client; queries its gateway.
    ///
    /// # Errors
    /// Those of [queries](Error#queries).
    pub async fn uid(&self) -> Result<Option<Uid>, Error> {
        self.cluster().uid_of_client(self.id()).await
    }

    /// The groups of this client; queries its gateway. When [`on_close`](crate::Worker::on_close) is
    /// called, it has left all of them.
    ///
    /// # Errors
    /// Those of [queries](Error#queries).
    pub async fn groups(&self) -> Result<Vec<Group>, Error> {
        self.cluster().groups_of_client(self.id()).await
    }

    /// Adds this client to a group. It is removed automatically when it disconnects.
    ///
    /// # Errors
    /// Those of [commands](Error#commands).
    pub async fn join_group(
        &self,
        group: impl TryInto<Group, Error: Into<Error>>,
    ) -> Result<(), Error> {
        let group = group.try_into().map_err(Into::into)?;
        self.send_command(Command::JoinGroup { client: self.id().connection, group }).await
    }

    /// Adds this client to a group as a member, and sends it `snapshot`, which lists the members
    /// that it sees from then on: see [`Cluster::join_presence`].
    ///
    /// # Errors
    /// Those of [commands](Error#commands).
    pub async fn join_presence(
        &self,
        group: impl TryInto<Group, Error: Into<Error>>,
        member: Member,
        snapshot: Snapshot,
    ) -> Result<(), Error> {
        let group = group.try_into().map_err(Into::into)?;
        let (member, snapshot) = (Box::new(member), Box::new(snapshot));
        let client = self.id().connection;
        self.send_command(Command::JoinPresence { client, group, member, snapshot }).await
    }

    /// Adds this client to a stream, and sends it what it has missed since `after`: see
    /// [`Cluster::join_stream`].
    ///
    /// # Errors
    /// Those of [`Cluster::join_stream`].
    pub async fn join_stream(
        &self,
        stream: impl Into<StreamName>,
        after: Option<Position>,
    ) -> Result<Recovery, Error> {
        self.cluster().join_stream(self.id(), stream, after).await
    }

    /// Removes this client from a group.
    ///
    /// # Errors
    /// Those of [commands](Error#commands).
    pub async fn leave_group(
        &self,
        group: impl TryInto<Group, Error: Into<Error>>,
    ) -> Result<(), Error> {
        let group = group.try_into().map_err(Into::into)?;
        self.send_command(Command::LeaveGroup { client: self.id().connection, group }).await
    }

    /// This client's session as of this event, with the changes that its handlers have made since,
    /// as a type of your own or a `serde_json::Map`; `None` if it has no session. Read from a local
    /// copy, without a query.
    ///
    /// # Errors
    /// If the session is not that of a `T`, or if another peer has stored something other than a
    /// JSON object, or a PHP array that expands beyond the limit through references; see
    /// [`Session::decode`].
    pub fn session<T: DeserializeOwned>(&self) -> Result<Option<T>, SessionError> {
        self.state.session_cache().session().read()
    }

    /// The session in its encoded form.
    pub fn encoded_session(&self) -> Session {
        self.state.session_cache().session().clone()
    }

    /// Replaces this client's session by a value that serializes as a JSON object: a struct or a
    /// map.
    ///
    /// # Errors
    /// Those of [commands](Error#commands).
    pub async fn set_session(&self, session: &(impl Serialize + ?Sized)) -> Result<(), Error> {
        let session = Session::encode(session)?;
        let edit = self.state.session_cache().set(session.clone());
        self.send_command(Command::SetSession { client: self.id().connection, edit, session }).await
    }

    /// Replaces the keys in `changes`, a value that serializes as a JSON object, and keeps the
    /// others; see [`Session::merge`].
    ///
    /// # Errors
    /// Those of [commands](Error#commands).
    pub async fn update_session(&self, changes: &(impl Serialize + ?Sized)) -> Result<(), Error> {
        let changes = Session::encode(changes)?;
        let edit = self.state.session_cache().update(&changes)?;
        self.send_command(Command::UpdateSession { client: self.id().connection, edit, changes })
            .await
    }

    /// Removes a key of this client's session, see
    /// [`remove_session_keys`](Self::remove_session_keys).
    ///
    /// # Errors
    /// Those of [commands](Error#commands).
    pub async fn remove_from_session(&self, key: &str) -> Result<(), Error> {
        self.remove_session_keys([key]).await
    }

    /// Removes keys of this client's session, and keeps all others, also those that another peer
    /// changes meanwhile, and values of PHP that JSON cannot express. Keys that do not occur are
    /// ignored.
    ///
    /// # Errors
    /// [`Error::TooMany`] for more than 10,000 keys.
    /// Also those of [commands](Error#commands).
    pub async fn remove_session_keys(
        &self,
        keys: impl IntoIterator<Item: Into<String>>,
    ) -> Result<(), Error> {
        let keys: Vec<String> = keys.into_iter().map(Into::into).collect();
        internal::at_most_targets(keys.len())?;
        let edit = self.state.session_cache().remove(&keys)?;
        let client = self.id().connection;
        self.send_command(Command::RemoveSessionKeys { client, edit, keys }).await
    }

    /// Replaces this client's session if it is the expected one, in one step at its gateway; see
    /// [`Cluster::compare_and_set_session`]. Edits that this handler has made before count: the
    /// gateway applies them first. `expected` is usually
    /// [`encoded_session`](Self::encoded_session). Whichever the outcome, this client's session is
    /// that of the gateway then.
    ///
    /// # Errors
    /// Those of [`Cluster::compare_and_set_session`].
    pub async fn compare_and_set_session(
        &self,
        expected: &Session,
        new: &(impl Serialize + ?Sized),
    ) -> Result<SessionSwap, Error> {
        let (client, link) = (self.id(), self.state.link());
        let new = Session::encode(new)?;
        let edit = self.state.session_cache().reserve();
        let swapped = if link.is_up() {
            let (expected, id) = (expected.clone(), client.connection);
            let query = Query::SwapSession { client: id, edit, expected, new: new.clone() };
            match link.ask(query).await? {
                Answer::Swap(swap) => SessionSwap::of(swap, client)?,
                _ => return Err(Error::Mismatch { gateway: client.gateway.to_string() }),
            }
        } else {
            // Events of this link are redelivered, with the session as it is then.
            self.cluster().compare_and_set_session(client, expected, &new.decode()?).await?
        };
        let mut cache = self.state.session_cache();
        match &swapped {
            SessionSwap::Replaced => cache.replaced(edit, new),
            SessionSwap::Other(session) => cache.refreshed(edit, session.clone()),
        }
        Ok(swapped)
    }

    /// The link that delivered the event, while it is open.
    pub(crate) fn open_link(&self) -> Option<&Link> {
        Some(&**self.state.link()).filter(|link| link.is_up())
    }

    pub(crate) async fn send_command(&self, command: Command) -> Result<(), Error> {
        match self.try_send(command)? {
            None => Ok(()),
            Some(unsent) => self.finish_send(unsent).await,
        }
    }

    /// Sends on the link that delivered the event, if its queue has room. Most of the cost of a
    /// handler is moving its future, so the state of the slow paths is boxed.
    pub(crate) fn try_send(&self, command: Command) -> Result<Option<Box<Unsent>>, Error> {
        let link = self.state.link();
        if !link.is_up() {
            return Ok(Some(Box::new(Unsent::LinkClosed(unnumbered(command)))));
        }
        Ok(match link.try_send(command)? {
            Offer::Queued(_) => None,
            Offer::Full(waiting) => Some(Box::new(Unsent::QueueFull(waiting))),
        })
    }

    pub(crate) fn finish_send(
        &self,
        unsent: Box<Unsent>,
    ) -> Pin<Box<dyn Future<Output = Result<(), Error>> + Send + '_>> {
        Box::pin(async {
            match *unsent {
                Unsent::QueueFull(waiting) => self.state.link().resume(waiting).await.map(drop),
                Unsent::LinkClosed(command) => {
                    internal::command(self.cluster(), self.id(), command).await
                }
            }
        })
    }
}

/// Edit numbers are valid only on the link that they were assigned on.
fn unnumbered(mut command: Command) -> Command {
    if let Command::SetSession { edit, .. }
    | Command::UpdateSession { edit, .. }
    | Command::AcceptHandshake { edit, .. }
    | Command::RemoveSessionKeys { edit, .. } = &mut command
    {
        *edit = 0;
    }
    command
}

/// A command that could not be sent at once.
pub(crate) enum Unsent {
    /// The link's queue is full.
    QueueFull(Waiting),
    /// The link is closed; the gateway may have another.
    LinkClosed(Command),
}

/// Identifies one event: its client, and its number among that client's events, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct DeliveryId {
    /// The client of the event.
    pub client: ClientId,
    /// The number of the event among this client's events, from 1.
    pub number: u64,
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.client, self.number)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("id", &format_args!("{}", self.id()))
            .field("remote_addr", &self.remote_addr())
            .field("redelivered", &self.redelivered)
            .finish_non_exhaustive()
    }
}
