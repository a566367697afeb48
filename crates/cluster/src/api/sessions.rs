//! Sessions of clients: replaced, changed in part, compared and set.

use protocol::{Answer, ClientId, Command, Query, Session, Swap};
use serde::Serialize;

use super::{call::Call, sending::Sending};
use crate::{Cluster, Error, error::at_most_targets};

/// The outcome of [`Cluster::compare_and_set_session`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "the session may not have been replaced"]
pub enum SessionSwap {
    /// The session was the expected one, and is replaced.
    Replaced,
    /// Nothing has changed: the session is this one.
    Other(Session),
}

impl SessionSwap {
    /// Whether the session was replaced.
    pub const fn is_replaced(&self) -> bool {
        matches!(self, Self::Replaced)
    }
}

/// Calls that change sessions.
impl Cluster {
    /// Replaces a client's session by a value that serializes as a JSON object: a struct or a map.
    ///
    /// # Errors
    /// Those of [commands](Error#commands).
    pub fn set_session(
        &self,
        client: ClientId,
        session: &(impl Serialize + ?Sized),
    ) -> Sending<'_> {
        let command = |session| Command::SetSession { client: client.connection, edit: 0, session };
        let session = Session::encode(session).map_err(Error::from);
        Sending::new(self, session.map(|session| Call::Client(client, command(session))))
    }

    /// Changes part of a client's session, by a value that serializes as a JSON object; see
    /// [`Session::merge`].
    ///
    /// # Errors
    /// Those of [commands](Error#commands).
    pub fn update_session(
        &self,
        client: ClientId,
        changes: &(impl Serialize + ?Sized),
    ) -> Sending<'_> {
        let command =
            |changes| Command::UpdateSession { client: client.connection, edit: 0, changes };
        let changes = Session::encode(changes).map_err(Error::from);
        Sending::new(self, changes.map(|changes| Call::Client(client, command(changes))))
    }

    /// Removes keys of a client's session at its gateway, and keeps all others: a concurrent change
    /// of them is not lost, nor are values of PHP that JSON cannot express. Keys that do not occur
    /// are ignored.
    ///
    /// # Errors
    /// [`Error::TooMany`] for more than 10,000 keys.
    /// Also those of [commands](Error#commands).
    pub fn remove_session_keys(
        &self,
        client: ClientId,
        keys: impl IntoIterator<Item: Into<String>>,
    ) -> Sending<'_> {
        let keys: Vec<String> = keys.into_iter().map(Into::into).collect();
        let checked = at_most_targets(keys.len());
        let command = Command::RemoveSessionKeys { client: client.connection, edit: 0, keys };
        Sending::new(self, checked.map(|()| Call::Client(client, command)))
    }

    /// Replaces a client's session if it is the expected one, in one step at its gateway: no change
    /// of another worker, of PHP or of a handler is overwritten that the caller has not seen.
    /// `expected` is what [`session`](Self::session) has returned, `Session::default()` for none,
    /// or [encoded](Session::encode); sessions are compared by value, see [`Session::equals`].
    ///
    /// If the outcome is `Other`, apply the change to that session and try again.
    ///
    /// # Errors
    /// [`Error::Offline`] if the client is not connected. If the call fails with
    /// [`Error::Timeout`] or [`Error::Unreachable`], the session may have been replaced.
    /// Also those of [queries](Error#queries).
    pub async fn compare_and_set_session(
        &self,
        client: ClientId,
        expected: &Session,
        new: &(impl Serialize + ?Sized),
    ) -> Result<SessionSwap, Error> {
        let (connection, expected) = (client.connection, expected.clone());
        let new = Session::encode(new)?;
        let query = Query::SwapSession { client: connection, edit: 0, expected, new };
        match self.ask(client, query).await? {
            Some((_, Answer::Swap(swap))) => SessionSwap::of(swap, client),
            Some((link, _)) => Err(link.mismatch()),
            None => Err(Error::Offline { client }),
        }
    }
}

impl SessionSwap {
    /// The outcome at a client's gateway.
    ///
    /// # Errors
    /// [`Error::Offline`] if the client is not connected.
    #[doc(hidden)]
    pub fn of(swap: Swap, client: ClientId) -> Result<Self, Error> {
        match swap {
            Swap::Done => Ok(Self::Replaced),
            Swap::Other(session) => Ok(Self::Other(session)),
            Swap::Offline => Err(Error::Offline { client }),
        }
    }
}
