//! Whom an event is about, and how to answer.

use std::{
    fmt,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, OnceLock},
};

use client::{
    Cluster, Error,
    link::{Pushes, Waiting},
};
use protocol::{ClientId, Command, Group, Message, Session, SessionError, Uid};
use serde_json::{Map, Value};

use crate::dispatch::Slot;

/// The client that an event is about.
///
/// What is sent through it, or through its [`cluster`](Self::cluster), arrives in the order sent.
/// Sending waits while the client's gateway has a lot to read; a client that is gone meanwhile is
/// not an error, a gateway that is gone is.
pub struct Client {
    slot: Arc<Slot>,
    number: u64,
    redelivered: bool,
    /// The cluster for this event, made when it is first asked for.
    scoped: OnceLock<(Cluster, Arc<Pushes>)>,
}

impl Client {
    pub(crate) const fn new(slot: Arc<Slot>, number: u64, redelivered: bool) -> Self {
        Self { slot, number, redelivered, scoped: OnceLock::new() }
    }

    /// Its name in the whole cluster.
    pub fn id(&self) -> ClientId {
        self.slot.id()
    }

    /// Where it connects from.
    pub fn remote_addr(&self) -> SocketAddr {
        self.slot.remote()
    }

    /// The port of the listener that it came to.
    pub fn listener_port(&self) -> u16 {
        self.slot.listener_port()
    }

    /// The inner address of its gateway.
    pub fn gateway(&self) -> SocketAddr {
        self.slot.id().gateway
    }

    /// Whether this event may have been handled before, wholly or in part: by this worker or another
    /// that died or lost its link before it could say that it was done, or by a method that failed.
    pub const fn redelivered(&self) -> bool {
        self.redelivered
    }

    /// What names this event for good, whoever it is delivered to and however often: a handler that
    /// must not do a thing twice can note it.
    pub fn delivery(&self) -> DeliveryId {
        DeliveryId { client: self.id(), number: self.number }
    }

    /// Everything else: other clients, uids, groups, questions. Best used for the event at hand: it
    /// knows what was sent on its behalf, and the event is done with when that was taken. What is
    /// sent through a cluster that was kept from elsewhere is waited for too, by every event that
    /// ends meanwhile.
    pub fn cluster(&self) -> &Cluster {
        let make = || {
            let home = Arc::clone(self.slot.link());
            let pushes = Arc::new(Pushes::new(home, self.id().connection));
            (self.slot.home().cluster.on_behalf_of(Arc::clone(&pushes)), pushes)
        };
        &self.scoped.get_or_init(make).0
    }

    pub(crate) const fn mark_redelivered(&mut self) {
        self.redelivered = true;
    }

    /// Waits until the link that the event came on is gone.
    pub(crate) async fn link_gone(&self) {
        self.slot.link().gone().await;
    }

    pub(crate) fn into_pushes(self) -> Option<Arc<Pushes>> {
        let pushes = self.scoped.into_inner().map(|(_, pushes)| pushes)?;
        if pushes.has_closed() {
            self.slot.close();
        }
        Some(pushes)
    }

    /// Sends to this client.
    pub async fn send(&self, message: impl Into<Message>) -> Result<(), Error> {
        let (to, message) = (self.id().connection, message.into());
        match self.begin(Command::SendToClient { to, message })? {
            None => Ok(()),
            Some(later) => self.end(later).await,
        }
    }

    /// Closes this client once everything queued for it is written, the farewell last.
    ///
    /// The next method called for it is [`on_close`](crate::Worker::on_close): events that it had sent
    /// before it was closed, and that have not been handled yet, are dropped. The same goes for a client
    /// that is closed through this event's [`cluster`](Self::cluster). Events of a client that is closed
    /// by anything else (another client's handler, a timer, a back end, PHP) are handled as they come. If
    /// the link to the gateway is lost before it has taken the command, this event comes again, marked as
    /// redelivered, and then the others do.
    pub async fn close(&self, farewell: Option<Message>) -> Result<(), Error> {
        self.tell(Command::Close { client: self.id().connection, farewell }).await?;
        self.slot.close();
        Ok(())
    }

    /// Cuts this client off at once; what was queued for it is lost. As with [`close`](Self::close), the
    /// next method called for it is [`on_close`](crate::Worker::on_close).
    pub async fn destroy(&self) -> Result<(), Error> {
        self.tell(Command::Destroy { client: self.id().connection }).await?;
        self.slot.close();
        Ok(())
    }

