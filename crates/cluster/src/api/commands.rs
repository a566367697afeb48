//! Commands to the cluster.

use protocol::{
    ClientId, Command, Group, LastMessage, Message, Recipients as OnGateway, Session, Uid,
    bounded::MAX_TARGETS,
};
use serde::Serialize;

use crate::{Cluster, Error, error::at_most_targets, targets, targets::Recipients};

/// Commands are sent without waiting for a response: `Ok` means that they are queued for the
/// gateways.
///
/// Commands for many clients go to every known gateway; a gateway that was never linked is only
/// counted in the metrics.
///
/// While a gateway is disconnected, commands for it are queued, together with those it has not
/// acknowledged. They are delivered once and in order when it reconnects, and dropped if it is
/// declared dead, since its clients are disconnected then. Commands on behalf of an event of that
/// same gateway are not kept: the event is redelivered.
///
/// Commands of one task to one gateway take effect in order. Calls wait while 16 MiB are queued or
/// unacknowledged for a gateway.
impl Cluster {
    /// Sends to one client.
    ///
    /// # Errors
    /// Those of [commands](Error#commands).
    pub async fn send_to_client(
        &self,
        client: ClientId,
        message: impl Into<Message>,
    ) -> Result<(), Error> {
        let (to, message) = (client.connection, message.into());
        self.command(client, Command::SendToClient { to, message }).await
    }

    /// Sends to all clients, to some, or to all but some.
    ///
    /// # Errors
    /// [`Error::TooMany`] for more than 10,000 excluded clients on one gateway. The number of
    /// recipients is not limited.
    /// Also those of [commands](Error#commands).
    pub async fn send_to_all(
        &self,
        to: Recipients,
        message: impl Into<Message>,
    ) -> Result<(), Error> {
        let message = message.into();
        let send = |to| Command::SendToAll { to, message: message.clone() };
        match &to {
            Recipients::All => self.command_all(|_| Some(send(OnGateway::All))).await,
            Recipients::Only(clients) => {
                for some in clients.chunks(MAX_TARGETS) {
                    let some = Recipients::Only(some.to_vec());
                    self.command_all(|gateway| targets::recipients(gateway, &some).map(&send))
                        .await?;
                }
                Ok(())
            }
            Recipients::Except(clients) => {
                at_most_targets(targets::most_on_one(clients))?;
                self.command_all(|gateway| targets::recipients(gateway, &to).map(&send)).await
            }
        }
    }

    /// Sends to every client of a uid.
    ///
    /// # Errors
    /// Those of [commands](Error#commands).
    pub async fn send_to_uid(
        &self,
        uid: impl TryInto<Uid, Error: Into<Error>>,
        message: impl Into<Message>,
    ) -> Result<(), Error> {
        self.send_to_uids([uid], message).await
    }

    /// Sends to every client of each uid; twice where a uid is listed twice.
    ///
    /// # Errors
    /// Those of [commands](Error#commands).
    pub async fn send_to_uids(
        &self,
        uids: impl IntoIterator<Item: TryInto<Uid, Error: Into<Error>>>,
        message: impl Into<Message>,
    ) -> Result<(), Error> {
        let (uids, message): (Vec<Uid>, _) = (names(uids)?, message.into());
        for uids in uids.chunks(MAX_TARGETS) {
            self.command_all(|_| {
                Some(Command::SendToUids { uids: uids.to_vec(), message: message.clone() })
            })
            .await?;
        }
        Ok(())
    }

    /// Sends to every member of a group.
    ///
    /// # Errors
    /// Those of [commands](Error#commands).
    pub async fn send_to_group(
        &self,
        group: impl TryInto<Group, Error: Into<Error>>,
        message: impl Into<Message>,
    ) -> Result<(), Error> {
        self.send_to_groups([group], &[], message).await
    }

    /// Sends to every member of each group except the excluded clients; a client in two of the
    /// groups receives it twice.
    ///
    /// # Errors
    /// [`Error::TooMany`] for more than 10,000 excluded clients on one gateway.
    /// Also those of [commands](Error#commands).
    pub async fn send_to_groups(
        &self,
        groups: impl IntoIterator<Item: TryInto<Group, Error: Into<Error>>>,
        exclude: &[ClientId],
        message: impl Into<Message>,
    ) -> Result<(), Error> {
        let (groups, message): (Vec<Group>, _) = (names(groups)?, message.into());
        at_most_targets(targets::most_on_one(exclude))?;
        for groups in groups.chunks(MAX_TARGETS) {
            self.command_all(|gateway| {
                Some(Command::SendToGroups {
                    groups: groups.to_vec(),
                    exclude: targets::on(gateway, exclude),
                    message: message.clone(),
                })
            })
            .await?;
        }
        Ok(())
    }

    /// Closes a client once its send queue is written, with the message last; with `None`, only
    /// what is queued.
    ///
    /// # Errors
    /// Those of [commands](Error#commands).
    pub async fn close_client(
        &self,
        client: ClientId,
        last_message: impl Into<LastMessage>,
    ) -> Result<(), Error> {
        let farewell = last_message.into().0;
        self.command(client, Command::Close { client: client.connection, farewell }).await
    }

    /// Closes a client at once; its send queue is discarded.
    ///
    /// # Errors
    /// Those of [commands](Error#commands).
    pub async fn destroy_client(&self, client: ClientId) -> Result<(), Error> {
        self.command(client, Command::Destroy { client: client.connection }).await
    }

    /// Binds a client to a uid, replacing its current one.
    ///
    /// # Errors
    /// Those of [commands](Error#commands).
    pub async fn bind_uid(
        &self,
        client: ClientId,
        uid: impl TryInto<Uid, Error: Into<Error>>,
    ) -> Result<(), Error> {
        let uid = uid.try_into().map_err(Into::into)?;
        self.command(client, Command::BindUid { client: client.connection, uid }).await
    }

    /// Removes the uid of a client.
    ///
    /// # Errors
    /// Those of [commands](Error#commands).
    pub async fn unbind_uid(&self, client: ClientId) -> Result<(), Error> {
        self.command(client, Command::UnbindUid { client: client.connection }).await
    }

    /// Adds a client to a group. It leaves automatically when it disconnects.
    ///
    /// # Errors
    /// Those of [commands](Error#commands).
    pub async fn join_group(
        &self,
        client: ClientId,
        group: impl TryInto<Group, Error: Into<Error>>,
    ) -> Result<(), Error> {
        let group = group.try_into().map_err(Into::into)?;
        self.command(client, Command::JoinGroup { client: client.connection, group }).await
    }

    /// Removes a client from a group.
    ///
    /// # Errors
    /// Those of [commands](Error#commands).
    pub async fn leave_group(
        &self,
        client: ClientId,
        group: impl TryInto<Group, Error: Into<Error>>,
    ) -> Result<(), Error> {
        let group = group.try_into().map_err(Into::into)?;
        self.command(client, Command::LeaveGroup { client: client.connection, group }).await
    }

    /// Removes every client from a group.
    ///
    /// # Errors
    /// Those of [commands](Error#commands).
    pub async fn ungroup(
        &self,
        group: impl TryInto<Group, Error: Into<Error>>,
    ) -> Result<(), Error> {
        let group = group.try_into().map_err(Into::into)?;
        self.command_all(|_| Some(Command::Ungroup { group: group.clone() })).await
    }

    /// Replaces a client's session by a value that serializes as a JSON object: a struct or a map.
    ///
    /// # Errors
    /// Those of [commands](Error#commands).
    pub async fn set_session(
        &self,
        client: ClientId,
        session: &(impl Serialize + ?Sized),
    ) -> Result<(), Error> {
        let session = Session::encode(session)?;
        let (id, edit) = (client.connection, 0);
        self.command(client, Command::SetSession { client: id, edit, session }).await
    }

    /// Changes part of a client's session, by a value that serializes as a JSON object; see
    /// [`Session::merge`].
    ///
    /// # Errors
    /// Those of [commands](Error#commands).
    pub async fn update_session(
        &self,
        client: ClientId,
        changes: &(impl Serialize + ?Sized),
    ) -> Result<(), Error> {
        let changes = Session::encode(changes)?;
        let (id, edit) = (client.connection, 0);
        self.command(client, Command::UpdateSession { client: id, edit, changes }).await
    }
}

/// Converts and validates names.
pub(super) fn names<N>(
    given: impl IntoIterator<Item: TryInto<N, Error: Into<Error>>>,
) -> Result<Vec<N>, Error> {
    given.into_iter().map(|name| name.try_into().map_err(Into::into)).collect()
}