    /// Says whom this client speaks for, in place of whom it spoke for before.
    pub async fn bind_uid(&self, uid: impl TryInto<Uid, Error: Into<Error>>) -> Result<(), Error> {
        let uid = uid.try_into().map_err(Into::into)?;
        self.tell(Command::BindUid { client: self.id().connection, uid }).await
    }

    /// Takes this client's uid away.
    pub async fn unbind_uid(&self) -> Result<(), Error> {
        self.tell(Command::UnbindUid { client: self.id().connection }).await
    }

    /// Whom this client speaks for, as its gateway knows it.
    pub async fn uid(&self) -> Result<Option<Uid>, Error> {
        self.cluster().uid_of_client(self.id()).await
    }

    /// Adds this client to a group. It leaves by itself when it is gone.
    pub async fn join_group(
        &self,
        group: impl TryInto<Group, Error: Into<Error>>,
    ) -> Result<(), Error> {
        let group = group.try_into().map_err(Into::into)?;
        self.tell(Command::JoinGroup { client: self.id().connection, group }).await
    }

    /// Takes this client out of a group.
    pub async fn leave_group(
        &self,
        group: impl TryInto<Group, Error: Into<Error>>,
    ) -> Result<(), Error> {
        let group = group.try_into().map_err(Into::into)?;
        self.tell(Command::LeaveGroup { client: self.id().connection, group }).await
    }

    /// What is remembered of this client, as of this event and the changes made since by its
    /// methods. No question is asked for it.
    ///
    /// # Errors
    /// When somebody else has stored what is not a JSON object, or a PHP array whose references come to
    /// too much; see [`Session::decode`].
    pub fn session(&self) -> Result<Map<String, Value>, SessionError> {
        self.slot.memory().session().decode()
    }

    /// The same in its encoded form, to be read into a type of your own.
    pub fn encoded_session(&self) -> Session {
        self.slot.memory().session().clone()
    }

    /// Remembers this of the client, in place of what was remembered.
    pub async fn set_session(&self, session: &Map<String, Value>) -> Result<(), Error> {
        let session = Session::encode(session)?;
        let edit = self.slot.memory().set(session.clone());
        self.tell(Command::SetSession { client: self.id().connection, edit, session }).await
    }

    /// Changes what `changes` names and keeps the rest, see [`Session::merge`].
    pub async fn update_session(&self, changes: &Map<String, Value>) -> Result<(), Error> {
        let changes = Session::encode(changes)?;
        let edit = self.slot.memory().update(&changes)?;
        self.tell(Command::UpdateSession { client: self.id().connection, edit, changes }).await
    }

    async fn tell(&self, command: Command) -> Result<(), Error> {
        match self.begin(command)? {
            None => Ok(()),
            Some(later) => self.end(later).await,
        }
    }

    /// Sends on the link that the event came on, if that has room. Most of a method's cost is in
    /// moving its future, so what is only needed elsewhere is kept out of it, in a box.
    fn begin(&self, command: Command) -> Result<Option<Box<Later>>, Error> {
        let link = self.slot.link();
        if !link.is_up() {
            return Ok(Some(Box::new(Later::Elsewhere(unnumbered(command)))));
        }
        let waiting = link.try_send(command)?.err();
        Ok(waiting.map(|waiting| Box::new(Later::Waits(waiting))))
    }

    fn end(
        &self,
        later: Box<Later>,
    ) -> Pin<Box<dyn Future<Output = Result<(), Error>> + Send + '_>> {
        Box::pin(async {
            match *later {
                Later::Waits(waiting) => self.slot.link().resume(waiting).await.map(drop),
                Later::Elsewhere(command) => self.cluster().command(self.id(), command).await,
            }
        })
    }
}

/// The number of an edit means something on its own link only.
fn unnumbered(mut command: Command) -> Command {
    if let Command::SetSession { edit, .. } | Command::UpdateSession { edit, .. } = &mut command {
        *edit = 0;
    }
    command
}

/// A command that could not be sent at once.
enum Later {
    /// There is no room.
    Waits(Waiting),
    /// The link is gone; the gateway may have another.
    Elsewhere(Command),
}

/// Names one event: its client, and its number among that client's events, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId {
    /// Whose event.
    pub client: ClientId,
    /// The how many-th.
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
